"""Train agent skills inside the real coding agents that will use them.

The public names are imported when they are first used, so that ``import skillopt`` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from skillopt.core import installation

if TYPE_CHECKING:
    from skillopt.config.inputs import read_config as read_config
    from skillopt.config.schema import Config as Config
    from skillopt.core.errors import SkillOptError as SkillOptError
    from skillopt.core.skill import Skill as Skill
    from skillopt.core.skill import read_skill as read_skill
    from skillopt.core.types import Finish as Finish
    from skillopt.core.types import GateDecision as GateDecision
    from skillopt.core.types import Reward as Reward
    from skillopt.core.types import Rollout as Rollout
    from skillopt.core.types import Task as Task
    from skillopt.evaluation.evaluate import evaluate as evaluate
    from skillopt.rollouts.plugins import Plugins as Plugins
    from skillopt.training.start import RunResult as RunResult
    from skillopt.training.start import train as train

_HOMES = {
    "Config": "skillopt.config.schema",
    "Finish": "skillopt.core.types",
    "GateDecision": "skillopt.core.types",
    "Plugins": "skillopt.rollouts.plugins",
    "Reward": "skillopt.core.types",
    "Rollout": "skillopt.core.types",
    "RunResult": "skillopt.training.start",
    "Skill": "skillopt.core.skill",
    "SkillOptError": "skillopt.core.errors",
    "Task": "skillopt.core.types",
    "evaluate": "skillopt.evaluation.evaluate",
    "read_config": "skillopt.config.inputs",
    "read_skill": "skillopt.core.skill",
    "train": "skillopt.training.start",
}
__all__ = [
    "Config",
    "Finish",
    "GateDecision",
    "Plugins",
    "Reward",
    "Rollout",
    "RunResult",
    "Skill",
    "SkillOptError",
    "Task",
    "evaluate",
    "read_config",
    "read_skill",
    "train",
]

installation.warn()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'skillopt' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
