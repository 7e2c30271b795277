"""Tar streams in and out of sandboxes. Whatever comes out is untrusted."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tarfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from sandboxes.base import CopyRefusedError
from sandboxes.disk import MEGABYTE, SMALLEST_ENTRY
from sandboxes.trees import remove_tree

FILE_RIGHTS, FOLDER_RIGHTS = 0o777, 0o3777
"""Bits of permissions that are copied: those of a folder say whose is what is made in it."""


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


@dataclass
class Room:
    """What an archive may still take here.

    Args:
        left: bytes of content; stretches of zeros, which files need not hold, do not count.
        stream: bytes of the archive, zeros and all.
    """

    left: int
    stream: int
    used: int = 0


def restore(chunks: Iterable[bytes], target: Path, room: Room, leave: Collection[str] = ()) -> None:
    """Replace the content of ``target``, a file or folder, by that of a tar stream.

    As after a mount: files and folders with their permissions and times, pipes, and links, which
    nothing is written through. Devices and names that lead elsewhere are left out, and so is what
    comes after ``room`` is used up.

    Args:
        chunks: the archive of one file or folder.
        target: what it replaces; made harmless before anybody reads it.
        room: how much may be written; what was is added to it.
        leave: names below it of which what is in them is left out; they are folders.

    Raises:
        CopyRefusedError: the stream is not an archive, or the disk fails.
    """
    try:
        if target.is_dir():
            for entry in list(target.iterdir()):
                remove_tree(entry)
        _restore(chunks, target, room, frozenset(leave))
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        raise CopyRefusedError(f"cannot copy out to {target}: {error}") from error


def names_in(chunks: Iterable[bytes]) -> Iterator[tuple[str, bool]]:
    """The names in an archive, below what was copied, and whether they are folders."""
    stream = io.BufferedReader(_ChunkReader(chunks), MEGABYTE)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if name := _inner_name(member.name):
                yield name, member.isdir()


def _restore(chunks: Iterable[bytes], target: Path, room: Room, leave: Collection[str]) -> None:
    links: list[tuple[tarfile.TarInfo, Path]] = []
    folders: list[tuple[tarfile.TarInfo, Path]] = []
    stream = io.BufferedReader(_ChunkReader(chunks), MEGABYTE)
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            room.stream -= max(member.size, SMALLEST_ENTRY)
            name = _inner_name(member.name)
            if room.stream < 0 or room.left < 0:
                break
            if name is None or (_is_below(name, leave) and not (name in leave and member.isdir())):
                continue
            place = target / name
            try:
                if member.issym() or member.islnk():
                    links.append((member, place))
                elif member.isdir():
                    place.mkdir(exist_ok=True)
                    folders.append((member, place))
                elif member.isfifo():
                    os.mkfifo(place)
                elif content := tar.extractfile(member) if member.isreg() else None:
                    _write(content, place, target, room)
                    _stamp(place, member, FILE_RIGHTS, 0o600)
            except OSError as error:
                _check_member(error)
            room.left -= SMALLEST_ENTRY
            room.used += SMALLEST_ENTRY
    # Only now, so that nothing has been written through a link.
    for member, place in links:
        with suppress(OSError):
            if member.issym():
                place.symlink_to(member.linkname)
            elif (name := _inner_name(member.linkname)) is not None:
                os.link(target / name, place, follow_symlinks=False)
    for member, place in reversed(folders):
        _stamp(place, member, FOLDER_RIGHTS, 0o700)


def _write(content: IO[bytes], place: Path, target: Path, room: Room) -> None:
    """Write a file; stretches of zeros become holes."""
    with place.open("wb" if place == target else "xb") as file:
        while room.left >= 0 and (data := content.read(MEGABYTE)):
            if data.count(0) == len(data):
                file.seek(len(data), os.SEEK_CUR)
            else:
                file.write(data)
                room.left -= len(data)
                room.used += len(data)
        file.truncate()


def _stamp(place: Path, member: tarfile.TarInfo, kept: int, wanted: int) -> None:
    place.chmod(member.mode & kept | wanted)
    with suppress(OverflowError):  # A time that this machine has no number for.
        os.utime(place, (member.mtime, member.mtime))


def _check_member(error: OSError) -> None:
    """Raise an error that is not of the member itself: of its name, or of the folder that it is in
    and that was left out."""
    own = (errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
    if error.errno not in own:
        raise error


def _inner_name(name: str) -> str | None:
    """The name below what was copied, whose own name is the first part, or, of a volume in a dead
    container of Podman's, a slash; None if it leads out."""
    parts = PurePosixPath(name).parts
    return None if ".." in parts else "/".join(parts[1:])


def _is_below(name: str, folders: Collection[str]) -> bool:
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


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
