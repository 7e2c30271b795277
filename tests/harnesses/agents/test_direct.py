"""Direct chat without containers: questions, both SDKs, and both of its sandboxes' errors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from harnesses.agents.direct import Direct
from harnesses.base import Budget, ModelSpec, Outcome, Request, Status
from harnesses.gateway.upstreams import Upstream
from harnesses.protocols.base import Conversation, ProtocolName, Reply, Thought, ToolCall
from sandboxes.backend import Backend
from sandboxes.base import Limits, Sandbox, SandboxSpec
from sandboxes.local import LocalSandbox
from sandboxes.local_backend import LocalBackend
from tests.helpers.lab import place
from tests.helpers.scripted_model import ScriptedAgentModel

SKILL = "---\nname: s\ndescription: d\n---\n\n# Rules\n\n- Be brief.\n"


def run(
    upstream: Upstream,
    folder: Path,
    harness: Direct | None = None,
    backend: Backend | None = None,
    **fields: Any,
) -> Outcome:
    (folder / "record").mkdir()
    (folder / "workspace").mkdir()
    values: dict[str, Any] = {
        "id": "r1",
        "instruction": "Say hello.",
        "image": "",
        "workspace": folder / "workspace",
        "workdir": "/app",
        "skill": None,
        "model": ModelSpec("up", "m"),
        "timeout_s": 20.0,
        "limits": Limits(),
        "budget": Budget(),
        "seed": 1,
        "env": {},
        "record": folder / "record",
    }
    with place(upstream, backend) as site:
        return (harness or Direct()).run(Request(**{**values, **fields}), site)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["chat", "messages"])
def test_either_sdk_drives_the_shell(protocol: ProtocolName, tmp_path: Path) -> None:
    model = ScriptedAgentModel(["echo $GREETING > out.txt; cat out.txt; exit 3"])
    model.protocols = frozenset({protocol})
    outcome = run(model, tmp_path, env={"GREETING": "hello"})
    assert (outcome.status, outcome.answer) == (Status.COMPLETED, "finished")
    assert (tmp_path / "workspace" / "out.txt").read_text() == "hello\n"
    assert "hello" in model.outputs[0] and "[exit code 3]" in model.outputs[0]
    assert outcome.trajectory is not None
    assert [step.source for step in outcome.trajectory.steps] == [
        "system", "user", "agent", "agent",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["responses", "messages", "chat"])
def test_thoughts_go_back_to_the_service_that_thought_them(
    protocol: ProtocolName, tmp_path: Path
) -> None:
    seal = {"responses": "rs_1 c2VjcmV0", "messages": "c2ln", "chat": "reasoning_content"}
    thought = Thought("I look.", seal[protocol], protocol)
    seen: list[Conversation] = []

    def think(shown: Conversation) -> Reply:
        call = ToolCall("call_0", "shell", {"command": "true"})
        return Reply("", (call,), stop="tool_calls", thoughts=(thought,))

    def end(shown: Conversation) -> Reply:
        seen.append(shown)
        return Reply("finished")

    model = ScriptedAgentModel([think, end], protocols=frozenset({protocol}))
    assert run(model, tmp_path).status is Status.COMPLETED
    assert [t for message in seen[0].messages for t in message.thoughts] == [thought]


def test_a_question_is_answered_without_tools_and_with_the_skill(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "SKILL.md").write_text(SKILL)
    outcome = run(ScriptedAgentModel([]), tmp_path, workspace=None, skill=tmp_path / "s")
    assert (outcome.status, outcome.answer) == (Status.COMPLETED, "finished")
    assert outcome.skill_activated is True
    assert outcome.trajectory is not None
    assert outcome.trajectory.agent.tool_definitions is None


@pytest.mark.slow
def test_the_end_of_its_time_ends_what_it_runs(tmp_path: Path) -> None:
    outcome = run(ScriptedAgentModel(["sleep 30"]), tmp_path, timeout_s=1.5)
    assert outcome.status is Status.AGENT_TIMEOUT
    assert outcome.duration_s < 8


@pytest.mark.slow
def test_the_wait_for_its_sandbox_is_not_its_time(tmp_path: Path) -> None:
    class Slow(LocalSandbox):
        def start(self) -> None:
            time.sleep(2)
            super().start()

    class SlowBackend(LocalBackend):
        def sandbox(self, spec: SandboxSpec) -> Sandbox:
            return self.track(Slow(spec))

    model = ScriptedAgentModel(["echo hi"])
    outcome = run(model, tmp_path, backend=SlowBackend(), timeout_s=1.5)
    assert outcome.status is Status.COMPLETED


def test_turns_are_limited(tmp_path: Path) -> None:
    outcome = run(ScriptedAgentModel(["true"] * 9), tmp_path, Direct(max_turns=3))
    assert outcome.status is Status.AGENT_ERROR and "3 turns" in outcome.message


def test_the_budget_of_model_requests_ends_the_rollout_as_the_agents_error(tmp_path: Path) -> None:
    outcome = run(ScriptedAgentModel(["true"] * 9), tmp_path, budget=Budget(requests=2))
    assert outcome.status is Status.AGENT_ERROR
    assert "budget of 2 model requests is used up" in outcome.message


def test_a_tool_that_it_does_not_have_is_answered_and_not_run(tmp_path: Path) -> None:
    model = ScriptedAgentModel([lambda _: Reply("", (ToolCall("call_0", "rm", {"path": "/"}),))])
    assert run(model, tmp_path).status is Status.COMPLETED
    assert "There is only the tool shell" in model.outputs[0]
