"""The block structure of a Markdown text, and whether an edit breaks blocks that it does not touch.

Used by :mod:`skillopt.optimizer.edits` only. CommonMark with tables, parsed by markdown-it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

Lines = tuple[int, int]
"""First line and the one after the last, from 0."""

_CONTAINERS = ("bullet_list", "ordered_list", "list_item", "blockquote", "table")
_LISTS = ("bullet_list", "ordered_list")
_LEAVES = ("inline", "fence", "code_block", "html_block", "hr", "tr_open")
CODE = ("fence", "code_block", "html_block")
"""Kinds of blocks whose lines are text as it is."""
_PROBE = "a paragraph after the end"


@dataclass(frozen=True)
class Leaf:
    """A block that contains text and no other blocks: paragraph, heading, code, table row …"""

    kind: str
    path: tuple[str, ...]
    """The containers around it, outermost first."""
    content: str
    lines: Lines
    outer: Lines
    """Lines of the outermost container; the leaf's own if it has none."""
    item: Lines | None
    """Lines of the innermost list item that contains it."""

    @property
    def same(self) -> tuple[str, tuple[str, ...], str]:
        """What must not change when other blocks are edited."""
        return self.kind, self.path, self.content

    @property
    def list_kind(self) -> str:
        """``bullet_list`` or ``ordered_list`` if that is the outermost container, else empty."""
        return self.path[0] if self.path and self.path[0] in _LISTS else ""


@dataclass(frozen=True)
class Splice:
    """Replaces ``text[start:end]`` with ``new``."""

    start: int
    end: int
    new: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]


@lru_cache(maxsize=64)
def leaves(text: str) -> tuple[Leaf, ...]:
    """The leaf blocks of a text, in order."""
    lines = text.split("\n")
    found: list[Leaf] = []
    stack: list[tuple[str, Lines]] = []
    heading = ""
    for token in _parser().parse(text):
        name = token.type.removesuffix("_open").removesuffix("_close")
        if name == "heading":
            heading = token.tag if token.nesting == 1 else ""
        if name in _CONTAINERS and token.nesting == 1:
            stack.append((name, _trimmed(token, lines)))
        elif name in _CONTAINERS and token.nesting == -1:
            stack.pop()
        elif token.type in _LEAVES and not (token.type == "inline" and _in_table(stack)):
            found.append(_leaf(token, heading, stack, lines))
    return tuple(found)


def breakage(old: str, splice: Splice) -> str:
    """What a splice would break, as a reason to refuse it; empty if it breaks nothing.

    Blocks that the splice does not touch must stay as they are. The rest of a fence, table or list
    that it touches in part must stay in one piece. The end of the text must stay outside any block;
    if the last block was open before, what comes after it is in it, as every reader has it.
    """
    new = splice.apply(old)
    first, last = _touched(old, splice)
    before, after = leaves(old), leaves(new)
    whole = before if is_closed(old) else before[:-1]
    head = [leaf.same for leaf in whole if leaf.lines[1] <= first]
    tail = [leaf.same for leaf in before if leaf.lines[0] >= last]
    touched = before[len(head) : len(before) - len(tail)]
    kept = [leaf.same for leaf in after]
    if len(kept) < len(head) + len(tail):
        return "it would swallow a neighbouring block"
    middle = after[len(head) : len(after) - len(tail)]
    if kept[: len(head)] != head:
        return "it would change the block before it"
    if kept[len(kept) - len(tail) :] != tail:
        return "it would change the block after it"
    if is_closed(old) and not is_closed(new):
        return "it would leave a code fence or HTML block open"
    return _torn(old, splice, touched, middle)


def _torn(old: str, splice: Splice, touched: Sequence[Leaf], middle: Sequence[Leaf]) -> str:
    """Why a block that is touched in part would not survive; empty if all do."""
    partly = [leaf for leaf in touched if not _covers(old, splice, leaf.lines)]
    needed = Counter(_shape(leaf) for leaf in partly if leaf.kind in ("fence", "row"))
    if needed - Counter(_shape(leaf) for leaf in middle):
        return "it would break a code fence or table that it touches in part"
    if any(leaf.kind == "bare_row" for leaf in middle) and not any(
        leaf.kind == "bare_row" for leaf in touched
    ):
        return "it would put text into a table"
    outer = {leaf.outer for leaf in touched}
    if len(outer) == 1 and touched[0].path and not _covers(old, splice, touched[0].outer):
        container = touched[0].path[0]
        if any(leaf.path[:1] != (container,) for leaf in middle):
            return f"it would split the {container.replace('_', ' ')} around it"
    return ""


def _shape(leaf: Leaf) -> tuple[str, tuple[str, ...], str]:
    info = leaf.content.split("\n", 1)[0] if leaf.kind == "fence" else ""
    return leaf.kind, leaf.path, info


def _touched(text: str, splice: Splice) -> Lines:
    """The lines that a splice changes; none for an insertion between two lines."""
    first = text.count("\n", 0, splice.start)
    inside = splice.start > 0 and text[splice.start - 1] != "\n"
    if splice.start == splice.end and inside and splice.new.startswith("\n"):
        return first + 1, first + 1
    at_line_start = splice.end == 0 or text[splice.end - 1] == "\n"
    last = text.count("\n", 0, splice.end)
    return first, last if at_line_start else last + 1


def _covers(text: str, splice: Splice, block: Lines) -> bool:
    lines = text.split("\n")
    start = sum(len(line) + 1 for line in lines[: block[0]])
    end = start + sum(len(line) + 1 for line in lines[block[0] : block[1]])
    return not text[start : splice.start].strip() and not text[splice.end : end].strip()


def is_closed(text: str) -> bool:
    """Whether what follows a text stands outside of any block of it."""
    last = leaves(f"{text}\n\n{_PROBE}")[-1]
    return last.same == ("paragraph", (), _PROBE)


def _leaf(token: Token, heading: str, stack: Sequence[tuple[str, Lines]], lines: list[str]) -> Leaf:
    own = _trimmed(token, lines)
    kind, content = token.type, token.content
    if token.type == "inline":
        kind = heading or "paragraph"
    elif token.type == "tr_open":
        content = lines[own[0]].strip()
        kind = "row" if "|" in content else "bare_row"
    elif token.type == "fence":
        content = f"{token.info}\n{token.content}"
    elif token.type in ("html_block", "code_block"):
        content = content.rstrip("\n")  # The last block of a text has no final newline.
    items = [span for name, span in stack if name == "list_item"]
    return Leaf(
        kind=kind,
        path=tuple(name for name, _ in stack),
        content=content,
        lines=own,
        outer=stack[0][1] if stack else own,
        item=items[-1] if items else None,
    )


def _trimmed(token: Token, lines: list[str]) -> Lines:
    """A block's lines without the blank ones that the parser includes at its end."""
    start, end = token.map or [0, 0]
    while end > start + 1 and not lines[min(end, len(lines)) - 1].strip():
        end -= 1
    return start, end


def _in_table(stack: Sequence[tuple[str, Lines]]) -> bool:
    return bool(stack) and stack[-1][0] == "table"


def is_rows(text: str) -> bool:
    """Whether every line looks like a table row, without the text being a complete table."""
    rows = all(re.search(r"(?<!\\)\|", line) for line in text.split("\n"))
    return rows and not any("table" in leaf.path for leaf in leaves(text))


def list_kind(text: str) -> str:
    """The kind of list that a text consists of; empty if it is anything else."""
    kinds = {leaf.list_kind for leaf in leaves(text)}
    return kinds.pop() if len(kinds) == 1 else ""


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    # Only blocks are needed, and some inline text takes time quadratic in its length.
    return MarkdownIt("commonmark").enable("table").disable("inline")
