"""The meta skill: the optimizer's notes to itself, written at an epoch's end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from skillopt.core.text import estimate_tokens
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.pairs import Pair, changed, shown_pairs
from skillopt.optimizer.render import clip
from skillopt.optimizer.replies import Notes

NOTES_TOKENS = 600
"""Length of the notes that the optimizer is asked for; at twice that they are cut."""
DECISIONS_TOKENS = 6000
"""Token budget of the decisions in the prompt."""


def meta_skill(
    pairs: Sequence[Pair], decisions: Sequence[str], briefing: Briefing
) -> StageResult[str]:
    """Notes for the epochs to come; never gated, never part of the skill.

    Args:
        pairs: the compared rollouts, all scored; those that were solved both times say nothing,
            and if there are no others, decisions are all that is shown.
        decisions: all decisions since the run began, as texts, the oldest first.
        briefing: the epoch end's, with the notes so far.

    Returns:
        The notes so far if the reply is unusable or empty; the result's calls say why.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    about = f"{len(pairs)} pairs, {len(decisions)} decisions"
    briefing = replace(briefing, tried=())  # The decisions have it.
    fixed = {"decisions": _latest(decisions), "limit": NOTES_TOKENS, "groups": [], "stable": 0}

    def values(share: float) -> dict[str, object]:
        return fixed | (shown_pairs(pairs, briefing, share) if changed(pairs) else {})

    try:
        reply = briefing.ask_fitting("meta", about, "meta", Notes, values)
    except OptimizerReplyError as error:
        return StageResult(briefing.notes, (OptimizerCall("meta", about, str(error)),))
    notes = clip(reply.notes.strip(), 2 * NOTES_TOKENS)
    return StageResult(notes or briefing.notes, (OptimizerCall("meta", about),))


def _latest(decisions: Sequence[str]) -> list[str]:
    """As many decisions as fit, the latest last; how many older ones there are stands before."""
    kept: list[str] = []
    for decision in reversed(decisions):
        if estimate_tokens("\n".join([*kept, decision])) > DECISIONS_TOKENS:
            break
        kept.insert(0, decision)
    older = len(decisions) - len(kept)
    return [f"({older} older decisions are not shown)"] * (older > 0) + kept
