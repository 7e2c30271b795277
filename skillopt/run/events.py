"""What happens during training and evaluation, for listeners: display, trackers, tests.

The records of the event log are events too. The events defined here are reported but not logged.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harnesses.gateway.service import Wait
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


@dataclass(frozen=True)
class ServiceWaited:
    """A model service is waited for, or replies again. It is asked again at ``wait.until``."""

    wait: Wait


Event = AnyRecord | EvaluationStarted | RolloutStarted | RolloutFinished | ServiceWaited
Listener = Callable[[Event], None]
"""Called for every event, from any thread."""


def nobody(_: Event) -> None:
    """A listener that does nothing."""


def tell_all(
    listeners: Sequence[Listener], report: Callable[[str], None] | None = None
) -> Listener:
    """One listener for several. A listener that raises is reported once and then removed, as an
    observer must not end a run.

    Args:
        listeners: in the order in which they receive each event.
        report: called with a message about one that has raised; by default, the others receive it
            as a note.
    """
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
                text = switched_off(f"listener {_name(listener)}", error)
                if report is None:
                    tell(Noted(text=text))
                else:
                    report(text)

    return tell


def switched_off(what: str, error: Exception) -> str:
    """The message about an observer of a run that has raised."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{what} raised {type(error).__name__}: {error} ({last.filename}:{last.lineno}); "
        "it is switched off, and the run continues"
    )


def _name(listener: Listener) -> str:
    return str(getattr(listener, "__qualname__", type(listener).__qualname__))
