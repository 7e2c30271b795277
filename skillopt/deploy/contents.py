"""What is at the path of a deployment: its kind, looked at before anything is written."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Literal

from skillopt.core.files import check_writable
from skillopt.core.skill import SKILL_FILE
from skillopt.deploy.places import DeployError, Form, tree_digest

KEPT = (".git", ".hg", ".svn", ".bzr", ".idea", ".vscode")
"""Entries of a skill's folder that are their owner's: no deployment and no undo touches them."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


def look(target: Path, form: Form | Literal["folder"]) -> Path:
    """The path of what a deployment changes: what the target leads to, if it is a link.

    Args:
        target: the path of the skill's folder or of the file of instructions.
        form: which of the two it is; or any folder that is written as a whole.

    Raises:
        DeployError: something is in the way, or cannot be read, replaced and restored.
    """
    there = _kind_of(target, [*reversed(target.parents)])
    real = Path(os.path.realpath(target))
    try:
        check_writable(real.parent)
    except OSError as error:
        raise DeployError(
            f"{error.filename}: {error.strerror}: nothing can be put there; make it writable "
            "(chmod u+w), or choose another place"
        ) from error
    if there is None:
        return real
    wanted = stat.S_IFREG if form == "instructions" else stat.S_IFDIR
    if stat.S_IFMT(there.st_mode) != wanted:
        found = _KINDS[stat.S_IFMT(there.st_mode)]
        raise DeployError(f"{target}: is {found}, and {_KINDS[wanted]} is needed; move it away")
    if not there.st_mode & 0o222:
        raise DeployError(f"{target}: is read-only; chmod u+w {real} if it may be changed")
    if form == "instructions":
        _check_file(target, there)
        return real
    _check_folder(real)
    if form == "skill" and target.is_symlink():
        _check_linked(target, real)
    return real


def digest(target: Path) -> str:
    """The digest of what a target is or leads to, without what is no part of a skill, such as
    version control and caches; empty if there is nothing."""
    return tree_digest(Path(os.path.realpath(target)), whole=False)


def is_as(target: Path, wanted: str) -> bool:
    """Whether a target has a digest of the log; earlier versions wrote those of everything."""
    return wanted in (digest(target), tree_digest(Path(os.path.realpath(target))))


def _kind_of(target: Path, parents: list[Path]) -> os.stat_result | None:
    """The status of the target; None if it does not exist. Each folder above it is looked at."""
    for path in [*parents, target]:
        try:
            found = path.stat()
        except FileNotFoundError:
            if path.is_symlink():
                raise DeployError(
                    f"{path}: is a link to {path.readlink()}, which does not exist; restore "
                    "that, or remove the link"
                ) from None
            return None
        except OSError as error:
            what = "is a link that leads to itself; remove it"
            if error.errno != errno.ELOOP:
                what = f"cannot be looked at: {error.strerror}; check its name and permissions"
            raise DeployError(f"{path}: {what}") from error
        if path != target and not stat.S_ISDIR(found.st_mode):
            kind = _KINDS[stat.S_IFMT(found.st_mode)]
            raise DeployError(f"{path}: is {kind}, and a folder is needed; move it away")
    return found


def _check_file(target: Path, found: os.stat_result) -> None:
    if not os.access(target, os.R_OK):
        raise DeployError(f"{target}: cannot be read; check its permissions")
    if found.st_nlink > 1:
        raise DeployError(
            f"{target}: has {found.st_nlink} hard links, of which only this one would be changed; "
            "make it a symbolic link, or a copy (cp FILE COPY; mv COPY FILE)"
        )


def _check_linked(target: Path, real: Path) -> None:
    """Refuse to replace what a link leads to by mistake."""
    names = [path.name.lower() for path in real.iterdir()]
    if names and SKILL_FILE.lower() not in names:
        raise DeployError(
            f"{target}: is a link to {real}, which is not a skill's folder (it has no "
            f"{SKILL_FILE}); remove the link, or correct it"
        )


def _check_folder(real: Path) -> None:
    """Refuse a folder that cannot be backed up, removed and restored."""
    pending = [real]
    while pending:
        folder = pending.pop()
        may_change = os.access(folder, os.W_OK) or folder.stat().st_uid == os.geteuid()
        if not os.access(folder, os.R_OK | os.X_OK) or not may_change:
            raise DeployError(f"{folder}: cannot be read and replaced; check its permissions")
        for entry in os.scandir(folder):
            if folder == real and entry.name in KEPT:
                continue
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                kind = _KINDS[stat.S_IFMT(mode)]
                raise DeployError(f"{entry.path}: is {kind}, which cannot be kept; move it away")
            if stat.S_ISREG(mode) and not os.access(entry.path, os.R_OK):
                raise DeployError(f"{entry.path}: cannot be read; check its permissions")
