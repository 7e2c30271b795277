"""What rollouts ask of a Docker engine, in counts: a budget that does not depend on the machine."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from docker import APIClient

from harnesses.base import Status
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import prepare
from skillopt.tasks.harbor import read_task
from tests.helpers.scripted_model import ScriptedAgentModel
from tests.helpers.small import small_config
from tests.helpers.tasks import make_task

pytestmark = pytest.mark.engine
JUDGE = "if [ -f answer.txt ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n"
COMMANDS = ("true", "echo right > answer.txt")
UNTRUSTED = "[metadata]\nuntrusted_programs = true\n"


@dataclass
class Asked:
    """The requests to an engine, and what was made by them."""

    requests: Counter[str] = field(default_factory=Counter)
    containers: int = 0
    namespaces: int = 0

    def note(self, method: str, url: str, body: bytes | None) -> None:
        path = re.sub(r"^.*?/v1\.\d+|/[0-9a-f]{64}|\?.*", "", url)
        self.requests[f"{method} {path}"] += 1
        if path == "/containers/create":
            self.containers += 1
            mode = json.loads(body or b"{}")["HostConfig"]["NetworkMode"]
            self.namespaces += not mode.startswith("container:")


@pytest.fixture
def asked() -> Iterator[Callable[[], Asked]]:
    """A call begins to count anew."""
    now, send = [Asked()], APIClient.send

    def counted(self: APIClient, request: Any, **given: Any) -> Any:
        now[0].note(request.method, request.url, request.body)
        return send(self, request, **given)

    def begin() -> Asked:
        now[0] = Asked()
        return now[0]

    with patch.object(APIClient, "send", counted):
        yield begin


@pytest.mark.parametrize(
    ("harness", "extra", "requests"),
    [
        # Each container alone: create, attach, start, wait, remove; and each relay is looked at.
        ("codex", "", 12),
        ("claude-code", "", 12),
        # The same: the agent's is a shell that runs its two commands.
        ("direct", "", 11),
        # A verifier that runs programs of the agent's has an idle process and two commands.
        ("codex", UNTRUSTED, 15),
    ],
)
def test_a_rollout_keeps_its_budget(
    harness: str,
    extra: str,
    requests: int,
    asked: Callable[[], Asked],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # How often the disk guard looks depends on how long the machine takes, and what its disk loses.
    monkeypatch.setattr("sandboxes.disk._SHORTEST_S", 100.0)
    monkeypatch.setattr("sandboxes.disk._TICK_S", 100.0)
    folder = make_task(tmp_path / "task", JUDGE)
    with (folder / "task.toml").open("a") as settings:
        settings.write(extra)
    task = read_task(folder)
    own = Plugins(upstreams={"sim": ScriptedAgentModel(list(COMMANDS))})
    with prepare(small_config(tmp_path, harness, workers=1), plugins=own).runner(_quiet) as runner:
        found = []
        for number in range(3):
            count = asked()
            [done] = runner.rollouts([task], None, replicate=number)
            assert (done.status, done.reward.hard) == (Status.COMPLETED, 1.0), done.message
            found.append(count)
        asked()  # What ends with the run is not a rollout's.
    for count in found[1:]:  # The first one starts relays and namespaces.
        assert count.requests.total() <= requests, count.requests
        assert (count.containers, count.namespaces) == (2, 0)
    assert found[0].namespaces <= 3


def _quiet(event: object) -> None:
    """Nobody listens to the events of the runs here."""
