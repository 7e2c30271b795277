"""The rejected-edit memory: what the gate turned away, so that it is not proposed again."""

from __future__ import annotations

from collections.abc import Sequence

from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, GateDecision, RejectedEdit
from skillopt.optimizer.render import clip

MEMORY_TOKENS = 2000
"""Of a prompt, for what was rejected."""
_EDIT_TOKENS = 150


def rejection(
    step: int, edits: Sequence[Edit], decision: GateDecision | None
) -> RejectedEdit | None:
    """What to remember of a gate decision; None where nothing was rejected.

    Args:
        step: of the run, from 1.
        edits: those that were judged.
        decision: on them; of an evaluation that stopped early, the upper bound is the score.
    """
    if decision is None or decision.accepted or not edits:
        return None
    return RejectedEdit(
        step, tuple(edits), decision.score_before, decision.upper_bound, decision.broken
    )


def render_memory(memory: Sequence[RejectedEdit], tokens: int = MEMORY_TOKENS) -> str:
    """The memory as text for a prompt, newest first, as far as the tokens go.

    Tasks that broke are counted, not named: a name is a task's own value and none of the
    optimizer's business. Empty without entries.
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
    """One edit in one line, long texts cut."""
    target = f" at {_short(edit.target)}" if edit.target else ""
    return f"{edit.kind}{target}: {_short(edit.content)}" if edit.content else edit.kind + target


def _short(text: str) -> str:
    return repr(clip(" ".join(text.split()), _EDIT_TOKENS))
