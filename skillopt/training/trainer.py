"""The training loop: rollout, reflect, merge, rank, apply, gate; epoch after epoch.

Reads top to bottom like the paper's algorithm (SkillOpt, arXiv 2605.23904). What has happened is
a record (:mod:`skillopt.run.records`); a run that is started again goes on from its records.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from harnesses.base import ModelSpec
from skillopt.config.schema import Config
from skillopt.core.skill import Skill
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, Rollout, Split, Task
from skillopt.evaluation.scoring import Row, compare
from skillopt.gates.strict import GateDecision, mean_score, strict_gate
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.documents import draft, fit
from skillopt.optimizer.epochs import Pair
from skillopt.optimizer.leaks import LeakGuard
from skillopt.optimizer.memory import rejection
from skillopt.optimizer.regions import GUIDANCE, region
from skillopt.optimizer.stages import Stages
from skillopt.optimizer.templates import Prompts
from skillopt.rollouts.runner import RolloutRunner
from skillopt.run.recorder import Recorder
from skillopt.run.records import (
    BaselineDone,
    BatchDone,
    EpochDone,
    StageStarted,
    StepDone,
    gate_result,
    rows_of,
    skill_made,
)
from skillopt.run.stop import StopCondition
from skillopt.training.history import decisions_of, epoch_row, history_row, run_done
from skillopt.training.optimizer_model import GatewayModel
from skillopt.training.proposal import propose
from skillopt.training.steps import StepPlan, compared_tasks, plan_steps


@dataclass
class Training:
    """One process's part of a run.

    Args:
        config, splits: of the run.
        record: keeps and tells what happens; its state is where the run stands.
        runner: runs rollouts.
        stages, prompts, guard, stop: how the optimizer is asked, and when to end early.
        spec: the optimizer model.
    """

    config: Config
    splits: dict[Split, tuple[Task, ...]]
    record: Recorder
    runner: RolloutRunner
    stages: Stages
    prompts: Prompts
    guard: LeakGuard
    stop: StopCondition
    spec: ModelSpec
    _seconds: dict[str, float] = field(default_factory=dict)
    """Of the step at hand, by stage."""
    _model: GatewayModel = field(init=False)
    """The optimizer of the step at hand."""

    def run(self, initial: Skill | None) -> None:
        """The algorithm.

        Args:
            initial: what training starts from; None for a draft by the optimizer.

        Raises:
            LimitReachedError, PausedError, OptimizerUnavailableError: what ends it early.
        """
        state = self.record.state
        if state.initial_score is None:
            self._baseline(initial or self._draft())
        reason = ""
        for at in plan_steps(self.splits["train"], self.config.train, self.config.seed):
            if at.step > state.steps:
                reason = self.stop(state, self.record.meter.total)
                if reason:
                    break
                self._step(at)
            if at.ends_epoch and at.epoch > state.epochs:
                self._end_epoch(at)
        if state.done is None:
            self._finish(reason or "all steps are done")

    def _draft(self) -> Skill:
        """The optimizer's one-shot draft."""
        named = self.config.skill
        empty = Skill(named.name, named.description or "To be described.", "")
        with self._stage("draft", 1):
            return draft(self.splits["train"], self._briefing("draft", empty)).value

    def _baseline(self, initial: Skill) -> None:
        """The initial skill is scored once on the selection split before the first step."""
        val = self.splits["val"]
        with self._stage("baseline", len(val)):
            rollouts = self.runner.rollouts(val, initial, stage="baseline")
        score = self._score(rollouts)
        self.record(skill_made(initial))
        self.record(BaselineDone(skill=initial.digest, score=score, rollouts=rows_of(rollouts)))
        self.record.note(f"initial skill: {score:.3f} on the selection split")
        if estimate_tokens(initial.text) > self.config.skill.max_tokens:
            self.record.note(
                "the initial skill is longer than skill.max_tokens: the optimizer will be asked "
                "to compress what it makes of it"
            )

    def _step(self, at: StepPlan) -> None:
        """One step: rollout, reflect, merge, rank, apply, gate, record."""
        self._seconds = {}
        current = self._current
        batches = [
            self._batch(at, part, tasks, current) for part, tasks in enumerate(at.parts, start=1)
        ]
        rollouts = [rollout for batch in batches for rollout in batch]
        if not self.config.train.successes:
            batches = [[r for r in batch if not r.reward.hard] for batch in batches]
        briefing = self._briefing(f"step/{at.step}", current, at)

        def stage(name: str, total: int) -> AbstractContextManager[None]:
            return self._stage(name, total, at)

        proposal = propose(batches, briefing, self.config.train, self.stages, stage)
        self.record.note(*(f"step {at.step}: {problem}" for problem in proposal.errors))
        decision = self._gate(at, proposal.candidate, current)
        action = _action(decision)
        used, took = self._model.usage, self._seconds
        self.record(
            StepDone(
                step=at.step,
                epoch=at.epoch,
                action=action,
                row=history_row(at, action, rollouts, proposal, decision, used, took),
                rollouts=rows_of(rollouts),
                patches=list(proposal.patches),
                report=list(proposal.report),
                candidate=proposal.candidate.digest if decision else None,
                gate=gate_result(decision),
                rejected=rejection(at.step, proposal.edits, decision),
            )
        )

    def _batch(self, at: StepPlan, part: int, tasks: Sequence[Task], skill: Skill) -> list[Rollout]:
        """A batch's scored rollouts. Some may be missing for infrastructure; they stay missing once
        the optimizer has been asked about the others."""
        state, share = self.record.state, self.config.max_infra_share
        asked = any(reply.step == at.step for reply in state.replies.values())
        keys = state.batches.get((at.step, part)) if asked else None
        with self._stage("rollout", len(tasks), at):
            if keys is not None:
                tasks = [t for t in tasks if self.runner.key(t, skill) in keys]
            done = self.runner.rollouts(tasks, skill, stage="rollout", max_infra_share=share)
        scored = [rollout for rollout in done if rollout.status.scored]
        if keys is None:
            self.record(BatchDone(step=at.step, part=part, keys=[r.key for r in scored]))
        return scored

    def _gate(self, at: StepPlan, candidate: Skill, current: Skill) -> GateDecision | None:
        """The gate's decision; None where the candidate is what there was before."""
        if candidate.digest == current.digest:
            return None
        val, gate = self.splits["val"], self.config.gate

        def evaluate(tasks: Sequence[Task]) -> list[Rollout]:
            return self.runner.rollouts(tasks, candidate, stage="gate")

        self.record(skill_made(candidate))
        with self._stage("gate", len(val), at):
            rewards = self.record.state.rewards
            return strict_gate(evaluate, val, rewards, metric=gate.metric, mix=gate.mix)

    def _end_epoch(self, at: StepPlan) -> None:
        """Slow update and meta skill, from the second epoch's end on."""
        train, state = self.config.train, self.record.state
        notes, action, pairs = state.notes, "off", list[Pair]()
        candidate, decision, rejected = None, None, None
        row: dict[str, Any] = {}
        if at.epoch > 1 and (train.slow_update or train.meta_skill):
            self._seconds = {}
            current = self._current
            briefing = self._briefing(f"epoch/{at.epoch}", current, at)
            pairs = self._pairs(at, current)
            errors: tuple[str, ...] = ()
            if train.slow_update:
                with self._stage("slow", 1, at):
                    slow = self.stages.slow(pairs, briefing)
                    fitted = fit(slow.value, briefing)
                made = fitted.value or current
                errors = slow.errors + fitted.errors
                decision = self._gate(at, made, current)
                action, candidate = _action(decision), made.digest if decision else None
                guidance = Edit("replace", "", region(made.body, GUIDANCE), "slow update")
                rejected = rejection(at.step, (guidance,), decision)
            if train.meta_skill:
                decisions = decisions_of(state, at.epoch, action)
                with self._stage("meta", 1, at):
                    meta = self.stages.meta(pairs, decisions, briefing)
                notes, errors = meta.value, errors + meta.errors
            self.record.note(*(f"step {at.step}: {problem}" for problem in errors))
            used, took = self._model.usage, self._seconds
            row = epoch_row(action, pairs, errors, decision, used, took)
        self.record(
            EpochDone(
                epoch=at.epoch,
                step=at.step,
                pairs={pair.after.task.name: pair.change for pair in pairs},
                action=action,
                candidate=candidate,
                gate=gate_result(decision),
                rejected=rejected,
                notes=notes,
                row=row,
            )
        )

    def _pairs(self, at: StepPlan, current: Skill) -> list[Pair]:
        """The same training tasks under the skills of the last epoch's end and of this one's."""
        count, seed = self.config.train.slow_tasks, self.config.seed
        tasks = compared_tasks(self.splits["train"], count, seed, at.epoch)
        earlier = self.record.state.skills[self.record.state.epoch_skills[-1]]
        with self._stage("pairs", 2 * len(tasks), at):
            before = self.runner.rollouts(tasks, earlier, stage="pairs")
            after = self.runner.rollouts(tasks, current, stage="pairs")
        return [Pair(*both) for both in zip(before, after, strict=True)]

    def _finish(self, reason: str) -> None:
        """The last selection score of the current skill, and the scores on the test split."""
        state, val, test = self.record.state, self.splits["val"], self.splits["test"]
        with self._stage("final", len(val)):
            final = self._score(self.runner.rollouts(val, self._current, stage="final"))
        rows: list[Row] = []
        if self.config.final.test and test:
            roles = {"initial": state.initial, "best": state.best, "final": state.current}
            skills = {role: state.skills[digest] for role, digest in roles.items()}
            with self._stage("test", 3 * len(test)):
                rows = compare(self.runner, skills, test, stage="test")
        self.record(run_done(reason, final, rows))

    @property
    def _current(self) -> Skill:
        return self.record.state.skills[self.record.state.current]

    def _briefing(self, about: str, skill: Skill, at: StepPlan | None = None) -> Briefing:
        config, state, step = self.config, self.record.state, at.step if at else 0
        train, seed = config.train, f"{config.seed}/{about}"
        self._model = GatewayModel(
            self.runner.gateway, self.spec, seed, step, self.record.folder.step(step),
            self.record, self.record.meter, state.replies,
        )  # fmt: skip
        return Briefing(
            skill=skill,
            budget=at.budget if at else None,
            model=self._model,
            parallel=self.runner.pool.map,
            seed=seed,
            memory=state.memory if train.memory else (),
            notes=state.notes if train.meta_skill else "",
            prompts=self.prompts,
            guard=self.guard,
            sees_answers=config.optimizer.sees_answers,
            edit_files=config.skill.edit_files,
            skill_aware=train.skill_aware,
            autonomous=train.learning_rate.schedule == "autonomous",
            max_tokens=config.skill.max_tokens,
        )

    @contextmanager
    def _stage(self, name: str, total: int, at: StepPlan | None = None) -> Iterator[None]:
        epoch, step = (at.epoch, at.step) if at else (0, 0)
        self.record(StageStarted(stage=name, epoch=epoch, step=step, total=total))
        started = time.monotonic()
        yield
        took = self._seconds.get(name, 0.0) + time.monotonic() - started
        self._seconds[name] = round(took, 3)

    def _score(self, rollouts: Sequence[Rollout]) -> float:
        gate = self.config.gate
        return mean_score((r.reward for r in rollouts), gate.metric, gate.mix)


def _action(decision: GateDecision | None) -> str:
    """What is called ``action`` in the history."""
    if decision is None:
        return "skip"
    return "accept" if decision.accepted else "reject"
