"""Untrusted folders: making them harmless, walking and removing them, whatever is in them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sandboxes.base import SandboxError

_NOT_OURS = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP)
"""Errors by which an entry itself refuses, not the disk or this process."""
_SET_ID = stat.S_ISUID | stat.S_ISGID


def make_harmless(root: Path, *, links: bool = True) -> list[str]:
    """Make a folder that untrusted programs have left safe to read for this user.

    Folders and files get the owner's rights, whatever the programs took away, before it is looked
    at what is in them. Pipes, sockets and devices are removed, and so is what still cannot be read
    (what belongs to another user, or is nested deeper than a path can be long). Nothing is passed
    over. No other process may use the folder meanwhile.

    Args:
        root: the folder.
        links: whether symbolic links may stay. They are never followed.

    Returns:
        The names of what was removed, relative to the folder and printable, sorted.

    Raises:
        SandboxError: something can neither be read nor removed, or the disk fails.
    """
    removed: list[str] = []
    top = os.fspath(root)
    pending = [top]
    while pending:
        folder = pending.pop()
        for entry in _opened(folder, top, removed):
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    pending.append(entry.path)
                    continue
                if stat.S_ISREG(mode) and _own(entry.path, mode, 0o600):
                    continue
                if stat.S_ISLNK(mode) and links:
                    continue
            except OSError as error:
                _check_entry(error)
                if error.errno == errno.ENAMETOOLONG:  # It has no path, but its folder has.
                    _discard(folder, top, removed)
                    break
            _discard(entry.path, top, removed)
    return sorted(removed)


def _opened(folder: str, top: str, removed: list[str]) -> list[os.DirEntry[str]]:
    """The entries of a folder, which is given its rights first, or is removed if it has none."""
    try:
        _own(folder, os.lstat(folder).st_mode, 0o700)
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []  # Removed with the folder that it was in.
    except OSError as error:
        _check_entry(error)
        if folder == top:
            raise SandboxError(f"{folder} cannot be read: {error}") from error
    _discard(folder, top, removed)
    return []


def _own(path: str, mode: int, wanted: int) -> bool:
    """Give the owner of a file or folder its rights, and take away those that a file would give to
    whoever runs it; whether this user can then read it."""
    mode = stat.S_IMODE(mode)
    better = (mode | wanted) & ~(_SET_ID if wanted == 0o600 else 0)
    if better != mode:
        try:
            os.chmod(path, better)  # noqa: PTH101 (text paths: trees may be huge)
        except PermissionError:
            return os.access(path, os.R_OK)
    return os.getuid() == 0 or os.access(path, os.R_OK)


def _discard(path: str, root: str, removed: list[str]) -> None:
    remove_tree(Path(path))
    removed.append(shown_name(os.path.relpath(path, root)))


def _check_entry(error: OSError) -> None:
    """Raise SandboxError unless it is the entry that refuses: it is removed then."""
    if error.errno not in _NOT_OURS:
        raise SandboxError(f"an untrusted folder cannot be read: {error}") from error


def shown_name(name: str) -> str:
    """An untrusted file name as text that can be printed and encoded."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def entries_below(root: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below a folder, a folder before what is in it; links are not followed.

    Works at any depth. Entries that vanish, cannot be read, or are deeper than a path can be long
    are left out: :func:`make_harmless` first, where that matters.
    """
    pending = [os.fspath(root)]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                entries = list(found)
        except OSError:
            continue
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)


def remove_tree(path: Path) -> None:
    """Remove a folder or file, if it exists, whatever permissions and depth its content has.

    Raises:
        SandboxError: it cannot be removed.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        _remove_by_force(path)


def _remove_by_force(path: Path) -> None:
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        done = subprocess.run([*command, "--", str(path)], capture_output=True, text=True)
    with suppress(OSError):  # A name too long to look at is a name that is still there.
        if not os.path.lexists(path):
            return
    raise SandboxError(f"{path} cannot be removed: {done.stderr.strip()}; remove it by hand")
