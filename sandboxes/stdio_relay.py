"""A relay whose own standard input and output are the way to this machine: nothing is mounted and
no port is published. The other end of its connections is here.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
import ssl
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandboxes import multiplex
from sandboxes.base import Limits, SandboxError, SandboxSpec
from sandboxes.docker import IDLE_USER, RELAY_KIND
from sandboxes.execution import plain_socket
from sandboxes.multiplex import WINDOW, Connection, Multiplexer
from sandboxes.relay import Relay

# Measured: 14 MB at rest; every connection may hold a few times its window.
_LIMITS = Limits(memory_mb=256, cpus=1.0, pids=16, disk_mb=1)
_FRAME_HEADER = 8
_STDOUT = 1
_SAID_BYTES = 4000
_STOP_S = 5.0
_CONNECT_S, _RETRY_S = 30.0, 0.01


class StdioRelay(Relay):
    """Does what :class:`sandboxes.relay.Relay` does, for an engine that cannot mount its sockets.
    Its image has python3."""

    _raw: Any = None
    _thread: threading.Thread | None = None
    _said = b""
    _ended = ""

    def check(self) -> None:
        super().check()
        if self._ended:
            raise SandboxError(f"the relay has ended: {self._ended}; start a new one")

    def stop(self) -> None:
        super().stop()
        if self._thread is not None:
            self._thread.join(_STOP_S)  # Its stream has ended with the container.
            self._thread = None
            self._raw._response.close()

    def _create(self) -> str:
        program = Path(multiplex.__file__).read_text("utf-8")
        command = ("python3", "-I", "-c", program, *map(str, self._sockets))
        spec = SandboxSpec(self._image, "/", limits=_LIMITS, network=self._network)
        return self._engine.launch(
            spec, kind=RELAY_KIND, user=IDLE_USER, command=command, stdin=True
        )

    def _start_and_wait(self, container: str) -> None:
        engine = self._engine
        ready: Future[None] = Future()
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        with engine.errors(f"starting a relay from {self._image}"):
            # Before it starts: with the stream that is attached first, its standard input ends.
            self._raw = engine.api.attach_socket(container, wanted)
            self._thread = threading.Thread(
                target=self._serve, args=(ready,), name="relay", daemon=True
            )
            self._thread.start()
            try:
                engine.start(container)
                ready.result(engine.patience_s)
            except (SandboxError, TimeoutError) as error:
                raise SandboxError(self._reason(error)) from error

    def _reason(self, error: Exception) -> str:
        said = self._said.decode(errors="replace").strip()
        reason = said or self._ended or str(error) or f"silent for {self._engine.patience_s} s"
        advice = ""
        if "python3" in reason:
            advice = f"; {self._image} has no python3: build it anew with `skillopt images build`"
        return f"the relay does not listen: {reason}{advice}"

    def _serve(self, ready: Future[None]) -> None:
        try:
            with _plain(plain_socket(self._raw)) as stream:
                asyncio.run(self._carry(stream, ready))
            self._ended = "its stream has ended"
        except (OSError, ValueError) as error:  # Of the engine's connection, or not our frames.
            self._ended = str(error) or type(error).__name__
        finally:
            if not ready.done():
                ready.set_exception(SandboxError(self._ended or "its stream has ended"))

    async def _carry(self, stream: socket.socket, ready: Future[None]) -> None:
        loop = asyncio.get_running_loop()
        stream.setblocking(False)

        async def send(data: bytes) -> None:
            await loop.sock_sendall(stream, data)

        async def dial(port: int) -> Connection:
            return await _connected(self._sockets[port])

        mux = Multiplexer(send, dial)
        pending = bytearray()
        try:
            while received := await loop.sock_recv(stream, WINDOW):
                pending += received
                self._take_frames(pending, mux)
                if mux.greeted.is_set() and not ready.done():
                    ready.set_result(None)
        finally:
            mux.close()

    def _take_frames(self, pending: bytearray, mux: Multiplexer) -> None:
        """Take the engine's own frames: which stream, three zeros, a length, and the content."""
        at = 0
        while len(pending) - at >= _FRAME_HEADER:
            start = at + _FRAME_HEADER
            end = start + int.from_bytes(pending[at + 4 : start], "big")
            if len(pending) < end:
                break
            content = bytes(pending[start:end])
            if pending[at] == _STDOUT:
                mux.feed(content)
            else:
                self._said = (self._said + content)[-_SAID_BYTES:]
            at = end
        del pending[:at]


def _plain(stream: socket.socket) -> socket.socket:
    """A socket that asyncio can read: the stream itself, or, if that is encrypted, one end of a
    pair whose other end a thread joins with it."""
    if not isinstance(stream, ssl.SSLSocket):
        return stream
    mine, other = socket.socketpair()
    threading.Thread(target=_join, args=(stream, other), daemon=True).start()
    return mine


def _join(encrypted: Any, plain: socket.socket) -> None:
    """Pass bytes both ways until one side ends. In one thread, as TLS wants it, and so that neither
    way waits for the other."""
    encrypted.setblocking(False)
    unsent = memoryview(b"")
    with encrypted, plain, selectors.DefaultSelector() as selector, suppress(OSError):
        selector.register(encrypted, selectors.EVENT_READ)
        selector.register(plain, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select(0 if encrypted.pending() else None)}
            if not unsent and plain in ready:
                unsent = memoryview(plain.recv(WINDOW))
                if not unsent:
                    return
                selector.unregister(plain)
                selector.modify(encrypted, selectors.EVENT_READ | selectors.EVENT_WRITE)
            if unsent:
                with suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                    unsent = unsent[encrypted.send(unsent) :]
                if not unsent:
                    selector.register(plain, selectors.EVENT_READ)
                    selector.modify(encrypted, selectors.EVENT_READ)
            with suppress(ssl.SSLWantReadError):  # A record without content, or a part of one.
                if not (data := encrypted.recv(WINDOW)):
                    return
                plain.sendall(data)


async def _connected(path: Path) -> Connection:
    """A connection to a socket of this machine, which may have to wait for its server."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _CONNECT_S
    while True:
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        try:
            client.connect(os.fspath(path))
            return await asyncio.open_unix_connection(sock=client)
        except BlockingIOError:  # More wait for the server than it lets. asyncio would not see it.
            client.close()
            if loop.time() >= end:
                raise
            await asyncio.sleep(_RETRY_S)
        except BaseException:
            client.close()
            raise
