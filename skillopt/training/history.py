"""Rows of ``history.json``, under the names that users of the reference plot; the run's end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harnesses.base import Usage
from skillopt.core.metric import Scorer
from skillopt.core.types import Edit, EditVerdict, GateDecision, Rollout, RolloutRow, Tried
from skillopt.core.types import used as used_by
from skillopt.evaluation.claim import Claim
from skillopt.evaluation.scoring import Row
from skillopt.gates.race import Race
from skillopt.optimizer.briefing import TOO_LONG
from skillopt.optimizer.memory import describe, render_tried
from skillopt.optimizer.pairs import Pair
from skillopt.run.records import RunDone, rows_of
from skillopt.run.state import State
from skillopt.training.proposal import Proposal
from skillopt.training.steps import StepPlan


def history_row(
    plan: StepPlan,
    action: str,
    rollouts: Sequence[Rollout],
    proposal: Proposal,
    decision: GateDecision | None,
    usage: Mapping[str, Usage],
    seconds: Mapping[str, float],
    scorer: Scorer,
) -> dict[str, Any]:
    """The row of one step. The state adds the scores after it.

    Args:
        plan, action, rollouts, proposal: the step's.
        decision: None if there was nothing to judge.
        usage: the optimizer's, by stage.
        seconds: time by stage, from the process that finished the step.
        scorer: how rewards are counted.
    """
    used = {"rollout": used_by(rollouts)} | dict(usage)
    return {
        "step": plan.step,
        "epoch": plan.epoch,
        "action": action,
        "edit_budget": proposal.budget,
        "edits_proposed": sum(len(patch.edits) for patch in proposal.patches[:-1]),
        "edits_applied": len(proposal.edits),
        "edits_refused": sum(not outcome.applied for outcome in proposal.report),
        "edits_too_long": sum(TOO_LONG in outcome.reason for outcome in proposal.report),
        "rollout_hard": _average([r.reward.hard for r in rollouts]),
        "rollout_soft": _average([r.reward.soft for r in rollouts]),
        "rollout_score": scorer.mean(r.reward for r in rollouts) if rollouts else None,
        **_judged(decision, proposal.skipped),
        "optimizer_errors": list(proposal.errors),
        **_cost(used, decision),
        "seconds": dict(seconds),
    }


def epoch_row(
    action: str,
    pairs: Sequence[Pair],
    errors: Sequence[str],
    decision: GateDecision | None,
    usage: Mapping[str, Usage],
    seconds: Mapping[str, float],
    skipped: str = "",
) -> dict[str, Any]:
    """The row of an epoch's end: the same keys, and how many of the compared tasks changed how."""
    ran = [rollout for pair in pairs for rollout in (pair.before, pair.after)]
    changes = [pair.change for pair in pairs]
    return {
        "action": action,
        "pairs": {change: changes.count(change) for change in sorted(set(changes))},
        "too_long": any(TOO_LONG in error for error in errors),
        **_judged(decision, skipped),
        "optimizer_errors": list(errors),
        **_cost({"pairs": used_by(ran)} | dict(usage), decision),
        "seconds": dict(seconds),
    }


def compression_row(
    action: str,
    tokens: tuple[int, int],
    errors: Sequence[str],
    decision: GateDecision | None,
    usage: Mapping[str, Usage],
    seconds: Mapping[str, float],
    skipped: str = "",
) -> dict[str, Any]:
    """The row of a compression: the same keys, and the length before it and of the candidate."""
    return {
        "action": action,
        "tokens_before": tokens[0],
        "tokens_after": tokens[1],
        **_judged(decision, skipped),
        "optimizer_errors": list(errors),
        **_cost(dict(usage), decision),
        "seconds": dict(seconds),
    }


def race_row(found: Race, seconds: float) -> dict[str, Any]:
    """The row of a race: who won, how far each candidate came, and what it cost.

    Args:
        found: the race.
        seconds: that it took.
    """
    rows = [rollout for lane in found.lanes for rollout in lane.rollouts]
    used = used_by(rows)
    return {
        "candidates": len(found.lanes),
        "winner": found.winner + 1,
        "tasks": [len(lane.tasks) for lane in found.lanes],
        "gains": [lane.gain for lane in found.lanes],
        "ended": [lane.ended for lane in found.lanes],
        "rollouts": len(rows),
        "tokens": {"race": used.prompt_tokens + used.completion_tokens},
        "cost_usd": used.cost_usd,
        "seconds": {"race": seconds},
    }


def credit_row(
    action: str,
    verdicts: Sequence[EditVerdict],
    edits: Sequence[Edit],
    rollouts: Sequence[RolloutRow],
    decision: GateDecision | None,
    seconds: Mapping[str, float],
    skipped: str = "",
) -> dict[str, Any]:
    """The row of a step's credit: the same keys, and what was measured of single edits.

    Args:
        action, decision, skipped: of the edits that were judged again.
        verdicts: what was measured.
        edits: those that were judged again.
        rollouts: behind the verdicts.
        seconds: time by stage.
    """
    return {
        "action": action,
        "verdicts": len(verdicts),
        "harmful": sum(verdict.score_without > verdict.score_with for verdict in verdicts),
        "edits_applied": len(edits),
        "rollouts": len(rollouts),
        **_judged(decision, skipped),
        **_cost({"credit": used_by(rollouts)}, decision),
        "seconds": dict(seconds),
    }


def removal_row(
    action: str,
    of_step: int,
    edit: Edit,
    decision: GateDecision | None,
    seconds: Mapping[str, float],
    skipped: str = "",
) -> dict[str, Any]:
    """The row of a removal: the same keys, and the edit and the step that brought it."""
    return {
        "action": action,
        "of_step": of_step,
        "edit": describe(edit),
        **_judged(decision, skipped),
        **_cost({}, decision),
        "seconds": dict(seconds),
    }


def lacked_room(state: State) -> bool:
    """Whether the last step refused something because the skill would have been too long."""
    last = state.history[-1] if state.history else {}
    return bool(last.get("edits_too_long") or last.get("epoch_end", {}).get("too_long"))


def decisions_of(state: State, slow: Tried | None = None) -> list[str]:
    """All decisions since the run began with their edits, for the optimizer's notes.

    Args:
        state: the run's.
        slow: the decision on the slow update of the epoch that ends, which has no record yet.
    """
    return [render_tried(entry) for entry in [*state.tried, *([slow] if slow else [])]]


def claim_at_end(rows: Sequence[Row], split: str) -> Claim | None:
    """What the test split says of the best skill against the initial one; None if it is not scored.

    Args:
        rows: scores on it, named by the skills' roles.
        split: the split's name.
    """
    best = next((row.claim for row in rows if row.skill == "best"), None)
    return replace(best, split=split) if best else None


def run_done(
    reason: str, final_selection: float, rows: Sequence[Row], found: Claim | str
) -> RunDone:
    """The last record of a run.

    Args:
        reason: why training ended.
        final_selection: score of the final skill on the selection split.
        rows: scores on the test split, named by the skills' roles; empty if it is not scored.
        found: what they say of the best skill, or why nothing is said.
    """
    return RunDone(
        reason=reason,
        final_selection=final_selection,
        test={row.skill: row.scores() for row in rows},
        test_rollouts={row.skill: rows_of(row.rollouts) for row in rows},
        claim=None if isinstance(found, str) else found.to_json(),
        no_claim=found if isinstance(found, str) else "",
    )


def _judged(decision: GateDecision | None, skipped: str = "") -> dict[str, Any]:
    complete = decision is not None and decision.evaluated == decision.total
    hard: dict[str, list[float]] = {}
    soft: dict[str, list[float]] = {}
    for row in decision.rollouts if decision else ():
        hard.setdefault(row.task, []).append(row.reward.hard)
        soft.setdefault(row.task, []).append(row.reward.soft)
    return {
        "selection_hard": _average_of_tasks(hard) if complete else None,
        "selection_soft": _average_of_tasks(soft) if complete else None,
        "selection_score": decision.score_after if complete and decision else None,
        "selection_bound": decision.upper_bound if decision else None,
        "selection_evaluated": decision.evaluated if decision else 0,
        "gate": decision.reason if decision else skipped or "nothing to judge",
    }


def _cost(used: dict[str, Usage], decision: GateDecision | None) -> dict[str, Any]:
    used["gate"] = used_by((*decision.rollouts, *decision.remeasured) if decision else ())
    return {
        "tokens": {name: u.prompt_tokens + u.completion_tokens for name, u in used.items()},
        "cost_usd": Usage.total(used.values()).cost_usd,
    }


def _average_of_tasks(values: Mapping[str, Sequence[float]]) -> float | None:
    """The mean over tasks, which may have different numbers of repetitions."""
    return _average([math.fsum(found) / len(found) for found in values.values()])


def _average(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
