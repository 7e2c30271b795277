"""The command ``skillopt`` in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.helpers.small import small_set

SKILLOPT = [sys.executable, "-m", "skillopt"]


def skillopt(*argv: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SKILLOPT, *map(str, argv)], capture_output=True, text=True, timeout=100, cwd=cwd
    )


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
