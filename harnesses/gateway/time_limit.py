"""A limit of time for many short waits one after the other, such as those for a stream's chunks."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType


class TimeLimit:
    """Limits waits as :func:`asyncio.timeout` does, at a fraction of its cost: what a wait sets is
    a number, and the timer runs on from one to the next. ::

        with limit.of(30):
            await anext(chunks)

    raises TimeoutError after 30 seconds. One wait at a time.
    """

    def __init__(self) -> None:
        self._due = 0.0
        self._task: asyncio.Task[object] | None = None
        """That waits now."""
        self._cancels = 0
        """How often others had cancelled it before."""
        self._over = False
        self._timer: asyncio.TimerHandle | None = None

    def of(self, seconds: float) -> TimeLimit:
        """The limit of the next wait."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            self.close()
        if self._timer is None and seconds < math.inf:
            self._timer = loop.call_at(self._due, self._look, loop)
        return self

    def __enter__(self) -> None:
        self._task, self._over = asyncio.current_task(), False
        assert self._task is not None, "a wait is a task's"
        self._cancels = self._task.cancelling()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if not self._over or task is None:
            return
        # Who was cancelled by others too is not late.
        alone = task.uncancel() <= self._cancels
        if alone and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error

    def close(self) -> None:
        """End the timer. It begins again with the next wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._task is None:
            return
        if loop.time() < self._due:
            self._timer = loop.call_at(self._due, self._look, loop)
        else:
            self._over = True
            self._task.cancel()
