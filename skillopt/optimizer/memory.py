"""The rejected-edit memory: what the gate rejected, so that it is not proposed again."""

from __future__ import annotations

from collections.abc import Sequence

from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, GateDecision, RejectedEdit
from skillopt.optimizer.render import clip

MEMORY_TOKENS = 2000
"""Token budget of the rejected edits in a prompt."""
_EDIT_TOKENS = 150


def rejection(
    step: int, edits: Sequence[Edit], decision: GateDecision | None
) -> RejectedEdit | None:
    """What to remember of a gate decision; None if nothing was rejected.

    Args:
        step: the run's step, from 1.
        edits: the edits that were judged.
        decision: the decision on them; if the evaluation stopped early, its upper bound is the
            score.
    """
    if decision is None or decision.accepted or not edits:
        return None
    return RejectedEdit(
        step, tuple(edits), decision.score_before, decision.upper_bound, decision.broken
    )


def render_memory(memory: Sequence[RejectedEdit], tokens: int = MEMORY_TOKENS) -> str:
    """The memory as text for a prompt, newest first, as much as fits into ``tokens``.

    Tasks that broke are counted, not named: a name belongs to a single task, and the optimizer
    should not see it. Empty without entries.
    """
    shown: list[str] = []
    for entry in reversed(memory):
        text = _entry(entry)
        if estimate_tokens("\n".join([*shown, text])) > tokens:
            shown.append(f"({len(memory) - len(shown)} older rejections are not shown)")
            break
        shown.append(text)
    return "\n".join(shown)


def _entry(entry: RejectedEdit) -> str:
    scores = f"at best {entry.score_after:.3f} against {entry.score_before:.3f}"
    head = f"Step {entry.step}: rejected, {scores}"
    broken = f", {len(entry.broken)} tasks got worse" if entry.broken else ""
    return "\n".join([head + broken, *(f"  {describe(edit)}" for edit in entry.edits)])


def describe(edit: Edit) -> str:
    """One edit in one line, with long texts cut."""
    target = f" at {_short(edit.target)}" if edit.target else ""
    return f"{edit.kind}{target}: {_short(edit.content)}" if edit.content else edit.kind + target


def _short(text: str) -> str:
    return repr(clip(" ".join(text.split()), _EDIT_TOKENS))
