"""Records and reports what happens: first the log, then state, spending, files and listeners."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from skillopt.run.events import Event, Listener
from skillopt.run.folder import RunFolder
from skillopt.run.journal import Journal
from skillopt.run.records import (
    BaselineDone,
    CompressionDone,
    CreditDone,
    EpochDone,
    JudgeAsked,
    MethodDone,
    Noted,
    Record,
    RemovalDone,
    RolloutRan,
    RolloutsAsked,
    RunDone,
    RunStarted,
    RunStopped,
    StepDone,
)
from skillopt.run.spending import Meter
from skillopt.run.state import State

STANDING = (
    RunStarted | BaselineDone | CompressionDone | StepDone | CreditDone | RemovalDone | EpochDone
    | MethodDone | RunDone | RunStopped
)  # fmt: skip
"""Records after which the files with the run's current state are written."""


@dataclass
class Recorder:
    """A listener of all events of a run, from any thread.

    Args:
        journal, folder: the run on disk.
        state, meter: state and spending after the records so far; updated by each new one.
        listener: receives each event after that.
    """

    journal: Journal
    folder: RunFolder
    state: State
    meter: Meter
    listener: Listener
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Record):
            with self._lock:
                self.journal.append(event)
                self.state.apply(event)
                # The runner has counted these.
                if not isinstance(event, RolloutsAsked | RolloutRan | JudgeAsked):
                    self.meter.add(event)
                self.folder.write(event, self.state)
                if isinstance(event, STANDING):
                    self.folder.write_standing(self.state, self.meter)
        self.listener(event)

    def note(self, text: str, step: int = 0) -> None:
        """Record and report a line about a step, or about the run."""
        self(Noted(text=text, step=step))
