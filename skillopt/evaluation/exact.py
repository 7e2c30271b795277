"""The exact test of paired scores. :mod:`skillopt.gates.power` has the gains that it can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from skillopt.evaluation.distributions import beta_cdf

FLIPS = 9_999
"""Random signs of the permutation test if there are too many to count."""
_AT_ONCE = 500
"""So few of them that many tasks do not fill the memory."""
_ENUMERATED = 16
"""The most changes of which all signs are tried."""
_COUNTED = 200_000
"""The most different sums that are counted."""


def exact_p(changes: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """The two-sided p-value of the hypothesis that a task is as likely to gain as to lose by as
    much: the permutation test over all signs (Fisher 1935). For single runs of all or nothing it is
    McNemar's exact test.

    Args:
        changes: of independent tasks.
        weights: how often each counts; by default once.
    """
    counts = weights or [1.0] * len(changes)
    steps = [abs(c) * w for c, w in zip(changes, counts, strict=True) if c]
    observed = abs(math.fsum(c * w for c, w in zip(changes, counts, strict=True)))
    if len(set(steps)) == 1:
        more = round((observed / steps[0] + len(steps)) / 2)
        return min(1.0, 2 * beta_cdf(0.5, more, len(steps) - more + 1))
    if len(steps) <= _ENUMERATED:
        return _enumerated(steps, observed)
    exact = [Fraction(step).limit_denominator(10_000) for step in steps]
    unit = math.lcm(*(step.denominator for step in exact))
    whole = [int(step * unit) for step in exact]
    if sum(whole) <= _COUNTED:
        return _counted(whole, round(observed * unit))
    return _sampled(steps, observed)


def _enumerated(steps: Sequence[float], observed: float) -> float:
    """The share of all signs with which some steps come as far as observed."""
    sums = [0.0]
    for step in steps:
        sums = [total + signed for total in sums for signed in (step, -step)]
    return sum(abs(total) >= observed - 1e-9 for total in sums) / len(sums)


def _counted(steps: Sequence[int], observed: int) -> float:
    """The same for whole steps, from how likely each sum is."""
    import numpy as np

    chances = np.ones(1)
    for step in steps:
        longer = np.zeros(len(chances) + 2 * step)
        longer[: len(chances)] = chances / 2
        longer[2 * step :] += chances / 2
        chances = longer
    sums = np.abs(np.arange(-sum(steps), sum(steps) + 1))
    return float(min(1.0, chances[sums >= observed].sum()))


def _sampled(steps: Sequence[float], observed: float) -> float:
    """The same from random signs (seeded), of which the observed ones are one."""
    import numpy as np

    rng, sizes, beyond = np.random.default_rng(0), np.array(steps), 0
    for first in range(0, FLIPS, _AT_ONCE):
        signs = rng.integers(0, 2, (min(_AT_ONCE, FLIPS - first), len(steps))) * 2 - 1
        beyond += int((np.abs(signs @ sizes) >= observed - 1e-9).sum())
    return (1 + beyond) / (1 + FLIPS)
