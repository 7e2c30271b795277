"""This project's loop in the simulation: the real gates, credit and removals, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from skillopt.core.metric import Scorer
from skillopt.core.types import GateDecision, Reward, Rollout, Task
from skillopt.gates.base import Gate, Measure, Side, Trial
from skillopt.gates.credit import (
    affordable,
    kept_edits,
    mean_of,
    plan_probe,
    removal_order,
    wants_credit,
)
from skillopt.gates.race import Run, race
from skillopt.gates.simulation import Edits, World, steps_of


@dataclass(frozen=True)
class GateSearch:
    """This project's loop with a gate: each step proposes one change to the current skill.

    Args:
        gate: decides.
        batch: whether each step runs a training batch.
        credit, prune: as in the config's section ``train``.
        epoch: steps of an epoch.
        scorer: how rewards are counted in a race.
    """

    gate: Gate
    batch: bool = True
    credit: float = 0.0
    prune: float = 0.0
    epoch: int = 6
    scorer: Scorer = Scorer()

    def run(self, world: World, budget: float | None = None) -> Edits:
        """The current skill after the last step."""
        loop = _Loop(self, world)
        for step in steps_of(world, budget):
            loop.step(step)
            if (step + 1) % self.epoch == 0:
                loop.end_epoch()
        return loop.current


class _Loop:
    """The state of a run of :class:`GateSearch`."""

    def __init__(self, search: GateSearch, world: World) -> None:
        self._search, self._world = search, world
        self.current: Edits = ()
        self._lineage: list[Edits] = []
        self._evidence: Evidence = {}
        self._gains: dict[int, float] = {}
        """What was measured of each edit of the current skill."""
        self._tries: dict[int, int] = {}
        self._judged = self._credited = self._pruned = 0
        """Rollouts of the steps' own decisions, of credit, and of removals."""
        _keep(self._evidence, (), world.measure((), world.tasks, 0))

    def step(self, step: int) -> None:
        """Judge a proposal; then its edits, if that is wanted."""
        size, many = self._world.setting.bundle, self._world.setting.candidates
        starts = range(step * many * size, (step + 1) * many * size, size)
        bundles = [tuple(range(start, start + size)) for start in starts]
        before = self.current
        bundle, raced = self._race(bundles) if many > 1 else (bundles[0], {})
        decision = self._judge((*before, *bundle), raced=raced)
        self._judged += decision.cost
        self._accepted(decision, bundle)
        if wants_credit(decision, size):
            kept = self._credit(before, bundle, decision)
            if not decision.accepted and 0 < len(kept) < size:
                attempt = self._judge((*before, *kept))
                self._credited += attempt.cost
                self._accepted(attempt, kept)

    def end_epoch(self) -> None:
        """Try the current skill without each of its edits, as far as the rollouts go."""
        split, share = len(self._world.tasks), self._search.prune
        known = {edit: self._gains[edit] for edit in self.current}
        for edit in removal_order(known, self._tries):
            if not affordable(split, self._pruned, share, self._judged):
                break
            self._tries[edit] = self._tries.get(edit, 0) + 1
            decision = self._judge(tuple(e for e in self.current if e != edit), ties=True)
            self._pruned += decision.cost

    def _race(self, bundles: Sequence[Edits]) -> tuple[Edits, dict[str, int]]:
        """The best of some proposals, and the number of outcomes that showed it by task."""
        candidates = [(*self.current, *bundle) for bundle in bundles]

        def measure(runs: Sequence[Run]) -> list[Rollout]:
            return [self._world.measure(candidates[n], [task], 0)[0] for n, task in runs]

        known = self._evidence[self.current]
        found = race(self._world.tasks, known, [{} for _ in bundles], measure, self._search.scorer)
        for candidate, lane in zip(candidates, found.lanes, strict=True):
            _keep(self._evidence, candidate, lane.rollouts)
        return bundles[found.winner], dict.fromkeys(found.lanes[found.winner].tasks, 1)

    def _judge(
        self, candidate: Edits, ties: bool = False, raced: Mapping[str, int] | None = None
    ) -> GateDecision:
        current, found = self.current, Evidence()
        trial = Trial(
            tasks=self._world.tasks,
            known=self._evidence[current],
            measure=_measure(self._world, {"candidate": candidate, "current": current}, found),
            ties=ties,
            tried=self._evidence.get(candidate, {}),
            before=[self._evidence[skill] for skill in self._lineage],
            raced=raced or {},
        )
        decision = self._search.gate.decide(trial)
        for skill, rewards in found.items():
            for name, new in rewards.items():
                self._evidence.setdefault(skill, {}).setdefault(name, []).extend(new)
        if decision.accepted:
            self._lineage.append(current)
            self.current = candidate
        return decision

    def _accepted(self, decision: GateDecision, edits: Edits) -> None:
        if decision.accepted:
            gain = decision.improvement / len(edits)
            self._gains |= dict.fromkeys(edits, gain)

    def _credit(self, before: Edits, bundle: Edits, decision: GateDecision) -> Edits:
        """The edits of a bundle that did no harm, as far as it could be measured."""
        split = len(self._world.tasks)
        budget = self._search.credit * self._judged - self._credited
        probe = plan_probe(decision, len(bundle), budget - split * (not decision.accepted))
        if not probe.groups:
            return bundle
        share = len(probe.tasks) / split
        self._credited += (len(probe.groups) + 1) * len(probe.tasks)
        whole = self._probed((*before, *bundle), probe.tasks, again=True)
        without = {}
        for group in probe.groups:
            rest = tuple(edit for number, edit in enumerate(bundle) if number not in group)
            without[group] = self._probed((*before, *rest), probe.tasks, again=False)
            for number in group:
                self._gains[bundle[number]] = share * (whole - without[group])
        return tuple(bundle[number] for number in kept_edits(len(bundle), whole, without))

    def _probed(self, skill: Edits, names: Sequence[str], again: bool) -> float:
        """The mean of one outcome of a skill on each of some tasks, a new one if asked for."""
        known = self._evidence.setdefault(skill, {})
        tasks = [task for task in self._world.tasks if task.name in names]
        scores = []
        for task in tasks:
            if again or not known.get(task.name):
                number = len(known.get(task.name, ()))
                _keep(self._evidence, skill, self._world.measure(skill, [task], number))
            scores.append(known[task.name][-1].soft)
        return mean_of(scores)


Evidence = dict[Edits, dict[str, list[Reward]]]


def _measure(world: World, sides: dict[Side, Edits], found: Evidence) -> Measure:
    """A trial's way to measure, which also keeps what was found."""

    def measure(side: Side, tasks: Sequence[Task], repetition: int) -> list[Rollout]:
        rollouts = world.measure(sides[side], tasks, repetition)
        _keep(found, sides[side], rollouts)
        return rollouts

    return measure


def _keep(evidence: Evidence, skill: Edits, rollouts: Sequence[Rollout]) -> None:
    rewards = evidence.setdefault(skill, {})
    for rollout in rollouts:
        rewards.setdefault(rollout.task.name, []).append(rollout.reward)
