"""Intervals and tests: compared with SciPy, and their coverage and width in the worst cells."""

from __future__ import annotations

import itertools
import math
import random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.coverage import Cell, exact_paired, mean_cell, paired_cell
from skillopt.evaluation.distributions import beta_cdf, exact_interval, mid_p_interval, t_quantile
from skillopt.evaluation.exact import exact_p
from skillopt.evaluation.stats import (
    Estimate,
    all_or_nothing_runs,
    kept_share,
    mean,
    paired_difference,
    rate,
    rate_difference,
    smallest_gain,
    visible_gain,
)
from skillopt.gates import power
from tests.helpers import scientific as scipy

SHARES = st.floats(0, 1)


@pytest.mark.parametrize(("a", "b"), [(0.5, 1), (1, 5), (3.3, 900), (200, 1), (1e3, 4e3)])
def test_beta_is_that_of_scipy(a: float, b: float) -> None:
    for x in (0.0, 0.001, 0.1, 0.3, 0.5, 0.9, 0.999, 1.0):
        assert beta_cdf(x, a, b) == pytest.approx(scipy.special.betainc(a, b, x), abs=1e-10)


@pytest.mark.parametrize("degrees", [1, 4, 19.5, 199])
def test_t_is_that_of_scipy(degrees: float) -> None:
    assert t_quantile(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), rel=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 5), (5, 5), (7, 20), (199, 200)])
def test_rates_have_the_exact_interval_of_scipy(successes: int, trials: int) -> None:
    theirs = scipy.stats.binomtest(successes, trials).proportion_ci(0.95, "exact")
    found = rate(successes, trials)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    single = [1.0] * successes + [0.0] * (trials - successes)
    again = mean(single)
    assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=1e-9)


def test_mid_p_counts_the_outcome_half() -> None:
    low, high = mid_p_interval(3, 10)
    for share, sign in ((low, 1), (high, -1)):
        tail = scipy.stats.binomtest(3, 10, share, "greater" if sign > 0 else "less").pvalue
        point = math.comb(10, 3) * share**3 * (1 - share) ** 7
        assert tail - point / 2 == pytest.approx(0.025, abs=1e-9)
    exact = exact_interval(3, 10)
    assert exact[0] < low and high < exact[1]


def test_one_task_has_no_interval() -> None:
    nothing = [rate(1, 1), mean([1.0]), mean([0.5], None, 3), paired_difference([0.0], [1.0])]
    assert all(found.low is None and found.high is None for found in nothing)
    assert [found.value for found in nothing] == [1.0, 1.0, 0.5, 1.0]
    assert rate(0, 0) == Estimate(0.0) and mean([]) == Estimate(0.0)
    assert kept_share([1.0], [1.0]) is None
    assert rate_difference([1.0], [0.0]) is None


def test_repeating_does_not_make_five_tasks_sure() -> None:
    assert mean([1.0] * 5, None, 15) == mean([1.0] * 5) == rate(5, 5)
    assert (rate(5, 5).low or 0) < 0.5
    assert width(mean([0.5] * 20, None, 40)) < width(mean([0.0, 1.0] * 10))


@given(
    st.lists(st.tuples(SHARES, SHARES), min_size=2, max_size=20),
    st.sampled_from([math.inf, 100.0]),
)
def test_no_interval_is_of_no_width_or_leaves_its_value_out(
    pairs: list[tuple[float, float]], runs: float
) -> None:
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    for found, least in ((mean(after, None, runs), 0), (paired_difference(before, after), -1)):
        assert found.low is not None and found.high is not None
        assert least <= found.low <= found.value + 1e-9 and found.value - 1e-9 <= found.high <= 1
        assert found.high - found.low > 1e-3


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=30))
def test_for_single_runs_the_test_is_mcnemars(changes: list[float]) -> None:
    up, down = changes.count(1.0), changes.count(-1.0)
    theirs = scipy.stats.binomtest(up, up + down).pvalue if up + down else 1.0
    assert exact_p(changes) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("count", [7, 15, 30])
def test_for_degrees_the_test_is_the_permutation_test_of_scipy(count: int) -> None:
    rng = random.Random(count)
    changes = [rng.randint(-2, 4) / 4 for _ in range(count)]
    theirs = scipy.stats.permutation_test(
        (changes, [0.0] * count),
        lambda x, y, axis: (x - y).sum(axis=axis),
        permutation_type="samples",
        n_resamples=40_000,
        vectorized=True,
    ).pvalue
    assert exact_p(changes) == pytest.approx(theirs, abs=1e-9 if count < 16 else 0.01)


def test_many_changes_of_many_sizes_are_sampled_always_alike() -> None:
    rng = random.Random(1)
    changes = [rng.gauss(0.02, 0.3) for _ in range(300)]
    assert exact_p(changes) == exact_p(changes) > 1e-4
    assert exact_p([abs(change) for change in changes]) == pytest.approx(1e-4)


@pytest.mark.parametrize(("drift", "weighted"), [(0.0, False), (0.03, False), (0.03, True)])
def test_sampled_signs_are_as_many_as_said_and_agree_with_the_normal_limit(
    drift: float, weighted: bool
) -> None:
    rng = random.Random(3)
    changes = [rng.gauss(drift, 0.3) for _ in range(200)]
    weights = [1.0 + number % 3 for number in range(200)] if weighted else [1.0] * 200
    found = exact_p(changes, weights if weighted else None)
    assert found * 10_000 == pytest.approx(round(found * 10_000)), "9,999 signs and the observed"
    steps = [change * weight for change, weight in zip(changes, weights, strict=True)]
    spread = math.sqrt(sum(step * step for step in steps))
    limit = 2 * NormalDist().cdf(-abs(sum(steps)) / spread)
    assert found == pytest.approx(limit, abs=0.02)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=2, max_size=25))
def test_the_interval_says_what_the_test_says(changes: list[float]) -> None:
    found = paired_difference([max(-c, 0) for c in changes], [max(c, 0) for c in changes])
    assert found.sign == 0 or exact_p(changes) <= 0.05


def test_whatever_the_exact_test_shows_the_interval_of_single_runs_shows() -> None:
    for tasks in (6, 8, 12, 20, 30):
        for up, down in itertools.product(range(tasks + 1), repeat=2):
            if down < up <= tasks - down:
                changes = [1.0] * up + [-1.0] * down + [0.0] * (tasks - up - down)
                found = paired_difference([0.0] * tasks, changes)
                assert (found.sign == 1) == (exact_p(changes) <= 0.05), (tasks, up, down)


def test_differences_on_one_task_hold_for_few_runs() -> None:
    """The coverage of all pairs of rates, counted."""
    for runs in (2, 3, 5):
        ends = {
            (a, b): rate_difference([1.0] * a + [0.0] * (runs - a), [1.0] * b + [0.0] * (runs - b))
            for a, b in itertools.product(range(runs + 1), repeat=2)
        }
        for old, new in itertools.product((0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98), repeat=2):
            held = math.fsum(
                binomial(a, runs, old) * binomial(b, runs, new)
                for (a, b), found in ends.items()
                if found and (found.low or -1) <= new - old <= (found.high or 1)
            )
            assert held >= 0.93, (runs, old, new)


def test_a_visible_gain_is_confirmed_in_80_of_100_cases() -> None:
    rng = random.Random(5)
    for tasks, lost in ((20, 0.0), (40, 0.05), (100, 0.1)):
        gain = power.visible_gain(tasks, 2 * lost)
        assert gain is not None
        confirmed = 0
        for _ in range(300):
            draws = [rng.random() for _ in range(tasks)]
            changes = [1.0 if u < lost + gain else -1.0 if u > 1 - lost else 0.0 for u in draws]
            found = paired_difference([0.0] * tasks, changes)
            confirmed += found.sign == 1
        assert 0.75 <= confirmed / 300 <= 0.93, (tasks, lost)


def test_visible_gains_grow_with_chance_and_shrink_with_tasks() -> None:
    assert visible_gain([0.0] * 5) is None and visible_gain([1.0]) is None
    few, many, noisy = ([0.0] * 20, [0.0] * 200, [1.0] * 6 + [-1.0] * 6 + [0.0] * 8)
    assert (visible_gain(many) or 1) < (visible_gain(few) or 1) < (visible_gain(noisy) or 1)
    graded = [0.1, -0.1, 0.05, 0.2] * 10
    assert (visible_gain(graded) or 1) < (visible_gain([1.0, -1.0, 0.0, 0.0] * 10) or 1)
    assert smallest_gain(6) is not None


def test_shares_kept_are_wide_for_few_tasks() -> None:
    few, many = kept_share([1.0] * 4, [1.0] * 4), kept_share([1.0] * 40, [1.0, 0.0] * 20)
    assert few is not None and few.value == 1 and width(few) > 0.5
    assert many is not None and many.value == 0.5 and width(many) < 0.45


@pytest.mark.parametrize(
    "cell",
    [
        Cell(5, 1, 0.02), Cell(10, 2, 0.95), Cell(5, 3, 0.9), Cell(20, 5, 0.1, 0.5),
        Cell(50, 3, 0.05, 0.5), Cell(50, 5, 0.95, 0.35),
    ],
    ids=str,
)  # fmt: skip
def test_scores_hold_in_the_worst_cells(cell: Cell) -> None:
    found = mean_cell(cell, 400)
    assert found.coverage >= 0.92 and found.width <= 1.15 and found.narrowest > 0.01


@pytest.mark.parametrize(
    "cell",
    [
        Cell(20, 1, 0.9, 0.5, 0.95), Cell(20, 1, 0.02, 0.5, 0.9), Cell(50, 1, 0.02, 0.5, 0.06),
        Cell(10, 1, 0.3, 0.5, 0.3), Cell(10, 1, 0.5, 0.0, 0.5), Cell(5, 5, 0.98, 1.0, 0.3),
    ],
    ids=str,
)  # fmt: skip
def test_gains_hold_in_the_worst_cells(cell: Cell) -> None:
    found = paired_cell(cell, 400)
    assert found.coverage >= 0.92 and found.width <= 1.15 and found.narrowest > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [5, 20])
def test_scores_between_nothing_and_all_hold_too(tasks: int) -> None:
    """Also if nearly all are alike, and a rare one is not."""
    rng = random.Random(tasks)
    worlds = {
        "spread": (lambda: rng.betavariate(8, 2), 0.8),
        "alike": (lambda: rng.betavariate(50, 50), 0.5),
        "rarely nothing": (lambda: 0.0 if rng.random() < 0.03 else 0.95, 0.95 * 0.97),
        "often nothing": (lambda: 0.0 if rng.random() < 0.1 else 0.95, 0.95 * 0.9),
    }
    for name, (draw, truth) in worlds.items():
        held = gained = 0
        for _ in range(200):
            values = [draw() for _ in range(tasks)]
            found, gain = mean(values), paired_difference([0.0] * tasks, values)
            held += (found.low or 0) <= truth <= (found.high or 1)
            gained += (gain.low or 0) <= truth <= (gain.high or 1)
        assert held >= 0.93 * 200 and gained >= 0.92 * 200, name


def test_the_exact_paired_interval_is_one() -> None:
    """What widths are compared with covers at least as often as it claims, counted."""
    ends = exact_paired(8)
    for up, down in ((0.1, 0.0), (0.3, 0.1), (0.6, 0.3), (0.05, 0.05)):
        held = math.fsum(
            math.comb(8, a) * math.comb(8 - a, b) * up**a * down**b * (1 - up - down) ** (8 - a - b)
            for (a, b), (low, high) in ends.items()
            if low <= up - down <= high
        )
        assert held >= 0.95


def test_runs_of_all_or_nothing_are_counted() -> None:
    assert all_or_nothing_runs([[1.0, 0.0], [1.0, 1.0]]) == 4
    assert all_or_nothing_runs([[1.0, 0.5]]) == math.inf == all_or_nothing_runs([])
    assert all_or_nothing_runs([[1.0], [0.0]], [4.0, 1.0]) == pytest.approx(25 / 17)


def width(found: Estimate) -> float:
    assert found.low is not None and found.high is not None
    return found.high - found.low


def binomial(successes: int, trials: int, share: float) -> float:
    ways = math.comb(trials, successes)
    return ways * share**successes * (1 - share) ** (trials - successes)
