"""Tasks with the same content: one rollout in a split, and an error across splits."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from skillopt import Plugins, Reward, evaluate, train
from skillopt.core.types import Task, used
from skillopt.evaluation.stats import effective, kept_share, mean, rate
from skillopt.rollouts.prepare import prepare
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.sources import load_splits
from tests.helpers.small import small_config, small_set
from tests.helpers.tiny import Tiny, command, refused, tiny

__all__ = ["tiny"]


class Lucky:
    """An agent that solves a task at random, and leaves a file for each time."""

    name = "lucky"

    def __init__(self, ran: Path) -> None:
        self._ran = ran

    def version(self) -> str:
        return "1"

    def run(self, request: Any, site: Any) -> Any:
        from harnesses.base import Outcome, Status, Usage

        (self._ran / str(random.random())).touch()
        answer = random.choice(["yes", "no"])
        return Outcome(Status.COMPLETED, "", answer, None, Usage(1, 10, 0, 5), None, "1", 1.0)


def by_answer(task: Task, workspace: Path, answer: str) -> Reward:
    return Reward(float(answer == "yes"))


def copies(folder: Path, split: str, count: int) -> None:
    """Copies of the first task of a split, with other names."""
    first = sorted((folder / split).iterdir())[0]
    for number in range(count):
        shutil.copytree(first, folder / split / f"{first.name}-copy{number}")


def test_equal_tasks_of_a_split_are_one_rollout_that_counts_as_often(tmp_path: Path) -> None:
    copies(small_set(tmp_path), "val", 3)
    (tmp_path / "ran").mkdir()
    config = small_config(tmp_path)
    parts = Plugins(Lucky(tmp_path / "ran"), by_answer)
    (first,) = evaluate(config, {"none": None}, split="val", plugins=parts)
    assert len(list((tmp_path / "ran").iterdir())) == 2
    assert len(first.rollouts) == 5 and len({r.task.name for r in first.rollouts}) == 5
    assert len({r.key for r in first.rollouts}) == 2
    (again,) = evaluate(config, {"none": None}, split="val", plugins=parts)
    assert len(list((tmp_path / "ran").iterdir())) == 2
    assert [r.reward.hard for r in again.rollouts] == [r.reward.hard for r in first.rollouts]
    assert again.to_json() == first.to_json()
    assert first.usage.requests == used(first.rollouts).requests == 2
    # Four copies and one other task say as much as two tasks, of which one counts four times.
    share = sum(r.reward.hard for r in first.rollouts) / 5
    ends = rate(share * 25 / 17, 25 / 17)
    assert vars(first.score) == pytest.approx(vars(ends))


def test_equal_tasks_of_different_splits_are_an_error_that_names_them(tmp_path: Path) -> None:
    folder = small_set(tmp_path)
    one = sorted((folder / "train").iterdir())[0]
    shutil.copytree(one, folder / "test" / "seen-before")
    message = rf"{one.name} of train, seen-before of test; leave all but one out \(tasks\.exclude\)"
    for work in (
        lambda: evaluate(small_config(tmp_path), {"none": None}),
        lambda: train(small_config(tmp_path)),
        lambda: prepare(small_config(tmp_path)),
    ):
        with pytest.raises(TaskError, match=message):
            work()
    for settings in (
        {"tasks.duplicates": "allow"},
        {"tasks.exclude": ["seen-before"]},
        {"tasks.exclude": [one.name]},
    ):
        assert prepare(small_config(tmp_path, **settings))


def test_tasks_of_a_users_own_source_are_compared_too(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    task = Task(name="one", instruction="Do it.", digest="d" * 64)
    other = Task(name="other", instruction="Do it.", digest="d" * 64)
    with pytest.raises(TaskError, match="one of train, other of val"):
        load_splits(config.tasks, 1, tmp_path, {"train": [task], "val": [other]})


def test_validate_names_equal_tasks(tiny: Tiny) -> None:
    assert command("tasks", "validate", "tasks").returncode == 0
    for name in ("val-1-copy", "val-1-again"):
        shutil.copytree("tasks/val/val-1", f"tasks/val/{name}")
    done = command("tasks", "validate", "tasks")
    assert done.returncode == 0 and "val-1, val-1-again, val-1-copy" in done.stdout
    shutil.copytree("tasks/val/val-1", "tasks/train/leaked")
    done = command("tasks", "validate", "tasks", "--json")
    assert done.returncode == 1
    (problem,) = json.loads(done.stdout)["problems"]
    assert "leaked of train" in problem["message"] and "val-1 of val" in problem["message"]
    refused(tiny.train("--dry-run"), "leaked of train", "tasks.duplicates: allow")
    tiny.write(tasks__duplicates="allow")
    assert tiny.train("--dry-run").returncode == 0


def test_a_training_with_equal_tasks_counts_them(tiny: Tiny) -> None:
    for number in range(3):
        shutil.copytree("tasks/val/val-1", f"tasks/val/copy-{number}")
    assert tiny.train().returncode == 0
    ran = [record["key"] for record in tiny.events("rollout_ran")]
    assert len(ran) == len(set(ran))
    (baseline,) = tiny.events("baseline_done")
    assert len(baseline["rollouts"]) == 6


def test_weights_count_as_repeated_values_without_making_them_more_certain() -> None:
    assert effective([1, 1, 1]) == 3 and effective([4]) == 1 and effective([]) == 0
    assert rate(1, 1).low is None and rate(4, 4).low
    weighted, repeated = mean([0, 0.5, 1.0], [1, 1, 4]), mean([0, 0.5, 1, 1, 1, 1])
    assert weighted.value == pytest.approx(repeated.value)
    sizes = [(e.high or 0) - (e.low or 0) for e in (weighted, repeated)]
    assert sizes[0] > sizes[1]
    assert mean([0, 0.5, 1.0], [2, 2, 2]) == mean([0, 0.5, 1.0])
    kept = kept_share([1, 1, 1], [0, 1, 1], [2, 1, 1])
    assert kept is not None and kept.value == 0.5
