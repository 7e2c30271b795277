"""A model service as the gateway uses it: its slots, its health, why it is of no use any more."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harnesses.clock import now
from harnesses.gateway.blame import Refusal
from harnesses.gateway.patience import Health, Patience
from harnesses.gateway.plan_windows import (
    PlanWindow,
    exhausted_until,
    merged,
    refused_window,
    windows_in,
)
from harnesses.gateway.slots import Slots
from harnesses.gateway.upstreams import Upstream

SEEN = 3
"""The number of different rollouts in which a service refuses requests for the same reason, after
which it is not asked any more."""
_TEXT = 600
_WORTH_TELLING_S = 5.0


@dataclass(frozen=True)
class Wait:
    """A model service is waited for, or replies again.

    Args:
        service: its name in the config.
        reason: of the last failure.
        since: time of the first failed try.
        until: time of the next try; None if it replies again.
    """

    service: str
    reason: str
    since: float
    until: float | None


OnWait = Callable[[Wait], None]


@dataclass(frozen=True)
class PlanUse:
    """What is known of the plan that pays for a service.

    Args:
        service: its name in the config.
        windows: of the plan.
    """

    service: str
    windows: tuple[PlanWindow, ...]


OnPlan = Callable[[PlanUse], None]


@dataclass
class Service:
    """One upstream of a gateway. Used from the gateway's event loop only.

    Args:
        name: of the upstream in the config.
        patience: how long it is waited for.
        on_wait: called when it is waited for.
        on_plan: called when more, or something else, is known of its plan.
    """

    name: str
    upstream: Upstream
    patience: Patience
    on_wait: OnWait
    on_plan: OnPlan = lambda use: None
    windows: tuple[PlanWindow, ...] = ()
    """Of its plan, as far as its answers have told."""
    health: Health = field(default_factory=Health)
    blocked: str = ""
    """Why no request has any chance; empty as long as one may have."""
    raised: Exception | None = None
    """What its code raised first that is none of its errors."""
    limited_until: float = 0.0
    """Until when it has asked for no more requests."""
    held_until: float = 0.0
    """Until when no request is begun, because it has asked another gateway for none."""
    _refusals: dict[str, set[int]] = field(default_factory=dict)
    _told: Wait | None = None

    def __post_init__(self) -> None:
        self.slots = Slots(self.upstream.max_concurrency)

    def secrets(self) -> tuple[str, ...]:
        """The keys and tokens with which it is called, as far as its upstream tells them."""
        told = getattr(self.upstream, "secrets", None)
        return tuple(told()) if callable(told) else ()

    def replied(self) -> None:
        """Note a good reply."""
        self.health.good()
        if self._told is not None:
            told, self._told = self._told, None
            self.on_wait(Wait(self.name, told.reason, told.since, None))

    def waited_for(self, reason: str, pause_s: float) -> None:
        """Note a failed try, and the pause before the next one."""
        since = self.health.down_since or now()
        if max(pause_s, self.health.down_s) >= _WORTH_TELLING_S:
            self._told = Wait(self.name, reason, since, now() + pause_s)
            self.on_wait(self._told)

    def plan_told(self, headers: Mapping[str, str]) -> None:
        """Note what the headers of an answer say of its plan."""
        at = now()
        if told := windows_in(headers, at):
            self._windows(merged(self.windows, told, at))

    def plan_refused(
        self, said: Refusal, headers: Mapping[str, str], told_s: float | None
    ) -> float | None:
        """Note a refusal, which may be for the limit of its plan.

        Args:
            said: what the service said.
            headers: of its answer.
            told_s: the seconds to wait that it has, by what any service says.

        Returns:
            The seconds to wait: to the reset of its plan if that is what it was refused for.
        """
        at = now()
        windows = windows_in(headers, at)
        closed = said.status in (0, 429) and any(w.exhausted for w in windows)
        if not closed and not said.plan_limit:
            return told_s
        windows = refused_window(windows, told_s, at)
        self._windows(merged(self.windows, windows, at))
        until = exhausted_until(windows, at)
        return told_s if until is None else max(0.0, until - at)

    def plan_is_used_up(self, said: Refusal) -> bool:
        """Whether a window of its plan is used up now."""
        at = now()
        return said.plan_limit or any(w.exhausted and w.share(at) > 0 for w in self.windows)

    def _windows(self, windows: tuple[PlanWindow, ...]) -> None:
        if windows != self.windows:
            self.windows = windows
            self.on_plan(PlanUse(self.name, windows))

    def refused(self, text: str, rollout: int) -> str:
        """Note that a request was refused for a reason that no wait mends.

        Args:
            text: the reason.
            rollout: the seed, which distinguishes rollouts.

        Returns:
            The text.
        """
        seen = self._refusals.setdefault(re.sub(r"\d+|req_\w+", "", text)[:200], set())
        seen.add(rollout)
        if len(seen) >= SEEN:
            self.blocked = f"{text} (so in {len(seen)} rollouts; the service is not asked again)"
        return text

    def broke(self, error: Exception) -> str:
        """Note that the code of an upstream, or of the gateway, has failed; the message for it."""
        self.raised = self.raised or error
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}, line {where.lineno}"
        return f"model service {self.name}: its code raised {type(error).__name__}: {error} ({at})"

    def used_up(self, said: Refusal, wait_s: float | None) -> str:
        """Note that credit or a quota is used up; the message for it."""
        when = ""
        if wait_s is not None:
            at = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + wait_s))
            when = f"; it is to be there again at {at}, which is longer than patience allows"
        what = "credit or quota is used up"
        if self.plan_is_used_up(said):
            known = ", ".join(window.text(now()) for window in self.windows)
            what = "the plan's limit is reached" + (f" ({known})" if known else "")
            when = when or "; it does not say until when: run the same command again later"
        self.blocked = f"model service {self.name}: {what}: {said.text[:_TEXT]}{when}"
        return self.blocked
