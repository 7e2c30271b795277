"""A model that does what a test says: shell commands in order, then a closing message."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

from harnesses.gateway.upstreams import Answer, Call, UpstreamError
from harnesses.protocols.base import Conversation, ProtocolName, Reply, ToolCall
from harnesses.protocols.registry import CODECS
from skillopt.sim.model import ALL

SHELLS = {"exec_command": "cmd", "Bash": "command", "bash": "command", "shell": "command"}
"""The shell tool of each harness, and its argument."""


@dataclass
class ScriptedAgentModel:
    """Runs ``commands`` by the agent's own shell tool, one per turn.

    ``outputs`` collects what the agent's tool reported back, in order of the commands.
    """

    commands: Sequence[str | Callable[[Conversation], Reply]]
    outputs: list[str] = field(default_factory=list)
    protocols: frozenset[ProtocolName] = ALL
    max_concurrency: int = 10
    count: int = 0

    async def send(self, call: Call) -> Answer:
        codec = CODECS[call.protocol]
        shown = codec.read_request(call.body)
        if _wants_title(call, shown):
            reply = Reply("A title")
        else:
            done = [r for m in shown.messages for r in m.results]
            self.outputs[:] = [result.text for result in done]
            reply = self._reply(shown, len(done))
        self.count += 1
        id = str(self.count)  # Claude Code takes replies of one id for parts of one message.
        if shown.stream:
            return Answer(
                200, "text/event-stream", _all(list(codec.write_stream(reply, shown.model, id)))
            )
        body = json.dumps(codec.write_response(reply, shown.model, id)).encode()
        return Answer(200, "application/json", _all([body]))

    def _reply(self, shown: Conversation, turn: int) -> Reply:
        if turn >= len(self.commands):
            return Reply("finished")
        command = self.commands[turn]
        if callable(command):
            return command(shown)
        tool = next((t.name for t in shown.tools if t.name in SHELLS), None)
        if tool is None:
            return Reply("no tool")  # A side request, for a title.
        return Reply(
            "", (ToolCall(f"call_{turn}", tool, {SHELLS[tool]: command}),), stop="tool_calls"
        )

    async def close(self) -> None:
        """Nothing to close."""


def _wants_title(call: Call, shown: Conversation) -> bool:
    """Whether a CLI on a terminal asks for a title, beside its work."""
    if call.protocol == "messages":
        return "metadata" in call.body and not shown.tools
    if call.protocol == "chat":
        return shown.messages[0].text.startswith("You are a title generator")
    return "thread_title" in str(call.body.get("client_metadata"))


async def _all(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@dataclass(frozen=True)
class Refusing:
    """A service that gives every call the same status."""

    status: int
    message: str = "try later"
    protocols: frozenset[ProtocolName] = ALL
    max_concurrency: int = 10

    async def send(self, call: Call) -> Answer:
        async def body() -> AsyncIterator[bytes]:
            yield json.dumps({"error": {"message": self.message}}).encode()

        return Answer(self.status, "application/json", body(), retry_after_s=0.0)

    async def close(self) -> None:
        """Nothing to close."""


@dataclass
class Cutting(ScriptedAgentModel):
    """The scripted model, whose streams break in the middle from the second on."""

    calls: int = 0

    async def send(self, call: Call) -> Answer:
        answer = await super().send(call)
        self.calls += 1
        return answer if self.calls == 1 else replace(answer, chunks=self._cut(answer.chunks))

    async def _cut(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield await anext(chunks)
        raise UpstreamError("connection reset")
