"""More than one machine: ``python -m benchmarks scale``, or one part of it at any size, such as
``python -m benchmarks.scale driver --agents 100 --seconds 10``.

``driver``: what the driver needs for many agents at once. Nodes are simulated: real Ray actors that
wait as long as an agent works, and give back a result and a folder of the size that Codex has.
``overhead``: what a rollout takes longer than on one machine, with real nodes and direct chat.
``throughput``: rollouts that wait for a model, on one node and on four.
``gateway``: what one node's gateway takes; see :mod:`benchmarks.node_gateway`.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from harnesses.base import Status, Usage
from skillopt.config.executors import RayConfig
from skillopt.config.schema import Config
from skillopt.core.skill import Skill
from skillopt.core.types import Reward, Rollout
from skillopt.rollouts.cluster.executor import RayExecutor
from skillopt.rollouts.cluster.machines import Link, Machines, RayMachines
from skillopt.rollouts.cluster.messages import Beat, NodeOrders, Progress, Pulse, Reply
from skillopt.rollouts.cluster.node import Node
from skillopt.rollouts.cluster.parcels import Parcel, Receiver, packed
from skillopt.rollouts.cluster.sameness import versions
from skillopt.rollouts.executors import ExecutorSetup
from skillopt.rollouts.prepare import prepare
from skillopt.rollouts.rollout import Job
from skillopt.rollouts.runner import RolloutRunner
from skillopt.run.events import nobody
from tests.helpers.cluster import AGENTS, RayCluster, ray_cluster
from tests.helpers.small import small_config

AGENTS_AT_ONCE = (100, 1000, 5000)
SECONDS = 60.0
FOLDER_BYTES = 310_000
"""What a rollout of Codex leaves, before compression."""
SLOTS = 250
"""Agents of one simulated node."""
SKILL = Skill("bench", "Rules for every task.", "# Rules\n\n- Be quick.\n")


def folder_bytes(seed: int) -> bytes:
    """Text that is as compressible as logs of model calls are, to about a sixth."""
    chance = random.Random(seed)
    words = [f"{chance.getrandbits(40):x}" for _ in range(400)]
    text = bytearray()
    while len(text) < FOLDER_BYTES:
        line = " ".join(chance.choices(words, k=12))
        text += f'{{"type": "message", "content": "{line}", "n": {chance.random()}}}\n'.encode()
    return bytes(text[:FOLDER_BYTES])


class SimulatedNode:
    """A node whose agents only wait. It has the methods of a :class:`Node`."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory()
        self._receiver = Receiver(Path(self._folder.name) / "inputs")
        self._seconds = float(os.environ.get("SCALE_SECONDS", SECONDS))
        self._began: dict[int, float] = {}
        self._wire: dict[int, int] = {}
        self._content = folder_bytes(os.getpid())
        kept = Path(self._folder.name) / "kept"
        kept.mkdir()
        (kept / "wire.jsonl").write_bytes(self._content[: FOLDER_BYTES // 2])
        (kept / "trajectory.json").write_bytes(self._content[FOLDER_BYTES // 2 :])
        self._parcel = packed(kept)

    def about(self) -> Mapping[str, str]:
        return versions()

    def open(self, orders: NodeOrders) -> str:
        self._seconds = orders.config["seed"] / 1000
        return ""

    def put(self, parcel: Parcel) -> None:
        self._receiver.put(parcel)

    def attempt(self, number: int, data: bytes, earlier: bytes) -> Reply:
        job: Job = self._receiver.loads(data)
        self._began[number] = time.monotonic()
        time.sleep(self._seconds)
        del self._began[number]
        rollout = Rollout(
            key=job.key, identity=job.identity.to_json(), task=job.task, status=Status.COMPLETED,
            reward=Reward(1.0), usage=Usage(10, 40_000, 0, 2_000), agent_version="1",
            duration_s=self._seconds, folder=Path("/node"),
        )  # fmt: skip
        return Reply(rollout.to_json(), "/node", self._parcel)

    def beat(self, beat: Beat) -> Pulse:
        import zstandard

        at, attempts = time.monotonic(), {}
        for number, began in list(self._began.items()):
            size = int(FOLDER_BYTES / 2 * min(1.0, (at - began) / self._seconds))
            piece = self._content[self._wire.get(number, 0) : size]
            self._wire[number] = size
            wire = zstandard.ZstdCompressor(1).compress(piece) if piece else b""
            attempts[number] = Progress(Usage(1, 4_000, 0, 200), wire)
        return Pulse(beat.shares, attempts, (), {}, {})

    def close(self) -> None:
        self._folder.cleanup()


class SimulatedMachines(RayMachines):
    """As many nodes as are asked for, on the machines of a real cluster."""

    def __init__(self, config: RayConfig, count: int) -> None:
        super().__init__(config, SimulatedNode)
        self._count = count

    def alive(self) -> Mapping[str, str]:
        return {f"{number}": f"simulated-{number}" for number in range(self._count)}

    def start(self, node: str, slots: int) -> Link:
        real = sorted(super().alive())
        return super().start(real[int(node) % len(real)], slots)


class TimedNode(Node):
    """A node that measures how long rollouts take on it."""

    def __init__(self) -> None:
        super().__init__()
        self._times: dict[int, float] = {}

    def attempt(self, number: int, data: bytes, earlier: bytes) -> Reply:
        executor = self._opened().executor
        if not hasattr(executor, "timed"):
            inner, times = executor.attempt, self._times

            def attempt(job: Job, folder: Path) -> Rollout:
                began = time.perf_counter()
                rollout = inner(job, folder)
                times[int(folder.name)] = time.perf_counter() - began
                return rollout

            executor.attempt = attempt  # type: ignore[method-assign]
            executor.timed = True  # type: ignore[attr-defined]
        return super().attempt(number, data, earlier)

    def times(self) -> dict[int, float]:
        return self._times


class _Executor(RayExecutor):
    """The executor, on machines of the benchmark's, which measures each attempt."""

    def __init__(self, setup: ExecutorSetup, machines: Machines) -> None:
        super().__init__(setup)
        self._machines = machines
        self.walls: list[float] = []

    def machines(self) -> Machines:
        return self._machines

    def attempt(self, job: Job, folder: Path) -> Rollout:
        began = time.perf_counter()
        try:
            return super().attempt(job, folder)
        finally:
            self.walls.append(time.perf_counter() - began)


class _Late:
    """An executor that is made when the runner's gateway is there."""

    def __init__(self, machines: Machines | None) -> None:
        self._machines = machines
        self.runner: RolloutRunner | None = None

    def __enter__(self) -> _Executor:
        assert self.runner is not None and self._machines is not None
        setup = ExecutorSetup(self.runner.config, self.runner.gateway)
        self.own = _Executor(setup, self._machines)
        self.own.__enter__()
        return self.own

    def __exit__(self, *exc: Any) -> None:
        self.own.__exit__(None, None, None)

    def cancel(self) -> None:
        self.own.cancel()

    def attempt(self, job: Job, folder: Path) -> Rollout:
        return self.own.attempt(job, folder)


@contextmanager
def running(config: Config, machines: Machines | None) -> Iterator[tuple[RolloutRunner, _Late]]:
    """A runner for a config; without machines, on this one."""
    prepared, late = prepare(config), _Late(machines)
    if machines is not None:
        plugins = replace(prepared.plugins, executor=late)  # type: ignore[arg-type]
        prepared = replace(prepared, plugins=plugins)
    late.runner = RolloutRunner(prepared, nobody)
    with late.runner as runner:
        yield runner, late


def rollouts(runner: RolloutRunner, count: int) -> list[Rollout]:
    """So many different rollouts, all at once."""
    tasks = [task for split in runner.prepared.splits.values() for task in split]
    runs = [(SKILL, tasks[n % len(tasks)], n // len(tasks)) for n in range(count)]
    return runner.rollouts_of_each(runs)


@dataclass
class Watched:
    """This process while something runs."""

    cpu_s: float = 0.0
    memory_mb: float = 0.0
    threads: int = 0
    seconds: float = 0.0


@contextmanager
def watched() -> Iterator[Watched]:
    found, ended, own = Watched(), threading.Event(), psutil.Process()

    def look() -> None:
        while not ended.wait(0.5):
            found.memory_mb = max(found.memory_mb, own.memory_info().rss / 1e6)
            found.threads = max(found.threads, own.num_threads())

    thread = threading.Thread(target=look, daemon=True)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()
        after = resource.getrusage(resource.RUSAGE_SELF)
        found.seconds = time.perf_counter() - began
        found.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def nodes(count: int) -> Iterator[RayCluster]:
    """A cluster of this machine with some nodes for rollouts."""
    with ray_cluster() as cluster:
        for number in range(count):
            cluster.add(address=f"127.0.0.{3 + number}")
        os.environ.update(cluster.env)
        yield cluster


def _config(folder: Path, cluster: RayCluster | None, **settings: Any) -> Config:
    own: dict[str, Any] = {"runs": str(folder / f"runs-{time.monotonic_ns()}"), **settings}
    if cluster is not None:
        own |= {
            "executor.kind": "ray",
            "executor.address": cluster.address,
            "executor.resource": AGENTS,
        }
    return small_config(folder, **own)


def driver(agents: int, seconds: float) -> dict[str, float]:
    """What the driver needs for so many agents at once that work for so many seconds."""
    slots, count = min(agents, SLOTS), -(-agents // SLOTS)
    with ExitStack() as stack:
        cluster = stack.enter_context(nodes(1))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        config = _config(
            folder, cluster,
            **{"workers": agents, "executor.slots": slots, "executor.nodes": count,
               "executor.silence_s": 60, "seed": int(seconds * 1000)},
        )  # fmt: skip
        assert isinstance(config.executor, RayConfig)
        machines = SimulatedMachines(config.executor, count)
        with running(config, machines) as (runner, _), watched() as used:
            done = rollouts(runner, agents)
        scored = sum(rollout.status.scored for rollout in done)
    found = {
        "agents": agents,
        "seconds of each": seconds,
        "seconds of all": used.seconds,
        "scored": scored,
        "CPU, s": used.cpu_s,
        "CPU, ms a rollout": used.cpu_s * 1000 / agents,
        "memory, MB": used.memory_mb,
        "threads": used.threads,
    }
    return {key: round(value, 2) for key, value in found.items()}


def overhead(count: int, latency_s: float) -> dict[str, float]:
    """What a rollout takes longer than on its node alone, in ms, and than on this machine."""
    settings = {"upstreams.sim.latency_s": latency_s, "workers": 4}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        with running(_config(folder, None, **settings), None) as (runner, _):
            local = [r.duration_s for r in rollouts(runner, count)]
        cluster = stack.enter_context(nodes(2))
        config = _config(folder, cluster, **settings, **{"executor.slots": 2, "executor.nodes": 2})
        assert isinstance(config.executor, RayConfig)
        with running(config, RayMachines(config.executor, TimedNode)) as (runner, late):
            far = rollouts(runner, count)
            assert late.own._fleet is not None
            times = [
                seconds
                for member in late.own._fleet._ready()
                for seconds in member.link.call("times").result(30).values()
            ]
        # Attempts have no name in common here: sums of sorted times are those of pairs on average.
        more = [
            1000 * (wall - inside)
            for wall, inside in zip(sorted(late.own.walls), sorted(times), strict=True)
        ]
    cuts = statistics.quantiles(more, n=10)
    return {
        "rollouts": count,
        "seconds of a rollout, here": round(statistics.median(local), 3),
        "seconds of a rollout, nodes": round(statistics.median(r.duration_s for r in far), 3),
        "overhead, ms, median": round(statistics.median(more), 1),
        "overhead, ms, 90 %": round(cuts[-1], 1),
        "overhead, ms, longest": round(max(more), 1),
    }


def throughput(each: int, latency_s: float) -> dict[str, float]:
    """Rollouts a second that wait for a model: on one node, and on four."""
    rates = {}
    for count in (1, 4):
        with nodes(count) as cluster, TemporaryDirectory() as name:
            config = _config(
                Path(name), cluster,
                **{"upstreams.sim.latency_s": latency_s, "workers": 4 * count,
                   "executor.slots": 4, "executor.nodes": count},
            )  # fmt: skip
            assert isinstance(config.executor, RayConfig)
            with running(config, RayMachines(config.executor)) as (runner, _):
                began = time.perf_counter()
                done = rollouts(runner, each * count)
                rates[count] = len(done) / (time.perf_counter() - began)
    return {
        "one node, rollouts/s": round(rates[1], 3),
        "four nodes, rollouts/s": round(rates[4], 3),
        "of four times one": round(rates[4] / (4 * rates[1]), 3),
    }


def run() -> dict[str, Any]:
    """All parts at full size: about ten minutes on a quiet machine."""
    from benchmarks import node_gateway

    found: dict[str, Any] = {}
    for agents in AGENTS_AT_ONCE:
        found[f"driver, {agents}"] = _apart(driver, agents, SECONDS)
    found["overhead"] = _apart(overhead, 80, 1.0)
    found["throughput"] = _apart(throughput, 24, 1.0)
    for agents in node_gateway.AGENTS:
        found[f"gateway, {agents}"] = _apart(node_gateway.measured, agents, node_gateway.SECONDS)
    return found


def _apart(part: Callable[..., dict[str, Any]], *arguments: float) -> dict[str, Any]:
    """A part in a process of its own, whose memory is no other's."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return _shown(pool.submit(part, *arguments).result())


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    print(found, flush=True)
    return found


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=("driver", "overhead", "throughput", "gateway"))
    parser.add_argument("--agents", type=int, default=AGENTS_AT_ONCE[0])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rollouts", type=int, default=24)
    parser.add_argument("--latency", type=float, default=1.0)
    told = parser.parse_args(words)
    if told.part == "driver":
        _shown(driver(told.agents, told.seconds))
    elif told.part == "overhead":
        _shown(overhead(told.rollouts, told.latency))
    elif told.part == "throughput":
        _shown(throughput(told.rollouts, told.latency))
    else:
        from benchmarks import node_gateway

        _shown(node_gateway.measured(told.agents, told.seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
