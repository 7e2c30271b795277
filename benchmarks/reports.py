"""What the report of a run with 98,000 rollouts costs: processor time, memory, and its size.

Each rollout is in the log twice, as in a real run: when it ended, and with what it was run for. The
store has none of them, so that the report looks for each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.helpers.synthetic_run import synthetic_run

ROUNDS = 3


def run() -> dict[str, float]:
    """The cheapest of some reports in fresh processes."""
    results: dict[str, float] = {}
    with TemporaryDirectory() as scratch:
        root = Path(scratch) / "runs" / "large"
        # In a process of its own: a child's peak of memory begins with its parent's.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            results["rollouts"] = other.submit(_make, root).result()
        results["log, MB"] = round((root / "events.jsonl").stat().st_size / 1e6, 1)
        found = [_reported(root) for _ in range(ROUNDS)]
        results["report, MB"] = round((root / "report.html").stat().st_size / 1e6, 1)
    results["CPU, s"] = round(min(cpu for cpu, _ in found), 2)
    results["memory, MiB"] = round(max(memory for _, memory in found), 1)
    for name, value in results.items():
        print(f"{name}: {value}", flush=True)
    return results


def _make(root: Path) -> int:
    return synthetic_run(root, steps=216, train=1000, val=385, test=2000, batch=40)


def _reported(root: Path) -> tuple[float, float]:
    """The processor seconds and the most MiB of one ``skillopt report``."""
    argv = [sys.executable, "-m", "skillopt", "report", str(root)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
