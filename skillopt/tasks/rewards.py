"""Reads what a task's tests have written: reward, metrics and feedback. All of it is untrusted."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path

from sandboxes.base import ExecResult
from skillopt.core.errors import SkillOptError
from skillopt.core.logs import excerpt

REWARD_BYTES = 64 * 1024
FEEDBACK_CHARS = 8_000
"""Characters of the feedback that are kept: its end, what reports failures, and its beginning."""
_READ_BYTES = 4 * 1024 * 1024


class VerifierError(SkillOptError):
    """The verifier gave no verdict. The message describes it, and what to do."""


def read_metrics(logs: Path) -> dict[str, float]:
    """The numbers of the object in ``reward.json``, else ``reward.txt``, a single one. Fields of
    another kind are passed over, but for ``reward``.

    Raises:
        VerifierError: there is neither, or it is something else.
    """
    content = read_plain(logs / "reward.json", REWARD_BYTES)
    if content is None:
        content = read_plain(logs / "reward.txt", REWARD_BYTES)
        if content is None:
            raise VerifierError("wrote neither reward.json nor reward.txt")
        try:
            return {"reward": _finite("reward.txt", float(content))}
        except ValueError:
            raise VerifierError(f"wrote no number into reward.txt: {content[:80]!r}") from None
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise VerifierError(f"wrote no valid JSON into reward.json: {content[:80]!r}") from None
    if not isinstance(values, dict) or not values:
        raise VerifierError("wrote no object of numbers into reward.json")
    numbers = {
        key: _finite(f"reward.json: {key}", value)
        for key, value in values.items()
        if key == "reward" or _is_number(value)
    }
    if not numbers:
        raise VerifierError("wrote no number into reward.json")
    return numbers


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(where: str, value: object) -> float:
    if not _is_number(value):
        raise VerifierError(f"wrote something other than a number into {where[:80]}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise VerifierError(f"wrote {number} into {where[:80]}")
    return number


def soft_reward(metrics: dict[str, float]) -> float:
    """``reward`` if there is one; else the mean, which for a single number is that number.

    Raises:
        VerifierError: it is not in [0, 1].
    """
    soft = metrics.get("reward", sum(metrics.values()) / len(metrics))
    if not 0.0 <= soft <= 1.0:
        raise VerifierError(f"gave a reward of {soft:g}, which is not between 0 and 1")
    return soft


def read_feedback(logs: Path, result: ExecResult) -> str:
    """``feedback.txt``, else what the tests printed: their errors if that is all. Of a long text
    the end is kept, the lines that report failures, and the beginning."""
    content = read_plain(logs / "feedback.txt", _READ_BYTES, ends=True)
    if content is None:
        content = result.stdout.strip() or result.stderr
    return excerpt(content.decode("utf-8", "replace").strip(), FEEDBACK_CHARS)


def read_plain(path: Path, limit: int, *, ends: bool = False) -> bytes | None:
    """At most ``limit`` bytes of a regular file; None if there is none, or a link or device.

    Args:
        path: the file's.
        limit: in bytes.
        ends: whether both ends of a longer file are read, and not its beginning alone.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    size = os.fstat(fd).st_size
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        if not ends or size <= limit:
            return file.read(limit)
        head = file.read(limit // 2)
        file.seek(size - limit // 2)
        return head + b"\n" + file.read(limit // 2)
