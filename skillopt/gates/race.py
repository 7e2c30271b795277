"""A race between the candidates of one step: which of them the gate judges.

All run on the same tasks, round by round, and after each round the worse half is ended (successive
halving, Jamieson and Talwalkar 2016). The race only chooses: the gate's decision is the only way
into the skill. docs/gates.md has the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

from skillopt.core.metric import Scorer
from skillopt.core.types import Reward, Rollout, Task
from skillopt.gates.fresh import LEAST_VARIANCE, FreshGate

SHARE = 0.25
"""Share of the selection split on which a winner has run when the race ends, rounded up."""
CHANCE = FreshGate.chance
"""A candidate with less chance to be better than the current skill is ended, as by that gate."""

Rewards = Mapping[str, Sequence[Reward]]
"""Rewards of a skill by name of the task."""
Run = tuple[int, Task]
"""The number of a candidate, from 0, and a task that it runs on for the first time."""
MeasureAll = Callable[[Sequence[Run]], Sequence[Rollout]]
"""Runs candidates on tasks, all at once, and returns their rollouts in the same order."""


@dataclass(frozen=True)
class Lane:
    """How far one candidate came.

    Args:
        tasks: names of the tasks that it was compared on.
        gain: the sum of its differences to the current skill's scores on them, in tasks.
        rollouts: what was run for the race.
        ended: why it was ended; empty for the winner.
    """

    tasks: tuple[str, ...]
    gain: float
    rollouts: tuple[Rollout, ...]
    ended: str = ""


@dataclass(frozen=True)
class Race:
    """The result: the number of the winner, from 0, and the lane of each candidate."""

    winner: int
    lanes: tuple[Lane, ...]


def race(
    tasks: Sequence[Task],
    current: Rewards,
    tried: Sequence[Rewards],
    measure: MeasureAll,
    scorer: Scorer = Scorer(),
) -> Race:
    """Let candidates run against each other and the current skill until one is left.

    The best of them stays even if it seems worse than the current skill, as the gate decides on
    that. Of equal ones the first stays. Deterministic: the same rewards lead to the same winner and
    to the same rollouts, whatever the number of workers.

    Args:
        tasks: the selection split.
        current: rewards of the current skill; a task without any counts as failed, since a gate of
            the user's own may have measured no more than some.
        tried: what is known of each candidate, of which there are at least two.
        measure: runs them where nothing is known.
        scorer: how rewards are counted.
    """
    found = _Race(tasks, current, tried, scorer)
    for end in round_ends(len(tasks), len(tried)):
        found.run(end, measure)
        if len(found.running) == 1:
            break
    return found.result()


def round_ends(tasks: int, candidates: int) -> list[int]:
    """The number of tasks after each round: equal parts of :data:`SHARE` of the split.

    Args:
        tasks: of the split.
        candidates: that start.
    """
    rounds = math.ceil(math.log2(candidates))
    return [math.ceil(SHARE * tasks * (n + 1) / rounds) for n in range(rounds)]


def most_rollouts(tasks: int, candidates: int) -> int:
    """The most rollouts of a race.

    Args:
        tasks: of the split.
        candidates: that start.
    """
    total, before, running = 0, 0, candidates
    for end in round_ends(tasks, candidates):
        total, before, running = total + running * (end - before), end, -(-running // 2)
    return total


class _Race:
    """The state of a race."""

    def __init__(
        self, tasks: Sequence[Task], current: Rewards, tried: Sequence[Rewards], scorer: Scorer
    ) -> None:
        self._scorer = scorer
        self._current = {task.name: self._mean(current.get(task.name, ())) for task in tasks}
        self._order = deciding_first(tasks, self._current)
        self._scores = [
            {name: self._mean(found) for name, found in known.items() if found} for known in tried
        ]
        self._seen = [0] * len(tried)
        """Tasks of the order that each candidate was compared on."""
        self._rollouts: list[list[Rollout]] = [[] for _ in tried]
        self._ended: dict[int, str] = {}
        self.running = list(range(len(tried)))

    def _mean(self, rewards: Sequence[Reward]) -> Fraction:
        return sum(map(self._scorer.score, rewards), Fraction()) / max(1, len(rewards))

    def run(self, end: int, measure: MeasureAll) -> None:
        """A round: all that still run, on the tasks up to ``end``; then end the worse ones."""
        part = self._order[:end]
        runs = [(n, t) for n in self.running for t in part if t.name not in self._scores[n]]
        for (number, task), rollout in zip(runs, measure(runs) if runs else (), strict=True):
            self._scores[number][task.name] = self._scorer.score(rollout.reward)
            self._rollouts[number].append(rollout)
        for number in self.running:
            self._seen[number] = len(part)
        ranked = sorted(self.running, key=lambda number: (-self._gain(number), number))
        places, after = -(-len(ranked) // 2), f"on {len(part)} task{'s' * (len(part) != 1)}"
        for place, number in enumerate(ranked):
            if place >= places:
                self._end(number, f"place {place + 1} of {len(ranked)} {after}")
            elif place and self._chance(number) < CHANCE:
                behind = f"less than {100 * CHANCE:.0f} % chance of exceeding the current skill"
                self._end(number, f"{behind} {after}")

    def _end(self, number: int, reason: str) -> None:
        self.running.remove(number)
        self._ended[number] = reason

    def _gain(self, number: int) -> Fraction:
        names = (task.name for task in self._order[: self._seen[number]])
        scores = self._scores[number]
        return sum((scores[name] - self._current[name] for name in names), Fraction())

    def _chance(self, number: int) -> float:
        """The chance that a candidate is better which on the other tasks is as good."""
        spread = sum((mean * (1 - mean) for mean in self._current.values()), Fraction())
        return NormalDist().cdf(float(self._gain(number)) / math.sqrt(LEAST_VARIANCE + spread))

    def result(self) -> Race:
        """The winner, and how far all came."""
        (winner,) = self.running  # The rounds are as many as halvings leave one.
        lanes = tuple(
            Lane(
                tuple(task.name for task in self._order[: self._seen[number]]),
                float(self._gain(number)),
                tuple(rollouts),
                self._ended.get(number, ""),
            )
            for number, rollouts in enumerate(self._rollouts)
        )
        return Race(winner, lanes)


def deciding_first(tasks: Sequence[Task], current: Mapping[str, Fraction]) -> list[Task]:
    """The tasks in the order of a race: two that the current skill mostly fails, then one that it
    solves, as a candidate can win on the former and lose on the latter.

    Args:
        tasks: the selection split.
        current: the current skill's mean score on each.
    """
    ranked = sorted(tasks, key=lambda task: current[task.name])
    failed = [task for task in ranked if current[task.name] < Fraction(1, 2)]
    solved = [task for task in ranked if current[task.name] >= Fraction(1, 2)]
    order: list[Task] = []
    while failed or solved:
        order += [*failed[:2], *solved[:1]]
        failed, solved = failed[2:], solved[1:]
    return order
