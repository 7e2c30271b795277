"""A failure of the model service is never a score: every trouble against every kind of client.

Each cell is a rollout through the whole runner with a service on loopback. After the service
behaves again, the same evaluation in the same folder must end with reward 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harnesses.base import Status
from skillopt import Plugins, evaluate
from skillopt.config.schema import Config
from skillopt.core.errors import PausedError
from skillopt.core.types import Rollout
from skillopt.rollouts.store import RolloutStore
from tests.helpers.cells import ALL_CELLS
from tests.services.a_task import TASK, config
from tests.services.scenarios import CASES, Case
from tests.services.service import Service, serving
from tests.services.streaming_client import StreamingClient
from tests.services.wire import Protocol, good


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


def patience(case: Case) -> dict[str, float]:
    """Little where all of it will be used up."""
    return {"total": 3 if case.right == "service" else 6, "first_byte": 1}


def check(case: Case, settings: Config, service: Service, plugins: Plugins) -> None:
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


def cells(cases: Sequence[Case], first: int) -> list[tuple[Protocol, str]]:
    """All protocols of each case; or one in turn, where only a part is to be run."""
    return [
        (protocol, case.name)
        for number, case in enumerate(cases)
        for at, protocol in enumerate(case.protocols)
        if ALL_CELLS or at == (number + first) % len(case.protocols)
    ]


WHOLE = cells([case for case in CASES.values() if not case.streams], 0)
STREAMED = cells(list(CASES.values()), 1)
AGENTS: dict[str, tuple[Protocol, ...]] = {
    "codex": ("responses", "chat"),
    "claude-code": ("messages", "chat"),
    "opencode": ("chat",),
}
"""The protocols of the services that each is tried with: its own, and one that is translated."""
KINDS = (
    "a pause in a header", "credit used up as 400", "too long as anthropic says it",
    "an error in place once", "a closed connection once",
    "a stream with half of its events once", "pings alone", "a stream with CR",
    "thoughts in the text", "ids that repeat", "a strict service that says blanks",
    "calls with pieces in turn",
)  # fmt: skip
"""The cases that real agents meet in every run of the tests: one of each kind."""
EARLY = ("opencode", "a stream with half of its events once")
"""OpenCode runs tools before a reply is whole: after a broken one its work may be there twice."""


def agents_cells() -> list[tuple[str, Protocol, str]]:
    found = [
        (agent, protocol, case.name)
        for agent, protocols in AGENTS.items()
        for number, case in enumerate(CASES.values())
        for at, protocol in enumerate(protocols)
        if protocol in case.protocols
        if ALL_CELLS or (case.name in KINDS and (at == number % 2 or len(protocols) == 1))
    ]
    return [cell for cell in found if ALL_CELLS or cell[0] == _in_turn(cell[2])]


def _in_turn(name: str) -> str:
    """The agent that meets a kind in every run; OpenCode, which is slow to start, two of twelve."""
    turn = KINDS.index(name)
    return "opencode" if turn % 6 == 0 else ("codex", "claude-code")[turn % 2]


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "name"), WHOLE)
def test_direct_chat(protocol: Protocol, name: str, tmp_path: Path, quick_retries: None) -> None:
    case = CASES[name]
    with serving(case.make()) as service:
        settings = config(tmp_path, service, protocol, patience=patience(case))
        check(case, settings, service, Plugins())


@pytest.mark.engine
@pytest.mark.parametrize(("agent", "protocol", "name"), agents_cells())
def test_the_agents(
    agent: str, protocol: Protocol, name: str, tmp_path: Path, quick_retries: None
) -> None:
    case = CASES[name]
    if (agent, name) == EARLY:
        case = replace(case, right="service")
    with serving(case.make()) as service:
        settings = config(
            tmp_path,
            service,
            protocol,
            harness={"name": agent},
            sandbox={"kind": "docker"},
            patience={"total": 6, "first_byte": 3},
        )
        task = settings.runs.parent / "tasks" / "test" / "write-test" / "task.toml"
        task.write_text(TASK.replace("timeout_sec = 3", "timeout_sec = 40"))
        check(case, settings, service, Plugins())


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "name"), STREAMED)
def test_a_client_that_streams(
    protocol: Protocol, name: str, tmp_path: Path, quick_retries: None
) -> None:
    case = CASES[name]
    with serving(case.make()) as service:
        settings = config(tmp_path, service, protocol, patience=patience(case))
        check(case, settings, service, Plugins(harness=StreamingClient(protocol)))
