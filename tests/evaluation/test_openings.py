"""Precision and recall of a skill's openings, with intervals over tasks."""

from __future__ import annotations

import pytest

from harnesses.base import Usage
from skillopt.core.types import Reward, Rollout
from skillopt.evaluation.scoring import Opening, Row, opening_of
from tests.helpers import scientific as scipy
from tests.helpers.values import a_rollout, a_task


def runs(*cells: tuple[int, bool, bool]) -> list[Rollout]:
    """Rollouts of numbered tasks: whether the skill should be opened, and was."""
    found = []
    for task, should, opened in cells:
        metrics = {"should_open": float(should), "opened": float(opened)}
        reward = Reward(float(should == opened), metrics)
        rollout = a_rollout(a_task(f"task-{task}"))
        found.append(rollout.model_copy(update={"reward": reward, "usage": Usage(requests=task)}))
    return found


TABLE = [(1, True, True), (2, True, True), (3, True, False), (4, False, True), (5, False, False)]


def test_precision_and_recall_are_those_of_the_table() -> None:
    found = opening_of(runs(*TABLE))
    assert found is not None and found.precision is not None and found.recall is not None
    assert found.tasks == 5 and found.calls == 3.0
    assert found.precision.value == found.recall.value == pytest.approx(2 / 3)
    theirs = scipy.stats.binomtest(2, 3).proportion_ci(0.95, "exact")
    assert (found.recall.low, found.recall.high) == pytest.approx((theirs.low, theirs.high))
    assert "precision 67 % [9, 99], recall 67 % [9, 99], 3.0 model calls" in found.words
    assert Opening.read(found.to_json()) == found


@pytest.mark.parametrize(
    ("cells", "precision", "recall"),
    [
        ([(1, True, False), (2, False, False)], None, 0.0),
        ([(1, False, True), (2, False, False)], 0.0, None),
        ([(1, False, False)], None, None),
        ([(1, True, True)], 1.0, 1.0),
    ],
)
def test_without_openings_or_tasks_for_it_there_is_no_share(
    cells: list[tuple[int, bool, bool]], precision: float | None, recall: float | None
) -> None:
    found = opening_of(runs(*cells))
    assert found is not None
    assert (found.precision and found.precision.value) == precision
    assert (found.recall and found.recall.value) == recall
    assert Opening.read(found.to_json()) == found and found.words


def test_repetitions_of_a_task_are_no_further_tasks() -> None:
    once, thrice = opening_of(runs(*TABLE)), opening_of(runs(*TABLE * 3))
    assert once is not None and thrice is not None
    assert (once.precision, once.recall) == (thrice.precision, thrice.recall)
    mixed = opening_of(runs((1, True, True), (1, True, False)))
    assert mixed is not None and mixed.recall is not None and mixed.recall.value == 0.5


def test_tasks_that_do_not_say_have_none() -> None:
    rollouts = [a_rollout()]
    assert opening_of(rollouts) is None
    assert "opening" not in Row("s", "codex", "m", tuple(rollouts)).scores()
    row = Row("s", "codex", "m", tuple(runs(*TABLE)))
    assert row.scores()["opening"] == row.to_json()["opening"] == opening_of(row.rollouts).to_json()  # type: ignore[union-attr]
