"""The table of the paper's figures is the script's, which fills it from what eval prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cells import RESULTS, put_table
from benchmarks.cells import table as cells_table
from benchmarks.needs import need
from benchmarks.paper import HARNESSES, PAPER, gain, table
from skillopt.config.kinds import BENCHMARKS
from tests.helpers.benchmark_sets import prepared
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


CELLS = json.loads(RESULTS.read_text("utf-8"))


def test_the_document_has_the_table_of_all_cells() -> None:
    assert set(CELLS) == {f"{name}/{harness}" for name in BENCHMARKS for harness in HARNESSES}
    document = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    assert put_table(document, cells_table(CELLS)) == document


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_has_solved_each_cell(cell: str) -> None:
    assert CELLS[cell]["before"] < CELLS[cell]["after"] == 1.0


def test_what_a_run_needs_follows_from_its_config() -> None:
    chat, agent = need("searchqa", "direct", 0), need("searchqa", "claude-code", 18_000)
    assert chat.training == agent.training and chat.test == agent.test == 2 * 1400
    # 4 epochs on 400 tasks, 40 steps and 3 slow updates through the gate, and the baseline.
    assert chat.training == 4 * 400 + (40 + 3 + 1) * 200 + 3 * 2 * 20
    assert agent.tokens > 10 * chat.tokens
    assert chat.usd is not None and agent.usd is not None
    assert chat.usd[0] == chat.usd[1] and agent.usd[1] < agent.usd[0]


def test_the_gain_in_an_agent_is_shown_beside_the_papers() -> None:
    rows = [
        {"skill": "none", "score": {"value": 0.25, "low": 0.2, "high": 0.3}},
        {"skill": "run", "score": {"value": 0.75, "low": 0.7, "high": 0.8}},
    ]
    assert gain("searchqa", "codex", rows).endswith("gain +50.0 points (paper: +24.8 on average)")
    assert gain("spreadsheetbench", "claude-code", rows).endswith("(paper: +58.3)")


@pytest.mark.slow
def test_a_cell_is_reproduced_from_the_download_on(tmp_path: Path) -> None:
    sim = {"target.upstream": "sim", "target.name": "sim-1", "target.sampling": "{}"}
    sim |= {key.replace("target", "optimizer"): value for key, value in sim.items()}
    settings = {**sim, "upstreams.sim.kind": "sim", "upstreams.sim.harm": 0, "train.epochs": 1}
    settings |= {"train.batch_size": 4}
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    cell = ["livemath", "direct", prepared("livemath", tmp_path), "--runs", tmp_path / "runs"]

    def reproduce(*more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.reproduce", *map(str, cell), *more],
            capture_output=True, text=True, cwd=ROOT, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "4 epochs" in reproduce("--dry-run") and not (tmp_path / "runs").exists()
    printed = reproduce(*changes)
    (line,) = [line for line in printed.splitlines() if line.startswith("| LiveMath")]
    assert line.endswith("| 0.0 [0.0, 60.2] | 100.0 [39.8, 100.0] |")
    assert reproduce(*changes).endswith(printed[printed.index("| benchmark") :])
