"""Two versions of a skill side by side, line by line, with the changed words marked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

CONTEXT = 3
"""Unchanged lines that are shown around a change."""

Part = tuple[str, bool]
"""A piece of a line, and whether it differs from the other version."""


@dataclass(frozen=True)
class Side:
    """One line of one version."""

    number: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class DiffRow:
    """One line of both versions; a side without a line is None.

    A ``gap`` replaces unchanged lines that are left out; it has no sides.
    """

    kind: Literal["same", "changed", "removed", "added", "gap"]
    left: Side | None = None
    right: Side | None = None
    skipped: int = 0


def side_by_side(before: str, after: str) -> list[DiffRow]:
    """The rows of a comparison; empty if nothing differs."""
    old, new = before.splitlines(), after.splitlines()
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    rows: list[DiffRow] = []
    last = 0
    for group in matcher.get_grouped_opcodes(CONTEXT):
        if group[0][1] > last:
            rows.append(DiffRow("gap", skipped=group[0][1] - last))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                rows += [
                    DiffRow("same", _plain(i, old), _plain(j, new))
                    for i, j in zip(range(i1, i2), range(j1, j2), strict=True)
                ]
            else:
                rows += _changed(old, new, range(i1, i2), range(j1, j2))
        last = group[-1][2]
    if rows and last < len(old):
        rows.append(DiffRow("gap", skipped=len(old) - last))
    return rows


def _changed(
    old: Sequence[str], new: Sequence[str], left: range, right: range
) -> Iterator[DiffRow]:
    pairs = min(len(left), len(right))
    for i, j in zip(left[:pairs], right[:pairs], strict=True):
        one, other = _words(old[i], new[j])
        yield DiffRow("changed", Side(i + 1, one), Side(j + 1, other))
    for i in left[pairs:]:
        yield DiffRow("removed", left=_plain(i, old))
    for j in right[pairs:]:
        yield DiffRow("added", right=_plain(j, new))


def _plain(index: int, lines: Sequence[str]) -> Side:
    return Side(index + 1, ((lines[index], False),))


def _words(old: str, new: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    one, other = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (old, new))
    left: list[Part] = []
    right: list[Part] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        left.append(("".join(one[i1:i2]), tag != "equal"))
        right.append(("".join(other[j1:j2]), tag != "equal"))
    return tuple(p for p in left if p[0]), tuple(p for p in right if p[0])
