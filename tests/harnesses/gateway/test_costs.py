"""What a session may cost, in counts: parses of a request, writes of a stream, bytes held."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import socket
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from benchmarks.sessions import requests
from harnesses.base import ModelSpec, Usage
from harnesses.gateway.door import EVENTS as STREAM
from harnesses.gateway.door import StreamRead
from harnesses.gateway.forward import PARSE_S, Passing
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant, Session
from harnesses.gateway.upstreams import Answer, HttpUpstream
from harnesses.gateway.wire import WIRE
from harnesses.protocols.base import Piece, Reply
from harnesses.protocols.registry import CODECS
from harnesses.trajectories.threads import Turns
from tests.helpers.services import client, serve

EVENTS = list(CODECS["messages"].write_stream(Reply("hello", usage=Usage(1, 9, 0, 1)), "m", "1"))
TEXT = next(event for event in EVENTS if b"text_delta" in event)
BEGIN, END = EVENTS[: EVENTS.index(TEXT)], EVENTS[EVENTS.index(TEXT) + 1 :]


def gateway(url: str, folder: Path) -> Gateway:
    upstream = HttpUpstream("anthropic", url, "", frozenset({"messages"}))
    return Gateway({"up": upstream}, folder / "s", lambda *_: 0.0)


def streaming(count: int, gap_s: float) -> Any:
    """A service whose replies have so many events."""

    async def events() -> AsyncIterator[bytes]:
        for event in [*BEGIN, *[TEXT] * count, *END]:
            yield event
            if gap_s:
                await asyncio.sleep(gap_s)

    async def answer(_: Request) -> Response:
        return StreamingResponse(events(), media_type="text/event-stream")

    return answer


def writes(session: Session) -> list[bytes]:
    """What the gateway writes to a client of a stream, write by write."""
    body = json.dumps({"model": "m", "max_tokens": 9, "stream": True, "messages": []}).encode()
    head = (
        f"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {session.token}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    raw = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(session.socket))
        connection.sendall(head.encode() + body)
        while not raw.endswith(b"0\r\n\r\n"):
            raw += connection.recv(1 << 16)
    found, at = [], raw.index(b"\r\n\r\n") + 4
    while size := int(raw[at : raw.index(b"\r\n", at)], 16):
        at = raw.index(b"\r\n", at) + 2
        found.append(raw[at : at + size])
        at += size + 2
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("gap_s", "most"), [(0.0, 0.1), (0.001, 0.5), (0.002, 0.6)])
def test_events_that_come_soon_after_another_are_written_together(
    gap_s: float, most: float, tmp_path: Path
) -> None:
    number = 400
    with (
        serve(streaming(number, gap_s), "/v1/messages") as url,
        gateway(url, tmp_path) as running,
        running.open(Grant(ModelSpec("up", "m"), 1)) as session,
    ):
        found = writes(session)
    assert b"".join(found) == b"".join([*BEGIN, *[TEXT] * number, *END])
    assert len(found) < most * number


def test_an_answer_that_is_encoded_against_our_wish_is_decoded(tmp_path: Path) -> None:
    whole = CODECS["messages"].write_response(Reply("hello", usage=Usage(1, 9, 0, 1)), "m", "1")

    async def packed(_: Request) -> Response:
        raw = gzip.compress(json.dumps(whole).encode())
        return Response(raw, 200, {"content-encoding": "gzip"}, "application/json")

    with (
        serve(packed, "/v1/messages") as url,
        gateway(url, tmp_path) as running,
        running.open(Grant(ModelSpec("up", "m"), 1)) as session,
        client(session, session.token) as http,
    ):
        body = {"model": "m", "max_tokens": 9, "messages": []}
        assert http.post("/v1/messages", json=body).json()["content"][0]["text"] == "hello"


@pytest.mark.slow
def test_a_fast_stream_is_parsed_in_few_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, parsed, feed = 400, list[int](), StreamRead.feed

    def counted(self: StreamRead, chunk: bytes) -> list[Piece]:
        parsed.append(chunk.count(b"text_delta"))
        return feed(self, chunk)

    monkeypatch.setattr(StreamRead, "feed", counted)
    began = time.monotonic()
    with (
        serve(streaming(number, 0.002), "/v1/messages") as url,
        gateway(url, tmp_path) as running,
        running.open(Grant(ModelSpec("up", "m"), 1)) as session,
    ):
        found = writes(session)
    took = time.monotonic() - began
    # Four at its begin, where it must be known for a reply, two or three at its end.
    assert len(parsed) <= took / PARSE_S + 8 < len(found)
    assert number <= sum(parsed) <= number + 20
    [exchange] = session.exchanges
    assert exchange.reply is not None and exchange.reply.text == "hello" * number


@pytest.mark.slow
def test_events_after_a_pause_are_written_at_once(tmp_path: Path) -> None:
    with (
        serve(streaming(12, 0.05), "/v1/messages") as url,
        gateway(url, tmp_path) as running,
        running.open(Grant(ModelSpec("up", "m"), 1)) as session,
    ):
        found = writes(session)
    # On a busy machine two may come together after all.
    assert sum(TEXT in one for one in found) >= 8


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def passing() -> Passing:
    """A stream that has said something, and has been parsed up to there."""
    passing = Passing("messages", Answer(200, STREAM, _nothing()), None)
    assert passing.feed(b"".join([*BEGIN, TEXT]))
    return passing


def test_an_error_that_was_not_parsed_yet_is_found_at_the_end_of_a_stream() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "too much"}}
    said = f"event: error\ndata: {json.dumps(error)}\n\n".encode()
    for finish in (Passing.ended, lambda one: one.broke("it broke")):
        found = passing()
        found.feed(said)
        assert not found.error
        finish(found)
        assert found.refusal is not None and "too much" in found.refusal.text
    found = passing()
    found.feed(said)
    time.sleep(PARSE_S)
    assert not found.feed(b": ping\n\n") and "too much" in found.error


def test_a_client_that_leaves_after_the_last_event_has_its_reply() -> None:
    found = passing()
    found.feed(b"".join([TEXT, *END]))
    found.left()
    assert found.reply is not None and found.reply.text == "hellohello" and found.events == 7


@pytest.mark.parametrize("line", [b"x: " + b"a" * 1000 + b"\r\n", b"a" * 1000])
def test_endless_headers_are_refused(line: bytes, tmp_path: Path) -> None:
    with (
        Gateway({}, tmp_path / "s", lambda *_: 0.0) as running,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        connection.connect(str(running.socket))
        connection.sendall(b"POST /v1/messages HTTP/1.1\r\nx: ")
        with pytest.raises(OSError, match=re.compile("pipe|reset", re.IGNORECASE)):
            for _ in range(4096):
                connection.sendall(line * 16)


@pytest.mark.slow
def test_a_long_session_is_parsed_once_and_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse, large = json.loads, []

    def counted(raw: Any, *args: Any, **kwargs: Any) -> Any:
        if len(raw) > 100_000:
            large.append(len(raw))
        return parse(raw, *args, **kwargs)

    monkeypatch.setattr(json, "loads", counted)
    requested, size = 40, 600_000
    with (
        serve(streaming(1, 0.0), "/v1/messages") as url,
        gateway(url, tmp_path) as running,
        running.open(Grant(ModelSpec("up", "m"), 1, tmp_path)) as session,
        client(session, session.token) as http,
    ):
        tracemalloc.start()
        before = 0
        for number, body in enumerate(requests(requested, size)):
            large.clear()
            answer = http.post("/v1/messages", json=body)
            assert answer.status_code == 200, answer.text
            assert len(large) == (len(json.dumps(body)) > 100_000), "a request is parsed once"
            if number == 1:
                before = tracemalloc.get_traced_memory()[0]
        del body, answer
        held = tracemalloc.get_traced_memory()[0] - before
        large.clear()
        assert len(Turns(tmp_path / WIRE).so_far()) == requested
        tracemalloc.stop()
    assert large == [], "what is read at the end is what was added"
    assert held < 5 << 20 and (tmp_path / WIRE).stat().st_size < 2_000_000
