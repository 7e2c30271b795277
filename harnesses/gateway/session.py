"""One rollout's access to the gateway: what its token permits, and what went over the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harnesses.base import Budget, ModelSpec, Usage
from harnesses.clock import now
from harnesses.companion import Companion
from harnesses.gateway.companion_channel import CompanionChannel
from harnesses.gateway.exchange import GONE, Exchange, line_of
from harnesses.gateway.translation import Thoughts
from harnesses.protocols.base import ProtocolName


@dataclass(frozen=True)
class Grant:
    """What a token permits, and where its exchanges are recorded (``wire.jsonl``)."""

    model: ModelSpec
    seed: int
    record: Path | None = None
    budget: Budget = Budget()
    outside: bool = False
    """Whether the model service may act outside for the agent: search, run code, fetch."""
    companion: Companion | None = None
    """What the agent can talk to besides; closed when the session ends."""


@dataclass
class Session:
    """One rollout's access. A context manager: exit revokes the token and closes the companion."""

    token: str
    grant: Grant
    revoke: Callable[[str], None]
    """Ends a token."""
    socket: Path
    """The gateway's socket."""
    protocols: frozenset[ProtocolName] = frozenset()
    """The protocols of the model's service; calls in others are translated."""
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
    waiting: list[float] = field(default_factory=list)
    """When the calls began whose reply has not begun."""
    thoughts: Thoughts = field(default_factory=dict)
    """What the model thought, where it is for the gateway to give that back."""
    part: int = 0
    """Raised by the harness when it starts its program anew."""
    companion: CompanionChannel | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.revoke(self.token)
        if self.companion is not None:
            self.companion.close()

    @property
    def longest_wait_s(self) -> float:
        """Of a call whose reply never began, or has not yet."""
        given_up = [e.ended - e.started for e in self.exchanges if e.error == GONE and not e.status]
        return max([0.0, *given_up, *(now() - began for began in tuple(self.waiting))])

    def add(self, exchange: Exchange, usage: Usage | None) -> None:
        """Keep and record one exchange, and what it used."""
        self.exchanges.append(exchange)
        if usage is not None:
            self.usage += usage
        if self.grant.record is not None:
            line = json.dumps(line_of(exchange), ensure_ascii=False)
            try:
                with (self.grant.record / "wire.jsonl").open("a", encoding="utf-8") as log:
                    log.write(line + "\n")
            except OSError as error:
                # What cannot be recorded is nobody's score.
                self.failure = f"the exchange cannot be recorded: {error}"
                raise
