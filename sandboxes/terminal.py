"""A command on a pseudo-terminal in a container, used as pexpect uses programs.

It reads from the engine's socket, so no container client is needed, and keeps the sandbox's limits.
"""

from __future__ import annotations

import math
import time
from typing import Any

from pexpect import EOF, TIMEOUT
from pexpect.socket_pexpect import SocketSpawn

from sandboxes.base import SandboxError, Talk
from sandboxes.execution import early_bytes, plain_socket
from sandboxes.watch import Watch

ROWS, COLUMNS = 40, 120
_CHUNK = 64 * 1024
_SEND_S = 10.0


class SandboxLimitError(SandboxError):
    """The command has used up its time or disk; it ends the conversation."""


class SocketTerminal(SocketSpawn):  # type: ignore[type-arg]  # generic in its stubs alone
    """A pexpect spawn: ``read_nonblocking``, ``send`` and what is built on them, in bytes. It
    implements :class:`sandboxes.base.Terminal`.

    Raises ``pexpect.EOF`` once the command has closed its terminal, ``pexpect.TIMEOUT`` if nothing
    came in time, and SandboxLimitError, which :func:`hold` catches.
    """

    def __init__(self, raw: Any, watch: Watch) -> None:
        self._early = early_bytes(raw)
        self._watch = watch
        socket = plain_socket(raw)
        socket.settimeout(_SEND_S)  # A program that takes no input must not hold up its limits.
        super().__init__(socket, maxread=_CHUNK)
        self.delaybeforesend = None

    def read_nonblocking(self, size: int = _CHUNK, timeout: float | None = -1) -> bytes:
        if self._early:
            found, self._early = self._early, b""
            return found
        wanted = self.timeout if timeout == -1 else timeout
        patience = math.inf if wanted is None else time.monotonic() + wanted
        while True:
            if limit := self._watch.reached():
                raise SandboxLimitError(limit)
            left = min(patience - time.monotonic(), self._watch.pause_s)
            try:
                return bytes(super().read_nonblocking(size, max(0.001, left)))
            except TIMEOUT:
                if time.monotonic() >= patience:
                    raise
            except ConnectionError as error:
                raise EOF("the terminal was closed") from error

    def send(self, s: Any) -> int:
        try:
            return super().send(s)
        except ConnectionError as error:
            raise EOF("the terminal was closed") from error
        except TimeoutError as error:
            raise SandboxError(f"a program took no input for {_SEND_S:g} s") from error


def hold(talk: Talk, raw: Any, watch: Watch) -> str | None:
    """Hold a conversation over what ``exec_start(..., socket=True)`` returned; the limit that ended
    it, ``time`` or ``disk``, if one did."""
    try:
        talk(SocketTerminal(raw, watch))
    except SandboxLimitError as reached:
        return str(reached)
    return None
