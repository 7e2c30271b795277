"""What the parts of :mod:`benchmarks.compatibility` share: sources, tables, reasons."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A repository or task set, and where it is."""

    name: str
    commit: str
    folder: Path
    generated: bool = False


@dataclass
class Found:
    """Counts for the skills or tasks of one source."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: Found) -> None:
        self.counts += other.counts
        self.reasons += other.reasons


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def reasons(measured: Iterable[Found]) -> str:
    """A table of all reasons, the most frequent first."""
    total = sum((found.reasons for found in measured), Counter[str]())
    ordered = sorted(total.items(), key=lambda pair: (-pair[1], pair[0]))
    return table(["reason", "how often"], [[reason, f"{count:,}"] for reason, count in ordered])


def plain(reason: str) -> str:
    """A reason without what is different in each skill or task."""
    short = re.sub(r"'[^']*'|\d+", "…", reason.split(". Or ")[0])
    return short.strip(": ").replace("|", "\\|")[:160]
