"""Commands run with their process tree's peak memory and wall time measured.

Knows nothing about either side. Memory is the sum of the tree's proportional set sizes: a page that
processes share, as after a fork, counts once.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

TICK_S = 0.1
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: exit code; negative for a signal.
        seconds: wall time.
        cpu_s: processor time of the process and those of its children that it waited for.
        peak_mib: peak memory of the process and its children.
        left: processes of the tree that were still there after it.
        why: ``ended``, ``killed`` or ``timeout``.
    """

    code: int
    seconds: float
    cpu_s: float
    peak_mib: float
    left: int
    why: str


@dataclass(frozen=True)
class Endpoint:
    """A scripted endpoint that is being served."""

    url: str

    def counts(self) -> Counts:
        """Calls so far, by role."""
        with urllib.request.urlopen(f"{self.url}/counts", timeout=30) as answer:
            found: Counts = json.load(answer)
            return found


@contextlib.contextmanager
def endpoint(*options: str) -> Iterator[Endpoint]:
    """The scripted endpoint in a process of its own, with fresh counts."""
    argv = [sys.executable, "-m", "benchmarks.reference.server", *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("the scripted endpoint did not start")
            yield Endpoint(url)
        finally:
            process.terminate()


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    *,
    kill_after_s: float | None = None,
    timeout_s: float = 900.0,
) -> Ended:
    """Run a command to its end, or send it SIGKILL.

    Args:
        argv: the command.
        env: added to this process's environment.
        log: output is appended here.
        kill_after_s: when SIGKILL is sent to the command alone, its children being left.
        timeout_s: when a command that hangs is given up.
    """
    began, used = time.monotonic(), _children_cpu()
    end = began + (timeout_s if kill_after_s is None else kill_after_s)
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        watch = _Watch(process.pid)
        with watch:
            try:
                code = process.wait(max(0.0, end - time.monotonic()))
                why = "ended"
            except subprocess.TimeoutExpired:
                process.kill()
                code, why = process.wait(), "timeout" if kill_after_s is None else "killed"
        seconds = time.monotonic() - began
    return Ended(
        code=code,
        seconds=round(seconds, 2),
        cpu_s=round(_children_cpu() - used, 2),
        peak_mib=round(watch.peak / 2**20, 1),
        left=watch.leftovers(),
        why=why,
    )


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Watch(threading.Thread):
    """Samples a process tree's memory until it is left."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._root = psutil.Process(pid)
        self._seen: dict[int, psutil.Process] = {}
        self._done = threading.Event()

    def __enter__(self) -> _Watch:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        while not self._done.wait(TICK_S):
            with contextlib.suppress(psutil.NoSuchProcess):
                children = self._root.children(recursive=True)
                self._seen |= {child.pid: child for child in children}
                self.peak = max(self.peak, sum(map(_proportional, [self._root, *children])))

    def leftovers(self) -> int:
        """Processes of the tree that outlived it by a second; they are then ended."""
        end = time.monotonic() + 1.0
        while (left := [one for one in self._seen.values() if _lives(one)]) and (
            time.monotonic() < end
        ):
            time.sleep(TICK_S)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return len(left)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _proportional(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.NoSuchProcess:
        return 0
