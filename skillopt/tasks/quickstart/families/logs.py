"""A log to summarise: how many errors there were in each hour.

House convention: hours are hours in UTC, whatever offset a line was written with.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone

from skillopt.tasks.quickstart.chore import PLACES, Chore, csv_bytes

_SERVICES = ("gateway", "billing", "search", "uploads", "mailer", "scheduler")
_PROBLEMS = (
    "timeout after 30s", "connection reset by peer", "disk quota exceeded", "invalid token",
    "upstream returned 502", "deadlock detected",
)  # fmt: skip
_NOTES = ("request served", "cache warmed", "job finished", "retrying in 5s", "slow query")
_OFFSETS = (120, -300, 330, 60, -420, 0)
_WORDINGS = (
    "Summarise the log `{source}`: I want to know how many ERROR lines there were in each hour. "
    "Write `{target}`, a CSV with the header hour,errors, the hour as YYYY-MM-DD HH:00, earliest "
    "first, hours without an error left out. Every line counts, repeated ones too.",
    "We had a bad night. From the log file `{source}` count the lines of level ERROR per hour and "
    "put them into `{target}` (columns hour,errors; hour like 2026-05-01 07:00; ascending; only "
    "hours that have errors). A line that occurs twice is two errors.",
    "Please condense `{source}` (a log of several hosts) to `{target}`: one row per hour in which "
    "an ERROR was logged, columns hour (YYYY-MM-DD HH:00) and errors (their number, repeats "
    "included), sorted by hour.",
)


def make(rng: random.Random, trap: bool) -> Chore:
    """60 to 140 lines of three hosts; with ``trap`` each host writes its own UTC offset."""
    service = rng.choice(_SERVICES)
    hosts = rng.sample(PLACES, 3)
    offsets = rng.sample(_OFFSETS, 3) if trap else [0, 0, 0]
    zones = [timezone(timedelta(minutes=minutes)) for minutes in offsets]
    moment = datetime(2026, rng.randint(1, 12), rng.randint(1, 28), rng.randint(0, 23), tzinfo=UTC)
    lines, errors = [], []
    for number in range(rng.randint(60, 140)):
        moment += timedelta(seconds=rng.randint(20, 700))
        host = rng.randrange(3)
        level = rng.choices(("INFO", "WARN", "ERROR"), (5, 2, 3))[0]
        if number % 20 == 7:
            level = "ERROR"
        text = rng.choice(_PROBLEMS if level == "ERROR" else _NOTES)
        stamp = moment.astimezone(zones[host]).isoformat()
        line = f"{stamp} {level} {service}@{hosts[host].lower()}: {text}"
        # Bursts of the same line, so that repeats matter.
        for _ in range(2 if number % 20 == 7 else 1):
            lines.append(line)
            if level == "ERROR":
                errors.append(stamp)
    source = f"{service}.log"
    target = rng.choice((f"{service}-errors.csv", "errors-per-hour.csv", "summary.csv"))
    hours = Counter(f"{datetime.fromisoformat(s).astimezone(UTC):%Y-%m-%d %H:00}" for s in errors)
    return Chore(
        title="Summarise errors of a log",
        instruction=rng.choice(_WORDINGS).format(source=source, target=target),
        files={source: ("\n".join(lines) + "\n").encode()},
        data={"target": target, "stamps": errors},
        solution={target: csv_bytes(["hour", "errors"], sorted(hours.items()))},
    )
