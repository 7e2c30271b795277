"""Volumes with files of this machine that no sandbox can change, each made once for its content.

They end with the process that made them; ``skillopt clean`` removes those of dead ones.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import tarfile
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sandboxes.base import SandboxError
from sandboxes.docker import IDLE, DockerEngine
from sandboxes.packing import add_tree, exists_in
from sandboxes.trees import entries_below
from sandboxes.volumes import filling, remove_volume

CONTENT_KIND = "content"
MOST = 64
"""Volumes that are kept at most, so that many contents that come once do not pile up."""
_MOST_DIGESTS = 1000
_PLACE = "/skillopt-content"


class Contents:
    """The volumes of one engine. Safe to use from threads.

    Args:
        engine: has them.
        gid: of agents, who may read them.
    """

    def __init__(self, engine: DockerEngine, gid: int) -> None:
        self._engine = engine
        self._gid = gid
        self._lock = threading.Lock()
        self._names: dict[str, str] = {}
        self._digests: dict[Path, tuple[str, str]] = {}

    def volume(self, source: Path, image: str) -> str:
        """The name of the volume with a folder's content.

        Args:
            source: on this machine; nobody may change it meanwhile.
            image: that the engine has.

        Raises:
            SandboxError: the engine fails, or does not put the files into the volume.
        """
        stamp = _stamp(source)
        with self._lock:
            known = self._digests.get(source)
            # A large folder that many sandboxes share is read once.
            key = known[1] if known and known[0] == stamp else content_digest(source)
            if len(self._digests) > _MOST_DIGESTS:
                self._digests.clear()
            self._digests[source] = stamp, key
            name = self._names.pop(key, "") or self._filled(source, image)
            self._names[key] = name
            if len(self._names) > MOST:
                oldest = next(iter(self._names))
                if remove_volume(self._engine, self._names[oldest]):  # Else it is in use.
                    del self._names[oldest]
            return name

    def close(self) -> None:
        """Remove them, as far as the engine does."""
        with self._lock:
            for name in self._names.values():
                with suppress(SandboxError):
                    remove_volume(self._engine, name)
            self._names.clear()

    def _filled(self, source: Path, image: str) -> str:
        engine = self._engine
        name = f"skillopt-content-{secrets.token_hex(8)}"
        with engine.errors(f"making volume {name}"):
            engine.api.create_volume(name, labels=engine.labels(CONTENT_KIND))
        try:
            # Some engines put files into the volumes of running containers alone.
            if not any(self._fill(source, name, image, runs) for runs in (False, True)):
                raise SandboxError(
                    f"the engine at {engine.host} does not put files into volumes; use another one "
                    "(DOCKER_HOST)"
                )
        except BaseException:
            with suppress(SandboxError):
                remove_volume(engine, name)
            raise
        return name

    def _fill(self, source: Path, name: str, image: str, runs: bool) -> bool:
        """Put the files into the volume; whether another container finds them there."""

        def put(container: str) -> bool:
            if runs:
                self._engine.start(container)
            with tempfile.TemporaryFile() as archive:
                with tarfile.open(fileobj=archive, mode="w") as tar:
                    add_tree(tar, source, _PLACE, gid=self._gid, read_only=True)
                archive.seek(0)
                with self._engine.errors(f"filling volume {name}"):
                    return bool(self._engine.api.put_archive(container, "/", archive))

        def found(container: str) -> bool:
            names = [f"{_PLACE}/{entry.name}" for entry in source.iterdir()][:1]
            return all(exists_in(self._engine, container, name) for name in names)

        return self._with(name, image, put) and self._with(name, image, found)

    def _with(self, name: str, image: str, use: Callable[[str], bool]) -> bool:
        """Use a container that has the volume."""
        bind = f"{name}:{_PLACE}:nocopy"
        with filling(self._engine, image, bind, IDLE) as container:
            return use(container)


def _stamp(source: Path) -> str:
    """What changes with a folder's content, without reading it."""
    digest = hashlib.sha256()
    for path in (os.fspath(source), *sorted(entry.path for entry in entries_below(source))):
        status = os.lstat(path)
        times = (status.st_mtime_ns, status.st_ctime_ns)
        seen = (status.st_ino, status.st_mode, status.st_size, *times)
        digest.update(os.fsencode(path) + repr(seen).encode())
    return digest.hexdigest()


def content_digest(source: Path) -> str:
    """A digest of the names, kinds, rights and contents of all in a folder."""
    digest = hashlib.sha256()
    below = sorted(entry.path for entry in entries_below(source)) if source.is_dir() else []
    for path in (os.fspath(source), *below):
        status = os.lstat(path)
        name = os.fsencode(os.path.relpath(path, source))
        if stat.S_ISLNK(status.st_mode):
            content = os.fsencode(os.readlink(path))  # noqa: PTH115
        elif stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:  # noqa: PTH123
                content = hashlib.file_digest(file, "sha256").digest()
        else:
            content = b""
        digest.update(b"%d %o %b\0" % (len(name), status.st_mode, name))
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
