"""Whole training runs without a model: what a gate's decisions do to the skill that is delivered.

Tasks have a difficulty, edits change it, and rollouts are coin tosses. The gates are the real ones,
behind their protocol. docs/gates.md says what is assumed and what came out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from harnesses.base import Status, Usage
from skillopt.core.types import Reward, Rollout, Task, named_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

Edits = tuple[int, ...]
"""A skill in the simulation: the numbers of the edits in it, in their order."""
HARD_TASKS, EASY_TASKS, SPREAD = -2.2, 2.0, 1.5
"""Means and standard deviation of the two kinds of difficulty, as logits of the chance to solve."""


@dataclass(frozen=True)
class Pool:
    """What an optimizer proposes.

    Args:
        useful, harmful: share of edits that help or do harm; the others do nothing.
        low, high: an edit changes the logit of its tasks by a number between these.
        share: share of the tasks that an edit concerns.
        families: if not 0, the tasks are of so many families, an edit concerns ``share`` of the
            tasks of one family, and of several useful edits for a task only the best one counts.
    """

    useful: float
    harmful: float
    low: float = 1.0
    high: float = 3.5
    share: float = 0.3
    families: int = 0


POOLS = {
    "A": Pool(useful=0.3, harmful=0.2),
    "B": Pool(useful=0.1, harmful=0.2),
    "C": Pool(useful=0.3, harmful=0.3, low=0.5, high=1.75),
    "harmful": Pool(useful=0.12, harmful=0.5),
    "rare": Pool(useful=0.08, harmful=0.12, low=3.0, high=6.0, share=0.5),
    "families": Pool(useful=0.3, harmful=0.2, share=0.9, families=4),
    "useless": Pool(useful=0.0, harmful=0.0),
}
"""The pools of edits. A, B and C are mixed, with few useful edits, and with small effects."""


@dataclass(frozen=True)
class Setting:
    """What is simulated.

    Args:
        tasks: of the selection split.
        pool: name in :data:`POOLS`.
        steps: of a run.
        batch: training rollouts of a step.
        bundle: edits of a proposal.
        candidates: proposals of a step, of which a race chooses one for the gate.
        checks: checks of a task, each passed or not; the soft reward is the share passed.
        unseen: tasks by which the true gain is measured.
    """

    tasks: int = 40
    pool: str = "A"
    steps: int = 24
    batch: int = 40
    bundle: int = 1
    candidates: int = 1
    checks: int = 1
    unseen: int = 1500


@dataclass
class World:
    """The tasks of one run, the edits that will be proposed, and the outcomes of all rollouts."""

    setting: Setting
    seed: int
    tasks: list[Task] = field(init=False)
    """The selection split."""
    steps: int = 0
    """Number of finished steps."""
    others: int = 0
    """Rollouts on training tasks that decided on a candidate."""
    measured: dict[tuple[Edits, str], int] = field(default_factory=dict)
    """Number of gate rollouts of each skill on each task."""

    def __post_init__(self) -> None:
        setting, pool = self.setting, POOLS[self.setting.pool]
        rng = np.random.default_rng([self.seed, setting.tasks, *setting.pool.encode()])
        count = setting.tasks + setting.unseen
        middle = np.where(rng.random(count) < 0.5, HARD_TASKS, EASY_TASKS)
        self._logits = rng.normal(middle, SPREAD)
        self._family = rng.integers(0, max(1, pool.families), count)
        self._pool, self._rng = pool, rng
        self._effects: list[NDArray[np.float64]] = []
        self.kinds: list[int] = []
        """Whether each edit is useful (1), useless (0) or harmful (-1)."""
        self.tasks = [named_task(f"task-{number}") for number in range(setting.tasks)]
        self._chances: dict[Edits, NDArray[np.float64]] = {}
        self._outcomes: dict[tuple[Edits, int], NDArray[np.float64]] = {}

    def _edit(self) -> None:
        """Make the next edit."""
        pool, rng = self._pool, self._rng
        drawn = rng.random()
        kind = 1 if drawn < pool.useful else -1 if drawn < pool.useful + pool.harmful else 0
        concerned = rng.random(len(self._logits)) < pool.share
        if pool.families:
            concerned &= self._family == rng.integers(0, pool.families)
        self.kinds.append(kind)
        self._effects.append(np.where(concerned, kind * rng.uniform(pool.low, pool.high), 0.0))

    def _all_chances(self, skill: Edits) -> NDArray[np.float64]:
        """The chance to solve each task, selection split first, then the unseen ones."""
        while len(self.kinds) <= max(skill, default=-1):
            self._edit()
        if skill not in self._chances:
            effects = np.array([self._effects[number] for number in skill])
            logits = self._logits
            if len(skill) and self._pool.families:
                best = np.maximum(effects, 0.0).max(axis=0)
                logits = logits + best + np.minimum(effects, 0.0).sum(axis=0)
            elif len(skill):
                logits = logits + effects.sum(axis=0)
            self._chances[skill] = 1 / (1 + np.exp(-logits))
        return self._chances[skill]

    def outcomes(self, skill: Edits, repetition: int) -> NDArray[np.float64]:
        """The soft rewards of one repetition of all tasks of the selection split. They do not
        depend on what was measured before."""
        if (skill, repetition) not in self._outcomes:
            seed = [self.seed, self.setting.tasks, repetition, len(skill), *skill]
            chances = self._all_chances(skill)[: self.setting.tasks]
            checks = self.setting.checks
            drawn = np.random.default_rng(seed).binomial(checks, chances) / checks
            self._outcomes[skill, repetition] = drawn
        return self._outcomes[skill, repetition]

    def measure(self, skill: Edits, tasks: Sequence[Task], repetition: int) -> list[Rollout]:
        """Rollouts of some tasks, counted if they are new."""
        drawn = self.outcomes(skill, repetition)
        for task in tasks:
            key = (skill, task.name)
            self.measured[key] = max(self.measured.get(key, 0), repetition + 1)
        return [_rollout(t.name, float(drawn[int(t.name.removeprefix("task-"))])) for t in tasks]

    @property
    def rollouts(self) -> int:
        """Rollouts that decided on candidates so far, those of the initial skill included."""
        return sum(self.measured.values()) + self.others

    def spent(self, steps: int) -> int:
        """All rollouts so far, with the training batches of some steps."""
        return self.rollouts + steps * self.setting.batch

    def minibatch(self, skill: Edits, size: int, step: int) -> NDArray[np.float64]:
        """The soft rewards of a few training tasks, always the same ones in a step."""
        self.others += size
        chances = self._all_chances(skill)[self.setting.tasks :]
        tasks = np.random.default_rng([self.seed, step, 1]).integers(0, len(chances), size)
        seed = [self.seed, step, 2, len(skill), *skill]
        checks = self.setting.checks
        return np.random.default_rng(seed).binomial(checks, chances[tasks]) / checks

    def held_out(self, skill: Edits, tasks: int) -> NDArray[np.float64]:
        """The soft rewards of one run of the first unseen tasks, as of a test split.

        Args:
            skill: runs on them.
            tasks: how many.
        """
        seed = [self.seed, self.setting.tasks, 4, len(skill), *skill]
        chances = self._all_chances(skill)[self.setting.tasks :][:tasks]
        checks = self.setting.checks
        return np.random.default_rng(seed).binomial(checks, chances) / checks

    def true_gain(self, skill: Edits) -> float:
        """The gain of a skill over the initial one on unseen tasks: in mean soft reward."""
        unseen = self.setting.tasks
        gain = self._all_chances(skill)[unseen:].mean() - self._all_chances(())[unseen:].mean()
        return float(gain)


@cache
def _rollout(name: str, soft: float) -> Rollout:
    return Rollout(
        key=name,
        task=named_task(name),
        status=Status.COMPLETED,
        reward=Reward(soft),
        skill_activated=None,
        usage=Usage(),
        duration_s=0.0,
        message="",
        agent_version="",
        identity={},
        folder=Path(),
    )


class Search(Protocol):
    """How a run comes from proposals to the skill that it delivers."""

    @property
    def batch(self) -> bool:
        """Whether each step runs a training batch."""

    def run(self, world: World, budget: float | None = None) -> Edits:
        """The delivered skill.

        Args:
            world: has the proposals, and measures.
            budget: rollouts of the whole run, in place of the setting's number of steps.
        """


def steps_of(world: World, budget: float | None) -> Iterator[int]:
    """The numbers of a run's steps, as long as there are steps, or rollouts for another batch."""
    setting, step = world.setting, 0
    while step < setting.steps if budget is None else world.spent(step + 1) <= budget:
        yield step
        world.steps = step = step + 1


@dataclass(frozen=True)
class Run:
    """One simulated run.

    Args:
        gain: true gain of the delivered skill.
        gate_rollouts: rollouts on the selection split, and others that decide on a candidate.
        rollouts: all, training batches included.
        useful, useless, harmful: edits of each kind in the delivered skill.
    """

    gain: float
    gate_rollouts: int
    rollouts: int
    useful: int
    useless: int
    harmful: int


def simulate(search: Search, setting: Setting, seed: int = 0, budget: float | None = None) -> Run:
    """One run. The same seed gives each search the same tasks and proposals.

    Args:
        search, setting: what is simulated.
        seed: of tasks, proposals and outcomes.
        budget: as for :meth:`Search.run`.
    """
    world = World(setting, seed)
    delivered = search.run(world, budget)
    kinds = [world.kinds[number] for number in delivered]
    return Run(
        gain=world.true_gain(delivered),
        gate_rollouts=world.rollouts,
        rollouts=world.spent(world.steps) if search.batch else world.rollouts,
        useful=kinds.count(1),
        useless=kinds.count(0),
        harmful=kinds.count(-1),
    )


@dataclass(frozen=True)
class Cell:
    """The runs of one rule in one setting: means, and the standard error of the gain."""

    rule: str
    tasks: int
    pool: str
    runs: int
    gain: float
    error: float
    gate_rollouts: float
    rollouts: float
    useful: float
    useless: float
    harmful: float
    strict_at_equal: float | None = None
    """The strict gate's gain with as many rollouts in all, by more steps."""


def cell(
    rule: str, search: Search, setting: Setting, seeds: Sequence[int], budget: float | None = None
) -> Cell:
    """The means of some runs.

    Args:
        rule: name of the search.
        search, setting, budget: as for :func:`simulate`.
        seeds: one for each run.
    """
    runs = [simulate(search, setting, seed, budget) for seed in seeds]
    gains = np.array([run.gain for run in runs])

    def average(values: Iterable[float]) -> float:
        return float(np.mean(list(values)))

    return Cell(
        rule=rule,
        tasks=setting.tasks,
        pool=setting.pool,
        runs=len(runs),
        gain=float(gains.mean()),
        error=float(gains.std(ddof=1) / np.sqrt(len(runs))) if len(runs) > 1 else 0.0,
        gate_rollouts=average(run.gate_rollouts for run in runs),
        rollouts=average(run.rollouts for run in runs),
        useful=average(run.useful for run in runs),
        useless=average(run.useless for run in runs),
        harmful=average(run.harmful for run in runs),
    )


def cells(
    searches: Mapping[str, Search], setting: Setting, seeds: Sequence[int], strict: Search | None
) -> list[Cell]:
    """The cells of several rules in one setting, with the same tasks and proposals.

    Args:
        searches: by the name of the rule.
        setting, seeds: as for :func:`cell`.
        strict: if it is not None, it also runs with as many rollouts in all as each of the others.
    """
    found = []
    for rule, search in searches.items():
        one = cell(rule, search, setting, seeds)
        if strict is not None:
            other = cell("strict", strict, setting, seeds, budget=one.rollouts)
            one = replace(one, strict_at_equal=other.gain)
        found.append(one)
    return found
