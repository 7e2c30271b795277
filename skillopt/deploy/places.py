"""Where agents look for skills and instructions, and digests of what is there."""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from harnesses.agents.registry import CLI_AGENTS, agent_kind
from skillopt.core.errors import SkillOptError
from skillopt.core.skill import LEFT_OUT

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
        DeployError: a folder was named for instructions, a word that is neither an agent nor a
            folder, or there is no home.
    """
    here = (here or Path.cwd()).absolute()
    if to not in CLI_AGENTS:
        if form == "instructions":
            raise DeployError(f"--to {to}: instructions need an agent: {' or '.join(CLI_AGENTS)}")
        folder = _named_folder(to)
        return Place(str(folder), scope, form, folder)
    folders = agent_kind(to).folders
    if scope == "user" and not os.environ.get(folders.variable):
        _check_home()
    base = folders.here() if scope == "user" else here
    if form == "instructions":
        return Place(to, scope, form, base / folders.instructions)
    return Place(to, scope, form, base / ("skills" if scope == "user" else folders.project[0]))


def _named_folder(to: str) -> Path:
    """A folder that a command line names. A bare word must exist: it may be a mistyped agent."""
    looks_like_path = "/" in to or to in (".", "..", "~")
    if not looks_like_path and not Path(to or "-").is_dir():
        close = difflib.get_close_matches(to, CLI_AGENTS, 1, 0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise DeployError(
            f"--to {to}: neither an agent ({', '.join(CLI_AGENTS)}) nor an existing folder; "
            f"{hint}For a new folder, write ./{to}"
        )
    try:
        return Path(os.path.normpath(Path(to).expanduser().absolute()))
    except RuntimeError as error:
        raise DeployError(f"--to {to}: there is no such home; write the whole path") from error


def _check_home() -> None:
    try:
        home = Path.home()
    except RuntimeError as error:
        raise DeployError("there is no home directory; set HOME") from error
    if not home.is_absolute() or not home.is_dir() or os.environ.get("HOME") == "":
        raise DeployError(
            f"HOME is {os.environ.get('HOME', str(home))!r}, which is no absolute path of an "
            "existing folder; set HOME to your home directory"
        )


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


def is_left_out(name: str) -> bool:
    """Whether a path in a folder belongs to version control, an editor or a cache."""
    return any(fnmatchcase(part, known) for part in name.split("/") for known in LEFT_OUT)


def tree_digest(path: Path, whole: bool = True) -> str:
    """SHA-256 of a file or folder: names, kinds, modes and bytes; empty if there is none.

    Args:
        path: the file or folder.
        whole: whether what is no part of a skill counts, such as version control and caches.
    """
    if not path.exists() and not path.is_symlink():
        return ""
    digest = hashlib.sha256()
    for entry in [path, *sorted(path.rglob("*"))] if path.is_dir() else [path]:
        name = entry.relative_to(path).as_posix()
        if not whole and is_left_out(name):
            continue
        digest.update(repr((name, _kind(entry))).encode())
        if entry.is_symlink():
            digest.update(os.fsencode(entry.readlink()))
        elif entry.is_file():
            digest.update(hashlib.sha256(entry.read_bytes()).digest())
    return digest.hexdigest()


def _kind(entry: Path) -> tuple[str, int]:
    mode = entry.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "link", 0
    kind = "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"
    return kind, mode & 0o777
