"""A failure of the model service is never a score: every trouble against every kind of client.

Each cell is a rollout through the whole runner with a service on loopback. After the service
behaves again, the same evaluation in the same folder must end with reward 1.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harnesses.base import Status
from skillopt import Plugins, evaluate
from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.errors import PausedError
from skillopt.core.types import Rollout
from skillopt.rollouts.store import RolloutStore
from tests.services.scenarios import CASES, Case
from tests.services.service import Service, serving
from tests.services.streaming_client import StreamingClient
from tests.services.wire import Protocol, good

TASK = """\
version = "1.0"
[agent]
timeout_sec = 4
[environment]
storage_mb = 512
"""
TEST = """\
r=0; [ "$(cat answer.txt 2>/dev/null)" = 42 ] && r=1
echo "{\\"reward\\": $r}" > "$VERIFIER_LOGS/reward.json"
"""
ALL_CELLS = "SKILLOPT_ALL_CELLS" in os.environ


def config(folder: Path, service: Service, protocol: Protocol, **settings: object) -> Config:
    for split in ("train", "val", "test"):
        task = folder / "tasks" / split / f"write-{split}"
        (task / "environment").mkdir(parents=True)
        (task / "tests").mkdir()
        (task / "task.toml").write_text(TASK)
        (task / "instruction.md").write_text(f"Write 42 into answer.txt ({split}).\n")
        (task / "environment" / "Dockerfile").write_text("FROM skillopt/agent-base:1\nWORKDIR /app\n")
        (task / "tests" / "test.sh").write_text(TEST)
    upstream = {"kind": "openai-compatible", "base_url": service.url, "protocols": [protocol]}
    values = {
        "name": "services",
        "runs": str(folder / "runs"),
        "workers": 1,
        "tasks": {"source": str(folder / "tasks")},
        "skill": {"init": "empty", "name": "mine", "description": "Use it."},
        "harness": {"name": "direct"},
        "sandbox": {"kind": "local"},
        "target": {"upstream": "up", "name": "m"},
        "optimizer": {"upstream": "up", "name": "m"},
        "upstreams": {"up": upstream},
        "rollout_tries": 1,
        "patience": {"total": 3, "first_byte": 2},
        **settings,
    }
    file = folder / "config.yaml"
    file.write_text("{}")
    return load_config(file, Config, values)


def rollout(settings: Config, plugins: Plugins) -> Rollout:
    """The one rollout of an evaluation, also if it was not scored."""
    store = RolloutStore(settings.runs / "store")
    try:
        (row,) = evaluate(settings, {"none": None}, plugins=plugins)
        return row.rollouts[0]
    except PausedError:
        (file,) = store.root.glob("**/result.json")
        return Rollout.read(file.parent)


def judged(found: Rollout) -> str:
    """What the rollout has come to, in the words of the table."""
    if found.status is Status.INFRA_ERROR:
        return "service"
    return "solved" if found.reward.hard else f"agent ({found.status})"


def check(case: Case, settings: Config, service: Service, plugins: Plugins = Plugins()) -> None:
    found = rollout(settings, plugins)
    came = judged(found)
    if case.right == "agent":
        assert came.startswith(("agent (agent_error", "solved")), f"{came}: {found.message}"
        return
    assert came == case.right, f"{came}: {found.message}"
    if case.right == "service":
        assert found.message and "Traceback" not in found.message
        service.scenario = good
        again = rollout(settings, plugins)
        assert judged(again) == "solved", again.message


WHOLE = [(p, c.name) for c in CASES.values() if not c.streams for p in c.protocols]
STREAMED = [(p, c.name) for c in CASES.values() for p in c.protocols]


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "name"), WHOLE)
def test_direct_chat(protocol: Protocol, name: str, tmp_path: Path, quick_retries: None) -> None:
    case = CASES[name]
    with serving(case.make()) as service:
        check(case, config(tmp_path, service, protocol), service)


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "name"), STREAMED)
def test_a_client_that_streams(
    protocol: Protocol, name: str, tmp_path: Path, quick_retries: None
) -> None:
    case = CASES[name]
    with serving(case.make()) as service:
        plugins = Plugins(harness=StreamingClient(protocol))
        check(case, config(tmp_path, service, protocol), service, plugins)
