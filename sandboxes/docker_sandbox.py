"""Sandboxes as Docker containers: no network, an ordinary user, no capabilities, hard limits.

The container's own process only idles; commands are run in it through the engine's exec API.
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
    OnOutput,
    SandboxError,
    SandboxSpec,
    Talk,
    Uncounted,
    all_counted,
    deadline,
)
from sandboxes.disk import MEGABYTE, DiskGuard, processes_of
from sandboxes.docker import DockerEngine
from sandboxes.execution import ExecStream
from sandboxes.mounts import has_foreign, is_bind
from sandboxes.output import Output

_IDLE = ("sleep", "infinity")
_IDLE_USER = "65534:65534"
"""An ordinary user other than the agent, so that the agent cannot end its sandbox by a signal."""
_OTHER_USER = "65533:65533"
_SETTLING_S = 2.0
_CGROUP_EVENTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_EXIT_POLL_S = 0.05


class DockerSandbox:
    """One container of an engine. Implements :class:`sandboxes.base.Sandbox`."""

    def __init__(self, engine: DockerEngine, spec: SandboxSpec) -> None:
        self._engine = engine
        self._spec = spec
        self._container: str | None = None
        self._dead: str | None = "has not been started"
        self._kills_before = 0
        self._first_process = 0
        self._user = f"{engine.uid}:{engine.gid}"
        self._shared = False
        """Whether a second user has worked in it."""

    def __enter__(self) -> DockerSandbox:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        spec, engine = self._spec, self._engine
        for mount in spec.mounts:
            if not mount.read_only and is_bind(mount):
                engine.prepare_writable(Path(mount.source))
        self._container = engine.launch(spec, kind="sandbox", user=_IDLE_USER, command=_IDLE)
        try:
            engine.start(self._container)
        except BaseException:
            self.stop()
            raise
        self._dead = None

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
        container = self._alive()
        output = Output(max_output, on_output)
        with self._engine.errors(f"running {argv[0]!r} in a sandbox"):
            exec_id, raw = self._exec(container, argv, env, cwd)
            with contextlib.closing(ExecStream(raw)) as stream:
                limit = self._follow(stream, output, end)
            self._engine.check_open()
            exit_code: int | None = None
            if limit is None:
                exit_code, limit = self._ending(container, exec_id, end)
        if exit_code is None:
            self._kill(container, f"was killed at its {limit} limit")
        elif exit_code != 0 and (kills := self._kernel_kills(container)) > self._kills_before:
            self._kills_before = kills
            limit = "memory"
        return output.result(exit_code, limit, began)

    def spawn(self, argv: Sequence[str]) -> bool:
        container, api = self._alive(), self._engine.api
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
        container = self._alive()
        exit_code = None
        with self._engine.errors(f"running {argv[0]!r} on a terminal in a sandbox"):
            exec_id, raw = self._exec(container, argv, env, None, tty=True)
            with contextlib.closing(raw._response):
                with contextlib.suppress(APIError):  # A command may have ended already.
                    self._engine.api.exec_resize(exec_id, height=ROWS, width=COLUMNS)
                limit = hold(talk, raw, self._guard(), end)
            self._engine.check_open()
            if limit is None and not self._engine.api.exec_inspect(exec_id)["Running"]:
                exit_code, limit = self._ending(container, exec_id, end)
        if exit_code is None:
            why = f"was killed at its {limit} limit" if limit else "was ended with its terminal"
            self._kill(container, why)
        return Output(0).result(exit_code, limit, began)

    def path(self, target: str) -> str:
        return target

    def copy_in(self, source: Path, target: str) -> None:
        container = self._alive()
        engine = self._engine
        with tempfile.TemporaryFile() as archive:
            pack(source, target.lstrip("/"), archive, uid=engine.uid, gid=engine.gid)
            archive.seek(0)
            with engine.errors(f"copying {source} into a sandbox as {target}"):
                engine.api.put_archive(container, "/", archive)

    def copy_out(self, source: str, target: Path) -> None:
        container = self._alive()
        limit = self._spec.limits.disk_mb * MEGABYTE
        unpack(self._archive_of(container, normpath(source)), target, max_bytes=limit)

    def stop(self) -> None:
        container, self._container = self._container, None
        self._dead = "has been stopped"
        if container is not None:
            self._engine.remove(container)
            if self._shared:
                self._give_back()

    def _give_back(self) -> None:
        """Open what the second user has left in writable mounts to this process, which could not
        even remove it if it is an ordinary user's."""
        mounts = [m for m in self._spec.mounts if not m.read_only and is_bind(m)]
        if (
            os.getuid() == 0
            or self._engine.closed
            or not any(has_foreign(m.source) for m in mounts)
        ):
            return
        command = ("chmod", "-R", "a+rwX", "--", *(mount.target for mount in mounts))
        spec = replace(self._spec, mounts=tuple(mounts), network="none")
        opener = self._engine.launch(spec, kind="sandbox", user=_OTHER_USER, command=command)
        try:
            self._engine.start(opener)
            with self._engine.errors("waiting for the files of a sandbox's second user"):
                self._engine.api.wait(opener, timeout=self._engine.patience_s)
        finally:
            self._engine.remove(opener)

    def _alive(self) -> str:
        self._engine.check_open()
        if self._dead is not None or self._container is None:
            raise SandboxError(f"the sandbox of {self._spec.image} {self._dead}; start a new one")
        return self._container

    def _exec(
        self,
        container: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        cwd: str | None,
        tty: bool = False,
    ) -> tuple[str, Any]:
        api = self._engine.api
        created = api.exec_create(
            container,
            list(argv),
            user=self._user,
            environment=dict(env or {}),
            workdir=cwd or self._spec.workdir,
            tty=tty,
            stdin=tty,
        )
        exec_id = str(created["Id"])
        return exec_id, api.exec_start(exec_id, tty=tty, socket=True)

    def _guard(self) -> DiskGuard:
        writable = [Path(m.source) for m in self._spec.mounts if not m.read_only and is_bind(m)]
        layers = Path(self._engine.info["DockerRootDir"])
        return DiskGuard(
            writable, self._spec.limits.disk_mb, self._layer_bytes, self._processes, [layers]
        )

    def _processes(self) -> list[int]:
        """The numbers of the container's processes on this machine, as far as it has them."""
        if self._first_process == 0:
            container = self._alive()
            with self._engine.errors("looking for a sandbox's processes"):
                state = self._engine.api.inspect_container(container)["State"]
            self._first_process = int(state["Pid"])
        return processes_of(self._container or "", self._first_process)

    def _follow(self, stream: ExecStream, output: Output, end: Deadline) -> str | None:
        """Pass output on until the command closes it; the limit that was reached, if one was."""
        guard = self._guard()
        while (now := time.monotonic()) < (last := end()):
            if now >= guard.due and guard.exceeded():
                return "disk"
            chunks = stream.read(min(last, guard.due) - time.monotonic())
            if chunks is None:
                return "disk" if guard.mounts_exceeded() else None
            for name, chunk in chunks:
                output.add(name, chunk)
        return "time"

    def _ending(self, container: str, exec_id: str, end: Deadline) -> tuple[int | None, str | None]:
        """The exit code of a command whose output has ended, or the limit that ended the sandbox.

        Raises SandboxError if the container has ended for another reason.
        """
        api = self._engine.api
        while (status := api.exec_inspect(exec_id))["Running"]:
            if time.monotonic() >= end():
                return None, "time"
            time.sleep(_EXIT_POLL_S)
        code = int(status["ExitCode"])
        # A command whose container was killed also ends with 137.
        if code == 137:
            state = self._settled(container)
            if not state["Running"]:
                if state["OOMKilled"]:
                    return None, "memory"
                self._dead = "ended before its command did"
                self._alive()
        return code, None

    def _settled(self, container: str) -> dict[str, Any]:
        """The state of a container that may be ending: the engine reports the end of a command
        before that of the container that it was killed with."""
        until = time.monotonic() + _SETTLING_S
        while True:
            state = dict(self._engine.api.inspect_container(container)["State"])
            if not state["Running"] or time.monotonic() >= until:
                return state
            time.sleep(_EXIT_POLL_S)

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

    def _kernel_kills(self, container: str) -> int:
        """Number of processes that the kernel has killed for lack of memory in this sandbox."""
        api = self._engine.api
        with self._engine.errors("reading a sandbox's memory events"):
            created = api.exec_create(container, ["cat", *_CGROUP_EVENTS], stderr=False)
            raw = api.exec_start(created["Id"], socket=True)
            with contextlib.closing(ExecStream(raw)) as stream:
                text = stream.rest(self._engine.patience_s).decode(errors="replace")
        pairs = [line.split() for line in text.splitlines()]
        return sum(int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == "oom_kill")

    def _archive_of(self, container: str, source: str) -> Iterator[bytes]:
        with self._engine.errors(f"copying {source} out of a sandbox"):
            chunks, _ = self._engine.api.get_archive(container, source)
            yield from chunks

    def _layer_bytes(self) -> int:
        """Bytes that the container has written outside its mounts."""
        found = self._engine.api.containers(
            all=True, size=True, filters={"id": self._container or ""}
        )
        return int(found[0].get("SizeRw") or 0) if found else 0
