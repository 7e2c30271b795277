"""The command ``skillopt``: within the process of the test, or in one of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import traceback
from pathlib import Path

from click.testing import CliRunner

from skillopt.cli import main
from tests.helpers.small import small_set

SKILLOPT = [sys.executable, "-m", "skillopt"]


def skillopt(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process: what it prints and its exit code, as a process has them."""
    words = list(map(str, argv))
    handler = signal.getsignal(signal.SIGTERM)
    try:
        done = CliRunner().invoke(main, words, prog_name="skillopt")
    finally:
        signal.signal(signal.SIGTERM, handler)
    stderr = done.stderr
    if done.exc_info and not isinstance(done.exception, SystemExit | None):
        stderr += "".join(traceback.format_exception(*done.exc_info))
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, stderr)


def skillopt_process(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, as a user starts it. Its start alone takes a second."""
    return subprocess.run([*SKILLOPT, *map(str, argv)], capture_output=True, text=True, timeout=100)


def small_options(folder: Path) -> list[str]:
    tasks = folder / "small" if (folder / "small").is_dir() else small_set(folder)
    settings = {
        "runs": folder / "runs",
        "tasks.source": tasks,
        "train.batch_size": 2,
        "upstreams.sim.noise": 0,
        "upstreams.sim.harm": 0,
    }
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
