"""Keeps and tells what happens in a run: log first, then state, spending, files and listeners."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from skillopt.run.events import Event, Listener, Note
from skillopt.run.folder import RunFolder
from skillopt.run.journal import Journal
from skillopt.run.records import BaselineDone, EpochDone, Record, RunDone, RunStopped, StepDone
from skillopt.run.spending import Meter
from skillopt.run.state import State


@dataclass
class Recorder:
    """A listener of all events of a run, from any thread.

    Args:
        journal, folder: the run on disk.
        state, meter: what the records so far come to; brought up to each new one.
        listener: told of each event after that.
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
                self.meter.add(event)
                self.folder.write(event, self.state)
                if isinstance(event, BaselineDone | StepDone | EpochDone | RunDone | RunStopped):
                    self.folder.write_standing(self.state, self.meter)
        self.listener(event)

    def note(self, *texts: str) -> None:
        """Tell something that need not be kept."""
        for text in texts:
            self.listener(Note(text))
