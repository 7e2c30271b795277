"""A terminal recording as plain text screens: what a person would have seen, without escapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, Any

MAX_BYTES = 5_000_000
"""The most bytes that are read of a recording; the rest is not shown."""
MAX_FRAMES = 300
MAX_COLUMNS, MAX_LINES = 300, 120
_INTERVAL_S = 0.1


def read_frames(cast: IO[bytes]) -> list[tuple[float, str]]:
    """The screens of an asciicast v2 file: seconds from its start, and the text.

    A terminal emulator handles the escape sequences; only the characters on its screen are kept.

    Returns:
        At most :data:`MAX_FRAMES` screens, evenly spaced; empty if the file is not a recording.
    """
    import pyte

    events = _events(cast)
    header = next(events, None)
    if not isinstance(header, dict):
        return []
    width, height = (_size(header.get(key)) for key in ("width", "height"))
    screen = pyte.Screen(min(width, MAX_COLUMNS), min(height, MAX_LINES))
    stream = pyte.Stream(screen)
    frames: list[tuple[float, str]] = []
    for at, text in _thinned(events):
        stream.feed(text)
        shown = "\n".join(line.rstrip() for line in screen.display).rstrip()
        if not frames or shown != frames[-1][1]:
            frames.append((at, shown))
    return frames


def _events(cast: IO[bytes]) -> Iterator[Any]:
    for line in cast.read(MAX_BYTES).split(b"\n"):
        try:
            yield json.loads(line)
        except ValueError:
            return  # An incomplete line: the rollout was killed, or the rest is over the limit.


def _size(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 80


def _thinned(events: Iterator[Any]) -> list[tuple[float, str]]:
    """The output, in at most :data:`MAX_FRAMES` pieces that are not too close in time."""
    pieces: list[tuple[float, str]] = []
    for event in events:
        match event:
            case [int() | float() as at, "o", str() as text]:
                if pieces and at - pieces[-1][0] < _INTERVAL_S:
                    pieces[-1] = (pieces[-1][0], pieces[-1][1] + text)
                else:
                    pieces.append((float(at), text))
    size = -(-len(pieces) // MAX_FRAMES) or 1
    groups = [pieces[i : i + size] for i in range(0, len(pieces), size)]
    return [(group[-1][0], "".join(text for _, text in group)) for group in groups]
