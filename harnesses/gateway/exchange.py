"""One model call as it is recorded: what was asked, what came back, and on what way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harnesses.base import Usage
from harnesses.clock import now
from harnesses.gateway.ignored_fields import ignored_fields
from harnesses.gateway.translation import Translated
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.registry import CODECS

_CLAUDE_AGENT = "x-claude-code-agent-id"
_SESSION, _PARENT = "x-session-id", "x-parent-session-id"
WIRE_FORMAT = 1
"""The format number of a line in ``wire.jsonl``; lines without one are older and read alike."""
MAIN = ""
"""The thread of the main conversation."""
GONE = "the client went away before the reply was complete"


@dataclass(frozen=True)
class Exchange:
    """One request and what came back, both in the client's protocol. ``reply`` is None when no
    whole reply came."""

    protocol: ProtocolName
    request: Mapping[str, Any]
    reply: Reply | None
    status: int
    error: str
    started: float
    ended: float
    spoken: ProtocolName | None = None
    """The protocol that the upstream was spoken to in, where it is another."""
    left_out: tuple[str, ...] = ()
    """What of the request was not passed on: it has no place in that protocol, or the service would
    act outside of the sandbox."""
    ignored: tuple[str, ...] = ()
    """Fields of the request that the reply shows to have been ignored."""
    thread: str | None = None
    """The conversation that it belongs to, ``MAIN`` or a sub-agent's, where the client says so in a
    header."""
    part: int = 0
    """Number of the client's start: a conversation may go on in a new process."""


@dataclass(frozen=True)
class Route:
    """A call's way to its upstream and back: as it is, or translated."""

    call: Call
    part: int
    """Of the session; see :class:`Exchange`."""
    taken_out: tuple[str, ...]
    """What of the client's request is not passed on; see :mod:`harnesses.gateway.confinement`."""
    translated: Translated | None = None

    @property
    def sent(self) -> Call:
        return self.translated.call if self.translated else self.call

    def back(self, answer: Answer) -> Answer:
        return self.translated.answer(answer) if self.translated else answer

    def exchange(self, reply: Reply | None, status: int, error: str, started: float) -> Exchange:
        """What is recorded of it."""
        other = self.translated
        return Exchange(
            self.call.protocol, self.call.body, reply, status, error, started, now(),
            other.call.protocol if other else None,
            self.taken_out + (other.left_out if other else ()),
            ignored_fields(self.sent.protocol, self.sent.body, reply) if reply else (),
            _thread(self.call.headers), self.part,
        )  # fmt: skip


def _thread(headers: Mapping[str, str]) -> str | None:
    """Claude Code names a sub-agent; OpenCode the session, and the one that began it."""
    if _SESSION in headers:
        return headers[_SESSION] if _PARENT in headers else MAIN
    return headers.get(_CLAUDE_AGENT)


def estimated(body: Mapping[str, Any], raw: bytes) -> Usage:
    """Usage of a call that was broken off before the service told: four characters of the request a
    token, and each event of the stream one."""
    return Usage(1, len(json.dumps(body)) // 4, 0, raw.count(b"data:"))


def line_of(exchange: Exchange) -> dict[str, Any]:
    """Its line in ``wire.jsonl``."""
    reply = exchange.reply
    said = CODECS[exchange.protocol].write_response(reply, reply.model, "") if reply else None
    return {
        "format": WIRE_FORMAT,
        "protocol": exchange.protocol,
        "spoken": exchange.spoken or exchange.protocol,
        "left_out": list(exchange.left_out),
        "ignored": list(exchange.ignored),
        "started": exchange.started,
        "ended": exchange.ended,
        "status": exchange.status,
        "error": exchange.error,
        "request": exchange.request,
        "response": said,
        "thread": exchange.thread,
        "part": exchange.part,
    }
