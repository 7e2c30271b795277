"""Taking an edit out of a skill again, by an edit of the opposite kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skillopt.core.skill import Skill
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, EditKind
from skillopt.optimizer.edits import apply_edits

NOT_SHORTER = "taking it out would not shorten the skill"


@dataclass(frozen=True)
class Undone:
    """A skill without one of its edits.

    Args:
        skill: the skill; the same as before if it is not possible.
        edit: the edit that makes it of the skill with the edit; None if there is none.
        problem: why it is not possible; empty if it is.
    """

    skill: Skill
    edit: Edit | None = None
    problem: str = ""


def with_edits(skill: Skill, edits: Sequence[Edit]) -> Skill:
    """A skill with edits that were checked before; those that cannot be applied are left out.

    Args:
        skill: the skill that they were proposed for.
        edits: applied in this order.
    """
    return apply_edits(skill, edits, None, files=True)[0]


def with_some(
    skill: Skill, edits: Sequence[Edit], numbers: Sequence[int]
) -> tuple[Skill, tuple[int, ...]]:
    """A skill with some of a change's edits, and the numbers of those that could be applied: an
    edit may need the text of another.

    Args:
        skill: the skill that they were proposed for.
        edits: the change.
        numbers: of the edits that are wanted, from 0, in their order.
    """
    made, outcomes = apply_edits(skill, [edits[number] for number in numbers], None, files=True)
    both = zip(numbers, outcomes, strict=True)
    return made, tuple(number for number, outcome in both if outcome.applied)


def undo(skill: Skill, before: Skill, edits: Sequence[Edit], number: int) -> Undone:
    """A skill without one of the edits that led to it.

    Args:
        skill: the current one; other edits may have come later.
        before: the skill that ``edits`` were applied to.
        edits: a change that was accepted.
        number: of the edit that is taken out, from 0.

    Returns:
        The result says why it is not possible: later edits changed the same text, or it would not
        become shorter or not stay a valid skill.
    """
    old = with_edits(before, edits[:number])
    new = with_edits(before, edits[: number + 1])
    edit = inverse(edits[number], old, new)
    if edit is None:
        return Undone(skill, problem=NOT_SHORTER)
    if not _is_there(edit, skill, new):
        return Undone(skill, edit, "it cannot be taken out: a later change concerns the same text")
    made, outcomes = apply_edits(skill, [edit], None, files=True)
    if not outcomes[0].applied:
        return Undone(skill, edit, f"it cannot be taken out: {outcomes[0].reason}")
    if _tokens(made, edit) >= _tokens(skill, edit):
        return Undone(skill, edit, NOT_SHORTER)
    return Undone(made, edit)


def inverse(edit: Edit, before: Skill, after: Skill) -> Edit | None:
    """The edit that takes another one out; None if nothing is left of it that could be.

    Args:
        edit: the edit.
        before, after: the skill without and with it.
    """
    reason = "taken out again"
    if edit.kind == "set_description":
        return Edit("set_description", content=before.description, reason=reason)
    removed, added = _changed(_text(before, edit.file), _text(after, edit.file))
    if not added:
        return None
    kind: EditKind = "replace" if removed else "delete"
    return Edit(kind, added, removed, reason, file=edit.file)


def _is_there(edit: Edit, skill: Skill, after: Skill) -> bool:
    """Whether the lines that an edit takes out are in a skill as they were after they were made."""
    if edit.kind == "set_description":
        return skill.description == after.description
    return f"\n{edit.target}\n" in f"\n{_text(skill, edit.file)}\n"


def _text(skill: Skill, file: str) -> str:
    """What an edit of a file changes: the body if there is no name."""
    if not file:
        return skill.body
    return skill.files.get(file, b"").decode(errors="replace").replace("\r\n", "\n")


def _tokens(skill: Skill, edit: Edit) -> int:
    """The estimated length of ``SKILL.md``, and of the file that an edit is about."""
    return estimate_tokens(skill.text + (_text(skill, edit.file) if edit.file else ""))


def _changed(old: str, new: str) -> tuple[str, str]:
    """The lines that differ between two texts, from the first to the last, without blank ones
    around them."""
    before, after = old.split("\n"), new.split("\n")
    least = min(len(before), len(after))
    start = next((i for i in range(least) if before[i] != after[i]), least)
    end = next((i for i in range(least - start) if before[-1 - i] != after[-1 - i]), least - start)
    parts = (before[start : len(before) - end], after[start : len(after) - end])
    removed, added = ("\n".join(part).strip("\n") for part in parts)
    return removed, added
