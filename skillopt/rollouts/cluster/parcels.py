"""What travels between driver and nodes: folders as compressed archives, and objects whose paths
stand for files of the driver.

An object is pickled with each path replaced by the digest of what is there, so that files travel
once to each node, whatever refers to them. Archives of agents' work are untrusted.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandboxes.base import SandboxError
from sandboxes.trees import entries_below, remove_tree
from skillopt.core.packed import LEVEL, add, forget, inside, remove

MAX_BYTES = 4 * 1024**3
"""The most bytes of a folder, before compression."""
MAX_ENTRIES = 1_000_000
KEPT_BYTES = 256 * 1024**2
"""Bytes of packed folders that the driver keeps in memory."""
_CHUNK = 1024 * 1024


class ParcelError(SandboxError):
    """A folder cannot travel: it is too large, damaged, or not an archive of ours."""


def packed(source: Path, name: str = "", *, leave: frozenset[str] = frozenset()) -> bytes:
    """A file or folder as a compressed archive; links are kept as links, special files left out.

    Args:
        source: what is packed.
        name: of a file in the archive; not used for a folder, whose entries have relative names.
        leave: names of entries directly in the folder that are left out.

    Raises:
        ParcelError: it is too large.
        OSError: it cannot be read.
    """
    import zstandard

    data, size = io.BytesIO(), 0
    with (
        zstandard.ZstdCompressor(LEVEL).stream_writer(data, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        for entry, path in _entries(source, name, leave):
            if not path.is_symlink() and path.is_file():
                size += path.stat().st_size
            if size > MAX_BYTES:
                raise ParcelError(f"{source} has more than {MAX_BYTES >> 30} GiB; make it smaller")
            add(tar, entry, path)
        forget(tar)
    return data.getvalue()


def unpacked(data: bytes, target: Path) -> None:
    """Write what :func:`packed` has packed into an existing folder. No entry leads out of it, and
    nothing is written through a link.

    Raises:
        ParcelError: it is too large, damaged, or leads elsewhere.
        OSError: it cannot be written.
    """
    import zstandard

    left, entries = MAX_BYTES, 0
    try:
        with (
            zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as stream,
            tarfile.open(fileobj=stream, mode="r|") as tar,
        ):
            for member in tar:
                left, entries = left - member.size, entries + 1
                if left < 0 or entries > MAX_ENTRIES:
                    raise ParcelError(f"an archive has more than {MAX_BYTES >> 30} GiB")
                _write(tar, member, inside(target, member.name))
            forget(tar)
    except (tarfile.TarError, EOFError, zstandard.ZstdError, ValueError) as error:
        raise ParcelError(f"an archive is damaged: {error}") from error


def emptied(folder: Path, *, leave: frozenset[str] = frozenset()) -> None:
    """Remove all that is in a folder but some entries."""
    for path in list(folder.iterdir()):
        if path.name not in leave:
            remove(path)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    if path.is_symlink():
        raise OSError(f"{member.name!a}: is a link already")
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        path.mkdir(exist_ok=True)
        path.chmod((member.mode & 0o777) | 0o700)
    elif member.issym():
        path.symlink_to(member.linkname)
    elif (source := tar.extractfile(member)) is not None:
        with source, path.open("xb") as file:
            while chunk := source.read(_CHUNK):
                file.write(chunk)
        path.chmod((member.mode & 0o777) | 0o600)
        os.utime(path, (member.mtime, member.mtime))


def _entries(source: Path, name: str, leave: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """The names in the archive and the paths, a folder before what is in it."""
    if not source.is_dir():
        yield name, source
        return
    found = []
    for entry in entries_below(source):
        if entry.is_file(follow_symlinks=False) or entry.is_dir() or entry.is_symlink():
            relative = os.path.relpath(entry.path, source)
            if relative.partition(os.sep)[0] not in leave:
                found.append((relative, Path(entry.path)))
    yield from sorted(found)


@dataclass(frozen=True)
class Parcel:
    """A file or folder of the driver.

    Args:
        digest: of its content, SHA-256 in hexadecimal.
        name: its last part, which may have a meaning, as that of a skill's folder.
        data: from :func:`packed`.
        is_file: whether it is a file.
    """

    digest: str
    name: str
    data: bytes
    is_file: bool


class Sender:
    """Pickles objects for nodes, and keeps the parcels that they refer to. Safe to use from
    threads.

    What lies at a path is read once: it must not change while a run is under way.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digests: dict[Path, str] = {}
        self._places: dict[str, Path] = {}
        self._packed: OrderedDict[str, Parcel] = OrderedDict()
        """The last ones; others are packed again for a node that comes later."""

    def dumps(self, value: Any) -> tuple[bytes, frozenset[str]]:
        """An object as bytes, with the digests of the parcels that it refers to.

        Raises:
            ParcelError: a part of it cannot travel.
        """
        from ray import cloudpickle

        data, digests = io.BytesIO(), set()
        sender = self

        class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # Ray has no types for it.
            def persistent_id(self, part: Any) -> Any:
                if not isinstance(part, Path):
                    return None
                digest = sender._digest(part)
                if digest:
                    digests.add(digest)
                return digest or str(part), bool(digest)

        try:
            Pickler(data).dump(value)
        except (TypeError, AttributeError, OSError, pickle.PicklingError) as error:
            raise ParcelError(
                f"a part of a rollout cannot be sent to a node: {error}; name your own part by its "
                "import path, and keep open files, locks and connections out of it"
            ) from error
        return data.getvalue(), frozenset(digests)

    def parcel(self, digest: str) -> Parcel:
        """A parcel that an object from :meth:`dumps` refers to."""
        with self._lock:
            place = self._places[digest]
            if digest not in self._packed and self._read(place) != digest:
                raise ParcelError(f"{place} has changed while the run is under way; start it again")
            self._packed.move_to_end(digest)
            found = self._packed[digest]
            while len(self._packed) > 1 and self._bytes() > KEPT_BYTES:
                self._packed.popitem(last=False)
            return found

    def _bytes(self) -> int:
        return sum(len(parcel.data) for parcel in self._packed.values())

    def _digest(self, path: Path) -> str:
        """The digest of what is at a path; empty if there is no file or folder."""
        with self._lock:
            if path not in self._digests:
                self._digests[path] = self._read(path)
            return self._digests[path]

    def _read(self, path: Path) -> str:
        whole = path.resolve()
        if not (whole.is_file() or whole.is_dir()) or whole == Path(whole.anchor):
            return ""
        data = packed(whole, path.name)
        digest = hashlib.sha256(f"{path.name}\n".encode() + data).hexdigest()
        self._places[digest] = path
        self._packed[digest] = Parcel(digest, path.name, data, whole.is_file())
        return digest


class Receiver:
    """The parcels of a node. Safe to use from threads.

    Args:
        root: folder for them, of which the owner removes what is left.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._paths: dict[str, Path] = {}

    def put(self, parcel: Parcel) -> None:
        """Unpack a parcel, unless it is there."""
        with self._lock:
            if parcel.digest in self._paths:
                return
            place = self._root / parcel.digest / (Path(parcel.name).name or "root")
            remove_tree(place.parent)
            place.mkdir(parents=True)
            unpacked(parcel.data, place)
            self._paths[parcel.digest] = place / place.name if parcel.is_file else place

    def loads(self, data: bytes) -> Any:
        """The object that :meth:`Sender.dumps` has pickled, with the paths of this node."""
        paths = self._paths

        class Unpickler(pickle.Unpickler):
            def persistent_load(self, pid: Any) -> Path:
                text, sent = pid
                return paths[text] if sent else Path(text)

        return Unpickler(io.BytesIO(data)).load()
