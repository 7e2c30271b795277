"""A step of training on each benchmark with the simulated model, from the download on."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.config.kinds import BENCHMARKS
from tests.helpers.cells import ALL_CELLS
from tests.helpers.training_step import train_step

AGENTS = ("claude-code", "codex")
"""By turns: Codex for the games and the workbooks, whose rollouts have the most turns."""
SETTINGS: list[tuple[str, str, dict[str, object]]] = [
    ("officeqa", "direct", {"search": True}),
    ("alfworld", "direct", {"protocol": "tool", "max_steps": 14}),
    *(("officeqa", harness, {"setting": "corpus", "search": False}) for harness in AGENTS),
    *(("spreadsheetbench", harness, {"setting": "file"}) for harness in ("direct", *AGENTS)),
]
"""Others than each benchmark's own, with a sandbox."""
MARKS = {"spreadsheetbench": pytest.mark.engine, "alfworld": pytest.mark.slow}
"""Those in which direct chat always has a shell, hence a sandbox, or takes many seconds."""


def trained(name: str, harness: str, folder: Path, **options: object) -> None:
    step = train_step(name, harness, folder, **options)
    assert step.selection[0] < step.selection[1] == 1.0
    assert step.after == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, ())) for name in BENCHMARKS]
)
def test_in_direct_chat(name: str, tmp_path: Path) -> None:
    trained(name, "direct", tmp_path)


@pytest.mark.engine
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "harness"),
    [
        (name, harness)
        for number, name in enumerate(BENCHMARKS)
        for place, harness in enumerate(AGENTS)
        if ALL_CELLS or place == number % len(AGENTS)
    ],
)
def test_in_an_agent(name: str, harness: str, tmp_path: Path) -> None:
    trained(name, harness, tmp_path)


@pytest.mark.engine
@pytest.mark.timeout(300)
@pytest.mark.skipif(not ALL_CELLS, reason="make test-all")
@pytest.mark.parametrize(("name", "harness", "options"), SETTINGS)
def test_in_another_setting(
    name: str, harness: str, options: dict[str, object], tmp_path: Path
) -> None:
    trained(name, harness, tmp_path, **options)
