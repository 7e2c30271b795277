"""The table of the paper's figures is the script's, which fills it from what eval prints."""

from __future__ import annotations

from benchmarks.paper import PAPER, table
from skillopt.config.kinds import BENCHMARKS
from tests.helpers.documents import ROOT


def test_the_document_has_the_scripts_table() -> None:
    assert table() in (ROOT / "docs" / "paper.md").read_text("utf-8")


def test_measured_scores_fill_its_last_columns() -> None:
    rows = [
        {"skill": "none", "score": {"value": 0.5, "low": 0.4, "high": 0.6}},
        {"skill": "run", "score": {"value": 0.75, "low": 0.65, "high": 0.85}},
    ]
    filled = table({"livemath": rows}).splitlines()
    (line,) = [line for line in filled if line.startswith("| LiveMath")]
    assert line.endswith("| 50.0 [40.0, 60.0] | 75.0 [65.0, 85.0] |")
    assert sum(line.endswith("| | |") for line in filled) == len(PAPER) - 1


def test_every_benchmark_has_its_figures() -> None:
    assert set(BENCHMARKS) <= set(PAPER)
