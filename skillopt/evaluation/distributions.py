"""Beta and t quantiles in a few lines, so that scores need no SciPy; tests compare them with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

LEVEL = 0.95
"""Of all intervals."""
_TINY = 1e-300


@lru_cache(maxsize=16384)
def exact_interval(successes: float, trials: float, level: float = LEVEL) -> tuple[float, float]:
    """Clopper and Pearson's interval for a share (Biometrika 26, 1934).

    Args:
        successes, trials: not whole numbers if the trials are worth less than they are many.
        level: how often the interval holds at least.
    """
    failures, tail = trials - successes, (1 - level) / 2

    def at_least(share: float) -> float:
        return beta_cdf(share, successes, failures + 1)

    def more(share: float) -> float:
        return beta_cdf(share, successes + 1, failures)

    low = 0.0 if successes <= 0 else solve(at_least, tail)
    return low, 1.0 if failures <= 0 else solve(more, 1 - tail)


@lru_cache(maxsize=16384)
def mid_p_interval(successes: float, trials: float) -> tuple[float, float]:
    """The mid-P interval for a share (Lancaster 1961; Berry and Armitage, The Statistician 44,
    1995): narrower than the exact one, as an outcome counts half in its own tail.

    Args:
        successes, trials: as for :func:`exact_interval`.
    """
    failures, tail = trials - successes, (1 - LEVEL) / 2

    def half(share: float) -> float:
        at_least = beta_cdf(share, successes, failures + 1) if successes > 0 else 1.0
        more = beta_cdf(share, successes + 1, failures) if failures > 0 else 0.0
        return (at_least + more) / 2

    low = 0.0 if successes <= 0 else solve(half, tail)
    return low, 1.0 if failures <= 0 else solve(half, 1 - tail)


@lru_cache(maxsize=1024)
def t_quantile(degrees: float) -> float:
    """The two-sided quantile of Student's distribution.

    Args:
        degrees: of freedom, more than 0.
    """
    inside = solve(lambda share: beta_cdf(share, 0.5, degrees / 2), LEVEL)
    return math.sqrt(degrees * inside / max(1 - inside, _TINY))


def solve(increasing: Callable[[float], float], target: float) -> float:
    """Where in [0, 1] an increasing function reaches a value, by Ridders' method (Press et al.,
    §9.2)."""
    low, high = 0.0, 1.0
    below, above = increasing(low) - target, increasing(high) - target
    found = low
    for _ in range(60):
        middle = (low + high) / 2
        value = increasing(middle) - target
        root = math.sqrt(value * value - below * above)
        if root == 0:
            return middle
        before, found = found, middle - (middle - low) * value / root
        found = min(max(found, low), high)
        there = increasing(found) - target
        if abs(found - before) < 1e-12 or there == 0:
            break
        ends = sorted([(low, below), (middle, value), (found, there), (high, above)])
        low, below = max(end for end in ends if end[1] < 0)
        high, above = min(end for end in ends if end[1] >= 0)
    return found


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (Lentz's method, Press et
    al., Numerical Recipes, 3rd edition, §6.4).

    Args:
        x: in [0, 1].
        a, b: more than 0.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front += a * math.log(x) + b * math.log1p(-x)
    upper, lower = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    fraction = lower
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            lower = 1 / _not_zero(1 + term * lower)
            upper = _not_zero(1 + term / upper)
            fraction *= upper * lower
        if abs(upper * lower - 1) < 1e-14:
            break
    return math.exp(front) * fraction / a


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
