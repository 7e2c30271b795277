"""Servers inside this process: one asyncio server in a thread of its own, and passing bytes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from sandboxes.base import SandboxError

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_START_S = _STOP_S = 10.0
_CHUNK = 64 * 1024


@contextmanager
def served(start: Callable[[], Awaitable[asyncio.Server]], name: str) -> Iterator[asyncio.Server]:
    """Run a server until the block ends; connections that are still open then are dropped.

    Args:
        start: makes the server listen.
        name: of the server, for its thread and for errors.

    Raises:
        SandboxError: the server cannot listen.
    """
    loop = asyncio.new_event_loop()
    listening: Future[asyncio.Server] = Future()
    serve = threading.Thread(target=_serve, args=(loop, start, listening), name=name, daemon=True)
    serve.start()
    try:
        server = listening.result(_START_S)
    except OSError as error:
        raise SandboxError(f"the {name} cannot listen: {error}") from error
    try:
        yield server
    finally:
        with suppress(RuntimeError):  # The loop has ended by itself.
            loop.call_soon_threadsafe(loop.stop)
        serve.join(_STOP_S)


def _serve(
    loop: asyncio.AbstractEventLoop,
    start: Callable[[], Awaitable[asyncio.Server]],
    listening: Future[asyncio.Server],
) -> None:
    asyncio.set_event_loop(loop)
    try:
        server = loop.run_until_complete(start())
        listening.set_result(server)
        loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_STOP_S / 2))
    except OSError as error:
        listening.set_exception(error)
    finally:
        loop.close()


def until_stopped(handler: Handler) -> Handler:
    """A handler of connections that ends quietly when it is cancelled, and closes its connection.
    Servers report the cancellation of handlers as an error of the program."""

    async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):
            try:
                await handler(reader, writer)
            finally:
                writer.close()

    return quiet


async def pass_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    passed: Callable[[], None] = lambda: None,
) -> None:
    """Pass bytes from one side to the other until the first one ends.

    Args:
        reader: the side that bytes come from.
        writer: the side that they go to.
        passed: is called whenever some have come.
    """
    try:
        while data := await reader.read(_CHUNK):
            passed()
            writer.write(data)
            await writer.drain()
            passed()
    except OSError:
        _end(writer)
        raise
    _end(writer)


def _end(writer: asyncio.StreamWriter) -> None:
    """Tell the other side that nothing more comes."""
    if writer.can_write_eof():
        with suppress(OSError):
            writer.write_eof()
