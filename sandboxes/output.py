"""Collects a command's output within a size limit, passing each chunk on as it arrives."""

from __future__ import annotations

import time

from sandboxes.base import ExecResult, OnOutput

STREAMS = ("stdout", "stderr")


class Output:
    """Both output streams of one command. Of each stream only the first and the last half of
    ``max_bytes`` are kept."""

    def __init__(self, max_bytes: int, on_output: OnOutput | None = None) -> None:
        self._streams = {name: _HeadAndTail(max_bytes) for name in STREAMS}
        self._on_output = on_output

    def add(self, stream: str, chunk: bytes) -> None:
        self._streams[stream].add(chunk)
        if self._on_output is not None:
            self._on_output(stream, chunk)

    def result(self, exit_code: int | None, limit: str | None, began: float) -> ExecResult:
        """How the command ended.

        Args:
            exit_code: None if a limit ended it.
            limit: that was reached; ``time`` is the deadline.
            began: ``time.monotonic()`` when it began.
        """
        kept = {name: stream.kept() for name, stream in self._streams.items()}
        return ExecResult(
            exit_code=exit_code,
            **kept,
            duration_s=time.monotonic() - began,
            timed_out=limit == "time",
            limit=None if limit == "time" else limit,
            truncated=any(stream.truncated for stream in self._streams.values()),
        )


class _HeadAndTail:
    def __init__(self, max_bytes: int) -> None:
        self._head_size = max_bytes - max_bytes // 2
        self._tail_size = max_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.truncated = False

    def add(self, chunk: bytes) -> None:
        room = self._head_size - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        # Trimmed only at twice the size, so that a flood of small chunks costs no copy each.
        if len(self._tail) > 2 * self._tail_size:
            self._trim()

    def kept(self) -> bytes:
        self._trim()
        return bytes(self._head + self._tail)

    def _trim(self) -> None:
        excess = len(self._tail) - self._tail_size
        if excess > 0:
            del self._tail[:excess]
            self.truncated = True
