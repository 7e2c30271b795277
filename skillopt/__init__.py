"""The optimizer, the gate, the training loop, runs on disk, tasks and the command line.

``skillopt.train`` and ``skillopt.evaluate`` are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skillopt.evaluation.evaluate import evaluate as evaluate
    from skillopt.rollouts.plugins import Plugins as Plugins
    from skillopt.training.start import RunResult as RunResult
    from skillopt.training.start import train as train

__all__ = ["Plugins", "RunResult", "evaluate", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'skillopt' has no attribute {name!r}")
    import skillopt.training.start

    return getattr(skillopt.training.start, name)
