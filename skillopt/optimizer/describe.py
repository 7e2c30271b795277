"""Trains the description alone: written anew from what the agent opened for which requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from skillopt.core.front_matter import parse
from skillopt.core.skill import Skill, SkillError
from skillopt.core.skill_rules import made_worse
from skillopt.core.text import without_escapes
from skillopt.core.types import Rollout
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.render import clip
from skillopt.optimizer.replies import Description

TRIES = 2
REQUEST_TOKENS = 300
MOST_CHARS = 1024
"""The longest description of the specification, and of Codex and Claude Code."""
WRONG, RIGHT = "Decided wrongly", "Decided rightly"


@dataclass(frozen=True)
class Request:
    """A request as the optimizer sees it: what was opened for it, and its text."""

    said: str
    text: str


def check_description(skill: Skill) -> None:
    """Refuse a skill that has no place for a description of its own, or nothing to open.

    Raises:
        SkillError: it is plain Markdown, or has no body.
    """
    if not skill.body.strip():
        raise SkillError(
            f"train.only: description: {skill.name} has no text below the front matter, by which "
            "it shows that it was opened; write some"
        )
    if parse(skill.text).front is None:
        raise SkillError(
            f"train.only: description: {skill.name} has no front matter; begin its file with "
            "'---', 'description: …' and '---'"
        )


def describe(
    rollouts: Sequence[Rollout], briefing: Briefing, *, start: Skill, batch: str = ""
) -> StageResult[Skill]:
    """The skill with a new description; unchanged if no reply is usable, or if all was right.

    Args:
        rollouts: of one batch.
        briefing: the step's.
        start: the skill to describe anew.
        batch: its name, if there are several.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    scored = [rollout for rollout in rollouts if rollout.status.scored]
    wrong = [one for one in scored if not briefing.scorer.succeeds(one.reward)]
    if not wrong:
        return StageResult(start)
    right = [one for one in scored if briefing.scorer.succeeds(one.reward)]
    groups = [(WRONG, list(map(_request, wrong))), (RIGHT, list(map(_request, right)))]
    about, problem = f"{batch}{len(wrong)} of {len(scored)} requests", ""
    for attempt in range(1, TRIES + 1):
        asked = {"groups": groups, "problem": problem, "limit": MOST_CHARS}
        try:
            reply = briefing.ask(
                "reflect", f"{about}, {attempt}", "describe", Description, asked, skill=start
            )
        except OptimizerReplyError as error:
            return StageResult(start, (OptimizerCall("reflect", about, str(error)),))
        made = replace(start, description=" ".join(reply.description.split()))
        problem = _problem(start, made, briefing)
        if not problem:
            return StageResult(made, (OptimizerCall("reflect", about),))
    return StageResult(start, (OptimizerCall("reflect", about, problem),))


def _request(rollout: Rollout) -> Request:
    names = [name for name in ("this skill",) if rollout.skill_activated]
    opened = ", ".join([*names, *rollout.others_opened]) or "no skill"
    verdict = without_escapes(rollout.reward.feedback).split("\n")[0]
    said = f"Opened {opened}" + (f" ({verdict})" if verdict else "")
    return Request(said, clip("\n\n".join(rollout.task.prompts), REQUEST_TOKENS))


def _problem(before: Skill, made: Skill, briefing: Briefing) -> str:
    """Why a description cannot be used; empty if it can."""
    if not made.description:
        return "the description is empty"
    if len(made.description) > MOST_CHARS:
        return f"it has {len(made.description)} characters, and {MOST_CHARS} are allowed"
    if without_escapes(made.description) != made.description:
        return "it has control characters"
    try:
        worse = made_worse(before, made)
    except SkillError as error:
        return str(error)
    return "; ".join(worse) or briefing.refusal(before, made)
