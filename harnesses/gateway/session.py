"""One rollout's access to the gateway: what its token permits, and what was exchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harnesses.base import Budget, ModelSpec, Usage
from harnesses.clock import now
from harnesses.companion import Companion
from harnesses.gateway.call_ids import CallIds
from harnesses.gateway.companion_channel import CompanionChannel
from harnesses.gateway.exchange import GONE, Exchange, line_of
from harnesses.gateway.translation import Thoughts
from harnesses.protocols.base import ProtocolName


@dataclass(frozen=True)
class Grant:
    """The permissions of a token, and the folder in which its exchanges are recorded."""

    model: ModelSpec
    seed: int
    record: Path | None = None
    """The folder for ``wire.jsonl`` and ``companion.jsonl``; None for no record."""
    budget: Budget = Budget()
    outside: bool = False
    """Whether the model service may act outside for the agent: search, run code, fetch."""
    companion: Companion | None = None
    """The agent's companion, which is closed when the session ends."""


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
    """Why the model service or the companion was given up: an infrastructure failure."""
    exhausted: str = ""
    """The budget that the agent has used up."""
    cuts: int = 0
    requests: int = 0
    active: int = 0
    """The number of calls that are running."""
    waiting: list[float] = field(default_factory=list)
    """The start times of the calls whose reply has not begun."""
    thoughts: Thoughts = field(default_factory=dict)
    """The model's thoughts, for services to which only the gateway can return them."""
    call_ids: CallIds = field(default_factory=CallIds)
    """The ids of the model's tool calls, which are unique in the session."""
    part: int = 0
    """The number of the agent's start, which the harness increases with each one."""
    companion: CompanionChannel | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.revoke(self.token)
        if self.companion is not None:
            self.companion.close()

    @property
    def longest_wait_s(self) -> float:
        """The longest wait for a reply that never began, or has not begun yet."""
        given_up = [e.ended - e.started for e in self.exchanges if e.error == GONE and not e.status]
        return max([0.0, *given_up, *(now() - began for began in tuple(self.waiting))])

    def add(self, exchange: Exchange, usage: Usage | None) -> None:
        """Keep and record one exchange and its usage."""
        self.exchanges.append(exchange)
        if usage is not None:
            self.usage += usage
        if self.grant.record is not None:
            line = json.dumps(line_of(exchange), ensure_ascii=False)
            try:
                with (self.grant.record / "wire.jsonl").open("a", encoding="utf-8") as log:
                    log.write(line + "\n")
            except OSError as error:
                # Nothing unrecorded is scored.
                self.failure = f"the exchange cannot be recorded: {error}"
                raise
