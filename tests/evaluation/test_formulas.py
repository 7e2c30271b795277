"""The formulas of docs/statistics.md, written again with scipy, on tables of small cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from skillopt.evaluation.distributions import exact_interval, mid_p_interval, solve
from skillopt.evaluation.exact import exact_p
from skillopt.evaluation.stats import (
    Estimate,
    RunScores,
    difference_of_runs,
    kept_share,
    mean,
    mean_of_runs,
    paired_difference,
    percent,
    points,
    rate,
    smallest_gain,
    visible_gain,
)
from skillopt.gates import power
from tests.helpers import scientific as scipy

INF = math.inf


def moments(values: list[float], weights: list[float]) -> tuple[float, float, float]:
    """How many tasks, their mean and their variance, as numpy has them."""
    w = np.array(weights)
    tasks = w.sum() ** 2 / (w**2).sum()
    middle = np.average(values, weights=w)
    spread = np.average((np.array(values) - middle) ** 2, weights=w)
    return float(tasks), float(middle), float(spread * tasks / (tasks - 1))


def trials_of(tasks: float, variance: float, worst: float, runs: float) -> float:
    if worst <= 1e-12:
        return tasks
    weight = 1.0 if math.isinf(runs) else 4.0
    shrunk = ((tasks - 1) * variance + weight * worst) / (tasks - 1 + weight)
    ratio = scipy.stats.norm.ppf(0.975) / scipy.stats.t.ppf(0.975, tasks - 1)
    return min(tasks * max(worst / shrunk * ratio**2, 1.0), max(runs, tasks))


def clopper(successes: float, trials: float, level: float = 0.95) -> tuple[float, float]:
    tail, failures = (1 - level) / 2, trials - successes
    low = scipy.stats.beta.ppf(tail, successes, failures + 1) if successes > 0 else 0.0
    high = scipy.stats.beta.ppf(1 - tail, successes + 1, failures) if failures > 0 else 1.0
    return float(low), float(high)


def mid_p(successes: float, trials: float) -> tuple[float, float]:
    failures = trials - successes

    def half(p: float) -> float:
        at_least = scipy.stats.beta.cdf(p, successes, failures + 1) if successes > 0 else 1.0
        more = scipy.stats.beta.cdf(p, successes + 1, failures) if failures > 0 else 0.0
        return float(at_least + more) / 2

    low = (
        scipy.optimize.brentq(lambda p: half(p) - 0.025, 1e-12, 1 - 1e-12) if successes > 0 else 0.0
    )
    high = (
        scipy.optimize.brentq(lambda p: half(p) - 0.975, 1e-12, 1 - 1e-12) if failures > 0 else 1.0
    )
    return low, high


VALUES = [
    [1.0, 0.0], [1.0, 1.0, 0.0], [0.5, 0.5, 0.5], [0.2, 0.9, 0.4, 0.6], [1.0, 1.0, 1.0, 1.0],
    [0.5] * 40, [0.2] * 30, [0.0, 0.0, 0.0],
    [0.9, 0.95, 0.9, 1.0, 0.85, 0.9], [1 / 3, 2 / 3, 1.0, 0.0, 1 / 3],
]  # fmt: skip


@pytest.mark.parametrize("runs", [INF, 6.0, 30.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("values", VALUES, ids=str)
def test_the_mean_of_tasks(values: list[float], weighted: bool, runs: float) -> None:
    weights = [float(1 + n % 3) for n in range(len(values))] if weighted else [1.0] * len(values)
    tasks, middle, variance = moments(values, weights)
    trials = trials_of(tasks, variance, middle * (1 - middle), runs)
    low, high = clopper(middle * trials, trials)
    if math.isinf(runs):
        seen = 0.025 ** (1 / tasks)
        low, high = min(low, middle * seen), max(high, 1 - (1 - middle) * seen)
    found = mean(values, weights if weighted else None, runs)
    assert found.value == pytest.approx(middle)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-7)


CHANGES = [
    [1.0, 1.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.5, -0.25, 0.0, 1.0, 0.75], [0.0, 0.0, 0.0],
    [1.0] * 8, [-1.0] * 7 + [0.0], [0.4, 0.5, 0.45, 0.6, 0.5, 0.55], [1.0] * 6 + [-1.0] * 3,
    [1.0, -1.0],
]  # fmt: skip


def difference(changes: list[float], weights: list[float], runs: float) -> Estimate:
    """MOVER with mid-P intervals of what is gained and lost."""
    tasks, middle, variance = moments(changes, weights)
    gained = float(np.average(np.maximum(changes, 0.0), weights=weights))
    lost = float(np.average(np.maximum(np.negative(changes), 0.0), weights=weights))
    trials = trials_of(tasks, variance, gained + lost - middle**2, runs)
    (a, b), (c, d) = mid_p(gained * trials, trials), mid_p(lost * trials, trials)
    rest = (1 - gained) * (1 - lost)
    r = -min(1.0, math.sqrt(gained * lost / rest)) if rest > 0 else 0.0

    def half(up: float, down: float) -> float:
        return math.sqrt(max(0.0, up**2 + down**2 - 2 * r * up * down))

    low = max(-1.0, gained - lost - half(gained - a, d - lost))
    high = min(1.0, gained - lost + half(b - gained, lost - c))
    if math.isinf(runs):
        least = (gained - lost) * 0.05 ** (1 / tasks)
        low, high = min(low, least), max(high, least)
    return Estimate(gained - lost, low, high)


@pytest.mark.parametrize("runs", [INF, 12.0])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_difference_of_two_skills(changes: list[float], weighted: bool, runs: float) -> None:
    weights = [float(1 + n % 2) for n in range(len(changes))] if weighted else [1.0] * len(changes)
    right = difference(changes, weights, runs)
    low, high = right.low or 0.0, right.high or 0.0
    if (low > 0 or high < 0) and exact_p(changes, weights) > 0.05:
        low, high = min(low, 0.0), max(high, 0.0)
    before = [max(-change, 0.0) for change in changes]
    after = [max(change, 0.0) for change in changes]
    found = paired_difference(before, after, weights if weighted else None, runs)
    assert found.value == pytest.approx(right.value)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 5), (5, 5), (2, 7), (2.5, 6.25), (1, 1), (99, 100)]
)
def test_intervals_of_a_share(successes: float, trials: float) -> None:
    for level in (0.95, 0.98):
        right = clopper(successes, trials, level)
        assert exact_interval(successes, trials, level) == pytest.approx(right, abs=1e-9)
    assert mid_p_interval(successes, trials) == pytest.approx(mid_p(successes, trials), abs=1e-9)


@pytest.mark.parametrize(
    ("target", "power_of"), [(0.25, 1), (0.5, 3), (0.001, 5), (0.999, 9), (1.0, 2), (0.0, 2)]
)
def test_an_increasing_function_is_solved(target: float, power_of: int) -> None:
    assert solve(lambda x: x**power_of, target) == pytest.approx(target ** (1 / power_of), abs=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        [1.0], [1.0, 1.0, -1.0], [0.5, -0.25, 0.125], [0.5, 0.5, -0.5, 0.25], [0.0, 1.0, 0.0],
        [0.3, 0.1, 0.2, -0.4, 0.6], [0.25, -0.25, 0.5, -0.5], [1.0, 0.5] * 4,
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("weighted", [False, True])
def test_the_exact_test_is_the_share_of_signs(changes: list[float], weighted: bool) -> None:
    weights = [float(1 + n % 2) for n in range(len(changes))] if weighted else [1.0] * len(changes)
    steps = [abs(c) * w for c, w in zip(changes, weights, strict=True)]
    observed = abs(sum(c * w for c, w in zip(changes, weights, strict=True)))
    sums = [abs(sum(s * one for s, one in zip(signs, steps, strict=True)))
            for signs in itertools.product((1, -1), repeat=len(steps))]  # fmt: skip
    right = sum(one >= observed - 1e-9 for one in sums) / len(sums)
    assert exact_p(changes, weights if weighted else None) == pytest.approx(right)
    assert exact_p([], None) == 1.0 or exact_p([0.0], None) == 1.0


@pytest.mark.parametrize("changes", [[1.0] * 12 + [-0.5] * 8, [0.25, -0.5, 1.0] * 6 + [0.5]])
def test_many_changes_are_counted(changes: list[float]) -> None:
    """More than are tried one by one; their sums are counted as scipy's convolution would."""
    unit = 4
    chances = np.ones(1)
    for change in changes:
        size = round(abs(change) * unit)
        step = np.zeros(2 * size + 1)
        step[0] = step[-1] = 0.5
        chances = np.convolve(chances, step)
    sums = np.abs(np.arange(len(chances)) - len(chances) // 2)
    right = chances[sums >= round(abs(sum(changes)) * unit)].sum()
    assert exact_p(changes) == pytest.approx(float(right), abs=1e-9)


@pytest.mark.parametrize("tasks", [1, 5, 6, 7, 12, 40])
def test_the_smallest_gain_is_the_least_whose_interval_is_above_0(tasks: int) -> None:
    found = smallest_gain(tasks)
    signs = [paired_difference([0.0] * tasks, [1.0] * n + [0.0] * (tasks - n)).sign
             for n in range(tasks + 1)]  # fmt: skip
    if 1 not in signs:
        assert found is None
    else:
        assert found is not None and round(found.value * tasks) == signs.index(1)


@pytest.mark.parametrize(
    ("changes", "weights", "tasks", "chance"),
    [
        # Lost tasks, with half of one more, are the chance in an evaluation of all or nothing.
        ([1.0] * 6 + [0.0] * 6, None, 12, 2 * 0.5 / 13),
        ([1.0] * 6 + [-1.0] * 3 + [0.0] * 3, None, 12, 2 * 3.5 / 13),
        ([0.0] * 9, None, 9, 2 * 0.5 / 10),
        ([1.0, -1.0] * 4, [2.0] * 8, 8, 2 * 4.5 / 9),
    ],
)
def test_the_visible_gain_of_single_runs(
    changes: list[float], weights: list[float] | None, tasks: int, chance: float
) -> None:
    assert visible_gain(changes, weights) == power.visible_gain(tasks, round(chance, 3))


def test_the_visible_gain_of_degrees_is_that_of_a_t_test() -> None:
    changes = [0.4, 0.5, 0.45, 0.1, -0.2, 0.55, 0.3, 0.2]
    tasks, middle, variance = moments(changes, [1.0] * 8)
    worst = float(np.mean(np.abs(changes))) - middle**2
    spread = math.sqrt((7 * variance + worst) / 8 / tasks)
    right = (scipy.stats.t.ppf(0.975, 7) + scipy.stats.norm.ppf(0.8)) * spread
    assert visible_gain(changes) == pytest.approx(right)
    assert visible_gain(changes[:5]) is None, "too few for any gain"
    assert visible_gain([0.99, -0.99, 0.9, -0.9, 0.95, -0.95]) is None, "more than all"


@pytest.mark.parametrize(
    ("source", "elsewhere", "kept"),
    [
        ([1.0] * 9 + [0.0], [1.0] * 9 + [0.0], 1.0),
        ([1.0] * 9 + [0.0], [0.5] * 9 + [0.0], 0.5),
        ([1.0] * 9 + [0.0], [0.0] * 10, 0.0),
        ([1.0] * 9 + [0.0], [-1.0] * 9 + [0.0], -1.0),
        # Nothing to keep, or a loss.
        ([0.0] * 10, [1.0] * 10, None),
        ([1.0, -1.0] * 5, [1.0] * 10, None),
        ([-1.0] * 10, [-1.0] * 10, None),
        # The interval is cut at nine times the gain.
        ([0.3] * 6 + [0.0] * 2, [1.0] * 8, 40 / 9),
        ([0.3] * 6 + [0.0] * 2, [-1.0] * 8, -40 / 9),
        # A gain that may be none.
        ([1.0, 1.0] + [0.0] * 8, [1.0, 1.0] + [0.0] * 8, None),
    ],
)
def test_the_share_of_a_gain_that_is_kept(
    source: list[float], elsewhere: list[float], kept: float | None
) -> None:
    found = kept_share(source, elsewhere)
    assert (found and found.value) == (None if kept is None else pytest.approx(kept))
    if found is None or found.low is None or found.high is None:
        return
    assert abs(found.value) < 4 or 9.0 in (found.high, -found.low)
    # Just inside the interval what is kept minus that share may be 0, just outside it may not.
    assert -9 <= found.low <= found.value <= found.high <= 9
    for end, sign in ((found.low, -1), (found.high, 1)):
        if abs(end) < 9:
            for share, out in ((end - sign * 0.01, False), (end + sign * 0.01, True)):
                rest = [(e - share * s) / (1 + abs(share))
                        for s, e in zip(source, elsewhere, strict=True)]  # fmt: skip
                right = difference(rest, [1.0] * len(rest), INF)
                assert (right.sign != 0) is out


@pytest.mark.parametrize(
    ("values", "trials", "different"),
    [
        ((0.2, 0.5, 0.9), 1000.0, 3), ((1.0, 1.0, 1.0), 20.0, 3), ((0.0, 0.0), 5.0, 2),
        ((0.5,), 20.0, 1), ((0.5, 0.5, 0.6), 40.0, 2), ((0.25, 0.25, 0.25), 20.0, 1),
    ],
)  # fmt: skip
def test_the_spread_of_runs_is_at_least_that_of_chance(
    values: tuple[float, ...], trials: float, different: int
) -> None:
    found, middle = RunScores(values, trials, different), sum(values) / len(values)
    share = (middle * trials + 0.5) / (trials + 1)
    chance = share * (1 - share) / trials
    own = float(np.var(values, ddof=1)) if len(values) > 1 else 0.0
    assert (found.mean, found.chance) == (pytest.approx(middle), pytest.approx(chance))
    assert found.spread == pytest.approx(max(own, chance) / different)
    assert found.free == (INF if different == 1 else len(values) - 1)
    alone = mean_of_runs(found)
    if different == 1:
        assert alone == Estimate(found.mean)
    else:
        half = scipy.stats.t.ppf(0.975, len(values) - 1) * math.sqrt(found.spread)
        ends = max(0.0, middle - half), min(1.0, middle + half)
        assert (alone.low, alone.high) == pytest.approx(ends)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (RunScores((0.5,), 20.0, 1), RunScores((0.75,), 20.0, 1)),
        (RunScores((0.2, 0.5, 0.9), 50.0, 3), RunScores((0.6,), 20.0, 1)),
        (RunScores((0.2, 0.5, 0.9), 50.0, 3), RunScores((0.6, 0.9), 20.0, 2)),
        (RunScores((0.0, 0.0), 5.0, 2), RunScores((1.0, 1.0), 5.0, 2)),
        (RunScores((1.0, 1.0), 5.0, 2), RunScores((0.0, 0.0), 5.0, 2)),
    ],
)
def test_the_difference_of_runs_has_welchs_degrees(before: RunScores, after: RunScores) -> None:
    total = before.spread + after.spread
    known = sum(one.spread**2 / one.free for one in (before, after))
    quantile = scipy.stats.t.ppf(0.975, total**2 / known) if known else scipy.stats.norm.ppf(0.975)
    half, value = quantile * math.sqrt(total), after.mean - before.mean
    found = difference_of_runs(before, after)
    assert found.value == pytest.approx(value)
    ends = max(-1.0, value - half), min(1.0, value + half)
    assert (found.low, found.high) == pytest.approx(ends)


@pytest.mark.parametrize(
    ("estimate", "share", "gain"),
    [
        (Estimate(0.854, 0.636, 0.949), "85 % [64, 95]", "+85 [+64, +95]"),
        (Estimate(-0.1, -0.256, 0.0), "-10 % [-26, 0]", "-10 [-26, +0]"),
        (Estimate(0.5), "50 %", "+50"), (Estimate(0.5, 0.1, None), "50 %", "+50"),
        (Estimate(0.5, None, 0.9), "50 %", "+50"),
    ],
)  # fmt: skip
def test_estimates_as_people_read_them(estimate: Estimate, share: str, gain: str) -> None:
    assert (percent(estimate), points(estimate)) == (share, gain)


@pytest.mark.parametrize(
    ("successes", "trials", "value", "interval"),
    [
        (0, 0, 0.0, False), (1, 1, 1.0, False), (0.5, 1, 0.5, False), (1, 2, 0.5, True),
        (1.5, 1.5, 1.0, True), (2.0000000001, 4, 0.5, True),
    ],
)  # fmt: skip
def test_a_rate_has_an_interval_from_more_than_one_trial_on(
    successes: float, trials: float, value: float, interval: bool
) -> None:
    found = rate(successes, trials)
    assert found.value == pytest.approx(value) and (found.low is not None) is interval
    if interval:
        right = clopper(round(successes, 9), trials)
        assert (found.low, found.high) == pytest.approx(right, abs=1e-9)
