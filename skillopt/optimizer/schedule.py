"""The textual learning rate: how many edits a step may make (paper §3)."""

from __future__ import annotations

import math

from skillopt.config.schema import Schedule


def edit_budget(
    schedule: Schedule, step: int, total_steps: int, start: int, end: int
) -> int | None:
    """The edit budget of one step; None if the schedule sets none.

    The rate falls from ``start`` at step 0, which is never run, to ``end`` at the last step, and
    is rounded to the nearest integer, halves up: cosine 4 → 2 over 8 steps is 4 4 3 3 3 2 2 2.

    Args:
        schedule: the curve in between; ``constant`` stays at ``start``; with ``autonomous`` the
            optimizer chooses after it has seen the edits, with ``none`` all edits are made.
        step: from 1 to ``total_steps``.
        total_steps: steps of the whole run.
        start, end: numbers of edits, not negative.
    """
    done = step / total_steps
    match schedule:
        case "constant":
            left = 1.0
        case "linear":
            left = 1.0 - done
        case "cosine":
            left = (1.0 + math.cos(math.pi * done)) / 2
        case "autonomous" | "none":
            return None
    # The epsilon keeps a half a half: cos(π/2) is not quite 0.
    return math.floor(end + (start - end) * left + 0.5 + 1e-9)
