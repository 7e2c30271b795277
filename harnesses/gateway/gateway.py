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
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harnesses.base import ModelSpec, Usage
from harnesses.clock import now
from harnesses.companion import PATH as COMPANION_PATH
from harnesses.gateway.bodies import MAX_BODY, Bodies, BodyError
from harnesses.gateway.companion_channel import MESSAGE_BYTES, REPLY_S, CompanionChannel
from harnesses.gateway.confinement import remote_address
from harnesses.gateway.exchange import unanswered
from harnesses.gateway.forward import OVER, Forward
from harnesses.gateway.patience import Patience
from harnesses.gateway.plan_upstreams import login_of, program_token, secrets_of
from harnesses.gateway.plan_windows import PlanWindow
from harnesses.gateway.routes import Written, passing, route_of
from harnesses.gateway.service import OnPlan, OnWait, PlanUse, Service, Wait
from harnesses.gateway.session import PASSING, Expired, Grant, Session
from harnesses.gateway.straight import with_servers_send
from harnesses.gateway.upstreams import Upstream
from harnesses.protocols.base import ProtocolError, ProtocolName
from harnesses.protocols.errors import error_body
from harnesses.protocols.registry import PATHS
from harnesses.scrubbing import Scrubber
from sandboxes.errors import SkillOptError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_EXPIRY_S = 0.25
"""Seconds between two looks whether the time of a call's agent is over."""

_SHARE_S = 5.0
"""Seconds that the gateway's loop may take to have another share."""

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
        patience: how long the services are waited for.
        on_wait: called from the gateway's thread when a service is waited for.
        reply_s: seconds that a companion may take for a reply.
        on_plan: called from the gateway's thread when more is known of a service's plan.
    """

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        socket: Path,
        price: Price,
        patience: Patience = Patience(),  # noqa: B008  # It is frozen.
        on_wait: OnWait = lambda wait: None,
        reply_s: float = REPLY_S,
        on_plan: OnPlan = lambda use: None,
    ) -> None:
        self.socket = socket
        self.upstreams = upstreams
        self._price = price
        self._patience = patience
        self._on_wait = on_wait
        self._reply_s = reply_s
        self._on_plan = on_plan
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._services: dict[str, Service] = {}
        self._bodies = Bodies()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Gateway:
        import uvicorn

        config = uvicorn.Config(
            with_servers_send(self._app()),
            uds=str(self.socket),
            http="h11",  # Its headers are bounded; those of httptools would fill the memory.
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
        """Begin a session.

        Raises:
            GatewayError: its upstream is not configured.
            PlanError: the upstream is a plan that may not be used so.
        """
        if grant.model.upstream not in self.upstreams:
            known = ", ".join(sorted(self.upstreams))
            raise GatewayError(f"no upstream named {grant.model.upstream!r}; there are: {known}")
        companion = None
        if grant.companion is not None:
            companion = CompanionChannel(grant.companion, grant.record, self._reply_s)
        upstream = self.upstreams[grant.model.upstream]
        session = Session(
            token="so-" + secrets.token_urlsafe(32),
            login=program_token(upstream, grant.program),
            scrub=self.scrubber,
            grant=grant,
            revoke=self.revoke,
            socket=self.socket,
            protocols=upstream.protocols,
            companion=companion,
        )
        with self._lock:
            self._sessions[session.token] = session
        return session

    def revoke(self, token: str) -> None:
        """Revoke a token; its running calls get no further byte."""
        with self._lock:
            self._sessions.pop(token, None)

    @property
    def scrubber(self) -> Scrubber:
        """Takes the tokens that sandboxes get out of what is kept."""
        return Scrubber(secrets_of(self.upstreams.values()))

    def windows(self, upstream: str) -> tuple[PlanWindow, ...]:
        """What the answers of an upstream have told of its plan."""
        service = self._services.get(upstream)
        return service.windows if service else ()

    def blocked(self, upstream: str) -> str:
        """Why an upstream need not be asked any more in this process: its credit is used up, or it
        refuses all requests. Empty as long as it may reply."""
        service = self._services.get(upstream)
        return service.blocked if service else ""

    def raised(self, upstream: str) -> Exception | None:
        """What an upstream raised that is none of its errors: its code is broken."""
        service = self._services.get(upstream)
        return service.raised if service else None

    def used(self, record: Path) -> Usage:
        """What the open sessions that are recorded in a folder have used so far."""
        with self._lock:
            return Usage.total(s.usage for s in self._sessions.values() if s.grant.record == record)

    def limited_s(self, upstream: str) -> float:
        """Seconds for which an upstream has asked for no more requests; at most 0 if it has not."""
        service = self._services.get(upstream)
        return service.limited_until - now() if service else 0.0

    def block(self, upstream: str, why: str) -> None:
        """Do not ask a service any more, as another gateway has found out."""
        if service := self._services.get(upstream):
            service.blocked = service.blocked or why

    def share(self, upstream: str, requests: int, hold_s: float = 0.0) -> int:
        """Use a service that other gateways use too.

        Args:
            upstream: its name.
            requests: the most at the same time from here on; running ones are finished.
            hold_s: seconds for which it has asked another gateway for no more requests.

        Returns:
            The most requests that it may have from here now: the running ones may be more.

        Raises:
            GatewayError: the gateway does not run.
        """
        held: Future[int] = Future()

        def take(service: Service) -> None:
            service.slots.resize(requests)
            service.held_until = max(service.held_until, now() + hold_s)
            held.set_result(max(requests, service.slots.held))

        service, loop = self._services.get(upstream), self._loop
        try:
            if service is None or loop is None:
                raise GatewayError(f"gateway: no upstream named {upstream!r} is open")
            loop.call_soon_threadsafe(take, service)
            return held.result(_SHARE_S)
        except (RuntimeError, TimeoutError) as error:  # Its loop is closed, or stands still.
            raise GatewayError("gateway: it has ended") from error

    def heard(self, news: Wait | PlanUse) -> None:
        """Pass on what another gateway tells of a service."""
        if isinstance(news, Wait):
            self._on_wait(news)
        else:
            self._on_plan(news)

    def _alive(self, session: Session) -> bool:
        return session.token in self._sessions

    def _app(self) -> Any:
        from contextlib import asynccontextmanager

        from starlette import routing
        from starlette.applications import Starlette

        @asynccontextmanager
        async def lifespan(_: object) -> AsyncIterator[None]:
            self._services = {
                name: Service(name, upstream, self._patience, self._on_wait, self._on_plan)
                for name, upstream in self.upstreams.items()
            }
            self._loop = asyncio.get_running_loop()
            try:
                yield
            finally:  # A server that is made to exit is cancelled here.
                for upstream in self.upstreams.values():
                    await upstream.close()

        posts = {"/v1/messages/count_tokens": self._count, **dict.fromkeys(PATHS, self._call)}
        routes = [
            routing.Route(begin + path, endpoint, methods=["POST"], max_body_size=MAX_BODY)
            for path, endpoint in posts.items()
            for begin in ("", PASSING + "/{session}")
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
        place = request.path_params.get("session")
        with self._lock:
            session = self._sessions.get(token if place is None else str(place))
        if session is None or place is None:
            return session
        # Whoever passes by as it is has the token of its plan.
        return session if session.login is not None and session.login.fits(bearer) else None

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
        from starlette.exceptions import HTTPException
        from starlette.requests import ClientDisconnect

        as_it_is = "session" in request.path_params
        path = request.url.path
        protocol = PATHS["/" + path.split("/", 3)[3] if as_it_is else path]
        session = self._session(request)
        if session is None or as_it_is != (session.login is not None):
            return _error(protocol, 401, "this token does not belong to a running rollout")

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            """Keeps the body's room until the call is answered."""
            try:
                async with session.calls, self._bodies.read(request, session) as (body, raw):
                    written = None if raw is None else (raw, request.url.query)
                    answer = self._answer(session, protocol, body, request.headers, written)
                    await answer(scope, receive, send)
            except BodyError as error:
                await _error(protocol, error.status, f"request: {error}")(scope, receive, send)
            except (SkillOptError, ClientDisconnect, HTTPException):
                raise  # A body that is too large, or that breaks off, is the client's doing.
            except Exception as error:
                # It is not the agent's fault, whatever the client makes of it.
                service = self._services[session.grant.model.upstream]
                session.failure = session.failure or service.broke(error)
                raise

        return respond

    def _answer(
        self,
        session: Session,
        protocol: ProtocolName,
        body: Any,
        headers: Mapping[str, str],
        written: Written | None,
    ) -> ASGIApp:
        refusal = self._refusal(session, protocol, body)
        if refusal is None and self._is_over(session, protocol, body, headers):
            refusal = 400, OVER
        if refusal:
            return _error(protocol, *refusal)
        session.requests += 1
        try:
            lower = {k.lower(): v for k, v in headers.items()}
            upstream = self.upstreams[session.grant.model.upstream]
            if written is None:
                route = route_of(session, upstream, protocol, body, lower)
            else:
                route = passing(session, protocol, body, lower, written)
        except ProtocolError as error:
            return _error(protocol, 400, str(error))
        model = session.grant.model
        forward = Forward(
            session,
            route,
            self._services[model.upstream],
            partial(self._priced, model),
            partial(self._alive, session),
        )
        return _until_disconnected(forward, lambda: session.expired() or forward.unread)

    def _refusal(
        self, session: Session, protocol: ProtocolName, body: Any
    ) -> tuple[int, str] | None:
        grant = session.grant
        if not isinstance(body, dict):
            return 400, "request is not a JSON object"
        if session.failure or session.over:
            return 400, OVER  # After 400 the agents do not try again.
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

    def _is_over(
        self, session: Session, protocol: ProtocolName, body: Any, headers: Mapping[str, str]
    ) -> bool:
        """Whether a rollout is over before this request, which is then recorded: it shows why."""
        if session.grant.over is None:
            return False
        session.over = session.grant.over(protocol, body)
        if session.over:
            session.add(unanswered(protocol, body, headers, session.part, session.over), None)
        return bool(session.over)

    def _priced(self, model: ModelSpec, usage: Usage) -> Usage:
        if login_of(self.upstreams[model.upstream]):
            return replace(usage, cost_usd=0.0, included=True)
        return replace(usage, cost_usd=self._price(model.name, usage))


def _until_disconnected(reply: ASGIApp, expired: Expired) -> ASGIApp:
    """A response that ends when the client disconnects or its time is over, and with it the call to
    the model service: after an agent has been stopped, nobody pays for further tokens."""

    async def gone(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        working = asyncio.ensure_future(reply(scope, receive, send))
        leaving = asyncio.ensure_future(gone(receive))
        left = True
        try:
            while not (working.done() or leaving.done() or expired()):
                await asyncio.wait(
                    {working, leaving}, timeout=_EXPIRY_S, return_when=asyncio.FIRST_COMPLETED
                )
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


def _error(protocol: ProtocolName, status: int, message: str) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(error_body(protocol, status, message), status)
