"""One rollout's access to the gateway: what its token permits, and what was exchanged."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harnesses.base import Budget, ModelSpec, Usage
from harnesses.companion import Companion
from harnesses.gateway.call_ids import CallIds
from harnesses.gateway.companion_channel import CompanionChannel
from harnesses.gateway.exchange import Exchange
from harnesses.gateway.plan_upstreams import ProgramToken
from harnesses.gateway.service_time import ServiceTime
from harnesses.gateway.translation import Thoughts
from harnesses.gateway.wire import WIRE, WireWriter
from harnesses.protocols.base import ProtocolName
from harnesses.scrubbing import NOTHING, Scrubber

PASSING = "/passing"
"""The beginning of the paths of calls that pass as they are."""
CALLS = 16
"""The most calls of one session at the same time; agents with many sub-agents make a few."""
RECORDED_BYTES = 128 * 1024 * 1024
"""Bytes of one session's exchanges on disk after which its agent gets no more replies."""
Expired = Callable[[], bool]
Over = Callable[[ProtocolName, Mapping[str, Any]], str]
"""Why a rollout is over before a request is passed on, from the protocol and the body of that
request; empty if it is not."""
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
    silence_s: float | None = None
    """Seconds for which a reply may think in silence before and between its words: such time is
    not lost to the service. None for what ``patience`` says."""
    over: Over | None = None
    """Asked before each request; None if the agent decides when its work is done."""
    first_byte_s: float = math.inf
    """The most seconds to the first byte of a reply that are the agent's; ``patience`` may have
    less."""
    program: str = ""
    """Name of the harness whose program makes the calls; empty for calls of this process."""


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
    over: str = ""
    """Why the rollout is over although its agent has asked for more; see :class:`Grant`."""
    cuts: int = 0
    requests: int = 0
    active: int = 0
    """The number of calls that are running."""
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a request is read: one at a time."""
    calls: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CALLS))
    """The calls that may run at the same time."""
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
    _bytes: int = 0
    """What has been recorded."""
    login: ProgramToken | None = None
    """The token that the program sends by itself: its calls then pass as they are."""
    scrub: Scrubber = NOTHING
    """Takes out of what is recorded what nobody may read."""
    expired: Expired = lambda: False
    """Whether the agent's time is over: set by a harness whose agent cannot be stopped while it
    waits for a reply. Calls that are running then end."""

    def __post_init__(self) -> None:
        record = self.grant.record
        self._wire = WireWriter(record / WIRE, self.scrub.raw) if record is not None else None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.revoke(self.token)
        if self.companion is not None:
            self.companion.close()

    @property
    def path(self) -> str:
        """What stands before the paths of the calls that pass as they are. They have the program's
        own token, so that the session's is in their address."""
        return f"{PASSING}/{self.token}" if self.login else ""

    def add(self, exchange: Exchange, usage: Usage | None) -> None:
        """Record one exchange, and keep it without its request."""
        exchange = replace(exchange, error=self.scrub.text(exchange.error))
        if usage is not None:
            self.usage += usage
        if self._wire is not None:
            try:
                self._bytes += self._wire.add(exchange)
            except OSError as error:
                # Nothing unrecorded is scored.
                self.failure = f"the exchange cannot be recorded: {error}"
                raise
            finally:
                self.exchanges.append(replace(exchange, request={}))
        else:
            self.exchanges.append(exchange)
        if self._bytes > RECORDED_BYTES and not self.exhausted:
            self.exhausted = f"its model requests have more than {RECORDED_BYTES >> 20} MiB"
