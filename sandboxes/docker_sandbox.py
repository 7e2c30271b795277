"""Sandboxes as Docker containers: no network, an ordinary user, no capabilities, hard limits. Where
a task asks for it, root of its own container, with few capabilities.

The container's own process idles, and commands are run beside it through the engine's exec API; or
it is a shell that runs them; or it is the command, if there is but one.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from posixpath import normpath
from typing import Any

from sandboxes.archive import pack, unpack
from sandboxes.base import (
    CopyRefusedError,
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
from sandboxes.container import ROOT, ROOT_IDLE, home_of
from sandboxes.disk import MEGABYTE, DiskGuard, processes_of
from sandboxes.docker import IDLE, IDLE_USER, SANDBOX_KIND, DockerEngine
from sandboxes.ending import Ending, end_alone, end_beside, end_of_shell, follow, kernel_kills
from sandboxes.execution import Chunks, ExecStream
from sandboxes.files import OTHER_USER, Files, Mounted, SandboxFiles
from sandboxes.namespaces import Namespace
from sandboxes.output import Output
from sandboxes.packing import archive_of
from sandboxes.shell import SHELL, Running, Shell
from sandboxes.watch import Watch


class DockerSandbox:
    """One container of an engine. Implements :class:`sandboxes.base.Sandbox`."""

    def __init__(
        self, engine: DockerEngine, spec: SandboxSpec, files: Callable[[], Files] | None = None
    ) -> None:
        self._engine = engine
        self._spec = spec
        self._way = files or (lambda: Mounted(engine))
        self._files: SandboxFiles | None = None
        self._placed = False
        self._ids = (0, 0)
        self._container: str | None = None
        self._namespace: Namespace | None = None
        self._dead: str | None = "has not been started"
        self._kills_before = 0
        self._first_process = 0
        self._user = ROOT
        self._shell: Shell | None = None
        self._up = False
        """Whether the container's own process runs."""
        self._started = (0.0, 0.0)
        """When the engine was asked to start it, and when it had, by the monotonic clock."""
        self._shared = False
        """Whether a second user has worked in it."""

    def __enter__(self) -> DockerSandbox:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        self._engine.check_open()
        way = self._way()
        self._ids = way.ids
        self._user = ROOT if self._spec.root else "{}:{}".format(*self._ids)
        self._files = way.of(self._spec)
        self._files.prepare()
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
        """Run a command in a container that goes on."""
        container = self._running()
        watch = Watch(end, self._guard())
        with self._begun(container, argv, env, cwd) as (stream, end_of):
            limit = follow(stream, output, watch)
        self._engine.check_open()
        exit_code, limit = (None, limit) if limit else end_of(watch)
        if exit_code is None:
            self._kill(container, f"was killed at its {limit} limit")
        elif exit_code != 0 and self._up:
            kills = kernel_kills(self._engine, container)
            if kills > self._kills_before:
                self._kills_before = kills
                limit = "memory"
        return exit_code, limit

    @contextlib.contextmanager
    def _begun(
        self, container: str, argv: Sequence[str], env: Mapping[str, str], cwd: str
    ) -> Iterator[tuple[Chunks, Callable[[Watch], Ending]]]:
        """A command that runs now: its output, and how it ended once that has."""
        if self._shell is not None:
            running = self._shell.begin(argv, env, cwd)
            yield running, lambda watch: self._end_in_shell(container, running, watch)
            return
        exec_id, raw = self._exec(container, argv, env, cwd)
        with contextlib.closing(ExecStream(raw)) as stream:
            yield stream, lambda watch: end_beside(self._engine, container, exec_id, watch)

    def _end_in_shell(self, container: str, running: Running, watch: Watch) -> Ending:
        if running.exit_code is None:  # The shell has ended, and the container with it.
            self._leave_shell()
            return end_of_shell(self._engine, container, watch, *self._started)
        limit = watch.reached_at_end()
        return (None, limit) if limit else (running.exit_code, None)

    def _leave_shell(self) -> None:
        shell, self._shell, self._up = self._shell, None, False
        if shell is not None:
            shell.close()

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
        assert self._files is not None
        container = self._launch(self._user, self._files.command(argv), env, cwd)
        watch = Watch(end, self._guard())
        with contextlib.closing(ExecStream(self._start(container))) as stream:
            limit = follow(stream, output, watch)
        self._engine.check_open()
        exit_code, limit = (
            (None, limit) if limit else end_alone(self._engine, container, watch, *self._started)
        )
        if exit_code is None:
            self._kill(container, f"was killed at its {limit} limit")
        elif self._take_back(container, runs=False) > self._spec.limits.disk_mb * MEGABYTE:
            return None, "disk"
        return exit_code, limit

    def spawn(self, argv: Sequence[str]) -> bool:
        container, api = self._running(), self._engine.api
        with self._engine.errors(f"starting {argv[0]!r} in a sandbox"):
            created = api.exec_create(container, list(argv), user=OTHER_USER, workdir="/")
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
            exec_id, raw = self._exec(container, argv, env or {}, cwd, stdin=True, tty=True)
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
        engine, (uid, gid) = self._engine, self._ids
        with tempfile.TemporaryFile() as archive:
            pack(source, target.lstrip("/"), archive, uid=uid, gid=gid)
            archive.seek(0)
            with engine.errors(f"copying {source} into a sandbox as {target}"):
                engine.api.put_archive(container, "/", archive)

    def copy_out(self, source: str, target: Path) -> None:
        container = self._running()
        limit = self._spec.limits.disk_mb * MEGABYTE
        with contextlib.closing(archive_of(self._engine, container, normpath(source))) as chunks:
            unpack(chunks, target, max_bytes=limit)

    def stop(self) -> None:
        container, self._container = self._container, None
        kept, self._namespace = self._namespace, None
        was_killed, used = self._dead is not None, 0
        self._dead = "has been stopped"
        if container is not None:
            try:
                used = self._take_back(container, runs=not was_killed)
                if self._spec.keep_as and self._files is not None:
                    self._files.forget(container)
                    given = [mount.target for mount in self._spec.mounts]
                    self._engine.keep(container, self._spec.keep_as, given)
            finally:
                self._leave_shell()
                self._engine.remove(container)
            if self._files is not None:
                self._files.release(self._shared)
        if kept is not None:  # Not if a process could be left in it.
            self._engine.namespaces.give_back(kept)
        limit = self._spec.limits.disk_mb
        if used > limit * MEGABYTE and not was_killed:
            raise CopyRefusedError(f"its files and folders take more than {limit} MB")

    def _take_back(self, container: str, runs: bool) -> int:
        """Have what was written on this machine, once; the bytes that were copied for it."""
        if self._files is None or not self._placed or self._engine.closed:
            return 0
        self._placed = False
        return self._files.take_back(container, runs)

    def _check_usable(self) -> None:
        self._engine.check_open()
        if self._dead is not None:
            raise SandboxError(f"the sandbox of {self._spec.image} {self._dead}; start a new one")

    def _running(self) -> str:
        """The container, in which a command can be begun."""
        self._check_usable()
        if self._container is None or not self._up:
            try:
                self._bring_up()
            except BaseException:
                self.stop()
                raise
        assert self._container is not None
        return self._container

    def _bring_up(self) -> None:
        """Have a container in which a command can be begun; a command may have ended its shell."""
        assert self._files is not None
        if self._spec.one_shell:
            shell = self._files.command(SHELL)
            container = self._container or self._launch(self._user, shell, stdin=True)
            with self._engine.errors("starting a sandbox"):
                self._shell = Shell(self._start(container, stdin=True))
        else:
            # Commands beside it have no capabilities that the container's process has not.
            idle = (ROOT, ROOT_IDLE) if self._spec.root else (IDLE_USER, IDLE)
            container = self._launch(*idle)
            self._engine.start(container)
            self._complete(container)
        self._up = True

    def _start(self, container: str, *, stdin: bool = False) -> Any:
        """Start a container's own process; what its output is read from, and all of it is there."""
        wanted = {"stdout": 1, "stderr": 1, "stream": 1} | ({"stdin": 1} if stdin else {})
        raw = self._engine.api.attach_socket(container, wanted)
        asked = time.monotonic()
        try:
            self._engine.start(container)
        except BaseException:
            raw._response.close()
            raise
        self._started = asked, time.monotonic()
        self._kills_before = self._first_process = 0
        return raw

    def _complete(self, container: str) -> None:
        """Run what has to be run before the first command."""
        assert self._files is not None
        if first := self._files.command(()):
            with self._engine.errors("starting a sandbox"):
                _, raw = self._exec(container, first, {}, "/")
                with contextlib.closing(ExecStream(raw)) as stream:
                    stream.rest(self._engine.patience_s)

    def _launch(
        self,
        user: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
        *,
        stdin: bool = False,
    ) -> str:
        """Create the container, with its files, in a namespace that is kept for those without a
        network."""
        assert self._files is not None
        files, kept = self._files, None
        spec = replace(
            files.spec,
            env={**home_of(self._ids[0]), **self._spec.env, **(env or {})},
            workdir=workdir or self._spec.workdir,
        )
        if spec.network == "none":
            # Without the project's image the engine makes a namespace for this container alone.
            with contextlib.suppress(ImageMissingError):
                kept = self._engine.namespaces.take()
                spec = replace(spec, network=kept.network)
        try:
            made = self._engine.launch(
                spec,
                kind=SANDBOX_KIND,
                user=user,
                command=command,
                stdin=stdin,
                in_memory=files.in_memory,
            )
        except BaseException:
            if kept is not None:
                self._engine.namespaces.give_back(kept)
            raise
        self._container, self._namespace = made, kept
        files.place(made)
        self._placed = True
        return made

    def _exec(
        self,
        container: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        *,
        stdin: bool = False,
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
            stdin=stdin,
        )
        exec_id = str(created["Id"])
        return exec_id, api.exec_start(exec_id, tty=tty, socket=True)

    def _guard(self) -> DiskGuard:
        assert self._files is not None
        return self._files.guard(self._container or "", self._processes)

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
