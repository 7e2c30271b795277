"""Reads fast streams in fewer pieces, as each that is passed on costs the same, however small."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from harnesses.gateway.time_limit import TimeLimit

if TYPE_CHECKING:
    from httpcore2 import AsyncNetworkStream

Read = Callable[[int, float | None], Awaitable[bytes]]

GATHER_S = 0.006
"""Seconds for which nothing is read of a fast stream, after something has been."""
_HELD_BYTES = 256 * 1024


class _Gathering:
    """What has been read of a stream and not been taken yet."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._ended = False
        self._ready, self._taken = asyncio.Event(), asyncio.Event()
        self._last, self._gap_s = -math.inf, math.inf

    async def pause(self) -> None:
        """To be awaited before each read of the connection: what was read before can be taken. If
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
                    self._held += chunk
                    while len(self._held) > _HELD_BYTES:
                        self._ready.set()
                        self._taken.clear()
                        await self._taken.wait()
        finally:
            self._ended = True
            self._ready.set()

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
        connection: that they are read from.
    """
    gathering = _Gathering()

    async def read() -> None:
        with _read_by(connection, gathering):
            await gathering.read(chunks)

    reading = asyncio.ensure_future(read())
    try:
        while taken := await gathering.take():
            yield taken
        await reading
    finally:
        reading.cancel()
        await asyncio.wait({reading})


@contextmanager
def _read_by(connection: AsyncNetworkStream, gathering: _Gathering) -> Iterator[None]:
    """Pause before the reads of a connection: it alone knows when all has been read that has come.

    At the end of a stream others may use the connection already, and gather by themselves.
    """
    limit = TimeLimit()
    original = _read_at_less_cost(connection, limit)

    async def paced(max_bytes: int, timeout: float | None = None) -> bytes:
        await gathering.pause()
        try:
            return await original(max_bytes, timeout)
        finally:
            gathering.came()

    methods = vars(connection)
    methods["read"] = paced
    try:
        yield
    finally:
        limit.close()
        if methods.get("read") is paced:
            del methods["read"]


def _read_at_less_cost(connection: AsyncNetworkStream, limit: TimeLimit) -> Read:
    """The connection's way to read, without the cost of a new limit of time for each read, which is
    half of all."""
    import anyio
    import httpcore2

    stream = getattr(connection, "_stream", None)
    if not isinstance(stream, anyio.abc.ByteReceiveStream):
        return partial(type(connection).read, connection)

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
