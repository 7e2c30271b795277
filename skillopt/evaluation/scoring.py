"""Scoring skills on the same tasks, with intervals and paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harnesses.base import Usage
from skillopt.core.skill import Skill
from skillopt.core.types import Rollout, Task, used
from skillopt.evaluation.stats import (
    Estimate,
    effective,
    mean,
    paired_difference,
    rate,
    rate_difference,
)
from skillopt.rollouts.runner import RolloutRunner

FLIP = 0.5
"""Difference in a task's mean over its repetitions that counts as a flip."""


@dataclass(frozen=True)
class Part:
    """The tasks of one family: how many, their score, and the gain on them."""

    tasks: int
    score: Estimate
    gain: Estimate | None


@dataclass(frozen=True)
class OnTask:
    """One task under one skill."""

    family: str
    runs: int
    solved: float
    """Share of the task's runs that were fully solved."""
    gain: float | None
    """Difference to the first row's share; None for that row itself."""
    interval: Estimate | None
    """The gain with its interval; None for single runs, which have none."""


@dataclass(frozen=True)
class Row:
    """One skill on a set of tasks in one harness with one model."""

    skill: str
    harness: str
    model: str
    rollouts: tuple[Rollout, ...]
    first: Row | None = None
    """The row that this one is compared with; None for that row itself."""

    @property
    def solved(self) -> dict[str, float]:
        """The share of each task's repetitions that were fully solved."""
        return {name: math.fsum(runs) / len(runs) for name, runs in self._runs().items()}

    def _runs(self) -> dict[str, list[float]]:
        """The hard rewards of each task's repetitions."""
        found: dict[str, list[float]] = {}
        for rollout in self.rollouts:
            found.setdefault(rollout.task.name, []).append(rollout.reward.hard)
        return found

    @property
    def score(self) -> Estimate:
        """Share of rollouts that were fully solved. Repetitions of a task are not independent, so
        with repetitions the interval is over tasks."""
        return self._score(self.solved)

    @property
    def gain(self) -> Estimate | None:
        """Mean difference in the share solved to the first row, paired by task."""
        if self.first is None:
            return None
        return self._gain(self.solved)

    def _score(self, names: Iterable[str]) -> Estimate:
        """The score on some tasks: Wilson's interval for single rollouts, else bootstrap."""
        weights = self.weights(names)
        shares = [self.solved[name] for name in weights]
        counts = list(weights.values())
        if all(len(runs) == 1 for runs in self._runs().values()):
            independent = effective(counts)
            total = math.fsum(share * count for share, count in zip(shares, counts, strict=True))
            return rate(total / (math.fsum(counts) or 1) * independent, independent)
        return mean(shares, counts)

    def _gain(self, names: Iterable[str]) -> Estimate | None:
        if self.first is None:
            return None
        weights, before = self.weights(names), self.first.solved
        return paired_difference(
            [before[name] for name in weights],
            [self.solved[name] for name in weights],
            list(weights.values()),
        )

    def weights(self, names: Iterable[str]) -> dict[str, float]:
        """How often each task counts: those with the same content are one, and not several that
        happen to agree."""
        alike: dict[str, list[str]] = {}
        contents = {r.task.name: r.identity.get("task", r.task.name) for r in self.rollouts}
        for name in names:
            alike.setdefault(contents[name], []).append(name)
        return {names[0]: float(len(names)) for names in alike.values()}

    @property
    def fixed(self) -> tuple[str, ...]:
        """Tasks that the first row's skill mostly failed and this one mostly solves."""
        return self._flipped(1)

    @property
    def broken(self) -> tuple[str, ...]:
        """Tasks that the first row's skill mostly solved and this one mostly fails."""
        return self._flipped(-1)

    def _flipped(self, sign: int) -> tuple[str, ...]:
        if self.first is None:
            return ()
        before = self.first.solved
        return tuple(n for n, now in self.solved.items() if sign * (now - before[n]) >= FLIP)

    @property
    def families(self) -> dict[str, Part]:
        """Score and gain of each family of tasks."""
        kinds = {rollout.task.name: rollout.task.family for rollout in self.rollouts}
        found = {}
        for family in sorted(set(kinds.values())):
            names = [name for name, kind in kinds.items() if kind == family]
            found[family] = Part(len(names), self._score(names), self._gain(names))
        return found

    @property
    def by_task(self) -> dict[str, OnTask]:
        """Each task on its own, in the order in which they were run."""
        kinds = {rollout.task.name: rollout.task.family for rollout in self.rollouts}
        shares, before = self.solved, self.first.solved if self.first else None
        old = self.first._runs() if self.first else {}
        return {
            name: OnTask(
                kinds[name],
                len(runs),
                shares[name],
                None if before is None else shares[name] - before[name],
                rate_difference(old[name], runs) if old else None,
            )
            for name, runs in self._runs().items()
        }

    @property
    def activation(self) -> float | None:
        """Share of rollouts in which the skill was opened; None for runs without a skill."""
        seen = [r.skill_activated for r in self.rollouts if r.skill_activated is not None]
        return sum(seen) / len(seen) if seen else None

    @property
    def usage(self) -> Usage:
        return used(self.rollouts)

    def scores(self) -> dict[str, Any]:
        """Score and gain with their intervals, without values that differ from run to run."""
        return {
            "tasks": len(self.solved),
            "hard": vars(self.score),
            "soft": sum(r.reward.soft for r in self.rollouts) / max(1, len(self.rollouts)),
            "gain": vars(self.gain) if self.gain else None,
            "skill_activated": self.activation,
        }

    def to_json(self) -> dict[str, Any]:
        """The row as ``--json`` prints it."""
        usage = self.usage
        return {
            "skill": self.skill,
            "harness": self.harness,
            "model": self.model,
            "score": vars(self.score),
            "soft": sum(r.reward.soft for r in self.rollouts) / max(1, len(self.rollouts)),
            "gain": vars(self.gain) if self.gain else None,
            "skill_activated": self.activation,
            "tokens": usage.prompt_tokens + usage.completion_tokens,
            "cost_usd": usage.cost_usd,
            "seconds": math.fsum({r.key: r.duration_s for r in self.rollouts}.values()),
            "fixed": self.fixed,
            "broken": self.broken,
            "families": {
                family: {
                    "tasks": part.tasks,
                    "score": vars(part.score),
                    "gain": vars(part.gain) if part.gain else None,
                }
                for family, part in self.families.items()
            },
            "by_task": {
                name: vars(one) | {"interval": vars(one.interval) if one.interval else None}
                for name, one in self.by_task.items()
            },
            "tasks": [
                {
                    "task": r.task.name,
                    "family": r.task.family,
                    "status": r.status.value,
                    "hard": r.reward.hard,
                    "soft": r.reward.soft,
                    "skill_activated": r.skill_activated,
                    **({"others_opened": r.others_opened} if r.others_opened else {}),
                    "key": r.key,
                }
                for r in self.rollouts
            ],
        }


def compare(
    runner: RolloutRunner,
    skills: Mapping[str, Skill | None],
    tasks: Sequence[Task],
    *,
    harness: str | None = None,
    replicates: int = 1,
    stage: str = "eval",
) -> list[Row]:
    """Run every skill on the same tasks.

    Args:
        runner: runs the rollouts.
        skills: by the name to show, None for no skill. The others are compared with the first.
        tasks: each is run ``replicates`` times.
        harness: a harness other than the config's.
        stage: the stage that the rollouts are run for.

    Raises:
        PausedError: a rollout could not be run; finished ones are in the store.
        LimitReachedError: a limit of the run is used up.
    """
    rows: list[Row] = []
    name_of_harness = harness or runner.config.harness.name
    for name, skill in skills.items():
        rollouts = tuple(
            rollout
            for replicate in range(replicates)
            for rollout in runner.rollouts(
                tasks, skill, stage=stage, harness=harness, replicate=replicate
            )
        )
        first = rows[0] if rows else None
        rows.append(Row(name, name_of_harness, runner.config.target.name, rollouts, first))
    return rows
