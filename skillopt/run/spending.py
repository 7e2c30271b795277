"""What a run has spent, by stage, and the limits on it. Counts over all starts of the run."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from harnesses.base import Usage
from harnesses.gateway.plan_windows import PlanWindow
from skillopt.config.schema import RunLimitsConfig, SpendingConfig
from skillopt.core.errors import SkillOptError
from skillopt.run.records import (
    AnyRecord,
    JudgeAsked,
    PlanUsed,
    Replied,
    RolloutRan,
    RolloutsAsked,
    RunStarted,
    RunStopped,
    StageStarted,
)

JUDGE = "judge"
"""The stage under which the calls of a judge count, whatever stage the rollout is run for."""


class LimitReachedError(SkillOptError):
    """A limit of the config is used up. The message names its key and the amounts."""

    exit_code = 4


@dataclass
class Spent:
    """The cost of one stage or all stages so far."""

    rollouts: int = 0
    """Rollouts that were run."""
    usage: Usage = Usage()
    seconds: float = 0.0
    asked: int = 0
    """Distinct rollouts that were asked for, those from the store included."""

    @property
    def tokens(self) -> int:
        return self.usage.prompt_tokens + self.usage.completion_tokens

    def to_json(self) -> dict[str, Any]:
        return {
            "rollouts_asked": self.asked,
            "rollouts": self.rollouts,
            "tokens": self.tokens,
            "usd": self.usage.cost_usd,
            **({"included": True} if self.usage.included else {}),
            "seconds": round(self.seconds, 3),
        }


@dataclass
class Meter:
    """Adds up records and checks the limits. Safe to use from several threads.

    Args:
        limits: the config's.
    """

    limits: RunLimitsConfig = field(default_factory=RunLimitsConfig)
    stages: defaultdict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))
    plans: dict[str, tuple[PlanWindow, ...]] = field(default_factory=dict)
    """What is known of the plans that pay, by the service's name."""
    _asked: set[str] = field(default_factory=set, repr=False)
    """Keys of the rollouts that were asked for."""
    _running: Counter[str] = field(default_factory=Counter)
    _stage: str = ""
    _last: float | None = None
    """Time of the last record since the current process started."""
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def add(self, record: AnyRecord) -> None:
        """Count the spending in a record."""
        with self._lock:
            if isinstance(record, RunStarted):
                # Nothing was spent between the end of one process and the start of the next.
                self._last, self._stage = None, ""
                self.plans = {name: _dated(windows) for name, windows in self.plans.items()}
            self._tick(record.at)
            match record:
                case StageStarted():
                    self._stage = record.stage
                case RolloutsAsked():
                    self._ask(record.stage, record.keys)
                case RolloutRan():
                    spent = self.stages[record.stage]
                    spent.rollouts += 1
                    spent.usage += record.usage
                case PlanUsed():
                    self.plans[record.service] = record.windows
                case JudgeAsked():
                    self.stages[JUDGE].usage += record.usage
                case Replied() if not record.inherited:
                    self.stages[record.stage].usage += record.usage
                case RunStopped():
                    self._last = None

    def ask(self, stage: str, keys: Iterable[str]) -> list[str]:
        """Count rollouts that are asked for, each distinct one once.

        Args:
            stage: the stage that asks for them.
            keys: their addresses in the store.

        Returns:
            Those that had not been asked for before, in their order.
        """
        with self._lock:
            return self._ask(stage, keys)

    def _ask(self, stage: str, keys: Iterable[str]) -> list[str]:
        new = [key for key in dict.fromkeys(keys) if key not in self._asked]
        if new:
            self._asked.update(new)
            self.stages[stage].asked += len(new)
        return new

    def _tick(self, now: float) -> None:
        if self._last is not None:
            self.stages[self._stage].seconds += max(0.0, now - self._last)
        self._last = now

    @property
    def total(self) -> Spent:
        """All stages together."""
        with self._lock:
            return _sum(self.stages.values())

    @contextmanager
    def admit(self, stage: str, now: float, rollout: bool = False) -> Iterator[None]:
        """Let one rollout or optimizer call of a stage start.

        Args:
            stage: the stage to charge.
            now: time in seconds since the epoch.
            rollout: whether it is a rollout; running ones count against the limit.

        Raises:
            LimitReachedError: a limit is used up.
        """
        with self._lock:
            used = self._since(now)
            running = sum(self._running.values())
            reason = _over(self.limits, self.total, used, running if rollout else 0, "limits")
            own = self.limits.stages.get(stage)  # type: ignore[call-overload]  # any stage may ask
            reason = reason or self._over_plan(now)
            if not reason and own is not None:
                since = used if stage == self._stage else 0.0
                key = f"limits.stages.{stage}"
                running = self._running[stage] if rollout else 0
                reason = _over(own, self.stages[stage], since, running, key)
            if reason:
                raise LimitReachedError(reason)
            self._running[stage] += rollout
        try:
            yield
        finally:
            with self._lock:
                self._running[stage] -= rollout

    def _over_plan(self, now: float) -> str:
        """The plan of which as much is used as the config allows, in words; empty if none is."""
        share = self.limits.plan_share
        for service, windows in self.plans.items():
            for window in windows:
                if share is not None and window.share(now) >= share:
                    when = "after that" if window.resets_at is not None else "later"
                    return (
                        f"limits.plan_share: {share:.0%} of a window may be used; {service}: "
                        f"{window.text(now)}; start the same command again {when}"
                    )
        return ""

    def _since(self, now: float) -> float:
        """Seconds since the last record, not counted yet."""
        return max(0.0, now - self._last) if self._last is not None else 0.0

    def to_json(self) -> dict[str, Any]:
        """The spending for ``summary.json``, in total and by stage."""
        with self._lock:
            stages = {name: self.stages[name].to_json() for name in sorted(self.stages) if name}
            plans = {name: [asdict(w) for w in found] for name, found in self.plans.items()}
            told = {"plans": plans} if plans else {}
            return self.total.to_json() | {"stages": stages} | told


def spending_reached(limits: SpendingConfig, spent: Spent, key: str) -> str:
    """The limit that is reached, with the amounts; empty if none is."""
    return _over(limits, spent, 0.0, 0, key)


def _over(limits: SpendingConfig, spent: Spent, since: float, running: int, key: str) -> str:
    cost = spent.usage.cost_usd
    if limits.usd is not None and (cost is None or cost >= limits.usd):
        # An unknown price does not count as free.
        used = "an unknown cost" if cost is None else f"${cost:.4f}"
        return f"{key}.usd: {used} of ${limits.usd:g} used"
    if limits.tokens is not None and spent.tokens >= limits.tokens:
        return f"{key}.tokens: {spent.tokens:,} of {limits.tokens:,} used"
    if limits.rollouts is not None and spent.rollouts + running >= limits.rollouts:
        return f"{key}.rollouts: {limits.rollouts:,} run or running"
    if limits.seconds is not None and spent.seconds + since >= limits.seconds:
        return f"{key}.seconds: {spent.seconds + since:,.0f} of {limits.seconds:,g} used"
    return ""


def _dated(windows: Iterable[PlanWindow]) -> tuple[PlanWindow, ...]:
    """The windows that say when they begin anew. Of the others a new process learns only by asking
    again, and would never ask."""
    return tuple(window for window in windows if window.resets_at is not None)


def _sum(parts: Iterable[Spent]) -> Spent:
    total = Spent()
    for part in parts:
        total.asked += part.asked
        total.rollouts += part.rollouts
        total.usage += part.usage
        total.seconds += part.seconds
    return total
