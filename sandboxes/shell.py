"""Many commands of one sandbox, run one after another by one shell in it.

To start a command beside a container's own process takes the engine 60 ms, half of it work. A shell
that is that process starts one in 5 ms. As the container's first process it cannot be ended by a
signal of its commands.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from sandboxes.base import SandboxError
from sandboxes.execution import ExecStream, plain_socket
from sandboxes.output import STREAMS

SHELL = ("sh",)
"""Reads commands from its standard input; each is complete before anything of the next is sent."""
_SEND_S = 10.0
_MOST_DIGITS = 3
"""Of an exit code."""
_FORGED = 255
"""The exit code of a command that has found out its mark and wrote something else behind it."""


class Shell:
    """A running :data:`SHELL`.

    Its commands are those of somebody who is not trusted. They run as its user, so they may read
    what it is told or tell it something, and write into its output while another runs; that is
    between them.

    Args:
        raw: what ``attach_socket`` returned for it.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._stream = ExecStream(raw)

    def close(self) -> None:
        self._stream.close()

    def begin(self, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Running:
        """Start a command, with standard input closed; raises SandboxError if that takes 10 s."""
        mark = secrets.token_hex(16)
        given = [f"{name}={value}" for name, value in env.items()]
        words = shlex.join([*(("env", *given) if given else ()), *argv])
        script = (
            f"(cd {shlex.quote(cwd)} || exit 126; exec {words}) < /dev/null\n"
            f"printf '{mark}%-{_MOST_DIGITS}d' $?; printf {mark} >&2\n"
        )
        socket = plain_socket(self._raw)
        socket.settimeout(_SEND_S)
        try:
            socket.sendall(script.encode("utf-8", "replace"))
        except TimeoutError as error:
            raise SandboxError(f"a sandbox took no command for {_SEND_S:g} s") from error
        except ConnectionError:
            pass  # It has been ended; its output ends too, and the engine says how.
        return Running(self._stream, mark.encode())


class Running:
    """One command of a :class:`Shell`. Implements :class:`sandboxes.execution.Chunks`."""

    def __init__(self, stream: ExecStream, mark: bytes) -> None:
        self._stream = stream
        self._waiting = {name: bytearray() for name in STREAMS}
        """What has come of each stream and may be the begin of its end."""
        self._ends = {"stdout": (mark, _MOST_DIGITS), "stderr": (mark, 0)}
        self.exit_code: int | None = None
        """None until it has ended, and if its shell has ended before."""

    def read(self, timeout_s: float) -> list[tuple[str, bytes]] | None:
        if not self._ends:
            return None
        chunks = self._stream.read(timeout_s)
        if chunks is None:
            return self._rest()
        passed = ((name, self._passed(name, chunk)) for name, chunk in chunks)
        return [(name, chunk) for name, chunk in passed if chunk]

    def _passed(self, name: str, chunk: bytes) -> bytes:
        """What can be told of a stream to which a chunk is added."""
        waiting = self._waiting[name]
        waiting += chunk
        if name not in self._ends:  # Of what runs on in the background.
            return _taken(waiting, len(waiting))
        mark, more = self._ends[name]
        at = waiting.find(mark)
        if at < 0:
            begun = next(n for n in range(len(mark) - 1, -1, -1) if waiting.endswith(mark[:n]))
            return _taken(waiting, len(waiting) - begun)
        if len(waiting) < at + len(mark) + more:
            return _taken(waiting, at)
        passed = _taken(waiting, at)
        if more:
            code = bytes(waiting[len(mark) : len(mark) + more]).strip()
            self.exit_code = int(code) if code.isdigit() else _FORGED
        del waiting[: len(mark) + more]
        del self._ends[name]
        return passed

    def _rest(self) -> list[tuple[str, bytes]] | None:
        """What was still waiting when the shell ended."""
        self._ends = {}
        self.exit_code = None
        return [(name, bytes(rest)) for name, rest in self._waiting.items() if rest] or None


def _taken(waiting: bytearray, size: int) -> bytes:
    taken = bytes(waiting[:size])
    del waiting[:size]
    return taken
