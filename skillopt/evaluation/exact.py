"""The exact test of paired scores, and which gains it can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from skillopt.evaluation.distributions import LEVEL, beta_cdf

POWER = 0.8
"""Chance with which a gain that is called visible is confirmed."""
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
    import numpy as np

    sums = np.zeros(1)
    for step in steps:
        sums = np.concatenate((sums + step, sums - step))
    return float((np.abs(sums) >= observed - 1e-9).mean())


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


def visible_rate_gain(tasks: int, lost: float = 0.0) -> float | None:
    """The smallest true gain that single runs of all or nothing confirm in 80 of 100 cases.

    Args:
        tasks: how many, each run once with each of two skills.
        lost: share of tasks that are lost by chance or harm, and gained back besides.

    Returns:
        None if not even the greatest possible gain would be confirmed as often.
    """
    low, high = 0.0, 1 - 2 * lost
    if high <= 0 or _power(tasks, lost + high, lost) < POWER:
        return None
    while high - low > 1e-3:
        middle = (low + high) / 2
        enough = _power(tasks, lost + middle, lost) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def _power(tasks: int, gained: float, lost: float) -> float:
    """How often single runs of all or nothing confirm a gain, by the exact test."""
    changed = gained + lost
    if changed <= 0:
        return 0.0
    share, found = gained / changed, 0.0
    for number in range(tasks + 1):
        chance, least = _binomial(number, tasks, changed), _critical(number)
        if chance > 1e-9 and least <= number:
            found += chance * beta_cdf(share, least, number - least + 1)
    return found


@lru_cache(maxsize=4096)
def _critical(changed: int) -> int:
    """How many of some changed tasks must be gained for the exact test to show a gain."""
    tail, up = 0.0, changed
    while up >= 0 and 2 * (tail + _binomial(up, changed, 0.5)) <= 1 - LEVEL:
        tail += _binomial(up, changed, 0.5)
        up -= 1
    return up + 1


def _binomial(successes: int, trials: int, share: float) -> float:
    if share in (0.0, 1.0):
        return float(successes == trials * share)
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1)
    ways -= math.lgamma(trials - successes + 1)
    odds = successes * math.log(share) + (trials - successes) * math.log1p(-share)
    return math.exp(ways + odds)
