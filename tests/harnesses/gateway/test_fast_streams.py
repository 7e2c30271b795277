"""Chunks of a stream pass its parser by: whatever comes, and in whatever pieces, the client
gets what the parser alone would make of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import h11
import httpcore2
import pytest
import trustme
from anyio.abc import ByteReceiveStream
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harnesses.gateway import fast_streams
from harnesses.gateway.fast_streams import contents, gathered, watch
from harnesses.gateway.upstreams import Call, HttpUpstream, UpstreamError

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Pieces(ByteReceiveStream):
    """A socket whose bytes come in pieces."""

    def __init__(self, pieces: Iterable[bytes | Exception]) -> None:
        self._pieces = iter(pieces)

    async def receive(self, max_bytes: int = 0) -> bytes:
        await asyncio.sleep(0)
        piece = next(self._pieces, b"")
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def aclose(self) -> None:
        raise AssertionError("the pool closes it")


class Parsed(httpcore2.AsyncNetworkStream):
    """A connection whose bytes come in pieces, and the parser that httpcore2 uses too."""

    def __init__(self, pieces: Iterable[bytes | Exception]) -> None:
        self._stream = Pieces(pieces)
        self.parser = h11.Connection(h11.CLIENT)
        self.parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        self.parser.send(h11.EndOfMessage())
        self.given = 0
        """How many bytes of the body the parser got."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.receive(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        raise AssertionError("there is one answer")

    async def event(self) -> Any:
        while (event := self.parser.next_event()) is h11.NEED_DATA:
            raw = await self.read(1 << 16, 1.0)
            self.given += len(raw)
            self.parser.receive_data(raw)
        return event

    async def head(self) -> None:
        while isinstance(await self.event(), h11.InformationalResponse):
            pass

    async def chunks(self) -> AsyncGenerator[bytes]:
        while isinstance(event := await self.event(), h11.Data):
            yield bytes(event.data)


async def gathering(one: Parsed) -> AsyncGenerator[bytes]:
    await watch("connection.connect_tcp.complete", {"return_value": one})
    await one.head()
    one.given = 0
    async with aclosing(gathered(one.chunks(), one, True)) as chunks:
        async for chunk in chunks:
            yield chunk


async def alone(one: Parsed) -> AsyncGenerator[bytes]:
    await one.head()
    async for chunk in one.chunks():
        yield chunk


def came(
    pieces: Sequence[bytes], read: Callable[[Parsed], AsyncGenerator[bytes]]
) -> tuple[bytes, str, Any, int]:
    """What a client gets, how it ends, whether the connection can be used again, and how much of
    the body the parser read."""

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


def both(pieces: Sequence[bytes]) -> tuple[bytes, str, int]:
    """What a client gets, as if the parser were alone; and how much of the body the parser read."""
    *expected, _ = came(pieces, alone)
    *found, given = came(pieces, gathering)
    assert found == expected
    return found[0], found[1], given


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


@pytest.mark.parametrize("with_head", [0, 1, 2, 20])
@pytest.mark.parametrize("heads", [[HEAD], [HEAD[:20], HEAD[20:]], [HEAD[:-1], HEAD[-1:]]])
def test_all_chunks_but_the_last_pass_the_parser_by(heads: list[bytes], with_head: int) -> None:
    events = [chunked([b"data: %d\n\n" % n]) for n in range(20)]
    begin = [*heads[:-1], heads[-1] + b"".join(events[:with_head])]
    rest = events[with_head:]
    found, end, given = both([*begin, *rest[:5], b"".join(rest[5:]) + b"0\r\n\r\n"])
    assert found == b"".join(b"data: %d\n\n" % n for n in range(20)) and end == "whole"
    assert given == 5


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + HEAD,
        HEAD.replace(b"\r\n", b"\n"),
        HEAD.replace(b"\r\n\r\n", b"\n\r\n"),
        HEAD.replace(b"200 OK\r\n", b"200\r\n"),
    ],
)
def test_where_the_body_begins(head: bytes) -> None:
    raw = head + chunked([b"data: 1\n\n", b"data: 2\n\n"]) + b"0\r\n\r\n"
    for at in range(1, len(raw)):
        assert both([raw[:at], raw[at:]])[:2] == (b"data: 1\n\ndata: 2\n\n", "whole")


def test_chunks_that_are_not_taken_are_not_read() -> None:
    pieces = [HEAD, *[chunked([b"x" * 60_000])] * 100, b"0\r\n\r\n"]
    read: list[bytes] = []

    async def leave() -> None:
        chunks = gathering(Parsed(read.append(piece) or piece for piece in pieces))  # type: ignore[func-returns-value]
        await anext(chunks)
        await asyncio.sleep(0.05)
        assert len(read) < 12
        await chunks.aclose()

    asyncio.run(leave())
    assert both(pieces)[0] == b"x" * 6_000_000


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
    ("raw", "content", "rest", "more"),
    [
        (b"", b"", b"", True), (b"2\r\nab\r\n", b"ab", b"", True),
        (b"2\r\nab\r\n1\r\nc\r\n", b"abc", b"", True),
        (b"A\r\n0123456789\r\n", b"0123456789", b"", True),
        (b"0000002\r\nab\r\n1", b"ab", b"1", True), (b"2\r\nab\r\n1f\r", b"ab", b"1f\r", True),
        # A chunk that has begun is two.
        (b"1f\r\n", b"", b"1f\r\n", True), (b"14\r\nabc", b"abc", b"11\r\n", True),
        (b"2\r\nab\r\n4\r\nabc", b"ababc", b"1\r\n", True), (b"2\r\na", b"a", b"1\r\n", True),
        (b"2\r\nab", b"a", b"1\r\nb", True), (b"2\r\nab\r", b"a", b"1\r\nb\r", True),
        (b"1\r\n", b"", b"1\r\n", True), (b"1\r\na\r", b"", b"1\r\na\r", True),
        (b"fffffff\r\nab", b"ab", b"ffffffd\r\n", True),
        (b"2\r\nab\r\n0\r\n\r\n", b"ab", b"0\r\n\r\n", False),
        (b"0", b"", b"0", True), (b"\r", b"", b"\r", True),
    ],
)  # fmt: skip
def test_what_has_come_of_chunks(raw: bytes, content: bytes, rest: bytes, more: bool) -> None:
    assert contents(raw) == (content, rest, more)


@pytest.mark.parametrize(
    "raw",
    [b"0\r\n", b"2\r\nabc\r\n", b"2\r\nab\r\r", b"2\r\nabXX", b"2;x\r\nab\r\n", b" 2\r\nab\r\n",
     b"2\nab\n", b"HTTP", b"\r\n", b"00000002\r\nab\r\n", b"00000000"],
)  # fmt: skip
def test_all_else_is_the_parsers(raw: bytes) -> None:
    assert contents(raw) == (b"", raw, False)


def test_what_has_come_of_a_chunk_does_not_wait_for_its_end() -> None:
    pieces = [HEAD, b"a\r\nab", b"cdefg", b"h", b"ij", b"\r\n2", b"\r\nkl\r\n0\r\n\r\n"]

    async def read() -> list[bytes]:
        return [chunk async for chunk in gathering(Parsed(pieces))]

    assert asyncio.run(read()) == [b"ab", b"cdefg", b"h", b"i", b"j", b"kl"]


@pytest.mark.parametrize("broken", [
    (TimeoutError("late"), httpcore2.ReadTimeout), (OSError("reset"), httpcore2.ReadError),
    (anyio.BrokenResourceError(), httpcore2.ReadError),
    (anyio.ClosedResourceError(), httpcore2.ReadError),
    (ssl.SSLError("bad record"), httpcore2.ReadError), (ZeroDivisionError(), ZeroDivisionError),
])  # fmt: skip
@pytest.mark.parametrize("before", [[b"2\r\nab\r\n"], [b"2\r\nab\r\n", b"2\r\nc"], []])
def test_what_came_before_a_stream_broke_is_passed_on(
    broken: tuple[Exception, type[Exception]], before: list[bytes]
) -> None:
    error, known = broken

    async def read() -> bytes:
        found = b""
        with pytest.raises(known):
            async for chunk in gathering(Parsed([HEAD, *before, error])):
                found += chunk
        return found

    assert asyncio.run(read()) == b"ab" * bool(before) + b"c" * (len(before) == 2)


def test_a_stream_of_an_unknown_kind_stays_as_it_is() -> None:
    connection = Parsed([HEAD + b"2\r\nab\r\n", b"2\r\ncd\r\n2\r\nef\r\n0\r\n\r\n"])
    stream = connection._stream
    connection._stream = SimpleNamespace(receive=stream.receive)  # type: ignore[assignment]

    async def read() -> list[bytes]:
        return [chunk async for chunk in gathering(connection)]

    assert asyncio.run(read()) == [b"ab", b"cd", b"ef"]


@pytest.mark.parametrize("raw", [b"\x05\x00\n\n\x01", b"\n\nHTTP/1.1 200 OK\r\n\r\nx"])
def test_what_is_no_head_is_not_split(raw: bytes) -> None:
    async def read() -> bytes:
        connection = Parsed([raw])
        await watch("connection.connect_tcp.complete", {"return_value": connection})
        return await connection.read(99)

    assert asyncio.run(read()) == raw


def test_only_connections_are_watched_and_each_once() -> None:
    async def watched() -> tuple[object, object]:
        connection, seen = Parsed([]), []
        for value in (None, "x", connection, connection):
            await watch("e", {"return_value": value})
            seen.append(connection.read)
        await watch("e", {})
        return seen[-2], seen[-1]

    first, second = asyncio.run(watched())
    assert first == second


def test_a_connection_may_be_used_again_before_its_last_stream_is_taken() -> None:
    async def two() -> None:
        connection = Parsed([])
        await watch("e", {"return_value": connection})
        one = connection.read.__self__  # type: ignore[attr-defined]
        first, second = one.gathering(), one.gathering()
        first.__enter__()
        second.__enter__()
        reads = vars(connection._stream)["receive"]
        first.__exit__(None, None, None)
        assert vars(connection._stream)["receive"] == reads and one._gathering is not None
        second.__exit__(None, None, None)
        assert "receive" not in vars(connection._stream) and one._gathering is None

    asyncio.run(two())


@pytest.mark.parametrize(
    ("times", "slept"),
    [
        # The seconds between two reads, and how long nothing is read before each: a stream is fast
        # if its last two reads were less than one and a half pauses apart.
        ([], [None]), ([5.0, 0.002], [None, None, 0.007]), ([0.0, 0.0105], [None, None, None]),
        ([5.0, 0.0104], [None, None, 0.007]),
        ([5.0, 0.0, 1.0, 0.001], [None, None, 0.007, None, 0.007]),
    ],
)  # fmt: skip
def test_only_a_fast_stream_is_read_less_often(
    times: list[float], slept: list[float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, found, pause = [7.0], list[float | None](), fast_streams.GATHER_S or 0.007
    monkeypatch.setattr(fast_streams, "GATHER_S", pause)
    monkeypatch.setattr(fast_streams, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    async def sleep(seconds: float) -> None:
        found[-1] = round(seconds, 6)

    class Source(Pieces):
        async def receive(self, max_bytes: int = 0) -> bytes:
            clock[0] += next(gaps, 0.0)
            return b"x"

    gaps = iter(times)
    monkeypatch.setattr(fast_streams, "asyncio", SimpleNamespace(sleep=sleep))

    async def play() -> None:
        gathering = fast_streams._Gathering(Source([]))
        for _ in [*times, None]:
            found.append(None)
            await gathering.receive()

    asyncio.run(play())
    assert found == slept


@pytest.mark.parametrize(("size", "full"), [(8, False), (9, True), (10, True)])
def test_after_a_read_that_was_full_the_rest_is_read_at_once(
    size: int, full: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def play() -> None:
        gathering = fast_streams._Gathering(Pieces([b"x" * 3, b"x" * size, b"y"]))
        monkeypatch.setattr(fast_streams, "asyncio", SimpleNamespace(sleep=sleep))
        for _ in range(3):
            await gathering.receive(9)

    monkeypatch.setattr(fast_streams, "GATHER_S", 9.0)
    asyncio.run(play())
    assert len(slept) == 1 and (slept[0] == 0 if full else 0 < slept[0] <= 9.0)


def test_who_is_slow_to_take_does_not_wait_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def play() -> None:
        gathering = fast_streams._Gathering(Pieces([b"x"] * 4))
        for _ in range(3):
            await gathering.receive()
        time.sleep(0.02)
        await gathering.receive()

    monkeypatch.setattr(fast_streams, "GATHER_S", 0.015)
    monkeypatch.setattr(fast_streams, "asyncio", SimpleNamespace(sleep=sleep))
    asyncio.run(play())
    assert len(slept) == 2 and slept[0] > 0 and slept[1] == 0


def test_a_body_that_only_looks_like_chunks_stays_as_it_is() -> None:
    body = b"2\r\nab\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)

    async def read() -> bytes:
        connection = Parsed([head, body])
        await watch("e", {"return_value": connection})
        await connection.head()
        return b"".join([c async for c in gathered(connection.chunks(), connection, False)])

    assert asyncio.run(read()) == body


@pytest.mark.parametrize("missing", ["_protocol", "_transport"])
def test_a_socket_of_an_unknown_kind_is_not_read_at_once(missing: str) -> None:
    source = Pieces([])
    known = {"_protocol": SimpleNamespace(read_queue=[]), "_transport": SimpleNamespace()}
    vars(source).update({name: value for name, value in known.items() if name != missing})
    assert fast_streams._Gathering(source)._come(9) == b""


@pytest.mark.parametrize("state", ["queued", "closing", "silent", "read", "broken"])
def test_a_socket_is_read_at_once_only_if_nobody_else_has_read_it(
    state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    class Source(Pieces):
        _protocol = SimpleNamespace(read_queue=[b"q"] if state == "queued" else [])
        _transport = SimpleNamespace(
            get_extra_info={"socket": ours}.get, is_closing=lambda: state == "closing"
        )

    with ours, theirs:
        if state != "silent":
            theirs.send(b"new")
        gathering = fast_streams._Gathering(Source([]))
        if state == "broken":
            gathering._fd = 1 << 20
            with pytest.raises(anyio.BrokenResourceError):
                gathering._come(9)
        else:
            assert gathering._come(9) == (b"new" if state == "read" else b"")


class Service:
    """A service at a port of its own, which a proxy may stand before.

    Args:
        answers: the pieces that it sends for each request.
        folder: for its certificate.
        way: how it is asked.
        end: of its connection: ``reset`` or ``closed`` by it after the last answer, or neither.
    """

    def __init__(
        self, answers: Sequence[Iterable[bytes]], folder: Path, way: str,
        monkeypatch: pytest.MonkeyPatch, end: str = "",
    ) -> None:  # fmt: skip
        authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
        self.connections = 0
        self._answers, self._patch, self._end = answers, monkeypatch, end
        self._context = None if way == "plain" else context
        self._proxied = way == "proxy"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for pieces in self._answers:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
            writer.write(HEAD.replace(b"OK\r\n", b"OK\r\ncontent-type: text/event-stream\r\n"))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        if self._end == "reset":
            writer.transport.abort()
        elif not self._end:
            await reader.read()
        writer.close()

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).split()
        assert asked[0] == b"CONNECT"
        inner = await asyncio.open_connection("localhost", int(asked[1].rpartition(b":")[2]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            while raw := await source.read(1 << 16):
                to.write(raw)
                await to.drain()
            to.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(copy(reader, inner[1]), copy(inner[0], writer))

    async def taken(self) -> list[tuple[list[bytes], str]]:
        """What came of each answer, and the error that it ended with."""
        server = await asyncio.start_server(self._serve, "localhost", 0, ssl=self._context)
        proxy = await asyncio.start_server(self._proxy, "localhost", 0)
        if self._proxied:
            port = proxy.sockets[0].getsockname()[1]
            self._patch.setenv("HTTPS_PROXY", f"http://localhost:{port}")
        port = server.sockets[0].getsockname()[1]
        url = f"http{'s' * (self._context is not None)}://localhost:{port}"
        upstream = HttpUpstream("openai", url, "", frozenset({"chat"}))
        found: list[tuple[list[bytes], str]] = []
        try:
            for _ in self._answers:
                answer = await upstream.send(Call("chat", "/v1/chat/completions", {}, {}, 1))
                chunks: list[bytes] = []
                try:
                    async for chunk in answer.chunks:
                        chunks.append(chunk)
                    found.append((chunks, ""))
                except UpstreamError as error:
                    found.append((chunks, str(error)))
        finally:
            await upstream.close()
            server.close()
            proxy.close()
        return found


WAYS = ["plain", "encrypted", "proxy"]


@pytest.mark.parametrize("way", WAYS)
def test_what_has_come_together_is_read_together(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One read of an encrypted connection gives one record: each must not have a pause."""
    events, reads = [b"data: %d\n\n" % n for n in range(300)], []
    receive = fast_streams._Gathering.receive

    async def counted(self: fast_streams._Gathering, max_bytes: int = 1 << 16) -> bytes:
        if self.waits:
            reads.append(self)
        return await receive(self, max_bytes)

    monkeypatch.setattr(fast_streams._Gathering, "receive", counted)
    pieces = [*(chunked([event]) for event in events), b"0\r\n\r\n"]
    service = Service([pieces] * 2, tmp_path, way, monkeypatch)
    for chunks, error in asyncio.run(service.taken()):
        assert (b"".join(chunks), error) == (b"".join(events), "") and len(chunks) < 60
    assert service.connections == 1 and len(reads) < 80


@pytest.mark.parametrize("way", WAYS)
def test_a_large_stream_comes_whole(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [1, 70_000, 3, 16_384, 300_000, 65_536, 2, 131_072] * 4
    contents = [bytes([65 + n % 26]) * size for n, size in enumerate(sizes)]
    raw = chunked(contents) + b"0\r\n\r\n"
    pieces = [raw[at : at + 50_001] for at in range(0, len(raw), 50_001)]
    service = Service([pieces] * 2, tmp_path, way, monkeypatch)
    for chunks, error in asyncio.run(service.taken()):
        assert error == "" and b"".join(chunks) == b"".join(contents)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", ["reset", "closed"])
@pytest.mark.parametrize("last", [b"", b"5\r\nab", b"zz\r\n"])
def test_a_stream_that_breaks_says_so(
    way: str, end: str, last: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [*[chunked([b"data: 1\n\n"])] * 50, last]
    service = Service([pieces], tmp_path, way, monkeypatch, end)
    ((chunks, error),) = asyncio.run(service.taken())
    assert "stream broke" in error and b"data: 1\n\n".startswith(b"".join(chunks)[:9])


@pytest.mark.parametrize("passes", [0, 1, 2, 3])
def test_who_is_cancelled_twice_leaves_nothing_in_the_pool(passes: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD.replace(b"OK\r\n", b"OK\r\ncontent-type: text/event-stream\r\n"))
        writer.write(chunked([b"data: 1\n\n"]))
        await reader.read()
        writer.close()

    async def leave() -> int:
        server = await asyncio.start_server(serve, "localhost", 0)
        url = f"http://localhost:{server.sockets[0].getsockname()[1]}"
        upstream = HttpUpstream("openai", url, "", frozenset({"chat"}))

        async def take() -> None:
            async for _ in (await upstream.send(Call("chat", "/v1", {}, {}, 1))).chunks:
                came.set()

        for _ in range(4):
            came = asyncio.Event()
            task = asyncio.ensure_future(take())
            await came.wait()
            task.cancel()
            for _ in range(passes):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        await asyncio.sleep(0.05)
        left = len(upstream._clients[0]._transport._pool._requests)  # type: ignore[attr-defined]
        await upstream.close()
        server.close()
        return left

    assert asyncio.run(leave()) == 0
