"""``SKILL.md`` as text with values in it: read as YAML 1.2, changed by splicing.

What is not changed stays as it is, byte for byte: comments, quotes, order, line ends. YAML 1.2's
core schema is what the agents use: ``on`` and ``012`` are a text and a number, not True and 10.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from skillopt.core.errors import SkillOptError

MAX_FRONT = 256 * 1024
"""The most characters of a front matter."""
MAX_NODES = 20_000
"""The most values in a front matter, aliases followed: a few lines can stand for billions."""
_PARTS = re.compile(
    r"(?P<opening>\ufeff?---[ \t]*(?:\r\n|\n|\r))(?P<front>.*?)"
    r"(?P<closing>(?<=[\r\n])---[ \t]*(?:\r\n|\n|\r|\Z))",
    re.DOTALL,
)
_UNCLOSED = re.compile(r"\ufeff?---[ \t]*[\r\n]+[\w-]+[ \t]*:")
_BLANK_LINES = re.compile(r"(?:[ \t]*(?:\r\n|\n|\r))*")
_LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r|\Z)")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_Change = tuple[int, int, str]
"""Start, end and the new text in between."""
_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class FrontMatterError(SkillOptError):
    """A front matter cannot be read, or a value in it cannot be changed."""


@dataclass(frozen=True)
class Document:
    """The parts of ``SKILL.md``. In their order, the texts are the whole file."""

    opening: str
    """The line ``---`` that begins the front matter, with a byte order mark if there is one."""
    front: str | None
    """The text between the two lines; None without front matter."""
    closing: str
    rest: str
    """The text below the front matter, as it is in the file."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The front matter's values by key; keys are texts. Empty if it is not a mapping."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The single values as they are written, without quotes: ``1.0``, ``true``."""
    repeated: tuple[str, ...] = ()
    """Keys that occur more than once; the last one counts."""

    @property
    def newline(self) -> str:
        """The line end that new lines get: that of the file's first line."""
        found = _LINE.match(self.opening + self.rest)
        return (found[2] if found else "") or "\n"


@lru_cache(64)  # A run reads the same few skills many times.
def parse(text: str) -> Document:
    """The parts and values of a skill's text.

    Raises:
        FrontMatterError: the front matter is not YAML, not closed, or too large. The message has
            the line in the file if there is one.
    """
    match = _PARTS.match(text)
    if match is None:
        if _UNCLOSED.match(text):
            raise FrontMatterError("the front matter is not closed; add a line '---' below it")
        mark = "\ufeff" if text.startswith("\ufeff") else ""
        return Document(mark, None, "", text[len(mark) :])
    opening, front, closing = match["opening"], match["front"], match["closing"]
    root = _compose(front)
    values: dict[str, Any] = {}
    texts: dict[str, str] = {}
    repeated = []
    if isinstance(root, MappingNode):
        budget = iter(range(MAX_NODES))
        for key, node in _pairs(root, front):
            if key in values:
                repeated.append(key)
            texts.pop(key, None)
            values[key] = _value(node, front, budget, ())
            if isinstance(node, ScalarNode) and values[key] is not None:
                texts[key] = _text(node.value)
    return Document(
        opening, front, closing, text[match.end() :], values, texts, tuple(dict.fromkeys(repeated))
    )


def scalars(document: Document) -> dict[str, str | dict[str, str]]:
    """The values of a front matter as they are written, in mappings of one level at most.

    Raises:
        FrontMatterError: there are others, such as lists.
    """
    front = document.front or ""
    root = _compose(front)
    found: dict[str, str | dict[str, str]] = {}
    for key, node in _pairs(root, front) if isinstance(root, MappingNode) else ():
        if isinstance(node, MappingNode):
            found[key] = {inner: _scalar(each) for inner, each in _pairs(node, front)}
        else:
            found[key] = _scalar(node)
    return found


def _scalar(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise FrontMatterError("has a value that is neither a text nor keys with texts")
    return str(node.value)


def with_values(document: Document, changes: Mapping[str, Any]) -> str:
    """The text of a document with some of its values changed or added, and nothing else.

    Args:
        document: as :func:`parse` returns it.
        changes: new values by key; None removes the key. In a mapping that is one already, only
            the values that differ are changed.

    Raises:
        FrontMatterError: there is no front matter, or the values cannot be put there.
    """
    front = document.front
    if front is None:
        raise FrontMatterError("there is no front matter that could hold it; add one")
    wanted = {key: value for key, value in changes.items() if document.values.get(key) != value}
    expected = {**document.values, **wanted}
    expected = {key: value for key, value in expected.items() if wanted.get(key, 0) is not None}
    for quoted in (False, True):
        new = _Splicing(front, document.newline, quoted).changed(wanted)
        text = document.opening + new + document.closing + document.rest
        try:
            made = parse(text)
        except FrontMatterError:
            continue
        if made.rest == document.rest and _told(made.values) == _told(expected):
            return text
    keys = ", ".join(wanted)
    raise FrontMatterError(f"{keys}: cannot be changed in this front matter; write it more simply")


def with_body(document: Document, body: str) -> str:
    """The text of a document with another body. Lines that stay keep their line ends, and so does
    the space around the body.

    Args:
        document: as :func:`parse` returns it.
        body: the new one, with LF and without blank lines around it.
    """
    head = document.opening + (document.front or "") + document.closing
    rest = document.rest
    start = len(_BLANK_LINES.match(rest)[0])  # type: ignore[index]  # It always matches.
    end = max(len(rest.rstrip(" \t\r\n")), start)
    if not body:
        return head
    if start == end:  # There was no body: laid out as in canonical form.
        newline = document.newline
        gap = rest[:start] or (newline if head else "")
        return head + gap + body.replace("\n", newline) + newline
    old, tail = rest[start:end], rest[end:]
    was = old.replace("\r\n", "\n").replace("\r", "\n")
    space = tail[: len(tail) - len(tail.lstrip(" \t"))]
    # Spaces at the end of what was the last line stay there, or go with it.
    if body.startswith(f"{was}\n"):
        body, tail = was + space + body[len(was) :], tail[len(space) :]
    elif body.rpartition("\n")[2] != was.rpartition("\n")[2]:
        tail = tail[len(space) :]
    return head + rest[:start] + in_line_ends_of(rest, old, body) + tail


def in_line_ends_of(whole: str, old: str, new: str) -> str:
    """A new text, with LF, in the line ends of an old one; lines that are in both keep theirs.

    Args:
        whole: the text that ``old`` is a part of, whose line ends count if it has a single line.
        old: as it is in the file.
        new: what comes in its place.
    """
    ends = {match[2] for match in _LINE.finditer(whole)} - {""}
    if len(ends) < 2:
        return new.replace("\n", ends.pop() if ends else "\n")
    return _with_line_ends(old, new)


def _with_line_ends(old: str, new: str) -> str:
    """A new text with the line ends that its lines have in the old one, which are mixed. A new
    line gets that of the line in whose place it is, or of the one above."""
    had = [(match[1], match[2] or "\n") for match in _LINE.finditer(old)]
    wanted, made = new.split("\n"), []
    for kind, a, b, c, d in SequenceMatcher(None, [line for line, _ in had], wanted).get_opcodes():
        if kind == "equal":
            made += had[a:b]
        else:
            near = had[a:b] or had[max(a - 1, 0) : max(a, 1)]
            ends = [end for _, end in near] + [near[-1][1]] * (d - c)
            made += zip(wanted[c:d], ends, strict=False)
    return "".join(line + end for line, end in made[:-1]) + made[-1][0]


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they are compared: a folded text has a line end more than the same in quotes."""
    return {k: " ".join(v.split()) if isinstance(v, str) else v for k, v in values.items()}


def to_yaml(value: Any) -> str:
    """A value as YAML in block form on lines of any length, with a final line end."""
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=math.inf)
    return str(text)


def _compose(front: str) -> Node | None:
    if len(front) > MAX_FRONT:
        raise FrontMatterError(f"the front matter is longer than {MAX_FRONT:,} characters")
    try:
        return yaml.compose(front, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The first line of the file is the one before the front matter.
        where = f"line {mark.line + 2}: " if mark else ""
        why = error.problem or error.context or "not YAML"
        raise FrontMatterError(
            f"{where}the front matter is not YAML: {why}; put values that have ': ', ' #' or other "
            'signs of YAML in them in quotes, such as description: "Two modes: on and off"'
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = "too deep" if isinstance(error, RecursionError) else str(error).split("\n")[0]
        raise FrontMatterError(f"the front matter is not YAML: {why}") from error


class _Loader(yaml.SafeLoader):
    """Composes nodes only; what plain values mean is decided by :func:`_value`."""


def _pairs(node: MappingNode, front: str) -> Iterator[tuple[str, Node]]:
    for key, value in node.value:
        yield _key(key, front), value


def _key(key: Node, front: str) -> str:
    if isinstance(key, ScalarNode):
        return _text(key.value)
    return front[key.start_mark.index : key.end_mark.index]


def _value(node: Node, front: str, budget: Iterator[int], above: tuple[int, ...]) -> Any:
    """A node as a value. Raises FrontMatterError if it is too large or contains itself."""
    if next(budget, None) is None or id(node) in above:
        raise FrontMatterError("the front matter has too many values, or one that contains itself")
    below = (*above, id(node))
    if isinstance(node, MappingNode):
        return {key: _value(each, front, budget, below) for key, each in _pairs(node, front)}
    if isinstance(node, SequenceNode):
        return [_value(each, front, budget, below) for each in node.value]
    assert isinstance(node, ScalarNode), "there are three kinds of node"
    return _text(node.value) if node.style else _plain(node.value)


def _text(value: str) -> str:
    """A text with the pairs of surrogates that escapes can make joined, and no lone ones, which no
    file can hold."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _plain(text: str) -> Any:
    """The value of a scalar without quotes, by YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) < 100:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


@dataclass(frozen=True)
class _Splicing:
    """Changes values in the text of a front matter.

    Args:
        front: the text.
        newline: the line end of new lines.
        quoted: whether new texts are put in double quotes, whatever was there.
    """

    front: str
    newline: str
    quoted: bool

    def changed(self, wanted: Mapping[str, Any]) -> str:
        root = _compose(self.front)
        if root is None:
            new = {key: value for key, value in wanted.items() if value is not None}
            return self._ended(self.front) + self._block(new, 0) if new else self.front
        if not isinstance(root, MappingNode):
            raise FrontMatterError("the front matter has no keys; write it as 'key: value'")
        text = self.front
        for start, end, new_text in sorted(self._splices(root, wanted), reverse=True):
            text = text[:start] + new_text + text[end:]
        return text

    def _splices(self, root: MappingNode, wanted: Mapping[str, Any]) -> Iterator[_Change]:
        pairs = {_key(key, self.front): (key, value) for key, value in root.value}
        added = {}
        for name, value in wanted.items():
            if name not in pairs:
                if value is not None:
                    added[name] = value
                continue
            key, node = pairs[name]
            if node.start_mark.index < key.end_mark.index:
                raise FrontMatterError(f"{name}: is an alias of another value; write it out")
            if value is None:
                yield self._removal(root, key, node)
            elif isinstance(node, MappingNode) and isinstance(value, Mapping):
                inner = {_key(k, self.front): v for k, v in node.value}
                now = {
                    k: _value(v, self.front, iter(range(MAX_NODES)), ()) for k, v in inner.items()
                }
                gone = dict.fromkeys(now.keys() - value.keys())
                differing = {k: v for k, v in value.items() if k not in now or now[k] != v}
                yield from self._splices(node, {**differing, **gone})
            else:
                yield self._replacement(root, key, node, value)
        if added:
            yield self._addition(root, added)

    def _replacement(self, root: MappingNode, key: Node, node: Node, value: Any) -> _Change:
        start, end = node.start_mark.index, _end(node)
        column = key.start_mark.column
        if root.flow_style or (isinstance(node, (MappingNode, SequenceNode)) and node.flow_style):
            new = _json(value)
        elif isinstance(value, (Mapping, list, tuple)):
            new = self.newline + self._block(value, column + 2).rstrip("\r\n")
        else:
            new = self._scalar(value, node, start, end, column)
        if not self.front[start - 1 : start].isspace() and not new.startswith(self.newline):
            new = f" {new}"
        return start, end, new

    def _scalar(self, value: Any, node: Node, start: int, end: int, column: int) -> str:
        """A single value in the style of the one before it."""
        style = node.style if isinstance(node, ScalarNode) else None
        block = style in ("|", ">")
        if block and isinstance(value, str) and not self.quoted:
            old = self.front[start:end]
            header, *lines = re.split(r"\r\n|\n|\r", old)
            filled = [line for line in lines if line.strip()]
            indent = len(filled[0]) - len(filled[0].lstrip(" ")) if filled else column + 2
            blank = old[len(old.rstrip(" \t\r\n")) :] or self.newline
            return f"{header}{self.newline}{' ' * indent}{value}{blank}"
        chosen = style if style in ("'", '"') and isinstance(value, str) else None
        text = yaml.safe_dump([value], default_style=chosen, allow_unicode=True, width=math.inf)
        new = _json(value) if self.quoted else str(text)[2:].rstrip("\n")
        return new + self.newline if block else new

    def _addition(self, root: MappingNode, added: Mapping[str, Any]) -> _Change:
        if root.flow_style:
            at = root.end_mark.index - 1
            text = ", ".join(f"{_json(key)}: {_json(value)}" for key, value in added.items())
            return at, at, f", {text}" if root.value else text
        at = self._line_end(_end(root))
        block = self._block(added, root.start_mark.column)
        before = self.front[:at]
        return at, at, block if before.endswith(("\n", "\r")) else self.newline + block

    def _removal(self, root: MappingNode, key: Node, node: Node) -> _Change:
        if root.flow_style:
            raise FrontMatterError(f"{_key(key, self.front)}: cannot be removed from one line")
        start = key.start_mark.index - key.start_mark.column
        return start, self._line_end(_end(node)), ""

    def _line_end(self, at: int) -> int:
        """The end of the line that a place is on, or the place itself at the start of a line."""
        if at and self.front[at - 1] in "\r\n":
            return at
        match = _LINE.match(self.front, at)
        return match.end() if match else at

    def _ended(self, text: str) -> str:
        return text if not text or text.endswith(("\n", "\r")) else text + self.newline

    def _block(self, value: Any, column: int) -> str:
        lines = to_yaml(value).rstrip("\n").split("\n")
        return "".join(f"{' ' * column}{line}{self.newline}" for line in lines)


def _end(node: Node) -> int:
    """The end of a node's own text; that of a block is the end of its last value."""
    if isinstance(node, (MappingNode, SequenceNode)) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _json(value: Any) -> str:
    """A value in YAML's flow form, which is JSON."""
    return json.dumps(value, ensure_ascii=False)
