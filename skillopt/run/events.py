"""What happens during training and evaluation, for listeners: display, trackers, tests.

The records of the event log are events too. The events defined here are reported but not logged.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from skillopt.core.types import Rollout
from skillopt.run.records import AnyRecord, Noted


@dataclass(frozen=True)
class EvaluationStarted:
    """An evaluation outside a run has started; ``rollouts`` is how many it has."""

    rollouts: int


@dataclass(frozen=True)
class RolloutStarted:
    task: str


@dataclass(frozen=True)
class RolloutFinished:
    rollout: Rollout
    stored: bool
    """Whether the rollout was found in the store, so that nothing was run."""


Event = AnyRecord | EvaluationStarted | RolloutStarted | RolloutFinished
Listener = Callable[[Event], None]
"""Called for every event, from any thread."""


def nobody(_: Event) -> None:
    """A listener that does nothing."""


def tell_all(listeners: Sequence[Listener]) -> Listener:
    """One listener for several. A listener that raises is reported once and then removed, as an
    observer must not end a run."""
    listening = list(listeners)
    lock = threading.RLock()

    def tell(event: Event) -> None:
        for listener in tuple(listening):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001  # Reported to all others.
                with lock:
                    if listener not in listening:
                        continue  # Another thread has reported it.
                    listening.remove(listener)
                tell(Noted(text=_raised(listener, error)))

    return tell


def _raised(listener: Listener, error: Exception) -> str:
    name = getattr(listener, "__qualname__", type(listener).__qualname__)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"listener {name} raised {type(error).__name__}: {error} ({last.filename}:{last.lineno}); "
        "it is switched off, and the run continues"
    )
