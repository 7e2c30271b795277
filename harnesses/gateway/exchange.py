"""One model call as it is recorded: the request, the reply, and its route."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harnesses.base import Usage
from harnesses.clock import now
from harnesses.gateway.blame import Blame
from harnesses.gateway.call_ids import CallIds
from harnesses.gateway.ignored_fields import ignored_fields
from harnesses.gateway.translation import Translated
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import ProtocolName, Reply

_CLAUDE_AGENT = "x-claude-code-agent-id"
_SESSION, _PARENT = "x-session-id", "x-parent-session-id"
Adapt = Callable[[Call], tuple[Call, tuple[str, ...]]]
MAIN = ""
"""The thread of the main conversation."""
GONE = "the client went away before the reply was complete"


@dataclass(frozen=True)
class Exchange:
    """One request and its reply, both in the client's protocol. ``reply`` is None if it did not
    come completely."""

    protocol: ProtocolName
    request: Mapping[str, Any]
    """Empty in a session that is recorded: its requests are on disk."""
    reply: Reply | None
    status: int
    error: str
    started: float
    ended: float
    spoken: ProtocolName | None = None
    """The upstream's protocol if the call was translated."""
    left_out: tuple[str, ...] = ()
    """The parts of the request that were not passed on: they have no place in the upstream's
    protocol, or would have the service act outside the sandbox."""
    ignored: tuple[str, ...] = ()
    """The fields of the request that the service ignored, as its reply shows."""
    thread: str | None = None
    """The conversation that it belongs to, ``MAIN`` or a sub-agent's, if the client names it in a
    header."""
    part: int = 0
    """The number of the client's start: a conversation may continue in a new process."""
    blame: Blame | None = None
    """Who is to blame if there is no reply; None if there is one, or if the client went away."""
    tries: int = 1
    """The number of times that the service was asked."""


@dataclass(frozen=True)
class Route:
    """The route of a call to its upstream and back: unchanged, or translated."""

    call: Call
    part: int
    """The number of the client's start; see :class:`Exchange`."""
    taken_out: tuple[str, ...]
    """The parts of the client's request that are not passed on; see
    :mod:`harnesses.gateway.confinement`."""
    ids: CallIds
    """The ids of the session's tool calls; a translation changes them by itself."""
    translated: Translated | None = None
    adapt: Adapt | None = None
    """Makes of a call what the service takes, and names what is left out."""

    @property
    def streamed(self) -> bool:
        """Whether the client asked for a stream."""
        return (
            self.translated.shown.stream if self.translated else bool(self.call.body.get("stream"))
        )

    @cached_property
    def _sent(self) -> tuple[Call, tuple[str, ...]]:
        call = self.call
        if self.translated:
            call = self.translated.call
        elif call.raw is None:
            call = replace(call, body=self.ids.request(call.body))
        return self.adapt(call) if self.adapt else (call, ())

    @property
    def sent(self) -> Call:
        """The call as its service gets it."""
        return self._sent[0]

    def back(self, answer: Answer) -> Answer:
        """An answer of the service as the client gets it."""
        if self.translated:
            # The headers are of another protocol than the client's.
            return self.translated.answer(replace(answer, headers={}))
        if self.call.raw is not None:
            return answer
        return self.ids.answer(self.call.protocol, answer)

    def exchange(
        self,
        reply: Reply | None,
        status: int,
        error: str,
        started: float,
        blame: Blame | None,
        tries: int,
    ) -> Exchange:
        """The record of the call."""
        other = self.translated
        return Exchange(
            self.call.protocol, self.call.body, reply, status, error, started, now(),
            other.call.protocol if other else None,
            self.taken_out + (other.left_out if other else ()) + self._sent[1],
            ignored_fields(self.sent.protocol, self.sent.body, reply) if reply else (),
            _thread(self.call.headers), self.part, blame, tries,
        )  # fmt: skip


def unanswered(
    protocol: ProtocolName,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    part: int,
    why: str,
) -> Exchange:
    """The record of a request that nobody is to blame for and that was not passed on."""
    lower = {name.lower(): value for name, value in headers.items()}
    at = now()
    return Exchange(protocol, body, None, 400, why, at, at, thread=_thread(lower), part=part)


def _thread(headers: Mapping[str, str]) -> str | None:
    """The thread that a header names: Claude Code names a sub-agent, OpenCode the session and its
    parent."""
    if _SESSION in headers:
        return headers[_SESSION] if _PARENT in headers else MAIN
    return headers.get(_CLAUDE_AGENT)


def estimated(body: Mapping[str, Any], events: int) -> Usage:
    """The usage of a call of which the service has not reported any: one token for four characters
    of the request, and for each event of the stream."""
    return Usage(1, len(json.dumps(body)) // 4, 0, events, estimated=True)
