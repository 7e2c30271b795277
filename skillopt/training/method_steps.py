"""The steps of a method that decides by itself, as the log has them: like those of the gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harnesses.base import Usage
from skillopt.core.metric import Scorer
from skillopt.core.skill import Skill
from skillopt.core.types import Edit, GateDecision, Reward, Rollout
from skillopt.optimizer.memory import rejection
from skillopt.run.records import StepDone, rows_of
from skillopt.training.history import history_row
from skillopt.training.proposal import Proposal
from skillopt.training.steps import StepPlan


@dataclass(frozen=True)
class MethodStep:
    """A finished step.

    Args:
        candidate: what it has made.
        accepted: the method's decision on it; None if there is none.
        reason: of the decision, or why there is none.
        before: the score that the method compares with.
        errors: what went wrong and was handled.
        edits: what the candidate changes; None for a text that was written anew.
    """

    candidate: Skill
    accepted: bool | None
    reason: str
    before: float = 0.0
    errors: tuple[str, ...] = ()
    edits: tuple[Edit, ...] | None = None

    @property
    def action(self) -> str:
        """The ``action`` in the history."""
        return {None: "skip", True: "accept", False: "reject"}[self.accepted]

    def decision(
        self,
        selected: Sequence[Rollout],
        known: Mapping[str, Sequence[Reward]],
        total: int,
        scorer: Scorer,
    ) -> GateDecision | None:
        """The method's decision as one of the gate would be recorded.

        Args:
            selected: rollouts of the candidate on selection tasks; none if it could not be run.
            known: rewards of the current skill on these, by task.
            total: number of selection tasks.
            scorer: how rewards are counted.
        """
        if self.accepted is None:
            return None
        after = {rollout.task.name: scorer.score(rollout.reward) for rollout in selected}
        old = {name: scorer.score(found[-1]) for name, found in known.items() if name in after}
        mean = float(sum(after.values()) / len(after)) if after else 0.0
        return GateDecision(
            accepted=self.accepted,
            score_before=self.before,
            score_after=mean,
            upper_bound=mean,
            total=total,
            broken=tuple(name for name in old if after[name] < old[name]),
            fixed=tuple(name for name in old if after[name] > old[name]),
            reason=self.reason,
            rollouts=tuple(rows_of(selected)),
        )

    def record(
        self,
        plan: StepPlan,
        rollouts: Sequence[Rollout],
        decision: GateDecision | None,
        usage: Mapping[str, Usage],
        seconds: Mapping[str, float],
        scorer: Scorer,
    ) -> StepDone:
        """The step's record.

        Args:
            plan: the step's, for its number.
            rollouts: on training tasks.
            decision: from :meth:`decision`.
            usage: the optimizer's, by stage.
            seconds: by stage.
            scorer: how rewards are counted.
        """
        skipped = "" if decision else self.reason
        made = Proposal(self.candidate, self.edits or (), errors=self.errors, skipped=skipped)
        if self.edits is None and decision is not None:
            anew = Edit("replace", "", self.candidate.body, "the skill written anew")
            made = replace(made, edits=(anew,))
        return StepDone(
            step=plan.step,
            epoch=plan.epoch,
            action=self.action,
            row=history_row(plan, self.action, rollouts, made, decision, usage, seconds, scorer),
            rollouts=rows_of(rollouts),
            patches=[],
            report=[],
            skipped=skipped,
            candidate=self.candidate.digest if decision else None,
            gate=decision,
            rejected=rejection(plan.step, made.edits, decision),
        )
