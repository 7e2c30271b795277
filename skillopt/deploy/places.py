"""Where agents look for skills and instructions, and what stands there."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Scope = Literal["user", "project"]
Form = Literal["skill", "instructions"]
AGENTS = ("codex", "claude-code")


class DeployError(Exception):
    """Something that deploying must not do, or cannot; the message says what to do instead."""


@dataclass(frozen=True)
class Place:
    """A folder of skills, or a file of instructions.

    Args:
        agent: codex, claude-code, or the folder itself where a user named one.
        scope: whose it is.
        form: ``skill`` for a folder of skills, ``instructions`` for a file that an agent reads
            whole.
        path: absolute.
    """

    agent: str
    scope: Scope
    form: Form
    path: Path

    def target(self, name: str) -> Path:
        """What deploying a skill of that name changes."""
        return self.path / name if self.form == "skill" else self.path


def place_of(to: str, scope: Scope, form: Form = "skill", here: Path | None = None) -> Place:
    """The place that a command line names.

    Args:
        to: codex, claude-code, or a folder of skills.
        scope: the user's own, or that of the project in the current folder.
        form: of the deployment.
        here: the project's folder; the current one when absent.

    Raises:
        DeployError: instructions for a folder.
    """
    here = (here or Path.cwd()).absolute()
    if to not in AGENTS:
        if form == "instructions":
            raise DeployError(f"--to {to}: instructions need an agent: {' or '.join(AGENTS)}")
        return Place(str(Path(to).absolute()), scope, form, Path(to).absolute())
    if form == "instructions":
        name = "AGENTS.md" if to == "codex" else "CLAUDE.md"
        return Place(to, scope, form, (_own(to) if scope == "user" else here) / name)
    if scope == "user":
        return Place(to, scope, form, _own(to) / "skills")
    project = here / (".agents" if to == "codex" else ".claude") / "skills"
    return Place(to, scope, form, project)


def seen_by(agent: str) -> dict[str, Path]:
    """Every place of skills and instructions that an agent of the user's sees in this project.

    Args:
        agent: codex or claude-code.

    Returns:
        Host paths, which need not exist, by where they are: below ``home`` or ``project``.
    """
    here, own = Path.cwd(), _own(agent)
    if agent == "codex":
        found = {
            "home/.codex/skills": own / "skills",
            "home/.codex/AGENTS.md": own / "AGENTS.md",
            "home/.agents/skills": Path.home() / ".agents" / "skills",
            "project/.agents/skills": here / ".agents" / "skills",
            "project/.codex/skills": here / ".codex" / "skills",
            "project/AGENTS.md": here / "AGENTS.md",
        }
    else:
        found = {
            "home/.claude/skills": own / "skills",
            "home/.claude/CLAUDE.md": own / "CLAUDE.md",
            "project/.claude/skills": here / ".claude" / "skills",
            "project/CLAUDE.md": here / "CLAUDE.md",
        }
    # In a home directory, the project's places can be the user's: they count once.
    first = {path: name for name, path in reversed(found.items())}
    return {name: path for name, path in found.items() if first[path] == name}


def _own(agent: str) -> Path:
    """The agent's own folder in the user's home."""
    variable, name = {
        "codex": ("CODEX_HOME", ".codex"),
        "claude-code": ("CLAUDE_CONFIG_DIR", ".claude"),
    }[agent]
    return Path(os.environ.get(variable) or Path.home() / name).absolute()


def tree_digest(path: Path) -> str:
    """SHA-256 of a file or folder: names, kinds, modes and bytes; empty for none."""
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
