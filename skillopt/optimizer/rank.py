"""Ranking: which edits a step makes if there are more than its budget allows."""

from __future__ import annotations

from collections.abc import Sequence

from skillopt.core.types import Edit
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import OptimizerCall, OptimizerReplyError, StageResult
from skillopt.optimizer.replies import ChosenRanking, Ranking


def rank(edits: Sequence[Edit], briefing: Briefing) -> StageResult[tuple[Edit, ...]]:
    """The edits to make, at most the step's budget, the most useful first.

    The optimizer is asked only if there are more, or if it chooses their number. What its ranking
    leaves out follows in the given order, so if ranking fails the first ones stay; the result's
    calls note that.

    Args:
        edits: a merged patch's.
        briefing: the step's.

    Raises:
        OptimizerUnavailableError: from the model.
    """
    budget = len(edits) if briefing.budget is None else briefing.budget
    if not edits or not (briefing.autonomous or 0 < budget < len(edits)):
        return StageResult(tuple(edits[:budget]))
    about, problem = f"{budget} of {len(edits)} edits", ""
    order: list[int] = []
    values: dict[str, object] = {
        "edits": edits,
        "budget": budget,
        "autonomous": briefing.autonomous,
        "failed": briefing.failed,
    }
    try:
        reply: Ranking
        if briefing.autonomous:
            chosen = briefing.ask("rank", about, "rank", ChosenRanking, values)
            budget = min(max(chosen.count, 0), len(edits))
            reply = chosen
        else:
            reply = briefing.ask("rank", about, "rank", Ranking, values)
        order = [n for n in dict.fromkeys(reply.order) if 1 <= n <= len(edits)]
        if len(order) < budget:
            problem = f"ranked {len(order)} edits only; the first of the others follow"
    except OptimizerReplyError as error:
        problem = f"{error}; the first {budget} stay"
    order += [n for n in range(1, len(edits) + 1) if n not in order]
    return StageResult(
        tuple(edits[n - 1] for n in order[:budget]), (OptimizerCall("rank", about, problem),)
    )
