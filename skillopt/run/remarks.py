"""People's remarks on a run: written by the page, also while another process trains the run.

The event log has one writer. As long as a run is being trained, remarks wait in ``remarks.jsonl``,
whose lines are records of the log, and the trainer takes them over before its next questions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from skillopt.core.files import end_whole
from skillopt.run.journal import LOG
from skillopt.run.records import FORMAT, RECORD, Remarked
from skillopt.run.state import State

QUEUE = "remarks.jsonl"
MAX_CHARS = 4000
"""The most characters of one remark."""


def keep(root: Path, record: Remarked) -> None:
    """Keep a remark: in the run's log, or as long as another process trains the run, beside it.

    Args:
        root: the run's folder.
        record: the remark.

    Raises:
        OSError: it cannot be written.
    """
    with FileLock(root / ".remarks.lock"):
        _append(root / QUEUE, [record])
        try:
            with FileLock(root / ".lock", timeout=0):
                _append(root / LOG, queued(root))
                (root / QUEUE).unlink()
        except Timeout:
            pass  # The process that trains the run takes it over.


def hand_over(root: Path, record: Callable[[Remarked], None]) -> None:
    """Hand the waiting remarks to the one that writes the log, oldest first. After a crash in
    between some come again, which changes nothing.

    Args:
        root: the run's folder.
        record: writes one into the log.
    """
    if not (root / QUEUE).exists():
        return
    with FileLock(root / ".remarks.lock"):
        for remark in queued(root):
            record(remark)
        (root / QUEUE).unlink(missing_ok=True)


def queued(root: Path) -> list[Remarked]:
    """The remarks that wait, oldest first. A damaged line, as a crash may leave, is no remark."""
    try:
        lines = (root / QUEUE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            record = RECORD.validate_json(line)
        except ValidationError:
            continue
        if isinstance(record, Remarked):
            found.append(record)
    return found


def first_step(state: State, step: int = 0) -> int:
    """The first step whose prompts may show a new remark: one that has asked nothing yet, so that
    the replies that it has stay valid.

    Args:
        state: the run's.
        step: that is beginning; by default the one after the finished ones.
    """
    step = step or state.steps + 1
    return step + any(reply.step == step for reply in state.replies.values())


def shown_remarks(state: State, step: int) -> list[Remarked]:
    """The remarks that a step's prompts show: on training rollouts, and on steps. What people say
    of tasks that decide would carry those into the skill."""
    return [
        remark
        for remark in state.remarks.values()
        if remark.since <= step and remark.split in ("", "train")
    ]


def can_have_remarks(state: State) -> bool:
    """Whether this version may write into the run's log."""
    return state.created is not None and state.created.format == FORMAT


def _append(file: Path, records: list[Remarked]) -> None:
    """Append records to a file of records, and sync it."""
    end_whole(file)
    data = b"".join(record.model_dump_json().encode() + b"\n" for record in records)
    with file.open("ab") as log:
        log.write(data)
        log.flush()
        os.fsync(log.fileno())
