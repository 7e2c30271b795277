"""What a training method is: it makes skills, from the rollouts of training tasks.

SkillOpt's loop (:mod:`skillopt.training.trainer`) is one, the others of the project are in
:mod:`skillopt.methods`. A method of your own is a class with the methods of :class:`Method`, named
by import path in ``method.kind`` or given as ``Plugins(method=…)``; ``method.options`` are its
keyword arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from skillopt.config.kinds import METHODS
from skillopt.config.methods import AnyMethodConfig, MethodConfig
from skillopt.config.schema import Config
from skillopt.core.import_path import make
from skillopt.core.types import Split, Task

if TYPE_CHECKING:
    from skillopt.training.sealed import SealedTraining


@dataclass(frozen=True)
class Estimate:
    """Upper bounds for what a method will do, for ``--dry-run``, the display and limits.

    Args:
        epochs: number of epochs of the whole training.
        steps: number of its steps.
        budgets: edits that each step may make; None for no limit.
        rollouts: number of rollouts by stage.
        calls: number of optimizer calls by stage.
    """

    epochs: int = 1
    steps: int = 0
    budgets: tuple[int | None, ...] = ()
    rollouts: tuple[tuple[str, int], ...] = ()
    calls: tuple[tuple[str, int], ...] = ()


class Method(Protocol):
    """Runs a training between the baseline and the final scores."""

    def estimate(self, config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
        """Upper bounds for what it will do. Nothing is run or requested.

        Args:
            config: the run's.
            splits: the training tasks; of the others there is only the number, as tasks without
                content.
        """

    def run(self, training: SealedTraining) -> str:
        """Train, and return why training ended.

        An interrupted run calls this again: what has happened is in ``training.state``, and earlier
        rollouts and replies are found again, so state must not be kept anywhere else.
        """


def make_method(config: AnyMethodConfig) -> Method:
    """The method that a config names. Those with settings of their own get their section.

    Raises:
        PluginError: an import path leads nowhere, or the class does not take the options.
    """
    path = METHODS.get(config.kind, config.kind)
    made: Method = (
        make(path, "method.kind", "run", **config.options)
        if isinstance(config, MethodConfig)
        else make(path, "method.kind", "run", config)
    )
    return made
