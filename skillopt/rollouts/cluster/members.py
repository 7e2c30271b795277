"""A node of a run, and the attempts that run there, as the driver sees them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harnesses.base import Usage
from harnesses.gateway.wire import WIRE
from skillopt.rollouts.cluster.machines import GoneError, Link
from skillopt.rollouts.cluster.messages import Progress, Pulse, Reply
from skillopt.rollouts.cluster.parcels import Parcel

TICK_S = 0.25
"""Seconds between two looks at what may have come."""
_LOG = logging.getLogger(__name__)


@dataclass
class Running:
    """An attempt on a node.

    Args:
        number: names it in beats.
        folder: of the driver, to which its calls are added while it runs.
    """

    number: int
    folder: Path
    done: Future[Reply] = field(default_factory=Future)
    usage: Usage = Usage()
    began: float = field(default_factory=time.monotonic)
    known: float = field(default_factory=time.monotonic)
    """When its usage was last known."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: bool = False
    """Whether nothing may be added to its folder any more."""

    def follow(self, progress: Progress) -> None:
        """Take note of how far it is."""
        import zstandard

        with self.lock:
            if self.over:
                return
            self.usage, self.known = progress.usage, time.monotonic()
            if progress.wire:
                data = zstandard.ZstdDecompressor().decompress(progress.wire)
                try:
                    with (self.folder / WIRE).open("ab") as file:
                        file.write(data)
                except OSError as error:  # That of a full disk stops the run at the next result.
                    _LOG.warning("%s: %s", self.folder, error)

    def end(self) -> None:
        """Add nothing more to its folder."""
        with self.lock:
            self.over = True

    def fail(self, error: Exception) -> None:
        """Have no reply, unless there is one."""
        with suppress(InvalidStateError):
            self.done.set_exception(error)

    def take(self, reply: Future[Reply]) -> None:
        """Have the reply of its node, unless it has failed."""
        error = reply.exception()
        with suppress(InvalidStateError):
            if error is None:
                self.done.set_result(reply.result())
            else:
                self.done.set_exception(error)


@dataclass
class Member:
    """A node that is being used, or set up."""

    id: str
    name: str
    link: Link
    heard: float = field(default_factory=time.monotonic)
    sent: float = 0.0
    beat: Future[Pulse] | None = None
    ready: bool = False
    since: float = 0.0
    """When it became ready; 0 if it never was."""
    gone: str = ""
    running: dict[int, Running] = field(default_factory=dict)
    parcels: set[str] = field(default_factory=set)
    """Digests of what it has."""
    supplying: threading.Lock = field(default_factory=threading.Lock)
    limited: Mapping[str, float] = field(default_factory=dict)

    def put(self, parcel: Parcel) -> None:
        """Send a parcel. Raises GoneError if the node is gone meanwhile."""
        sent = self.link.call("put", parcel)
        while not sent.done():
            wait([sent], timeout=TICK_S)
            if self.gone:
                raise GoneError(self.gone)
        sent.result()
        self.parcels.add(parcel.digest)
