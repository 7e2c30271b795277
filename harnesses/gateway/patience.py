"""How long a model service is waited for: pauses, reset times, and when to give up."""

from __future__ import annotations

import email.utils
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from harnesses.clock import now

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529, *range(520, 531)})
"""The statuses after which the same request may succeed later; 520 to 530 are those of content
delivery networks."""
LIMITS = frozenset({429, 503, 529})
"""The statuses of a service that works and is asked too much."""
_LONGEST_PAUSE_S = 60.0
_FIRST_CONTACT_S = 60.0
_SAME_REQUEST_TRIES = 8
"""Failures of one call, while others get replies, after which it is the request that fails."""
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|d|h|m|s)(?![a-z])", re.IGNORECASE)
_IN_TEXT = re.compile(
    r"(?:try again|retry|reset\w*|available)\s*(?:in|after)\s*:?\s*((?:\d+(?:\.\d+)?\s*"
    r"(?:milliseconds?|seconds?|minutes?|hours?|days?|ms|d|h|m|s)[\s,]*(?:and\s*)?)+)",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r'"(?:retry_?(?:after|delay)|resets?_in(?:_seconds)?)(?:_seconds|_s)?"\s*:\s*'
    r'"?(\d+(?:\.\d+)?)\s*(ms|s)?"?',
    re.IGNORECASE,
)
_AT_FIELD = re.compile(r'"(?:resets?_at|reset_time)"\s*:\s*"?([^",}]+)"?', re.IGNORECASE)


@dataclass(frozen=True)
class Patience:
    """How long a model service is waited for.

    Args:
        total_s: seconds that a rollout may wait for the service in all.
        outage_s: seconds that an outage may last; by default as ``total_s``.
        first_byte_s: seconds to the first byte of a reply that are the agent's; those beyond are
            the service's. So is silence in a reply that has begun.
        pause_s: pause after the first failed try; it doubles with each one.
    """

    total_s: float = 3600.0
    outage_s: float | None = None
    first_byte_s: float = 60.0
    pause_s: float = 0.5

    @property
    def silence_s(self) -> float:
        """Seconds without content in a reply that has begun which are nothing unusual."""
        return min(2.0, self.first_byte_s)

    @property
    def stalled_s(self) -> float:
        """Seconds without content after which a try is given up and another begun."""
        return max(1.0, min(self.total_s, max(300.0, 2 * self.first_byte_s)))

    def pause(self, failures: int, told_s: float | None) -> float:
        """Seconds to wait after some failed tries.

        Args:
            failures: number of failed tries, from 1.
            told_s: what the service asks for, if it does; never less is waited.
        """
        own = min(self.pause_s * 2.0 ** min(failures - 1, 16), max(self.pause_s, _LONGEST_PAUSE_S))
        own *= random.uniform(0.75, 1.25)  # Many callers must not return at once.
        if told_s is None:
            return own
        return told_s + random.uniform(0.0, min(1.0, 0.1 * told_s))


@dataclass
class Health:
    """What is known of a service from the calls of this process."""

    replied: bool = False
    """Whether it has ever replied. One that has not may be set up wrongly."""
    down_since: float | None = None
    """The time of the first failed try since its last reply."""
    replies: int = 0

    def good(self) -> None:
        self.replied, self.down_since = True, None
        self.replies += 1

    def bad(self) -> None:
        if self.down_since is None:
            self.down_since = now()

    @property
    def down_s(self) -> float:
        """Seconds since its first failed try."""
        return 0.0 if self.down_since is None else now() - self.down_since


@dataclass
class Attempts:
    """The tries of one call."""

    patience: Patience
    health: Health
    failures: int = 0
    _replies: int = 0
    """The service's replies at the last failure."""
    _others_replied: int = 0
    """Failures of this call between which others got replies."""

    def failed(self, status: int, told_s: float | None, waited_s: float) -> float | None:
        """Note a failed try.

        Args:
            status: of the answer; 0 for none, 200 for one that is no reply.
            told_s: the pause that the service asks for.
            waited_s: seconds that the session has waited in all.

        Returns:
            The seconds to wait before the next try; None to give up.
        """
        if self.failures and self.health.replies > self._replies:
            self._others_replied += 1
        self._replies = self.health.replies
        self.failures += 1
        self.health.bad()
        pause = self.patience.pause(self.failures, told_s)
        if self._others_replied >= _SAME_REQUEST_TRIES and status not in LIMITS:
            return None
        total = self.patience.total_s
        known = self.health.replied or status in LIMITS
        longest = total if self.patience.outage_s is None else self.patience.outage_s
        outage = longest if known else min(longest, _FIRST_CONTACT_S)
        left = min(outage - self.health.down_s, total - waited_s)
        return pause if pause <= left else None


def told_pause(headers: Mapping[str, str], body: str) -> float | None:
    """The seconds that a service asks to wait, in a header or in words; None if it does not.

    ``retry-after`` is a number or an HTTP date (RFC 9110, 10.2.3); ``retry-after-ms`` and
    ``x-ratelimit-reset*`` are what OpenAI and routers send; bodies say "try again in 6m0s",
    ``"resets_in_seconds": 30``, ``"retryDelay": "34s"`` or ``"resets_at"``.

    Args:
        headers: with names in lower case.
        body: of the answer.
    """
    found = [
        _number(headers.get("retry-after-ms"), 0.001),
        _number(headers.get("retry-after"), 1.0),
        _http_date(headers.get("retry-after")),
    ]
    if known := [wait for wait in found if wait is not None]:
        return max(0.0, known[0])
    words = _IN_TEXT.search(body)
    if words and (span := _span(words[1])) is not None:
        return span
    field = _FIELD.search(body)
    if field:
        return float(field[1]) * (0.001 if field[2] == "ms" else 1.0)
    at = _AT_FIELD.search(body)
    reset = at[1] if at else headers.get("x-ratelimit-reset")
    if reset and (seconds := _until(reset)) is not None:
        return seconds
    resets = [
        span
        for name in ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")
        if (span := _span(headers.get(name, ""))) is not None
        and headers.get(name.replace("reset", "remaining")) == "0"
    ]
    return max(resets) if resets else None


def _number(text: str | None, unit: float) -> float | None:
    try:
        value = float(text) * unit if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e9 else None


def _http_date(text: str | None) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(text) if text else None
        return max(0.0, moment.timestamp() - time.time()) if moment else None
    except (ValueError, OverflowError):
        return None


def _span(text: str) -> float | None:
    """Seconds in a text such as ``6m0s`` or ``1 hour and 2 minutes``."""
    short = re.sub(r"(milli|second|minute|hour|day)\w*", lambda m: _SHORT[m[1].lower()], text)
    found = _SPAN.findall(short)
    return sum(float(n) * _UNITS[unit.lower()] for n, unit in found) if found else None


_SHORT = {"milli": "ms", "second": "s", "minute": "m", "hour": "h", "day": "d"}


def moment(text: str) -> float | None:
    """A time in seconds since the epoch, from seconds or milliseconds since then or an RFC 3339
    date; None for anything else."""
    import datetime

    text = text.strip().strip('"')
    try:
        value = float(text)
        at = value / 1000 if value > 1e11 else value
    except ValueError:
        try:
            at = datetime.datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            return None
    return at if 1e9 <= at < 1e11 else None


def _until(text: str) -> float | None:
    """Seconds until a moment."""
    at = moment(text)
    if at is not None:
        return max(0.0, at - time.time())
    return _number(text.strip().strip('"'), 1.0)  # A number of seconds, not a moment.
