"""A small process that outlives another one and cleans up after it: one that may be killed at any
moment, or frozen, on a machine where nobody starts the next one.

It is started with :class:`Guard`, leaves its starter's session and process group, and reads from a
pipe: a dot for each sign of life, the end of file when its starter has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Literal

from sandboxes.base import SandboxError
from sandboxes.errors import BackendError
from sandboxes.local import clean_processes
from sandboxes.owner import Owner, clean_folders, current_owner, is_dead
from sandboxes.registry import BACKENDS, make_backend

_ALIVE, _DONE = b".", b"q"
_ENDING_S = 10.0
"""Seconds that the starter may take to end after it has closed the pipe."""
_RETRY_S = 2.0
_PATIENCE_S = 120.0
"""Seconds for which an engine that does not answer is asked again."""


class Guard:
    """Starts a process that cleans up after this one. A context manager.

    Args:
        kind: of the sandboxes, as in ``sandbox.kind``.
        options: of the backend.
        silence_s: seconds without :meth:`alive` after which this process is killed.
    """

    def __init__(self, kind: str, options: Mapping[str, Any], silence_s: float) -> None:
        self._orders = {
            "owner": str(current_owner()),
            "kind": kind,
            "options": dict(options),
            "silence_s": silence_s,
        }
        self._pipe: IO[bytes] | None = None

    def __enter__(self) -> Guard:
        read, write = os.pipe()
        # This process may have found the package by another way than the environment's.
        path = [str(Path(__file__).parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "sandboxes.guard"],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
                stdin=read,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(read)
        self._pipe = os.fdopen(write, "wb", buffering=0)
        self._write(json.dumps(self._orders).encode() + b"\n")
        process.wait()  # It goes on in a process whose parent is no longer this one.
        return self

    def alive(self) -> None:
        """Give a sign of life."""
        self._write(_ALIVE)

    def __exit__(self, *exc: object) -> None:
        """Nothing is left to clean up."""
        self._write(_DONE)
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _write(self, data: bytes) -> None:
        if self._pipe is not None:
            with contextlib.suppress(OSError):  # It has been ended by somebody.
                self._pipe.write(data)


def main() -> None:
    """Guard the process that has started this one."""
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir("/")
    with os.fdopen(os.dup(0), "rb", buffering=0) as pipe:
        orders = json.loads(_line(pipe))
        owner = Owner.parse(orders["owner"])
        ending = _ending(pipe, orders["silence_s"])
        if owner is None or ending == "done":
            return
    _end(owner, soon=ending == "closed")
    _clean(orders["kind"], orders["options"])


def _line(pipe: IO[bytes]) -> bytes:
    """The first line of a pipe, and nothing of what follows it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = pipe.read(1)
        if not byte:
            break
        line += byte
    return line


def _ending(pipe: IO[bytes], silence_s: float) -> Literal["done", "closed", "silent"]:
    """Wait until the starter says that all is done, closes the pipe, or is silent for too long."""
    while True:
        ready, _, _ = select.select([pipe], [], [], silence_s)
        if not ready:
            return "silent"
        data = pipe.read(4096)
        if _DONE in data:
            return "done"
        if not data:
            return "closed"


def _end(owner: Owner, soon: bool) -> None:
    """Kill a process if it does not end by itself.

    Args:
        owner: the process.
        soon: whether it has closed the pipe, and is probably ending.
    """
    until = time.monotonic() + (_ENDING_S if soon else 0.0)
    while not is_dead(owner) and time.monotonic() < until:
        time.sleep(0.1)
    while not is_dead(owner):
        with contextlib.suppress(ProcessLookupError):
            os.kill(owner.pid, signal.SIGKILL)
        time.sleep(0.1)


def _clean(kind: str, options: Mapping[str, Any]) -> None:
    """Remove what dead processes have left."""
    clean_processes()
    clean_folders()
    until = time.monotonic() + _PATIENCE_S
    while kind in BACKENDS:
        try:
            backend = make_backend(kind, **options)
            with contextlib.closing(backend):
                backend.clean()
        except BackendError:
            return
        except SandboxError:
            if time.monotonic() > until:
                return
            time.sleep(_RETRY_S)
        else:
            return


if __name__ == "__main__":
    main()
