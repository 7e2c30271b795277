"""Intervals for scores: no score is shown without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


RESAMPLES = 4999
_RESAMPLES_AT_ONCE = 500
"""So few that resamples of many values do not fill the memory."""
_Z = NormalDist().inv_cdf(0.975)


def rate(successes: float, trials: float) -> Estimate:
    """A pass rate with Wilson's score interval (1927). Without trials: 0 with the interval [0, 1].

    Args:
        successes, trials: numbers; not whole ones if trials have different weights.
    """
    if trials == 0:
        return Estimate(0.0, 0.0, 1.0)
    share, z2 = successes / trials, _Z**2 / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / trials + z2 / trials / 4) / (1 + z2)
    low = 0.0 if share == 0 else max(0.0, middle - half)
    high = 1.0 if share == 1 else min(1.0, middle + half)
    return Estimate(share, low, high)


def effective(weights: Sequence[float]) -> float:
    """How many trials of equal weight say as much as these (Kish 1965)."""
    return math.fsum(weights) ** 2 / math.fsum(w * w for w in weights) if weights else 0.0


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


def mean(values: Sequence[float], weights: Sequence[float] | None = None) -> Estimate:
    """A mean with a percentile bootstrap interval (seeded); pass rates use :func:`rate`.

    Args:
        values: of independent tasks.
        weights: how often each counts; by default once.
    """
    import numpy as np

    if not values:
        return Estimate(0.0, 0.0, 0.0)
    counts = np.array(weights or [1.0] * len(values))
    middle = float(np.average(values, weights=counts))
    if len(set(values)) == 1:
        return Estimate(middle, middle, middle)
    low, high = np.percentile(_resampled(np.array([values]), counts)[0], (2.5, 97.5))
    return Estimate(middle, float(low), float(high))


def _resampled(rows: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bootstrap means of several rows by the same resamples of their columns, always the same.

    Args:
        rows: values, of the shape (rows, columns).
        counts: how often each column counts.

    Returns:
        An array of the shape (rows, ``RESAMPLES``).
    """
    import numpy as np

    rng, size = np.random.default_rng(0), rows.shape[1]
    means = []
    for first in range(0, RESAMPLES, _RESAMPLES_AT_ONCE):
        chosen = rng.integers(0, size, (min(_RESAMPLES_AT_ONCE, RESAMPLES - first), size))
        drawn = counts[chosen]
        means.append((rows[:, chosen] * drawn).sum(axis=-1) / drawn.sum(axis=-1))
    return np.concatenate(means, axis=1)


def paired_difference(
    before: Sequence[float], after: Sequence[float], weights: Sequence[float] | None = None
) -> Estimate:
    """The mean difference of two skills on the same tasks, in the same order.

    Args:
        before, after: scores of independent tasks.
        weights: as for :func:`mean`.
    """
    return mean([b - a for a, b in zip(before, after, strict=True)], weights)


def smallest_gain(tasks: int) -> Estimate | None:
    """The smallest gain that this many tasks can tell from none: if each is run once with each of
    two skills, and the better one loses no task that the other solves.

    Args:
        tasks: how many different ones.

    Returns:
        The gain for which the interval of :func:`paired_difference` is just above 0, and which is
        ``value * tasks`` more solved tasks; None for fewer than two tasks, which have no interval.
    """
    for more in range(1, tasks + 1) if tasks > 1 else ():
        found = paired_difference([0.0] * tasks, [1.0] * more + [0.0] * (tasks - more))
        if found.low > 0:
            return found
    return None


def kept_share(
    source: Sequence[float], elsewhere: Sequence[float], weights: Sequence[float] | None = None
) -> Estimate | None:
    """The share of a gain that is kept elsewhere, from gains on the same tasks in the same order.

    Args:
        source, elsewhere: gains on independent tasks.
        weights: as for :func:`mean`.

    Returns:
        The ratio of the means with a paired bootstrap interval (seeded), cut to [-9, 9]. None if
        the gain at the source is not above 0 in all but a few resamples: there is nothing to keep.
    """
    import numpy as np

    pairs, counts = np.array([source, elsewhere]), np.array(weights or [1.0] * len(source))
    means, whole = _resampled(pairs, counts), np.average(pairs, axis=1, weights=counts)
    if whole[0] <= 0 or (means[0] <= 0).mean() > 0.01:
        return None
    ratios = np.clip(means[1] / np.maximum(means[0], 1e-9), -9, 9)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Estimate(float(whole[1] / whole[0]), float(low), float(high))


def percent(estimate: Estimate) -> str:
    """``85 % [64, 95]``: a share with its 95 % interval."""
    return f"{100 * estimate.value:.0f} % [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def points(estimate: Estimate) -> str:
    """``+60 [40, 80]``: a difference in percentage points with its 95 % interval."""
    value, low, high = (100 * v for v in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.0f} [{low:+.0f}, {high:+.0f}]"
