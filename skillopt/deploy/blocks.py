"""A skill as a marked block in a file of instructions, whatever line ends that file has.

Editors change line ends, the last newline and spaces at ends of lines: a block is the same block
after that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from skillopt.core.front_matter import parse
from skillopt.core.skill import Skill
from skillopt.deploy.places import DeployError

_LINE_END = re.compile(r"\r\n|\n|\r")
_MARKER = re.compile(r"<!--\s*skillopt:.*?\s(?:begin|end)\s*-->")


@dataclass(frozen=True)
class Block:
    """A block in a text: where it begins and ends, without the line end after it."""

    start: int
    end: int
    text: str


def block_of(skill: Skill) -> str:
    """The block for a skill, with LF and without a final newline.

    Raises:
        DeployError: the skill's text contains a marker of blocks.
    """
    name, described = skill.folder, bool(parse(skill.text).texts.get("description"))
    text = "\n\n".join([skill.description, skill.body] if described else [skill.body])
    if found := _MARKER.search(text):
        raise DeployError(
            f"{name}: its text contains {found[0]!r}, which marks where a deployed skill begins or "
            "ends; remove it from the skill, or deploy it as a skill"
        )
    return f"<!-- skillopt:{name} begin -->\n{text}\n<!-- skillopt:{name} end -->"


def find_block(text: str, name: str, where: Path) -> Block | None:
    """The block of a skill in a file of instructions; None if there is none.

    Args:
        text: the file's.
        name: the name of the skill's folder.
        where: the file, for messages.

    Raises:
        DeployError: there are several, or only one of the two marks.
    """
    own = rf"<!--\s*skillopt:{re.escape(name)}\s+"
    begins = list(re.finditer(rf"{own}begin\s*-->", text))
    ends = list(re.finditer(rf"{own}end\s*-->", text))
    if not begins and not ends:
        return None
    if len(begins) == len(ends) == 1 and begins[0].end() <= ends[0].start():
        start, end = begins[0].start(), ends[0].end()
        return Block(start, end, text[start:end])
    line = len(_LINE_END.findall(text, 0, (begins or ends)[-1].start())) + 1
    raise DeployError(
        f"{where}:{line}: {len(begins)} marks 'skillopt:{name} begin' and {len(ends)} marks "
        f"'skillopt:{name} end', which must be one of each in this order; remove the others"
    )


def same_block(one: str, other: str) -> bool:
    """Whether two blocks differ at most in line ends and in spaces at ends of lines."""
    return _plain(one) == _plain(other)


def with_block(text: str, name: str, block: str, where: Path) -> tuple[str, str]:
    """A file's text with a block in place of the older one or at the end, in the line ends of the
    file; and the gap before it that was added, with LF.

    Raises:
        DeployError: as :func:`find_block`.
    """
    newline = _line_end(text)
    made = block.replace("\n", newline)
    old = find_block(text, name, where)
    if old:
        return text[: old.start] + made + text[old.end :], ""
    content = text.removeprefix("\ufeff")
    gap = "" if not content else "\n" if content.endswith(("\n", "\r")) else "\n\n"
    return text + gap.replace("\n", newline) + made + newline, gap


def without_block(text: str, block: Block, gap: str) -> str:
    """A file's text without a block, and without the gap that was added before it, unless that
    separates lines now."""
    before, after = text[: block.start], text[block.end :]
    if own := _LINE_END.match(after):
        after = after[own.end() :]
    added = re.search(rf"(?:\r\n|\n|\r){{{gap.count(chr(10))}}}\Z", before)
    if gap and added and (not after or _LINE_END.match(after)):
        before = before[: added.start()]
    return before + after


def _plain(text: str) -> list[str]:
    lines = (line.rstrip() for line in _LINE_END.split(text.strip()))
    return list(lines)


def _line_end(text: str) -> str:
    """The line end that a text uses most."""
    found = _LINE_END.findall(text)
    return max(("\n", "\r\n", "\r"), key=found.count)
