"""The strict gate decides as the full evaluation would, and runs no more than it must."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.config.schema import Metric
from skillopt.core.types import GateDecision, Reward, Rollout, Task
from skillopt.gates.auto import AutoGate
from skillopt.gates.base import Measure, Side, Trial, mean_score
from skillopt.gates.fresh import FreshGate
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
    assert mean_score(rewards[:2], "mixed") == pytest.approx((1.0 + 0.25) / 2)
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


def tied(
    before: Sequence[float], after: Sequence[float], block: int = 1
) -> tuple[GateDecision, list[int]]:
    """A decision for which the same score is enough."""
    tasks = [a_task(f"t{i:02}") for i in range(len(before))]
    known = {t.name: [Reward(r)] for t, r in zip(tasks, before, strict=True)}
    rewards = {t.name: r for t, r in zip(tasks, after, strict=True)}
    asked: list[int] = []
    trial = Trial(tasks, known, measuring(rewards, asked), ties=True)
    return StrictGate(block=block).decide(trial), asked


@pytest.mark.parametrize(
    ("before", "after", "accepted", "reason"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], True, "0.5000 is no less"),
        ([0, 0, 1, 1], [1, 1, 0, 0], True, "0.5000 is no less"),
        ([0, 0, 1, 1], [1, 0, 1, 1], True, "0.7500 is greater than 0.5000"),
        ([1, 1], [1, 1], True, "1.0000 is no less"),
        ([0, 1], [0, 0], False, "0.0000 is less than 0.5000"),
        ([0, 0, 1, 1, 1], [0, 0, 0, 1, 1], False, "at most 0.4000 after 4 of 5 tasks, which is "),
    ],
)
def test_with_ties_the_same_score_is_enough_and_less_is_not(
    before: list[float], after: list[float], accepted: bool, reason: str
) -> None:
    decision, asked = tied(before, after)
    assert decision.accepted is accepted
    assert decision.reason.startswith(reason)
    assert decision.score_before == sum(before) / len(before)
    assert decision.evaluated == sum(asked)
    if accepted:
        assert decision.evaluated == len(before)
    else:
        assert decision.reason.endswith(f"less than {decision.score_before:.4f}")


def test_a_tie_on_the_tasks_so_far_is_no_decision() -> None:
    """Full marks on the rest would do; each of them must be run."""
    decision, asked = tied([0.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0])
    assert not decision.accepted and decision.evaluated == 4
    assert asked == [1, 2, 1]


@pytest.mark.parametrize(
    ("tasks", "block", "asked"),
    [
        (4, 8, [4]),
        (20, 8, [20]),  # All of them have to be lost before it can stop.
        (20, 1, [20]),
    ],
)
def test_the_first_block_has_as_many_tasks_as_have_to_be_lost(
    tasks: int, block: int, asked: list[int]
) -> None:
    assert decide([0.0] * tasks, [0.0] * tasks, block=block)[1] == asked


@pytest.mark.parametrize(
    ("failed", "solved", "block", "asked"),
    [
        # Two failed tasks first; the candidate solves them, so two more have to be lost.
        (2, 18, 1, [2, 9, 5, 2, 2]),
        (2, 18, 8, [8, 8, 4]),
        (10, 10, 4, [10, 10]),
    ],
)
def test_a_later_block_has_at_least_half_of_the_rest(
    failed: int, solved: int, block: int, asked: list[int]
) -> None:
    before = [0.0] * failed + [1.0] * solved
    decision, blocks = decide(before, [1.0] * len(before), block=block)
    assert decision.accepted and blocks == asked


def test_by_default_a_block_has_eight_tasks_and_the_mixed_metric_is_half_and_half() -> None:
    tasks = [a_task(f"t{i:02}") for i in range(9)]
    asked: list[int] = []
    measure = measuring({task.name: 1.0 for task in tasks}, asked)
    known = {task.name: [Reward(float(i > 0))] for i, task in enumerate(tasks)}
    assert StrictGate().decide(Trial(tasks, known, measure)).accepted
    assert asked == [8, 1]
    one = [a_task("t")]
    partial = Trial(one, {"t": [Reward(0.4)]}, measuring({"t": 0.5}, []))
    decision = StrictGate("mixed").decide(partial)
    assert (decision.score_before, decision.score_after) == (0.2, 0.25)


@pytest.mark.parametrize("gate", [StrictGate, FreshGate, AutoGate])
def test_by_default_what_is_solved_counts_and_a_mix_is_half(
    gate: type[StrictGate] | type[FreshGate] | type[AutoGate],
) -> None:
    assert (gate().metric, gate().mix) == ("hard", 0.5)
