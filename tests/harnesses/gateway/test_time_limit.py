"""A limit for many short waits: as asyncio's own, wait by wait. And the reads that need it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from harnesses.gateway.time_limit import TimeLimit
from harnesses.gateway.upstreams import Call, HttpUpstream, UpstreamError


def ran(wait: Callable[[TimeLimit], Awaitable[None]]) -> list[str]:
    """What becomes of a task that waits so, and of its timer afterwards."""
    found: list[str] = []

    async def run() -> None:
        limit = TimeLimit()
        try:
            await wait(limit)
            found.append("ended")
        except (TimeoutError, asyncio.CancelledError, KeyError) as error:
            found.append(type(error).__name__)
        task = asyncio.current_task()
        assert task is not None and task.cancelling() == (found == ["CancelledError"])
        limit.close()

    async def watched() -> None:
        await asyncio.wait({asyncio.ensure_future(run())})

    asyncio.run(watched())
    return found


async def _late(limit: TimeLimit) -> None:
    with limit.of(0.02):
        await asyncio.sleep(5)


async def _in_time(limit: TimeLimit) -> None:
    for _ in range(4):  # Together they take longer than the first may.
        with limit.of(0.3):
            await asyncio.sleep(0.1)


async def _late_at_last(limit: TimeLimit) -> None:
    await _in_time(limit)
    await _late(limit)


async def _shorter_than_the_one_before(limit: TimeLimit) -> None:
    with limit.of(60):
        await asyncio.sleep(0)
    await _late(limit)


async def _between_waits(limit: TimeLimit) -> None:
    with limit.of(0.2):
        await asyncio.sleep(0)
    await asyncio.sleep(0.3)  # Nothing limits this.
    with limit.of(5):
        await asyncio.sleep(0)


async def _after_a_break(limit: TimeLimit) -> None:
    await _between_waits(limit)
    await _late(limit)


async def _without_limit(limit: TimeLimit) -> None:
    with limit.of(float("inf")):
        await asyncio.sleep(0.02)


async def _cancelled_by_others(limit: TimeLimit) -> None:
    task = asyncio.current_task()
    assert task is not None
    with limit.of(5):
        asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.sleep(5)


async def _cancelled_by_others_too(limit: TimeLimit) -> None:
    task = asyncio.current_task()
    assert task is not None
    with limit.of(0.01):
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(0.05) if task.cancelling() < 2 else None


async def _an_error_of_its_own(limit: TimeLimit) -> None:
    with limit.of(0.01):
        try:
            await asyncio.sleep(5)
        finally:
            raise KeyError


@pytest.mark.parametrize(
    ("wait", "expected"),
    [
        (_late, "TimeoutError"), (_in_time, "ended"), (_late_at_last, "TimeoutError"),
        (_shorter_than_the_one_before, "TimeoutError"), (_between_waits, "ended"),
        (_after_a_break, "TimeoutError"), (_without_limit, "ended"),
        (_cancelled_by_others, "CancelledError"), (_cancelled_by_others_too, "CancelledError"),
        (_an_error_of_its_own, "KeyError"),
    ],
)  # fmt: skip
def test_a_wait_ends_as_with_asyncios_own_limit(
    wait: Callable[[TimeLimit], Awaitable[None]], expected: str
) -> None:
    assert ran(wait) == [expected]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("close", "peer closed connection without sending complete message body"),
        ("reset", "stream broke: ReadError"), ("silence", "stream broke: ReadTimeout"),
    ],
)  # fmt: skip
def test_a_stream_that_breaks_off_is_told_with_what_came_before(end: str, expected: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n2\r\na\n\r\n"
        )
        await asyncio.sleep(0.05)
        writer.write(b"2\r\nb\n\r\n")
        await asyncio.sleep(0.2)  # A reset takes back what has not been read.
        if end == "silence":
            await asyncio.sleep(2)
        if end == "reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()

    async def read() -> bytes:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = HttpUpstream("openai", f"http://127.0.0.1:{port}", "", frozenset({"chat"}))
        upstream.timeout_s = 1.0 if end == "silence" else 30.0
        raw = b""
        try:
            answer = await upstream.send(Call("chat", "/v1/chat/completions", {}, {}, 1))
            with pytest.raises(UpstreamError, match=expected):
                async for chunk in answer.chunks:
                    raw += chunk
        finally:
            await upstream.close()
            server.close()
        return raw

    assert asyncio.run(read()) == b"a\nb\n"
