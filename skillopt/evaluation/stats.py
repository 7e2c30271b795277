"""Intervals for scores: no score is shown without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def rate(successes: int, trials: int) -> Estimate:
    """A pass rate with Wilson's score interval. Without trials: 0 with the interval [0, 1]."""
    if trials == 0:
        return Estimate(0.0, 0.0, 1.0)
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return Estimate(successes / trials, float(interval.low), float(interval.high))


def rate_difference(before: Sequence[float], after: Sequence[float]) -> Estimate | None:
    """The difference of two pass rates on one task, from its repetitions under each skill.

    Returns:
        Newcombe's interval from Wilson's two; None for single rollouts, which give no rate.
    """
    if min(len(before), len(after)) < 2:
        return None
    old, new = (rate(int(sum(values)), len(values)) for values in (before, after))
    change = new.value - old.value
    low = change - math.hypot(new.value - new.low, old.high - old.value)
    high = change + math.hypot(new.high - new.value, old.value - old.low)
    return Estimate(change, max(-1.0, low), min(1.0, high))


def mean(values: Sequence[float]) -> Estimate:
    """A mean with a percentile bootstrap interval (seeded); pass rates use :func:`rate`."""
    import numpy as np
    from scipy.stats import bootstrap

    if not values:
        return Estimate(0.0, 0.0, 0.0)
    middle = float(np.mean(values))
    if len(set(values)) == 1:
        return Estimate(middle, middle, middle)
    rng = np.random.default_rng(0)
    found = bootstrap((values,), np.mean, method="percentile", n_resamples=4999, rng=rng)
    interval = found.confidence_interval
    return Estimate(middle, float(interval.low), float(interval.high))


def paired_difference(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """The mean difference of two skills on the same tasks, in the same order."""
    return mean([b - a for a, b in zip(before, after, strict=True)])


def kept_share(source: Sequence[float], elsewhere: Sequence[float]) -> Estimate | None:
    """The share of a gain that is kept elsewhere, from gains on the same tasks in the same order.

    Returns:
        The ratio of the means with a paired bootstrap interval (seeded), cut to [-9, 9]. None if
        the gain at the source is not above 0 in all but a few resamples: there is nothing to keep.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    pairs = np.array([source, elsewhere])
    chosen = rng.integers(0, pairs.shape[1], (4999, pairs.shape[1]))
    means = pairs[:, chosen].mean(axis=2)
    if pairs[0].mean() <= 0 or (means[0] <= 0).mean() > 0.01:
        return None
    ratios = np.clip(means[1] / np.maximum(means[0], 1e-9), -9, 9)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Estimate(float(pairs[1].mean() / pairs[0].mean()), float(low), float(high))


def percent(estimate: Estimate) -> str:
    """``85 % [64, 95]``: a share with its 95 % interval."""
    return f"{100 * estimate.value:.0f} % [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def points(estimate: Estimate) -> str:
    """``+60 [40, 80]``: a difference in percentage points with its 95 % interval."""
    value, low, high = (100 * v for v in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.0f} [{low:+.0f}, {high:+.0f}]"
