"""The leak guard in a run: what the optimizer is shown, and what becomes of one that cheats."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt import Plugins, train
from skillopt.core.skill import Skill
from skillopt.core.types import Edit, Task
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.leaks import WITHHELD, LeakGuard, leak_guard
from skillopt.optimizer.model import StageResult
from skillopt.sim.knowledge import HABITS
from skillopt.tasks.harbor import read_splits
from skillopt.tasks.quickstart.generator import generate
from tests.helpers.small import small_config
from tests.helpers.values import a_briefing, a_rollout, a_task

EMPTY = Skill("a-skill", "Use it.", "")


def made(folder: Path, name: str, instruction: str, **files: str) -> Task:
    """A task with files, named by their paths with ``__`` for ``/`` and ``_`` for ``.``."""
    for key, text in files.items():
        path = folder / name / key.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return replace(a_task(name, instruction), folder=folder / name)


SENTENCE = "Please move the seven green crates to the northern warehouse before noon on Friday."


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    folder = tmp_path_factory.mktemp("tasks")
    expected = {"total": 3945.44, "clerk": "Brightwater Ltd", "kind": "monthly", "rows": 12}
    return [
        made(
            folder,
            "crates-07",
            f"{SENTENCE} Write `crates-total.csv`; the mail is ada@example.org.",
            environment__crates_csv="id,amount\nINV-2025-00123,17.50\n",
            tests__expected_json=json.dumps(expected),
            task_toml='[task]\nname = "depot/crates-07"\n[metadata]\nanswer = "quicksilver"\n',
        ),
        made(
            folder,
            "barrels-01",
            "Count the barrels and write `report.md`.",
            tests__expected_json=json.dumps({"kind": "monthly", "total": 88123.5}),
        ),
        made(folder, "barrels-02", "Count the others and write `report.md`."),
    ]


@pytest.fixture(scope="module")
def guard(tasks: list[Task]) -> LeakGuard:
    return leak_guard(tasks)


def test_the_optimizer_sees_answers_only_where_the_config_says_so(
    guard: LeakGuard, tasks: list[Task]
) -> None:
    rollout = a_rollout(tasks[0], 0.0, "expected 3945.44")
    model: Any = None
    hidden = a_briefing(model, guard=guard).show_all([rollout])[0]
    assert "3945.44" not in hidden and WITHHELD in hidden
    seen = a_briefing(model, guard=guard, sees_answers=True).show_all([rollout])[0]
    assert "expected 3945.44" in seen and "Expected:\n```\n3945.44" in seen


@pytest.mark.slow
def test_the_quickstarts_complaints_stay_readable(tmp_path: Path) -> None:
    generate(tmp_path / "tasks", 7)
    splits = read_splits(tmp_path / "tasks")
    assert splits is not None
    tasks = [task for split in splits.values() for task in split]
    guard = leak_guard(tasks)
    for habit in HABITS:
        complaint = re.sub(r"\\", "", habit.complaint.pattern)
        for task in tasks:
            if task.family == habit.family:
                assert habit.complaint.search(guard.redact(task, f"rows: {complaint} (8)"))


@pytest.mark.slow
def test_an_edit_that_copies_is_refused_before_the_gate(tmp_path: Path) -> None:
    """An optimizer that has seen a task's folder proposes what it found there."""

    def cheat(edits: Any, briefing: Briefing) -> StageResult[tuple[Edit, ...]]:
        folder = tmp_path / "small" / "val"
        name = sorted(path.name for path in folder.iterdir())[0]
        data = json.loads((folder / name / "tests" / "data.json").read_text())
        answer = next(value for value in data["stamps"] if "T" in value)
        contents = (f"- In {name} be quick.", f"- Count {answer} once.", "- Be thorough always.")
        return StageResult(tuple(Edit("append", "", text) for text in contents))

    plugins = Plugins(stages={"rank": cheat})
    result = train(
        small_config(tmp_path, **{"train.epochs": 1, "final.test": False}), plugins=plugins
    )
    report = json.loads((result.folder / "steps" / "step_0001" / "edits.json").read_text())
    reasons = [outcome["reason"] for outcome in report][:3]
    assert "names a single task" in reasons[0]
    assert "expected answer" in reasons[1] or "long literal" in reasons[1]
    assert reasons[2] == ""
    assert "be quick" not in (result.folder / "steps/step_0001/candidate_skill.md").read_text()
    # Its reason goes back to the optimizer once, as for any edit that does not apply.
    assert (
        "Not applied: it names a single task"
        in (result.folder / "steps" / "step_0001" / "wire.jsonl").read_text()
    )
