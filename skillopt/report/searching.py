"""Looks for words in the trajectories of a run, a part of them at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skillopt.core.packed import open_file
from skillopt.report.document import folder_of

SECONDS = 2.0
"""About how long one part of a search may take."""
MAX_BYTES = 32 * 1024 * 1024
"""The most bytes that are read of one trajectory."""
MAX_CHARS = 200
"""The most characters of the words that are looked for."""


@dataclass(frozen=True)
class Part:
    """What one part of a search found.

    Args:
        found: keys of rollouts.
        next: where the next part begins; None at the end.
    """

    found: tuple[str, ...]
    next: int | None


def search(root: Path, keys: Sequence[str], words: str, start: int = 0) -> Part:
    """The rollouts whose trajectory has some words, capitals aside.

    Args:
        root: the run's folder.
        keys: the rollouts to look into.
        words: that stand in this order, somewhere in one text.
        start: the number of the key to begin with.
    """
    wanted = _as_written(words)
    end = time.monotonic() + SECONDS
    found: list[str] = []
    for number in range(start, len(keys)):
        if time.monotonic() > end:
            return Part(tuple(found), number)
        if wanted in _trajectory(folder_of(root, keys[number])):
            found.append(keys[number])
    return Part(tuple(found), None)


def _as_written(words: str) -> bytes:
    """Words as a trajectory's file has them, in lower case."""
    import json

    return json.dumps(words[:MAX_CHARS], ensure_ascii=False)[1:-1].lower().encode()


def _trajectory(folder: Path) -> bytes:
    """A trajectory's file in lower case; empty if it is not in the store."""
    try:
        with open_file(folder, "trajectory.json") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace").lower().encode()
    except OSError:
        return b""
