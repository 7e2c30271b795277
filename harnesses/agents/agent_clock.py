"""The first clock of a rollout: the agent's own time, which its limit counts."""

from __future__ import annotations

import time

from harnesses.gateway.service_time import ServiceTime
from sandboxes.base import Uncounted


class AgentClock:
    """Runs from its making, and stands still while the model service is waited for.

    Args:
        limit_s: the agent's time limit.
        service: the session's other clock.
    """

    def __init__(self, limit_s: float, service: ServiceTime) -> None:
        self._end = time.monotonic() + limit_s
        self._service = service
        self.limit_s = limit_s

    @property
    def left_s(self) -> float:
        """Seconds that the agent has left; negative after its end."""
        return self._end + self._service.seconds - time.monotonic()

    def over(self) -> bool:
        """Whether the agent's time is over."""
        return self.left_s <= 0

    def allow(self, seconds: float) -> None:
        """Seconds that have passed do not count."""
        self._end += seconds

    def uncounted(self) -> Uncounted:
        """What a command that starts now need not count of its time."""
        before = self._service.seconds
        return lambda: self._service.seconds - before

    def message(self) -> str:
        """What is said of an agent whose time was over."""
        waited = self._service.seconds
        beside = f"; {waited:.0f} s more went to the model service" if waited >= 1 else ""
        return f"agent was still working after {self.limit_s:g} s{beside}"
