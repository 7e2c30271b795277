"""Reads fast streams in fewer pieces, as each that is passed on costs the same, however small."""

from __future__ import annotations

import asyncio
import math
import os
import re
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from harnesses.gateway.time_limit import TimeLimit

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream
    from httpcore2 import AsyncNetworkStream

GATHER_S = 0.007
"""Seconds for which nothing is read of a fast stream, after something has been."""
_READ_BYTES = 64 * 1024
_HEAD_END = re.compile(rb"\n\r?\n")
"""As the library's parser has it."""
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,7})\r\n")
_SIZE_BEGUN = re.compile(rb"[0-9A-Fa-f]{0,7}\r?")


async def watch(event: str, info: Mapping[str, Any]) -> None:
    """To be the HTTP library's ``trace`` of each request: connections are watched from their
    beginning, so that it is known where the body of an answer begins.

    Args:
        event: of the library.
        info: what it tells of it.
    """
    from httpcore2 import AsyncNetworkStream

    connection = info.get("return_value")
    if isinstance(connection, AsyncNetworkStream) and _watched(connection) is None:
        _Watched(connection)


async def gathered(
    chunks: AsyncGenerator[bytes], connection: AsyncNetworkStream, chunked: bool
) -> AsyncGenerator[bytes]:
    """The bytes of a stream in fewer chunks. The first after a pause of the service is passed on at
    once, and none is kept back for longer than :data:`GATHER_S`.

    Args:
        chunks: of the stream.
        connection: that they are read from. If it is none that is known, its stream stays as it is.
        chunked: whether they are chunks of the connection too (RFC 9112, 7.1).
    """
    watched = _watched(connection)
    async with aclosing(chunks):
        with watched.gathering() if watched else nullcontext():
            while watched and chunked and (content := await watched.content()):
                yield content
            async for chunk in chunks:
                yield chunk


def _watched(connection: AsyncNetworkStream) -> _Watched | None:
    owner = getattr(connection.read, "__self__", None)
    return owner if isinstance(owner, _Watched) else None


def _socket_of(stream: object) -> ByteReceiveStream | None:
    """What a stream is read from in the end, below all encryption; None if that is unknown."""
    from anyio.abc import ByteReceiveStream
    from anyio.streams.tls import TLSStream

    while isinstance(stream, TLSStream):
        stream = stream.transport_stream
    return stream if isinstance(stream, ByteReceiveStream) else None


class _NothingMore(Exception):  # noqa: N818 - it is no error
    """All has been read that has come."""


class _Gathering:
    """Reads a socket. After a read of a fast stream nothing is read for a while, so that what the
    service sends meanwhile is read, judged and passed on at once.

    Args:
        source: the socket's stream.
    """

    def __init__(self, source: ByteReceiveStream) -> None:
        self.source = source
        self.waits = True
        """Whether to wait for what comes, rather than to raise :class:`_NothingMore`."""
        self._receive = partial(type(source).receive, source)
        self._full, self._last, self._gap_s = False, -math.inf, math.inf
        transport: Any = getattr(source, "_transport", None)
        self._queue: Any = getattr(getattr(source, "_protocol", None), "read_queue", None)
        """What the event loop has read already."""
        known = transport is not None and self._queue is not None
        self._fd = transport.get_extra_info("socket").fileno() if known else -1
        self._transport = transport

    async def receive(self, max_bytes: int = _READ_BYTES) -> bytes:
        """What comes next; raises the errors of the socket's stream."""
        if not self.waits:
            raise _NothingMore
        raw = b""
        if self._full:
            await asyncio.sleep(0)  # There is more, but others have their turn.
            raw = self._come(max_bytes)
        elif self._gap_s < 1.5 * GATHER_S:
            await asyncio.sleep(max(0.0, self._last + GATHER_S - time.monotonic()))
            raw = self._come(max_bytes)
        raw = raw or await self._receive(max_bytes)
        now = time.monotonic()
        self._full, self._last, self._gap_s = len(raw) >= max_bytes, now, now - self._last
        return raw

    def _come(self, max_bytes: int) -> bytes:
        """What has come already; perhaps nothing. To have the event loop wait for it and read it
        is a tenth of what a fast stream costs."""
        if self._fd < 0 or self._queue or self._transport.is_closing():
            return b""
        try:
            return os.read(self._fd, max_bytes)  # Never waits; the loop's own reads pause.
        except BlockingIOError:
            return b""
        except OSError as error:
            import anyio

            raise anyio.BrokenResourceError from error


class _Watched:
    """A connection whose reads and writes are watched.

    The library's parser gets the head of an answer by itself. So the chunks of its body can pass it
    by: for each it would take as long as for a read. It gets all that is no plain chunk with
    content: the end, extensions, trailers, faults.

    Args:
        connection: of the library, which reads and writes by this from now on.
    """

    def __init__(self, connection: AsyncNetworkStream) -> None:
        self._stream: Any = getattr(connection, "_stream", None)
        self._library_reads, self._library_writes = connection.read, connection.write
        vars(connection).update(read=self.read, write=self.write)
        self._gathering: _Gathering | None = None
        self._limit, self._timeout_s = TimeLimit(), math.inf
        self._head: bytes | None = b""
        """The last bytes of the head; None once it is whole."""
        self._at_body = False
        """Whether the parser has got the head, and nothing else."""
        self._rest = b""
        """What has been read and is the parser's next."""
        self._error: Exception | None = None
        """That has ended the connection, for the parser's next read."""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write a part of a request: what is read next is the head of its answer."""
        self._head = b""
        await self._library_writes(buffer, timeout)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What the parser is to get next; nothing at the end of the connection."""
        self._at_body, self._timeout_s = False, math.inf if timeout is None else timeout
        given, self._rest = self._rest, b""
        if not given:
            own = self._gathering
            given = await (self._read(own) if own else self._library_reads(max_bytes, timeout))
            if not given and self._error is not None:
                raise self._error
        if self._head is None:
            return given
        text = self._head + given
        if not self._head and not text.startswith(b"HTTP/"):  # A proxy's own protocol, or a fault.
            self._head = None
            return given
        if (end := _HEAD_END.search(text)) is None:
            self._head = text[-2:]
            return given
        self._rest, self._head, self._at_body = text[end.end() :], None, True
        return given[: len(given) - len(self._rest)]

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Gather what comes, until the end of an answer.

        Others may use the connection by then, and gather by themselves.
        """
        source = _socket_of(self._stream)
        if source is None:
            yield
            return
        own = self._gathering = _Gathering(source)
        receive = vars(source)["receive"] = own.receive
        try:
            yield
        finally:
            if self._gathering is own:
                self._gathering = None
                self._limit.close()
            if vars(source).get("receive") is receive:
                del vars(source)["receive"]

    async def content(self) -> bytes:
        """The content of the chunks that come next; nothing if the parser is to go on."""
        while self._at_body and self._gathering is not None:
            if self._rest:
                content, self._rest, more_may_come = contents(self._rest)
                if content:
                    return content
                if not more_may_come:
                    break
            more = await self._read(self._gathering)
            self._rest += more
            self._at_body = bool(more)
        return b""

    async def _read(self, gathering: _Gathering) -> bytes:
        """What has come, once something has; nothing at the connection's end, for which there may
        be an error. There is no new limit of time for each read: to begin and end one costs more
        than the read."""
        found: list[bytes] = []
        if self._error is not None:
            return b""
        try:
            with self._limit.of(self._timeout_s):
                found.append(await self._stream.receive(_READ_BYTES))
                # One read of an encrypted stream gives one record, however many have come.
                while self._stream is not gathering.source:
                    gathering.waits = False
                    found.append(await self._stream.receive(_READ_BYTES))
        except _NothingMore:
            pass
        except Exception as error:
            import anyio
            import httpcore2

            if isinstance(error, TimeoutError):
                self._error = httpcore2.ReadTimeout(str(error))
            elif isinstance(error, (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)):
                self._error = httpcore2.ReadError(str(error))
            elif not isinstance(error, anyio.EndOfStream):
                raise
        finally:
            gathering.waits = True
        return b"".join(found)


def contents(raw: bytes) -> tuple[bytes, bytes, bool]:
    """What has come of the chunks at the beginning of a body's bytes.

    A chunk that has begun counts as two, one with what has come and one with what has not: nothing
    waits for its end, and the rest can still be given to a parser.

    Returns:
        The content, the bytes that are left, and whether they may become a chunk with content.
    """
    found, at = [], 0
    while head := _SIZE.match(raw, at):
        begin, size = head.end(), int(head[1], 16)
        end = begin + size
        if size and raw.startswith(b"\r\n", end):
            found.append(raw[begin:end])
            at = end + 2
            continue
        if not size or not b"\r\n".startswith(raw[end:]):
            break
        come = raw[begin:end][: size - 1]  # One byte is left for the end of the chunk.
        rest = b"%x\r\n" % (size - len(come)) + raw[begin + len(come) :]
        return b"".join([*found, come]), rest, True
    rest = raw[at:]
    return b"".join(found), rest, not rest or _SIZE_BEGUN.fullmatch(rest) is not None
