"""How often the intervals of scores and gains hold, and how wide they are: docs/statistics.md.

python -m benchmarks.coverage [SIMULATIONS]
"""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from skillopt.evaluation.distributions import exact_interval
from skillopt.evaluation.stats import Estimate, mean, paired_difference

TASKS = (5, 10, 20, 50, 200)
RATES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
RUNS = (1, 2, 3, 5)
ALIKE = (0.0, 0.3, 0.7, 1.0)
PAIRED_RATES, PAIRED_ALIKE = (0.02, 0.1, 0.5, 0.9, 0.98), (0.0, 0.3, 1.0)
"""The same for gains, of which there are all pairs."""
SIMULATIONS = 400
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """One setting.

    Args:
        tasks, runs: how many, and of each how often.
        rate: the chance that a run solves its task, over all tasks.
        alike: how much runs of one task are alike: the correlation of two of them, 1 if a task is
            always or never solved.
        after: the chance with the other skill, on the same tasks; None for a single score.
    """

    tasks: int
    runs: int
    rate: float
    alike: float = 0.3
    after: float | None = None


@dataclass(frozen=True)
class Held:
    """What became of one cell.

    Args:
        coverage: share of the simulations in which the interval contained the truth.
        width: mean width, relative to that of the exact interval for one run a task.
        narrowest: the least width.
    """

    coverage: float
    width: float
    narrowest: float


def mean_cell(cell: Cell, simulations: int) -> Held:
    """Simulate a score."""
    rng = _rng(cell)
    found, exact = [], []
    for _ in range(simulations):
        runs = _solved(_difficulty(cell, cell.rate, rng.random(cell.tasks)), cell.runs, rng)
        shares = [float(share) for share in runs.mean(axis=1)]
        found.append(mean(shares, None, cell.tasks * cell.runs))
        exact.append(exact_interval(round(sum(shares), 9), cell.tasks))
    return _held(found, cell.rate, exact)


def paired_cell(cell: Cell, simulations: int) -> Held:
    """Simulate a gain. The hardest tasks with one skill are the hardest with the other."""
    assert cell.after is not None
    rng = _rng(cell)
    found, exact = [], []
    known = exact_paired(cell.tasks) if cell.tasks <= 20 and cell.runs == 1 else {}
    for _ in range(simulations):
        ranks = rng.random(cell.tasks)
        old, new = (
            _solved(_difficulty(cell, rate, ranks), cell.runs, rng)
            for rate in (cell.rate, cell.after)
        )
        before, after = ([float(v) for v in side.mean(axis=1)] for side in (old, new))
        one = paired_difference(before, after, None, cell.tasks * cell.runs)
        found.append(one)
        changes = new[:, 0] - old[:, 0]
        both = int((changes > 0).sum()), int((changes < 0).sum())
        exact.append(known[both] if known else tango(*both, cell.tasks))
    return _held(found, cell.after - cell.rate, exact)


def _held(found: Sequence[Estimate], truth: float, exact: Sequence[tuple[float, float]]) -> Held:
    ends = [(e.low, e.high) for e in found if e.low is not None and e.high is not None]
    widths = [high - low for low, high in ends]
    held = sum(low - 1e-9 <= truth <= high + 1e-9 for low, high in ends)
    return Held(
        held / len(found),
        math.fsum(widths) / math.fsum(high - low for low, high in exact),
        min(widths),
    )


def _rng(cell: Cell) -> np.random.Generator:
    return np.random.default_rng(random.Random(repr(cell)).getrandbits(64))


def _difficulty(cell: Cell, rate: float, ranks: Values) -> Values:
    """Each task's chance of being solved: of a Beta distribution with the mean ``rate``."""
    from scipy.stats import beta

    if cell.alike == 0:
        return np.full(len(ranks), rate)
    if cell.alike == 1:
        return (ranks < rate).astype(float)
    size = 1 / cell.alike - 1
    return np.asarray(beta.ppf(1 - ranks, rate * size, (1 - rate) * size), dtype=float)


def _solved(chances: Values, runs: int, rng: np.random.Generator) -> Values:
    return (rng.random((len(chances), runs)) < chances[:, None]).astype(float)


def _score(up: Values, down: Values, tasks: int, difference: float) -> Values:
    """Tango's score statistic (Statistics in Medicine 17, 1998) for pairs of all or nothing."""
    linear = -up - down + (2 * tasks - up + down) * difference
    constant = -down * difference * (1 - difference)
    root = np.sqrt(np.maximum(0, linear**2 - 8 * tasks * constant))
    lost = (root - linear) / (4 * tasks)
    spread = tasks * (2 * lost + difference * (1 - difference))
    distance = up - down - tasks * difference
    with np.errstate(divide="ignore", invalid="ignore"):
        value = distance / np.sqrt(np.maximum(spread, 0))
    return np.asarray(
        np.nan_to_num(np.where(np.abs(distance) < 1e-9, 0, value), posinf=1e9, neginf=-1e9)
    )


@cache
def tango(up: int, down: int, tasks: int) -> tuple[float, float]:
    """Tango's interval, which is close to the exact one for many tasks, and no wider."""
    ends = []
    for outside in (-1.0, 1.0):
        inside = (up - down) / tasks
        for _ in range(30):
            middle = (inside + outside) / 2
            value = _score(np.array([float(up)]), np.array([float(down)]), tasks, middle)
            inside, outside = (middle, outside) if abs(value[0]) <= 1.959964 else (inside, middle)
        ends.append(inside)
    return ends[0], ends[1]


@cache
def exact_paired(tasks: int) -> dict[tuple[int, int], tuple[float, float]]:
    """The exact unconditional interval of every outcome: all differences that the score test does
    not reject for any share of tasks that are lost (Agresti and Min, Biometrics 57, 2001).

    Args:
        tasks: how many.

    Returns:
        The intervals by the numbers of tasks that are gained and lost.
    """
    outcomes = [(a, b) for a in range(tasks + 1) for b in range(tasks + 1 - a)]
    up, down = (np.array([o[side] for o in outcomes], dtype=float) for side in (0, 1))
    same = tasks - up - down
    factorial = np.array([math.lgamma(n + 1) for n in range(tasks + 1)])
    ways = factorial[tasks] - factorial[up.astype(int)] - factorial[down.astype(int)]
    ways = ways - factorial[same.astype(int)]
    steps = np.linspace(-1, 1, 201)
    kept = np.zeros((len(outcomes), len(steps)), dtype=bool)
    for column, difference in enumerate(steps):
        extreme = np.abs(_score(up, down, tasks, float(difference)))
        order = np.argsort(-extreme, kind="stable")
        last = np.searchsorted(-extreme[order], -extreme + 1e-7, side="right") - 1
        worst = np.zeros(len(outcomes))
        for lost in np.linspace(max(0.0, -difference), (1 - difference) / 2, 41):
            shares = (max(lost + difference, 0.0), lost, max(1 - 2 * lost - difference, 0.0))
            logs = [
                np.where(n > 0, n * np.log(max(share, 1e-300)), 0.0)
                for n, share in zip((up, down, same), shares, strict=True)
            ]
            chances = np.exp(ways + sum(logs))[order].cumsum()
            worst = np.maximum(worst, chances[last])
        kept[:, column] = worst > 0.05
    half = (steps[1] - steps[0]) / 2
    found = {}
    for outcome, row in zip(outcomes, kept, strict=True):
        inside = steps[row]
        found[outcome] = (max(-1.0, inside[0] - half), min(1.0, inside[-1] + half))
    return found


def cells(paired: bool) -> Iterator[Cell]:
    """All settings of the tables."""
    if not paired:
        yield from (Cell(*cell) for cell in itertools.product(TASKS, RUNS, RATES, ALIKE))
        return
    rates = PAIRED_RATES
    for tasks, runs, rate, alike in itertools.product(TASKS, RUNS, rates, PAIRED_ALIKE):
        yield from (Cell(tasks, runs, rate, alike, after) for after in rates)


def table(paired: bool, simulations: int) -> str:
    """The worst of all cells with the same numbers of tasks and runs."""
    lines = [
        "| tasks | runs | settings | coverage, least | mean | width to exact, most | mean "
        "| narrowest |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (tasks, runs), group in itertools.groupby(cells(paired), lambda c: (c.tasks, c.runs)):
        found = [(paired_cell if paired else mean_cell)(cell, simulations) for cell in group]
        numbers = (
            min(f.coverage for f in found),
            math.fsum(f.coverage for f in found) / len(found),
            max(f.width for f in found),
            math.fsum(f.width for f in found) / len(found),
            min(f.narrowest for f in found),
        )
        shown = " | ".join(f"{number:.3f}" for number in numbers)
        lines.append(f"| {tasks} | {runs} | {len(found)} | {shown} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else SIMULATIONS
    print(f"Scores\n\n{table(False, simulations)}", flush=True)
    print(f"\nGains\n\n{table(True, simulations)}")


if __name__ == "__main__":
    main()
