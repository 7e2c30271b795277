"""What a number of tasks can show: the smallest gain that a paired test tells from luck."""

from __future__ import annotations

import math
from functools import lru_cache

LEVEL = 0.05
"""Level of the two-sided test."""
POWER = 0.8
"""Chance with which a gain has to be found."""
FEW = 10
"""Selection tasks below which a run warns: only gains of more than half of them can be shown."""
_STEP = 0.005
"""Gains are found in steps of half a point."""
_NEVER = 1e-12
"""Chances below this are left out."""
_PRECISION = 1e-16


def power(tasks: int, gain: float, noise: float = 0.0) -> float:
    """The chance that McNemar's exact test (1947) finds a gain on paired outcomes.

    Args:
        tasks: how many.
        gain: share of the tasks that the better skill solves more, in [0, 1].
        noise: share of the tasks whose outcome differs between two runs of the same skill.
    """
    down = min(noise / 2, (1 - gain) / 2)
    differing = gain + 2 * down
    if differing <= 0:
        return 0.0
    found = 0.0
    for count in range(tasks + 1):
        chance = _mass(tasks, count, differing)
        if chance > _NEVER:
            found += chance * _at_least(count, _needed(count), (gain + down) / differing)
    return found


@lru_cache(maxsize=512)
def visible_gain(tasks: int, noise: float = 0.0) -> float | None:
    """The smallest gain that so many tasks show with a chance of :data:`POWER`, in [0, 1].

    Args:
        tasks, noise: as for :func:`power`; repetitions divide the noise by their number.

    Returns:
        None if not even a gain on all tasks is shown, as there are too few.
    """
    low, high = 0, round(1 / _STEP)
    if power(tasks, 1.0, noise) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if power(tasks, middle * _STEP, noise) >= POWER:
            high = middle
        else:
            low = middle
    return round(high * _STEP, 3)


def told_of_tasks(tasks: int) -> str:
    """What a selection split can show at best, in one line."""
    least = visible_gain(tasks)
    known = "cannot tell any gain from luck" if least is None else (
        f"can show gains of {100 * least:.0f} points and more"
    )  # fmt: skip
    few = "; add tasks, or give val a larger share in tasks.split" if tasks < FEW else ""
    return (
        f"selection: {tasks} task{'s' * (tasks != 1)} {known} ({100 * POWER:.0f} % power, without "
        f"noise, which 'skillopt gate check' measures){few}"
    )


@lru_cache(maxsize=4096)
def _needed(count: int) -> int:
    """The least wins of so many differing tasks that the test calls a gain."""
    wins = count // 2 + 1
    while _at_least(count, wins, 0.5) > LEVEL / 2:
        wins += 1
    return wins


def _at_least(trials: int, least: int, chance: float) -> float:
    """The chance of so many successes or more, of at least one."""
    if least > trials:
        return 0.0
    if least <= trials * chance:  # The other tail is the smaller one: its terms do not vanish.
        return 1.0 - _at_least(trials, trials - least + 1, 1.0 - chance)
    term, found = _mass(trials, least, chance), 0.0
    for successes in range(least, trials + 1):
        found += term
        if term <= found * _PRECISION:
            break
        term *= (trials - successes) / (successes + 1) * chance / (1 - chance)
    return found


def _mass(trials: int, successes: int, chance: float) -> float:
    """The chance of so many successes."""
    if chance <= 0 or chance >= 1:
        return float(successes == (0 if chance <= 0 else trials))
    failures = trials - successes
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(failures + 1)
    return math.exp(ways + successes * math.log(chance) + failures * math.log1p(-chance))
