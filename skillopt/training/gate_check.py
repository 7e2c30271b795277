"""``skillopt gate check``: the initial skill against itself, before a run spends anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from harnesses.base import Usage
from skillopt.config.prices import price_table
from skillopt.config.schema import Config
from skillopt.core.errors import SkillOptError, file_errors
from skillopt.core.types import Rollout
from skillopt.gates.base import score_of
from skillopt.gates.power import visible_gain
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import Prepared, prepare, prepared_skill
from skillopt.run.events import EvaluationStarted, Listener, tell_all
from skillopt.run.records import StageStarted
from skillopt.training.plan import rollout_usage

MORE_TASKS = (2, 4)
MORE_RUNS = (2, 4)
"""Multiples for which a check says what they would show."""


class GateCheckError(SkillOptError):
    """There is no skill to check with."""


@dataclass(frozen=True)
class GateCheck:
    """How noisy the selection split is, and what it can show.

    Args:
        tasks: of the selection split.
        scores: of each run of the split.
        flips: share of the tasks whose outcome differs between two runs.
        stochastic: names of the tasks whose outcome differed.
    """

    tasks: int
    scores: tuple[float, ...]
    flips: float
    stochastic: tuple[str, ...]

    def gain(self, tasks: int = 1, runs: int = 1) -> float | None:
        """The smallest gain that is shown with 80 % power, in [0, 1]; None if none is.

        Args:
            tasks: times as many tasks.
            runs: runs of each task with each skill.
        """
        # Rounded, as the search for it is kept.
        return visible_gain(self.tasks * tasks, round(self.flips / runs, 3))

    def to_json(self) -> dict[str, Any]:
        """The check as ``--json`` prints it."""
        return {
            "tasks": self.tasks,
            "runs": len(self.scores),
            "scores": list(self.scores),
            "flips": self.flips,
            "stochastic": list(self.stochastic),
            "smallest_gain": self.gain(),
            "with_tasks": {str(self.tasks * n): self.gain(tasks=n) for n in MORE_TASKS},
            "with_runs": {str(n): self.gain(runs=n) for n in MORE_RUNS},
        }


@dataclass(frozen=True)
class CheckCost:
    """What a check takes at most: stored rollouts are free. Tokens are assumed."""

    rollouts: int
    usage: Usage


def check_cost(config: Config, runs: int, plugins: Plugins = Plugins()) -> CheckCost:
    """What :func:`check_gate` would take. Nothing is run.

    Raises:
        SkillOptError: unusable input.
    """
    with file_errors():
        count = runs * len(_prepared(config, plugins).splits["val"])
        return CheckCost(count, rollout_usage(config, count, price_table(config)))


def check_gate(
    config: Config,
    runs: int = 2,
    *,
    listeners: Sequence[Listener] = (),
    plugins: Plugins = Plugins(),
) -> GateCheck:
    """Run the initial skill on the selection split several times, as a run of the same config does:
    its rollouts are in the store afterwards.

    Args:
        config: of a run.
        runs: of each task, at least 2.
        listeners, plugins: as for :func:`skillopt.train`.

    Raises:
        GateCheckError: the optimizer has yet to draft the skill.
        SkillOptError: unusable input, a limit was reached, or the infrastructure failed.
    """
    with file_errors():
        prepared = _prepared(config, plugins)
        skill, tasks = prepared_skill(config), prepared.splits["val"]
        if skill is None:
            raise GateCheckError(
                "skill.init: draft: there is no skill before the run; name a skill, or empty"
            )
        listener = tell_all(listeners)
        listener(EvaluationStarted(runs * len(tasks)))
        with prepared.runner(listener) as runner:
            found = []
            for number in range(runs):
                started = StageStarted(stage="baseline", total=len(tasks))
                prepared.meter.add(started)
                listener(started)
                found.append(runner.rollouts(tasks, skill, stage="baseline", replicate=number))
        return summed_up(config, found)


def summed_up(config: Config, runs: Sequence[Sequence[Rollout]]) -> GateCheck:
    """What some runs of the same tasks show.

    Args:
        config: its metric counts.
        runs: the rollouts of each run, in the same order; at least two runs.
    """
    gate = config.gate
    table = [[score_of(r.reward, gate.metric, gate.mix) for r in run] for run in runs]
    tasks = [rollout.task.name for rollout in runs[0]]
    pairs = [pair for two in combinations(table, 2) for pair in zip(*two, strict=True)]
    return GateCheck(
        tasks=len(tasks),
        scores=tuple(float(sum(run)) / len(run) for run in table),
        flips=_share(a != b for a, b in pairs),
        stochastic=tuple(
            name for name, *found in zip(tasks, *table, strict=True) if len(set(found)) > 1
        ),
    )


def _share(values: Iterable[bool]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _prepared(config: Config, plugins: Plugins) -> Prepared:
    return prepare(config, plugins=plugins, needs=("val",))
