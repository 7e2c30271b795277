"""One-shot: the optimizer writes the skill at once, from some training tasks, and sees no run.

The paper's baseline of this name has no published code. Chosen here: the project's own prompt for
drafts, which shows a few tasks of each family, asks for a whole skill, and asks once more if that
cannot be used. Nothing of it is scored before the end.
"""

from __future__ import annotations

from skillopt.config.methods import OneShotConfig
from skillopt.config.schema import Config
from skillopt.core.types import Split, Task
from skillopt.training.method import Estimate
from skillopt.training.sealed import SealedTraining


class OneShot:
    """Implements :class:`skillopt.training.method.Method`."""

    def __init__(self, _: OneShotConfig) -> None:
        """It has no settings."""

    def estimate(self, config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
        return Estimate(steps=1, budgets=(None,), calls=(("draft", 1),))

    def run(self, training: SealedTraining) -> str:
        """Ask for one skill.

        Raises:
            OptimizerReplyError, OptimizerUnavailableError, LimitReachedError: from the model.
        """
        if reason := training.begin_step():
            return training.choose(training.initial, reason)
        made = training.draft()
        training.end_step(made, None, "written at once; nothing was measured")
        return training.choose(made, "the skill was written at once")
