"""A whole sandboxed rollout against a bare ``docker run`` of the same program with the same mounts,
limits and model, in turns on one machine.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace

from benchmarks.place import Bench, place
from harnesses.agents.cli_agent import HOME, CliHarness
from harnesses.agents.registry import CLI_AGENTS, make_harness
from harnesses.base import Request, Status
from harnesses.gateway.session import Grant
from harnesses.harness import RolloutSite
from sandboxes.mounts import agent_ids, prepare_writable
from skillopt.core.types import Task
from skillopt.tasks.environment import Environments
from tests.helpers.scripted_model import ScriptedAgentModel

ROUNDS = 12


def run() -> dict[str, dict[str, float]]:
    """Median seconds of each side, and their ratio."""
    results = {}
    for name in CLI_AGENTS:
        with place(ScriptedAgentModel(["echo hi"]), 1) as bench, bench.places.site() as site:
            harness = make_harness(name)
            assert isinstance(harness, CliHarness)
            bare = timed(lambda h=harness: bare_run(bench, site, h))  # type: ignore[misc]
            ours = timed(lambda h=harness: rollout(bench, site, h))  # type: ignore[misc]
            pairs = [(bare(), ours()) for _ in range(ROUNDS + 1)][1:]  # the first one warms up
        left, right = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        results[name] = {
            "docker_run_s": round(left, 3),
            "rollout_s": round(right, 3),
            "ratio": round(ratio, 2),
        }
        print(
            f"{name}: docker run {left:.3f} s, rollout {right:.3f} s, ratio {ratio:.2f}", flush=True
        )
    return results


def timed(act: Callable[[], None]) -> Callable[[], float]:
    def call() -> float:
        started = time.perf_counter()
        act()
        return time.perf_counter() - started

    return call


def rollout(bench: Bench, site: RolloutSite, harness: CliHarness) -> None:
    outcome = harness.run(bench.request(), site)
    assert outcome.status is Status.COMPLETED, outcome.message


def bare_run(
    bench: Bench, site: RolloutSite, harness: CliHarness, task: Task | None = None
) -> None:
    """The program in a container without anything of this project but the gateway.

    Args:
        task: whose first workspace and instruction it gets; by default a small one.
    """
    request = bench.request()
    if task is not None:
        request = replace(request, instruction=task.instruction)
        assert request.workspace is not None
        request.workspace.rmdir()
        Environments(bench.backend).prepare(task, request.workspace)
    home = request.record / "home"
    home.mkdir()
    with bench.gateway.open(Grant(request.model, 1)) as session:
        argv = docker_command(bench, site, harness, request, session.token)
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(request.record)


def docker_command(
    bench: Bench, site: RolloutSite, harness: CliHarness, request: Request, token: str
) -> list[str]:
    launch = harness.agent.launch(request, token, site.base_url, "batch")
    home = request.record / "home"
    for name, text in launch.files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    skill = f"{harness.agent.folders.skills}/bench"
    (home / skill).mkdir(parents=True)
    toolchain = harness.agent.toolchain
    assert request.workspace is not None
    for folder in (home, request.workspace):
        prepare_writable(folder, *agent_ids())
    mounts = [
        f"{home}:{HOME}",
        f"{request.workspace}:{request.workdir}",
        f"{request.skill}:{HOME}/{skill}:ro",
        f"{site.volume(toolchain.image)}:{toolchain.target}:ro",
    ]
    env = {"HOME": HOME, **launch.env}
    return [
        "docker", "run", "--rm", "--init", "--network", site.network(), "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--pids-limit", "256", "--memory", "2048m",
        "--user", "{}:{}".format(*agent_ids()), "--workdir", request.workdir,
        *[part for mount in mounts for part in ("-v", mount)],
        *[part for name, value in env.items() for part in ("-e", f"{name}={value}")],
        request.image, *launch.commands[0],
    ]  # fmt: skip
