"""Whole chunks of a stream pass its parser by: whatever comes, and in whatever pieces, the client
gets what the parser alone would make of it."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import h11
import pytest
import trustme
from anyio.abc import ByteReceiveStream
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harnesses.gateway import fast_streams
from harnesses.gateway.fast_streams import gathered, may_become_chunk, whole_chunks
from harnesses.gateway.upstreams import Call, HttpUpstream

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Pieces(ByteReceiveStream):
    """A socket whose bytes come in pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)

    async def receive(self, max_bytes: int = 0) -> bytes:
        await asyncio.sleep(0)
        return next(self._pieces, b"")

    async def aclose(self) -> None:
        raise AssertionError("the pool closes it")


class Parsed:
    """A connection whose bytes come in pieces, and the parser that httpcore2 uses too."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._stream = Pieces(pieces)
        self.parser = h11.Connection(h11.CLIENT)
        self.parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        self.parser.send(h11.EndOfMessage())
        self.given = 0
        """How many bytes the parser got."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.receive(max_bytes)

    async def chunks(self) -> AsyncGenerator[bytes]:
        while True:
            event = self.parser.next_event()
            if event is h11.NEED_DATA:
                raw = await self.read(1 << 16, 1.0)
                self.given += len(raw)
                self.parser.receive_data(raw)
            elif isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return


def came(pieces: Sequence[bytes], read: Callable[[Parsed], Any]) -> tuple[bytes, str, Any, int]:
    """What a client gets, how it ends, whether the connection can be used again, and how much the
    parser read."""

    async def run() -> tuple[bytes, str, Any, int]:
        connection, found, end = Parsed(pieces), b"", "whole"
        try:
            async for chunk in read(connection):
                found += chunk
        except h11.RemoteProtocolError as error:
            end = str(error)
        parser = connection.parser
        return found, end, (parser.their_state, parser.trailing_data), connection.given

    return asyncio.run(run())


def both(pieces: Sequence[bytes]) -> tuple[tuple[bytes, str, Any], int, int]:
    """The same twice, and how many bytes the parser got alone and beside the gathering."""
    *alone, all_ = came(pieces, Parsed.chunks)
    *beside, some = came(pieces, lambda one: gathered(one.chunks(), one))  # type: ignore[arg-type]
    assert beside == alone
    return (alone[0], alone[1], alone[2]), all_, some


def chunked(contents: Sequence[bytes], size: str = "%x") -> bytes:
    return b"".join((size % len(one)).encode() + b"\r\n" + one + b"\r\n" for one in contents)


def cut(raw: bytes, at: Sequence[int]) -> list[bytes]:
    """The bytes in pieces, the first of which has the head."""
    places = sorted({0, len(raw), *(place % (len(raw) + 1) for place in at)})
    found = [raw[a:b] for a, b in itertools.pairwise(places)]
    return [HEAD + found[0], *found[1:]] if found else [HEAD]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_streams, "GATHER_S", 0.0)


# Also contents that look like chunks themselves.
CONTENT = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from(
        [b"1\r\na\r\n", b"\r\n", b"3\r\n", b"a\r\n1\r\n", b"0\r\n\r\n", b"data: x\n\n"]
    ),
)
END = st.sampled_from(
    [b"0\r\n\r\n", b"0\r\nx-a: b\r\n\r\n", b"", b"0\r\n", b"2;a=b\r\nhi\r\n0\r\n\r\n", b"zz\r\n",
     b"5\r\nab", b"2\r\nabXX", b"000\r\n\r\n", b"0\r\n\r\nHTTP/1.1 200 OK\r\n", b"-1\r\n\r\n"]
)  # fmt: skip


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(CONTENT, max_size=8), END, st.lists(st.integers(0, 400), max_size=8),
    st.sampled_from(["%x", "%X", "%04x"]),
)  # fmt: skip
@example([b"ab", b"1\r\na\r\n", b"cd"], b"0\r\n\r\n", [7, 10, 16], "%x")
@example([b"ab", b"cd", b"ef"], b"2\r\nabXX", [7, 14], "%x")
def test_a_stream_is_what_its_parser_alone_makes_of_it(
    contents: list[bytes], end: bytes, at: list[int], size: str
) -> None:
    both(cut(chunked(contents, size) + end, at))


@pytest.mark.parametrize("with_head", [0, 1, 2])
def test_all_but_the_first_chunks_and_the_end_pass_the_parser_by(with_head: int) -> None:
    events = [chunked([b"data: %d\n\n" % n]) for n in range(20)]
    first, rest = HEAD + b"".join(events[:with_head]), events[with_head:]
    (found, end, _), all_, some = both([first, *rest[:5], b"".join(rest[5:]), b"0\r\n\r\n"])
    assert found == b"".join(b"data: %d\n\n" % n for n in range(20)) and end == "whole"
    assert all_ == len(HEAD) + sum(map(len, events)) + 5
    assert some == len(first) + len(rest[0]) + 5


def test_chunks_that_are_not_taken_are_not_read() -> None:
    pieces = [HEAD, *[chunked([b"x" * 60_000])] * 100, b"0\r\n\r\n"]
    read: list[bytes] = []

    async def leave() -> None:
        connection = Parsed(read.append(piece) or piece for piece in pieces)  # type: ignore[func-returns-value]
        chunks = gathered(connection.chunks(), connection)  # type: ignore[arg-type]
        await anext(chunks)
        await asyncio.sleep(0.05)
        assert len(read) < 12
        await chunks.aclose()

    asyncio.run(leave())
    assert both(pieces)[0][0] == b"x" * 6_000_000


@pytest.mark.parametrize(
    "pieces",
    [
        # The first piece of the body is the rest of a chunk, and looks like one.
        [HEAD + b"9\r\nab", b"1\r\nx\r\n\r\n", b"2\r\ncd\r\n", b"0\r\n\r\n"],
        [HEAD + b"e\r\nab", b"1\r\nx\r\n", b"1\r\ny\r\n", b"\r\n0\r\n\r\n"],
        [HEAD + b"f", b"2\r\nab\r\n" + b"x" * 8, b"\r\n", b"2\r\ncd\r\n", b"0\r\n\r\n"],
    ],
)
def test_what_only_looks_like_chunks_does_not(pieces: list[bytes]) -> None:
    both(pieces)


@pytest.mark.parametrize(
    ("raw", "content", "end"),
    [
        (b"", b"", 0), (b"2\r\nab\r\n", b"ab", 7), (b"2\r\nab\r\n1\r\nc\r\n", b"abc", 13),
        (b"2\r\nab\r\n0\r\n\r\n", b"ab", 7), (b"2\r\nab", b"", 0), (b"2\r\nab\r", b"", 0),
        (b"2\r\nabc\r\n", b"", 0), (b"A\r\n0123456789\r\n", b"0123456789", 15),
        (b"2;x\r\nab\r\n", b"", 0), (b" 2\r\nab\r\n", b"", 0), (b"2\nab\n", b"", 0),
        (b"00000002\r\nab\r\n", b"", 0), (b"0000002\r\nab\r\n", b"ab", 13),
    ],
)  # fmt: skip
def test_whole_chunks(raw: bytes, content: bytes, end: int) -> None:
    assert whole_chunks(raw) == (content, end)


LONG = fast_streams._HELD_BYTES


@pytest.mark.parametrize(
    ("raw", "may"),
    [
        (b"", True), (b"1", True), (b"1f\r", True), (b"1f\r\n", True), (b"2\r\na", True),
        (b"2\r\nab", True), (b"2\r\nab\r", True), (b"2\r\nab\r\n", False), (b"2\r\nabc", False),
        (b"2\r\nabXX", False), (b"0\r\n", False), (b"0", True), (b"00000000", False),
        (b"2;x\r\n", False), (b"HTTP", False), (b"\r\n", False), (b"\r", True),
        (b"%x\r\n" % LONG, True), (b"%x\r\n" % (LONG + 1), False),
    ],
)  # fmt: skip
def test_what_may_become_a_chunk_is_waited_for(raw: bytes, may: bool) -> None:
    assert may_become_chunk(raw) is may


@pytest.mark.parametrize("encrypted", [True, False])
def test_what_has_come_together_is_read_together(
    encrypted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One read of an encrypted connection gives one record: each must not have a pause."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    events, connections, pauses = [b"data: %d\n\n" % n for n in range(300)], [], []
    pause = fast_streams._Gathering.pause

    async def counted(self: fast_streams._Gathering) -> None:
        pauses.append(self)
        await pause(self)

    monkeypatch.setattr(fast_streams._Gathering, "pause", counted)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(HEAD.replace(b"OK\r\n", b"OK\r\ncontent-type: text/event-stream\r\n"))
            for event in events:
                writer.write(chunked([event]))
            writer.write(b"0\r\n\r\n")
        await reader.read()
        writer.close()

    async def read() -> None:
        server = await asyncio.start_server(
            serve, "127.0.0.1", 0, ssl=context if encrypted else None
        )
        port = server.sockets[0].getsockname()[1]
        url = f"http{'s' * encrypted}://localhost:{port}"
        upstream = HttpUpstream("openai", url, "", frozenset({"chat"}))
        try:
            for _ in range(2):
                answer = await upstream.send(Call("chat", "/v1/chat/completions", {}, {}, 1))
                found = [chunk async for chunk in answer.chunks]
                assert b"".join(found) == b"".join(events)
        finally:
            await upstream.close()
            server.close()

    asyncio.run(read())
    assert len(connections) == 1 and len(pauses) < 40
