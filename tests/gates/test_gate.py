"""The strict gate decides as the full evaluation would, and runs no more than it must."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.config.schema import Metric
from skillopt.core.types import GateDecision, Reward, Rollout, Task
from skillopt.gates.base import Measure, Side, Trial, mean_score
from skillopt.gates.strict import StrictGate
from tests.helpers.values import a_rollout, a_task


def measuring(rewards: dict[str, float], asked: list[int]) -> Measure:
    def measure(side: Side, tasks: Sequence[Task], replicate: int) -> list[Rollout]:
        assert (side, replicate) == ("candidate", 0)
        asked.append(len(tasks))
        return [a_rollout(task, rewards[task.name]) for task in tasks]

    return measure


def decide(
    before: Sequence[float], after: Sequence[float], metric: Metric = "hard", block: int = 1
) -> tuple[GateDecision, list[int]]:
    tasks = [a_task(f"t{i:02}") for i in range(len(before))]
    known = {t.name: [Reward(r)] for t, r in zip(tasks, before, strict=True)}
    rewards = {t.name: r for t, r in zip(tasks, after, strict=True)}
    asked: list[int] = []
    gate = StrictGate(metric, block=block)
    return gate.decide(Trial(tasks, known, measuring(rewards, asked))), asked


TENTHS = st.integers(0, 10).map(lambda n: n / 10)
TABLES = st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=20)


@given(TABLES, st.sampled_from(["hard", "soft"]), st.integers(1, 9))
def test_decision_is_that_of_the_full_evaluation(
    table: list[tuple[float, float]], metric: Metric, block: int
) -> None:
    before, after = zip(*table, strict=True)
    decision, asked = decide(before, after, metric, block)
    # Tenths, counted: an oracle without fractions and without rounding.
    tenths = [[round(r * 10) if metric == "soft" else int(r) for r in c] for c in (before, after)]
    assert decision.accepted == (sum(tenths[1]) > sum(tenths[0]))
    assert decision.evaluated == sum(asked)
    assert all(n >= block for n in asked[:-1])
    if decision.score_after is None:
        assert decision.evaluated < decision.total
        assert decision.upper_bound <= decision.score_before
    else:
        assert decision.evaluated == decision.total == len(decision.rollouts)
        assert decision.score_after == decision.upper_bound


@given(TABLES, st.integers(1, 9))
def test_blocks_do_not_change_the_decision(table: list[tuple[float, float]], block: int) -> None:
    before, after = zip(*table, strict=True)
    assert (
        decide(before, after, "soft", block)[0].accepted
        == decide(before, after, "soft")[0].accepted
    )


def test_the_mixed_metric_weighs_both_rewards() -> None:
    rewards = [Reward(1.0), Reward(0.5), Reward(0.0)]
    assert mean_score(rewards, "hard") == pytest.approx(1 / 3)
    assert mean_score(rewards, "soft") == 0.5
    assert mean_score(rewards, "mixed", 0.25) == pytest.approx(0.25 * 0.5 + 0.75 / 3)
    # More partial credit, nothing more solved: seen by soft and mixed, not by hard.
    assert not decide([0.2, 1.0], [0.8, 1.0], "hard")[0].accepted
    assert decide([0.2, 1.0], [0.8, 1.0], "mixed")[0].accepted


def test_ties_are_rejected_whatever_the_order_of_summing() -> None:
    # In floating point 0.1 + 0.2 > 0.3: a gain that is none.
    assert not decide([0.3, 0.0], [0.1, 0.2], "soft")[0].accepted
    assert not decide([1.0, 0.0], [0.0, 1.0])[0].accepted


def test_a_candidate_that_changes_nothing_stops_after_what_the_incumbent_fails() -> None:
    decision, _ = decide([1.0] * 12 + [0.0] * 4, [1.0] * 12 + [0.0] * 4)
    assert decision.evaluated == 4
    assert decision.score_after is None
    assert "at most 0.7500 after 4 of 16" in decision.reason


def test_says_which_tasks_changed() -> None:
    decision, _ = decide([0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0])
    assert decision.accepted
    assert decision.fixed == ("t00", "t01")
    assert decision.broken == ("t02",)
    assert [row.task for row in decision.rollouts] == ["t00", "t01", "t02", "t03"]
    assert decision.reason == "0.7500 is greater than 0.5000"


def test_a_perfect_incumbent_needs_no_evaluation() -> None:
    decision, asked = decide([1.0, 1.0], [1.0, 1.0])
    assert not decision.accepted
    assert asked == []


def test_a_failing_evaluation_is_the_callers() -> None:
    def broken(side: Side, tasks: Sequence[Task], replicate: int) -> list[Rollout]:
        raise ConnectionError("engine gone")

    with pytest.raises(ConnectionError):
        StrictGate().decide(Trial([a_task("a")], {"a": [Reward(0.0)]}, broken))


def test_the_latest_reward_of_the_current_skill_counts() -> None:
    tasks = [a_task("a")]
    known = {"a": [Reward(1.0), Reward(0.0)]}
    assert StrictGate().decide(Trial(tasks, known, measuring({"a": 1.0}, []))).accepted
    known = {"a": [Reward(0.0), Reward(1.0)]}
    assert not StrictGate().decide(Trial(tasks, known, measuring({"a": 1.0}, []))).accepted
