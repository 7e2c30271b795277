"""Skill folders for sandboxes: copied once, readable by every user and writable by none, and given
to an agent as skills that it discovers or as instructions that it always has.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from harnesses.base import Request

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
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
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    if not text.startswith("---"):
        return SkillText("", text)
    front, _, rest = text[3:].partition("\n---")
    try:
        values = yaml.load(front, _LOADER)
    except yaml.YAMLError:
        values = None
    description = values.get("description") if isinstance(values, dict) else None
    return SkillText(str(description or ""), rest.partition("\n")[2])


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
        ValueError: the folder contains a link. Agents do not follow links, and a link could leave
            the folder.
    """
    target = parent / skill.name
    for folder, _, files in os.walk(skill):
        made = target / Path(folder).relative_to(skill)
        made.mkdir(parents=True)
        for name in files:
            source = Path(folder) / name
            if source.is_symlink():
                raise ValueError(f"{source}: a skill must not contain links")
            shutil.copyfile(source, made / name)
            (made / name).chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        made.chmod(0o755)
    return target
