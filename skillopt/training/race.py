"""Which of a step's candidates the gate judges: the only one, or the winner of their race.

A race is one record when it is done. An interrupted one begins again, and finds its rollouts in the
store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from skillopt.core.types import Rollout
from skillopt.gates.race import Race, Run, most_rollouts, race
from skillopt.run.records import RacedCandidate, RaceDone, rows_of, skill_made
from skillopt.training.context import Clock, Training
from skillopt.training.history import race_row
from skillopt.training.proposal import Proposal
from skillopt.training.steps import StepPlan


def choose(
    training: Training, plan: StepPlan, proposals: Sequence[Proposal], clock: Clock
) -> Proposal:
    """The proposal that the gate judges, with what went wrong in the others.

    Args:
        training: the run.
        plan: the step's.
        proposals: at least one. Those that change nothing, or the same as another, do not race.
        clock: the step's.
    """
    if len(proposals) == 1:
        return proposals[0]
    different = {p.candidate.digest: p for p in reversed(proposals) if not p.skipped}
    racing = [p for p in proposals if different.get(p.candidate.digest) is p]
    if len(racing) < 2:
        chosen = racing[0] if racing else proposals[0]
        training.record.note(
            f"step {plan.step}: no race, as {len(racing)} of {len(proposals)} candidates differ",
            step=plan.step,
        )
    else:
        known = different.get(_known_winner(training, plan))
        chosen = known or _race(training, plan, racing, clock)
    return _with_refused(chosen, proposals)


def _known_winner(training: Training, plan: StepPlan) -> str:
    """The digest of the winner, if the race of this step has been recorded; else empty."""
    known = training.state.race
    if known is None or known.step != plan.step:
        return ""
    return known.candidates[known.winner].skill


def _race(training: Training, plan: StepPlan, racing: Sequence[Proposal], clock: Clock) -> Proposal:
    """Let proposals race, and record it; the winner."""
    state, val = training.state, training.splits["val"]
    skills = [proposal.candidate for proposal in racing]
    for skill in skills:
        training.record(skill_made(skill))

    def measure(runs: Sequence[Run]) -> list[Rollout]:
        wanted = [(skills[number], task, 0) for number, task in runs]
        return training.runner.rollouts_of_each(wanted, stage="race")

    with training.stage("race", most_rollouts(len(val), len(skills)), plan, clock):
        tried = [state.rewards_of(skill.digest) for skill in skills]
        found = race(val, state.rewards, tried, measure, training.config.gate.scorer)
    training.record(
        RaceDone(
            step=plan.step,
            epoch=plan.epoch,
            winner=found.winner,
            candidates=_raced(racing, found),
            row=race_row(found, clock.seconds.get("race", 0.0)),
        )
    )
    return racing[found.winner]


def _raced(racing: Sequence[Proposal], found: Race) -> list[RacedCandidate]:
    return [
        RacedCandidate(
            skill=proposal.candidate.digest,
            edits=list(proposal.edits),
            tasks=list(lane.tasks),
            gain=lane.gain,
            ended=lane.ended,
            rollouts=rows_of(lane.rollouts),
        )
        for proposal, lane in zip(racing, found.lanes, strict=True)
    ]


def _with_refused(chosen: Proposal, proposals: Sequence[Proposal]) -> Proposal:
    """A proposal with the errors of all, and with the edits that the others could not apply."""
    known = {outcome.edit for outcome in chosen.report}
    refused = [o for other in proposals for o in other.report if not o.applied]
    new = tuple(outcome for outcome in dict.fromkeys(refused) if outcome.edit not in known)
    errors = dict.fromkeys(error for other in proposals for error in other.errors)
    return replace(chosen, report=(*chosen.report, *new), errors=tuple(errors))
