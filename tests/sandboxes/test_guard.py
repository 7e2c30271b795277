"""A guard cleans up after a process that is killed or silent, and leaves all others alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sandboxes.local import clean_processes

GUARDED = """
import sys, time
from sandboxes.guard import Guard
from sandboxes.local import LocalSandbox
from sandboxes.base import SandboxSpec
from sandboxes.owner import scratch_dir
import threading
box = LocalSandbox(SandboxSpec("", "/tmp"))
box.start()
sleep = ["sleep", "1000.{tag}"]
threading.Thread(target=lambda: box.run(sleep, deadline_s=900), daemon=True).start()
guard = Guard("local", {{}}, {silence})
guard.__enter__()
print(scratch_dir(), flush=True)
for line in sys.stdin:
    if line == "alive\\n":
        guard.alive()
    else:
        guard.__exit__(None, None, None)
        print("left", flush=True)
"""


@contextlib.contextmanager
def guarded(
    tmp_path: Path, tag: str, silence: float
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process with a guard, a running local sandbox and a scratch folder."""
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    code = GUARDED.format(tag=tag, silence=silence)
    with subprocess.Popen(
        [sys.executable, "-c", code], env=env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            folder = Path(process.stdout.readline().strip())
            until(lambda: sleeping(tag))
            yield process, folder
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            for left in sleeping(tag):
                left.kill()


def sleeping(tag: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if f"1000.{tag}" in (process.info["cmdline"] or ()):
            found.append(process)
    return found


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_killed_or_frozen_process_had_is_removed(
    how: signal.Signals, tmp_path: Path
) -> None:
    tag = f"{os.getpid()}{int(how)}"
    with (
        guarded(tmp_path, tag, 3) as (process, folder),
        guarded(tmp_path, f"{tag}9", 600) as (other, others),
    ):
        assert folder.is_dir() and any(folder.iterdir())
        process.send_signal(how)
        process.wait(30)  # A frozen one is killed by its guard.
        until(lambda: not sleeping(tag))
        until(lambda: not folder.exists())
        assert other.poll() is None and sleeping(f"{tag}9") and others.is_dir()


@pytest.mark.slow
def test_signs_of_life_keep_it_away(tmp_path: Path) -> None:
    tag = f"{os.getpid()}5"
    with guarded(tmp_path, tag, 2) as (process, folder):
        assert process.stdin is not None and process.stdout is not None
        for _ in range(8):
            time.sleep(0.5)
            process.stdin.write("alive\n")
            process.stdin.flush()
        assert process.poll() is None and sleeping(tag)
        process.stdin.write("done\n")
        process.stdin.flush()
        assert process.stdout.readline() == "left\n"
        time.sleep(3)
        assert process.poll() is None and sleeping(tag) and folder.is_dir()


def test_processes_of_the_living_are_not_cleaned(tmp_path: Path) -> None:
    tag = f"{os.getpid()}6"
    with guarded(tmp_path, tag, 600) as (process, _):
        (left,) = sleeping(tag)
        assert not [line for line in clean_processes(dry_run=True) if f" {left.pid} " in line]
        assert process.poll() is None
