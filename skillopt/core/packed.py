"""The files of a rollout's folder: plain while it runs and in older stores, and packed into
``files.tar.zst`` beside ``result.json`` in the store. Both are read alike.

``tar --zstd -xf files.tar.zst`` unpacks them, and so does ``skillopt store unpack``. What is in
there was made by agents and verifiers, and is untrusted.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from sandboxes.trees import entries_below, remove_tree

RESULT, PACKED = "result.json", "files.tar.zst"
_UNFINISHED = f"{PACKED}.part"
LEVEL = 3
"""Higher ones save a tenth of the bytes at five times the work."""
_LARGE = 1024 * 1024
"""Larger files come last in the archive, so that the others are found without reading them."""


_AT_ONCE = threading.BoundedSemaphore(8)
"""Each that packs takes megabytes; thousands of rollouts may end together."""


class Source(Protocol):
    """The content of a file."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, or all that are left. Raises OSError."""


def pack(folder: Path) -> None:
    """Pack all files of a folder but its ``result.json``, which need not be there yet. If some
    cannot be read, the folder stays as it is. At every moment all of them can be read in one of
    the two forms.

    Raises:
        OSError: the disk is full.
    """
    import zstandard

    unfinished = folder / _UNFINISHED
    try:
        with _AT_ONCE, unfinished.open("wb") as file:
            compressor = zstandard.ZstdCompressor(LEVEL, write_checksum=True)
            with (
                compressor.stream_writer(file, closefd=False) as stream,
                tarfile.open(fileobj=stream, mode="w|") as tar,
            ):
                for name, path in _entries(folder):
                    add(tar, name, path)
                forget(tar)
            file.flush()
            os.fsync(file.fileno())
    except PermissionError:
        unfinished.unlink(missing_ok=True)
        return
    # From here on the archive counts, whatever is left beside it.
    unfinished.rename(folder / PACKED)
    for path in list(folder.iterdir()):
        if path.name not in (RESULT, PACKED):
            remove(path)


def unpack(folder: Path, target: Path) -> None:
    """Write the files of a packed folder, and a copy of its ``result.json``, into another folder.

    Raises:
        OSError: the archive is damaged, or there is something of that name.
    """
    if (folder / RESULT).is_file():
        shutil.copy2(folder / RESULT, target / RESULT)
    with _reading(folder) as tar:
        for member in tar:
            path = inside(target, member.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if member.isdir():
                path.mkdir(exist_ok=True)
            elif member.issym():
                path.symlink_to(member.linkname)
            elif (source := tar.extractfile(member)) is not None:
                with source, path.open("xb") as file:
                    shutil.copyfileobj(source, file)
                path.chmod(member.mode & 0o777)
                os.utime(path, (member.mtime, member.mtime))


def is_packed(folder: Path) -> bool:
    """Whether a rollout's files are in an archive."""
    return (folder / PACKED).is_file()


def open_file(folder: Path, name: str) -> IO[bytes]:
    """A file of a rollout, plain or packed, for reading.

    Args:
        folder: the rollout's.
        name: relative to it, such as ``trajectory.json`` or ``workspace/notes.txt``.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
    """
    if not is_packed(folder):
        try:
            return (folder / name).open("rb")
        except FileNotFoundError:
            if not is_packed(folder):  # Not since then either.
                raise
    for found, _, source in files(folder):
        if found == name:
            return BytesIO(source.read())
    raise FileNotFoundError(2, "No such file in the rollout's archive", f"{folder / PACKED}/{name}")


def files(folder: Path, below: str = "") -> Iterator[tuple[str, int, Source]]:
    """The files of a rollout, plain or packed: the name, the size, and the content, which is read
    before the next one is asked for. Links and special files are left out.

    Args:
        folder: the rollout's.
        below: a folder in it, to which the names are then relative.

    Raises:
        OSError: one cannot be read.
    """
    begin = f"{below}/" if below else ""
    if is_packed(folder):
        with _reading(folder) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isreg() else None
                if file is not None and member.name.startswith(begin):
                    yield member.name.removeprefix(begin), member.size, _Member(folder, file)
        return
    for name, path in _entries(folder):
        if name.startswith(begin) and path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                yield name.removeprefix(begin), path.stat().st_size, file


def names(folder: Path) -> list[str]:
    """The names of a rollout's files, as :func:`files` gives them."""
    return [RESULT, *(name for name, _, _ in files(folder))]


def add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """Add a file, folder or link to an archive, as nobody's."""
    info = tar.gettarinfo(path, name)
    if info.islnk():  # Another name of a file in the archive: kept as a file of its own.
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    if info.isreg():
        with path.open("rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)


def forget(tar: tarfile.TarFile) -> None:
    """Drop what an archive knows of its entries, which refer to it: it would keep its compressor
    until garbage is collected."""
    tar.members = []  # type: ignore[attr-defined]  # Not in the types.


def inside(root: Path, name: str) -> Path:
    """The path of an archive's entry below a folder. Raises OSError if its name leads out of the
    folder, or through a link."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise OSError(f"{name!a}: not a name in a folder")
    path = root
    for part in parts[:-1]:
        path /= part
        if path.is_symlink():
            raise OSError(f"{name!a}: is below a link")
    return path / parts[-1]


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _reading(folder: Path) -> Iterator[tarfile.TarFile]:
    """The archive of a rollout, to be read from its beginning to its end. Raises OSError."""
    import zstandard

    with (
        _damage(folder),
        (folder / PACKED).open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        yield tar


@dataclass(frozen=True)
class _Member:
    """A file in the archive of a rollout."""

    folder: Path
    file: IO[bytes]

    def read(self, size: int = -1, /) -> bytes:
        with _damage(self.folder):
            return self.file.read(size)


@contextmanager
def _damage(folder: Path) -> Iterator[None]:
    """Turns the errors of a damaged archive into OSError."""
    import zstandard

    try:
        yield
    except (tarfile.TarError, EOFError, zstandard.ZstdError) as error:
        raise OSError(f"{folder / PACKED}: cannot be read: {error}") from error


def _entries(folder: Path) -> list[tuple[str, Path]]:
    """What is to be packed of a folder: large files last, and a folder before what is in it."""
    found = []
    for entry in entries_below(folder):
        name = os.path.relpath(entry.path, folder)
        plain = entry.is_file(follow_symlinks=False)
        if name not in (RESULT, PACKED, _UNFINISHED) and (
            plain or entry.is_dir() or entry.is_symlink()
        ):
            large = plain and entry.stat(follow_symlinks=False).st_size > _LARGE
            found.append((large, name, Path(entry.path)))
    return [(name, path) for _, name, path in sorted(found)]
