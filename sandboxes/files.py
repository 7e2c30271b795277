"""How files get into containers and back: by mounts, here, or by copies, in copied.py.

Which of the two an engine can do is found out in engine_trial.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Protocol

from sandboxes.base import SandboxSpec
from sandboxes.container import ROOT
from sandboxes.disk import DiskGuard
from sandboxes.docker import SANDBOX_KIND, DockerEngine
from sandboxes.mounts import agent_ids, has_foreign, is_bind, prepare_writable

OTHER_USER = "65533:65533"
Way = Literal["auto", "mounts", "copy"]
Processes = Callable[[], Iterable[int]]


class SandboxFiles(Protocol):
    """The files of one sandbox, from before its container is made until that is gone."""

    @property
    def spec(self) -> SandboxSpec:
        """What the container is made of, once :meth:`prepare` has been called."""

    @property
    def in_memory(self) -> bool:
        """Whether ``/tmp`` may be in memory."""

    def prepare(self) -> None:
        """Do what comes before the container; raises SandboxError."""

    def place(self, container: str) -> None:
        """Bring the files into a container that has not been started; raises SandboxError."""

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        """The first command, which may have to complete what :meth:`place` did."""

    def guard(self, container: str, processes: Processes) -> DiskGuard:
        """What watches the disk space of a command in the container.

        Args:
            container: its id.
            processes: reports the numbers of its processes on this machine.
        """

    def take_back(self, container: str, runs: bool) -> int:
        """Bring what was written into a container back to the host, if it is not there.

        Args:
            container: its id.
            runs: whether it has to be killed first.

        Returns:
            The bytes that were copied.

        Raises:
            SandboxError: the engine or a disk fails.
        """

    def forget(self, container: str) -> None:
        """Take away from a dead container what must not be in an image of it."""

    def release(self, shared: bool) -> None:
        """Make what is on the host accessible to this process, once the container is gone.

        Args:
            shared: whether the second user has worked in it.
        """


class Files(Protocol):
    """One of the two ways. Safe to use from threads."""

    @property
    def ids(self) -> tuple[int, int]:
        """User and group of agents."""

    def of(self, spec: SandboxSpec) -> SandboxFiles:
        """The files of a new sandbox."""

    def close(self) -> None:
        """Remove what was made for several sandboxes."""


class Mounted:
    """Folders of this machine are mounted. Implements :class:`Files`.

    Args:
        engine: sees this machine's files.
    """

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self.ids = agent_ids()

    def of(self, spec: SandboxSpec) -> MountedFiles:
        return MountedFiles(self._engine, spec, self.ids)

    def close(self) -> None:
        pass


class MountedFiles:
    """Implements :class:`SandboxFiles`."""

    in_memory = True

    def __init__(self, engine: DockerEngine, spec: SandboxSpec, ids: tuple[int, int]) -> None:
        self._engine = engine
        self.spec = spec
        self._ids = ids
        self._writable = tuple(m for m in spec.mounts if not m.read_only and is_bind(m))

    def prepare(self) -> None:
        for mount in self._writable:
            prepare_writable(Path(mount.source), *self._ids)

    def place(self, container: str) -> None:
        pass

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        return argv

    def guard(self, container: str, processes: Processes) -> DiskGuard:
        return DiskGuard(
            [Path(mount.source) for mount in self._writable],
            self.spec.limits.disk_mb,
            lambda since: self._engine.layer_bytes(container, since),
            processes,
            [Path(self._engine.info["DockerRootDir"])],
        )

    def take_back(self, container: str, runs: bool) -> int:
        return 0

    def forget(self, container: str) -> None:
        pass

    def release(self, shared: bool) -> None:
        """Open what root or the second user has left to this process, which could not even remove
        it if it is an ordinary user's."""
        engine, places = self._engine, [mount.target for mount in self._writable]
        if not (shared or self.spec.root) or os.getuid() == 0 or engine.closed or not places:
            return
        if self.spec.root:
            user, command = ROOT, ("chown", "-hR", "{}:{}".format(*self._ids), "--", *places)
        elif any(has_foreign(mount.source) for mount in self._writable):
            user, command = OTHER_USER, ("chmod", "-R", "a+rwX", "--", *places)
        else:
            return
        spec = replace(self.spec, mounts=self._writable, network="none")
        opener = engine.launch(spec, kind=SANDBOX_KIND, user=user, command=command)
        try:
            engine.start(opener)
            with engine.errors("waiting for the files of another user"):
                engine.api.wait(opener, timeout=engine.patience_s)
        finally:
            engine.remove(opener)
