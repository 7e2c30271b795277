"""From a batch's rollouts to candidate skills: reflect, merge, rank, apply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from skillopt.config.schema import TrainConfig
from skillopt.core.skill import Skill
from skillopt.core.types import Edit, EditOutcome, Patch, Rollout
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.describe import describe
from skillopt.optimizer.documents import learn, rewrite
from skillopt.optimizer.model import StageResult
from skillopt.optimizer.stages import Stages

Stage = Callable[[str, int], AbstractContextManager[None]]
"""Announces a stage with the number of its calls, and measures its duration."""


@dataclass(frozen=True)
class Proposal:
    """The optimizer's proposal for a step."""

    candidate: Skill
    edits: tuple[Edit, ...] = ()
    """The edits in the candidate; a whole document counts as one edit."""
    report: tuple[EditOutcome, ...] = ()
    patches: tuple[Patch, ...] = ()
    """The patches of the reflections, then the merged one."""
    errors: tuple[str, ...] = ()
    budget: int | None = None
    """Edits that the step could make, even if the optimizer chose the number."""
    skipped: str = ""
    """Why the candidate is the unchanged skill; empty if it is a different one."""


def propose(
    batches: Sequence[Sequence[Rollout]],
    briefing: Briefing,
    train: TrainConfig,
    stages: Stages,
    stage: Stage,
) -> tuple[Proposal, ...]:
    """Ask the optimizer for candidates: ``train.candidates``, or fewer if there is too little to
    make them from; at least one. They may be the same.

    Args:
        batches: the step's rollouts, batch by batch.
        briefing, train: the step's briefing and the run's settings.
        stages, stage: the stage functions, and a context that announces a stage.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    if train.only == "description":
        briefings = [briefing.again(number) for number in range(1, train.candidates + 1)]
        made = [_by_describing(batches, one, stage) for one in briefings]
    elif train.update == "full_rewrite":
        briefings = [briefing.again(number) for number in range(1, train.candidates + 1)]
        made = [_by_rewriting(batches, one, train, stage) for one in briefings]
    else:
        made = _by_patches(batches, briefing, train, stages, stage)
    return tuple(
        replace(one, skipped=_why_nothing(batches, one))
        if one.candidate.digest == briefing.skill.digest
        else one
        for one in made
    )


def _why_nothing(batches: Sequence[Sequence[Rollout]], made: Proposal) -> str:
    """Why a step has nothing to judge, in one line."""
    if not any(batches):
        return "no rollouts to reflect on"
    proposed = sum(len(patch.edits) for patch in made.patches[:-1])
    refused = [outcome for outcome in made.report if not outcome.applied]
    if refused:
        return f"no edit could be applied: {len(refused)} refused, the first: {refused[0].reason}"
    if made.errors and not proposed:
        return f"unusable replies: {made.errors[0]}"
    if made.errors:
        return f"nothing was left to judge: {made.errors[0]}"
    if made.budget == 0 and proposed:
        return "the edit budget of this step is 0"
    return "no edits: the optimizer proposed nothing that changes the skill"


def _by_patches(
    batches: Sequence[Sequence[Rollout]],
    briefing: Briefing,
    train: TrainConfig,
    stages: Stages,
    stage: Stage,
) -> list[Proposal]:
    errors: list[str] = []
    patches: list[Patch] = []
    for number, rollouts in enumerate(batches, start=1):
        name = f"batch {number} of {len(batches)}, " if len(batches) > 1 else ""
        with stage("reflect", -(-len(rollouts) // train.minibatch)):
            reflected = stages.reflect(rollouts, briefing, minibatch=train.minibatch, batch=name)
        errors += reflected.errors
        patches += reflected.value
    made = []
    for number, part in enumerate(_parts(patches, train), start=1):
        one = _from_patches(part, briefing.again(number), train, stages, stage)
        own = one.errors if number == 1 else [f"candidate {number}: {e}" for e in one.errors]
        made.append(replace(one, patches=(*patches, *one.patches), errors=(*errors, *own)))
    return made


def _parts(patches: Sequence[Patch], train: TrainConfig) -> list[list[Patch]]:
    """The patches that each candidate is made from. Those of others keep their findings only."""
    if train.candidates_by == "sampling":
        return [list(patches)] * train.candidates
    with_edits = [number for number, patch in enumerate(patches) if patch.edits]
    count = max(1, min(train.candidates, len(with_edits)))
    others = [set(with_edits) - set(with_edits[number::count]) for number in range(count)]
    return [
        [replace(patch, edits=()) if n in left else patch for n, patch in enumerate(patches)]
        for left in others
    ]


def _from_patches(
    patches: Sequence[Patch], briefing: Briefing, train: TrainConfig, stages: Stages, stage: Stage
) -> Proposal:
    """A candidate from some patches; they are not in it, but for the merged one."""
    with stage("merge", len(patches)):
        merged = stages.merge(patches, briefing, batch=train.merge_batch)
    with stage("rank", 1):
        ranked = stages.rank(merged.value.edits, briefing)
    budget = len(ranked.value) if briefing.autonomous else briefing.budget
    results: list[StageResult[object]] = [merged, ranked]
    report: tuple[EditOutcome, ...] = ()
    with stage("apply", 1):
        if train.update == "patch":
            applied = stages.apply(ranked.value, briefing)
            candidate, report = applied.value
            edits = tuple(outcome.edit for outcome in report if outcome.applied)
            results.append(applied)
        else:
            rewritten = rewrite(ranked.value, briefing)
            candidate, edits = rewritten.value, ranked.value
            results.append(rewritten)
    errors = tuple(error for result in results for error in result.errors)
    return Proposal(candidate, edits, report, (merged.value,), errors, budget)


def _by_describing(
    batches: Sequence[Sequence[Rollout]], briefing: Briefing, stage: Stage
) -> Proposal:
    skill = briefing.skill
    errors: list[str] = []
    for number, rollouts in enumerate(batches, start=1):
        name = f"batch {number} of {len(batches)}, " if len(batches) > 1 else ""
        with stage("reflect", 1):
            described = describe(rollouts, briefing, start=skill, batch=name)
        skill = described.value
        errors += described.errors
    reason = "the description written anew from what was opened"
    edits = (Edit("set_description", "", skill.description, reason),)
    changed = skill.description != briefing.skill.description
    return Proposal(skill, edits if changed else (), errors=tuple(errors))


def _by_rewriting(
    batches: Sequence[Sequence[Rollout]], briefing: Briefing, train: TrainConfig, stage: Stage
) -> Proposal:
    skill = briefing.skill
    errors: list[str] = []
    for number, rollouts in enumerate(batches, start=1):
        name = f"batch {number} of {len(batches)}, " if len(batches) > 1 else ""
        with stage("reflect", -(-len(rollouts) // train.minibatch)):
            learned = learn(rollouts, briefing, start=skill, minibatch=train.minibatch, batch=name)
        skill = learned.value
        errors += learned.errors
    edit = Edit("replace", "", skill.body, "the skill written anew from each minibatch in turn")
    return Proposal(skill, (edit,), errors=tuple(errors))
