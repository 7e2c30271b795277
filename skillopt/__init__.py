"""Train agent skills inside the real coding agents that will use them.

The public names are imported when they are first used, so that ``import skillopt`` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skillopt.evaluation.evaluate import evaluate as evaluate
    from skillopt.rollouts.plugins import Plugins as Plugins
    from skillopt.training.start import RunResult as RunResult
    from skillopt.training.start import train as train

_HOMES = {
    "Plugins": "skillopt.rollouts.plugins",
    "RunResult": "skillopt.training.start",
    "evaluate": "skillopt.evaluation.evaluate",
    "train": "skillopt.training.start",
}
__all__ = ["Plugins", "RunResult", "evaluate", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'skillopt' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
