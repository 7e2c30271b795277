"""One rollout's access to the gateway: what its token permits, and what went over the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnesses.base import Budget, ModelSpec, Usage
from harnesses.clock import now
from harnesses.noticed import ignored
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from harnesses.translation import Translated
from harnesses.upstreams import Answer, Call

if TYPE_CHECKING:
    from harnesses.gateway import Gateway

AGENT_HEADER = "x-claude-code-agent-id"


@dataclass(frozen=True)
class Grant:
    """What a token permits, and where its exchanges are recorded (``wire.jsonl``)."""

    model: ModelSpec
    seed: int
    record: Path | None = None
    budget: Budget = Budget()


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
    """What of the request has no place in that protocol."""
    ignored: tuple[str, ...] = ()
    """Fields of the request that the reply shows to have been ignored."""
    agent: str = ""
    """The sub-agent that asked, where the client says so in a header."""
    part: int = 0
    """Number of the client's start: a conversation may go on in a new process."""


@dataclass
class Session:
    """One rollout's access. A context manager: the token dies on exit."""

    token: str
    grant: Grant
    gateway: Gateway
    exchanges: list[Exchange] = field(default_factory=list)
    usage: Usage = Usage()
    failure: str = ""
    """Why the model service was given up; an infrastructure failure."""
    denied: str = ""
    """The first thing that the agent asked for and the grant does not permit."""
    exhausted: str = ""
    """Which budget the agent used up."""
    cuts: int = 0
    requests: int = 0
    active: int = 0
    """Calls under way."""
    part: int = 0
    """Raised by the harness when it starts its program anew."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.gateway.revoke(self.token)

    def add(self, exchange: Exchange, cost: float | None) -> None:
        """Keep and record one exchange."""
        self.exchanges.append(exchange)
        if exchange.reply is not None:
            self.usage += replace(exchange.reply.usage, cost_usd=cost)
        if self.grant.record is not None:
            line = json.dumps(_line(exchange), ensure_ascii=False)
            try:
                with (self.grant.record / "wire.jsonl").open("a", encoding="utf-8") as log:
                    log.write(line + "\n")
            except OSError as error:
                # What cannot be recorded is nobody's score.
                self.failure = f"the exchange cannot be recorded: {error}"
                raise


@dataclass(frozen=True)
class Way:
    """A call's way to its upstream and back: as it is, or translated."""

    call: Call
    part: int
    """Of the session; see :class:`Exchange`."""
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
            other.call.protocol if other else None, other.left_out if other else (),
            ignored(self.sent.protocol, self.sent.body, reply) if reply else (),
            self.call.headers.get(AGENT_HEADER, ""), self.part,
        )  # fmt: skip


def _line(exchange: Exchange) -> dict[str, Any]:
    reply = exchange.reply
    said = CODECS[exchange.protocol].write_response(reply, reply.model, "") if reply else None
    return {
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
        "agent": exchange.agent,
        "part": exchange.part,
    }
