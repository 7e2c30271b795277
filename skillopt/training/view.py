"""What a method may know of a training: the training tasks, names of selection tasks, skills,
scores. Of test tasks there is nothing. :mod:`skillopt.training.sealed` has what it may do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from skillopt.core.metric import Scorer
from skillopt.core.skill import Skill, SkillError
from skillopt.core.types import Rollout, Split, Task
from skillopt.optimizer.model import ParallelMap
from skillopt.training.context import Training


@dataclass(frozen=True)
class Progress:
    """What has happened in a run before this process and in it.

    Args:
        steps: finished steps.
        current, best: the skill that was accepted last, and the one with the highest score.
        current_score, best_score: their scores on the selection split.
    """

    steps: int
    current: Skill
    best: Skill
    current_score: float
    best_score: float


@dataclass(frozen=True)
class Selected:
    """What a method learns of a selection task.

    Args:
        task: its name.
        score: of the skill on it, in [0, 1], as ``gate.metric`` says.
        feedback: the verifier's, without expected answers.
    """

    task: str
    score: float
    feedback: str


class TrainingView:
    """A training as a method may look at it.

    Args:
        training: the whole of it.
    """

    def __init__(self, training: Training) -> None:
        self._training = training

    @property
    def splits(self) -> Mapping[Split, tuple[Task, ...]]:
        """The training tasks, under ``train``."""
        return {"train": self.train}

    @property
    def train(self) -> tuple[Task, ...]:
        """The training tasks."""
        return self._training.splits["train"]

    @cached_property
    def selection(self) -> tuple[str, ...]:
        """Names of the selection tasks."""
        return tuple(task.name for task in self._training.splits["val"])

    @property
    def initial(self) -> Skill:
        """The skill that training starts from."""
        return self._training.state.skills[self._training.state.initial]

    @property
    def current(self) -> Skill:
        """The skill that was accepted last."""
        return self._training.current

    @property
    def state(self) -> Progress:
        """What has happened so far, by the records."""
        state = self._training.state
        skills = state.skills
        return Progress(
            state.steps,
            skills[state.current],
            skills[state.best],
            state.current_score,
            state.best_score,
        )

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        return self._training.config.seed

    @property
    def scorer(self) -> Scorer:
        """From rewards to scores."""
        return self._training.config.gate.scorer

    @property
    def max_tokens(self) -> int:
        """The token limit for ``SKILL.md``, which published methods do not know."""
        return self._training.max_tokens

    @property
    def parallel(self) -> ParallelMap:
        """Runs calls that do not depend on each other."""
        return self._training.runner.pool.map

    def feedback(self, rollout: Rollout) -> str:
        """A verifier's feedback on a training task, without expected answers unless the config
        shows them (``optimizer.sees_answers``); then they follow it."""
        return self._seen(rollout.task, rollout.reward.feedback, answers=True)

    def problem(self, skill: Skill) -> str:
        """Why rollouts cannot be run with a skill, as the agent would not load it or it cannot be
        written; empty if they can. What this project's own edits may not do is no reason."""
        try:
            _ = skill.digest  # Its text has to be written for that.
            self._training.runner.check_skill(skill)
        except SkillError as error:
            return str(error)
        return ""

    def _seen(self, task: Task, feedback: str, answers: bool = False) -> str:
        guard = self._training.guard
        if answers and self._training.config.optimizer.sees_answers:
            expected = guard.answers(task, 300)
            return f"{feedback}\nExpected:\n{expected}" if expected else feedback
        return guard.redact(task, feedback)


def mean_score(found: Sequence[Selected]) -> float:
    """The mean score on some selection tasks, at least one; the same in every order."""
    return math.fsum(one.score for one in found) / len(found)
