"""The meta skill: the optimizer's notes to itself, written at an epoch's end."""

from __future__ import annotations

from collections.abc import Sequence

from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.pairs import Pair, shown_pairs
from skillopt.optimizer.render import clip
from skillopt.optimizer.replies import Notes

NOTES_TOKENS = 600
"""Length of the notes that the optimizer is asked for; at twice that they are cut."""


def meta_skill(
    pairs: Sequence[Pair], decisions: Sequence[str], briefing: Briefing
) -> StageResult[str]:
    """Notes for the epochs to come; never gated, never part of the skill.

    Args:
        pairs: the compared rollouts, all scored.
        decisions: the gate's decisions on the epoch's edits, one line each.
        briefing: the epoch end's, with the notes so far.

    Returns:
        The notes so far if the reply is unusable or empty; the result's calls say why.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    about = f"{len(pairs)} pairs, {len(decisions)} decisions"
    fixed = {"decisions": decisions, "limit": NOTES_TOKENS}
    try:
        reply = briefing.ask_fitting(
            "meta", about, "meta", Notes, lambda share: fixed | shown_pairs(pairs, briefing, share)
        )
    except OptimizerReplyError as error:
        return StageResult(briefing.notes, (OptimizerCall("meta", about, str(error)),))
    notes = clip(reply.notes.strip(), 2 * NOTES_TOKENS)
    return StageResult(notes or briefing.notes, (OptimizerCall("meta", about),))
