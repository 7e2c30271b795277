"""Reads fast streams in fewer pieces, as each that is passed on costs the same, however small."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from harnesses.gateway.time_limit import TimeLimit

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream
    from httpcore2 import AsyncNetworkStream

Read = Callable[[int, float | None], Awaitable[bytes]]

GATHER_S = 0.007
"""Seconds for which nothing is read of a fast stream, after something has been."""
_HELD_BYTES = 256 * 1024
_READ_BYTES = 64 * 1024
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
_SIZE_BEGUN = re.compile(rb"[0-9A-Fa-f]{0,7}\r?")


class _Gathering:
    """What has been read of a stream and not been taken yet."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._ended = False
        self._ready, self._taken = asyncio.Event(), asyncio.Event()
        self._last, self._gap_s = -math.inf, math.inf
        self._parsed = bytearray()
        """What the connection has made of what was read last."""

    async def pause(self) -> None:
        """To be awaited before each read of the socket: what was read before can be taken. If
        the stream is a fast one, nothing is read for a while, so that what the service sends
        meanwhile is read, judged and passed on at once."""
        self._ready.set()
        if self._gap_s < 1.5 * GATHER_S:
            await asyncio.sleep(GATHER_S)

    def came(self) -> None:
        """To be called after each read."""
        now = time.monotonic()
        self._last, self._gap_s = now, now - self._last

    async def read(self, chunks: AsyncGenerator[bytes]) -> None:
        """Read to the end."""
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    self._parsed += chunk
                    await self.hold(chunk)
        finally:
            self._ended = True
            self._ready.set()

    async def hold(self, data: bytes) -> None:
        """Add what is to be taken; waits as long as there is too much."""
        self._held += data
        while len(self._held) > _HELD_BYTES:
            self._ready.set()
            self._taken.clear()
            await self._taken.wait()

    def parsed(self) -> bytes:
        """What the connection has made of what was read last, for once."""
        parsed = bytes(self._parsed)
        self._parsed.clear()
        return parsed

    async def take(self) -> bytes:
        """What is there, once it is to be passed on; nothing at the end."""
        while not self._ended:
            await self._ready.wait()
            self._ready.clear()
            if self._held:
                break
        taken = bytes(self._held)
        self._held.clear()
        self._taken.set()
        return taken


async def gathered(
    chunks: AsyncGenerator[bytes], connection: AsyncNetworkStream
) -> AsyncGenerator[bytes]:
    """The bytes of a stream in fewer chunks. The first after a pause of the service is passed on at
    once, and none is kept back for longer than :data:`GATHER_S`.

    Args:
        chunks: of the stream.
        connection: that they are read from. If it is none that is known, its stream stays as it is.
    """
    stream: Any = getattr(connection, "_stream", None)
    source = _socket_of(stream)
    if source is None:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk
        return
    gathering = _Gathering()

    async def read() -> None:
        with _read_by(connection, stream, source, gathering):
            await gathering.read(chunks)

    reading = asyncio.ensure_future(read())
    try:
        while taken := await gathering.take():
            yield taken
        await reading
    finally:
        reading.cancel()
        await asyncio.wait({reading})


def _socket_of(stream: object) -> ByteReceiveStream | None:
    """What a stream is read from in the end, below all encryption; None if that is unknown."""
    from anyio.abc import ByteReceiveStream
    from anyio.streams.tls import TLSStream

    while isinstance(stream, TLSStream):
        stream = stream.transport_stream
    return stream if isinstance(stream, ByteReceiveStream) else None


@contextmanager
def _read_by(
    connection: AsyncNetworkStream,
    stream: ByteReceiveStream,
    source: ByteReceiveStream,
    gathering: _Gathering,
) -> Iterator[None]:
    """Pause before the reads of a connection's socket: only then all has been parsed that has come.
    One read of an encrypted connection gives one record, however many have come.

    At the end of a stream others may use the connection already, and gather by themselves.
    """
    limit = TimeLimit()
    original = partial(type(source).receive, source)

    async def receive(max_bytes: int = _READ_BYTES) -> bytes:
        await gathering.pause()
        try:
            return await original(max_bytes)
        finally:
            gathering.came()

    read = _Reader(_read_at_less_cost(stream, limit), gathering).read
    replaced = [(vars(connection), "read", read), (vars(source), "receive", receive)]
    for methods, name, own in replaced:
        methods[name] = own
    try:
        yield
    finally:
        limit.close()
        for methods, name, own in replaced:
            if methods.get(name) is own:
                del methods[name]


class _Reader:
    """Reads a connection, and spares its parser the whole chunks of a body (RFC 9112, 7.1).

    For each chunk the parser would take as long as for a read. It gets all that is not a whole
    chunk with content: the end, extensions, trailers, faults.

    Args:
        read: of the connection.
        gathering: that gets the content of chunks.
    """

    def __init__(self, read: Read, gathering: _Gathering) -> None:
        self._read, self._gathering = read, gathering
        self._given = b""
        """What the parser got last."""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What the parser is to get next; nothing at the end of the connection."""
        content, end = whole_chunks(self._given)
        # If it has read the same, chunk by chunk, it stands between two chunks now.
        between = content == self._gathering.parsed() and end == len(self._given) > 0
        self._given = await self._read(max_bytes, timeout)
        while between and self._given:
            content, end = whole_chunks(self._given)
            await self._gathering.hold(content)
            rest = self._given[end:]
            if not may_become_chunk(rest) or not (more := await self._read(max_bytes, timeout)):
                self._given = rest
                break
            self._given = rest + more
        return self._given


def whole_chunks(raw: bytes) -> tuple[bytes, int]:
    """The content of the whole chunks at the beginning of a body's bytes, and where they end."""
    contents, end = [], 0
    while found := _SIZE.match(raw, end):
        begin, size = found.end(), int(found[1], 16)
        if not size or raw[begin + size : begin + size + 2] != b"\r\n":
            break
        contents.append(raw[begin : begin + size])
        end = begin + size + 2
    return b"".join(contents), end


def may_become_chunk(raw: bytes) -> bool:
    """Whether this is nothing, or the beginning of a chunk with content that is not too long."""
    found = _SIZE.match(raw)
    if found is None:
        return _SIZE_BEGUN.fullmatch(raw) is not None
    size, held = int(found[1], 16), raw[found.end() :]
    return 0 < size <= _HELD_BYTES and b"\r\n".startswith(held[size:]) and len(held) < size + 2


def _read_at_less_cost(stream: ByteReceiveStream, limit: TimeLimit) -> Read:
    """The connection's way to read, without a new limit of time for each read: to begin and end one
    costs more than the read."""
    import anyio
    import httpcore2

    async def read(max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            with limit.of(math.inf if timeout is None else timeout):
                return await stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except TimeoutError as error:
            raise httpcore2.ReadTimeout(str(error)) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise httpcore2.ReadError(str(error)) from error

    return read
