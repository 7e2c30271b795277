"""What people said of a run's rollouts and steps, for the prompts of the steps after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skillopt.core.text import without_escapes
from skillopt.core.types import Task
from skillopt.optimizer.leaks import LeakGuard
from skillopt.optimizer.memory import fitting
from skillopt.optimizer.render import clip
from skillopt.run.recorder import Recorder
from skillopt.run.records import Remarked
from skillopt.run.remarks import first_step, hand_over, shown_remarks

REMARK_TOKENS, REMARKS_TOKENS = 300, 1500
"""The most tokens of one remark of a person in a prompt, and of all of them."""
_VERDICTS = {
    "good": "judged good",
    "bad": "judged bad",
    "better": "judged better than another run of the same task",
    "worse": "judged worse than another run of the same task",
    "equal": "judged as good as another run of the same task",
}


def take_remarks(record: Recorder, step: int) -> list[Remarked]:
    """The remarks that a step's prompts show, after those that wait have been recorded.

    Args:
        record: the run's.
        step: that is about to ask.
    """
    since = first_step(record.state, step)
    hand_over(
        record.journal.root,
        lambda new: record(new.model_copy(update={"since": max(since, new.since)})),
    )
    return shown_remarks(record.state, step)


def remarks_text(
    remarks: Sequence[Remarked], tasks: Mapping[str, Task], guard: LeakGuard, sees_answers: bool
) -> str:
    """People's remarks for a prompt, the newest first; empty if there are none.

    Args:
        remarks: that may be shown.
        tasks: the training tasks by name.
        guard: takes a task's expected answers out of what is said of it.
        sees_answers: whether the optimizer may see those.
    """
    lines = []
    for remark in reversed(remarks):
        text, task = without_escapes(remark.text).strip(), tasks.get(remark.task)
        if task is not None and not sees_answers:
            text = guard.redact(task, text)
        lines.append(f"{_about(remark)}{': ' if text else ''}{clip(text, REMARK_TOKENS)}")
    return fitting(lines, REMARKS_TOKENS, "remarks")


def _about(remark: Remarked) -> str:
    """What a remark is about, and its verdict."""
    verdict = f", {_VERDICTS[remark.verdict]}" if remark.verdict else ""
    if not remark.task:
        return f"On {remark.about}{verdict}"
    blind = ", without knowing which was which" if remark.blind else ""
    return f"On a run of {remark.task} ({remark.use}){verdict}{blind}"
