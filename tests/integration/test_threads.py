"""Sub-agents, summaries and side requests of the real CLIs, told apart in the trajectory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import jsonschema
import pytest

from harnesses.agents.options import Options
from harnesses.agents.registry import make_harness
from harnesses.base import Outcome, Request, Status, Usage
from harnesses.gateway.upstreams import Answer, Call
from harnesses.gateway.wire import WIRE
from harnesses.protocols.base import Conversation, Reply, ToolCall
from harnesses.trajectories.threads import Turns
from harnesses.trajectories.trajectory import build_trajectory
from tests.helpers.atif_schema import SCHEMA
from tests.helpers.lab import MakeLab
from tests.helpers.scripted_model import SHELLS, ScriptedAgentModel

pytestmark = pytest.mark.engine


def shell(shown: Conversation, id: str, command: str, usage: Usage = Usage()) -> Reply:
    tool = next(t.name for t in shown.tools if t.name in SHELLS)
    call = ToolCall(id, tool, {SHELLS[tool]: command})
    return Reply(f"now {id}", (call,), usage=usage, stop="tool_calls")


def document(outcome: Outcome) -> dict[str, Any]:
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert outcome.trajectory is not None
    found: dict[str, Any] = outcome.trajectory.to_json_dict()
    jsonschema.validate(found, SCHEMA)
    return found


def said(trajectory: dict[str, Any]) -> list[str]:
    return [step["message"] for step in trajectory["steps"] if step["source"] == "agent"]


@dataclass
class Delegating(ScriptedAgentModel):
    """Has a sub-agent do the work."""

    def _reply(self, shown: Conversation, turn: int) -> Reply:
        asked = "\n".join(m.text for m in shown.messages if m.role == "user")
        names = {tool.name for tool in shown.tools}
        if "THE PART" in asked and "THE WHOLE" not in asked:
            return shell(shown, "part", "echo in the part") if turn == 0 else Reply("part done")
        if turn == 0 and "Agent" in names:
            told = {"description": "a part", "prompt": "Do THE PART."}
            told["subagent_type"] = "general-purpose"
            return Reply("over to you", (ToolCall("a1", "Agent", told),), stop="tool_calls")
        if turn == 0 and "task" in names:
            told = {"description": "a part", "prompt": "Do THE PART.", "subagent_type": "general"}
            return Reply("over to you", (ToolCall("a1", "task", told),), stop="tool_calls")
        if turn == 0:
            call = ToolCall("a1", "multi_agent_v1/spawn_agent", {"message": "Do THE PART."})
            return Reply("over to you", (call,), stop="tool_calls")
        if turn == 1 and not names & {"Agent", "task"}:
            (result,) = (r for m in shown.messages for r in m.results)
            told = {"targets": [json.loads(result.text)["agent_id"]], "timeout_ms": 20_000}
            wait = ToolCall("a2", "multi_agent_v1/wait_agent", told)
            return Reply("waiting", (wait,), stop="tool_calls")
        return Reply("whole done")

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        return replace(answer, chunks=self._split(answer.chunks))

    async def _split(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        space = b'"namespace": "multi_agent_v1", "name": "'
        async for chunk in chunks:
            yield chunk.replace(b'"name": "multi_agent_v1/', space)


@pytest.mark.parametrize(
    ("harness", "main"),
    [
        ("codex", ["over to you", "waiting", "whole done"]),
        # Its sub-agents work in the background: it hears of the end in a turn of its own.
        ("claude-code", ["over to you", "whole done", "whole done"]),
        ("opencode", ["over to you", "whole done"]),
    ],
)
def test_a_sub_agent_has_a_trajectory_of_its_own(
    harness: str, main: list[str], lab: MakeLab
) -> None:
    here = lab(Delegating([]))
    request = here.request(instruction="Do THE WHOLE.")
    outcome = here.run(harness, request)
    whole = document(outcome)
    assert outcome.answer == "whole done" and said(whole) == main
    (part,) = whole["subagent_trajectories"]
    assert said(part) == ["now part", "part done"]
    (output,) = [s["observation"]["results"][0] for s in part["steps"] if s.get("tool_calls")]
    assert "in the part" in output["content"]
    results = [r for s in whole["steps"] for r in (s.get("observation") or {}).get("results", [])]
    (spawning,) = [result for result in results if result["source_call_id"] == "a1"]
    (ref,) = spawning["subagent_trajectory_ref"]
    assert ref["trajectory_id"] == part["trajectory_id"]
    # Their own transcripts are kept too, and the wire log alone gives the same trajectory.
    kept = len(list((request.record / "transcript").iterdir()))
    assert kept == (1 if harness == "opencode" else 2)
    again = rebuilt(request)
    assert said(again) == main and said(again["subagent_trajectories"][0]) == said(part)


def rebuilt(request: Request) -> dict[str, Any]:
    trajectory = build_trajectory(
        Turns(request.record / WIRE).so_far(),
        agent="a",
        version="1",
        model="m",
        session_id="s",
        usage=Usage(),
    )
    assert trajectory is not None
    found: dict[str, Any] = trajectory.to_json_dict()
    return found


SUMMARISING = ("CONTEXT CHECKPOINT", "detailed summary", "Here is the conversation so far")


class Filling(ScriptedAgentModel):
    """Works in four steps; its second reply says that the context is nearly full."""

    def _reply(self, shown: Conversation, turn: int) -> Reply:
        last = next(m.text for m in reversed(shown.messages) if m.role == "user")
        if any(words in last for words in SUMMARISING):
            return Reply("<summary>two steps are done</summary>")
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps > 4:
            return Reply("all done")
        full = Usage(1, 195_000, 0, 20) if self.steps == 2 else Usage(1, 900, 0, 20)
        return shell(shown, f"step {self.steps}", f"echo output {self.steps}", full)


@pytest.mark.parametrize(
    ("harness", "settings"),
    [
        ("codex", {"model_auto_compact_token_limit": 20_000}),
        ("claude-code", {"autoCompactWindow": 100_000}),
        ("opencode", {"compaction": {"reserved": 20_000}}),
    ],
)
def test_a_conversation_goes_on_after_its_summary(
    harness: str, settings: dict[str, Any], lab: MakeLab
) -> None:
    here = lab(Filling([]))
    request = here.request(instruction="Do THE WHOLE.")
    outcome = here.run(make_harness(harness, options=Options(settings=settings)), request)
    whole = document(outcome)
    summary = "<summary>two steps are done</summary>"
    assert said(whole) == ["now step 1", "now step 2", summary, "now step 3", "now step 4",
                           "all done"]  # fmt: skip
    assert outcome.answer == "all done"
    kinds = [
        step["message"] for step in whole["steps"] if step.get("extra") == {"kind": "compaction"}
    ]
    assert kinds == [summary]
    (join,) = [step for step in whole["steps"] if "joins" in (step.get("extra") or {})]
    assert join["extra"]["joins"] == ["compaction"] and join["is_copied_context"] is True
    told = "What did we do so far?" if harness == "opencode" else "two steps are done"
    assert join["source"] == "user" and told in join["message"]
    # What the program asks for in order to summarise is no user's.
    users = [step["message"] for step in whole["steps"] if step["source"] == "user"]
    assert not any(words in said for said in users for words in SUMMARISING)
    outputs = [
        (step.get("observation") or {"results": [{"content": ""}]})["results"][0]["content"]
        for step in whole["steps"]
        if step.get("tool_calls")
    ]
    # OpenCode shows the last result before a summary as text of what is to be summarised only.
    shown = [True, harness != "opencode", True, True]
    assert [f"output {n}" in text for n, text in enumerate(outputs, 1)] == shown
