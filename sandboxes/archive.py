"""Tar streams in and out of sandboxes. Whatever comes out is untrusted."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from sandboxes.base import CopyRefusedError
from sandboxes.disk import MEGABYTE, SMALLEST_ENTRY


def pack(
    source: Path,
    name: str,
    archive: IO[bytes],
    *,
    uid: int | None = None,
    gid: int | None = None,
    max_bytes: int | None = None,
) -> None:
    """Write ``source``, a file or folder, to a tar archive in which it is called ``name``.

    Links are kept as links; sockets, pipes and devices are left out. ``uid`` and ``gid``, if given,
    own everything. Raises CopyRefusedError if the files exceed ``max_bytes`` together, or cannot be
    read.
    """
    packed = 0

    def member(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        nonlocal packed
        if not (info.isfile() or info.isdir() or info.issym() or info.islnk()):
            return None
        info.uname = info.gname = ""
        info.uid = info.uid if uid is None else uid
        info.gid = info.gid if gid is None else gid
        packed += info.size
        if max_bytes is not None and packed > max_bytes:
            raise CopyRefusedError(f"{source} holds more than {max_bytes // MEGABYTE} MB")
        return info

    try:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(source, arcname=name, filter=member)
    except OSError as error:
        raise CopyRefusedError(f"cannot copy {source}: {error}") from error


def unpack(chunks: Iterable[bytes], target: Path, *, max_bytes: int) -> None:
    """Write the one file or folder of a tar stream to ``target``, which must not exist.

    Only regular files and folders are written, with ordinary permissions: links, devices and names
    that lead elsewhere are left out. Raises CopyRefusedError, leaving nothing behind, if the
    content exceeds ``max_bytes`` or is not an archive; FileExistsError if ``target`` exists.
    """
    if target.exists() or target.is_symlink():
        raise FileExistsError(f"{target} exists; copy to a new place")
    try:
        _unpack(chunks, target, max_bytes)
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        _discard(target)
        raise CopyRefusedError(f"cannot copy out to {target}: {error}") from error
    except BaseException:
        _discard(target)
        raise
    if not target.exists():
        raise CopyRefusedError(f"cannot copy out to {target}: it is not a regular file or folder")


def _unpack(chunks: Iterable[bytes], target: Path, max_bytes: int) -> None:
    left = max_bytes
    stream = io.BufferedReader(_ChunkReader(chunks), MEGABYTE)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            left -= max(member.size, SMALLEST_ENTRY)
            if left < 0:
                raise CopyRefusedError(
                    f"cannot copy out to {target}: more than {max_bytes // MEGABYTE} MB"
                )
            place = _place(member, target)
            if place is None:
                continue
            if member.isdir():
                place.mkdir(exist_ok=True)
                continue
            content = tar.extractfile(member)
            if content is not None:
                with place.open("xb") as file:
                    shutil.copyfileobj(content, file, MEGABYTE)
                place.chmod(0o755 if member.mode & 0o100 else 0o644)


def _place(member: tarfile.TarInfo, target: Path) -> Path | None:
    """The path that a member is written to; None if it is left out. ``target`` replaces the first
    part of its name, which is that of the file or folder that was copied."""
    name = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()) or name.is_absolute() or ".." in name.parts:
        return None
    return target.joinpath(*name.parts[1:])


def _discard(target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


class _ChunkReader(io.RawIOBase):
    """An iterable of bytes as a readable file."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
