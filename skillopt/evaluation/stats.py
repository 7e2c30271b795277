"""Intervals and tests for scores that hold for few tasks, for outcomes of all or nothing and for
repetitions. Their coverage is simulated in ``benchmarks/coverage.py``, see docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from skillopt.evaluation.distributions import (
    LEVEL,
    exact_interval,
    mid_p_interval,
    t_quantile,
)
from skillopt.evaluation.exact import exact_p
from skillopt.gates import power

_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
_WORST, _WORST_OF_DEGREES = 4.0, 1.0
"""Degrees of freedom with which the greatest possible variance counts beside the observed one, so
that values that happen to agree are not taken for sure: of several runs of all or nothing, and of
scores in between."""
_LARGEST_SHARE = 9.0


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval. One task has no interval: both ends are None then."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def sign(self) -> int:
        """1 or -1 if the whole interval lies above or below 0, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def rate(successes: float, trials: float) -> Estimate:
    """A share of independent trials with Clopper and Pearson's exact interval (1934).

    Args:
        successes, trials: numbers; not whole ones if trials have different weights.
    """
    if trials <= 1:
        return Estimate(successes / trials if trials else 0.0)
    return Estimate(successes / trials, *exact_interval(round(successes, 9), round(trials, 9)))


def effective(weights: Sequence[float]) -> float:
    """How many trials of equal weight say as much as these (Kish 1965)."""
    return math.fsum(weights) ** 2 / math.fsum(w * w for w in weights) if weights else 0.0


def all_or_nothing_runs(
    runs: Sequence[Sequence[float]], weights: Sequence[float] | None = None
) -> float:
    """How many trials of all or nothing some tasks' runs are at most; no limit if any score lies
    between, as such scores say more.

    Args:
        runs: the scores of each task's repetitions.
        weights: how often each task counts; by default once.
    """
    if not runs or any(score not in (0.0, 1.0) for scores in runs for score in scores):
        return math.inf
    each = math.fsum(map(len, runs)) / len(runs)
    return each * effective(weights or [1.0] * len(runs))


def mean(
    values: Sequence[float], weights: Sequence[float] | None = None, runs: float = math.inf
) -> Estimate:
    """The mean score of independent tasks, each perhaps from several runs.

    The exact interval for as many trials as the tasks are worth (Korn and Graubard, Survey
    Methodology 24, 1998): at least one each, and more if their scores differ less than those of
    tasks that are solved or not. For one run each of all or nothing this is :func:`rate`.
    Scores in between may be alike by chance: as many tasks as can go unseen may score 0 or 1.

    Args:
        values: scores in [0, 1]; of a task with several runs their mean.
        weights: how often each counts; by default once.
        runs: the most trials that they can be worth: the number of runs of all or nothing.
    """
    found = _Weighted.of(values, weights)
    if found.tasks <= 1:
        return Estimate(found.mean)
    trials = round(found.trials(found.mean * (1 - found.mean), runs), 9)
    share = min(max(found.mean, 0.0), 1.0)
    low, high = exact_interval(round(share * trials, 9), trials)
    if math.isinf(runs):
        seen = ((1 - LEVEL) / 2) ** (1 / found.tasks)
        low, high = min(low, share * seen), max(high, 1 - (1 - share) * seen)
    return Estimate(found.mean, low, high)


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    weights: Sequence[float] | None = None,
    runs: float = math.inf,
) -> Estimate:
    """The mean difference of two skills on the same tasks, in the same order.

    The interval combines mid-P intervals of what is gained and what is lost, which are correlated
    as shares of the same tasks are (MOVER: Zou and Donner, Statistics in Medicine 27, 2008). It
    contains 0 if the exact test does not rule 0 out (:func:`exact_p`), so both say the same.

    Args:
        before, after: scores in [0, 1] of independent tasks.
        weights, runs: as for :func:`mean`.
    """
    changes = [new - old for old, new in zip(before, after, strict=True)]
    found = _difference(changes, weights, runs)
    if found.low is None or found.high is None:
        return found
    if found.sign == 0 or exact_p(changes, weights) <= 1 - LEVEL:
        return found
    return Estimate(found.value, min(found.low, 0.0), max(found.high, 0.0))


def rate_difference(before: Sequence[float], after: Sequence[float]) -> Estimate | None:
    """The difference of two scores on one task, from its repetitions under each skill.

    Returns:
        Newcombe's hybrid interval (Statistics in Medicine 17, 1998, method 10), from exact ones as
        there are few runs, of 98 % for up to four; None for single rollouts, which give no rate.
    """
    if min(len(before), len(after)) < 2:
        return None
    old, new = (math.fsum(values) / len(values) for values in (before, after))
    old_ends, new_ends = (
        exact_interval(math.fsum(values), len(values), LEVEL if len(values) > 4 else 0.98)
        for values in (before, after)
    )
    return _combined(new, new_ends, old, old_ends, 0.0)


@dataclass(frozen=True)
class RunScores:
    """Test scores of one method's runs, such as with different seeds, on the same tasks.

    Args:
        values: the score of each run.
        trials: how many single rollouts a score rests on.
        different: how many of the runs ended with a skill of their own: runs with the same skill
            share their stored rollouts, and are one sample.
    """

    values: tuple[float, ...]
    trials: float
    different: int

    @property
    def mean(self) -> float:
        """Over the runs."""
        return math.fsum(self.values) / len(self.values)

    @property
    def chance(self) -> float:
        """The variance that single rollouts alone give a run's score, at most. Half a success and
        half a failure are added to one run's, so that those that solve everything are not taken
        for sure."""
        share = (self.mean * self.trials + 0.5) / (self.trials + 1)
        return share * (1 - share) / self.trials

    @property
    def spread(self) -> float:
        """The variance of the mean: that of the runs, which is not taken for less than chance."""
        free = len(self.values) - 1
        middle = self.mean
        found = math.fsum((v - middle) ** 2 for v in self.values) / free if free else 0.0
        return max(found, self.chance) / self.different

    @property
    def free(self) -> float:
        """Degrees of freedom of :attr:`spread`; no limit if there is one skill, which only chance
        moves."""
        return math.inf if self.different == 1 else len(self.values) - 1


def mean_of_runs(runs: RunScores) -> Estimate:
    """The mean of several runs with Student's interval: the unit is the run, the tasks are given.

    Returns:
        No interval if all runs have ended with the same skill, as nothing is known of others.
    """
    if runs.different < 2:
        return Estimate(runs.mean)
    half = t_quantile(runs.free) * math.sqrt(runs.spread)
    return Estimate(runs.mean, max(0.0, runs.mean - half), min(1.0, runs.mean + half))


def difference_of_runs(before: RunScores, after: RunScores) -> Estimate:
    """The difference of two methods' means with Welch's interval (Biometrika 34, 1947): the unit
    is the run, the tasks are given."""
    parts = [(runs.spread, runs.free) for runs in (before, after)]
    total = math.fsum(spread for spread, _ in parts)
    known = math.fsum(spread**2 / free for spread, free in parts)
    quantile = t_quantile(total**2 / known) if known else _Z
    half, value = quantile * math.sqrt(total), after.mean - before.mean
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half))


def smallest_gain(tasks: int) -> Estimate | None:
    """The smallest gain that this many tasks can tell from none: if each is run once with each of
    two skills, and the better one loses no task that the other solves.

    Args:
        tasks: how many different ones.

    Returns:
        The gain for which the interval of :func:`paired_difference` is just above 0, and which is
        ``value * tasks`` more solved tasks; None if there are too few tasks.
    """
    for more in range(1, tasks + 1):
        found = paired_difference([0.0] * tasks, [1.0] * more + [0.0] * (tasks - more))
        if found.sign > 0:
            return found
    return None


def visible_gain(changes: Sequence[float], weights: Sequence[float] | None = None) -> float | None:
    """The smallest true gain that an evaluation like this one confirms in 80 of 100 cases, with as
    much chance in it as these changes show.

    Args:
        changes: of independent tasks, from one skill to the other.
        weights: how often each counts; by default once.

    Returns:
        For single runs of all or nothing the gain at which the exact test has this power, if tasks
        are lost as often as here; else that of a t-test. None if not even a gain on all tasks would
        be confirmed.
    """
    found = _Weighted.of(changes, weights)
    if all(change in (-1.0, 0.0, 1.0) for change in changes):
        tasks = int(found.tasks + 1e-9)
        lost = _Weighted.of([max(-c, 0.0) for c in changes], weights).mean
        chance = 2 * (lost * tasks + 0.5) / (tasks + 1)
        return power.visible_gain(tasks, round(chance, 3))
    if found.tasks <= 1 or smallest_gain(int(found.tasks)) is None:
        return None
    worst = _binary_variance(changes, weights)
    spread = math.sqrt(found.shrunk(worst, _WORST_OF_DEGREES) / found.tasks)
    gain = (t_quantile(found.tasks - 1) + NormalDist().inv_cdf(power.POWER)) * spread
    return gain if gain <= 1 else None


def kept_share(
    source: Sequence[float],
    elsewhere: Sequence[float],
    weights: Sequence[float] | None = None,
    runs: float = math.inf,
) -> Estimate | None:
    """The share of a gain that is kept elsewhere, from gains on the same tasks in the same order.

    Args:
        source, elsewhere: gains on independent tasks.
        weights, runs: as for :func:`mean`.

    Returns:
        The ratio of the means, and all shares for which what is kept minus that share of the
        source's gain may be 0 (Fieller 1954, with the interval of :func:`paired_difference`), cut
        to [-9, 9]. None if the interval of the source's gain is not above 0: there is nothing to
        keep.
    """
    gains = _Weighted.of(source, weights)
    if _difference(source, weights, runs).sign <= 0:
        return None
    ratio = _Weighted.of(elsewhere, weights).mean / gains.mean

    def excluded(share: float) -> bool:
        scale = 1 + abs(share)
        rest = [(e - share * s) / scale for s, e in zip(source, elsewhere, strict=True)]
        return _difference(rest, weights, runs).sign != 0

    ends = []
    for side in (-1, 1):
        inside, outside = ratio, side * _LARGEST_SHARE
        if not excluded(outside):
            inside = outside
        while abs(outside - inside) > 1e-4:
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if excluded(middle) else (middle, outside)
        ends.append(inside)
    return Estimate(ratio, *ends)


@dataclass(frozen=True)
class _Weighted:
    """Mean and variance of values of independent tasks."""

    tasks: float
    """How many of equal weight they are worth."""
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Sequence[float], weights: Sequence[float] | None) -> _Weighted:
        counts = weights or [1.0] * len(values)
        tasks, whole = effective(counts), math.fsum(counts)
        if not values:
            return cls(0.0, 0.0, 0.0)
        pairs = list(zip(values, counts, strict=True))
        middle = math.fsum(v * w for v, w in pairs) / whole
        spread = math.fsum(w * (v - middle) ** 2 for v, w in pairs) / whole
        return cls(tasks, middle, spread * tasks / (tasks - 1) if tasks > 1 else 0.0)

    def shrunk(self, worst: float, weight: float) -> float:
        """The variance, drawn towards the greatest possible one with some degrees of freedom."""
        free = self.tasks - 1
        return (free * self.variance + weight * worst) / (free + weight)

    def trials(self, worst: float, runs: float) -> float:
        """How many trials of all or nothing the values are worth, with the degrees of freedom of
        their variance allowed for.

        Args:
            worst: the variance of one such trial.
            runs: the most that they can be worth.
        """
        if worst <= 1e-12:
            return self.tasks
        weight = _WORST_OF_DEGREES if math.isinf(runs) else _WORST
        more = worst / self.shrunk(worst, weight) * (_Z / t_quantile(self.tasks - 1)) ** 2
        return min(self.tasks * max(more, 1.0), max(runs, self.tasks))


def _binary_variance(changes: Sequence[float], weights: Sequence[float] | None) -> float:
    """The variance of changes of -1, 0 and 1 with the same means of what is gained and lost."""
    size = _Weighted.of([abs(change) for change in changes], weights).mean
    return size - _Weighted.of(changes, weights).mean ** 2


def _difference(changes: Sequence[float], weights: Sequence[float] | None, runs: float) -> Estimate:
    """A mean change with MOVER's interval."""
    found = _Weighted.of(changes, weights)
    if found.tasks <= 1:
        return Estimate(found.mean)
    trials = found.trials(_binary_variance(changes, weights), runs)
    gained = _Weighted.of([max(change, 0.0) for change in changes], weights).mean
    lost = _Weighted.of([max(-change, 0.0) for change in changes], weights).mean
    above, below = (mid_p_interval(round(part * trials, 9), trials) for part in (gained, lost))
    rest = (1 - gained) * (1 - lost)
    together = -min(1.0, math.sqrt(gained * lost / rest)) if rest > 0 else 0.0
    estimate = _combined(gained, above, lost, below, together)
    if math.isinf(runs):  # As many tasks as can go unseen may not change at all.
        least = estimate.value * (1 - LEVEL) ** (1 / found.tasks)
        low, high = (estimate.low or 0.0), (estimate.high or 0.0)
        return Estimate(estimate.value, min(low, least), max(high, least))
    return estimate


def _combined(
    first: float,
    first_ends: tuple[float, float],
    second: float,
    second_ends: tuple[float, float],
    correlation: float,
) -> Estimate:
    """A difference of two shares with the interval that follows from theirs (MOVER)."""

    def half(up: float, down: float) -> float:
        square = up * up + down * down - 2 * correlation * up * down
        return math.sqrt(max(0.0, square))

    value = first - second
    low = value - half(first - first_ends[0], second_ends[1] - second)
    high = value + half(first_ends[1] - first, second - second_ends[0])
    return Estimate(value, max(-1.0, low), min(1.0, high))


def percent(estimate: Estimate) -> str:
    """``85 % [64, 95]``: a share with its 95 % interval; without one for a single task."""
    value = f"{100 * estimate.value:.0f} %"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def points(estimate: Estimate) -> str:
    """``+60 [40, 80]``: a difference in percentage points with its 95 % interval."""
    value = f"{100 * estimate.value:+.0f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{100 * estimate.low:+.0f}, {100 * estimate.high:+.0f}]"
