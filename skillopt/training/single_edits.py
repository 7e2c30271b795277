"""Judging single edits: which ones carried a step's change, and which accepted ones can go.

Both are measured within shares of the gate's rollouts (``train.credit``, ``train.prune``). Each is
one record when it is done, so an interrupted one begins again and finds its rollouts in the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from skillopt.core.skill import Skill
from skillopt.core.types import Edit, EditVerdict, GateDecision, RejectedEdit, Rollout, Task
from skillopt.gates.credit import (
    Probe,
    affordable,
    kept_edits,
    plan_probe,
    removal_order,
    wants_credit,
)
from skillopt.optimizer.memory import rejection
from skillopt.optimizer.undo import Undone, undo, with_edits, with_some
from skillopt.run.records import CreditDone, RemovalDone, rows_of
from skillopt.run.state import Change
from skillopt.training.context import Clock, Training, action_of
from skillopt.training.history import credit_row, removal_row
from skillopt.training.plan import edit_share
from skillopt.training.steps import StepPlan


def settle(training: Training, plan: StepPlan) -> None:
    """Measure which edits carried the last step's change, if it was rejected or won narrowly. After
    a rejection, judge those that did no harm as a change of their own.

    Args:
        training: the run.
        plan: the last step's.
    """
    state = training.state
    change, split = state.unsettled, len(training.splits["val"])
    share = edit_share(training.config, "credit", split)
    if change is None or change.step != plan.step or not share:
        return
    if not wants_credit(change.gate, len(change.edits)) or not _is_whole(training, change):
        return
    spent = state.spent_on
    budget = share * spent["gate"] - spent.get("credit", 0)
    if not change.gate.accepted:
        budget -= split  # What is left is judged again.
    probe = plan_probe(change.gate, len(change.edits), budget)
    if probe.groups:
        _Credit(training, plan, change, probe).run()


def prune(training: Training, plan: StepPlan, ending: str = "") -> None:
    """Try the current skill without each accepted edit, as far as the rollouts go. What scores no
    less without it goes.

    Args:
        training: the run.
        plan: the last step's.
        ending: why training ends now, if this is not an epoch's end.
    """
    state, split = training.state, len(training.splits["val"])
    share = edit_share(training.config, "prune", split)
    known = {(change.step, n): change for change in state.changes for n in range(len(change.edits))}
    gone = {
        (done.of_step, done.number) for done in state.removals if done.gate and done.gate.accepted
    }
    here = {(done.of_step, done.number) for done in state.removals if done.step == plan.step}
    refused = {(done.of_step, done.number, done.skipped) for done in state.removals if done.skipped}
    tries: dict[tuple[int, int], int] = {}
    for done in state.removals:
        if done.gate:
            tries[done.of_step, done.number] = tries.get((done.of_step, done.number), 0) + 1
    gains = {key: state.gains[key] for key in known if key not in gone | here}
    spent = state.spent_on
    for step, number in removal_order(gains, tries):
        if not affordable(split, spent.get("prune", 0), share, spent.get("gate", 0)):
            break
        change = known[step, number]
        undone = _undone(training, change, number)
        if (step, number, undone.problem) not in refused:
            _try_without(training, plan, change, number, undone, ending)


def _try_without(
    training: Training, plan: StepPlan, change: Change, number: int, undone: Undone, ending: str
) -> None:
    """Judge the skill without one edit, and record it."""
    clock, edit, decision = Clock(), change.edits[number], None
    if not undone.problem:
        decision = training.judge(plan, undone.skill, clock, ties=True, stage="prune")
    action = action_of(decision)
    training.record(
        RemovalDone(
            step=plan.step,
            epoch=plan.epoch,
            of_step=change.step,
            number=number,
            edit=edit,
            removal=undone.edit,
            action=action,
            skipped=undone.problem,
            ending=ending,
            candidate=undone.skill.digest if decision else None,
            gate=decision,
            rejected=_remembered(plan.step, edit, undone.edit, decision),
            row=removal_row(action, change.step, edit, decision, clock.seconds, undone.problem),
        )
    )


def _remembered(
    step: int, edit: Edit, removal: Edit | None, decision: GateDecision | None
) -> RejectedEdit | None:
    """What the memory has of a removal: the edit if it went, the removal if that was rejected."""
    if decision is None or removal is None:
        return None
    if not decision.accepted:
        return rejection(step, (removal,), decision)
    # The skill with the edit is what lost.
    without, with_it = decision.upper_bound, decision.score_before
    return RejectedEdit(
        step, (edit,), without, with_it, decision.fixed, decision.evaluated, decision.total,
        removed=True,
    )  # fmt: skip


def _undone(training: Training, change: Change, number: int) -> Undone:
    """The current skill without an accepted edit."""
    if not _is_whole(training, change):
        return Undone(training.current, problem="the change was not made by exact edits")
    before = training.state.skills[change.before]
    return undo(training.current, before, change.edits, number)


def _is_whole(training: Training, change: Change) -> bool:
    """Whether a change is its edits and nothing else: a user's own stage may do more."""
    before = training.state.skills[change.before]
    return with_edits(before, change.edits).digest == change.after


class _Credit:
    """Which edits carried a change."""

    def __init__(self, training: Training, plan: StepPlan, change: Change, probe: Probe) -> None:
        self._training, self._plan, self._change, self._probe = training, plan, change, probe
        self._before = training.state.skills[change.before]
        self._rollouts: dict[str, list[Rollout]] = {}
        self._clock = Clock()

    def run(self) -> None:
        """Measure, judge again what did no harm, and record it."""
        change, total = self._change, len(self._change.edits)
        whole, without = self._measure()
        candidate, kept = with_some(self._before, change.edits, kept_edits(total, whole, without))
        rejected = not change.gate.accepted
        decision, skipped = None, "each edit that was left out was missed, or made no difference"
        if not rejected:
            skipped = "the change was accepted as it is"
        elif not kept:
            skipped = "no edit was left that did no harm"
        elif len(kept) < total:
            decision = self._judge(candidate)
            skipped = "" if decision else "without the harmful edits nothing is left"
        edits = tuple(change.edits[number] for number in kept) if decision else ()
        verdicts = tuple(self._verdict(group, whole, score) for group, score in without.items())
        share = len(self._probe.tasks) / len(self._training.splits["val"])
        rows = {skill: rows_of(done) for skill, done in self._rollouts.items()}
        action, all_rows = action_of(decision), [row for part in rows.values() for row in part]
        self._training.record(
            CreditDone(
                step=change.step,
                epoch=self._plan.epoch,
                action=action,
                skipped=skipped,
                verdicts=list(verdicts),
                gains={n: share * (whole - score) for g, score in without.items() for n in g},
                rollouts=rows,
                edits=list(edits),
                candidate=candidate.digest if decision else None,
                gate=decision,
                remembered=self._remember(kept, verdicts, decision) if rejected else [],
                row=credit_row(
                    action, verdicts, edits, all_rows, decision, self._clock.seconds, skipped
                ),
            )
        )

    def _judge(self, candidate: Skill) -> GateDecision | None:
        return self._training.judge(self._plan, candidate, self._clock, stage="credit")

    def _measure(self) -> tuple[float, dict[tuple[int, ...], float]]:
        """The score of the bundle on the probe's tasks, and of the bundle without each group."""
        edits, groups = self._change.edits, self._probe.groups
        total = (len(groups) + 1) * len(self._probe.tasks)
        with self._training.stage("credit", total, self._plan, self._clock):
            whole = self._score(self._training.state.skills[self._change.after], again=True)
            without = {}
            for group in groups:
                rest = [number for number in range(len(edits)) if number not in group]
                skill, there = with_some(self._before, edits, rest)
                gone = tuple(number for number in range(len(edits)) if number not in there)
                without[gone] = self._score(skill, again=False)
        return whole, without

    def _score(self, skill: Skill, *, again: bool) -> float:
        """The mean score of a skill on the probe's tasks, from one outcome of each.

        Args:
            skill: runs where nothing is known of it.
            again: whether it runs once more everywhere: what is known of it chose the tasks.
        """
        known = self._training.state.rewards_of(skill.digest)
        rewards = {name: found[-1] for name, found in known.items() if found and not again}
        missing: dict[int, list[Task]] = {}
        for task in self._training.splits["val"]:
            if task.name in self._probe.tasks and task.name not in rewards:
                missing.setdefault(len(known.get(task.name, ())), []).append(task)
        for number, tasks in sorted(missing.items()):
            done = self._training.runner.rollouts(tasks, skill, stage="credit", replicate=number)
            self._rollouts.setdefault(skill.digest, []).extend(done)
            rewards |= {rollout.task.name: rollout.reward for rollout in done}
        return self._training.config.gate.scorer.mean(rewards[n] for n in self._probe.tasks)

    def _verdict(self, group: Sequence[int], whole: float, without: float) -> EditVerdict:
        tasks, edits = len(self._probe.tasks), self._change.edits
        chosen = tuple(edits[number] for number in group)
        return EditVerdict(chosen, len(edits) - len(chosen), whole, without, tasks, 2 * tasks)

    def _remember(
        self, kept: Sequence[int], verdicts: tuple[EditVerdict, ...], decision: GateDecision | None
    ) -> list[RejectedEdit]:
        """What the memory has of the step: the edits that are not in the skill, each bundle as it
        was judged."""
        change = self._change
        known = rejection(change.step, change.edits, change.gate)
        if known is None:
            return []
        if decision is not None and decision.accepted:
            dropped = tuple(edit for n, edit in enumerate(change.edits) if n not in kept)
            return [replace(known, edits=dropped, verdicts=verdicts)]
        again = rejection(change.step, [change.edits[number] for number in kept], decision)
        return [replace(known, verdicts=verdicts), *([again] if again else [])]
