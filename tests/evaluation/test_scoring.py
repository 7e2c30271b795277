"""A skill's row in a table: scores, gains, flips and openings of tasks that were run repeatedly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from harnesses.base import Usage
from skillopt.core.metric import Scorer
from skillopt.core.types import Reward, Rollout
from skillopt.evaluation.scoring import Opening, Row, compare
from skillopt.evaluation.stats import (
    Estimate,
    all_or_nothing_runs,
    effective,
    mean,
    paired_difference,
    percent,
    points,
    rate,
    rate_difference,
)
from tests.helpers import scientific as scipy
from tests.helpers.values import a_rollout, a_task


def rollouts(runs: Mapping[str, Sequence[float]], **changes: Any) -> tuple[Rollout, ...]:
    """Rollouts of some tasks, each with its repetitions; the family is the name's first letter."""
    return tuple(
        a_rollout(a_task(name, family=name[0]), reward).model_copy(
            update={"key": f"{name}{number}", "identity": {"task": name}, **changes}
        )
        for name, rewards in runs.items()
        for number, reward in enumerate(rewards)
    )


def row(runs: Mapping[str, Sequence[float]], first: Row | None = None, **changes: Any) -> Row:
    return Row("skill", "codex", "m", rollouts(runs, **changes), first)


@pytest.mark.parametrize(
    ("before", "after", "fixed", "broken"),
    [
        ([0.0], [1.0], True, False),
        ([1.0], [0.0], False, True),
        ([1.0], [1.0], False, False),
        # Exactly half of the runs more is a flip; less is not.
        ([0.0, 0.0], [1.0, 0.0], True, False),
        ([1.0, 0.0], [0.0, 0.0], False, True),
        ([1.0, 0.0], [1.0, 1.0], True, False),
        ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], False, False),
        ([1.0, 1.0, 1.0], [1.0, 1.0, 0.0], False, False),
        ([0.0] * 5, [1.0, 1.0, 1.0, 0.0, 0.0], True, False),
    ],
)
def test_a_flip_is_half_of_a_tasks_runs_or_more(
    before: list[float], after: list[float], fixed: bool, broken: bool
) -> None:
    found = row({"a": after, "b": [1.0]}, row({"a": before, "b": [1.0]}))
    assert found.fixed == (("a",) if fixed else ())
    assert found.broken == (("a",) if broken else ())
    assert row({"a": after}).fixed == row({"a": after}).broken == ()


@pytest.mark.parametrize(
    ("opened", "share"),
    [
        ([], None),
        ([None, None], None),
        ([True, False, None, None], 0.5),  # Runs without a skill are not runs that missed it.
        ([True, None], 1.0),
        ([False, None], 0.0),
        ([True, False, False], pytest.approx(1 / 3)),
    ],
)
def test_the_opened_share_is_of_the_runs_that_had_a_skill(
    opened: list[bool | None], share: float | None
) -> None:
    runs = tuple(a_rollout(activated=one) for one in opened)
    assert Row("s", "h", "m", runs).activation == share


def test_the_interval_of_repetitions_is_over_tasks() -> None:
    """Five runs that agree say no more than one; five that do not, more."""
    tasks = "abcdefghi"
    once = row({name: [float(name > "c")] for name in tasks})
    agreeing = row({name: [float(name > "c")] * 3 for name in tasks})
    mixed = row({name: [1.0, 1.0, 0.0] for name in tasks})
    assert once.score == agreeing.score == rate(6, 9)
    assert mixed.score.value == pytest.approx(once.score.value)
    whole = rate(18, 27)
    assert once.score.low is not None and mixed.score.low is not None and whole.low is not None
    assert once.score.low < mixed.score.low <= whole.low, "at most as much as so many runs"
    assert mixed.score == mean([2 / 3] * 9, [1.0] * 9, 27) != mean([2 / 3] * 9, [1.0] * 9)


def test_the_gain_of_repetitions_takes_no_more_trials_than_there_are_runs() -> None:
    before, after = {n: [0.0, 0.0] for n in "abcd"}, {n: [1.0, 0.0] for n in "abcd"}
    found = row(after, row(before))
    runs = min(all_or_nothing_runs(list(side.values())) for side in (before, after))
    assert runs == 8
    assert found.gain == paired_difference([0.0] * 4, [0.5] * 4, [1.0] * 4, 8)
    assert found.gain != paired_difference([0.0] * 4, [0.5] * 4)
    assert row(before).gain is None and row(before).claim is None


def test_tasks_of_the_same_content_are_one_that_counts_twice() -> None:
    runs = {"a": [1.0], "b": [1.0], "c": [0.0]}
    alike = [
        one.model_copy(update={"identity": {"task": "same" if one.task.name in "ab" else "c"}})
        for one in rollouts(runs)
    ]
    found = Row("s", "h", "m", tuple(alike))
    assert found.weights(found.runs) == {"a": 2.0, "c": 1.0}
    assert found.score.value == pytest.approx(2 / 3)
    assert found.score == mean([1.0, 0.0], [2.0, 1.0], all_or_nothing_runs([[1.0], [0.0]], [2, 1]))
    assert found.score != row(runs).score
    assert row(runs).weights(["b", "c"]) == {"b": 1.0, "c": 1.0}


def test_each_task_and_family_has_its_own_numbers() -> None:
    first = row({"a1": [0.0, 1.0], "b1": [0.0], "a2": [1.0, 1.0]})
    found = row({"a1": [1.0, 1.0], "b1": [0.5], "a2": [1.0, 0.0]}, first)
    assert [*found.families] == ["a", "b"]
    part = found.families["a"]
    assert (part.tasks, part.score.value) == (2, 0.75)
    assert part.gain is not None and part.gain.value == 0.0
    assert found.families["b"].score.value == 0.0, "the hard reward of half a task"
    assert all(one.gain is None for one in first.families.values())
    one = found.by_task["a1"]
    assert (one.family, one.runs, one.solved, one.gain) == ("a", 2, 1.0, 0.5)
    assert one.interval == rate_difference([0.0, 1.0], [1.0, 1.0])
    assert found.by_task["b1"].interval is None and found.by_task["b1"].gain == 0.0
    assert found.by_task["a2"].gain == -0.5
    assert first.by_task["a1"].gain is None and first.by_task["a1"].interval is None


def test_a_row_as_json_has_the_metric_and_both_rewards() -> None:
    soft = Row("s", "codex", "m", rollouts({"a": [0.5, 1.0], "b": [0.0]}), scorer=Scorer("soft"))
    printed = soft.to_json()
    assert printed["metric"] == "soft" and printed["score"]["value"] == 0.375
    assert printed["soft"] == 0.5, "the mean over rollouts"
    scores = soft.scores()
    assert (scores["tasks"], scores["score"]["value"], scores["hard"]["value"]) == (2, 0.375, 0.25)
    assert scores["gain"] is None and printed["claim"] is None
    assert printed["by_task"]["a"]["solved"] == 0.75
    assert "included" not in printed and printed["tokens"] == 0
    empty = Row("s", "h", "m", ())
    assert empty.scores()["soft"] == 0 and empty.score == Estimate(0.0)


def test_a_rollout_that_is_shown_twice_cost_once() -> None:
    usage = Usage(1, 10, 4, 5, 0.25)
    runs = rollouts({"a": [1.0, 0.0], "b": [1.0]}, usage=usage, duration_s=2.0)
    printed = Row("s", "h", "m", (*runs, runs[0])).to_json()
    assert (printed["tokens"], printed["cost_usd"]) == (45, 0.75)
    assert printed["seconds"] == 6.0
    paid = Usage(1, 10, 4, 5, 0.0, included=True)
    assert Row("s", "h", "m", rollouts({"a": [1.0]}, usage=paid)).to_json()["included"] is True
    seen = printed["tasks"][0]
    assert (seen["task"], seen["status"], seen["hard"], seen["key"]) == ("a", "completed", 1, "a0")
    assert "others_opened" not in seen


def opened(share: float, *, should: float, content: str) -> Rollout:
    metrics = {"should_open": should, "opened": share}
    return a_rollout(a_task(content)).model_copy(update={
        "reward": Reward(1.0, metrics), "identity": {"task": content}, "usage": Usage(requests=4)
    })  # fmt: skip


def test_an_opening_counts_tasks_by_their_mean_and_not_their_runs() -> None:
    runs = [
        *(opened(one, should=1.0, content="a") for one in (1.0, 1.0, 0.0, 1.0)),
        opened(1.0, should=0.0, content="b"),
        opened(1.0, should=1.0, content="c"),
        a_rollout(a_task("d")),  # It does not say, and does not count.
    ]
    found = Row("s", "h", "m", tuple(runs)).opening
    assert found is not None and (found.tasks, found.calls) == (3, 4.0)
    assert found.precision == rate(1.75, 2.75) and found.recall == rate(1.75, 2.0)
    assert Row("s", "h", "m", tuple(runs)).to_json()["opening"] == found.to_json()
    assert (
        Opening(1, None, None, 2.0).words == "openings: no precision, no recall, 2.0 model calls "
        "a rollout"
    )


@pytest.mark.parametrize(
    ("estimate", "sign"),
    [
        (Estimate(0.5), 0), (Estimate(0.5, 0.1, 0.9), 1), (Estimate(-0.5, -0.9, -0.1), -1),
        (Estimate(0.5, 0.0, 0.9), 0), (Estimate(-0.5, -0.9, 0.0), 0), (Estimate(0.1, -0.1, 0.3), 0),
    ],
)  # fmt: skip
def test_an_interval_that_touches_0_has_no_sign(estimate: Estimate, sign: int) -> None:
    assert estimate.sign == sign


@pytest.mark.parametrize(
    ("runs", "weights", "trials"),
    [
        ([], None, float("inf")),
        ([[1.0], [0.0]], None, 2.0),
        ([[1.0, 0.0], [0.0, 0.0]], None, 4.0),
        ([[1.0, 0.0, 1.0], [0.0]], None, 4.0),
        ([[1.0, 0.5], [0.0, 0.0]], None, float("inf")),
        ([[1.0], [0.0]], [3.0, 1.0], 1.6),
    ],
)
def test_how_many_trials_some_runs_are_at_most(
    runs: list[list[float]], weights: list[float] | None, trials: float
) -> None:
    assert all_or_nothing_runs(runs, weights) == pytest.approx(trials)
    assert effective([]) == 0.0 and effective([2.0, 2.0]) == 2.0


@pytest.mark.parametrize(
    ("before", "after", "level"),
    [([0.0] * 4, [1.0] * 4, 0.98), ([0.0] * 5, [1.0] * 5, 0.95), ([1.0, 0.0], [1.0, 1.0], 0.98)],
)
def test_up_to_four_runs_of_a_task_have_an_interval_of_98_percent(
    before: list[float], after: list[float], level: float
) -> None:
    """Newcombe's method 10, with scipy's exact intervals of each share."""
    found = rate_difference(before, after)
    ends = [scipy.stats.binomtest(int(sum(runs)), len(runs)).proportion_ci(level, "exact")
            for runs in (before, after)]  # fmt: skip
    old, new = (sum(runs) / len(runs) for runs in (before, after))
    low = new - old - ((new - ends[1].low) ** 2 + (ends[0].high - old) ** 2) ** 0.5
    high = new - old + ((ends[1].high - new) ** 2 + (old - ends[0].low) ** 2) ** 0.5
    assert found is not None
    assert (found.low, found.high) == pytest.approx((max(low, -1), min(high, 1)), abs=1e-9)
    assert found.value == new - old
    assert rate_difference([1.0], after) is None and rate_difference(before, [1.0]) is None


def test_estimates_in_words() -> None:
    assert percent(Estimate(0.85, 0.64, 0.95)) == "85 % [64, 95]"
    assert percent(Estimate(0.85)) == "85 %"
    assert points(Estimate(0.6, 0.4, 0.8)) == "+60 [+40, +80]"
    assert points(Estimate(-0.6, -0.8, 0.1)) == "-60 [-80, +10]"
    assert points(Estimate(0.0)) == "+0"


def test_each_skill_is_compared_with_the_first_and_each_task_runs_as_often_as_asked() -> None:
    asked: list[tuple[Any, str, str | None, int]] = []

    def run(tasks: Any, skill: Any, *, stage: str, harness: str | None, replicate: int) -> Any:
        asked.append((skill, stage, harness, replicate))
        return rollouts({task.name: [float(skill is not None)] for task in tasks})

    config = SimpleNamespace(
        harness=SimpleNamespace(name="codex"),
        target=SimpleNamespace(name="m"),
        gate=SimpleNamespace(scorer=Scorer("soft")),
    )
    runner: Any = SimpleNamespace(config=config, rollouts=run)
    skills: Any = {"none": None, "one": "s1", "two": "s2"}
    found = compare(runner, skills, [a_task("a"), a_task("b")], replicates=2, stage="test")
    assert [(row.skill, row.harness, row.model) for row in found] == [
        ("none", "codex", "m"), ("one", "codex", "m"), ("two", "codex", "m"),
    ]  # fmt: skip
    assert [row.first for row in found] == [None, found[0], found[0]]
    assert all(len(row.rollouts) == 4 and row.scorer == Scorer("soft") for row in found)
    assert asked == [(skill, "test", None, n) for skill in (None, "s1", "s2") for n in (0, 1)]
    (other,) = compare(runner, {"none": None}, [a_task("a")], harness="direct")
    assert other.harness == "direct" and asked[-1] == (None, "eval", "direct", 0)
