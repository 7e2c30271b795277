"""The output stream of a container or of one command in it, read with a time limit.

The SDK's own generator has no deadline and may lose the first bytes.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from sandboxes.base import SandboxError
from sandboxes.output import STREAMS

_HEADER = 8
_CHUNK = 64 * 1024


def plain_socket(raw: Any) -> socket.socket:
    """The socket in what ``APIClient.exec_start(..., socket=True)`` returns."""
    found: socket.socket = getattr(raw, "_sock", raw)
    return found


def early_bytes(raw: Any) -> bytes:
    """Output that arrived in the same packet as the response's headers. It waits in the HTTP
    client's buffer, out of reach of whoever reads the socket. To be called once, first."""
    buffered = raw._response.raw._fp.fp
    plain_socket(raw).setblocking(False)
    try:
        found = buffered.peek()
        return bytes(buffered.read(len(found))) if found else b""
    except OSError:
        return b""


class Chunks(Protocol):
    """The output of a command, as it comes."""

    def read(self, timeout_s: float) -> list[tuple[str, bytes]] | None:
        """Chunks with the name of their stream; none if nothing came in time, None at the end."""


class ExecStream:
    """Wraps what ``exec_start(..., socket=True)`` and ``attach_socket`` of the SDK return.
    Implements :class:`Chunks`."""

    def __init__(self, raw: Any) -> None:
        self._response = raw._response
        self._socket = plain_socket(raw)
        self._pending = bytearray(early_bytes(raw))
        self._ended = False

    def close(self) -> None:
        self._response.close()

    def read(self, timeout_s: float) -> list[tuple[str, bytes]] | None:
        if self._pending and (ready := self._frames()):
            return ready
        if self._ended:
            return None
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            received = self._socket.recv(_CHUNK)
        except TimeoutError:
            return []
        self._ended = not received
        self._pending += received
        return None if self._ended else self._frames()

    def rest(self, patience_s: float, until: Callable[[bytes], bool] = lambda _: False) -> bytes:
        """All output to the end, or until ``until`` accepts what has come so far.

        Raises SandboxError if it takes longer than ``patience_s``.
        """
        end = time.monotonic() + patience_s
        output = b""
        while not until(output) and (chunks := self.read(end - time.monotonic())) is not None:
            output += b"".join(chunk for _, chunk in chunks)
            if time.monotonic() >= end:
                raise SandboxError(f"the engine did not deliver the output within {patience_s:g} s")
        return output

    def _frames(self) -> list[tuple[str, bytes]]:
        """The complete frames of what has been received: type, three zeros, length, data."""
        frames = []
        while len(self._pending) >= _HEADER:
            end = _HEADER + int.from_bytes(self._pending[4:_HEADER], "big")
            if len(self._pending) < end:
                break
            name = STREAMS[1] if self._pending[0] == 2 else STREAMS[0]
            frames.append((name, bytes(self._pending[_HEADER:end])))
            del self._pending[:end]
        return frames
