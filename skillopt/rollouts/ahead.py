"""Rollouts that are run in advance, on workers that have nothing else to do.

Those that somebody waits for come first: one in advance starts only if a worker is idle. Together
they are never more than the workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from skillopt.core.import_path import OwnCodeError
from skillopt.core.types import Rollout
from skillopt.rollouts.rollout import Job
from skillopt.run.spending import LimitReachedError

EXPECTED = (LimitReachedError, OwnCodeError, CancelledError)
"""What may end a rollout in advance. The training meets it too, as far as it concerns it."""


class Ahead:
    """Shares the workers between what is waited for and what is run in advance.

    Args:
        workers: rollouts at a time.
        run: runs one in advance.
    """

    def __init__(self, workers: int, run: Callable[[Job], Rollout]) -> None:
        self._workers, self._run = workers, run
        self._pool = ThreadPoolExecutor(workers, "ahead")
        self._changed = threading.Condition()
        self._wanted = self._holding = self._early = 0
        """Rollouts that are waited for, those of them that have a worker, and those in advance."""
        self._begun: dict[str, Future[Rollout]] = {}
        """Those in advance that still run, by key."""
        self._error: BaseException | None = None
        """The first exception; nothing more is started in advance after it."""

    def close(self) -> None:
        """Wait for what still runs."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def want(self) -> None:
        """One more rollout is waited for; :meth:`done` says when it is not any more."""
        with self._changed:
            self._wanted += 1

    def done(self, _: Future[Rollout]) -> None:
        """A rollout is not waited for any more: it has ended, or was cancelled."""
        with self._changed:
            self._wanted -= 1
            self._changed.notify_all()

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A worker for a rollout that is waited for."""
        with self._changed:
            self._changed.wait_for(lambda: self._holding + self._early < self._workers)
            self._holding += 1
        try:
            yield
        finally:
            with self._changed:
                self._holding -= 1
                self._changed.notify_all()

    def take(self, key: str) -> Future[Rollout] | None:
        """A rollout in advance that still runs; None if there is none of that key."""
        with self._changed:
            return self._begun.pop(key, None)

    @contextmanager
    def during(self, jobs: Sequence[Job]) -> Iterator[None]:
        """Run jobs in advance in a ``with`` block, one after the other as workers become idle.
        After it none is started; those that run go on, and are kept in the store."""
        ended = threading.Event()
        feeder = threading.Thread(target=self._feed, args=(jobs, ended), name="ahead-feeder")
        feeder.start()
        try:
            yield
        finally:
            ended.set()
            with self._changed:
                self._changed.notify_all()
            feeder.join()
        if self._error is not None and not isinstance(self._error, EXPECTED):
            raise self._error

    def _feed(self, jobs: Sequence[Job], ended: threading.Event) -> None:
        for job in jobs:
            with self._changed:
                self._changed.wait_for(lambda: ended.is_set() or self._error or self._is_idle)
                if ended.is_set() or self._error is not None:
                    return
                self._early += 1
                future = self._begun[job.key] = self._pool.submit(self._run, job)
            future.add_done_callback(partial(self._ended, job.key))

    @property
    def _is_idle(self) -> bool:
        return self._wanted + self._early < self._workers

    def _ended(self, key: str, future: Future[Rollout]) -> None:
        with self._changed:
            self._early -= 1
            self._begun.pop(key, None)
            if not future.cancelled():
                self._error = self._error or future.exception()
            self._changed.notify_all()
