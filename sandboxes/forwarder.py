"""A loopback port of this machine that leads to a Unix socket: for local sandboxes what a relay is
for containers. Whatever listens on the socket has to authenticate its clients.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, suppress
from pathlib import Path

from sandboxes.serving import pass_on, served, until_stopped


class Forwarder:
    """Forwards connections until it is closed. A context manager.

    Args:
        socket: that connections lead to.

    Raises:
        SandboxError: on entry, if it cannot listen.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._stack = ExitStack()
        self.port = 0
        """The port of ``127.0.0.1``, once it listens."""

    def __enter__(self) -> Forwarder:
        server = self._stack.enter_context(served(self._listen, f"forwarder to {self._socket}"))
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(until_stopped(self._client), "127.0.0.1", 0)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # If one of the two is gone, the other sees its connection end.
            far_reader, far_writer = await asyncio.open_unix_connection(self._socket)
            try:
                await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))
            finally:
                far_writer.close()
