"""Files in containers of an engine that sees none of this machine's: copied in by an archive before
the container starts, and what was written copied back from the dead container.

What can be written lies in the container's own layer, whose size the engine reports. What cannot is
root's there, or in a volume where that would not keep the agent from replacing it.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from posixpath import dirname
from typing import Any

from sandboxes.archive import Room, names_in, restore
from sandboxes.base import HANDED, CopyRefusedError, Mount, SandboxError, SandboxSpec
from sandboxes.container import IMAGE_UID
from sandboxes.content import Contents
from sandboxes.disk import MEGABYTE, DiskGuard
from sandboxes.docker import IDLE, IDLE_USER, DockerEngine
from sandboxes.files import Processes
from sandboxes.mounts import is_bind
from sandboxes.packing import add_folder, add_in_place, add_tree, archive_of, exists_in
from sandboxes.trees import entries_below, remove_tree

_OURS = ("/skillopt", "/opt/skillopt")
"""Folders that images do not have, above what a sandbox is given."""
_OF_ROOT = ("/", "/opt", "/srv", "/mnt", *_OURS)
"""Folders in which only root can replace what is there, in images that no agent has written."""
_SMALL_BYTES, _SMALL_ENTRIES = 4 * MEGABYTE, 500
_SLACK_BYTES = 64 * MEGABYTE
_ZEROS = 8
"""How many times the disk limit an archive may have, most of it zeros."""
_IMAGE_S = 60.0
_NOWHERE = Path("/nonexistent/another machine")
_CLEAR = 'while [ -n "$1" ]; do rm -rf -- "$1"; shift; done; shift; exec "$@"'


class Copied:
    """Implements :class:`sandboxes.files.Files`.

    Args:
        engine: needs to see nothing of this machine.
    """

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self.ids = (IMAGE_UID, IMAGE_UID)
        self.contents = Contents(engine, IMAGE_UID)
        self._images: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._known: dict[tuple[str, str, bool], Mapping[str, bool] | None] = {}

    def of(self, spec: SandboxSpec) -> CopiedFiles:
        return CopiedFiles(self._engine, self, spec)

    def close(self) -> None:
        self.contents.close()

    def image(self, name: str) -> Mapping[str, Any]:
        """The engine's data about an image, empty if it has none; asked for once in a while."""
        now = time.monotonic()
        asked, found = self._images.get(name, (-_IMAGE_S, {}))
        if not found or now - asked > _IMAGE_S:
            found = self._engine.inspect_image(name) or {}
            self._images[name] = now, found
        return found

    def look(self, image: str, key: str, folders: Collection[str], paths: Collection[str]) -> None:
        """Find out what an image has, if it is not known: in a container that is never started.

        Args:
            image: name of the image.
            key: its id.
            folders: for :meth:`below`.
            paths: for :meth:`has`.
        """
        asked = {(key, path, True) for path in folders} | {(key, path, False) for path in paths}
        wanted = asked - self._known.keys()
        if not wanted:
            return
        engine = self._engine
        spec = SandboxSpec(image, "/")
        looked_at = engine.launch(spec, kind="look", user=IDLE_USER, command=IDLE)
        try:
            for _, path, whole in sorted(wanted):
                names: Mapping[str, bool] | None = None
                if exists_in(engine, looked_at, path):
                    names = {}
                    if whole:
                        with closing(archive_of(engine, looked_at, path)) as chunks:
                            names = dict(names_in(chunks))
                self._known[key, path, whole] = names
        finally:
            engine.remove(looked_at)

    def has(self, key: str, path: str) -> bool:
        """Whether the image has something at a path."""
        return self._known[key, path, False] is not None

    def below(self, key: str, folder: str) -> Mapping[str, bool]:
        """The names below a folder of the image, and whether they are folders."""
        return self._known[key, folder, True] or {}


class CopiedFiles:
    """Implements :class:`sandboxes.files.SandboxFiles`."""

    def __init__(self, engine: DockerEngine, files: Copied, spec: SandboxSpec) -> None:
        self._engine = engine
        self._files = files
        self._given = spec
        self.spec = spec
        self._writable = tuple(m for m in spec.mounts if not m.read_only and is_bind(m))
        self._fixed: list[Mount] = []
        self._in_volumes: list[str] = []
        self._inside: tuple[str, ...] = ()
        self._parents: list[str] = []
        self._emptied: list[str] = []
        self._clear: list[str] = []

    @property
    def in_memory(self) -> bool:
        return not any(_below(mount.target, "/tmp") for mount in self._writable)

    def prepare(self) -> None:
        binds = [mount for mount in self._given.mounts if is_bind(mount)]
        volumes = [mount for mount in self._given.mounts if not is_bind(mount)]
        for mount in binds:
            if not Path(mount.source).exists():
                raise SandboxError(f"{mount.source}, for {mount.target} in a sandbox, is not there")
        for mount in binds:
            if mount.read_only and self._could_be_replaced(mount):
                if not Path(mount.source).is_dir():
                    where = f"{mount.target} in a sandbox, where an agent could replace it"
                    raise SandboxError(f"{mount.source} is a file, for {where}; give its folder")
                made = self._files.contents.volume(Path(mount.source), self._given.image)
                volumes.append(Mount(made, mount.target))
            elif mount.read_only:
                self._fixed.append(mount)
        targets = [mount.target for mount in self._writable]
        declared = self._image_volumes
        self._in_volumes = sorted({*targets} & {*declared})
        places = [*(mount.target for mount in volumes), *declared, *targets]
        self._inside = tuple(place for place in places if self._in_writable(place))
        volumes += [Mount("", target, read_only=False) for target in self._in_volumes]
        self.spec = replace(self._given, mounts=tuple(volumes))
        self._look()

    def place(self, container: str) -> None:
        placed = sorted((*self._writable, *self._fixed), key=lambda mount: mount.target.count("/"))
        if not placed:
            return
        with self._put(container, "copying files into a sandbox") as tar:
            for parent in self._parents:
                add_folder(tar, parent)
            for mount in placed:
                self._add(tar, mount)

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", _CLEAR, "sh", *self._clear, "", *argv] if self._clear else argv

    def guard(self, container: str, processes: Processes) -> DiskGuard:
        def written(since: float) -> int:
            volumes = (archive_of(self._engine, container, place) for place in self._in_volumes)
            return self._engine.layer_bytes(container, since) + sum(map(_length, volumes))

        # Whether this machine has the disk of the layers is not known: it is looked every second.
        return DiskGuard((), self._given.limits.disk_mb, written, processes, [_NOWHERE])

    def take_back(self, container: str, runs: bool) -> int:
        from docker.errors import APIError

        if runs:
            with self._engine.errors(f"ending container {container[:12]}"), suppress(APIError):
                self._engine.api.kill(container)  # Refused if it has ended.
        limit = self._given.limits.disk_mb * MEGABYTE
        room = Room(2 * limit + _SLACK_BYTES, _ZEROS * limit + _SLACK_BYTES)
        for mount in self._writable:
            if not mount.returned:
                continue
            try:
                self._restore(mount, container, room)
            except CopyRefusedError as error:  # It is no fault of the command's.
                raise SandboxError(f"{mount.target} cannot be copied back: {error}") from error
        return room.used

    def _restore(self, mount: Mount, container: str, room: Room) -> None:
        from docker.errors import APIError, NotFound

        target, source = mount.target, Path(mount.source)
        if mount.wanted:
            target, source = f"{target}/{mount.wanted}", source / mount.wanted
            remove_tree(Path(mount.source) / mount.wanted.split("/")[0])
            source.mkdir(parents=True)
        leave = [
            place.removeprefix(f"{target}/") for place in self._inside if _below(place, target)
        ]

        def copy() -> None:
            with closing(archive_of(self._engine, container, target)) as chunks:
                restore(chunks, source, room, leave)

        try:
            copy()
        except SandboxError as error:
            if not isinstance(error.__cause__, APIError):
                raise
            if not (mount.wanted and isinstance(error.__cause__, NotFound)):
                self._clear_way(mount, container)
                copy()

    def _clear_way(self, mount: Mount, container: str) -> None:
        """Make empty what has no archive in a dead container: what root has removed, or what a
        link leads to that leads to itself."""
        is_folder = Path(mount.source).is_dir()
        with self._put(container, f"looking for {mount.target} in a sandbox") as tar:
            (add_folder if is_folder else add_in_place)(tar, mount.target)
            path = PurePosixPath(mount.target)
            for part in PurePosixPath(mount.wanted).parts:
                path /= part
                add_folder(tar, str(path))

    def forget(self, container: str) -> None:
        with self._put(container, "emptying a sandbox before an image is made of it") as tar:
            for mount in (*self._writable, *self._fixed):
                if not self._has_inside(mount):
                    add_in_place(tar, mount.target)
                    if Path(mount.source).is_dir():
                        add_folder(tar, mount.target)
                    continue
                with closing(archive_of(self._engine, container, mount.target)) as chunks:
                    names = dict(names_in(chunks))
                for place, is_folder in self._replaceable(mount, names):
                    add_in_place(tar, place)
                    if is_folder:
                        add_folder(tar, place)

    def release(self, shared: bool) -> None:
        pass

    @cached_property
    def _found(self) -> Mapping[str, Any]:
        return self._files.image(self._given.image)

    @property
    def _image_volumes(self) -> list[str]:
        """Folders for which the image asks for volumes."""
        declared = self._found.get("Config", {}).get("Volumes") or {}
        return [path.rstrip("/") for path in declared]

    def _in_writable(self, place: str) -> bool:
        return any(_below(place, mount.target) for mount in self._writable)

    def _has_inside(self, mount: Mount) -> bool:
        """Whether another mount is in it, so that it cannot be replaced as a whole."""
        return self._is_volume(mount) or any(_below(p, mount.target) for p in self._inside)

    def _is_volume(self, mount: Mount) -> bool:
        return mount.target in self._in_volumes

    def _could_be_replaced(self, mount: Mount) -> bool:
        """Whether an agent could put something else in the place of root's files, or whether they
        are too many to be copied each time."""
        spec = self._given
        return (
            spec.root
            or spec.image.startswith(f"{HANDED}:")
            or self._in_writable(mount.target)
            or dirname(mount.target) not in _OF_ROOT
            or not _is_small(Path(mount.source))
        )

    def _look(self) -> None:
        """Find out which folders above what is placed are missing (an engine would make them so
        that all may write there), and what of the image's has to be cleared away."""
        above = {
            str(parent)
            for mount in (*self._writable, *self._fixed)
            for parent in PurePosixPath(mount.target).parents[:-1]
        }
        above -= {mount.target for mount in self._writable}
        above = {parent for parent in above if not self._in_writable(parent)}
        mixed = [m for m in self._writable if self._has_inside(m) and not self._is_volume(m)]
        image, key = self._given.image, str(self._found.get("Id", ""))
        self._files.look(image, key, {mount.target for mount in mixed}, above)
        self._parents = [p for p in sorted(above) if p in _OURS or not self._files.has(key, p)]
        for mount in mixed:
            for place, is_folder in self._replaceable(mount, self._files.below(key, mount.target)):
                if is_folder:
                    self._emptied.append(place)
                if not os.path.lexists(Path(mount.source) / _inner(place, mount)):
                    self._clear.append(place)

    def _add(self, tar: tarfile.TarFile, mount: Mount) -> None:
        source, target = Path(mount.source), mount.target
        if not self._has_inside(mount):
            add_in_place(tar, target)  # Hides what the image has there.
        for place in self._emptied:
            if _below(place, target):
                add_in_place(tar, place)
        uid, gid = self._files.ids
        add_tree(
            tar, source, target, uid=uid, gid=gid, read_only=mount.read_only, leave=self._inside
        )

    def _replaceable(self, mount: Mount, names: Mapping[str, bool]) -> Iterator[tuple[str, bool]]:
        """The paths below a mount that have no other mount in them and are in no such path, of
        those with these names, and whether they are folders."""
        target = mount.target
        inner = {place for place in self._inside if _below(place, target)}
        chain = {target} | {
            str(parent)
            for place in inner
            for parent in PurePosixPath(place).parents
            if _below(str(parent), target)
        }
        for name, is_folder in names.items():
            place = f"{target}/{name}"
            if dirname(place) in chain and place not in chain and place not in inner:
                yield place, is_folder

    @contextmanager
    def _put(self, container: str, doing: str) -> Iterator[tarfile.TarFile]:
        """An archive that is put into a container at the end of the block."""
        try:
            with tempfile.SpooledTemporaryFile(_SMALL_BYTES) as archive:
                with tarfile.open(fileobj=archive, mode="w") as tar:
                    yield tar
                archive.seek(0)
                with self._engine.errors(doing):
                    self._engine.api.put_archive(container, "/", archive)
        except OSError as error:
            raise SandboxError(f"{doing}: {error}") from error


def _below(place: str, target: str) -> bool:
    return place.startswith(f"{target}/")


def _inner(place: str, mount: Mount) -> str:
    return place.removeprefix(f"{mount.target}/")


def _length(chunks: Iterator[bytes]) -> int:
    return sum(map(len, chunks))


def _is_small(source: Path) -> bool:
    if source.is_file():
        return source.stat().st_size <= _SMALL_BYTES
    size = count = 0
    for entry in entries_below(source):
        size, count = size + entry.stat(follow_symlinks=False).st_size, count + 1
        if size > _SMALL_BYTES or count > _SMALL_ENTRIES:
            return False
    return True
