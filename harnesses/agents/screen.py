"""The screen that a person would see of an agent on a terminal, and its recording.

``terminal.cast`` is an asciicast v2 file, written as output comes; ``screen.txt`` has the screen as
text at each important moment. An agent's output is untrusted.
"""

from __future__ import annotations

import codecs
import json
import re
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import TextIO

import pyte

from sandboxes.terminal import COLUMNS, ROWS

CAST, TEXT = "terminal.cast", "screen.txt"
CAST_BYTES = 32 * 1024 * 1024
"""The size at which a recording ends, but not the conversation."""
_FRAMES = 32
"""The last screens that are compared; more than an animation has."""
_REPLIES = 8
"""The most answers to questions about the terminal that a chunk of output gets."""
_KEYBOARD = re.compile(rb"\x1b\[[<=>][0-9;:]*[a-z]")
"""Requests for keyboard protocols, which the emulator would print."""
_PARSE_ERRORS = (TypeError, ValueError, LookupError, AttributeError, AssertionError, OverflowError)


class Screen:
    """An emulated terminal. A context manager: closes its files on exit.

    Args:
        folder: for the recording.
    """

    def __init__(self, folder: Path) -> None:
        self.changed = time.monotonic()
        self._began = self.changed
        self._lately: deque[str] = deque(maxlen=_FRAMES)
        self._emulator = _Emulator(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._emulator)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text: TextIO = (folder / TEXT).open("w", encoding="utf-8")
        self._cast: TextIO = (folder / CAST).open("w", encoding="utf-8")
        head = {"version": 2, "width": COLUMNS, "height": ROWS, "timestamp": int(time.time())}
        self._left = CAST_BYTES
        self._record(head)

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.note("the end")
        self._text.close()
        self._cast.close()

    def feed(self, data: bytes) -> bytes:
        """Show output; returns the terminal's answers to it, if any."""
        before = self.text
        self._record([round(time.monotonic() - self._began, 4), "o", self._decoder.decode(data)])
        # One sequence at a time, so that one which the emulator cannot read affects no other.
        for piece in re.split(rb"(?=\x1b)", _KEYBOARD.sub(b"", data)):
            try:
                self._stream.feed(piece)
            except _PARSE_ERRORS:
                continue
        text = self.text
        # One that was there a moment ago is a blinking mark or a spinner, and no progress.
        if text != before and text not in self._lately:
            self.changed = time.monotonic()
            self._lately.append(text)
        answers, self._emulator.answers = self._emulator.answers, []
        return "".join(answers[:_REPLIES]).encode()

    @property
    def text(self) -> str:
        """The lines of the screen, without blank ones at its end."""
        rows = self._emulator.buffer
        lines = ["".join(rows[y][x].data for x in range(COLUMNS)).rstrip() for y in range(ROWS)]
        return "".join(c for c in "\n".join(lines) if c.isprintable() or c == "\n").rstrip()

    @property
    def quiet_s(self) -> float:
        """The seconds since the screen has changed."""
        return time.monotonic() - self.changed

    def note(self, title: str) -> None:
        """Append the screen to ``screen.txt``."""
        seconds = time.monotonic() - self._began
        self._text.write(f"--- {seconds:.1f} s: {title}\n{self.text}\n\n")
        self._text.flush()

    def _record(self, event: object) -> None:
        line = json.dumps(event, ensure_ascii=False) + "\n"
        self._left -= len(line.encode())
        if self._left >= 0:
            self._cast.write(line)
            self._cast.flush()


class _Emulator(pyte.Screen):
    """An emulator that keeps the terminal's answers."""

    def __init__(self, columns: int, lines: int) -> None:
        self.answers: list[str] = []
        super().__init__(columns, lines)

    def write_process_input(self, data: str) -> None:
        self.answers.append(data)
