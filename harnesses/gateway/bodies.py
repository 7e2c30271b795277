"""Reads request bodies within bounds, so that no agent can use up this process's memory or time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from harnesses.gateway.session import Session
from harnesses.json_values import loads
from sandboxes.errors import SkillOptError

if TYPE_CHECKING:
    from starlette.requests import Request

MAX_BODY = 20 * 1024 * 1024
"""The most bytes of one request; a million tokens of text are four."""
ROOM = 64 * 1024 * 1024
"""Estimated bytes in memory of all large requests that are being read or answered."""
READ_S = 20.0
"""Seconds in which a request must have come."""
_SMALL = 128 * 1024
_COPIES = 3
"""A request is in memory as it came, as values, and as it leaves."""


_COSTS = ((b"[", 60), (b"{", 60), (b'"', 30), (b",", 8))
"""Bytes in memory, at least, for each of these characters."""


class BodyError(SkillOptError):
    """A request cannot be taken. The message says why; ``status`` is for the client."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Bodies:
    """The requests of all sessions. Used from the gateway's event loop only."""

    def __init__(self) -> None:
        self._room = ROOM
        self._freed = asyncio.Condition()

    @asynccontextmanager
    async def read(
        self, request: Request, session: Session
    ) -> AsyncIterator[tuple[Any, bytes | None]]:
        """A request's body as JSON, and as it came if it is to pass as it is. A large one waits for
        room, and keeps it until it is answered.

        Args:
            request: to read.
            session: of the client, of which one request is read at a time.

        Raises:
            BodyError: it is too large, does not come in time, or is no JSON.
        """
        taken = 0
        try:
            # What is slow to come is on disk meanwhile.
            with SpooledTemporaryFile(max_size=_SMALL) as spool:
                async with session.reading:
                    cost = await _spooled(request, spool)
                if cost > _COPIES * _SMALL:
                    session.service_time.begin(spool)
                    taken = await self._take(cost)
                    session.service_time.end(spool)
                spool.seek(0)
                raw = spool.read()
                value = _parsed(raw)
            yield value, raw if session.login else None
        finally:
            if taken:
                await self._give_back(taken)

    async def _take(self, size: int) -> int:
        async with self._freed:
            await self._freed.wait_for(lambda: self._room >= size)
            self._room -= size
        return size

    async def _give_back(self, size: int) -> None:
        self._room += size
        async with self._freed:
            self._freed.notify_all()


async def _spooled(request: Request, spool: IO[bytes]) -> int:
    """Write a body to a file; its bytes in memory, estimated."""
    size = cost = 0
    try:
        async with asyncio.timeout(READ_S):
            async for chunk in request.stream():
                spool.write(chunk)
                size += len(chunk)
                cost += in_memory(chunk) + (_COPIES - 1) * len(chunk)
                if size > MAX_BODY:
                    raise BodyError(413, f"it has more than {MAX_BODY >> 20} MiB")
                if cost > ROOM:
                    raise BodyError(413, "it has too many values")
    except TimeoutError:
        raise BodyError(408, f"it did not come within {READ_S:g} s") from None
    return cost


def in_memory(raw: bytes) -> int:
    """Bytes that a JSON text takes as values, estimated: a value may cost far more than the two
    characters that it is long."""
    return len(raw) + sum(raw.count(mark) * cost for mark, cost in _COSTS)


def _parsed(raw: bytes) -> Any:
    try:
        return loads(raw)
    except ValueError as error:
        raise BodyError(400, f"request is not JSON: {error}") from error
