"""What is learned at an epoch's end: slow update (for the skill), meta skill (for the optimizer).

Both look at the same training tasks, run under the skills of two epochs' ends. Running them and
gating the guidance are the trainer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from skillopt.core.skill import Skill, skill_problems
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Rollout
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.regions import GUIDANCE, region, with_region
from skillopt.optimizer.render import clip
from skillopt.optimizer.replies import Guidance, Notes

GUIDANCE_TOKENS = 400
NOTES_TOKENS = 600
PAIR_TOKENS = 1000
"""For each rollout of a pair."""
SHOWN_PAIRS = 8
"""Of each kind."""

Change = Literal["improved", "regressed", "still failing", "stable"]


@dataclass(frozen=True)
class Pair:
    """One training task under the skill of the last epoch's end and under that of this one's."""

    before: Rollout
    after: Rollout

    @property
    def change(self) -> Change:
        """By the hard reward."""
        match (bool(self.before.reward.hard), bool(self.after.reward.hard)):
            case (False, True):
                return "improved"
            case (True, False):
                return "regressed"
            case (False, False):
                return "still failing"
        return "stable"


def slow_update(pairs: Sequence[Pair], briefing: Briefing) -> StageResult[Skill]:
    """The skill with a new guidance block (paper: slow update), to be gated like any edit.

    Args:
        pairs: the compared rollouts, all scored.
        briefing: of the epoch's end; its skill is the current one.

    Returns:
        The skill as it was where the reply is of no use; the result's calls say why.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    skill, about = briefing.skill, f"{len(pairs)} pairs"
    shown = {"guidance": region(skill.body, GUIDANCE), "limit": GUIDANCE_TOKENS}
    try:
        reply = briefing.ask_fitting(
            "slow", about, "slow", Guidance, lambda share: shown | _shown(pairs, briefing, share)
        )
    except OptimizerReplyError as error:
        return StageResult(skill, (OptimizerCall("slow", about, str(error)),))
    made, problem = _guided(skill, reply.guidance.strip(), briefing)
    return StageResult(made, (OptimizerCall("slow", about, problem),))


def meta_skill(
    pairs: Sequence[Pair], decisions: Sequence[str], briefing: Briefing
) -> StageResult[str]:
    """The optimizer's notes for the epochs to come; never gated, never part of the skill.

    Args:
        pairs: the compared rollouts, all scored.
        decisions: what the gate made of the epoch's edits, one line each.
        briefing: of the epoch's end, with the notes so far.

    Returns:
        The notes so far where the reply is of no use or empty; the result's calls say why.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    about = f"{len(pairs)} pairs, {len(decisions)} decisions"
    fixed = {"decisions": decisions, "limit": NOTES_TOKENS}
    try:
        reply = briefing.ask_fitting(
            "meta", about, "meta", Notes, lambda share: fixed | _shown(pairs, briefing, share)
        )
    except OptimizerReplyError as error:
        return StageResult(briefing.notes, (OptimizerCall("meta", about, str(error)),))
    notes = clip(reply.notes.strip(), 2 * NOTES_TOKENS)
    return StageResult(notes or briefing.notes, (OptimizerCall("meta", about),))


def _shown(pairs: Sequence[Pair], briefing: Briefing, share: float) -> dict[str, object]:
    """The pairs as the templates want them: what got worse first, what is stable as a number."""
    tokens = round(PAIR_TOKENS * share)
    titles: dict[Change, str] = {
        "regressed": "Got worse",
        "still failing": "Still failing",
        "improved": "Got better",
    }
    groups = []
    for change, title in titles.items():
        chosen = [pair for pair in pairs if pair.change == change][:SHOWN_PAIRS]
        shown = [
            {
                "before": briefing.show(pair.before, tokens),
                "after": briefing.show(pair.after, tokens),
            }
            for pair in chosen
        ]
        groups.append((title, shown))
    return {"groups": groups, "stable": sum(pair.change == "stable" for pair in pairs)}


def _guided(skill: Skill, guidance: str, briefing: Briefing) -> tuple[Skill, str]:
    tokens = estimate_tokens(guidance)
    if tokens > 2 * GUIDANCE_TOKENS:
        return skill, f"guidance has about {tokens} tokens, far more than {GUIDANCE_TOKENS}"
    try:
        made = replace(skill, body=with_region(skill.body, GUIDANCE, guidance))
    except ValueError as error:
        return skill, str(error)
    invalid = skill_problems(made)
    if invalid:
        return skill, "not a valid skill: " + "; ".join(invalid)
    refusal = briefing.refusal(skill, made)
    return (skill, refusal) if refusal else (made, "")
