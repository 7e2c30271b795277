"""Writing files so that a reader finds the old or the new content, never a part of it."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydantic_core

from skillopt.core.errors import FormatError

_HERE, _RENAME_EXCHANGE = -100, 2
"""Constants from the Linux headers: AT_FDCWD and a flag of renameat2."""


def write_atomic(path: Path, content: str | bytes, mode: int | None = None) -> None:
    """Write to a temporary file next to ``path``, sync and rename it; with ``mode`` if given."""
    data = content.encode() if isinstance(content, str) else content
    # Unique: processes in two containers may have the same number.
    temporary = path.with_name(f".{path.name[:64]}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # Name the file that is wanted, not the temporary one.
            error.filename, error.filename2 = str(path), None
        raise
    sync_folder(path.parent)


def replace_folder(new: Path, folder: Path) -> None:
    """Replace a folder with another one, in one step if the system supports it.

    A reader, also after a crash, finds the old folder or the new one. The old one is then removed.

    Args:
        new: the new folder, next to ``folder`` on the same file system; afterwards it is gone.
        folder: the folder to replace, which may be missing.
    """
    if not folder.is_dir():
        new.rename(folder)
    elif _exchange(new, folder):
        remove_folder(new)
    else:
        old = new.with_suffix(".old")
        folder.rename(old)
        new.rename(folder)
        remove_folder(old)
    sync_folder(folder.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it, also if folders in it are closed to their owner."""
    pending = [folder]
    while pending:
        path = pending.pop()
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            path.chmod(0o700)  # Before it is entered: what cannot be listed would be passed over.
        pending += [Path(e.path) for e in os.scandir(path) if e.is_dir(follow_symlinks=False)]
    shutil.rmtree(folder)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names at once (Linux, renameat2). Returns whether the file system supports it."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if call(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def check_writable(folder: Path) -> None:
    """Raise OSError if a folder, or a parent that has to be created, cannot be written."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(there))


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def end_whole(log: Path) -> None:
    """Cut an incomplete last line off a log: its writer was killed, or the disk was full."""
    if not log.is_file():
        return
    with log.open("r+b") as file:
        data = file.read()
        if data and not data.endswith(b"\n"):
            file.truncate(data.rfind(b"\n") + 1)
            os.fsync(file.fileno())


def to_json(value: Any) -> str:
    """JSON in the form of all files of a run: indented, keys in the given order, final newline."""
    # Python's own writer is ten times as slow when it indents.
    return pydantic_core.to_json(value, indent=2).decode() + "\n"


Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


def read_json(file: Path, format: int, older: Upgrade | None = None) -> dict[str, Any]:
    """A JSON object of the project with its format number.

    Args:
        file: an existing file.
        format: the number that this version writes.
        older: converts an object without a number to this version's format.

    Raises:
        FormatError: it is not JSON, or has another number.
    """
    return json_in(file.read_bytes(), file, format, older)


def json_in(raw: bytes, file: Path, format: int, older: Upgrade | None = None) -> dict[str, Any]:
    """As :func:`read_json`, of what has been read of ``file``, which errors name."""
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise FormatError(
            f"{file}: not JSON: {error}; restore it from a copy or remove it"
        ) from error
    if older is not None and isinstance(value, dict) and "format" not in value:
        value = older(value)
    found = value.get("format") if isinstance(value, dict) else None
    if found != format:
        what = (
            "no format number (it was written before version 0.2)"
            if found is None
            else f"format {found!r}"
        )
        raise FormatError(
            f"{file}: has {what}, and this version reads format {format}; use the version that "
            "wrote it, or move the file away to start over"
        )
    return dict(value)


def digest_of(value: Any) -> str:
    """SHA-256 in hexadecimal of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
