"""The slow update: a guidance block for the skill, proposed at an epoch's end.

Gating the guidance is the trainer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from skillopt.core.skill import Skill
from skillopt.core.skill_rules import made_worse
from skillopt.core.text import estimate_tokens
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.pairs import Pair, shown_pairs
from skillopt.optimizer.regions import GUIDANCE, region, with_region
from skillopt.optimizer.replies import Guidance

GUIDANCE_TOKENS = 400
"""Length of the guidance that the optimizer is asked for; more than twice that is refused."""


def slow_update(pairs: Sequence[Pair], briefing: Briefing) -> StageResult[Skill]:
    """The skill with a new guidance block (paper: slow update), to be gated like any edit.

    Args:
        pairs: the compared rollouts, all scored.
        briefing: the epoch end's, with the current skill.

    Returns:
        The unchanged skill if the reply is unusable; the result's calls say why.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    skill, about = briefing.skill, f"{len(pairs)} pairs"
    shown = {"guidance": region(skill.body, GUIDANCE), "limit": GUIDANCE_TOKENS}
    try:
        reply = briefing.ask_fitting(
            "slow",
            about,
            "slow",
            Guidance,
            lambda share: shown | shown_pairs(pairs, briefing, share),
        )
    except OptimizerReplyError as error:
        return StageResult(skill, (OptimizerCall("slow", about, str(error)),))
    made, problem = _guided(skill, reply.guidance.strip(), briefing)
    return StageResult(made, (OptimizerCall("slow", about, problem),))


def _guided(skill: Skill, guidance: str, briefing: Briefing) -> tuple[Skill, str]:
    """The skill with the guidance, or the skill as it is and why the guidance is refused."""
    tokens = estimate_tokens(guidance)
    if tokens > 2 * GUIDANCE_TOKENS:
        return skill, f"guidance has about {tokens} tokens, far more than {GUIDANCE_TOKENS}"
    try:
        made = replace(skill, body=with_region(skill.body, GUIDANCE, guidance, kept=True))
    except ValueError as error:
        return skill, str(error)
    invalid = made_worse(skill, made)
    if invalid:
        return skill, "not a valid skill: " + "; ".join(invalid)
    refusal = briefing.refusal(skill, made)
    return (skill, refusal) if refusal else (made, "")
