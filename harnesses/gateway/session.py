"""One rollout's access to the gateway: what its token permits, and what was exchanged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harnesses.base import Budget, ModelSpec, Usage
from harnesses.companion import Companion
from harnesses.gateway.call_ids import CallIds
from harnesses.gateway.companion_channel import CompanionChannel
from harnesses.gateway.exchange import Exchange, line_of
from harnesses.gateway.service_time import ServiceTime
from harnesses.gateway.translation import Thoughts
from harnesses.protocols.base import ProtocolName

Expired = Callable[[], bool]
BACK_OFF = "back-off"
"""The wait of a program from a failed reply to its next request."""


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
    first_byte_s: float = math.inf
    """The most seconds to the first byte of a reply that are the agent's; ``patience`` may have
    less."""


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
    service_time: ServiceTime = field(default_factory=ServiceTime)
    """The time that was lost to the model service, which is not the agent's."""
    refused: str = ""
    """What the model service said when it refused a request for no fault of the agent's."""
    thoughts: Thoughts = field(default_factory=dict)
    """The model's thoughts, for services to which only the gateway can return them."""
    call_ids: CallIds = field(default_factory=CallIds)
    """The ids of the model's tool calls, which are unique in the session."""
    part: int = 0
    """The number of the agent's start, which the harness increases with each one."""
    companion: CompanionChannel | None = None
    expired: Expired = lambda: False
    """Whether the agent's time is over: set by a harness whose agent cannot be stopped while it
    waits for a reply. Calls that are running then end."""

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.revoke(self.token)
        if self.companion is not None:
            self.companion.close()

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
