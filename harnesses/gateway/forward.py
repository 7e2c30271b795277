"""One call on its way: a slot, a reply, the reply as it passes to the client, the record."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from harnesses.base import Usage
from harnesses.clock import now
from harnesses.gateway.blame import Blame, Refusal
from harnesses.gateway.door import EVENTS, StreamRead
from harnesses.gateway.exchange import GONE, Route, estimated
from harnesses.gateway.headers import reply_headers
from harnesses.gateway.readable import readable
from harnesses.gateway.service import Service
from harnesses.gateway.session import BACK_OFF, Session
from harnesses.gateway.straight import writer
from harnesses.gateway.tries import GivenUpError, Tries, closed
from harnesses.gateway.upstreams import Answer, UpstreamError, refused_request
from harnesses.json_values import loads
from harnesses.protocols.base import ProtocolError, ProtocolName, Reply, ServiceFailure
from harnesses.protocols.errors import error_body
from harnesses.protocols.registry import CODECS

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

CUT_STREAMS = 3
"""Broken streams after which a session is given up; the client repeats the call after each."""
OVER = "this rollout has ended; its record says why"
"""The message to a client that need not try again. It has no details, because some clients look for
the numbers of statuses in such texts."""
UNREAD_S = 120.0
"""Seconds after which a client that does not read its reply loses it."""
PARSE_S = 0.25
"""Seconds between two parses of a stream, whose chunks are passed on before. To parse each of the
small chunks of a fast stream by itself costs several times as much."""
_HELD_BYTES = 64 * 1024

Price = Callable[[Usage], Usage]


class BrokenStreamError(UpstreamError):
    """The client's connection is closed, as a reply that had begun has broken off."""


class Passing:
    """What passes to a client: the reply, as far as it has come.

    Args:
        protocol: of the client.
        answer: that passes.
        refusal: what the service said, if the answer is no reply.
    """

    def __init__(self, protocol: ProtocolName, answer: Answer, refusal: Refusal | None) -> None:
        self.reply: Reply | None = None
        self.error = ""
        self.refusal = refusal
        self._protocol, self._status = protocol, answer.status
        self._read = StreamRead(protocol) if answer.content_type == EVENTS else None
        self._raw = bytearray()
        self._held = bytearray()
        """What has passed of a stream and is not parsed yet."""
        self._parsed_at = -math.inf
        self._content = False
        """Whether there was content in what was parsed last."""

    @property
    def events(self) -> int:
        return self._read.events if self._read else 0

    def feed(self, chunk: bytes) -> bool:
        """Note a chunk; whether it has content, or is likely to as the one before had."""
        if self._read is None:
            self._raw += chunk
            return True
        if self.error:
            return False
        self._held += chunk
        if now() - self._parsed_at >= PARSE_S or len(self._held) > _HELD_BYTES:
            self._parse(self._read)
        return self._content

    def _parse(self, read: StreamRead) -> None:
        held, self._held = bytes(self._held), bytearray()
        try:
            self._content = bool(read.feed(held))
        except ProtocolError as error:
            self._failed(error)
            self._content = False
        self._parsed_at = now()

    def broke(self, error: str) -> None:
        """Note that the answer broke off."""
        self._parse_rest()
        self.error = error

    def _parse_rest(self) -> None:
        if self._read is not None and self._held and not self.error:
            self._parse(self._read)

    def ended(self) -> None:
        """Note the end of the answer."""
        self._parse_rest()
        if self.error or self._status != 200:
            self.error = self.error or bytes(self._raw[:2000]).decode("utf-8", "replace")
            return
        try:
            if self._read is not None:
                self.reply = self._read.end()
            else:
                body = loads(bytes(self._raw))
                self.reply = CODECS[self._protocol].read_response(body)
        except ProtocolError as error:
            self._failed(error)
        except ValueError as error:
            self.error = str(error)

    def left(self) -> None:
        """Note that the client has left, perhaps after the last event."""
        self.ended()
        if self.reply is None:
            self.error = GONE

    def _failed(self, error: ProtocolError) -> None:
        self.error = str(error)
        if isinstance(error, ServiceFailure) and self.refusal is None:
            self.refusal = Refusal(0, str(error), f"{error.code} {error.type}".strip())


class Forward:
    """An ASGI application that answers one call.

    Args:
        session: of the client.
        route: of the call.
        service: that gets it.
        price: adds the cost to a usage.
        alive: whether the session is still open.
    """

    def __init__(
        self,
        session: Session,
        route: Route,
        service: Service,
        price: Price,
        alive: Callable[[], bool],
    ) -> None:
        self._session, self._route, self._service = session, route, service
        self._price, self._alive = price, alive
        grant = session.grant
        first_byte_s = min(grant.first_byte_s, service.patience.first_byte_s)
        if grant.silence_s is not None:
            first_byte_s = grant.silence_s
        self._tries = Tries(
            service,
            route.sent,
            grant.model,
            grant.seed,
            session.token,
            session.service_time,
            first_byte_s,
            grant.silence_s,
            route.streamed,
        )
        self._started = now()
        self._sending = math.inf
        """When the chunk was sent that the client has not taken."""
        self._done = False

    @property
    def unread(self) -> bool:
        """Whether the client does not read its reply. Then this is to be cancelled."""
        return now() - self._sending > UNREAD_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = self._session
        session.service_time.end(BACK_OFF)
        session.active += 1
        try:
            answer = self._route.back(await self._tries.answer())
            await self._pass_on(answer, scope, send)
        except GivenUpError as error:
            if not session.failure:
                session.failure = str(error)
            self._record(None, 0, str(error), "service")
            # After 400 the agents do not try again: the gateway has done that.
            await answer_whole(send, 400, error_body(self._route.call.protocol, 400, OVER))
        except asyncio.CancelledError:
            self._record(None, 0, GONE, None)
            raise
        finally:
            session.active -= 1
            self._tries.give_back()
            self._tries.rests()

    async def _pass_on(self, answer: Answer, scope: Scope, send: Send) -> None:
        """Pass an answer on as it comes, and record it as far as it came."""
        passing = Passing(self._route.call.protocol, answer, self._tries.refusal)
        passed = reply_headers(answer.headers, self._service.secrets())
        head = [(name.encode(), value.encode()) for name, value in passed.items()]
        head.append((b"content-type", answer.content_type.encode()))
        silent, plain = now(), readable(self._route.call.protocol)
        if self._route.call.raw is not None:
            plain = _as_it_is
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": head})
            write = writer(scope, send, head)
            async for chunk in answer.chunks:
                if not self._alive():
                    raise UpstreamError("the rollout has ended")
                if passing.feed(chunk):
                    silent = now()
                self._tries.rests()  # The time that the client takes to read is its own.
                self._sending = now()
                await write(plain(chunk))
                self._sending = math.inf
                self._tries.silent_since(silent)
            passing.ended()
            # Before the client has all: whoever looks after its end must find the record.
            self._recorded(answer.status, passing)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except asyncio.CancelledError:
            passing.left()
            raise
        except (UpstreamError, GivenUpError) as broke:
            passing.broke(str(broke))
            if isinstance(broke, GivenUpError):
                self._session.failure = self._session.failure or str(broke)
            raise BrokenStreamError(str(broke)) from broke
        finally:
            self._recorded(answer.status, passing)
            await closed(answer.chunks)

    def _recorded(self, status: int, passing: Passing) -> None:
        """Judge and record what has passed, once."""
        if self._done:
            return
        blame: Blame | None = None
        usage = passing.reply.usage if passing.reply else None
        if passing.refusal is not None and passing.reply is None:
            blame = passing.refusal.blame
        elif passing.reply is None and passing.error != GONE:
            blame = "service"
        if passing.error == GONE or (usage and usage.estimated):
            usage = estimated(self._route.call.body, passing.events)
        if blame == "service":
            self._lost(status, passing)
        self._record(passing.reply, status, passing.error, blame, usage)

    def _lost(self, status: int, passing: Passing) -> None:
        """Note a reply that the client did not get, by the service's fault."""
        session, error = self._session, passing.error
        session.service_time.begin(BACK_OFF)
        if status != 200:
            said = passing.refusal or Refusal(status, error)
            text = refused_request(status, said.text, said.reply_tokens)
            session.refused = self._service.refused(text, session.grant.seed)
            return
        session.cuts += 1
        if session.cuts >= CUT_STREAMS and not session.failure:
            session.failure = f"model service cut {session.cuts} streams, last: {error}"

    def _record(
        self,
        reply: Reply | None,
        status: int,
        error: str,
        blame: Blame | None,
        usage: Usage | None = None,
    ) -> None:
        """Record the call, once."""
        if self._done:
            return
        self._done = True
        if error == GONE and usage is None and self._tries.count:
            usage = estimated(self._route.call.body, 0)
        if usage is not None:
            usage = self._price(usage)
        exchange = self._route.exchange(
            reply, status, error, self._started, blame, self._tries.count
        )
        self._session.add(exchange, usage)


def _as_it_is(chunk: bytes) -> bytes:
    return chunk


async def answer_whole(send: Send, status: int, body: object) -> None:
    """Send a whole answer in JSON."""
    raw = json.dumps(body).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": raw})
