"""Sandboxes as Docker containers: no network, an ordinary user, no capabilities, hard limits. Where
a task asks for it, root of its own container, with few capabilities.

The container's own process only idles; commands are run beside it through the engine's exec API. A
sandbox for a single command has none beside it: the command is the container's own process.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from posixpath import normpath
from typing import Any

from sandboxes.archive import pack, unpack
from sandboxes.base import (
    Deadline,
    ExecResult,
    ImageMissingError,
    OnOutput,
    SandboxError,
    SandboxSpec,
    Talk,
    Uncounted,
    all_counted,
    deadline,
)
from sandboxes.container import ROOT, ROOT_IDLE
from sandboxes.disk import MEGABYTE, DiskGuard, processes_of
from sandboxes.docker import IDLE, IDLE_USER, SANDBOX_KIND, DockerEngine
from sandboxes.ending import Ending, end_alone, end_beside, follow, kernel_kills
from sandboxes.execution import ExecStream
from sandboxes.mounts import has_foreign, is_bind
from sandboxes.namespaces import Namespace
from sandboxes.output import Output
from sandboxes.watch import Watch

_OTHER_USER = "65533:65533"


class DockerSandbox:
    """One container of an engine. Implements :class:`sandboxes.base.Sandbox`."""

    def __init__(self, engine: DockerEngine, spec: SandboxSpec) -> None:
        self._engine = engine
        self._spec = spec
        self._container: str | None = None
        self._namespace: Namespace | None = None
        self._dead: str | None = "has not been started"
        self._kills_before = 0
        self._first_process = 0
        self._user = ROOT if spec.root else f"{engine.uid}:{engine.gid}"
        self._shared = False
        """Whether a second user has worked in it."""

    def __enter__(self) -> DockerSandbox:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        self._engine.check_open()
        for mount in self._spec.mounts:
            if not mount.read_only and is_bind(mount):
                self._engine.prepare_writable(Path(mount.source))
        self._dead = None
        if not self._spec.single_command:
            self._running()

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline_s: float,
        uncounted: Uncounted = all_counted,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        on_output: OnOutput | None = None,
        max_output: int = 4 * MEGABYTE,
    ) -> ExecResult:
        began = time.monotonic()
        end = deadline(began, deadline_s, uncounted)
        output = Output(max_output, on_output)
        self._check_usable()
        alone = self._spec.single_command and self._container is None
        run = self._run_alone if alone else self._run_beside
        with self._engine.errors(f"running {argv[0]!r} in a sandbox"):
            exit_code, limit = run(argv, env or {}, cwd or self._spec.workdir, output, end)
        return output.result(exit_code, limit, began)

    def _run_beside(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        output: Output,
        end: Deadline,
    ) -> Ending:
        """Run a command beside the idle process."""
        container = self._running()
        watch = Watch(end, self._guard())
        exec_id, raw = self._exec(container, argv, env, cwd)
        with contextlib.closing(ExecStream(raw)) as stream:
            limit = follow(stream, output, watch)
        self._engine.check_open()
        exit_code, limit = (
            (None, limit) if limit else end_beside(self._engine, container, exec_id, watch)
        )
        if exit_code is None:
            self._kill(container, f"was killed at its {limit} limit")
        elif (
            exit_code != 0 and (kills := kernel_kills(self._engine, container)) > self._kills_before
        ):
            self._kills_before = kills
            limit = "memory"
        return exit_code, limit

    def _run_alone(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        output: Output,
        end: Deadline,
    ) -> Ending:
        """Run a command as the container's own process."""
        self._dead = "has run its only command"
        spec = replace(self._spec, env={**self._spec.env, **env}, workdir=cwd)
        container = self._launch(spec, self._user, argv)
        watch = Watch(end, self._guard())
        wanted = {"stdout": 1, "stderr": 1, "stream": 1}
        raw = self._engine.api.attach_socket(container, wanted)
        with contextlib.closing(ExecStream(raw)) as stream:
            asked = time.monotonic()
            self._engine.start(container)
            started = time.monotonic()
            limit = follow(stream, output, watch)
        self._engine.check_open()
        exit_code, limit = (
            (None, limit) if limit else end_alone(self._engine, container, watch, asked, started)
        )
        if exit_code is None:
            self._kill(container, f"was killed at its {limit} limit")
        return exit_code, limit

    def spawn(self, argv: Sequence[str]) -> bool:
        container, api = self._running(), self._engine.api
        with self._engine.errors(f"starting {argv[0]!r} in a sandbox"):
            created = api.exec_create(container, list(argv), user=_OTHER_USER, workdir="/")
            api.exec_start(created["Id"], detach=True)
        self._shared = True
        return True

    def converse(
        self,
        argv: Sequence[str],
        talk: Talk,
        *,
        deadline_s: float,
        uncounted: Uncounted = all_counted,
        env: Mapping[str, str] | None = None,
    ) -> ExecResult:
        from docker.errors import APIError

        from sandboxes.terminal import COLUMNS, ROWS, hold

        began = time.monotonic()
        end = deadline(began, deadline_s, uncounted)
        container = self._running()
        watch = Watch(end, self._guard())
        exit_code = None
        with self._engine.errors(f"running {argv[0]!r} on a terminal in a sandbox"):
            cwd = self._spec.workdir
            exec_id, raw = self._exec(container, argv, env or {}, cwd, tty=True)
            with contextlib.closing(raw._response):
                with contextlib.suppress(APIError):  # A command may have ended already.
                    self._engine.api.exec_resize(exec_id, height=ROWS, width=COLUMNS)
                limit = hold(talk, raw, watch)
            self._engine.check_open()
            if limit is None and not self._engine.api.exec_inspect(exec_id)["Running"]:
                exit_code, limit = end_beside(self._engine, container, exec_id, watch)
        if exit_code is None:
            why = f"was killed at its {limit} limit" if limit else "was ended with its terminal"
            self._kill(container, why)
        return Output(0).result(exit_code, limit, began)

    def path(self, target: str) -> str:
        return target

    def copy_in(self, source: Path, target: str) -> None:
        container = self._running()
        engine = self._engine
        with tempfile.TemporaryFile() as archive:
            pack(source, target.lstrip("/"), archive, uid=engine.uid, gid=engine.gid)
            archive.seek(0)
            with engine.errors(f"copying {source} into a sandbox as {target}"):
                engine.api.put_archive(container, "/", archive)

    def copy_out(self, source: str, target: Path) -> None:
        container = self._running()
        limit = self._spec.limits.disk_mb * MEGABYTE
        unpack(self._archive_of(container, normpath(source)), target, max_bytes=limit)

    def stop(self) -> None:
        container, self._container = self._container, None
        kept, self._namespace = self._namespace, None
        self._dead = "has been stopped"
        if container is not None:
            try:
                if self._spec.keep_as:
                    self._engine.keep(container, self._spec.keep_as)
            finally:
                self._engine.remove(container)
            if self._shared or self._spec.root:
                self._give_back()
        if kept is not None:  # Not if a process could be left in it.
            self._engine.namespaces.give_back(kept)

    def _give_back(self) -> None:
        """Open what root or the second user has left in writable mounts to this process, which
        could not even remove it if it is an ordinary user's."""
        mounts = [m for m in self._spec.mounts if not m.read_only and is_bind(m)]
        if os.getuid() == 0 or self._engine.closed or not mounts:
            return
        places = [mount.target for mount in mounts]
        if self._spec.root:
            ids = f"{self._engine.uid}:{self._engine.gid}"
            user, command = ROOT, ("chown", "-hR", ids, "--", *places)
        elif any(has_foreign(m.source) for m in mounts):
            user, command = _OTHER_USER, ("chmod", "-R", "a+rwX", "--", *places)
        else:
            return
        spec = replace(self._spec, mounts=tuple(mounts), network="none")
        opener = self._engine.launch(spec, kind=SANDBOX_KIND, user=user, command=command)
        try:
            self._engine.start(opener)
            with self._engine.errors("waiting for the files of another user"):
                self._engine.api.wait(opener, timeout=self._engine.patience_s)
        finally:
            self._engine.remove(opener)

    def _check_usable(self) -> None:
        self._engine.check_open()
        if self._dead is not None:
            raise SandboxError(f"the sandbox of {self._spec.image} {self._dead}; start a new one")

    def _running(self) -> str:
        """The container, in which a process idles."""
        self._check_usable()
        container = self._container
        if container is None:
            try:
                # Commands beside it have no capabilities that the container's process has not.
                idle = (ROOT, ROOT_IDLE) if self._spec.root else (IDLE_USER, IDLE)
                container = self._launch(self._spec, *idle)
                self._engine.start(container)
            except BaseException:
                self.stop()
                raise
        return container

    def _launch(self, spec: SandboxSpec, user: str, command: Sequence[str]) -> str:
        """Create the container, in a namespace that is kept for those without a network."""
        kept = None
        if spec.network == "none":
            # Without the project's image the engine makes a namespace for this container alone.
            with contextlib.suppress(ImageMissingError):
                kept = self._engine.namespaces.take()
                spec = replace(spec, network=kept.network)
        try:
            made = self._engine.launch(spec, kind=SANDBOX_KIND, user=user, command=command)
        except BaseException:
            if kept is not None:
                self._engine.namespaces.give_back(kept)
            raise
        self._container, self._namespace = made, kept
        return made

    def _exec(
        self,
        container: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        tty: bool = False,
    ) -> tuple[str, Any]:
        api = self._engine.api
        created = api.exec_create(
            container,
            list(argv),
            user=self._user,
            environment=dict(env),
            workdir=cwd,
            tty=tty,
            stdin=tty,
        )
        exec_id = str(created["Id"])
        return exec_id, api.exec_start(exec_id, tty=tty, socket=True)

    def _guard(self) -> DiskGuard:
        writable = [Path(m.source) for m in self._spec.mounts if not m.read_only and is_bind(m)]
        layers = Path(self._engine.info["DockerRootDir"])
        return DiskGuard(
            writable,
            self._spec.limits.disk_mb,
            lambda since: self._engine.layer_bytes(self._container or "", since),
            self._processes,
            [layers],
        )

    def _processes(self) -> list[int]:
        """The numbers of the container's processes on this machine, as far as it has them."""
        container = self._container or ""
        if self._first_process == 0:
            with self._engine.errors("looking for a sandbox's processes"):
                state = self._engine.api.inspect_container(container)["State"]
            self._first_process = int(state["Pid"])
        return processes_of(container, self._first_process)

    def _kill(self, container: str, why: str) -> None:
        """Kill the container with all its processes, and check that it is dead."""
        from docker.errors import APIError

        self._dead = why
        with self._engine.errors(f"killing container {container[:12]}"):
            with contextlib.suppress(APIError):  # It may have ended by itself just now.
                self._engine.api.kill(container)
            state = self._engine.api.inspect_container(container)["State"]
        if state["Running"]:
            raise SandboxError(
                f"container {container[:12]} {why} but still runs; restart the engine"
            )

    def _archive_of(self, container: str, source: str) -> Iterator[bytes]:
        with self._engine.errors(f"copying {source} out of a sandbox"):
            chunks, _ = self._engine.api.get_archive(container, source)
            yield from chunks
