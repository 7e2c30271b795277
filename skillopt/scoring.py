"""Scoring skills on the same tasks, with intervals and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harnesses.base import Usage
from skillopt.skill import Skill
from skillopt.stats import Estimate, paired_difference, rate
from skillopt.types import Rollout, Task
from skillopt.workbench import Workbench


@dataclass(frozen=True)
class Row:
    """One skill on a set of tasks in one harness."""

    skill: str
    harness: str
    rollouts: tuple[Rollout, ...]
    gain: Estimate | None
    """Mean difference in the hard reward to the first skill on the same tasks; None for it."""

    @property
    def score(self) -> Estimate:
        """Share of tasks fully solved."""
        return rate(int(sum(r.reward.hard for r in self.rollouts)), len(self.rollouts))

    @property
    def activation(self) -> float | None:
        """Share of rollouts in which the skill was opened; None for runs without a skill."""
        seen = [r.skill_activated for r in self.rollouts if r.skill_activated is not None]
        return sum(seen) / len(seen) if seen else None

    @property
    def usage(self) -> Usage:
        return sum((r.usage for r in self.rollouts), Usage())

    def scores(self) -> dict[str, Any]:
        """Score and gain with their intervals, without what differs from run to run."""
        return {
            "tasks": len(self.rollouts),
            "hard": vars(self.score),
            "soft": sum(r.reward.soft for r in self.rollouts) / max(1, len(self.rollouts)),
            "gain": vars(self.gain) if self.gain else None,
            "skill_activated": self.activation,
        }

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        usage = self.usage
        return {
            "skill": self.skill,
            "harness": self.harness,
            "score": vars(self.score),
            "soft": sum(r.reward.soft for r in self.rollouts) / max(1, len(self.rollouts)),
            "gain": vars(self.gain) if self.gain else None,
            "skill_activated": self.activation,
            "tokens": usage.prompt_tokens + usage.completion_tokens,
            "cost_usd": usage.cost_usd,
            "seconds": sum(r.duration_s for r in self.rollouts),
            "tasks": [
                {
                    "task": r.task.name,
                    "family": r.task.family,
                    "status": r.status.value,
                    "hard": r.reward.hard,
                    "soft": r.reward.soft,
                    "skill_activated": r.skill_activated,
                    "key": r.key,
                }
                for r in self.rollouts
            ],
        }


def compare(
    bench: Workbench,
    skills: Mapping[str, Skill | None],
    tasks: Sequence[Task],
    *,
    harness: str | None = None,
    replicates: int = 1,
    stage: str = "eval",
) -> list[Row]:
    """Run every skill on the same tasks.

    Args:
        bench: where.
        skills: by the name to show; None stands for no skill. The first is what others are
            compared with.
        tasks: each is run ``replicates`` times.
        harness: another one than the config's.
        stage: that the rollouts are run for.

    Raises:
        PausedError: a rollout could not be run; those that were are in the store.
        LimitReachedError: a limit of the run is used up.
    """
    rows = []
    first: tuple[Rollout, ...] | None = None
    for name, skill in skills.items():
        rollouts = tuple(
            rollout
            for replicate in range(replicates)
            for rollout in bench.rollouts(
                tasks, skill, stage=stage, harness=harness, replicate=replicate
            )
        )
        gain = None if first is None else paired_difference(_hard(first), _hard(rollouts))
        first = first if first is not None else rollouts
        rows.append(Row(name, harness or bench.config.harness.name, rollouts, gain))
    return rows


def _hard(rollouts: Sequence[Rollout]) -> list[float]:
    return [r.reward.hard for r in rollouts]
