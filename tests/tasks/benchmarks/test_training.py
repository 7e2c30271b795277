"""A step of training on each benchmark with the simulated model, from the download on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skillopt.config.kinds import BENCHMARKS
from tests.helpers.benchmark_sets import EACH, prepared
from tests.helpers.cells import ALL_CELLS
from tests.helpers.command_line import skillopt

AGENTS = ("codex", "claude-code")
WITHOUT_TOOLS: dict[str, dict[str, object]] = {
    "officeqa": {"search": False},
    "alfworld": {"protocol": "steps"},
}
"""Options by which direct chat needs no sandbox, for those whose config gives it a shell."""
WITH_A_SHELL: dict[str, dict[str, object]] = {"officeqa": {}, "alfworld": {"protocol": "tool"}}
"""The same for direct chat with a shell."""
SETTINGS = [
    ("officeqa", {"setting": "corpus", "search": False}),
    ("spreadsheetbench", {"setting": "file"}),
]
"""What else is trained on with an engine."""
MARKS = {"spreadsheetbench": pytest.mark.engine, "alfworld": pytest.mark.slow}
"""Those in which direct chat always has a shell, hence a sandbox, or takes half a minute."""
SIM = {"upstream": "sim", "name": "sim-1", "sampling": {}}


def trained(name: str, harness: str, folder: Path, **options: object) -> None:
    settings = {
        "tasks.path": str(prepared(name, folder)),
        "runs": str(folder / "runs"),
        "target": SIM,
        "optimizer": SIM,
        "upstreams": {"sim": {"kind": "sim", "harm": 0.0}},
        "train.epochs": 1,
        "train.batch_size": EACH,
        "workers": 4,
        "patience": 2,
        **{f"tasks.options.{key}": value for key, value in options.items()},
    }
    changes = [f"--set={key}={json.dumps(value)}" for key, value in settings.items()]
    done = skillopt("train", f"configs/{name}/{harness}.yaml", *changes)
    assert done.returncode == 0, done.stderr
    summary = json.loads((folder / "runs" / f"{name}-{harness}" / "summary.json").read_text())
    assert summary["initial_score"] < summary["best_score"] == 1.0
    assert summary["test"]["best"]["hard"]["value"] == 1.0


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=MARKS.get(name, ())) for name in BENCHMARKS]
)
def test_in_direct_chat(name: str, tmp_path: Path) -> None:
    trained(name, "direct", tmp_path, **WITHOUT_TOOLS.get(name, {}))


@pytest.mark.engine
@pytest.mark.parametrize("name", WITH_A_SHELL)
def test_in_direct_chat_with_a_shell(name: str, tmp_path: Path) -> None:
    trained(name, "direct", tmp_path, **WITH_A_SHELL[name])


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "options", "harness"),
    [
        (*row, harness)
        for row in SETTINGS
        for harness in (("direct", *AGENTS) if ALL_CELLS else AGENTS[:1])
    ],
)
def test_in_another_setting(
    name: str, options: dict[str, object], harness: str, tmp_path: Path
) -> None:
    trained(name, harness, tmp_path, **options)


@pytest.mark.engine
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
