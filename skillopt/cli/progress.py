"""Live progress of a run on standard error: a panel on a terminal, plain lines elsewhere.

A listener of :mod:`skillopt.run.events`; nothing depends on it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from harnesses.base import Usage
from harnesses.clock import now
from harnesses.gateway.plan_windows import PlanWindow
from harnesses.gateway.service import Wait
from skillopt.cli.common import show_text
from skillopt.config.prices import cost_text
from skillopt.core.text import printable
from skillopt.run.events import (
    EvaluationStarted,
    Event,
    RolloutFinished,
    RolloutStarted,
    ServiceWaited,
)
from skillopt.run.records import (
    BaselineDone,
    CompressionDone,
    CreditDone,
    EpochDone,
    Noted,
    PlanUsed,
    RaceDone,
    RemovalDone,
    Replied,
    RunDone,
    RunStarted,
    RunStopped,
    StageStarted,
    StepDone,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live


_WAIT_LINES_S = 30.0
"""Seconds between two lines about a wait, where there is no terminal."""
PACE = 16
"""Number of rollouts from which the time left is estimated."""


@dataclass
class Progress:
    """The numbers that are shown, updated by events."""

    name: str = ""
    epochs: int = 0
    steps: int = 0
    rollouts_planned: int = 0
    epoch: int = 0
    step: int = 0
    stage: str = "starting"
    stage_total: int = 0
    stage_done: int = 0
    running: int = 0
    done: int = 0
    stored: int = 0
    failed: int = 0
    current: float | None = None
    best: float | None = None
    waits: dict[str, Wait] = field(default_factory=dict)
    """The model services that are waited for, by name."""
    tokens: int = 0
    cost_usd: float | None = 0.0
    included: bool = False
    """Whether a plan has paid for some of it."""
    plans: dict[str, tuple[PlanWindow, ...]] = field(default_factory=dict)
    """What is known of plans, by the service's name."""
    started: float = field(default_factory=time.monotonic)
    finished: deque[float] = field(default_factory=lambda: deque(maxlen=PACE))
    """Times at which the last rollouts ended."""

    def update(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.name, self.epochs = event.name, event.epochs
                self.steps, self.rollouts_planned = event.steps, event.rollouts
                self._begin()
            case EvaluationStarted():
                self.name, self.rollouts_planned = "evaluation", event.rollouts
                self.epoch = self.step = 0
                self._begin()
            case StageStarted():
                self.stage, self.epoch, self.step = event.stage, event.epoch, event.step
                self.stage_total, self.stage_done = event.total, 0
            case RolloutStarted():
                self.running += 1
            case RolloutFinished():
                self._finished(event)
            case Replied():
                self.stage_done += 1
                self._spend(event.usage)
            case PlanUsed():
                self.plans[event.service] = event.windows
            case ServiceWaited(wait) if wait.until is None:
                self.waits.pop(wait.service, None)
            case ServiceWaited(wait):
                self.waits[wait.service] = wait
            case BaselineDone():
                self.current = self.best = event.score
            case StepDone() | EpochDone() | CompressionDone() | CreditDone() | RemovalDone() if (
                event.gate and event.gate.accepted
            ):
                self.current = event.gate.score_after
                self.best = max(self.best or 0.0, self.current or 0.0)

    def _begin(self) -> None:
        self.done = self.stored = self.failed = 0
        self.current = self.best = None
        self.finished.clear()
        self.started = time.monotonic()

    def _finished(self, event: RolloutFinished) -> None:
        self.done += 1
        self.stage_done += 1
        if event.stored:
            self.stored += 1
            return
        self.finished.append(time.monotonic())
        self.running -= 1
        self.failed += not event.rollout.status.scored
        self._spend(event.rollout.usage)

    def _spend(self, usage: Usage) -> None:
        self.tokens += usage.prompt_tokens + usage.completion_tokens
        self.included = self.included or usage.included
        cost = usage.cost_usd
        self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost

    def seconds_left(self) -> float | None:
        """Estimate from the pace of the last rollouts that ran; None before there are enough."""
        left = self.rollouts_planned - self.done
        if len(self.finished) < PACE // 2 or left < 0:
            return None
        pace = (self.finished[-1] - self.finished[0]) / (len(self.finished) - 1)
        return pace * left

    def scores(self) -> str:
        return f"score {self.current or 0.0:.3f}, best {self.best or 0.0:.3f}"

    def text(self) -> str:
        """One line with everything."""
        parts = []
        if self.step:
            parts.append(f"epoch {self.epoch}/{self.epochs} step {self.step}/{self.steps}")
        total = max(self.stage_total, self.stage_done)  # A gate may repeat tasks.
        parts.append(f"{self.stage} {self.stage_done}/{total}")
        parts.append(f"rollouts {self.done} done, {self.running} running, {self.failed} failed")
        if self.current is not None and self.best is not None:
            parts.append(f"score {self.current:.2f}, best {self.best:.2f}")
        spent = Usage(cost_usd=self.cost_usd, included=self.included)
        parts.append(f"{self.tokens / 1000:,.0f}k tokens, {cost_text(spent)}")
        for service, windows in self.plans.items():
            parts.append(plan_text(service, windows))
        for wait in self.waits.values():
            parts.append(waiting(wait))
        left = self.seconds_left()
        if left is not None:
            parts.append(f"about {clock(left)} left")
        return " · ".join(parts)


class Display:
    """Shows progress while open. Call it with each event, from any thread."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True, highlight=False, emoji=False)
        self._progress = Progress()
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._last_line = 0.0
        self._told_wait = 0.0

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            from rich.live import Live

            # Each refresh calls this for a new picture, so that the clock keeps running.
            self._live = Live(
                get_renderable=self._picture, console=self._console, refresh_per_second=4
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._progress.update(event)
            line = self._line(event)
        if line:
            show_text(self._console, line)

    def _line(self, event: Event) -> str:
        if isinstance(event, Noted):
            return event.text
        if isinstance(event, Replied) and event.error:
            return f"optimizer call ({event.stage}) failed: {event.error}"
        if isinstance(event, RolloutFinished) and not event.rollout.status.scored:
            rollout = event.rollout
            return f"{rollout.task.name}: {rollout.status}: {rollout.message}"
        if isinstance(event, RaceDone):
            ran = sum(len(candidate.rollouts) for candidate in event.candidates)
            many = len(event.candidates)
            return f"step {event.step}: candidate {event.winner + 1} of {many} won, {ran} rollouts"
        if isinstance(event, StepDone):
            edits = event.row["edits_applied"]
            why = f" ({event.skipped})" if event.skipped else ""
            scores = self._progress.scores()
            return f"step {event.step}: {event.action}{why}, {edits} edits, {scores}"
        if isinstance(event, CompressionDone):
            why = f" ({event.skipped})" if event.skipped else ""
            before, after = event.tokens
            length = f"about {before} to {after} tokens, " if event.candidate else ""
            scores = self._progress.scores()
            return f"compression before step {event.step}: {event.action}{why}, {length}{scores}"
        if isinstance(event, CreditDone):
            why = f" ({event.skipped})" if event.skipped else f", {len(event.edits)} edits"
            scores = self._progress.scores()
            return f"step {event.step} without its harmful edits: {event.action}{why}, {scores}"
        if isinstance(event, RemovalDone):
            why = f" ({event.skipped})" if event.skipped else ""
            named = f"without edit {event.number + 1} of step {event.of_step}"
            return f"{named}: {event.action}{why}, {self._progress.scores()}"
        if isinstance(event, EpochDone) and event.action != "off":
            why = f" ({event.skipped})" if event.skipped else ""
            scores = self._progress.scores()
            return f"epoch {event.epoch}: slow update: {event.action}{why}, {scores}"
        if isinstance(event, RunDone | RunStopped):
            return f"{'done' if isinstance(event, RunDone) else 'stopped'}: {event.reason}"
        if isinstance(event, ServiceWaited) and self._live is None:
            if event.wait.until is None or now() - self._told_wait < _WAIT_LINES_S:
                return ""
            self._told_wait = now()
            return waiting(event.wait)
        if self._live is None and time.monotonic() - self._last_line > 5:
            self._last_line = time.monotonic()
            return self._progress.text()
        return ""

    def _picture(self) -> RenderableType:
        from rich.panel import Panel
        from rich.text import Text

        with self._lock:
            progress = self._progress
            took = clock(time.monotonic() - progress.started)
            shown = Text(printable(progress.text().replace(" · ", "\n")))
            return Panel(shown, title=Text(printable(progress.name)), subtitle=took)


def plan_text(service: str, windows: Sequence[PlanWindow]) -> str:
    """What is known of the plan that pays for a service."""
    return f"plan of {service}: {', '.join(window.text(now()) for window in windows)}"


def waiting(wait: Wait) -> str:
    """What is said of a service that is waited for, with the time until the next try."""
    left = max(0.0, (wait.until or 0.0) - now())
    return (
        f"waiting for {wait.service}, next try in {clock(left)}, "
        f"for {clock(now() - wait.since)} now: {' '.join(wait.reason.split())[:160]}"
    )


def clock(seconds: float) -> str:
    """A duration as ``m:ss``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def say(text: str) -> None:
    """Print one plain line on standard error."""
    print(printable(text), file=sys.stderr, flush=True)
