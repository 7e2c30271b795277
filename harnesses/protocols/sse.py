"""Server-sent events, as all three protocols stream them: write one, read many."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harnesses.protocols.fields import object_in


def event(data: Mapping[str, Any] | str, name: str | None = None) -> bytes:
    """One event with its blank line; ``data`` that is not a string is written as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {text}\n\n".encode()


def read_events(raw: bytes) -> Iterator[Mapping[str, Any]]:
    """The ``data`` objects of a recorded stream in order, ``[DONE]`` left out.

    Raises:
        ProtocolError: a data line is not a JSON object, as in a stream that broke off.
    """
    splitter = Splitter()
    yield from splitter.feed(raw)
    yield from splitter.feed(b"\n")


class Splitter:
    """Splits a stream that comes in chunks of any size into events, each once it is complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Mapping[str, Any]]:
        """The ``data`` objects that the chunk completes. Raises ProtocolError as
        :func:`read_events`."""
        # Not splitlines(), which also splits at characters that JSON strings may contain.
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            data = _data(line.decode("utf-8", "replace").rstrip("\r"))
            if data is not None:
                yield data


def _data(line: str) -> Mapping[str, Any] | None:
    if not line.startswith("data:"):
        return None
    text = line[5:].strip()
    if not text or text == "[DONE]":
        return None
    return object_in(text, "stream: event")
