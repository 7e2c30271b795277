"""SkillOpt's training loop: rollout, reflect, merge, rank, apply, gate; epoch after epoch.

Reads top to bottom like the paper's algorithm (SkillOpt, arXiv 2605.23904, §3). The stages are
functions in :mod:`skillopt.optimizer`; baseline, gate and records are in :class:`Training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from skillopt.config.schema import Config
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, GateDecision, RejectedEdit, Split, Task, Tried
from skillopt.optimizer.documents import compress
from skillopt.optimizer.memory import rejection
from skillopt.optimizer.pairs import Pair, changed
from skillopt.optimizer.regions import GUIDANCE, region
from skillopt.run.records import CompressionDone, EpochDone
from skillopt.training.ahead import next_batch_ahead
from skillopt.training.context import Asking, Training, action_of
from skillopt.training.history import compression_row, decisions_of, epoch_row
from skillopt.training.method import Estimate
from skillopt.training.plan import estimate
from skillopt.training.proposal import propose
from skillopt.training.race import choose
from skillopt.training.sealed import SealedTraining, opened
from skillopt.training.single_edits import prune, settle
from skillopt.training.steps import StepPlan, compared_tasks, plan_steps

SETTLED = "the skill solves every selection task, and no candidate could be better"
ALIKE = "all compared tasks were solved under both skills"


@dataclass(frozen=True)
class EpochEnd:
    """The results of an epoch's end: the slow update, judged like a step, and the meta skill."""

    pairs: tuple[Pair, ...] = ()
    action: str = "off"
    """The slow update's action."""
    skipped: str = ""
    candidate: str | None = None
    decision: GateDecision | None = None
    rejected: RejectedEdit | None = None
    errors: tuple[str, ...] = ()
    notes: str | None = None
    """The meta skill; None if it is unchanged."""


class SkillOpt:
    """The paper's method. Implements :class:`skillopt.training.method.Method`."""

    def estimate(self, config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
        return estimate(config, splits)

    def run(self, training: SealedTraining) -> str:
        """The algorithm.

        Raises:
            LimitReachedError, PausedError, OptimizerUnavailableError: what ends it early.
        """
        return self._train(opened(training))

    def _train(self, training: Training) -> str:
        config, state = training.config, training.state
        last = None
        for plan in plan_steps(training.splits["train"], config.train, config.seed):
            if plan.step > state.steps:
                reason = self._reason_to_end(training, plan)
                if reason:
                    if last and not last.ends_epoch:
                        prune(training, last, reason)
                    return reason
                self._step(training, plan)
            if plan.step == state.steps:
                settle(training, plan)
            if plan.ends_epoch and plan.epoch > state.epochs:
                prune(training, plan)
                self._end_epoch(training, plan)
            last = plan
        return "all steps are done"

    def _reason_to_end(self, training: Training, plan: StepPlan) -> str:
        """Why there is no step any more; empty if there is. A skill that is too long is shortened
        first: of a settled one that is all that can change."""
        if reason := training.state.ending or training.stopping():
            return reason
        if training.lacks_room(plan):
            self._compress(training, plan)
        return SETTLED if training.settled else ""

    def _step(self, training: Training, plan: StepPlan) -> None:
        """One step: rollout, reflect, merge, rank, apply, gate, record."""
        train = training.config.train
        asking = training.asking(f"step/{plan.step}", training.current, plan)
        numbers = range(1, len(plan.parts) + 1)
        batches = [training.batch(plan, part, asking.clock) for part in numbers]
        rollouts = [rollout for batch in batches for rollout in batch]
        succeeds = training.config.gate.scorer.succeeds
        if not train.successes:
            batches = [[r for r in batch if not succeeds(r.reward)] for batch in batches]

        def stage(name: str, total: int) -> AbstractContextManager[None]:
            return training.stage(name, total, plan, asking.clock)

        solved = sum(succeeds(rollout.reward) for rollout in rollouts)
        briefing = replace(asking.briefing, ran=len(rollouts), solved=solved)
        with next_batch_ahead(training, plan):
            proposals = propose(batches, briefing, train, training.stages, stage)
            proposal = choose(training, plan, proposals, asking.clock)
            training.step(plan, rollouts, proposal, asking)

    def _compress(self, training: Training, plan: StepPlan) -> None:
        """Shorten the skill, as a change of its own that the gate judges: no less is enough."""
        current = training.current
        asking = training.asking(f"compression/{plan.step}", current, plan)
        with training.stage("compress", 1, plan, asking.clock):
            result = compress(asking.briefing)
        made, errors = result.value, result.errors
        for problem in errors:
            training.record.note(f"step {plan.step}: {problem}", step=plan.step)
        decision = training.judge(plan, made, asking.clock, ties=True)
        action, skipped = action_of(decision), "" if decision else _nothing(errors)
        tokens = (estimate_tokens(current.text), estimate_tokens(made.text))
        used, took = asking.usage, asking.clock.seconds
        edit = Edit("replace", "", made.body, "the whole skill in fewer words")
        training.record(
            CompressionDone(
                step=plan.step,
                epoch=plan.epoch,
                action=action,
                wanted=training.config.skill.compress,
                tokens=tokens,
                skipped=skipped,
                candidate=made.digest if decision else None,
                gate=decision,
                rejected=rejection(plan.step, (edit,), decision),
                row=compression_row(action, tokens, errors, decision, used, took, skipped),
            )
        )

    def _end_epoch(self, training: Training, plan: StepPlan) -> None:
        """Slow update, from the second epoch's end on, and meta skill, up to the last but one
        (§3.5), unless no step follows anyway. Before the second epoch's end there are no two skills
        to compare."""
        train, state, ends = training.config.train, training.state, training.settled
        slow = train.slow_update and plan.epoch > 1 and not ends
        meta = train.meta_skill and plan.epoch < train.epochs and not ends
        end, row = EpochEnd(), {}
        if slow or meta:
            asking = training.asking(f"epoch/{plan.epoch}", training.current, plan)
            pairs = self._pairs(training, plan, asking) if plan.epoch > 1 else ()
            end = EpochEnd(pairs=pairs)
            if slow:
                end = self._slow_update(training, plan, asking, end)
            if meta:
                end = self._meta_skill(training, plan, asking, end)
            for problem in end.errors:
                training.record.note(f"step {plan.step}: {problem}", step=plan.step)
            used, took = asking.usage, asking.clock.seconds
            row = epoch_row(end.action, pairs, end.errors, end.decision, used, took, end.skipped)
        training.record(
            EpochDone(
                epoch=plan.epoch,
                step=plan.step,
                pairs={pair.after.task.name: pair.change for pair in end.pairs},
                action=end.action,
                skipped=end.skipped,
                candidate=end.candidate,
                gate=end.decision,
                rejected=end.rejected,
                notes=state.notes if end.notes is None else end.notes,
                row=row,
            )
        )

    def _slow_update(
        self, training: Training, plan: StepPlan, asking: Asking, end: EpochEnd
    ) -> EpochEnd:
        """Propose a guidance block from paired rollouts, gated like any edit."""
        if not changed(end.pairs):
            return replace(end, action="skip", skipped=ALIKE)
        with training.stage("slow", 1, plan, asking.clock):
            slow = training.stages.slow(end.pairs, asking.briefing)
        made, errors = slow.value, slow.errors
        decision = training.judge(plan, made, asking.clock)
        guidance = Edit("replace", "", region(made.body, GUIDANCE), "slow update")
        return replace(
            end,
            action=action_of(decision),
            skipped="" if decision else _nothing(errors),
            candidate=made.digest if decision else None,
            decision=decision,
            rejected=rejection(plan.step, (guidance,), decision),
            errors=errors,
        )

    def _meta_skill(
        self, training: Training, plan: StepPlan, asking: Asking, end: EpochEnd
    ) -> EpochEnd:
        """Update the optimizer's own notes on which kinds of edit worked; never deployed."""
        rejected = end.rejected.edits if end.rejected else ()
        reason = end.decision.reason if end.decision else end.skipped
        slow = Tried(f"slow update after step {plan.step}", plan.step, end.action, reason, rejected)
        decisions = decisions_of(training.state, slow if end.action != "off" else None)
        with training.stage("meta", 1, plan, asking.clock):
            meta = training.stages.meta(end.pairs, decisions, asking.briefing)
        return replace(end, notes=meta.value, errors=end.errors + meta.errors)

    def _pairs(self, training: Training, plan: StepPlan, asking: Asking) -> tuple[Pair, ...]:
        """The same training tasks under the skills of the last epoch's end and of this one's."""
        config, state = training.config, training.state
        tasks = compared_tasks(
            training.splits["train"], config.train.slow_tasks, config.seed, plan.epoch
        )
        earlier = state.skills[state.epoch_skills[-1]]
        with training.stage("pairs", 2 * len(tasks), plan, asking.clock):
            before = training.runner.rollouts(tasks, earlier, stage="pairs")
            after = training.runner.rollouts(tasks, training.current, stage="pairs")
        scorer = config.gate.scorer
        return tuple(Pair(*both, scorer) for both in zip(before, after, strict=True))


def _nothing(errors: Sequence[str]) -> str:
    return errors[0] if errors else "the optimizer changed nothing"
