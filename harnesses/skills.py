"""Skill folders for sandboxes: copied once, readable by every user and writable by none, and given
to an agent as skills that it discovers or as instructions that it always has.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from harnesses.base import Request

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FRONT = re.compile(r"---[ \t]*\n(?P<front>.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_UNCLOSED = re.compile(r"---[ \t]*\n+[\w-]+[ \t]*:")
SKILL_FILES = "/opt/skillopt/skills"
"""The folder in a sandbox for skills that are not in the agent's own folder of skills."""

BESIDE = "beside"


@dataclass(frozen=True)
class SkillText:
    """The parts of ``SKILL.md``; a part that cannot be read is empty."""

    description: str
    body: str


def skill_text(skill: Path) -> SkillText:
    """The text of a skill folder, as far as it has one: agents also get broken skills."""
    file = skill / "SKILL.md"
    text = file.read_text("utf-8-sig", "replace") if file.is_file() else ""
    match = _FRONT.match(text)
    if match is None:
        return SkillText("", "" if _UNCLOSED.match(text) else text)
    try:
        values = yaml.load(match["front"], _LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        values = None
    description = values.get("description") if isinstance(values, dict) else None
    return SkillText(str(description or ""), text[match.end() :])


def headline(body: str) -> str:
    """The first line of a Markdown text without the marks of a heading, which Claude Code takes
    for the description of a skill that has none; empty if there is no text."""
    lines = (" ".join(line.lstrip("#").split()) for line in body.splitlines())
    return next((line for line in lines if line), "")


def as_instructions(skill: Path, place: str) -> str:
    """A skill as text that an agent always sees.

    Args:
        skill: its folder.
        place: the folder's path in the sandbox, which the text mentions if there are other files.
    """
    text = skill_text(skill)
    others = any(file.is_file() and file.name != "SKILL.md" for file in skill.rglob("*"))
    files = f"The files that these instructions name are in `{place}`." if others else ""
    parts = (text.description.strip(), files, text.body.strip())
    return "\n\n".join(part for part in parts if part) + "\n"


def sandbox_copy(skill: Path, request: Request) -> Path:
    """A copy of a skill to mount, below the request's record. Copies of skills other than the one
    that the rollout is about are removed at its end.

    Raises:
        ValueError: the folder contains a link.
    """
    kept = "skill" if skill == request.skill else BESIDE
    return mountable_copy(skill, request.record / kept)


def mountable_copy(skill: Path, parent: Path) -> Path:
    """Copy a skill folder to ``parent`` under its own name, with modes that suit every user.

    Raises:
        ValueError: the folder contains a link that leads out of it.
    """
    target = parent / skill.name
    for folder, below, files in os.walk(skill):
        made = target / Path(folder).relative_to(skill)
        made.mkdir(parents=True)
        for name in (*below, *files):
            source = Path(folder) / name
            if source.is_symlink():
                (made / name).symlink_to(link_within(skill, source))
            elif name in files:
                shutil.copyfile(source, made / name)
                (made / name).chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        made.chmod(0o755)
    return target


def link_within(root: Path, link: Path) -> str:
    """The target of a symbolic link that stays within a folder, wherever that is copied to.

    Args:
        root: the folder.
        link: a link below it.

    Raises:
        ValueError: the link leads out of the folder, or names where that is.
    """
    target = link.readlink()
    top, end = Path(os.path.realpath(root)), Path(os.path.realpath(link))
    plain = os.path.normpath(link.parent.relative_to(root) / target)
    if target.is_absolute() or Path(plain).parts[0] == ".." or not end.is_relative_to(top):
        raise ValueError(
            f"{link}: a skill must not contain links that lead out of it or name where it is; "
            "copy the file instead, or make the link relative"
        )
    return str(target)
