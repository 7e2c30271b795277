"""The time of day by a clock that does not jump."""

from __future__ import annotations

import time

_START = time.time() - time.monotonic()


def now() -> float:
    """Seconds since the epoch. They advance steadily even if the machine's clock is set: the order
    of events, what is spent, and when limits are reached depend on them."""
    return _START + time.monotonic()
