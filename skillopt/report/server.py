"""The page served on loopback, live while training runs. Without a :class:`Review` it only reads.

Whoever has the random token in the address can read it. Pages of other hosts cannot: host names
other than loopback's are refused, which prevents DNS rebinding.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skillopt.core.errors import SkillOptError
from skillopt.report.document import failed_folder_of, folder_of
from skillopt.report.page import policy, render
from skillopt.report.review import MAX_BODY, Review, ReviewError
from skillopt.report.searching import search
from skillopt.report.trajectory import LIVE, rollout_view
from skillopt.report.view import RunView

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

POLL_S = 0.5
"""Polling interval for the event logs in seconds. Polling works on shared file systems too."""
RULE = "Every trajectory can be opened; it is read from the rollout store."


class ServerError(SkillOptError):
    """The page cannot be served there. The message says what to do."""


def check_host(host: str, expose: bool) -> None:
    """Refuse addresses that other machines can reach, unless ``expose`` is set.

    Raises:
        ServerError: the address is not a loopback address.
    """
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback and not expose:
        raise ServerError(
            f"--host {host}: other machines can reach this address, and trajectories may contain "
            "private data: use 127.0.0.1, or add --expose"
        )


@dataclass
class PageServer:
    """The pages of some runs, behind a token.

    Args:
        views: one per run.
        any_host: whether to answer requests for host names other than loopback's.
        review: the part that writes; None for a page that only reads.
    """

    views: Sequence[RunView]
    any_host: bool = False
    review: Review | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _version: int = 0

    def app(self) -> Starlette:
        """The ASGI application."""
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.routing import Route

        routes = [
            Route("/{token}/", self._page),
            Route("/{token}/data.json", self._data),
            Route("/{token}/rollouts/{key}.json", self._rollout),
            Route("/{token}/failed/{key}.json", self._failed),
            Route("/{token}/search.json", self._search),
            Route("/{token}/events", self._events),
        ]
        if self.review is not None:
            routes += [
                Route("/{token}/remarks", self._write, methods=["POST"]),
                Route("/{token}/without", self._write, methods=["POST"]),
                Route("/{token}/without.json", self._scorings),
            ]
        names = ["*"] if self.any_host else ["127.0.0.1", "localhost", "[::1]"]
        guard = Middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)
        return Starlette(routes=routes, middleware=[guard])

    def _refused(self, request: Request) -> bool:
        given = str(request.path_params["token"])
        return not secrets.compare_digest(given.encode(), self.token.encode())

    def _refresh(self) -> int:
        """Read the new records of the logs. Returns a version that grows with each change."""
        with self._lock:
            changed = [view.refresh() for view in self.views]
            self._version += any(changed)
            return self._version

    def _page(self, request: Request) -> Response:
        if self._refused(request):
            return _answer(404, "no such page")
        data = {"runs": [], "trajectories": {}, "rule": RULE, "live": True}
        if self.review is not None:
            data["review"] = self.review.secret
        names = ", ".join(view.state.summary["name"] for view in self.views)
        return _answer(200, render(data, names, live=True), "text/html")

    def _data(self, request: Request) -> Response:
        if self._refused(request):
            return _answer(404, "no such page")
        self._refresh()
        with self._lock:
            runs = [view.to_json() for view in self.views]
        return _answer(200, _dump({"runs": runs}), "application/json")

    def _rollout(self, request: Request) -> Response:
        key = str(request.path_params["key"])
        owners = [view for view in self.views if key in view.keys]
        return self._stored(request, [(folder_of(v.root, key), v) for v in owners])

    def _failed(self, request: Request) -> Response:
        key = str(request.path_params["key"])
        owners = [view for view in self.views if key in view.failed_keys]
        return self._stored(request, [(failed_folder_of(v.root, key), v) for v in owners])

    def _stored(self, request: Request, places: Sequence[tuple[Path, RunView]]) -> Response:
        """The rollout in the first of some folders, each of a run."""
        if self._refused(request) or not places:
            return _answer(404, "no such rollout")
        folder, view = places[0]
        try:
            found = rollout_view(folder, LIVE, view.tasks_folder)
        except FileNotFoundError:
            return _answer(404, "this rollout is not in the store any more")
        except OSError as error:
            return _answer(404, f"this rollout cannot be read: {error}")
        return _answer(200, _dump(found), "application/json")

    def _search(self, request: Request) -> Response:
        """A part of a search in a run's trajectories."""
        if self._refused(request):
            return _answer(404, "no such page")
        asked = request.query_params
        words, run, start = (asked.get(key, "") for key in ("words", "run", "start"))
        numbers = all(re.fullmatch("[0-9]{1,9}", text) for text in (run, start))
        if not numbers or int(run) >= len(self.views) or not words.strip():
            return _answer(400, "give words, run and start")
        with self._lock:
            view = self.views[int(run)]
            keys = list(dict.fromkeys(view.keys_in_order))
        part = search(view.root, keys, words, int(start))
        told = {"found": part.found, "next": part.next, "total": len(keys)}
        return _answer(200, _dump(told), "application/json")

    async def _write(self, request: Request) -> Response:
        """A remark, or the scoring of a skill without an edit."""
        if self._refused(request) or self.review is None:
            return _answer(404, "no such page")
        try:
            self.review.check(request)
            body = await _body(request)
            told = await asyncio.to_thread(self._written, request.url.path, body)
        except ReviewError as error:
            return _answer(error.status, str(error))
        except OSError as error:
            return _answer(507, f"it cannot be kept: {error.strerror or error}")
        return _answer(200, _dump(told), "application/json")

    def _written(self, path: str, body: bytes) -> dict[str, Any]:
        assert self.review is not None
        self._refresh()
        with self._lock:
            if path.endswith("/without"):
                return self.review.score_without(body)
            return self.review.remark(body)

    def _scorings(self, request: Request) -> Response:
        if self._refused(request) or self.review is None:
            return _answer(404, "no such page")
        return _answer(200, _dump(self.review.scorings()), "application/json")

    async def _events(self, request: Request) -> Response:
        from starlette.responses import StreamingResponse

        if self._refused(request):
            return _answer(404, "no such page")
        stream = StreamingResponse(self._changes(), media_type="text/event-stream")
        stream.headers.update(HEADERS)
        return stream

    async def _changes(self) -> AsyncIterator[str]:
        """An event at once and after each change; comments in between show who has disconnected."""
        known, quiet = -1, 0
        while True:
            version = await asyncio.to_thread(self._refresh)
            if version != known:
                known, quiet = version, 0
                yield f"data: {version}\n\n"
            elif quiet * POLL_S >= 10:
                quiet = 0
                yield ": still here\n\n"
            quiet += 1
            await asyncio.sleep(POLL_S)


HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ServerError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ServerError(f"{host}:{port}: {error.strerror}: choose another --port") from error


def serve(site: PageServer, sock: socket.socket) -> None:
    """Serve until interrupted."""
    import uvicorn

    config = uvicorn.Config(
        site.app(), log_level="critical", access_log=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets=[sock])


async def _body(request: Request) -> bytes:
    """A request's body, as far as it may go and one byte more."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            break
    return body


def _answer(status: int, body: str, kind: str = "text/plain") -> Response:
    from starlette.responses import Response

    headers = {**HEADERS, "content-security-policy": policy(True) + "; frame-ancestors 'none'"}
    return Response(body, status, headers, f"{kind}; charset=utf-8")


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
