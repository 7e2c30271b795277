"""Model services of the test's own over real HTTP, and clients of the gateway before them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Session
from harnesses.protocols.base import ProtocolName, Reply
from harnesses.protocols.registry import CODECS
from harnesses.protocols.sse import read_events

Answer = Callable[[Request], Awaitable[Response]]
KEY = "sk-real-key-of-the-user"


@contextmanager
def serve(answer: Answer, path: str = "/v1/chat/completions") -> Iterator[str]:
    app = Starlette(routes=[Route(path, answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.002)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(5)


def client(running: Gateway | Session, token: str) -> httpx2.Client:
    return httpx2.Client(
        transport=httpx2.HTTPTransport(uds=str(running.socket)),
        base_url="http://gateway",
        headers={"authorization": f"Bearer {token}"},
        timeout=20,
    )


def ask(
    session: Session,
    model: str = "m",
    stream: bool = False,
    headers: Mapping[str, str] | None = None,
) -> httpx2.Response:
    with client(session, session.token) as http:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
        return http.post("/v1/chat/completions", json=body, headers=headers)


def read_answer(protocol: ProtocolName, kind: str, raw: bytes) -> Reply:
    """The reply in the body of an answer, a stream or a whole one by its type."""
    if kind == "text/event-stream":
        return CODECS[protocol].read_stream(read_events(raw))
    return CODECS[protocol].read_response(json.loads(raw))
