"""The generated set: its make-up, its solutions, and what each way of working earns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from skillopt.sim.knowledge import BAD_RULES, habit_for
from skillopt.tasks.harbor import folder_digest, read_splits, read_tasks
from skillopt.tasks.quickstart.generator import FAMILIES, generate, trap_free
from skillopt.tasks.validate import validate

Start = Callable[[Path], Path]
Run = Callable[[Path, str], str]
Judge = Callable[[Path, Path], tuple[float, str]]


FEW = 1
NUMBERS = [pytest.param(n, marks=[] if n < FEW else pytest.mark.slow) for n in range(10)]
"""Of the ten tasks of a family: all are tried, a few of them also where time counts."""


def numbered(tasks: list[Path], number: int) -> list[Path]:
    """That task of each family."""
    found = [task for task in tasks if task.name.endswith(f"-{number + 1:02d}")]
    assert len(found) == len(FAMILIES)
    return found


def family(task: Path) -> str:
    return task.name.rsplit("-", 1)[0]


def instruction(task: Path) -> str:
    return (task / "instruction.md").read_text().strip()


def test_the_same_seed_gives_the_same_bytes(quickstart: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", 42)
    generate(tmp_path / "other", 43)
    assert folder_digest(tmp_path / "again") == folder_digest(quickstart)
    assert folder_digest(tmp_path / "other") != folder_digest(quickstart)


def test_splits_have_their_sizes_families_and_trap_shares(quickstart: Path) -> None:
    splits = read_splits(quickstart)
    assert splits is not None
    assert {split: len(tasks) for split, tasks in splits.items()} == {
        "train": 24,
        "val": 16,
        "test": 20,
    }
    free = {s: sum(trap_free(task.folder) for task in tasks) for s, tasks in splits.items()}
    assert free == {"train": 6, "val": 4, "test": 5}
    for tasks in splits.values():
        assert {task.family for task in tasks} == set(FAMILIES)
    assert Counter(t.family for t in read_tasks(quickstart)) == dict.fromkeys(FAMILIES, 10)


def test_the_set_is_valid_and_instructions_differ(quickstart: Path) -> None:
    assert validate(quickstart) == []
    instructions = [task.instruction for task in read_tasks(quickstart)]
    assert len(set(instructions)) >= 55


def test_hidden_data_is_not_in_the_environment(tasks: list[Path]) -> None:
    for task in tasks:
        visible = {p.name for p in (task / "environment" / "files").rglob("*")}
        assert not visible & {"data.json", "verify.py", "family.py", "solve.sh"}


@pytest.mark.slow
def test_solutions_pass_and_empty_runs_fail(
    tasks: list[Path], start: Start, run: Run, judge: Judge
) -> None:
    for task in tasks[::4]:
        workspace = start(task)
        empty, _ = judge(task, workspace)
        assert empty < 1, task.name
        run(workspace, f"bash {task}/solution/solve.sh")
        assert judge(task, workspace) == (1.0, "all checks passed\n"), task.name


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.slow
def test_naive_runs_pass_just_where_the_trap_is_absent(
    number: int, tasks: list[Path], start: Start, run: Run, judge: Judge
) -> None:
    for task in numbered(tasks, number):
        habit = habit_for(instruction(task))
        assert habit is not None and habit.family == family(task)
        workspace = start(task)
        assert "wrote " in run(workspace, habit.naive(instruction(task)))
        reward, feedback = judge(task, workspace)
        assert (reward == 1) == trap_free(task), (task.name, feedback)
        assert bool(habit.complaint.search(feedback)) == (not trap_free(task)), feedback
        assert_nothing_given_away(task, feedback)


def assert_nothing_given_away(task: Path, feedback: str) -> None:
    """No value of the right result, and not the rule itself, stands in the feedback."""
    habit = habit_for(instruction(task))
    assert habit is not None and not habit.rule_present(feedback)
    for file in (task / "solution" / "result").iterdir():
        if file.suffix in (".csv", ".md"):
            words = {w for w in file.read_text().replace(",", " ").split() if "." in w}
            assert not words & set(feedback.split()), feedback


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.slow
def test_runs_that_know_the_rule_pass(
    number: int, tasks: list[Path], start: Start, run: Run, judge: Judge
) -> None:
    for task in numbered(tasks, number):
        habit = habit_for(instruction(task))
        assert habit is not None
        workspace = start(task)
        run(workspace, habit.better(instruction(task)))
        assert judge(task, workspace)[0] == 1, task.name


@pytest.mark.slow
def test_bad_rules_break_their_families_and_no_other(
    quickstart: Path, start: Start, run: Run, judge: Judge
) -> None:
    for task in sorted((quickstart / "val").iterdir()):
        habit = habit_for(instruction(task))
        assert habit is not None
        for bad in BAD_RULES:
            command = habit.better(instruction(task), {bad.quirk})
            if habit.family not in bad.breaks:
                assert command == habit.better(instruction(task))
            elif not (bad.quirk == "only_complete" and trap_free(task)):
                workspace = start(task)
                run(workspace, command)
                assert judge(task, workspace)[0] < 1, (task.name, bad.quirk)
