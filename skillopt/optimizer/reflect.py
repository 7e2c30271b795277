"""Reflection: from rollouts to patches, failures and successes apart, one call per minibatch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from skillopt.core.metric import Scorer
from skillopt.core.types import Patch, Rollout
from skillopt.optimizer.briefing import TRAJECTORY_TOKENS, Briefing
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.replies import FailureReflection, SuccessReflection

Kind = Literal["failure", "success"]


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

    Args:
        rollouts: the batch; those that were not scored are skipped.
        briefing: the step's; with a budget of 0 nothing is asked.
        minibatch: rollouts in one call.
        batch: name of the batch if a step has several.

    Returns:
        The patches that have edits, those from failures first. A failed call is in the result's
        calls with its error.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    if briefing.budget == 0:
        return StageResult(())
    batches = minibatches(rollouts, briefing.seed, minibatch, batch, briefing.scorer)
    answers = list(briefing.parallel(lambda one: _ask(one, briefing), batches))
    patches = tuple(patch for patch, _ in answers if patch and patch.edits)
    return StageResult(patches, tuple(call for _, call in answers))


def minibatches(
    rollouts: Sequence[Rollout],
    seed: str,
    size: int,
    batch: str = "",
    scorer: Scorer = Scorer(),
) -> list[Minibatch]:
    """Failures, then successes (:meth:`Scorer.succeeds`), each shuffled by the seed and cut; the
    last may be smaller."""
    scored = [rollout for rollout in rollouts if rollout.status.scored]
    found: list[Minibatch] = []
    kinds: tuple[tuple[Kind, bool], ...] = (("failure", False), ("success", True))
    for kind, success in kinds:
        shuffled = [rollout for rollout in scored if scorer.succeeds(rollout.reward) == success]
        random.Random(f"{seed}{batch}/{kind}").shuffle(shuffled)
        cut = [tuple(shuffled[i : i + size]) for i in range(0, len(shuffled), size)]
        found += [
            Minibatch(kind, f"{batch}{kind} minibatch {number} of {len(cut)}", part)
            for number, part in enumerate(cut, start=1)
        ]
    return found


def _ask(batch: Minibatch, briefing: Briefing) -> tuple[Patch | None, OptimizerCall]:
    failed = batch.kind == "failure"

    def values(share: float) -> dict[str, object]:
        tokens = round(TRAJECTORY_TOKENS * share)
        return {
            "trajectories": [briefing.show(rollout, tokens) for rollout in batch.rollouts],
            "budget": briefing.budget,
            "skill_aware": briefing.skill_aware,
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
    edits = tuple(edit.edit() for edit in reply.edits[: briefing.budget])
    return Patch(edits, reply.reasoning, batch.kind), OptimizerCall("reflect", batch.about)
