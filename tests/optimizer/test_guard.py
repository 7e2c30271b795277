"""The leak guard against an optimizer that tries, and against its own false alarms."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt import Plugins, train
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.guard import WITHHELD, LeakGuard, leak_guard
from skillopt.optimizer.model import StageResult
from skillopt.resources import resource
from skillopt.sim.knowledge import BAD_RULES, HABITS, USELESS_RULES
from skillopt.skill import Skill
from skillopt.tasks.harbor import read_splits
from skillopt.tasks.quickstart.generator import generate
from skillopt.types import Edit, Task
from tests.optimizer.making import a_briefing, a_rollout, a_task
from tests.small import small_config

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


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The total is 3945.44.", "expected answer of a task ('3945.44')"),
        ("- 3,945.44 is right", "expected answer"),
        ("write **3945.440** there", "expected answer"),
        ("`3945.44`", "expected answer"),
        ("about -3,945.44 EUR", "expected answer"),
        ("```\nx = 3945.44\n```", "expected answer"),
        ("name the clerk BRIGHTWATER ltd", "expected answer of a task ('BRIGHTWATER ltd')"),
        ("it is *Brightwater* _Ltd_", "expected answer"),
        ("Say Quicksilver.", "expected answer"),
        ("As in crates-07, look first.", "names a single task ('crates-07')"),
        ("See depot/crates-07.", "names a single task"),
        ("Always open crates.csv first.", "names a file of a single task ('crates.csv')"),
        ("Write Crates-Total.csv.", "names a file"),
        ("The id INV-2025-00123 is special.", "long literal of a single task ('INV-2025-00123')"),
        ("Write to ada@example.org.", "long literal"),
        (f"First: {SENTENCE.lower()}", "long literal"),
        ("move the seven *green* crates to the `northern` warehouse", "long literal"),
    ],
)
@pytest.mark.parametrize("where", ["body", "description", "reference", "script"])
def test_what_is_a_single_tasks_is_refused(
    guard: LeakGuard, text: str, reason: str, where: str
) -> None:
    match where:
        case "body":
            after = replace(EMPTY, body=f"# Rules\n\n{text}")
        case "description":
            after = replace(EMPTY, description=text)
        case "reference":
            after = replace(EMPTY, files={"references/x.md": text.encode()})
        case _:
            after = replace(EMPTY, files={"scripts/x.py": f'"""{text}"""'.encode()})
    assert reason in guard.refusal(EMPTY, after)


@pytest.mark.parametrize(
    "text",
    [
        "Write monthly figures.",  # An answer of two tasks: a convention.
        "Write the result to report.md.",  # A file of two tasks.
        "Twelve rows are 12 rows.",  # A small number is everybody's.
        "14.5 is not 3945.445 nor 13945.44.",  # Other numbers.
        "Move the crates before noon.",  # Few words in a row.
        "The barrels are counted first; write the others down.",
    ],
)
def test_what_is_general_passes(guard: LeakGuard, text: str) -> None:
    assert guard.refusal(EMPTY, replace(EMPTY, body=text)) == ""


def test_what_the_skill_said_before_is_no_leak(guard: LeakGuard) -> None:
    before = replace(EMPTY, body="Open crates.csv. The total is 3945.44.")
    assert guard.refusal(before, replace(before, body=before.body + "\n\nLook twice.")) == ""
    more = replace(before, body=before.body + "\n\nSee crates-07.")
    assert "names a single task" in guard.refusal(before, more)


def test_feedback_is_shown_without_expected_answers(guard: LeakGuard, tasks: list[Task]) -> None:
    said = "total: expected 3,945.44 for 'Brightwater Ltd', got 17.50; 12 rows in crates.csv"
    shown = guard.redact(tasks[0], said)
    assert shown == f"total: expected {WITHHELD} for '{WITHHELD}', got 17.50; 12 rows in crates.csv"
    assert guard.redact(tasks[2], said) == said
    assert "3945.44" in guard.answers(tasks[0], 100) and guard.answers(tasks[2], 100) == ""


def test_the_optimizer_sees_answers_only_where_the_config_says_so(
    guard: LeakGuard, tasks: list[Task]
) -> None:
    rollout = a_rollout(tasks[0], 0.0, "expected 3945.44")
    model: Any = None
    hidden = a_briefing(model, guard=guard).show(rollout)
    assert "3945.44" not in hidden and WITHHELD in hidden
    seen = a_briefing(model, guard=guard, sees_answers=True).show(rollout)
    assert "expected 3945.44" in seen and "Expected:\n```\n3945.44" in seen


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> LeakGuard:
    folder = tmp_path_factory.mktemp("quickstart") / "tasks"
    generate(folder, 7)
    splits = read_splits(folder)
    assert splits is not None
    return leak_guard(task for split in splits.values() for task in split)


def test_true_rules_and_ordinary_prose_are_no_false_alarms(quickstart: LeakGuard) -> None:
    rules = [*(h.rule for h in HABITS), *(bad.rule for bad in BAD_RULES), *USELESS_RULES]
    for rule in rules:
        assert quickstart.refusal(EMPTY, replace(EMPTY, body=f"- {rule}")) == "", rule
    root = resource("configs").parent
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (root / name).read_text("utf-8")
        assert quickstart.refusal(EMPTY, replace(EMPTY, body=text)) == "", name


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
    result = train(small_config(tmp_path, **{"train.epochs": 1}), plugins=plugins)
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


texts = st.text(max_size=60) | st.sampled_from(["3945.44", "crates-07", "a 3,945.44 b", SENTENCE])


@given(texts, texts)
def test_a_skill_does_not_leak_what_it_had(guard: LeakGuard, body: str, more: str) -> None:
    before = replace(EMPTY, body=body)
    assert guard.refusal(before, before) == ""
    after = replace(EMPTY, body=f"{body}\n\n{more}")
    if not guard.refusal(EMPTY, replace(EMPTY, body=more)) and "\n\n" not in more:
        guard.refusal(before, after)
    assert isinstance(guard.redact(a_task(), body), str)
