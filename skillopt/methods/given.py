"""Methods that train nothing: the initial skill as it is, or one that a person wrote.

They are the rows that every other method is compared with.
"""

from __future__ import annotations

from skillopt.config.inputs import read_skill_or_run
from skillopt.config.methods import HumanConfig, NoMethodConfig
from skillopt.config.schema import Config
from skillopt.core.skill import SkillError
from skillopt.core.types import Split, Task
from skillopt.training.method import Estimate
from skillopt.training.sealed import SealedTraining


class NoTraining:
    """Keeps the initial skill. Implements :class:`skillopt.training.method.Method`."""

    def __init__(self, _: NoMethodConfig) -> None:
        """It has no settings."""

    def estimate(self, config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
        return Estimate()

    def run(self, training: SealedTraining) -> str:
        return training.choose(training.initial, "nothing is trained")


class Human:
    """Takes a skill that is there already. Implements :class:`skillopt.training.method.Method`.

    Args:
        settings: name it.

    Raises:
        SkillError: there is no such skill.
    """

    def __init__(self, settings: HumanConfig) -> None:
        given = read_skill_or_run(settings.skill)
        if given is None:
            raise SkillError("method.skill: none: name a skill, or use method.kind: none")
        self.skill = given

    def estimate(self, config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
        return Estimate()

    def run(self, training: SealedTraining) -> str:
        if problem := training.problem(self.skill):
            raise SkillError(f"method.skill: {problem}")
        return training.choose(self.skill, "the skill was given")
