"""``python -m benchmarks.runs_coverage [SIMULATIONS]``: how often intervals over runs hold.

The true rates of runs differ normally, cut to [0, 1]. Prints the table of ``docs/statistics.md``.
"""

from __future__ import annotations

import itertools
import random
import sys

from skillopt.evaluation.stats import Estimate, RunScores, difference_of_runs, mean_of_runs

SIMULATIONS = 1000
RUNS, TASKS = (2, 3, 5), (20, 100)
SPREADS = (0.0, 0.05, 0.1, 0.2)
RATES = (0.02, 0.3, 0.5, 0.7, 0.9, 0.98)


class Runs:
    """Draws runs of one method.

    Args:
        rng: decides everything.
        rate, spread: mean and deviation of the true rates, before they are cut.
    """

    def __init__(self, rng: random.Random, rate: float, spread: float) -> None:
        self.rng, self.rate, self.spread = rng, rate, spread

    def true_rate(self) -> float:
        """Of one run's skill."""
        return min(1.0, max(0.0, self.rng.gauss(self.rate, self.spread)))

    def scores(self, runs: int, tasks: int) -> RunScores:
        """Of some runs, with one rollout a task."""
        true = [self.true_rate() for _ in range(runs)]
        solved = [sum(self.rng.random() < rate for _ in range(tasks)) for rate in true]
        return RunScores(tuple(count / tasks for count in solved), tasks, runs)


def holds(found: Estimate, truth: float) -> bool:
    """Whether an interval contains the truth."""
    assert found.low is not None and found.high is not None
    return found.low <= truth <= found.high


def coverage(
    runs: int, tasks: int, rate: float, spread: float, simulations: int
) -> tuple[float, float]:
    """How often the intervals of a mean, and of a difference between two methods that are alike,
    hold."""
    drawn = Runs(random.Random(f"{runs}/{tasks}/{rate}/{spread}"), rate, spread)
    truth = sum(drawn.true_rate() for _ in range(40_000)) / 40_000
    mean = difference = 0
    for _ in range(simulations):
        first, second = drawn.scores(runs, tasks), drawn.scores(runs, tasks)
        mean += holds(mean_of_runs(first), truth)
        difference += holds(difference_of_runs(first, second), 0.0)
    return mean / simulations, difference / simulations


def main() -> None:
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else SIMULATIONS
    print("| runs | tasks | they differ by | mean, least | difference, least |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for runs, tasks, spread in itertools.product(RUNS, TASKS, SPREADS):
        found = [coverage(runs, tasks, rate, spread, simulations) for rate in RATES]
        least = " | ".join(f"{min(side):.3f}" for side in zip(*found, strict=True))
        print(f"| {runs} | {tasks} | {spread:g} | {least} |", flush=True)


if __name__ == "__main__":
    main()
