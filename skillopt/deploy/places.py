"""Where agents look for skills and instructions, and digests of what is there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harnesses.agents.registry import CLI_AGENTS, agent_kind
from skillopt.core.errors import SkillOptError

Scope = Literal["user", "project"]
Form = Literal["skill", "instructions"]


class DeployError(SkillOptError):
    """A deployment is refused or impossible. The message says what to do instead."""


@dataclass(frozen=True)
class Place:
    """A folder of skills, or a file of instructions.

    Args:
        agent: an agent program, or the folder itself if the user named one.
        scope: the user's or the project's.
        form: ``skill`` for a folder of skills, ``instructions`` for a file that an agent always
            reads.
        path: the absolute path.
    """

    agent: str
    scope: Scope
    form: Form
    path: Path

    def target(self, name: str) -> Path:
        """The path that deploying a skill of that name changes."""
        return self.path / name if self.form == "skill" else self.path


def place_of(to: str, scope: Scope, form: Form = "skill", here: Path | None = None) -> Place:
    """The place that a command line names.

    Args:
        to: an agent program, or a folder of skills.
        scope: the user's, or that of the project in the current folder.
        form: the form of the deployment.
        here: the project's folder; by default the current one.

    Raises:
        DeployError: a folder was named for instructions.
    """
    here = (here or Path.cwd()).absolute()
    if to not in CLI_AGENTS:
        if form == "instructions":
            raise DeployError(f"--to {to}: instructions need an agent: {' or '.join(CLI_AGENTS)}")
        return Place(str(Path(to).absolute()), scope, form, Path(to).absolute())
    folders = agent_kind(to).folders
    base = folders.here() if scope == "user" else here
    if form == "instructions":
        return Place(to, scope, form, base / folders.instructions)
    return Place(to, scope, form, base / ("skills" if scope == "user" else folders.project[0]))


def seen_by(agent: str) -> dict[str, Path]:
    """Every place of skills and instructions that the user's agent reads in this project.

    Args:
        agent: an agent program.

    Returns:
        Host paths, which need not exist, by their place below ``home`` or ``project``.
    """
    folders, here, home = agent_kind(agent).folders, Path.cwd(), Path.home()
    found = {
        f"home/{folders.skills}": folders.here() / "skills",
        f"home/{folders.user_instructions}": folders.here() / folders.instructions,
        **{f"home/{shared}": home / shared for shared in folders.shared},
        **{f"project/{own}": here / own for own in folders.project},
        f"project/{folders.instructions}": here / folders.instructions,
    }
    # In a home directory, the project's places can be the user's, and count once.
    first = {path: name for name, path in reversed(found.items())}
    return {name: path for name, path in found.items() if first[path] == name}


def tree_digest(path: Path) -> str:
    """SHA-256 of a file or folder: names, kinds, modes and bytes; empty if there is none."""
    if not path.exists() and not path.is_symlink():
        return ""
    digest = hashlib.sha256()
    for entry in [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]:
        digest.update(repr((entry.relative_to(path).as_posix(), _kind(entry))).encode())
        if entry.is_symlink():
            digest.update(str(entry.readlink()).encode())
        elif entry.is_file():
            digest.update(hashlib.sha256(entry.read_bytes()).digest())
    return digest.hexdigest()


def _kind(entry: Path) -> tuple[str, int]:
    if entry.is_symlink():
        return "link", 0
    return "folder" if entry.is_dir() else "file", entry.stat().st_mode & 0o777
