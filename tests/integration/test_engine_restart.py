"""The engine dies or hangs in the middle of rollouts: nothing is lost, misjudged or waited for."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from docker import APIClient

from harnesses.base import Status
from sandboxes.base import SandboxError
from sandboxes.docker import OWNER_LABEL
from sandboxes.owner import current_owner
from skillopt.core.errors import PausedError
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import prepare
from skillopt.run.events import Event
from skillopt.run.records import RolloutRan
from skillopt.tasks.harbor import read_task
from tests.helpers.own_engine import OwnEngine, own_engine
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.small import small_config
from tests.helpers.tasks import make_task

IMAGE = "skillopt/relay:2"
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        os.getuid() != 0 or shutil.which("dockerd") is None, reason="starts an engine: needs root"
    ),
]
JUDGE = """sleep {wait}
if [ "$(cat answer.txt)" = right ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt
"""


@pytest.fixture(scope="module")
def other() -> Iterator[OwnEngine]:
    with own_engine(IMAGE) as engine:
        yield engine


@pytest.mark.parametrize(("agent_s", "judge_s"), [(4, 0), (0, 4)], ids=["agent", "verifier"])
def test_rollouts_under_way_are_run_again_and_scored_right(
    other: OwnEngine,
    agent_s: int,
    judge_s: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make_task(tmp_path / "task", JUDGE.format(wait=judge_s))
    (folder / "environment" / "Dockerfile").write_text(f"FROM {IMAGE}\nWORKDIR /app\n")
    model = ScriptedAgentModel([f"sleep {agent_s}; echo right > answer.txt"])
    monkeypatch.setenv("DOCKER_HOST", other.host)
    own = Plugins(upstreams={"sim": model})
    config = small_config(tmp_path, "direct", workers=3)
    told: list[Event] = []
    with prepare(config, plugins=own).runner(told.append) as runner:
        crash = threading.Thread(target=_crash, args=(other, 3))
        crash.start()
        task = read_task(folder)
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(runner.rollouts, [task], None, replicate=n) for n in range(3)]
            done = [rollout for future in futures for rollout in future.result(60)]
        crash.join()
        sandboxes = {"label": "skillopt.kind=sandbox"}
        assert APIClient(other.host).containers(all=True, filters=sandboxes) == []
    assert [(r.status, r.reward.hard) for r in done] == [(Status.COMPLETED, 1.0)] * 3
    ran = [event.status for event in told if isinstance(event, RolloutRan)]
    assert ran.count(Status.INFRA_ERROR) >= 3 and ran.count(Status.COMPLETED) == 3
    assert APIClient(other.host).containers(all=True) == []


@pytest.mark.parametrize(
    ("steps", "command", "containers"),
    [("", "", 1), ("", "", 3), ("RUN sleep 5\n", "sleep 5", 1)],
    ids=["starting", "working", "building"],
)
def test_an_engine_that_hangs_holds_a_run_up_for_a_limited_time(
    other: OwnEngine,
    steps: str,
    command: str,
    containers: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make_task(tmp_path / "task", JUDGE.format(wait=0))
    dockerfile = f"FROM {IMAGE}\nWORKDIR /app\n{steps}"
    (folder / "environment" / "Dockerfile").write_text(dockerfile)
    model = ScriptedAgentModel(["sleep 2; echo right > answer.txt"])
    monkeypatch.setenv("DOCKER_HOST", other.host)
    own = Plugins(upstreams={"sim": model})
    changes = {"rollout_tries": 1, "sandbox.options": {"patience_s": 2}}
    config = small_config(tmp_path, "direct", workers=3, **changes)
    tasks = [read_task(folder)]
    with ExitStack() as stack:
        runner = stack.enter_context(prepare(config, plugins=own).runner(lambda _: None))
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(runner.rollouts, tasks, None, replicate=n) for n in range(3)]
            _when_running(other, containers, command)
            other.hang()
            began = time.monotonic()
            ended = [future.exception() for future in futures]
            with pytest.raises(SandboxError, match="skillopt clean"):
                runner.cancel()
        assert time.monotonic() - began < 60
        assert [type(error) for error in ended] == [PausedError] * 3
        other.go_on()
    with prepare(config, plugins=own).runner(lambda _: None) as runner:
        done = [runner.rollouts(tasks, None, replicate=n)[0] for n in range(3)]
    assert [(r.status, r.reward.hard) for r in done] == [(Status.COMPLETED, 1.0)] * 3
    api, mine = APIClient(other.host), f"{OWNER_LABEL}={current_owner()}"
    left = api.containers(all=True, filters={"label": mine})
    assert left == api.containers(all=True)  # For 'skillopt clean', once this process has ended.
    for container in left:
        api.remove_container(container["Id"], force=True)


def _crash(engine: OwnEngine, running: int) -> None:
    """Kill the engine once so many containers have run for a second, and start it again."""
    _when_running(engine, running)
    time.sleep(1)
    engine.kill()
    engine.start()


def _when_running(engine: OwnEngine, containers: int, command: str = "") -> None:
    api = APIClient(engine.host)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if sum(command in one["Command"] for one in api.containers()) >= containers:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {containers} containers")
