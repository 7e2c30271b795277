"""Whether a running command is still within its time and its disk space."""

from __future__ import annotations

import time

from sandboxes.base import Deadline
from sandboxes.disk import DiskGuard


class Watch:
    """What ends a command that does not end itself.

    Args:
        end: its deadline.
        guard: of the disk space that it may use.
    """

    def __init__(self, end: Deadline, guard: DiskGuard) -> None:
        self._end = end
        self._guard = guard

    @property
    def pause_s(self) -> float:
        """Seconds until :meth:`reached` has to be asked again; negative if that is overdue."""
        return min(self._end(), self._guard.due) - time.monotonic()

    def reached(self) -> str | None:
        """The limit that the command has reached, ``time`` or ``disk``; None while it has not.

        Raises:
            SandboxError: a disk of this machine is nearly full.
        """
        now = time.monotonic()
        if now >= self._end():
            return "time"
        return "disk" if now >= self._guard.due and self._guard.exceeded() else None

    def reached_at_end(self) -> str | None:
        """The same for a command that has just ended by itself, whose time was enough."""
        return "disk" if self._guard.mounts_exceeded() else None
