"""The paper's figures for GPT-5.5 in direct chat, beside what ``skillopt eval --json`` measured.

``python -m benchmarks.paper searchqa=FILE …`` prints the table of docs/paper.md with its last
columns filled in.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figures:
    """What the paper reports of a benchmark: percent solved, million tokens, tokens, edits."""

    title: str
    splits: str
    without: float
    trained: float
    training_tokens: float
    skill_tokens: int
    edits: int
    rollouts: int
    """In training, derived from the reference's configs."""


PAPER = {
    "searchqa": Figures("SearchQA", "400/200/1400", 77.7, 87.3, 213.8, 857, 4, 9900),
    "spreadsheetbench": Figures("SpreadsheetBench", "80/40/280", 41.8, 80.7, 21.4, 1995, 4, 800),
    "officeqa": Figures("OfficeQA", "50/24/172", 33.1, 72.1, 20.8, 883, 1, 540),
    "docvqa": Figures("DocVQA", "107/53/374", 78.8, 91.2, 188.2, 959, 3, 1240),
    "livemath": Figures("LiveMath", "35/17/125", 37.6, 66.9, 23.2, 379, 1, 345),
    "alfworld": Figures("ALFWorld", "39/18/134", 83.6, 95.5, 59.3, 1321, 2, 370),
}
"""From the article and public transcriptions of arXiv 2605.23904; single runs as far as stated."""
HARNESSES = ("direct", "codex", "claude-code")
GAINS = {
    ("spreadsheetbench", "codex"): 57.5,
    ("spreadsheetbench", "claude-code"): 58.3,
}
"""Gains in points that the paper reports of single cells in agents."""
AVERAGE_GAINS = {"codex": 24.8, "claude-code": 19.1}
"""Its average gains in agents, for GPT-5.5 as well."""
_HEAD = (
    "benchmark", "train/val/test", "paper: no skill → trained", "training tokens",
    "skill, tokens", "edits", "training rollouts", "measured: no skill", "measured: trained",
)  # fmt: skip


def table(measured: Mapping[str, Any] | None = None) -> str:
    """The figures as a Markdown table.

    Args:
        measured: what ``skillopt eval none RUN --json`` printed, by benchmark.
    """
    lines = [_HEAD, ("---",) * len(_HEAD)]
    for name, paper in PAPER.items():
        rows = (measured or {}).get(name, [])
        without = next((_score(row) for row in rows if row["skill"] == "none"), "")
        trained = next((_score(row) for row in reversed(rows) if row["skill"] != "none"), "")
        lines.append(
            (
                paper.title, paper.splits, f"{paper.without} → {paper.trained}",
                f"{paper.training_tokens} M", f"{paper.skill_tokens:,}", str(paper.edits),
                f"{paper.rollouts:,}", without, trained,
            )
        )  # fmt: skip
    return "\n".join("|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in lines)


def gain(name: str, harness: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """What was measured of a cell in an agent, beside the gain that the paper reports.

    Args:
        rows: what ``skillopt eval none RUN --json`` printed.
    """
    first, *_, last = rows
    points = 100 * (last["score"]["value"] - first["score"]["value"])
    one = GAINS.get((name, harness))
    paper = f"+{AVERAGE_GAINS[harness]} on average" if one is None else f"+{one}"
    return (
        f"{PAPER[name].title} in {harness}: no skill {_score(first)}, trained {_score(last)}, "
        f"gain {points:+.1f} points (paper: {paper})"
    )


def _score(row: Mapping[str, Any]) -> str:
    value, low, high = (100 * row["score"][key] for key in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def main(arguments: list[str]) -> None:
    measured = {}
    for argument in arguments:
        name, _, file = argument.partition("=")
        if name not in PAPER or not file:
            sys.exit(f"{argument}: give BENCHMARK=FILE, with one of {', '.join(PAPER)}")
        measured[name] = json.loads(Path(file).read_text("utf-8"))
    print(table(measured))


if __name__ == "__main__":
    main(sys.argv[1:])
