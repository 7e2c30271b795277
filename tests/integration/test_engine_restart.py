"""The engine dies in the middle of rollouts and comes back: nothing is lost or misjudged."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from docker import APIClient

from harnesses.base import Status
from skillopt.events import Event
from skillopt.records import RolloutRan
from skillopt.tasks.harbor import read_task
from skillopt.workbench import Workbench
from tests.integration.own_engine import OwnEngine, own_engine
from tests.integration.scripted import Scripted
from tests.integration.test_isolation import make_task
from tests.small import small_config

IMAGE = "skillopt/relay:1"
pytestmark = [
    pytest.mark.engine,
    pytest.mark.alone,
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
    model = Scripted([f"sleep {agent_s}; echo right > answer.txt"])
    monkeypatch.setenv("DOCKER_HOST", other.host)
    monkeypatch.setattr("skillopt.workbench.open_upstream", lambda _: nullcontext(model))
    config = small_config(tmp_path, "direct", workers=3)
    told: list[Event] = []
    with Workbench(config, told.append) as bench:
        crash = threading.Thread(target=_crash, args=(other, 3))
        crash.start()
        task = read_task(folder)
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(bench.rollouts, [task], None, replicate=n) for n in range(3)]
            done = [rollout for future in futures for rollout in future.result(60)]
        crash.join()
        sandboxes = {"label": "skillopt.kind=sandbox"}
        assert APIClient(other.host).containers(all=True, filters=sandboxes) == []
    assert [(r.status, r.reward.hard) for r in done] == [(Status.COMPLETED, 1.0)] * 3
    ran = [event.status for event in told if isinstance(event, RolloutRan)]
    assert ran.count(Status.INFRA_ERROR) >= 3 and ran.count(Status.COMPLETED) == 3
    assert APIClient(other.host).containers(all=True) == []


def _crash(engine: OwnEngine, running: int) -> None:
    """Kill the engine once so many containers have run for a second, and start it again."""
    api = APIClient(engine.host)
    end = time.monotonic() + 30
    while len(api.containers()) < running and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(1)
    engine.kill()
    engine.start()
