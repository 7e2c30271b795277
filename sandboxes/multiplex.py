"""Many connections over one pair of byte streams, such as a container's standard input and output.

Standard library alone, since this very file is also the program of a relay: ``python3 - PORT...``
listens on ports of 127.0.0.1, and carries their connections to whoever is at its other end.

A frame has a type (1 byte), the number of its connection (4) and a length (4), then so many bytes.
OPEN has a port as its content. CREDIT has no content: its length is what may be sent besides.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Awaitable, Callable

HELLO, OPEN, DATA, EOF, RESET, CREDIT = range(6)
WINDOW = 256 * 1024
"""Bytes of one connection that may be under way, so that one that is not read holds up no other."""
MOST = 220
"""Connections of a port that are carried at a time; more wait."""

_HEADER = struct.Struct(">BII")
_CHUNK = 64 * 1024

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Stream:
    """One connection."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.credit = WINDOW
        self.may_send = asyncio.Event()
        self.owed = 0
        self.tasks: list[asyncio.Task[None]] = []

    def reset(self) -> None:
        for task in self.tasks:
            task.cancel()


class Multiplexer:
    """One end. What the other end sends is given to :meth:`feed`.

    Args:
        send: sends bytes to the other end, and waits until there is room for more.
        dial: makes the connection to a port that the other end asks for.
    """

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[None]],
        dial: Callable[[int], Awaitable[Connection]] | None = None,
    ) -> None:
        self._send = send
        self._dial = dial
        self._streams: dict[int, _Stream] = {}
        self._last = 0
        self._pending = bytearray()
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.greeted = asyncio.Event()
        """Set once the other end has said that it listens."""

    async def greet(self) -> None:
        """Say that this end listens."""
        await self._frame(HELLO, 0)

    async def carry(self, port: int, connection: Connection) -> None:
        """Carry a connection to the other end's port until it ends."""
        self._last += 1
        stream = self._streams[self._last] = _Stream()
        await self._frame(OPEN, self._last, port.to_bytes(2, "big"))
        await self._pass(self._last, stream, connection)

    def feed(self, received: bytes) -> None:
        """Take what the other end has sent.

        Raises:
            ValueError: it is no frame, or more than may be under way.
        """
        self._pending += received
        at, end = 0, len(self._pending)
        while end - at >= _HEADER.size:
            kind, number, length = _HEADER.unpack_from(self._pending, at)
            size = 0 if kind == CREDIT else length
            if kind > CREDIT or size > WINDOW:
                raise ValueError(f"a frame of type {kind} with {length} bytes")
            if end - at - _HEADER.size < size:
                break
            at += _HEADER.size
            self._take(kind, number, bytes(self._pending[at : at + size]), length)
            at += size
        del self._pending[:at]

    def close(self) -> None:
        """End all connections."""
        for stream in list(self._streams.values()):
            stream.reset()
        for task in list(self._tasks):
            task.cancel()

    def _take(self, kind: int, number: int, data: bytes, length: int) -> None:
        if kind == HELLO:
            self.greeted.set()
            return
        if kind == OPEN:
            stream = self._streams[number] = _Stream()
            task = asyncio.ensure_future(self._answer(number, stream, int.from_bytes(data, "big")))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        if (found := self._streams.get(number)) is None:
            return  # It has ended here already.
        if kind == DATA:
            found.owed += len(data)
            if found.owed > WINDOW:
                raise ValueError("more bytes than there was room for")
            found.incoming.put_nowait(data)
        elif kind == EOF:
            found.incoming.put_nowait(None)
        elif kind == RESET:
            found.reset()
        else:
            found.credit += length
            found.may_send.set()

    async def _answer(self, number: int, stream: _Stream, port: int) -> None:
        try:
            if self._dial is None:
                raise ConnectionRefusedError
            connection = await self._dial(port)
        except OSError:
            self._streams.pop(number, None)
            with contextlib.suppress(OSError):
                await self._frame(RESET, number)
            return
        with contextlib.suppress(OSError):  # The other end has gone, and all connections with it.
            await self._pass(number, stream, connection)

    async def _pass(self, number: int, stream: _Stream, connection: Connection) -> None:
        """Pass bytes both ways until both sides have ended, or one has broken."""
        reader, writer = connection
        stream.tasks = [
            asyncio.ensure_future(self._outward(number, stream, reader)),
            asyncio.ensure_future(self._inward(number, stream, writer)),
        ]
        try:
            await asyncio.wait(stream.tasks, return_when=asyncio.FIRST_EXCEPTION)
            stream.reset()
            ended = await asyncio.gather(*stream.tasks, return_exceptions=True)
            if any(isinstance(result, BaseException) for result in ended):
                writer.transport.abort()
                await self._frame(RESET, number)
        finally:
            self._streams.pop(number, None)
            stream.reset()
            writer.close()

    async def _outward(self, number: int, stream: _Stream, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            while data:
                while stream.credit <= 0:
                    stream.may_send.clear()
                    await stream.may_send.wait()
                part, data = data[: stream.credit], data[stream.credit :]
                stream.credit -= len(part)
                await self._frame(DATA, number, part)
        await self._frame(EOF, number)

    async def _inward(self, number: int, stream: _Stream, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while (data := await stream.incoming.get()) is not None:
            writer.write(data)
            await writer.drain()
            passed += len(data)
            if passed >= WINDOW // 4:
                stream.owed -= passed
                await self._frame(CREDIT, number, length=passed)
                passed = 0
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _frame(self, kind: int, number: int, data: bytes = b"", length: int = 0) -> None:
        async with self._sending:
            await self._send(_HEADER.pack(kind, number, length or len(data)) + data)


async def _accept(mux: Multiplexer, port: int, listener: socket.socket) -> None:
    """Carry the connections of a port. Not more are accepted than are carried: a flood of them
    must not end the relay."""
    room = asyncio.Semaphore(MOST)
    carried: set[asyncio.Task[None]] = set()

    async def one(client: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await mux.carry(port, await asyncio.open_connection(sock=client))
        finally:
            client.close()
            room.release()

    while True:
        await room.acquire()
        client, _ = await asyncio.get_running_loop().sock_accept(listener)
        task = asyncio.ensure_future(one(client))
        carried.add(task)
        task.add_done_callback(carried.discard)


async def relay(ports: list[int]) -> None:
    """Listen on ports until standard input ends, as it does with the process at the other end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, sys.stdout.buffer
    )
    writer = asyncio.StreamWriter(transport, protocol, None, loop)

    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    mux = Multiplexer(send)
    accepting = []
    for port in ports:
        listener = socket.create_server(("127.0.0.1", port), backlog=64)
        listener.setblocking(False)
        accepting.append(asyncio.ensure_future(_accept(mux, port, listener)))
    await mux.greet()
    while data := await reader.read(WINDOW):
        mux.feed(data)
    for task in accepting:
        task.cancel()
    mux.close()


if __name__ == "__main__":
    asyncio.run(relay([int(port) for port in sys.argv[1:]]))
