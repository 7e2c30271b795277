"""Whole documents from the optimizer instead of edits: a draft, a rewrite, a compression.

Each is checked as an edit would be: a valid skill, nothing from single tasks, within the limit.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

from skillopt.core.front_matter import parse
from skillopt.core.skill import Skill, SkillError, canonical_body
from skillopt.core.skill_rules import made_worse
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, Rollout, Task
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.edits import apply_edits
from skillopt.optimizer.markdown import is_closed
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.reflect import Minibatch, minibatches
from skillopt.optimizer.regions import GUIDANCE, REMINDERS, protected_regions, region, with_region
from skillopt.optimizer.render import clip
from skillopt.optimizer.replies import Compression, Document, Draft, Rewrite

TRIES = 2
TASK_TOKENS = 400
DRAFT_TASKS, MOST_DRAFT_TASKS = 8, 40
"""Tasks that a draft is made from: the first number, or one of each family up to the second."""
AIM = 0.85
"""Share of the token limit that the prompt names: a model that aims at a limit misses it half the
time."""


def draft(tasks: Sequence[Task], briefing: Briefing) -> StageResult[Skill]:
    """A first skill, written from some training tasks without any trajectory.

    Args:
        tasks: the training tasks; a few of each family are shown.
        briefing: its skill has the name of the new skill and a placeholder as description.

    Raises:
        OptimizerReplyError: no draft was usable, also when asked again.
        OptimizerUnavailableError: from the model.
    """
    shown = [clip(task.instruction, TASK_TOKENS) for task in sample(tasks, briefing.seed)]
    made, call = _ask("draft", "the first skill", "draft", Draft, briefing.skill, briefing, shown)
    if made is None:
        raise OptimizerReplyError(f"draft: {call.error}")
    return StageResult(made, (call,))


def sample(tasks: Sequence[Task], seed: str) -> list[Task]:
    """Tasks for a draft: one of each family in turn, in an order that the seed decides; at least
    one of each, however many families there are."""
    families: dict[str, list[Task]] = {}
    for task in tasks:
        families.setdefault(task.family, []).append(task)
    rng = random.Random(f"{seed}/draft")
    for own in families.values():
        rng.shuffle(own)
    turns = itertools.zip_longest(*families.values())
    mixed = [task for turn in turns for task in turn if task is not None]
    return mixed[: max(DRAFT_TASKS, min(len(families), MOST_DRAFT_TASKS))]


def rewrite(edits: Sequence[Edit], briefing: Briefing) -> StageResult[Skill]:
    """The skill with edits worked in as suggestions; unchanged if no rewrite is usable.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    if not edits:
        return StageResult(briefing.skill)
    about = f"{len(edits)} edits as suggestions"
    made, call = _ask("apply", about, "rewrite", Rewrite, briefing.skill, briefing, edits)
    return StageResult(made or briefing.skill, (call,))


def learn(
    rollouts: Sequence[Rollout],
    briefing: Briefing,
    *,
    start: Skill,
    minibatch: int = 8,
    batch: str = "",
) -> StageResult[Skill]:
    """Rewrite the skill for one minibatch after another, each rewrite based on the last.

    The rewrites form a chain because merging whole documents loses what only one of them says.

    Args:
        rollouts, minibatch, batch: as for :func:`skillopt.optimizer.reflect.reflect`.
        briefing: the step's.
        start: the skill that the first rewrite starts from.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    skill, calls = start, []
    for part in minibatches(rollouts, briefing.seed, minibatch, batch, briefing.scorer):
        made, call = _ask("reflect", part.about, "lessons", Rewrite, skill, briefing, part)
        skill = made or skill
        calls.append(call)
    return StageResult(skill, tuple(calls))


def compress(briefing: Briefing) -> StageResult[Skill]:
    """The briefing's skill said in fewer words, to be gated like any edit; unchanged if no
    compression is usable.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    skill = briefing.skill
    tokens = estimate_tokens(skill.text)
    about = f"{tokens} tokens to {min(briefing.max_tokens, tokens - 1)}"
    made, call = _ask("compress", about, "compress", Compression, skill, briefing, tokens)
    return StageResult(made or skill, (call,))


def is_crowded(skill: Skill, limit: int) -> bool:
    """Whether a skill is so long that compressing it would make room for edits."""
    return estimate_tokens(skill.text) > round(limit * AIM)


Material = Sequence[Edit] | Sequence[str] | Minibatch | int


def _ask(
    stage: str,
    about: str,
    template: str,
    schema: type[Document],
    skill: Skill,
    briefing: Briefing,
    material: Material,
) -> tuple[Skill | None, OptimizerCall]:
    """Ask for a document, and once more with the reason if it cannot be used."""
    shown, problem = _bare(skill), ""
    values, limit = _values(template, material, briefing), round(briefing.max_tokens * AIM)
    for attempt in range(1, TRIES + 1):
        try:
            asked = values | {"problem": problem, "limit": limit}
            reply = briefing.ask(stage, f"{about}, {attempt}", template, schema, asked, skill=shown)
        except OptimizerReplyError as error:
            return None, OptimizerCall(stage, about, str(error))
        try:
            made = _dressed(shown, skill, reply, briefing.edit_files)
        except ValueError as error:
            problem = str(error)
            continue
        problem = _problem(made, skill, briefing, reply)
        if not problem:
            return made, OptimizerCall(stage, about)
    return None, OptimizerCall(stage, about, problem)


def _values(template: str, material: Material, briefing: Briefing) -> dict[str, object]:
    match material:
        case Minibatch():
            shown = briefing.show_all(material.rollouts)
            return {"failed": material.kind == "failure", "trajectories": shown}
        case int():
            return {"tokens": material, "files_allowed": briefing.edit_files}
    if template == "rewrite":
        return {"edits": material, "failed": briefing.failed}
    return {"tasks": material}


def _bare(skill: Skill) -> Skill:
    """The skill without the regions that only slow updates and notes write."""
    body = with_region(with_region(skill.body, GUIDANCE, ""), REMINDERS, "")
    return replace(skill, body=body)


def _dressed(bare: Skill, skill: Skill, reply: Document, files: bool) -> Skill:
    """The reply as a skill, with the regions that the optimizer was not shown. Raises ValueError if
    they cannot be added to the body, or files that it wants cannot be made."""
    body, open_before = canonical_body(reply.body), not is_closed(bare.body)
    if [body[a:b] for a, b in protected_regions(body)] == _regions(bare):
        for name in (REMINDERS, GUIDANCE):
            body = with_region(body, name, region(skill.body, name), kept=open_before)
    if not open_before and not is_closed(body):
        raise ValueError("the body leaves a code fence or an HTML block open; close it")
    description = bare.description
    if parse(bare.text).front is not None:  # Plain Markdown has no place for another one.
        description = " ".join(reply.description.split()) or description
    moved = reply.files if isinstance(reply, Compression) else []
    made = replace(skill, description=description, body=body)
    for each in moved:
        if each.file in skill.files or not each.file:
            raise ValueError(f"files: {each.file!r} is not a new file; name another")
        edit = Edit("append", "", each.content, "moved out of the body", file=each.file)
        made, outcomes = apply_edits(made, [edit], None, files=files)
        if not outcomes[0].applied:
            raise ValueError(f"files: {each.file}: {outcomes[0].reason}")
    return made


def _regions(skill: Skill) -> list[str]:
    return [skill.body[a:b] for a, b in protected_regions(skill.body)]


def _problem(made: Skill, skill: Skill, briefing: Briefing, reply: Document) -> str:
    """Why a document cannot be used; empty if it can."""
    try:
        invalid = made_worse(skill, made)
    except SkillError as error:
        return str(error)
    if invalid:
        return "not a valid skill: " + "; ".join(invalid)
    if _regions(made) != _regions(skill):
        return "the protected regions are not the same as before"
    tokens, before = estimate_tokens(made.text), estimate_tokens(skill.text)
    if tokens > briefing.max_tokens:
        return f"it has about {tokens} tokens, more than the {briefing.max_tokens} allowed"
    if isinstance(reply, Compression) and tokens >= before:
        return f"it has about {tokens} tokens, not fewer than the {before} of the skill"
    return briefing.refusal(skill, made)
