"""16 and 64 rollouts at the same time against a model that takes 2 s for each of its two replies.

The ideal is that the whole takes as long as the model does for one rollout: 4 s. 64 are more than a
machine of few cores has processor time for, so that their processor time is measured too.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.place import Bench, place
from harnesses.agents.registry import NAMES, make_harness
from harnesses.base import Status
from harnesses.gateway.upstreams import Answer, Call
from harnesses.harness import Harness
from tests.helpers.scripted_model import ScriptedAgentModel

ROUNDS = {16: 4, 64: 2}
"""Rounds of rollouts by the number of those at the same time."""
LIGHT = ("direct", "codex")
"""Harnesses of which 64 are run at the same time."""
LATENCY_S = 2.0
REPLIES = 2


@dataclass
class Slow(ScriptedAgentModel):
    """The scripted model, with the latency of a real one."""

    max_concurrency: int = 1000

    async def send(self, call: Call) -> Answer:
        await asyncio.sleep(LATENCY_S)
        return await super().send(call)


def run() -> dict[str, dict[str, float]]:
    """Rollouts a second, and their share of the ideal."""
    cases = [(16, name) for name in NAMES] + [(64, name) for name in LIGHT]
    return {f"{name}, {workers}": _measured(name, workers) for workers, name in cases}


def _measured(name: str, workers: int) -> dict[str, float]:
    ideal = workers / (LATENCY_S * REPLIES)
    with place(Slow(["echo hi"]), workers) as bench, ThreadPoolExecutor(workers) as pool:
        harness, count = make_harness(name), workers * ROUNDS[workers]
        list(pool.map(lambda h: one(bench, h), [harness] * workers))  # relays, warm caches
        started, own = time.perf_counter(), time.process_time()
        list(pool.map(lambda h: one(bench, h), [harness] * count))
        rate = count / (time.perf_counter() - started)
        own = (time.process_time() - own) / count
    print(f"{name}, {workers}: {rate:.2f} rollouts/s, {rate / ideal:.0%} of the ideal", flush=True)
    found = {"rollouts_per_s": rate, "of_ideal": rate / ideal, "own_cpu_s": own}
    return {key: round(value, 3) for key, value in found.items()}


def one(bench: Bench, harness: Harness) -> None:
    with bench.places.site() as site:
        outcome = harness.run(bench.request(), site)
    assert outcome.status is Status.COMPLETED, outcome.message
