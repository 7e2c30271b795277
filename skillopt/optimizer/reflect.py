"""Reflection: from rollouts to patches, failures and successes apart, one call per minibatch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from skillopt.core.metric import Scorer
from skillopt.core.types import Finding, Patch, Rollout
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.replies import FailureReflection, SuccessReflection

Kind = Literal["failure", "success"]

LEAST_PROPOSALS = 4
"""Edits that a reflection may propose even if the budget is smaller; ranking then chooses."""


@dataclass(frozen=True)
class Minibatch:
    """The rollouts of one reflection call."""

    kind: Kind
    about: str
    rollouts: tuple[Rollout, ...]


def reflect(
    rollouts: Sequence[Rollout], briefing: Briefing, *, minibatch: int = 8, batch: str = ""
) -> StageResult[tuple[Patch, ...]]:
    """Ask the optimizer what to learn from a batch.

    Nothing is asked about a single success, as a habit is what several runs share.

    Args:
        rollouts: the batch; those that were not scored are skipped.
        briefing: the step's; with a budget of 0 nothing is asked.
        minibatch: rollouts in one call.
        batch: name of the batch if a step has several.

    Returns:
        The patches that have edits or findings, those from failures first. A failed call is in the
        result's calls with its error.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    if briefing.budget == 0:
        return StageResult(())
    batches = [
        part
        for part in minibatches(rollouts, briefing.seed, minibatch, batch, briefing.scorer)
        if part.kind == "failure" or len(part.rollouts) > 1 or minibatch == 1
    ]
    answers = list(briefing.parallel(lambda one: _ask(one, briefing), batches))
    patches = tuple(patch for patch, _ in answers if patch and (patch.edits or patch.findings))
    return StageResult(patches, tuple(call for _, call in answers))


def minibatches(
    rollouts: Sequence[Rollout],
    seed: str,
    size: int,
    batch: str = "",
    scorer: Scorer = Scorer(),
) -> list[Minibatch]:
    """Failures, then successes (:meth:`Scorer.succeeds`), each shuffled by the seed and cut into
    parts that differ by at most one rollout."""
    scored = [rollout for rollout in rollouts if rollout.status.scored]
    found: list[Minibatch] = []
    kinds: tuple[tuple[Kind, bool], ...] = (("failure", False), ("success", True))
    for kind, success in kinds:
        shuffled = [rollout for rollout in scored if scorer.succeeds(rollout.reward) == success]
        random.Random(f"{seed}{batch}/{kind}").shuffle(shuffled)
        parts = -(-len(shuffled) // size)
        ends = [len(shuffled) * n // parts for n in range(1, parts + 1)] if parts else []
        cut = [tuple(shuffled[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
        found += [
            Minibatch(kind, f"{batch}{kind} minibatch {number} of {len(cut)}", part)
            for number, part in enumerate(cut, start=1)
        ]
    return found


def _ask(batch: Minibatch, briefing: Briefing) -> tuple[Patch | None, OptimizerCall]:
    failed = batch.kind == "failure"

    most = None if briefing.budget is None else max(LEAST_PROPOSALS, briefing.budget)

    def values(share: float) -> dict[str, object]:
        return {
            "trajectories": briefing.show_all(batch.rollouts, share),
            "budget": most,
            "skill_aware": briefing.skill_aware,
            "ran": briefing.ran,
            "solved": briefing.solved,
        }

    ask = partial(briefing.ask_fitting, "reflect", batch.about)
    reply: FailureReflection | SuccessReflection
    try:
        if failed:
            reply = ask("failures", FailureReflection, values)
        else:
            reply = ask("successes", SuccessReflection, values)
    except OptimizerReplyError as error:
        return None, OptimizerCall("reflect", batch.about, str(error))
    keys = [rollout.key for rollout in batch.rollouts]
    edits = tuple(edit.edit(_helped(edit.runs, keys)) for edit in reply.edits[:most])
    found = reply.failure_types if isinstance(reply, FailureReflection) else reply.patterns
    findings = tuple(Finding(one.name, min(max(one.count, 0), len(keys))) for one in found)
    return (
        Patch(edits, reply.reasoning, batch.kind, findings),
        OptimizerCall("reflect", batch.about),
    )


def _helped(numbers: Sequence[int], keys: Sequence[str]) -> tuple[str, ...]:
    """The keys of the trajectories with these numbers, each once."""
    return tuple(dict.fromkeys(keys[n - 1] for n in numbers if 1 <= n <= len(keys)))
