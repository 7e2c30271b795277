"""The mean of whole runs: of values of any range, unlike scores of tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from skillopt.evaluation.distributions import t_quantile
from skillopt.evaluation.stats import Estimate


def t_interval(values: Sequence[float]) -> Estimate:
    """The mean of at least two independent values, with Student's 95 % interval."""
    middle = fmean(values)
    half = t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Estimate(middle, middle - half, middle + half)
