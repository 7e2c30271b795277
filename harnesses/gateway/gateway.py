"""The model gateway: all that an agent can reach, and the recorder of its traffic.

An ASGI application on a Unix socket in this process. Each rollout opens a session and gets a
token that works while the session is open, for one model and within a budget.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnesses.base import Usage
from harnesses.clock import now
from harnesses.companion import PATH as COMPANION_PATH
from harnesses.gateway.companion_channel import MESSAGE_BYTES, REPLY_S, CompanionChannel
from harnesses.gateway.confinement import confined, remote_address
from harnesses.gateway.exchange import GONE, Route, estimated
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.translation import pick_protocol, translate
from harnesses.gateway.upstreams import (
    Answer,
    Call,
    UnusableUpstreamError,
    Upstream,
    UpstreamError,
    refusal,
)
from harnesses.json_values import loads
from harnesses.protocols.base import ProtocolError, ProtocolName, Reply
from harnesses.protocols.errors import error_body
from harnesses.protocols.registry import CODECS, PATHS
from harnesses.protocols.sse import read_events
from sandboxes.errors import SkillOptError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
"""Statuses after which the same call may succeed if it is repeated."""
TRIES = 4
CUT_STREAMS = 3
"""Broken streams after which a session is given up; the client repeats the call after each."""
OVER = "this rollout has ended; its record says why"
"""The message to a client that need not try again. It has no details, because some clients look for
the numbers of statuses in such texts."""
MAX_BODY = 64 * 1024 * 1024

Price = Callable[[str, Usage], float | None]
"""A function from a model and a usage to the cost in USD; None if the price is not known."""


class GatewayError(SkillOptError):
    """The gateway did not start, or has no such upstream."""

    exit_code = 3


class Gateway:
    """Serves sessions on a Unix socket until closed.

    Args:
        upstreams: by the name that :class:`ModelSpec` uses.
        socket: path of the socket to make, which must be short (about 100 bytes).
        price: computes the cost of a usage.
        backoff_s: wait before the second try; it doubles with each one.
        reply_s: seconds that a companion may take for a reply.
    """

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        socket: Path,
        price: Price,
        backoff_s: float = 0.5,
        reply_s: float = REPLY_S,
    ) -> None:
        self.socket = socket
        self._upstreams = upstreams
        self._price = price
        self._backoff_s = backoff_s
        self._reply_s = reply_s
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Gateway:
        import uvicorn

        config = uvicorn.Config(
            self._app(),
            uds=str(self.socket),
            log_level="critical",
            access_log=False,
            lifespan="on",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=60,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, name="gateway", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise GatewayError(f"gateway: cannot listen on {self.socket}")
            time.sleep(0.005)
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End all sessions and running calls. Calling it again does nothing."""
        with self._lock:
            self._sessions.clear()
        self._server.should_exit = self._server.force_exit = True
        if self._thread is not None:
            self._thread.join(timeout=10)
        self.socket.unlink(missing_ok=True)

    @property
    def running(self) -> bool:
        """Whether it is still listening."""
        thread = self._thread
        return thread is not None and thread.is_alive() and not self._server.should_exit

    def open(self, grant: Grant) -> Session:
        """Begin a session; raises GatewayError if its upstream is not configured."""
        if grant.model.upstream not in self._upstreams:
            known = ", ".join(sorted(self._upstreams))
            raise GatewayError(f"no upstream named {grant.model.upstream!r}; there are: {known}")
        companion = None
        if grant.companion is not None:
            companion = CompanionChannel(grant.companion, grant.record, self._reply_s)
        session = Session(
            token="so-" + secrets.token_urlsafe(32),
            grant=grant,
            revoke=self.revoke,
            socket=self.socket,
            protocols=self._upstreams[grant.model.upstream].protocols,
            companion=companion,
        )
        with self._lock:
            self._sessions[session.token] = session
        return session

    def revoke(self, token: str) -> None:
        """Revoke a token; its running calls get no further byte."""
        with self._lock:
            self._sessions.pop(token, None)

    def _alive(self, session: Session) -> bool:
        with self._lock:
            return session.token in self._sessions

    def _app(self) -> Any:
        from contextlib import asynccontextmanager

        from starlette import routing
        from starlette.applications import Starlette

        @asynccontextmanager
        async def lifespan(_: object) -> AsyncIterator[None]:
            self._slots = {
                name: asyncio.Semaphore(up.max_concurrency) for name, up in self._upstreams.items()
            }
            yield
            for upstream in self._upstreams.values():
                await upstream.close()

        posts = {"/v1/messages/count_tokens": self._count, **dict.fromkeys(PATHS, self._call)}
        routes = [
            routing.Route(path, endpoint, methods=["POST"], max_body_size=MAX_BODY)
            for path, endpoint in posts.items()
        ]
        routes.append(routing.Route("/v1/models", self._models, methods=["GET"]))
        routes.append(
            routing.Route(
                COMPANION_PATH, self._companion, methods=["POST"], max_body_size=MESSAGE_BYTES
            )
        )
        return Starlette(routes=routes, lifespan=lifespan)

    def _session(self, request: Request) -> Session | None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        token = request.headers.get("x-api-key") or bearer
        with self._lock:
            return self._sessions.get(token)

    async def _models(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        if (session := self._session(request)) is None:
            return _error("chat", 401, "this token does not belong to a running rollout")
        name = session.grant.model.name
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"}]})

    async def _count(self, request: Request) -> Response:
        """An estimate of a token count, four characters a token, which costs no model call."""
        from starlette.responses import JSONResponse

        if self._session(request) is None:
            return _error("messages", 401, "this token does not belong to a running rollout")
        return JSONResponse({"input_tokens": len(await request.body()) // 4})

    async def _companion(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        session = self._session(request)
        if session is None:
            return JSONResponse({"error": "this token does not belong to a running rollout"}, 401)
        channel = session.companion
        if channel is None:
            return JSONResponse({"error": "this rollout has no companion"}, 404)
        answer = await channel.answer(await request.body())
        session.failure = session.failure or channel.failure
        session.exhausted = session.exhausted or channel.exhausted
        return JSONResponse(answer.body, answer.status)

    async def _call(self, request: Request) -> ASGIApp:
        protocol = PATHS[request.url.path]
        session = self._session(request)
        if session is None:
            return _error(protocol, 401, "this token does not belong to a running rollout")
        try:
            body = loads(await request.body())
        except ValueError as error:
            return _error(protocol, 400, f"request is not JSON: {error}")
        refusal = self._refusal(session, protocol, body)
        if refusal:
            return _error(protocol, *refusal)
        session.requests += 1
        headers = {k.lower(): v for k, v in request.headers.items()}
        try:
            return self._forward(session, self._route(session, protocol, body, headers))
        except ProtocolError as error:
            return _error(protocol, 400, str(error))

    def _route(
        self, session: Session, protocol: ProtocolName, body: Any, headers: Mapping[str, str]
    ) -> Route:
        """A call as the client made it, and as the upstream gets it.

        Raises:
            ProtocolError: it has to be translated and cannot be.
        """
        model, seed = session.grant.model, session.grant.seed
        path = next(path for path, name in PATHS.items() if name == protocol)
        taken: tuple[str, ...] = ()
        if not session.grant.outside:
            body, taken = confined(protocol, body)
        spoken = pick_protocol(protocol, self._upstreams[model.upstream].protocols)
        if spoken == protocol:
            body = {**body, **model.sampling}
            return Route(Call(protocol, path, body, headers, seed), session.part, taken)
        call = Call(protocol, path, body, headers, seed)
        other = translate(call, spoken, model.sampling, session.thoughts, session.call_ids)
        return Route(call, session.part, taken, other)

    def _refusal(
        self, session: Session, protocol: ProtocolName, body: Any
    ) -> tuple[int, str] | None:
        grant = session.grant
        if not isinstance(body, dict):
            return 400, "request is not a JSON object"
        if session.failure:
            return 400, OVER
        if body.get("model") != grant.model.name:
            return 403, f"model {body.get('model')!r} is not this rollout's {grant.model.name!r}"
        address = "" if grant.outside else remote_address(protocol, body)
        if address:
            return 403, f"the model service is not asked to fetch {address[:100]}"
        used = session.usage.prompt_tokens + session.usage.completion_tokens
        if session.requests >= grant.budget.requests:
            session.exhausted = f"budget of {grant.budget.requests} model requests is used up"
        elif used >= grant.budget.tokens:
            session.exhausted = f"budget of {grant.budget.tokens} tokens is used up"
        return (403, OVER) if session.exhausted else None

    def _forward(self, session: Session, route: Route) -> ASGIApp:
        """A response that occupies one of the upstream's slots from its first byte to its last."""

        async def reply(scope: Scope, receive: Receive, send: Send) -> None:
            session.active += 1
            try:
                await answered(scope, receive, send)
            finally:
                session.active -= 1

        async def begun(started: float) -> Answer:
            session.waiting.append(started)
            try:
                return route.back(await self._send(session, route.sent))
            finally:
                session.waiting.remove(started)

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            started = now()
            async with self._slots[session.grant.model.upstream]:
                try:
                    answer = await begun(started)
                except UpstreamError as error:
                    session.failure = f"model service failed: {error}"
                    session.add(route.exchange(None, 0, str(error), started), None)
                    # After 400 the agents do not try again: the gateway has done that.
                    await _error(route.call.protocol, 400, OVER)(scope, receive, send)
                    return
                except asyncio.CancelledError:
                    usage = self._priced(session, estimated(route.call.body, b""))
                    session.add(route.exchange(None, 0, GONE, started), usage)
                    raise
                headers = [(b"content-type", answer.content_type.encode())]
                start = {"type": "http.response.start", "status": answer.status}
                await send({**start, "headers": headers})
                async for chunk in self._tee(session, route, answer, started):
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        return _until_disconnected(reply)

    async def _send(self, session: Session, call: Call) -> Answer:
        """The upstream's answer, after several tries: the client has not got anything yet."""
        upstream = self._upstreams[session.grant.model.upstream]
        for attempt in range(1, TRIES + 1):
            wait = self._backoff_s * 2 ** (attempt - 1)
            try:
                answer = await upstream.send(call)
            except UpstreamError as error:
                if attempt == TRIES or isinstance(error, UnusableUpstreamError):
                    raise
            else:
                if answer.status not in RETRIED:
                    return answer
                text = b"".join([chunk async for chunk in answer.chunks])[:500]
                if attempt == TRIES:
                    reason = text.decode("utf-8", "replace")
                    raise UpstreamError(f"status {answer.status} after {TRIES} tries: {reason}")
                wait = max(wait, min(answer.retry_after_s or 0.0, 60.0))
            await asyncio.sleep(wait)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _tee(
        self, session: Session, route: Route, answer: Answer, started: float
    ) -> AsyncIterator[bytes]:
        """Pass the answer on as it comes, and record it as far as it came."""
        raw = bytearray()
        error = ""
        try:
            async for chunk in answer.chunks:
                if not self._alive(session):
                    raise UpstreamError("the rollout has ended")
                raw += chunk
                yield chunk
        except asyncio.CancelledError:
            error = GONE
            raise
        except Exception as broke:  # In any case the client did not get the whole answer.
            error = str(broke) or type(broke).__name__
            raise
        finally:
            self._record(session, route, answer, bytes(raw), error, started)

    def _record(
        self, session: Session, route: Route, answer: Answer, raw: bytes, error: str, started: float
    ) -> None:
        reply: Reply | None = None
        if answer.status == 200:
            try:
                if error in ("", GONE):  # The client may have left after the last event.
                    reply = _read_reply(route.call.protocol, answer.content_type, raw)
                    error = ""
            except (ProtocolError, ValueError) as broken:
                error = error or str(broken)
            if error not in ("", GONE):
                session.cuts += 1
                if session.cuts >= CUT_STREAMS:
                    session.failure = f"model service cut {session.cuts} streams, last: {error}"
        else:
            error = error or raw[:2000].decode("utf-8", "replace")
        # If the model has replied before, 404 is about something that the agent asked for.
        unknown = answer.status == 404 and not any(e.reply for e in session.exchanges)
        if answer.status in (401, 403) or unknown:
            upstream = self._upstreams[session.grant.model.upstream]
            session.failure = refusal(answer.status, error, session.grant.model.name, upstream)
        usage = reply.usage if reply else estimated(route.call.body, raw) if error == GONE else None
        session.add(
            route.exchange(reply, answer.status, error, started), self._priced(session, usage)
        )

    def _priced(self, session: Session, usage: Usage | None) -> Usage | None:
        if usage is None:
            return None
        return replace(usage, cost_usd=self._price(session.grant.model.name, usage))


def _until_disconnected(reply: ASGIApp) -> ASGIApp:
    """A response that ends when the client disconnects, and with it the call to the model service:
    after an agent has been stopped, nobody pays for further tokens."""

    async def gone(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        working = asyncio.ensure_future(reply(scope, receive, send))
        leaving = asyncio.ensure_future(gone(receive))
        left = True
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            left = not working.done()
        finally:
            leaving.cancel()
            if left:
                working.cancel()
        try:
            await working
        except asyncio.CancelledError:
            if not left:
                raise

    return respond


def _read_reply(protocol: ProtocolName, content_type: str, raw: bytes) -> Reply:
    codec = CODECS[protocol]
    if "event-stream" in content_type:
        return codec.read_stream(read_events(raw))
    return codec.read_response(loads(raw))


def _error(protocol: ProtocolName, status: int, message: str) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(error_body(protocol, status, message), status)
