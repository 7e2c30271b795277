"""In the real CLIs: an opening ends a rollout that only asks for it, and so do some model calls."""

from __future__ import annotations

import pytest

from harnesses.agents.registry import make_harness
from harnesses.base import Mode, Openings, Outcome, Status
from harnesses.gateway.upstreams import Upstream
from harnesses.gateway.wire import WIRE, read_wire
from skillopt.sim.model import SimUpstream
from tests.helpers.lab import Lab, MakeLab
from tests.helpers.scripted_model import ScriptedAgentModel

pytestmark = pytest.mark.engine
AGENTS = ("codex", "claude-code", "opencode")


def asked(
    lab: MakeLab, upstream: Upstream, harness: str, calls: int = 3, mode: Mode = "batch"
) -> tuple[Outcome, Lab]:
    here = lab(upstream)
    until = Openings(frozenset({"house-rules"}), frozenset(), calls)
    request = here.request(
        instruction="Add up the amounts in `ledger.csv` of the spreadsheet.",
        skill=here.skill(),
        openings=until,
    )
    outcome = here.run(make_harness(harness, mode=mode), request)
    wire = read_wire(request.record / WIRE)
    assert sum(exchange.reply is not None for exchange in wire) == outcome.usage.requests
    return outcome, here


@pytest.mark.parametrize("harness", AGENTS)
def test_an_opening_ends_the_rollout_before_the_next_reply(harness: str, lab: MakeLab) -> None:
    outcome, _ = asked(lab, SimUpstream(), harness)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert outcome.skill_activated and outcome.usage.requests <= 2  # OpenCode asks for a title.
    assert outcome.trajectory is not None and outcome.duration_s < 30


@pytest.mark.parametrize("harness", AGENTS)
def test_not_opened_is_decided_after_some_calls(harness: str, lab: MakeLab) -> None:
    model = ScriptedAgentModel(["echo 1", "echo 2", "echo 3", "echo 4", "echo 5"])
    outcome, _ = asked(lab, model, harness, calls=2)
    assert (outcome.status, outcome.skill_activated) == (Status.COMPLETED, False)
    assert outcome.usage.requests in (2, 3) and len(model.outputs) == 1


@pytest.mark.parametrize("harness", AGENTS)
def test_not_opened_is_decided_when_the_agent_has_answered(harness: str, lab: MakeLab) -> None:
    outcome, _ = asked(lab, ScriptedAgentModel([]), harness)
    assert (outcome.status, outcome.skill_activated) == (Status.COMPLETED, False)
    assert outcome.usage.requests in (1, 2) and outcome.answer == "finished"


@pytest.mark.parametrize("harness", ["codex", "claude-code"])
def test_on_a_terminal_too(harness: str, lab: MakeLab) -> None:
    outcome, _ = asked(lab, SimUpstream(), harness, mode="interactive")
    assert outcome.status is Status.COMPLETED and outcome.skill_activated
