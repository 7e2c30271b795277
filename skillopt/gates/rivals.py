"""The rules by which other optimizers keep a candidate, for the simulation alone.

Written anew from what their published sources do, each named with the part that it is from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skillopt.config.schema import GateConfig, Metric
from skillopt.core.metric import Scorer
from skillopt.core.types import GateDecision
from skillopt.gates import make_gate
from skillopt.gates.base import Trial, score_of
from skillopt.gates.search import GateSearch
from skillopt.gates.simulation import Edits, Search, World, steps_of


@dataclass(frozen=True)
class CapEvolveGate:
    """cap-evolve's default: the mean of the paired differences must exceed one standard error.

    From ``core/cap_evolve/gate.py`` of skillberry-ai/cap-evolve, mode ``paired``: the standard
    error is multiplied by Student's t for the same one-sided level; without any spread a positive
    mean is enough. One trial, compared with the outcomes by which the current skill was accepted.
    """

    metric: Metric = "hard"
    mix: float = 0.5

    def decide(self, trial: Trial) -> GateDecision:
        """Compare one rollout per task."""
        tasks = list(trial.tasks)
        rollouts = trial.measure("candidate", tasks, 0)
        before = [score_of(trial.known[t.name][-1], self.metric, self.mix) for t in tasks]
        after = [score_of(r.reward, self.metric, self.mix) for r in rollouts]
        gains = np.array([float(b - a) for a, b in zip(before, after, strict=True)])
        count, mean = len(gains), float(gains.mean())
        error = float(gains.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
        free = max(1, count - 1)
        bar = (1 + 1 / (2 * free) + 1 / (4 * free**2)) * error  # Cornish and Fisher's t for z = 1.
        score = float(sum(before)) / count
        return GateDecision(
            accepted=mean > bar,
            score_before=score,
            score_after=score + mean,
            upper_bound=score + mean,
            total=count,
            rollouts=tuple(rollout.row for rollout in rollouts),
            reason=f"{mean:+.4f} against one standard error of {bar:.4f}",
        )


@dataclass(frozen=True)
class EvoSkillSearch:
    """EvoSkill's frontier: the three best by their one score on the selection split.

    From ``update_frontier`` in ``src/registry/manager.py`` of sentient-agi/EvoSkill, with
    ``frontier_size`` 3 and the best as the parent (``src/loop/config.py``). Newer versions first
    try a candidate on the step's training samples; that is left out.
    """

    batch: bool = True
    size: int = 3

    def run(self, world: World, budget: float | None = None) -> Edits:
        """The best of the frontier."""
        frontier = [(_score(world, ()), ())]
        found: list[tuple[float, Edits]] = list(frontier)
        for step in steps_of(world, budget):
            candidate = (*found[0][1], step)
            score = _score(world, candidate)
            if len(found) < self.size or score > found[-1][0]:
                # Python's sort is stable, as theirs: of equal scores the older one is first.
                found = sorted([*found[: self.size - 1], (score, candidate)], key=lambda m: -m[0])
        return found[0][1]


@dataclass(frozen=True)
class GepaSearch:
    """GEPA's pool: a candidate that beats its parent on a minibatch is scored and joins it.

    From gepa-ai/gepa: ``StrictImprovementAcceptance`` in ``strategies/acceptance.py`` on a
    minibatch of 3, the parent drawn from the Pareto front over the tasks of the selection split
    (``strategies/candidate_selector.py``), and the best mean there is delivered. It has no training
    batches besides the minibatches.
    """

    batch: bool = False
    minibatch: int = 3

    def run(self, world: World, budget: float | None = None) -> Edits:
        """The candidate with the best score."""
        rng = np.random.default_rng([world.seed, 3])
        pool: dict[Edits, Sequence[float]] = {(): _scores(world, ())}
        for step in steps_of(world, budget):
            parent = _from_front(pool, rng)
            candidate = (*parent, step)
            before = world.minibatch(parent, self.minibatch, step)
            after = world.minibatch(candidate, self.minibatch, step)
            if after.sum() > before.sum():
                pool[candidate] = _scores(world, candidate)
        return max(pool, key=lambda skill: sum(pool[skill]))


def _scores(world: World, skill: Edits) -> list[float]:
    return [rollout.reward.soft for rollout in world.measure(skill, world.tasks, 0)]


def _score(world: World, skill: Edits) -> float:
    return math.fsum(_scores(world, skill)) / len(world.tasks)


def _from_front(pool: Mapping[Edits, Sequence[float]], rng: np.random.Generator) -> Edits:
    """A skill from the Pareto front, drawn by the number of tasks on which it is the best."""
    skills = list(pool)
    table = np.array([pool[skill] for skill in skills])
    best = table == table.max(axis=0)
    kept = np.ones(len(skills), dtype=bool)
    for number in np.argsort(table.mean(axis=1), kind="stable"):
        kept[number] = False
        # Needed where no other that is left is as good.
        kept[number] = bool((best[number] & ~best[kept].any(axis=0)).any())
    weights = best.sum(axis=1) * kept
    return skills[int(rng.choice(len(skills), p=weights / weights.sum()))]


def search_of(
    rule: str, metric: Metric = "hard", credit: float = 0.0, prune: float = 0.0
) -> Search:
    """A rule of the simulation by name.

    Args:
        rule: the name of another optimizer, a value of ``gate.kind``, or the import path of a gate.
        metric: which reward counts for a gate.
        credit, prune: as for :class:`GateSearch`, for a gate.

    Raises:
        PluginError: an import path leads nowhere.
    """
    match rule:
        case "evoskill":
            return EvoSkillSearch()
        case "gepa":
            return GepaSearch()
        case "cap-evolve":
            return GateSearch(CapEvolveGate(metric))
    gate = make_gate(GateConfig(kind=rule, metric=metric))
    return GateSearch(gate, credit=credit, prune=prune, scorer=Scorer(metric))
