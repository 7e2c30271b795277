"""Applying edits, with one chance for the optimizer to correct those that do not apply."""

from __future__ import annotations

from collections.abc import Sequence

from skillopt.core.skill import Skill
from skillopt.core.types import Edit, EditOutcome
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.edits import ALREADY_THERE, apply_edits
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.replies import Repair

Applied = tuple[Skill, tuple[EditOutcome, ...]]


def apply_or_repair(edits: Sequence[Edit], briefing: Briefing) -> StageResult[Applied]:
    """Apply edits to the briefing's skill; send those that do not apply back once, with reasons.

    Args:
        edits: in order of importance.
        briefing: the step's; its budget limits how many may be applied in total.

    Returns:
        The candidate and the outcome of every edit, corrected ones at the end.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    candidate, outcomes = _apply(briefing.skill, edits, briefing.budget, briefing)
    left = len(edits) if briefing.budget is None else briefing.budget
    left -= sum(outcome.applied for outcome in outcomes)
    refused = [o for o in outcomes if not o.applied and o.reason != ALREADY_THERE]
    if not refused or left <= 0:
        return StageResult((candidate, outcomes))
    values = {"refused": refused, "budget": left}
    about = f"{len(refused)} edits that did not apply"
    try:
        reply = briefing.ask("apply", about, "repair", Repair, values, skill=candidate)
    except OptimizerReplyError as error:
        return StageResult((candidate, outcomes), (OptimizerCall("apply", about, str(error)),))
    corrected = [edit.edit() for edit in reply.edits]
    candidate, more = _apply(candidate, corrected, left, briefing)
    return StageResult((candidate, outcomes + more), (OptimizerCall("apply", about),))


def _apply(skill: Skill, edits: Sequence[Edit], budget: int | None, briefing: Briefing) -> Applied:
    off = [edit for edit in edits if edit.kind == "note" and not briefing.skill_aware]
    skill, outcomes = apply_edits(
        skill,
        [edit for edit in edits if edit not in off],
        budget,
        files=briefing.edit_files,
        guard=briefing.refusal,
    )
    reason = "notes are for runs with train.skill_aware only; use another kind"
    return skill, outcomes + tuple(EditOutcome(edit, False, reason) for edit in off)
