"""Finds tasks that are the same but for numbers and a few names.

The files of each task are one text, in which numbers count as equal. Two texts are compared by
their runs of three words, as the share of those that both have (Jaccard), which is estimated by
MinHash (Broder 1997), and computed where the estimate is near the limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zlib import crc32

from skillopt.core.types import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALIKE = 0.8
"""The share of common runs of words from which on two texts are alike."""
_ROOM = 0.15
"""How far an estimate from ``_HASHES`` values is hardly ever off: its standard error is 0.05."""
_HASHES = 64
_PRIME = (1 << 31) - 1
_RUN = 3
_FILE_BYTES = 16 * 1024
_FOLDER_BYTES = 32 * 1024
"""So much is read of each file, and of each of a task's folders."""
_WORD = re.compile(r"[^\W\d_]+|\d+(?:[.,]\d+)*|[^\w\s]")


@dataclass(frozen=True)
class Alike:
    """Tasks of which each is like another one.

    Args:
        names: at least two, sorted.
        likeness: of the pair that is the least alike of those that make the group, from 0 to 1.
    """

    names: tuple[str, ...]
    likeness: float


def alike(tasks: Sequence[Task]) -> list[Alike]:
    """Groups of tasks that are the same but for numbers and a few names; of those with the same
    content, the first stands for all.

    Args:
        tasks: with names that differ.
    """
    import numpy as np

    different = list({task.digest: task for task in reversed(tasks)}.values())[::-1]
    runs = [_runs(task) for task in different]
    sketches = _sketches(runs)
    groups = {n: [n] for n in range(len(runs))}
    least = dict.fromkeys(groups, 1.0)
    for one in range(len(runs)):
        near = (sketches[one + 1 :] == sketches[one]).mean(axis=1) >= ALIKE - _ROOM
        for other in (int(n) + one + 1 for n in np.flatnonzero(near)):
            if groups[one] is groups[other]:
                continue
            share = _share(runs[one], runs[other])
            if share >= ALIKE:
                kept, gone = groups[one], groups[other]
                least[kept[0]] = min(share, least[kept[0]], least[gone[0]])
                kept += gone
                groups |= dict.fromkeys(gone, kept)
    found = {id(group): group for group in groups.values() if len(group) > 1}
    return [
        Alike(tuple(sorted(different[n].name for n in group)), least[group[0]])
        for group in found.values()
    ]


def _runs(task: Task) -> frozenset[int]:
    """The runs of words in a task, as numbers."""
    found: set[int] = set()
    for text in _texts(task):
        spoken = _WORD.findall(text.replace(task.name, "").lower())
        words = ["", *("0" if word[0].isdecimal() else word for word in spoken), ""]
        runs = zip(*(words[n:] for n in range(_RUN)), strict=False)
        found |= {crc32(" ".join(run).encode()) % _PRIME for run in runs}
    return frozenset(found)


def _texts(task: Task) -> Iterator[str]:
    """The instruction and the texts in a task's folder, without its settings."""
    yield from task.prompts
    for name in ("environment", "tests", "solution"):
        left = _FOLDER_BYTES
        for path in sorted((task.folder / name).rglob("*")):
            if left > 0 and path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    content = file.read(min(left, _FILE_BYTES))
                left -= len(content)
                # A picture is what its bytes are, in groups that count as words.
                yield (
                    content.hex(" ", 8) if b"\0" in content else content.decode("utf-8", "replace")
                )


def _sketches(runs: Sequence[frozenset[int]]) -> NDArray[np.int64]:
    """The MinHash values of each text, of the shape (texts, ``_HASHES``)."""
    import numpy as np

    rng = np.random.default_rng(0)
    factors, offsets = rng.integers(1, _PRIME, (2, _HASHES, 1), dtype=np.int64)
    found = np.full((len(runs), _HASHES), _PRIME, dtype=np.int64)
    for row, numbers in zip(found, runs, strict=True):
        if numbers:
            values = np.fromiter(numbers, np.int64, len(numbers))
            row[:] = ((factors * values + offsets) % _PRIME).min(axis=1)
    return found


def _share(one: frozenset[int], other: frozenset[int]) -> float:
    either = len(one | other)
    return len(one & other) / either if either else 1.0
