"""Scoring skills on the same tasks, with intervals and paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harnesses.base import Usage
from skillopt.core.metric import Scorer
from skillopt.core.skill import Skill
from skillopt.core.types import Rollout, Task, used
from skillopt.evaluation.claim import Claim, claim, gain_of, means_of
from skillopt.evaluation.stats import (
    Estimate,
    all_or_nothing_runs,
    mean,
    percent,
    rate,
    rate_difference,
)
from skillopt.rollouts.runner import RolloutRunner
from skillopt.tasks.triggers import OPENED, SHOULD_OPEN

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
    """Mean score of the task's runs: for the hard reward the share that was fully solved."""
    gain: float | None
    """Difference to the first row's mean; None for that row itself."""
    interval: Estimate | None
    """The gain with its interval; None for single runs, which have none."""


@dataclass(frozen=True)
class Opening:
    """How well a skill is opened, over the tasks that say whether it should be.

    Args:
        tasks: how many these are.
        precision: the share of its openings that were right; None if it was never opened.
        recall: the share of the tasks for it that it was opened for; None if no task is for it.
        calls: model calls of a rollout, on average.
    """

    tasks: int
    precision: Estimate | None
    recall: Estimate | None
    calls: float

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "tasks": self.tasks,
            "precision": vars(self.precision) if self.precision else None,
            "recall": vars(self.recall) if self.recall else None,
            "calls": self.calls,
        }

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Opening:
        """From :meth:`to_json`."""
        shares = {
            name: Estimate(**values[name]) if values[name] else None
            for name in ("precision", "recall")
        }
        return cls(tasks=values["tasks"], calls=values["calls"], **shares)

    @property
    def words(self) -> str:
        """In one line."""
        said = []
        for name, share in (("precision", self.precision), ("recall", self.recall)):
            said.append(f"{name} {percent(share)}" if share else f"no {name}")
        return f"openings: {', '.join(said)}, {self.calls:.1f} model calls a rollout"


def opening_of(rollouts: Sequence[Rollout]) -> Opening | None:
    """How well a skill was opened in some rollouts; None if no task says whether it should be.
    Repetitions of a task are not independent: they count as one task with their mean."""
    runs: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        if SHOULD_OPEN in rollout.reward.metrics:
            content = str(rollout.identity.get("task", rollout.task.name))
            runs.setdefault(content, []).append(rollout)
    if not runs:
        return None
    wanted = opened = right = 0.0
    for own in runs.values():
        should = own[0].reward.metrics[SHOULD_OPEN]
        share = math.fsum(rollout.reward.metrics[OPENED] for rollout in own) / len(own)
        wanted, opened, right = wanted + should, opened + share, right + should * share
    asked = [rollout for own in runs.values() for rollout in own]
    return Opening(
        len(runs),
        rate(right, opened) if opened else None,
        rate(right, wanted) if wanted else None,
        math.fsum(rollout.usage.requests for rollout in asked) / len(asked),
    )


@dataclass(frozen=True)
class Row:
    """One skill on a set of tasks in one harness with one model."""

    skill: str
    harness: str
    model: str
    rollouts: tuple[Rollout, ...]
    first: Row | None = None
    """The row that this one is compared with; None for that row itself."""
    scorer: Scorer = Scorer()
    """How rewards are counted."""

    @cached_property
    def runs(self) -> dict[str, list[float]]:
        """The scores of each task's repetitions."""
        return self._runs(self.scorer)

    def _runs(self, scorer: Scorer) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for rollout in self.rollouts:
            score = float(scorer.score(rollout.reward))
            found.setdefault(rollout.task.name, []).append(score)
        return found

    @cached_property
    def means(self) -> dict[str, float]:
        """The mean score of each task's repetitions: for the hard reward the share solved."""
        return {name: math.fsum(runs) / len(runs) for name, runs in self.runs.items()}

    @cached_property
    def score(self) -> Estimate:
        """Mean score of the rollouts. Repetitions of a task are not independent, so the interval is
        over tasks."""
        return self._score(self.runs)

    @property
    def gain(self) -> Estimate | None:
        """Mean difference in score to the first row, paired by task."""
        return self.claim.gain if self.claim else None

    @cached_property
    def claim(self) -> Claim | None:
        """What these tasks say about this skill against the first row's; None for that row."""
        sides = self._sides(self.runs)
        return claim(*sides) if sides else None

    def _score(self, names: Iterable[str], runs: Mapping[str, list[float]] = {}) -> Estimate:
        runs = runs or self.runs
        weights = self.weights(names)
        chosen, counts = [runs[name] for name in weights], list(weights.values())
        return mean(means_of(chosen), counts, all_or_nothing_runs(chosen, counts))

    def _sides(
        self, names: Iterable[str]
    ) -> tuple[list[list[float]], list[list[float]], list[float]] | None:
        """The first row's runs of some tasks, this one's, and how often each task counts."""
        if self.first is None:
            return None
        weights = self.weights(names)
        old, new = ([row.runs[name] for name in weights] for row in (self.first, self))
        return old, new, list(weights.values())

    def weights(self, names: Iterable[str]) -> dict[str, float]:
        """How often each task counts: those with the same content are one, and not several that
        happen to agree."""
        alike: dict[str, list[str]] = {}
        for name in names:
            alike.setdefault(self._contents[name], []).append(name)
        return {names[0]: float(len(names)) for names in alike.values()}

    @cached_property
    def _contents(self) -> dict[str, str]:
        return {r.task.name: r.identity.get("task", r.task.name) for r in self.rollouts}

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
        before = self.first.means
        return tuple(n for n, now in self.means.items() if sign * (now - before[n]) >= FLIP)

    @property
    def families(self) -> dict[str, Part]:
        """Score and gain of each family of tasks."""
        kinds = {rollout.task.name: rollout.task.family for rollout in self.rollouts}
        found = {}
        for family in sorted(set(kinds.values())):
            names = [name for name, kind in kinds.items() if kind == family]
            sides = self._sides(names)
            gain = gain_of(*sides) if sides else None
            found[family] = Part(len(names), self._score(names), gain)
        return found

    @property
    def by_task(self) -> dict[str, OnTask]:
        """Each task on its own, in the order in which they were run."""
        kinds = {rollout.task.name: rollout.task.family for rollout in self.rollouts}
        means, before = self.means, self.first.means if self.first else None
        old = self.first.runs if self.first else {}
        return {
            name: OnTask(
                kinds[name],
                len(runs),
                means[name],
                None if before is None else means[name] - before[name],
                rate_difference(old[name], runs) if old else None,
            )
            for name, runs in self.runs.items()
        }

    @property
    def activation(self) -> float | None:
        """Share of rollouts in which the skill was opened; None for runs without a skill."""
        seen = [r.skill_activated for r in self.rollouts if r.skill_activated is not None]
        return sum(seen) / len(seen) if seen else None

    @property
    def opening(self) -> Opening | None:
        """How well the skill was opened; None if no task says whether it should be."""
        return opening_of(self.rollouts)

    @property
    def usage(self) -> Usage:
        return used(self.rollouts)

    def scores(self) -> dict[str, Any]:
        """Score and gain with their intervals, without values that differ from run to run."""
        return {
            "tasks": len(self.means),
            "metric": self.scorer.metric,
            "score": vars(self.score),
            "hard": vars(self._score(self.runs, self._runs(Scorer("hard")))),
            "soft": sum(r.reward.soft for r in self.rollouts) / max(1, len(self.rollouts)),
            "gain": vars(self.gain) if self.gain else None,
            "skill_activated": self.activation,
            **self._openings(),
        }

    def _openings(self) -> dict[str, Any]:
        opening = self.opening
        return {"opening": opening.to_json()} if opening else {}

    def to_json(self) -> dict[str, Any]:
        """The row as ``--json`` prints it."""
        usage = self.usage
        return {
            "skill": self.skill,
            "harness": self.harness,
            "model": self.model,
            "metric": self.scorer.metric,
            "score": vars(self.score),
            "soft": sum(r.reward.soft for r in self.rollouts) / max(1, len(self.rollouts)),
            "gain": vars(self.gain) if self.gain else None,
            "claim": self.claim.to_json() if self.claim else None,
            "skill_activated": self.activation,
            **self._openings(),
            "tokens": usage.prompt_tokens + usage.completion_tokens,
            "cost_usd": usage.cost_usd,
            **({"included": True} if usage.included else {}),
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
        model, scorer = runner.config.target.name, runner.config.gate.scorer
        rows.append(Row(name, name_of_harness, model, rollouts, first, scorer))
    return rows
