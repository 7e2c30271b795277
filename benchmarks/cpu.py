"""The processor time of quickstart rollouts with a simulated model, from the counters of control
groups: of this process, of an engine of its own with all that belongs to it, and of containers.

``python -m benchmarks.cpu codex direct`` measures this source tree. With ``--tree NAME=FOLDER``,
given once or more often, it measures the trees in turns, so that what else the machine does is the
same for all. It prints a line per harness and tree: median CPU seconds a rollout, the wall time,
and the requests to the engine. ``--files`` measures rollouts with mounted and with copied files in
turns instead. Needs root, dockerd, and control groups of version 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_CPUACCT = Path("/sys/fs/cgroup/cpuacct")
_ENGINE, _CONTAINERS = "skillopt-bench-engine", "skillopt-bench-containers"
_FAMILIES = ("logs", "reconcile")
"""Tasks whose verifiers run no program of the agent's."""
_TREE = Path(__file__).parents[1]


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("harnesses", nargs="*", default=["codex", "direct"])
    parser.add_argument("--tree", action="append", help="NAME=FOLDER; by default this one")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--rollouts", type=int, default=2, help="in each round")
    parser.add_argument("--add-runtime", default="", help="NAME=PATH, for dockerd")
    parser.add_argument("--hide", action="append", default=[], help="from dockerd, a file system")
    parser.add_argument("--files", action="store_true", help="mounted and copied, in turns")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        kind, _, harness = chosen.work.rpartition(" ")
        _work_bare(harness) if kind == "bare" else _work(harness, kind or "mounts")
        return
    trees = dict(one.split("=", 1) for one in chosen.tree or [f"this={_TREE}"])
    with own_counters(chosen) as host:
        for harness in chosen.harnesses:
            with ExitStack() as stack:
                kinds = {name: (Path(folder), harness) for name, folder in trees.items()}
                if chosen.files:
                    kinds = {way: (_TREE, f"{way} {harness}") for way in ("mounts", "copy")}
                workers = {
                    name: stack.enter_context(worker(folder, work, host))
                    for name, (folder, work) in kinds.items()
                }
                measure(harness, workers, chosen.rounds, chosen.rollouts)


def run() -> dict[str, dict[str, dict[str, float]]]:
    """What rollouts cost, and bare ``docker run`` of the same program, task and model in turns.

    A bare run has no verifier; its Python part is the model's and the gateway's.
    """
    from harnesses.agents.registry import CLI_AGENTS, NAMES

    results = {}
    chosen = argparse.Namespace(harnesses=NAMES, add_runtime="", hide=[])
    with own_counters(chosen) as host:
        for harness in NAMES:
            kinds = {"rollout": harness}
            if harness in CLI_AGENTS:
                kinds["docker run"] = f"bare {harness}"
            with ExitStack() as stack:
                workers = {
                    name: stack.enter_context(worker(_TREE, kind, host))
                    for name, kind in kinds.items()
                }
                results[harness] = measure(harness, workers, rounds=6, rollouts=2)
    return results


def measure(
    harness: str, workers: dict[str, subprocess.Popen[str]], rounds: int, rollouts: int
) -> dict[str, dict[str, float]]:
    """What a rollout costs each worker, asked in turns: medians.

    Args:
        harness: for the line that is printed.
        workers: by name.
        rounds: the number of turns.
        rollouts: of each worker in a turn.
    """
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in workers}
    for number in range(rounds + 1):
        for name, worker in workers.items():
            before = _cpu(_ENGINE), _cpu(_CONTAINERS), time.monotonic()
            said = _ask(worker, rollouts)
            after = _cpu(_ENGINE), _cpu(_CONTAINERS), time.monotonic()
            if number == 0:
                continue  # Relays start, and caches fill.
            engine, containers, wall = (b - a for a, b in zip(before, after, strict=True))
            values = {"engine": engine, "containers": containers, "python": said["cpu"]}
            values["sum"] = sum(values.values())
            values |= {"wall": said.get("wall", wall), "requests": said["requests"]}
            for key, value in values.items():
                found[name][key].append(value / rollouts)
    medians = {}
    for name, series in found.items():
        medians[name] = {key: round(statistics.median(v), 3) for key, v in series.items()}
        shown = "  ".join(f"{key} {value:.3f}" for key, value in medians[name].items())
        print(f"{harness} {name}: {shown}", flush=True)
    return medians


def _ask(worker: subprocess.Popen[str], rollouts: int) -> dict[str, float]:
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(f"{rollouts}\n")
    worker.stdin.flush()
    answer: dict[str, float] = json.loads(worker.stdout.readline())
    return answer


@contextmanager
def worker(
    tree: Path, work: str, host: str, script: str = __file__
) -> Iterator[subprocess.Popen[str]]:
    """A process that runs as many rollouts as each line of its standard input says.

    Args:
        tree: the source tree that it runs.
        work: what ``script`` gets as ``--work``.
        host: the engine's address.
        script: that is run.
    """
    env = {**os.environ, "PYTHONPATH": str(tree), "DOCKER_HOST": host}
    command = [sys.executable, script, "--work", work]
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tree
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()


def _work(harness: str, files: str) -> None:
    """Run as many rollouts as each line of standard input says, with files as
    ``sandbox.options.files`` says."""
    from docker import APIClient

    from skillopt.config.loading import load_config
    from skillopt.config.schema import Config
    from skillopt.core.resources import resource
    from skillopt.rollouts.prepare import prepare
    from skillopt.tasks.harbor import read_task
    from skillopt.tasks.quickstart.generator import generate

    requests = 0
    send = APIClient.send

    def counted(self: APIClient, request: Any, **named: Any) -> Any:
        nonlocal requests
        requests += 1
        return send(self, request, **named)

    setattr(APIClient, "send", counted)  # noqa: B010 (mypy takes it for an overriding method)
    with TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "tasks", 7)
        changes: dict[str, Any] = {"tasks.source": str(folder / "tasks")}
        shipped = resource("configs") / "quickstart" / f"{harness}.yaml"
        changes |= {"runs": str(folder / "runs"), "workers": 1}
        changes |= {"sandbox.options": {"files": files}}
        config = load_config(shipped, Config, changes)
        found = sorted((folder / "tasks" / "train").iterdir())
        tasks = [read_task(one) for one in found if one.name.startswith(_FAMILIES)]
        number = 0
        with prepare(config).runner(lambda _: None) as runner:
            for line in sys.stdin:
                requests, began = 0, time.process_time()
                for _ in range(int(line)):
                    task = tasks[number % len(tasks)]
                    runner.rollouts([task], None, replicate=number)
                    number += 1
                print(
                    json.dumps({"cpu": time.process_time() - began, "requests": requests}),
                    flush=True,
                )


def _work_bare(harness: str) -> None:
    """Run the program alone as often as each line of standard input says."""
    from benchmarks.overhead import bare_run
    from benchmarks.place import place
    from harnesses.agents.cli_agent import CliHarness
    from harnesses.agents.registry import make_harness
    from skillopt.sim.model import SimUpstream
    from skillopt.tasks.harbor import read_task
    from tests.helpers.small import small_set

    made = make_harness(harness)
    assert isinstance(made, CliHarness)
    with TemporaryDirectory() as name, place(SimUpstream(), 1) as bench:
        tasks = [read_task(found) for found in sorted((small_set(Path(name)) / "train").iterdir())]
        number = 0
        with bench.places.site() as site:
            for line in sys.stdin:
                began = time.process_time()
                for _ in range(int(line)):
                    bare_run(bench, site, made, tasks[number % len(tasks)])
                    number += 1
                spent = time.process_time() - began
                print(json.dumps({"cpu": spent, "requests": 0}), flush=True)


@contextmanager
def own_counters(chosen: argparse.Namespace) -> Iterator[str]:
    """The address of an engine whose processes are in groups of their own."""
    from harnesses.agents.cli_agent import CliHarness
    from harnesses.agents.registry import make_harness
    from sandboxes.images import AGENT_BASE_IMAGE, RELAY_IMAGE
    from tests.helpers.own_engine import own_engine

    if not (_CPUACCT / "cpuacct.usage").exists():
        sys.exit(f"needs root and control groups of version 1 ({_CPUACCT})")
    for group in (_ENGINE, _CONTAINERS):
        (_CPUACCT / group).mkdir(exist_ok=True)
    arguments = ["--cgroup-parent", f"/{_CONTAINERS}"]
    if chosen.add_runtime:
        arguments += ["--add-runtime", chosen.add_runtime]
    made = map(make_harness, chosen.harnesses)
    tools = [one.agent.toolchain.image for one in made if isinstance(one, CliHarness)]
    procs = _CPUACCT / _ENGINE / "cgroup.procs"
    procs.write_text(str(os.getpid()))
    with own_engine(AGENT_BASE_IMAGE, arguments=arguments, hidden=chosen.hide) as engine:
        (_CPUACCT / "cgroup.procs").write_text(str(os.getpid()))
        for image in (RELAY_IMAGE, *tools):
            engine.load(image)
        yield engine.host
    for group in (_ENGINE, _CONTAINERS):
        with suppress(OSError):  # A process of the engine's takes its time to end.
            (_CPUACCT / group).rmdir()


def _cpu(group: str) -> float:
    return int((_CPUACCT / group / "cpuacct.usage").read_text()) / 1e9


if __name__ == "__main__":
    main()
