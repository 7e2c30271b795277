"""Rollouts that failed for infrastructure, each with its reasons; none of them is scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harnesses.base import Status
from skillopt.report.trajectory import clipped
from skillopt.run.records import RolloutRan

REASON_CHARS = 2_000
REASONS = 10
"""The most reasons that are kept of one rollout: the last different ones."""


@dataclass
class _Failure:
    task: str
    stage: str
    key: str
    attempts: int = 0
    reasons: list[str] = field(default_factory=list)
    over: bool = False
    """Whether the rollout has succeeded since."""


class Failures:
    """The failures of a run by the rollout's key, the latest last."""

    def __init__(self) -> None:
        self._found: dict[str, _Failure] = {}

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self._found)

    def add(self, record: RolloutRan) -> None:
        """Add how a rollout ended; a cancelled one is ignored."""
        if record.status.scored and record.key in self._found:
            self._found[record.key].over = True
        if record.status is not Status.INFRA_ERROR:
            return
        known = self._found.pop(record.key, None)
        failure = known or _Failure(record.task, record.stage, record.key)
        reason = clipped(record.message, REASON_CHARS)
        others = [other for other in failure.reasons if other != reason]
        failure.reasons = [*others, reason][-REASONS:]
        failure.attempts += 1
        failure.stage, failure.over = record.stage, False
        self._found[record.key] = failure

    def to_json(self) -> list[dict[str, Any]]:
        """The failures as JSON, the latest first."""
        return [vars(failure) for failure in reversed(self._found.values())]
