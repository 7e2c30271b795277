"""The windows of a plan: how much of its five-hour and weekly limits is used, and when they reset.

A service says it in headers. Anthropic: ``anthropic-ratelimit-unified-{5h,7d,…}-{status,
utilization,reset}`` with a share, and without a window the status and reset of the one that counts
(``representative-claim``). OpenAI for Codex: ``x-codex-{primary,secondary}-{used-percent,
window-minutes,reset-at,reset-after-seconds}``. With both, others may stand before ``primary``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from harnesses.gateway.patience import moment

_NAMES = {
    "5h": "five_hour", "7d": "seven_day", "300": "five_hour", "10080": "seven_day",
    "five_hour": "five_hour", "seven_day": "seven_day",
}  # fmt: skip
_SHOWN = {"five_hour": "five hours", "seven_day": "week"}
_ANTHROPIC = re.compile(
    r"anthropic-ratelimit-unified-(\d+[a-z]+)(?:[_-]([a-z0-9_]+))?-(status|utilization|reset)"
)
_UNIFIED = "anthropic-ratelimit-unified-"
_CODEX = re.compile(
    r"x-codex-(?:([a-z0-9_-]+)-)?(primary|secondary)-"
    r"(used-percent|window-minutes|reset-at|reset-after-seconds)"
)
_LONGEST_S = 366 * 86400.0
_MOST_USED = 10.0
"""More is no share: with what is paid for besides, it may be above 1."""


@dataclass(frozen=True)
class PlanWindow:
    """One of a plan's limits.

    Args:
        name: ``five_hour``, ``seven_day``, another one as the service names it, or ``plan`` if it
            names none.
        used: share of it that is used, from 0; None if that is not known.
        resets_at: when it begins anew, in seconds since the epoch; None if that is not known.
        exhausted: whether the service refuses requests until then.
    """

    name: str
    used: float | None = None
    resets_at: float | None = None
    exhausted: bool = False

    def text(self, at: float) -> str:
        """The window in words, at a time in seconds since the epoch."""
        shown = _SHOWN.get(self.name, self.name.replace("_", " "))
        used = "use unknown" if self.used is None else f"{self.used:.0%} used"
        if self.exhausted:
            used = "used up"
        if self.resets_at is None:
            return f"{shown} {used}"
        if self.resets_at <= at:
            return f"{shown} reset"
        day = "%H:%M" if self.resets_at - at < 20 * 3600 else "%Y-%m-%d %H:%M"
        return f"{shown} {used}, resets {time.strftime(day, time.localtime(self.resets_at))}"

    def share(self, at: float) -> float:
        """The share that is used at a time: 0 after its reset, or if it is not known."""
        over = self.resets_at is not None and self.resets_at <= at
        return 0.0 if over else 1.0 if self.exhausted else self.used or 0.0


def windows_in(headers: Mapping[str, str], at: float) -> tuple[PlanWindow, ...]:
    """The windows that an answer tells of, by name.

    Args:
        headers: of the answer, with names in lower case.
        at: the time, in seconds since the epoch.
    """
    found = {**_of_anthropic(headers, at), **_of_codex(headers, at)}
    return tuple(found[name] for name in sorted(found))


def exhausted_until(windows: Iterable[PlanWindow], at: float) -> float | None:
    """When all windows that are used up have begun anew; None if none is, or one does not say."""
    closed = [window for window in windows if window.exhausted and window.share(at) > 0]
    ends = [window.resets_at for window in closed if window.resets_at is not None]
    return max(ends) if closed and len(ends) == len(closed) else None


def merged(
    known: Iterable[PlanWindow], new: Iterable[PlanWindow], at: float
) -> tuple[PlanWindow, ...]:
    """Windows as they are known now. One that an answer does not tell of stays as it was until its
    reset."""
    kept = {w.name: w for w in known if w.resets_at is None or w.resets_at > at}
    for window in new:
        before = kept.get(window.name)
        if before is not None and window.used is None:
            window = replace(window, used=before.used)
        if before is not None and window.resets_at is None:
            window = replace(window, resets_at=before.resets_at)
        kept[window.name] = window
    return tuple(kept[name] for name in sorted(kept))


def differ(before: PlanWindow, after: PlanWindow) -> bool:
    """Whether there is more between two states of a window than a little."""
    if (before.name, before.exhausted) != (after.name, after.exhausted):
        return True
    used = (before.used or 0.0) - (after.used or 0.0)
    ends = (before.resets_at or 0.0) - (after.resets_at or 0.0)  # It may be told as seconds left.
    return abs(used) >= 0.01 or abs(ends) > 120.0


def refused_window(
    windows: Iterable[PlanWindow], told_s: float | None, at: float
) -> tuple[PlanWindow, ...]:
    """The windows after a refusal for a plan's limit: at least one is used up.

    Args:
        windows: in the same answer.
        told_s: seconds until the next try, if the answer has them.
        at: the time, in seconds since the epoch.
    """
    given = tuple(windows)
    if any(window.exhausted for window in given):
        return given
    resets_at = None if told_s is None else at + told_s
    full = max(given, key=lambda window: window.used or 0.0, default=None)
    if full is None:
        return (PlanWindow("plan", 1.0, resets_at, exhausted=True),)
    ends = full.resets_at if full.resets_at is not None else resets_at
    return tuple(replace(w, exhausted=True, resets_at=ends) if w is full else w for w in given)


def _of_anthropic(headers: Mapping[str, str], at: float) -> dict[str, PlanWindow]:
    parts: dict[str, dict[str, str]] = {}
    for header, value in headers.items():
        if matched := _ANTHROPIC.fullmatch(header):
            span, kind, what = matched.groups()
            name = _NAMES.get(span, span) + (f"_{kind}" if kind else "")
            parts.setdefault(name, {})[what] = value
    found = {
        name: PlanWindow(
            name,
            _share(part.get("utilization"), 1.0),
            _time(part.get("reset"), at),
            part.get("status") == "rejected",
        )
        for name, part in parts.items()
    }
    if headers.get(f"{_UNIFIED}status") != "rejected":
        # A window may be full and its plan go on, with what its owner pays for more.
        return {name: replace(window, exhausted=False) for name, window in found.items()}
    if not any(window.exhausted for window in found.values()):
        claim = headers.get(f"{_UNIFIED}representative-claim", "")
        name = _NAMES.get(claim, claim if re.fullmatch(r"[a-z0-9_]{1,40}", claim) else "plan")
        ends = _time(headers.get(f"{_UNIFIED}reset"), at)
        window = found.get(name, PlanWindow(name, 1.0, ends))
        found[name] = replace(window, exhausted=True, resets_at=window.resets_at or ends)
    return found


def _of_codex(headers: Mapping[str, str], at: float) -> dict[str, PlanWindow]:
    parts: dict[tuple[str, str], dict[str, str]] = {}
    for header, value in headers.items():
        if matched := _CODEX.fullmatch(header):
            family, place, what = matched.groups()
            parts.setdefault((family or "", place), {})[what] = value
    found: dict[str, PlanWindow] = {}
    for (family, place), part in parts.items():
        used = _share(part.get("used-percent"), 0.01)
        if used is None:
            continue
        minutes = part.get("window-minutes", "").strip()
        known = re.fullmatch(r"[1-9][0-9]{0,6}", minutes)
        name = _NAMES.get(minutes, f"{minutes}_minutes" if known else place)
        name = f"{family}_{name}" if family else name
        after = _number(part.get("reset-after-seconds"))
        ends = _time(part.get("reset-at"), at)
        if ends is None and after is not None and 0 <= after < _LONGEST_S:
            ends = at + after
        window = PlanWindow(name, used, ends, used >= 1.0)
        # Two of one length: the fuller one counts.
        found[name] = max(window, found.get(name, window), key=lambda one: one.used or 0.0)
    return found


def _share(text: str | None, unit: float) -> float | None:
    value = _number(text)
    if value is None or not 0 <= value * unit <= _MOST_USED:
        return None
    return round(value * unit, 4)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and abs(value) < 1e12 else None  # Not for NaN either.


def _time(text: str | None, at: float) -> float | None:
    """A moment in a header; None if there is none, or it is absurd."""
    found = moment(text) if text else None
    return found if found is not None and abs(found - at) < _LONGEST_S else None
