"""One way from a reward to a score, exact, and from two scores to a change."""

from __future__ import annotations

from fractions import Fraction

import pytest

from skillopt.core.metric import Metric, Scorer
from skillopt.core.types import Reward

HALF = Reward(0.5)


@pytest.mark.parametrize(
    ("metric", "mix", "reward", "score"),
    [
        ("hard", 0.5, HALF, Fraction(0)),
        ("hard", 0.5, Reward(1.0), Fraction(1)),
        ("hard", 0.5, Reward(0.7, solved=True), Fraction(1)),
        ("soft", 0.5, HALF, Fraction(1, 2)),
        ("soft", 0.5, Reward(0.1), Fraction(1, 10)),
        ("soft", 0.5, Reward(1 / 3), Fraction(1, 3)),
        ("soft", 0.5, Reward(0.12345), Fraction(2469, 20000)),
        ("mixed", 0.5, HALF, Fraction(1, 4)),
        ("mixed", 0.25, HALF, Fraction(1, 8)),
        ("mixed", 0.25, Reward(0.5, solved=True), Fraction(7, 8)),
        ("mixed", 0.0, Reward(0.9), Fraction(0)),
        ("mixed", 1.0, Reward(0.9), Fraction(9, 10)),
    ],
)
def test_a_reward_is_a_score_by_its_metric(
    metric: Metric, mix: float, reward: Reward, score: Fraction
) -> None:
    assert Scorer(metric, mix).score(reward) == score


def test_by_default_only_what_is_solved_counts_and_a_mix_is_half() -> None:
    assert Scorer() == Scorer("hard", 0.5)
    assert Scorer("mixed").score(HALF) == Fraction(1, 4)


def test_a_mean_is_exact() -> None:
    assert Scorer("soft").mean([Reward(0.1)] * 3) == 0.1
    assert Scorer("soft").mean([Reward(0.25), Reward(1.0)]) == 0.625


@pytest.mark.parametrize(
    ("metric", "reward", "succeeds"),
    [
        ("hard", Reward(1.0), True), ("hard", Reward(0.99), False),
        ("soft", Reward(0.9), True), ("soft", Reward(0.89), False),
        ("mixed", Reward(0.8, solved=True), True), ("mixed", Reward(0.79, solved=True), False),
    ],
)  # fmt: skip
def test_nine_tenths_are_a_success(metric: Metric, reward: Reward, succeeds: bool) -> None:
    assert Scorer(metric).succeeds(reward) is succeeds


@pytest.mark.parametrize(
    ("metric", "before", "after", "change"),
    [
        ("hard", 0.0, 1.0, "better"), ("hard", 1.0, 0.0, "worse"), ("hard", 0.0, 0.5, "same"),
        ("soft", 0.0, 0.5, "better"), ("soft", 0.5, 0.2, "worse"), ("soft", 0.1 + 0.2, 0.3, "same"),
    ],
)  # fmt: skip
def test_what_became_of_a_task(metric: Metric, before: float, after: float, change: str) -> None:
    assert Scorer(metric).change(Reward(before), Reward(after)) == change


def test_the_word_for_a_score() -> None:
    words = [Scorer(metric).word for metric in ("hard", "soft", "mixed")]
    assert words == ["solved", "soft score", "mixed score"]
