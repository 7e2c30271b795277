"""Sandboxes as processes of this machine in a temporary folder: for direct chat without a container
engine, and for trusted verifiers. They clean up and keep limits, but isolate nothing: commands see
the machine's files and network. ``image`` and ``network`` have no effect.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from sandboxes.archive import pack, unpack
from sandboxes.base import (
    CopyRefusedError,
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
from sandboxes.disk import MEGABYTE, DiskGuard
from sandboxes.output import STREAMS, Output
from sandboxes.owner import Owner, current_owner, is_dead, scratch_dir
from sandboxes.trees import remove_tree

_MARKER = "SKILLOPT_SANDBOX"
"""Environment variable that identifies processes which have left their session and parents."""
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAUNCH = 'ulimit -c 0; ulimit -f "$1"; cd -- "$2" || exit 126; shift 2; exec "$@"'
_CHUNK = 64 * 1024
_TICK_S = 0.1
_LIMITS_EVERY_S = 0.5
_GRACE_S = 0.2
"""How long to wait for output that a background process may still hold open."""
_KILL_PATIENCE_S = 10.0


def local_sandbox(spec: SandboxSpec) -> LocalSandbox:
    """A sandbox, not started yet. This function is a SandboxFactory."""
    return LocalSandbox(spec)


class LocalSandbox:
    """A temporary folder and the processes that work in it. Implements `sandboxes.base.Sandbox`.

    :meth:`stop` may be called from another thread during :meth:`run`, which then ends with
    SandboxError.
    """

    def __init__(self, spec: SandboxSpec) -> None:
        self._spec = spec
        self._folder: Path | None = None
        self._sessions: set[int] = set()
        self._mark = f"{current_owner()}.{secrets.token_hex(16)}"
        self._dead: str | None = "has not been started"
        self._stopped = False

    def __enter__(self) -> LocalSandbox:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        if self._stopped:
            self._check_alive()
        self._folder = Path(tempfile.mkdtemp(prefix="local-", dir=scratch_dir()))
        try:
            for folder in ("home", "tmp"):
                (self._root / folder).mkdir()
            for mount in sorted(self._spec.mounts, key=lambda mount: mount.target.count("/")):
                self._mount(Path(mount.source), Path(self.path(mount.target)), mount.read_only)
            Path(self.path(self._spec.workdir)).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.stop()
            raise SandboxError(f"cannot set up a local sandbox: {error}") from error
        self._dead = None
        if self._stopped:  # By another thread, meanwhile.
            self.stop()
            self._check_alive()

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
        self._check_alive()
        began = time.monotonic()
        end = deadline(began, deadline_s, uncounted)
        output = Output(max_output, on_output)
        with self._popen(argv, env or {}, cwd or self._spec.workdir) as process:
            self._sessions.add(process.pid)
            try:
                self._check_alive()  # Another thread may have stopped it before this process began.
                limit = self._follow(process, output, end)
                if limit is not None:
                    self._dead = f"was killed at its {limit} limit"
            except BaseException:
                self._dead = "was killed when its command could not be followed"
                raise
            finally:
                if self._dead is not None:
                    self._kill_all()
        if limit is None:
            self._check_alive()
        if not _session_members(process.pid):  # Another process may get its number now.
            self._sessions.discard(process.pid)
        code = process.returncode
        # A signal's number as shells and container engines report it.
        exit_code = None if limit else code if code >= 0 else 128 - code
        return output.result(exit_code, limit, began)

    def spawn(self, argv: Sequence[str]) -> bool:
        return False  # There is no second user.

    def converse(
        self,
        argv: Sequence[str],
        talk: Talk,
        *,
        deadline_s: float,
        uncounted: Uncounted = all_counted,
        env: Mapping[str, str] | None = None,
    ) -> ExecResult:
        raise SandboxError("local sandboxes have no terminals: set sandbox.kind to docker")

    def path(self, target: str) -> str:
        inside = Path(target).is_relative_to(self._root)
        return target if inside else str(self._root / target.lstrip("/"))

    def copy_in(self, source: Path, target: str) -> None:
        self._check_alive()
        place = Path(self.path(target))
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, place)

    def copy_out(self, source: str, target: Path) -> None:
        self._check_alive()
        limit = self._spec.limits.disk_mb * MEGABYTE
        found = Path(self.path(source))
        if not self._holds(found):
            raise CopyRefusedError(f"{source} leads out of the sandbox")
        with tempfile.TemporaryFile() as archive:
            # A writable mount is a link here: copy what it leads to.
            pack(found.resolve(), "copied", archive, max_bytes=limit)
            archive.seek(0)
            unpack(iter(lambda: archive.read(MEGABYTE), b""), target, max_bytes=limit)

    def stop(self) -> None:
        self._stopped = True
        self._dead = "has been stopped"
        folder, self._folder = self._folder, None
        if folder is None:
            return
        self._kill_all()
        remove_tree(folder)

    @property
    def _root(self) -> Path:
        if self._folder is None:
            raise SandboxError(f"the local sandbox {self._dead}; start a new one")
        return self._folder

    def _holds(self, place: Path) -> bool:
        """Whether a path leads into the sandbox's folder or into a writable mount."""
        writable = [Path(mount.source) for mount in self._spec.mounts if not mount.read_only]
        real = place.resolve()
        return any(real.is_relative_to(top.resolve()) for top in (self._root, *writable))

    def _mount(self, source: Path, place: Path, read_only: bool) -> None:
        """Link a writable mount, so that changes land on the host; copy any other."""
        if not source.exists():
            raise FileNotFoundError(f"{source} cannot be mounted: it does not exist")
        place.parent.mkdir(parents=True, exist_ok=True)
        if not read_only:
            place.symlink_to(source.resolve())
            return
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, place)
        for entry in (*(place.rglob("*") if place.is_dir() else ()), place):
            if not entry.is_symlink():
                entry.chmod(entry.stat().st_mode & ~0o222)

    def _popen(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: str
    ) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
            "LANG": "C.UTF-8",
            "HOME": str(self._root / "home"),
            "TMPDIR": str(self._root / "tmp"),
            **self._spec.env,
            **env,
            _MARKER: self._mark,
        }
        blocks = str(self._spec.limits.disk_mb * MEGABYTE // 512)
        return subprocess.Popen(
            ["/bin/sh", "-c", _LAUNCH, "sh", blocks, self.path(cwd), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )

    def _follow(
        self, process: subprocess.Popen[bytes], output: Output, end: Deadline
    ) -> str | None:
        """Pass output on until the command has ended; the limit that was reached, if one was."""
        spec = self._spec
        writable = [Path(mount.source) for mount in spec.mounts if not mount.read_only]
        guard = DiskGuard(
            [self._root, *writable],
            spec.limits.disk_mb,
            processes=lambda: [process.pid for process in self._processes()],
        )
        next_look = 0.0
        with selectors.DefaultSelector() as selector:
            for name, pipe in zip(STREAMS, (process.stdout, process.stderr), strict=True):
                assert pipe is not None
                selector.register(pipe, selectors.EVENT_READ, name)
            while process.poll() is None:
                now = time.monotonic()
                if now >= (last := end()):
                    return "time"
                if now >= guard.due and guard.exceeded():
                    return "disk"
                if now >= next_look:
                    next_look = now + _LIMITS_EVERY_S
                    if (limit := self._process_limit(process.pid)) is not None:
                        return limit
                _pass_on(selector, output, process, min(_TICK_S, last - now))
            quiet = time.monotonic() + _GRACE_S
            while selector.get_map() and (now := time.monotonic()) < quiet:
                _pass_on(selector, output, process, quiet - now)
        return "disk" if guard.mounts_exceeded() else None

    def _process_limit(self, session: int) -> str | None:
        members = _session_members(session)
        if len(members) > self._spec.limits.pids:
            return "pids"
        memory = 0
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                memory += member.memory_info().rss
        return "memory" if memory > self._spec.limits.memory_mb * MEGABYTE else None

    def _kill_all(self) -> None:
        """Kill every process of this sandbox, also those that have detached themselves.

        All are stopped before the first is killed: a script whose current command is killed would
        start its next one.
        """
        patience = time.monotonic() + _KILL_PATIENCE_S
        while self._processes():
            stopped: set[psutil.Process] = set()
            while new := self._processes() - stopped:
                _signal(new, signal.SIGSTOP)
                stopped |= new
            _signal(stopped, signal.SIGKILL)
            if time.monotonic() > patience:
                raise SandboxError(f"{len(stopped)} processes of a local sandbox cannot be killed")
            time.sleep(0.005)

    def _processes(self) -> set[psutil.Process]:
        found = {one for session in self._sessions for one in _session_members(session)}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(_MARKER) == self._mark:
                    found.add(process)
        for process in tuple(found):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.update(process.children(recursive=True))
        return {process for process in found if _is_running(process)}

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise SandboxError(f"the local sandbox {self._dead}; start a new one")


def _pass_on(
    selector: selectors.BaseSelector,
    output: Output,
    process: subprocess.Popen[bytes],
    timeout_s: float,
) -> None:
    """Wait for output, or for the end of a process that has closed its output."""
    if not selector.get_map():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
        return
    for key, _ in selector.select(timeout_s):
        chunk = os.read(key.fd, _CHUNK)
        if chunk:
            output.add(key.data, chunk)
        else:
            selector.unregister(key.fileobj)


def clean_processes(*, dry_run: bool = False) -> list[str]:
    """Kill what dead processes' local sandboxes have left running; one line for each."""
    removed = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            owner = Owner.parse(process.environ().get(_MARKER, "").partition(".")[0])
            if owner is not None and is_dead(owner):
                removed.append(f"process {process.pid} ({process.name()})")
                if not dry_run:
                    process.kill()
    return removed


def _signal(processes: set[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _session_members(session: int) -> list[psutil.Process]:
    members = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.NoSuchProcess):
            if os.getsid(pid) == session:
                members.append(psutil.Process(pid))
    return [member for member in members if _is_running(member)]


def _is_running(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
