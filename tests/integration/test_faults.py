"""What fails around an agent gets its own status and a message that names it, and never a score."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harnesses.agents import codex, registry
from harnesses.agents.cli_agent import CliHarness
from harnesses.agents.codex import Codex
from harnesses.agents.options import Options
from harnesses.agents.registry import CLI_AGENTS, NAMES
from harnesses.base import Status
from harnesses.gateway.upstreams import Answer, Call, UpstreamError
from harnesses.gateway.wire import WIRE, read_wire
from harnesses.protocols.base import Conversation, Reply, ToolCall
from skillopt.sim.model import SimUpstream
from tests.helpers.cells import cells
from tests.helpers.lab import MakeLab
from tests.helpers.scripted_model import SHELLS, Cutting, Refusing, ScriptedAgentModel

pytestmark = pytest.mark.engine


@pytest.mark.parametrize(("harness", "status"), cells(NAMES, [429, 500, 401]))
def test_a_model_service_that_refuses_is_an_infrastructure_failure(
    harness: str, status: int, lab: MakeLab
) -> None:
    here = lab(Refusing(status))
    started = time.monotonic()
    outcome = here.run(harness, here.request())
    assert outcome.status is Status.INFRA_ERROR
    assert f"status {status}" in outcome.message
    # The CLIs retry for minutes by themselves; here the gateway has done it.
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("harness", ["codex", "direct"])
def test_a_model_service_that_stalls_is_not_the_agents_fault(harness: str, lab: MakeLab) -> None:
    here = lab(SimUpstream(latency_s=600))
    outcome = here.run(harness, here.request(timeout_s=4))
    assert outcome.status is Status.INFRA_ERROR
    assert "no reply began; this rollout has waited" in outcome.message
    assert outcome.service_s > 7 and outcome.duration_s - outcome.service_s < 5


@pytest.mark.parametrize("harness", CLI_AGENTS)  # direct chat does not stream
def test_streams_that_are_cut_are_an_infrastructure_failure_also_late_in_the_work(
    harness: str, lab: MakeLab
) -> None:
    here = lab(Cutting(["true"]))
    outcome = here.run(harness, here.request())
    assert outcome.status is Status.INFRA_ERROR
    assert "connection reset" in outcome.message


@dataclass
class CutOnce(ScriptedAgentModel):
    """The scripted model, whose first stream with a tool call breaks after some of its events."""

    after: int = 0
    events: int = 0

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        if self.events or not self.outputs:
            return answer
        chunks = [chunk async for chunk in answer.chunks]
        self.events = len(chunks)

        async def cut() -> AsyncIterator[bytes]:
            for chunk in chunks[: self.after]:
                yield chunk
            raise UpstreamError("connection reset")

        return replace(answer, chunks=cut())


@pytest.mark.parametrize("harness", CLI_AGENTS)
def test_a_stream_cut_at_any_event_costs_no_score(harness: str, lab: MakeLab) -> None:
    """The agent asks again and goes on, or the rollout is run again; it is never the agent's."""
    model = CutOnce(["echo one >> log", "echo two >> log"])
    here = lab(model)
    ends = set()
    for after in range(0, 40, 4 if harness == "opencode" else 1):
        model.after, model.events = after, 0
        request = here.request()
        outcome = here.run(harness, request)
        assert outcome.status in (Status.COMPLETED, Status.INFRA_ERROR), outcome.message
        if outcome.status is Status.COMPLETED:
            assert request.workspace is not None
            assert (request.workspace / "log").read_text() == "one\ntwo\n"
        ends.add(outcome.status)
        if after + 1 >= model.events:
            break
    assert after > 3
    assert Status.COMPLETED in ends
    # OpenCode starts a command before the stream that asked for it has ended, and again after.
    assert Status.INFRA_ERROR in ends or harness != "opencode"


@pytest.mark.parametrize("harness", NAMES)
def test_passing_outages_are_not_seen_by_the_agent(harness: str, lab: MakeLab) -> None:
    here = lab(SimUpstream(error_rate=0.2))
    outcome = here.run(harness, here.request())
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")


@pytest.mark.parametrize("harness", CLI_AGENTS)
def test_a_cli_that_crashes_at_work_is_the_agents_error(harness: str, lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel([f"env pkill -9 -f /opt/skillopt/{harness}/; sleep 5"]))
    outcome = here.run(harness, here.request())
    assert outcome.status is Status.AGENT_ERROR
    assert f"{harness} ended with exit code" in outcome.message


@pytest.mark.parametrize("harness", CLI_AGENTS)
def test_a_cli_that_does_not_even_start_is_an_infrastructure_failure(
    harness: str, lab: MakeLab
) -> None:
    program = registry.agent_kind(harness)
    broken = replace(program.toolchain(None), program="no-such-program")
    here = lab(ScriptedAgentModel([]))
    outcome = here.run(CliHarness(program.agent(broken, Options())), here.request())
    assert outcome.status is Status.INFRA_ERROR
    assert "it was never reached" in outcome.message


@pytest.mark.parametrize("harness", NAMES)
def test_a_missing_image_is_named_with_what_to_do(harness: str, lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel(["true"]))
    outcome = here.run(harness, here.request(image="skillopt/no-such-image:1"))
    assert outcome.status is Status.INFRA_ERROR
    assert "skillopt/no-such-image:1" in outcome.message
    assert "skillopt images build" in outcome.message


def test_a_missing_toolchain_is_named_with_what_to_do(lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel([]))
    outcome = here.run(CliHarness(Codex(codex.toolchain("0.0.1"))), here.request())
    assert outcome.status is Status.INFRA_ERROR
    assert "skillopt/toolchain-codex:0.0.1" in outcome.message
    assert "skillopt images build" in outcome.message


def test_a_relay_that_died_is_replaced_for_the_next_rollout(lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel([]))
    here.engine.api.kill(here.site.network().removeprefix("container:"))
    assert here.run("codex", here.request()).status is Status.COMPLETED


@pytest.mark.parametrize(
    ("harness", "what", "told"),
    [
        ("codex", "relay", "the relay has ended with exit code 137"),
        ("claude-code", "relay", "the relay has ended with exit code 137"),
        ("codex", "gateway", "the gateway has ended"),
        ("direct", "gateway", "the gateway has ended"),
    ],
)
def test_an_agent_that_loses_its_model_at_work_is_not_scored(
    harness: str, what: str, told: str, lab: MakeLab
) -> None:
    def kill() -> None:
        if what == "relay":
            here.engine.api.kill(here.site.network().removeprefix("container:"))
        else:
            here.gateway.close()

    def working(shown: Conversation) -> Reply:
        threading.Timer(1.0, kill).start()
        tool = next(t.name for t in shown.tools if t.name in SHELLS)
        call = ToolCall("call_0", tool, {SHELLS[tool]: "sleep 2"})
        return Reply("", (call,), stop="tool_calls")

    here = lab(ScriptedAgentModel([working]))
    outcome = here.run(harness, here.request(timeout_s=8))
    assert (outcome.status, told in outcome.message) == (Status.INFRA_ERROR, True), outcome.message


class TooLong(ScriptedAgentModel):
    """A model with little room: the second request is more than it takes."""

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        full = Refusing(400, "prompt is too long: 9000 tokens > 8192 maximum")
        return await full.send(call) if self.outputs else answer


@pytest.mark.parametrize("harness", NAMES)
def test_a_conversation_that_outgrows_the_model_is_the_agents_error(
    harness: str, lab: MakeLab
) -> None:
    here = lab(TooLong(["true"]))
    assert here.run(harness, here.request()).status is Status.AGENT_ERROR


def test_an_agent_that_talks_without_end_is_stopped_by_its_budget(lab: MakeLab) -> None:
    here = lab(ScriptedAgentModel(["true"] * 1000))
    outcome = here.run("direct", here.request())
    assert outcome.status is Status.AGENT_ERROR
    assert "40 turns" in outcome.message


def test_the_model_sees_no_path_of_the_host(lab: MakeLab, tmp_path: Path) -> None:
    here = lab(ScriptedAgentModel(["mount | head -50; true"]))
    request = here.request(skill=here.skill())
    here.run("claude-code", request)
    first = read_wire(request.record / WIRE)[0]
    assert str(tmp_path) not in json.dumps(first.request)
