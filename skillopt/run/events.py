"""What happens during training and evaluation, told to whoever listens: display, trackers, tests.

The records of the event log are told too. What is defined here is only told and never kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skillopt.core.types import Rollout
from skillopt.run.records import AnyRecord


@dataclass(frozen=True)
class Note:
    """Something worth a line: what is being done, or what went wrong and was dealt with."""

    text: str


@dataclass(frozen=True)
class EvaluationStarted:
    """An evaluation outside of a run has begun; ``rollouts`` is how many it has."""

    rollouts: int


@dataclass(frozen=True)
class RolloutStarted:
    task: str


@dataclass(frozen=True)
class RolloutFinished:
    rollout: Rollout
    stored: bool
    """Found in the store: nothing was run."""


Event = AnyRecord | Note | EvaluationStarted | RolloutStarted | RolloutFinished
Listener = Callable[[Event], None]
"""Called for every event, from any thread."""


def nobody(_: Event) -> None:
    """A listener that does nothing."""
