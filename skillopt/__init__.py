"""The optimizer, the gate, the training loop, runs on disk, tasks and the command line.

``skillopt.train`` and ``skillopt.evaluate`` are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skillopt.api import RunResult as RunResult
    from skillopt.api import evaluate as evaluate
    from skillopt.api import train as train
    from skillopt.plugins import Plugins as Plugins

__all__ = ["Plugins", "RunResult", "evaluate", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'skillopt' has no attribute {name!r}")
    import skillopt.api

    return getattr(skillopt.api, name)
