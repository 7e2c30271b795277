"""Options of the real CLIs: tool servers, effort, tools, flags and settings do what they say."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnesses.agents.options import McpServer, Options
from harnesses.agents.registry import make_harness
from harnesses.base import Outcome, Request, Status
from harnesses.gateway.upstreams import Answer, Call
from harnesses.gateway.wire import WIRE, read_wire
from harnesses.protocols.base import Conversation, Reply, ToolCall
from tests.helpers.lab import Lab, MakeLab
from tests.helpers.scripted_model import ScriptedAgentModel

pytestmark = pytest.mark.engine
SERVER = Path(__file__).parent / "mcp_server.py"


class Namespaced(ScriptedAgentModel):
    """A tool named ``SPACE/NAME`` is called as Codex has it: by name and namespace."""

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        return replace(answer, chunks=self._split(answer.chunks))

    async def _split(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk.replace(b'"name": "mcp__calc/', b'"namespace": "mcp__calc", "name": "')


def first_request(request: Request) -> dict[str, Any]:
    return dict(read_wire(request.record / WIRE)[0].request)


def run(here: Lab, harness: str, options: Options, **changes: Any) -> tuple[Outcome, Request]:
    request = here.request(**changes)
    assert request.workspace is not None
    shutil.copy(SERVER, request.workspace / "server.py")
    return here.run(make_harness(harness, options=options), request), request


CALC = {"calc": McpServer(command="python3", args=("/app/server.py",), env={"UNIT": "apples"})}


@pytest.mark.parametrize(
    ("harness", "allowed", "offered", "tool"),
    [
        ("codex", ("shell",), {"exec_command", "write_stdin", "mcp__calc"}, "mcp__calc/add"),
        ("claude-code", ("Bash", "Skill"), {"Bash", "Skill", "mcp__calc__add"}, "mcp__calc__add"),
        ("opencode", ("bash", "skill"), {"bash", "skill", "calc_add"}, "calc_add"),
    ],
)
def test_a_tool_server_runs_in_the_sandbox_beside_the_allowed_tools(
    harness: str, allowed: tuple[str, ...], offered: set[str], tool: str, lab: MakeLab
) -> None:
    def add(_: Conversation) -> Reply:
        return Reply("", (ToolCall("call_0", tool, {"a": 2, "b": 3}),), stop="tool_calls")

    model = Namespaced([add, "true"])
    options = Options(effort="low", allowed_tools=allowed, mcp_servers=CALC)
    outcome, request = run(lab(model), harness, options)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert "sum=5 apples in /app" in model.outputs[0]
    body = first_request(request)
    names = {tool.get("function", tool)["name"] for tool in body["tools"]}
    assert {name for name in names if "mcp_resource" not in name} == offered
    efforts = {
        "codex": ("reasoning", "effort"),
        "claude-code": ("output_config", "effort"),
        "opencode": ("reasoning_effort",),
    }
    effort: Any = body
    for key in efforts[harness]:
        effort = effort[key]
    assert effort == "low"


def test_codex_takes_settings_and_flags(lab: MakeLab) -> None:
    options = Options(
        flags=("--disable", "goals"),
        settings={"model_verbosity": "low", "features": {"multi_agent": False}},
    )
    outcome, request = run(lab(ScriptedAgentModel(["true"])), "codex", options)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    names = {tool.get("name") for tool in first_request(request)["tools"]}
    assert "exec_command" in names and not names & {"get_goal", "multi_agent_v1"}


def test_a_setting_that_codex_does_not_know_is_named(lab: MakeLab) -> None:
    outcome, _ = run(lab(ScriptedAgentModel([])), "codex", Options(settings={"verbosity": "low"}))
    assert outcome.status is Status.INFRA_ERROR
    assert "unknown configuration field `verbosity`" in outcome.message


def test_claude_code_takes_settings_and_flags(lab: MakeLab) -> None:
    options = Options(
        flags=("--append-system-prompt=--brief is a word here", "--brief"),
        settings={"permissions": {"deny": ["WebFetch"]}, "env": {"MCP_TIMEOUT": "4711"}},
    )
    model = ScriptedAgentModel(["echo timeout=$MCP_TIMEOUT"])
    outcome, request = run(lab(model), "claude-code", options)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    assert "timeout=4711" in model.outputs[0]
    body = first_request(request)
    names = {tool["name"] for tool in body["tools"]}
    assert "WebFetch" not in names and "WebSearch" in names
    assert "--brief is a word here" in json.dumps(body["system"])


def test_opencode_takes_settings_and_flags(lab: MakeLab) -> None:
    words = {"description": "Says little.", "prompt": "Brevity is a word here.", "mode": "primary"}
    options = Options(
        flags=("--agent=brief",),
        settings={"permission": {"webfetch": "deny"}, "agent": {"brief": words}},
    )
    outcome, request = run(lab(ScriptedAgentModel(["true"])), "opencode", options)
    assert (outcome.status, outcome.message) == (Status.COMPLETED, "")
    body = first_request(request)
    names = {tool["function"]["name"] for tool in body["tools"]}
    assert "webfetch" not in names and "glob" in names
    assert "Brevity is a word here." in json.dumps(body["messages"][0])
