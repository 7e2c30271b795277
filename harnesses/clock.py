"""The time of day by a clock that does not jump."""

from __future__ import annotations

import time

_START = time.time() - time.monotonic()


def now() -> float:
    """Seconds since the epoch. Goes on steadily when the machine's clock is set anew: the order of
    events, what is spent, and when limits are reached depend on it."""
    return _START + time.monotonic()
