"""Server-sent events, as all three protocols stream them: write one, read many.

Read as the standard says (https://html.spec.whatwg.org/multipage/server-sent-events.html), except
that the last event need not end with a blank line, which some servers omit.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harnesses.protocols.base import ProtocolError
from harnesses.protocols.fields import object_in

MAX_EVENT = 64 * 1024 * 1024
"""The most bytes in one event."""

_LINE_END = re.compile(rb"\r\n|\n|\r")


def event(data: Mapping[str, Any] | str, name: str | None = None) -> bytes:
    """One event with its blank line; ``data`` that is not a string is written as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode()


def read_events(raw: bytes) -> Iterator[Mapping[str, Any]]:
    """The ``data`` objects of a recorded stream in order, ``[DONE]`` left out.

    Raises:
        ProtocolError: the data of an event is not a JSON object, as in a stream that broke off.
    """
    splitter = Splitter()
    yield from splitter.feed(raw)
    yield from splitter.end()


class Splitter:
    """Splits a stream that comes in chunks of any size into events, each once it is complete.

    Keeps nothing but the event that is being read.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        """The parts of the unfinished line."""
        self._started = False
        """Whether a byte order mark can no longer come."""
        self._cr = False
        """Whether the last line ended with CR, so that an LF still belongs to it."""
        self._data: list[str] = []
        self._name = ""
        self._size = 0
        """The bytes of the event's data and of the unfinished line."""
        self._seen = False
        """Whether an event has come."""
        self._odd = b""
        """The beginning of what is no part of an event, such as an HTML page."""

    def feed(self, chunk: bytes) -> Iterator[Mapping[str, Any]]:
        """The ``data`` objects that the chunk completes. Raises ProtocolError as
        :func:`read_events`, and for an event of more than :data:`MAX_EVENT` bytes."""
        chunk = self._after_mark(chunk)
        if self._cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._cr = False
        self._cr = self._cr or chunk.endswith(b"\r")
        # Not splitlines(), which also splits at characters that JSON strings may contain.
        first, *lines = _LINE_END.split(chunk) if b"\r" in chunk else chunk.split(b"\n")
        for line in lines:
            if self._rest:
                first = self._joined(first)
            if first:
                self._field(first)
            elif self._data or self._name:
                yield from self._event()
            first = line
        self._add(first)

    def end(self) -> Iterator[Mapping[str, Any]]:
        """The last event, if the stream ended without a blank line. Raises ProtocolError as
        :meth:`feed`, and if the whole stream was something else."""
        if last := self._joined(b""):
            self._field(last)
        yield from self._event()
        if self._odd and not self._seen:
            raise ProtocolError(f"stream: no events: {self._odd.decode('utf-8', 'replace')}")

    def _after_mark(self, chunk: bytes) -> bytes:
        """The chunk without a byte order mark at the start of the stream."""
        if self._started:
            return chunk
        chunk, self._rest = b"".join([*self._rest, chunk]), []
        if codecs.BOM_UTF8.startswith(chunk) and len(chunk) < len(codecs.BOM_UTF8):
            self._rest = [chunk]
            return b""
        self._started = True
        return chunk.removeprefix(codecs.BOM_UTF8)

    def _add(self, part: bytes) -> None:
        if not part or (self._rest and self._rest[0].startswith(b":")):
            return  # Of a comment, its beginning is enough.
        self._rest.append(part[:1] if part.startswith(b":") and not self._rest else part)
        self._grow(len(self._rest[-1]))

    def _joined(self, end: bytes) -> bytes:
        """The unfinished line with its end."""
        self._add(end)
        line, self._rest = b"".join(self._rest), []
        self._size -= len(line)
        return line

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_EVENT:
            raise ProtocolError(f"stream: an event has more than {MAX_EVENT} bytes")

    def _field(self, raw: bytes) -> None:
        """Note a whole line."""
        field, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
            self._grow(len(raw))
        elif field == "event":
            self._name = value
        elif field not in ("", "id", "retry") and not self._seen and len(self._odd) < 500:
            self._odd += raw[:500]

    def _event(self) -> Iterator[Mapping[str, Any]]:
        lines, name = self._data, self._name
        self._data, self._name, self._size = [], "", 0
        self._seen = self._seen or bool(lines)
        return _objects(lines, name)


def _objects(lines: list[str], name: str) -> Iterator[Mapping[str, Any]]:
    """The object in an event's data; an event that says its type by its name alone is given it."""
    for text in _texts(lines):
        if text and text != "[DONE]":
            found = object_in(text, "stream: event")
            named = name not in ("", "message") and "type" not in found
            yield {"type": name, **found} if named else found


def _texts(lines: list[str]) -> list[str]:
    """An event's data. Some servers omit the blank lines: then each line is an event."""
    text = "\n".join(lines).strip()
    if len(lines) < 2 or text == "[DONE]":
        return [text]
    try:
        object_in(text, "")
    except ProtocolError:
        return [line.strip() for line in lines] if all(map(_complete, lines)) else [text]
    return [text]


def _complete(line: str) -> bool:
    text = line.strip()
    if text in ("", "[DONE]"):
        return True
    try:
        object_in(text, "")
    except ProtocolError:
        return False
    return True
