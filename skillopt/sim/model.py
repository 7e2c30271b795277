"""``sim``: a scripted, seeded model behind the gateway, speaking all three protocols.

A test instrument, not a language model: it knows the quickstart's kinds of chores and how people
do them badly and well, but no task's answer. Its two roles, target and optimizer, are modules of
this package; :mod:`skillopt.sim.plain` is the second one asked in free text.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from harnesses.base import Usage
from harnesses.gateway.upstreams import Answer, Call, UpstreamError
from harnesses.protocols.base import (
    Codec,
    Conversation,
    ProtocolError,
    ProtocolName,
    Reply,
    Tool,
    ToolCall,
)
from harnesses.protocols.registry import CODECS
from skillopt.sim.prompt import call_id

_DURATION = re.compile(r"\d+\.\d+")
ALL: frozenset[ProtocolName] = frozenset({"responses", "chat", "messages"})


AGENTS_OWN = frozenset({"codex_output_schema"})
"""Names of the schemas of agents: by the first Codex asks for a title, or passes a question on."""
REPLY_TOOL = "StructuredOutput"
"""The tool by which Claude Code passes a question with a schema on."""


@dataclass(frozen=True)
class SimUpstream:
    """The simulated model. The same seeds and requests give the same replies.

    Args:
        seed: decides all its randomness, together with the rollout's own seed.
        noise: share of tasks on which it makes a mistake and forgets the skill's rules, in [0, 1].
        latency_s: wait before each reply.
        error_rate: share of requests that are answered with status 500.
        cut_rate: share of streams that end half way.
        malformed: share of optimizer replies that are not what was asked for.
        harm: share of reflections that also propose a harmful rule.
    """

    seed: int = 0
    noise: float = 0.0
    latency_s: float = 0.0
    error_rate: float = 0.0
    cut_rate: float = 0.0
    malformed: float = 0.0
    harm: float = 0.2
    protocols: frozenset[ProtocolName] = ALL
    max_concurrency: int = 1000

    async def send(self, call: Call) -> Answer:
        codec = CODECS[call.protocol]
        try:
            shown = codec.read_request(call.body)
        except ProtocolError as error:
            return _json(400, {"error": {"type": "invalid_request_error", "message": str(error)}})
        await asyncio.sleep(self.latency_s)
        accident = random.Random()  # Outages do not repeat with the request: a retry can succeed.
        if accident.random() < self.error_rate:
            return _json(500, {"error": {"type": "server_error", "message": "simulated outage"}})
        reply = self._reply(shown, call)
        digest = hashlib.sha256(repr((shown.messages, call.seed)).encode()).hexdigest()[:24]
        if not shown.stream:
            return _json(200, codec.write_response(reply, shown.model, digest))
        cut = accident.random() < self.cut_rate
        return Answer(200, "text/event-stream", _stream(codec, reply, shown.model, digest, cut))

    def _reply(self, shown: Conversation, call: Call) -> Reply:
        # From the seeds alone, as transcripts contain durations, which differ from run to run.
        rng = random.Random(f"{self.seed}/{call.seed}")
        tool = next((tool for tool in shown.tools if tool.name == REPLY_TOOL), None)
        name = _title(tool.parameters) if tool else shown.schema_name
        if name in AGENTS_OWN:
            name = _title(shown.schema)
        if shown.schema_name in AGENTS_OWN and not name:
            reply = Reply(text=json.dumps({"title": "A task"}))
        elif name:
            from skillopt.sim import judge, optimizer

            system = "\n".join(m.text for m in shown.messages if m.role == "system")
            prompt = "\n".join(m.text for m in shown.messages if m.role == "user")
            if name == judge.SCHEMA:
                return _used(Reply(text=judge.reply(prompt)), shown)
            text = optimizer.reply(
                system, prompt, name, rng, malformed=self.malformed, harm=self.harm
            )
            reply = _by_tool(text, tool, shown) if tool else Reply(text=text)
        else:
            from skillopt.sim import plain, target

            asked = plain.wanted(shown)
            if asked is not None:
                reply = Reply(text=plain.reply(asked, rng, self.harm))
            else:
                reply = target.reply(shown, rng, self.noise)
        return _used(reply, shown)

    async def close(self) -> None:
        """Nothing to close."""


def _title(schema: Mapping[str, Any] | None) -> str:
    """The name of a reply's form as its schema has it; empty for an agent's own."""
    return str((schema or {}).get("title") or "")


def _by_tool(text: str, tool: Tool, shown: Conversation) -> Reply:
    """A reply as Claude Code wants it: a call of its tool. What is no object is said as it is."""
    try:
        said = json.loads(text)
    except ValueError:
        return Reply(text=text)
    arguments = _offered(said, tool.parameters, tool.parameters.get("$defs", {}))
    return Reply(calls=(ToolCall(call_id(shown), tool.name, arguments),), stop="tool_calls")


def _offered(value: Any, schema: Mapping[str, Any], parts: Mapping[str, Any]) -> Any:
    """A value without the fields that a schema does not offer: the agent checks its arguments."""
    schema = parts.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    if isinstance(value, list):
        return [_offered(item, schema.get("items", {}), parts) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    fields = {key: one for key, one in schema["properties"].items() if key in value}
    if len(fields) < len(value) and not fields:
        return value  # Nothing of it is what was asked for.
    return {key: _offered(value[key], one, parts) for key, one in fields.items()}


def _used(reply: Reply, shown: Conversation) -> Reply:
    return Reply(reply.text, reply.calls, _usage(shown, reply), reply.stop, model=shown.model)


def _usage(shown: Conversation, reply: Reply) -> Usage:
    """Usage at four characters a token, tools included, as there is no tokenizer."""
    said = len(reply.text) + sum(len(json.dumps(dict(c.arguments))) for c in reply.calls)
    read = sum(_length(m.text) + sum(_length(r.text) for r in m.results) for m in shown.messages)
    read += sum(len(t.description) + len(json.dumps(dict(t.parameters))) for t in shown.tools)
    return Usage(1, read // 4 + 1, 0, said // 4 + 1)


def _length(text: str) -> int:
    """The length of a text without what differs from run to run: the digits of durations."""
    return len(_DURATION.sub("0", text))


def _json(status: int, body: object) -> Answer:
    async def chunks() -> AsyncIterator[bytes]:
        yield json.dumps(body).encode()

    return Answer(status, "application/json", chunks())


async def _stream(
    codec: Codec, reply: Reply, model: str, id: str, cut: bool
) -> AsyncIterator[bytes]:
    events = list(codec.write_stream(reply, model, id))
    for event in events[: len(events) // 2] if cut else events:
        yield event
    if cut:
        raise UpstreamError("simulated cut")
