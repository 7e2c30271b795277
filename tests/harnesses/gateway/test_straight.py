"""The parts of an answer get to the client as the server's own library would send them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import RequestResponseCycle

from harnesses.gateway import straight
from harnesses.gateway.straight import with_servers_send, writer

PARTS = [b"data: 1\n\n", b"", b"x" * 300_000, b"5\r\nab", b"\r\n"]
LENGTH = [(b"content-length", b"%d" % sum(map(len, PARTS)))]


def application(head: list[tuple[bytes, bytes]], plain: bool, seen: list[str]) -> ASGIApp:
    """Sends the parts straight, or as all applications do, and notes what a layer sees of it."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def layer(message: Any) -> None:
            seen.append(message["type"])
            await send(message)

        if plain:
            del scope[straight._SEND]
        await layer({"type": "http.response.start", "status": 200, "headers": head})
        write = writer(scope, layer, head)
        for part in PARTS:
            await write(part)
        await layer({"type": "http.response.body", "body": b"", "more_body": False})

    return with_servers_send(app)


def answered(app: ASGIApp, request: bytes, path: Path) -> bytes:
    """All that a server says."""

    async def run() -> bytes:
        config = uvicorn.Config(app, uds=str(path), http="h11", lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        reader, write = await asyncio.open_unix_connection(str(path))
        write.write(request)
        found = await reader.read()
        write.close()
        server.should_exit = True
        await serving
        lines = found.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(b"date: "))

    return asyncio.run(run())


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize("head", [[], LENGTH, [(b"x-a", b"b")]])
def test_a_client_gets_what_the_library_would_send(
    version: str, method: str, head: list[tuple[bytes, bytes]], tmp_path: Path
) -> None:
    request = f"{method} / HTTP/{version}\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
    seen: tuple[list[str], list[str]] = [], []
    found = [
        answered(application(head, bool(n), seen[n]), request, tmp_path / f"{n}") for n in (0, 1)
    ]
    chunked = version == "1.1" and method == "POST" and head[:1] != LENGTH
    assert len(seen[0]) == (2 if chunked else 2 + len(PARTS)) and len(seen[1]) == 2 + len(PARTS)
    assert found[0] == found[1] and found[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert (b"x" * 1000 in found[0]) == (method == "POST")


@pytest.mark.parametrize("state", ["ready", "full", "gone", "gone while full"])
def test_a_client_that_does_not_read_is_waited_for(state: str) -> None:
    written: list[bytes] = []

    async def run() -> bool:
        cycle = RequestResponseCycle.__new__(RequestResponseCycle)
        read = asyncio.Event()

        async def drain() -> None:
            await read.wait()
            cycle.disconnected = "gone" in state

        cycle.flow = SimpleNamespace(write_paused="full" in state, drain=drain)  # type: ignore[assignment]
        cycle.transport = SimpleNamespace(write=written.append)  # type: ignore[assignment]
        cycle.disconnected = state == "gone"
        scope = {straight._SEND: cycle.send, "http_version": "1.1", "method": "POST"}

        async def send(message: object) -> None:
            raise AssertionError("it is past this")

        writing = asyncio.ensure_future(writer(scope, send, [])(b"abc"))
        await asyncio.sleep(0)
        waited = not writing.done()
        read.set()
        await writing
        return waited

    assert asyncio.run(run()) is ("full" in state)
    assert written == [b"3\r\nabc\r\n"] * ("gone" not in state)


def test_a_server_of_another_kind_gets_messages() -> None:
    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    for scope in ({}, {straight._SEND: send, "http_version": "1.1", "method": "POST"}):
        asyncio.run(writer(scope, send, [])(b"a"))  # type: ignore[arg-type]
    assert sent == [{"type": "http.response.body", "body": b"a", "more_body": True}] * 2
