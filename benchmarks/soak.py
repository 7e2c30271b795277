"""2,000 direct and 200 Codex rollouts in one process: whether memory, files and speed stay."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from skillopt.config.inputs import initial_skill, read_config
from skillopt.config.schema import Config
from skillopt.rollouts.prepare import prepare
from skillopt.tasks.sources import load_splits

COUNTS = {"direct": 2000, "codex": 200}
PARTS = 10


def run() -> dict[str, dict[str, float]]:
    """Of each harness: slopes per 1,000 rollouts, and the speed of the last tenth by the first."""
    results = {}
    for harness, count in COUNTS.items():
        with TemporaryDirectory() as scratch:
            config = read_config(
                f"quickstart/{harness}",
                {"runs": str(Path(scratch) / "runs"), "upstreams.sim.noise": 0.0},
            )
            results[harness] = _soak(config, count)
        print(f"{harness}: {results[harness]}", flush=True)
    return results


def _soak(config: Config, count: int) -> dict[str, float]:
    process = psutil.Process()
    tasks = load_splits(config.tasks, config.seed, config.runs / "tasks")["test"]
    skill = initial_skill(config)
    done, replicate = [0], 0
    memory, files, speeds = [], [], []
    with prepare(config).runner(lambda _: None) as bench:
        bench.rollouts(tasks, skill, replicate=10**6)  # Imports, images, every worker's relay.
        while done[-1] < count:
            started, began = time.perf_counter(), done[-1]
            while done[-1] - began < count // PARTS:
                bench.rollouts(tasks, skill, replicate=replicate)
                replicate += 1
                done.append(done[-1] + len(tasks))
                memory.append(process.memory_info().rss / 2**20)
                files.append(process.num_fds())
            speeds.append((done[-1] - began) / (time.perf_counter() - started))
    late = len(memory) // 2  # The first half fills caches, pools and the allocator's arenas.
    at = np.array(done[1:][late:]) / 1000
    return {
        "rollouts": done[-1],
        "memory, MiB": round(memory[-1], 1),
        "memory slope, MiB per 1,000": round(float(np.polyfit(at, memory[late:], 1)[0]), 2),
        "file descriptors": files[-1],
        "descriptor slope per 1,000": round(float(np.polyfit(at, files[late:], 1)[0]), 2),
        "rollouts per second": round(sum(speeds) / len(speeds), 2),
        "slowest tenth against first": round(min(speeds) / speeds[0], 3),
        "last tenth against first": round(speeds[-1] / speeds[0], 3),
    }
