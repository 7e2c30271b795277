"""The real CLIs on models whose services speak another protocol than theirs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from harnesses.base import ModelSpec, Outcome, Status
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import Conversation, ProtocolName, Reply, Thought, ToolCall
from harnesses.protocols.registry import CODECS
from skillopt.sim.model import SimUpstream
from tests.helpers.lab import MakeLab
from tests.helpers.ledger import TASK, amount, ledger
from tests.helpers.pictures import PATCH, PICTURE, picture
from tests.helpers.scripted_model import SHELLS, Cutting, Refusing, ScriptedAgentModel

pytestmark = pytest.mark.engine
OWN: dict[str, ProtocolName] = {
    "codex": "responses", "claude-code": "messages", "direct": "chat", "opencode": "chat"
}  # fmt: skip
FOREIGN: list[tuple[str, ProtocolName]] = [
    ("codex", "messages"),
    ("codex", "chat"),
    ("claude-code", "responses"),
    ("claude-code", "chat"),
    ("opencode", "responses"),
    ("opencode", "messages"),
    ("direct", "responses"),
]


def solved(harness: str, spoken: ProtocolName, lab: MakeLab) -> tuple[Outcome, list[Any]]:
    """A rollout of a quickstart task with the skill, and the lines of its wire log."""
    here = lab(SimUpstream(protocols=frozenset({spoken})))
    here.count = 10 * list(CODECS).index(spoken)  # Labs of one test share its folder.
    request = here.request(instruction=TASK, skill=here.skill())
    assert request.workspace is not None
    ledger(request.workspace)
    outcome = here.run(harness, request)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert outcome.skill_activated is True
    assert amount(request.workspace) == -10
    wire = (request.record / "wire.jsonl").read_text("utf-8").splitlines()
    return outcome, [json.loads(line) for line in wire]


def steps(outcome: Outcome) -> list[Any]:
    """What the agent said and called."""
    assert outcome.trajectory is not None
    return [
        (step.message, [(c.function_name, c.arguments) for c in step.tool_calls or ()])
        for step in outcome.trajectory.steps
        if step.source == "agent"
    ]


@pytest.mark.parametrize(("harness", "spoken"), FOREIGN)
def test_a_task_is_solved_with_the_skill_whatever_the_service_speaks(
    harness: str, spoken: ProtocolName, lab: MakeLab
) -> None:
    outcome, wire = solved(harness, spoken, lab)
    assert {line["protocol"] for line in wire} == {OWN[harness]}
    assert {line["spoken"] for line in wire} == {spoken}
    native, native_wire = solved(harness, OWN[harness], lab)
    assert {line["spoken"] for line in native_wire} == {OWN[harness]}
    # The same trajectory as without translation.
    assert steps(outcome) == steps(native) and len(steps(outcome)) >= 3


@dataclass
class Demanding(ScriptedAgentModel):
    """Thinks, calls two tools at once of which one fails, looks at a picture, writes a patch."""

    bodies: list[Mapping[str, Any]] = field(default_factory=list)

    async def send(self, call: Call) -> Answer:
        self.bodies.append(call.body)
        return await super().send(call)


SEALS = {"chat": "reasoning_content", "messages": "c2ln", "responses": "rs_1 c2VjcmV0"}


@pytest.mark.parametrize(("harness", "spoken"), FOREIGN[:6])
def test_parallel_calls_failures_pictures_patches_and_thoughts_get_through(
    harness: str, spoken: ProtocolName, lab: MakeLab
) -> None:
    thought = Thought("First I look.", SEALS[spoken], spoken)

    def two_at_once(shown: Conversation) -> Reply:
        tool = next(t.name for t in shown.tools if t.name in SHELLS)
        commands = ("echo one", "ls /nowhere; exit 3")
        calls = tuple(
            ToolCall(f"call_{n}", tool, {SHELLS[tool]: command})
            for n, command in enumerate(commands)
        )
        return Reply("Two at once.", calls, stop="tool_calls", thoughts=(thought,))

    def patch(shown: Conversation) -> Reply:
        patching = next((t for t in shown.tools if t.name == "apply_patch"), None)
        if patching is not None:
            # OpenCode's is a function.
            key = "patchText" if "patchText" in str(patching.parameters) else "input"
            call = ToolCall("call_3", "apply_patch", {key: PATCH})
        else:
            call = ToolCall("call_3", "Write", {"file_path": "/app/new.txt", "content": "made\n"})
        return Reply("", (call,), stop="tool_calls")

    model = Demanding([two_at_once, patch, picture, patch], protocols=frozenset({spoken}))
    here = lab(model)
    # A name for which Codex offers its free-text patch tool.
    request = here.request(model=ModelSpec("up", "gpt-5.5"))
    assert request.workspace is not None
    (request.workspace / "dot.png").write_bytes(base64.b64decode(PICTURE))
    outcome = here.run(harness, request)
    assert (outcome.status, outcome.answer) == (Status.COMPLETED, "finished")
    assert (request.workspace / "new.txt").read_text() == "made\n"
    last = CODECS[spoken].read_request(model.bodies[-1])
    results = {r.call_id: r for m in last.messages for r in m.results}
    assert "one" in results["call_0"].text and "/nowhere" in results["call_1"].text
    assert PICTURE[:40] in json.dumps(model.bodies[-1])
    assert thought in [t for m in last.messages for t in m.thoughts]
    if harness == "claude-code":
        assert results["call_1"].text.startswith("[the tool failed]")


@pytest.mark.parametrize(("harness", "spoken"), FOREIGN[:6])
def test_trouble_behind_a_translation_is_an_infrastructure_failure(
    harness: str, spoken: ProtocolName, lab: MakeLab
) -> None:
    here = lab(Refusing(401, protocols=frozenset({spoken})))
    outcome = here.run(harness, here.request())
    assert outcome.status is Status.INFRA_ERROR and "status 401" in outcome.message
    cutting = lab(Cutting(["true"], protocols=frozenset({spoken})))
    cutting.count = 10
    outcome = cutting.run(harness, cutting.request())
    assert outcome.status is Status.INFRA_ERROR and "connection reset" in outcome.message
