"""The second clock of a rollout: the time that it lost to the model service."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from harnesses.clock import now


class ServiceTime:
    """The seconds in which at least one call of a session waited for the service.

    Waiting in the gateway's queue, failed tries and the pauses after them, and silence beyond what
    a model may take to think are such seconds. Intervals may overlap; each second counts once.
    Safe to use from several threads. Times are those of :func:`harnesses.clock.now`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed: list[tuple[float, float]] = []
        """Disjoint intervals in order."""
        self._closed_s = 0.0
        """The seconds in them."""
        self._open: dict[Hashable, float] = {}

    def begin(self, key: Hashable, at: float | None = None) -> None:
        """Begin an interval, which replaces one of the same key that has not begun.

        Args:
            key: of what waits.
            at: when it begins; a time in the future if waiting so long is nothing unusual.
        """
        moment = now()
        with self._lock:
            self._close(key, moment)
            self._open[key] = moment if at is None else at

    def end(self, key: Hashable) -> None:
        """End an interval, if there is one of this key."""
        moment = now()
        with self._lock:
            self._close(key, moment)

    def add(self, began: float, ended: float) -> None:
        """Count an interval that has passed."""
        with self._lock:
            self._add(began, ended)

    @property
    def seconds(self) -> float:
        """The seconds so far."""
        at = now()
        with self._lock:
            running = [(began, at) for began in self._open.values() if began < at]
            if not running:  # As a rule, and this is asked for each chunk of a stream.
                return self._closed_s
            spans = [*self._closed, *running]
        return _length(_union(spans))

    def _close(self, key: Hashable, ended: float) -> None:
        began = self._open.pop(key, None)
        if began is not None:
            self._add(began, ended)

    def _add(self, began: float, ended: float) -> None:
        if ended > began:
            self._closed = _union([*self._closed, (began, ended)])
            self._closed_s = _length(self._closed)


def _length(spans: list[tuple[float, float]]) -> float:
    return sum(ended - began for began, ended in spans)


def _union(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same times as disjoint intervals in order."""
    merged: list[tuple[float, float]] = []
    for began, ended in sorted(spans):
        if merged and began <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(ended, merged[-1][1])
        else:
            merged.append((began, ended))
    return merged
