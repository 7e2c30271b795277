"""16 rollouts at the same time against a model that takes 2 s for each of its two replies.

The ideal is that the whole takes as long as the model does for one rollout: 4 s.
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

WORKERS = 16
ROUNDS = 4
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
    ideal = WORKERS / (LATENCY_S * REPLIES)
    results = {}
    for name in NAMES:
        with place(Slow(["echo hi"]), WORKERS) as bench, ThreadPoolExecutor(WORKERS) as pool:
            harness = make_harness(name)
            list(pool.map(lambda h: one(bench, h), [harness] * WORKERS))  # relays, warm caches
            started = time.perf_counter()
            list(pool.map(lambda h: one(bench, h), [harness] * WORKERS * ROUNDS))
            rate = WORKERS * ROUNDS / (time.perf_counter() - started)
        results[name] = {"rollouts_per_s": round(rate, 2), "of_ideal": round(rate / ideal, 2)}
        print(f"{name}: {rate:.2f} rollouts/s, {rate / ideal:.0%} of the ideal", flush=True)
    return results


def one(bench: Bench, harness: Harness) -> None:
    with bench.places.site() as site:
        outcome = harness.run(bench.request(), site)
    assert outcome.status is Status.COMPLETED, outcome.message
