"""Homes as people have them, to deploy into."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from skillopt.core.skill import Skill, write_skill

MD = ".claude/CLAUDE.md"
SKILL = Skill("geo", "Use it for maps.", "# Geo\n\n- new rule", {}, {"notes.md": b"# N\n"})
OLD = Skill("geo", "Use it for maps.", "# Geo\n\n- old rule", {}, {"scripts/a.sh": b"#!/bin/sh\n"})
AT = ".claude/skills/geo"
ASKED = ["--to", "claude-code"]
AS_INSTRUCTIONS = [*ASKED, "--as", "instructions"]
TEXT = b"# Mine\n\nBe polite.\n"


def put(path: Path, data: bytes = TEXT, mode: int = 0o644) -> Path:
    """Write a file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path


def link(path: Path, to: str) -> None:
    """Make a symbolic link with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


def old(path: Path) -> Path:
    """Write an older version of the skill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_skill(OLD, path)
    return path


def linked_folder(home: Path) -> None:
    """The skill's folder is a link into a repository."""
    old(home / "repo/geo")
    link(home / AT, "../../repo/geo")


def repository_itself(home: Path) -> None:
    """The link leads to a folder that is a repository itself."""
    linked_folder(home)
    put(home / "repo/geo/.git/config", b"[core]\n", 0o600)
    put(home / "repo/geo/.git/hooks/x", b"#!/bin/sh\n", 0o755)


def chain_of_links(home: Path) -> None:
    """An absolute link to a link."""
    old(home / "repo/geo")
    link(home / "middle", "repo/geo")
    link(home / AT, str(home / "middle"))


def odd_content(home: Path) -> None:
    """An older skill with links, modes and files of all kinds."""
    folder = old(home / AT)
    link(folder / "dead", "nowhere")
    link(folder / "loop", "loop")
    put(folder / "private", b"\xff\x00", 0o600)
    put(folder / "closed/x", mode=0o444).parent.chmod(0o555)
    put(folder / ".DS_Store", b"\x00")
    (folder / "empty").mkdir()


def pipe_inside(home: Path) -> None:
    """A pipe in the older skill."""
    os.mkfifo(old(home / AT) / "pipe")


def socket_there(home: Path) -> None:
    """A socket in place of the file of instructions."""
    (home / ".claude").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(home / ".claude/CLAUDE.md"))


def hard_links(home: Path) -> None:
    """A file of instructions with a second hard link."""
    (home / ".claude").mkdir()
    os.link(put(home / "dotfiles/CLAUDE.md"), home / ".claude/CLAUDE.md")


def dotfiles(home: Path) -> None:
    """The file of instructions is a link into dotfiles."""
    put(home / "dotfiles/CLAUDE.md", mode=0o640)
    link(home / ".claude/CLAUDE.md", "../dotfiles/CLAUDE.md")


def state(home: Path) -> dict[str, object]:
    """Everything in a home by path, with kinds, modes, links and bytes."""
    found: dict[str, object] = {}
    for path in sorted([home, *home.rglob("*")]):
        status = path.lstat()
        what = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found[str(path.relative_to(home))] = (oct(status.st_mode), status.st_uid, what)
    return found
