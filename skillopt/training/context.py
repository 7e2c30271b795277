"""What every training has, whatever its method: baseline, batches, gate, records, final scores.

Everything that happens is recorded (:mod:`skillopt.run.records`). A run resumes from its records,
the rollout store and the recorded replies.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from harnesses.base import ModelSpec, Usage
from skillopt.config.inputs import left_out_of
from skillopt.config.schema import Config
from skillopt.core.import_path import own_code
from skillopt.core.skill import Skill
from skillopt.core.skill_rules import not_offered
from skillopt.core.text import estimate_tokens
from skillopt.core.types import GateDecision, Rollout, Split, Task
from skillopt.evaluation.claim import HELD_OUT
from skillopt.evaluation.scoring import Row, compare
from skillopt.gates.base import Gate, Side, Trial
from skillopt.gates.power import FEW, told_of_tasks
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.documents import draft, is_crowded
from skillopt.optimizer.leaks import LeakGuard, leak_guard
from skillopt.optimizer.memory import rejection
from skillopt.optimizer.model import OptimizerReplyError, OptimizerUnavailableError
from skillopt.optimizer.stages import Stages
from skillopt.optimizer.templates import Prompts
from skillopt.rollouts.questions import asked_by
from skillopt.rollouts.runner import RolloutRunner
from skillopt.rollouts.upstreams import service_of
from skillopt.run.recorder import Recorder
from skillopt.run.records import (
    BaselineDone,
    BatchDone,
    Replied,
    StageStarted,
    StepDone,
    rows_of,
    skill_made,
)
from skillopt.run.state import State
from skillopt.run.stop import StopCondition
from skillopt.training.history import claim_at_end, history_row, lacked_room, run_done
from skillopt.training.optimizer_model import GatewayModel
from skillopt.training.plan import gate_kind, test_arms, token_limit, told_of_length
from skillopt.training.proposal import Proposal
from skillopt.training.remarks import remarks_text, take_remarks
from skillopt.training.shown import agent_paragraph, earlier, silence_of, trajectory_tokens
from skillopt.training.steps import StepPlan, plan_steps

USELESS = 3
"""Steps in a row, or replies from the start, without a usable one, after which training ends."""


@dataclass
class Clock:
    """Seconds of each stage of a step or an epoch's end, as measured by this process."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of a ``with`` block to a stage."""
        started = time.monotonic()
        yield
        took = self.seconds.get(stage, 0.0) + time.monotonic() - started
        self.seconds[stage] = round(took, 3)


@dataclass(frozen=True)
class Asking:
    """What a step or an epoch's end uses to ask the optimizer."""

    briefing: Briefing
    model: GatewayModel
    clock: Clock = field(default_factory=Clock)

    @property
    def usage(self) -> dict[str, Usage]:
        """The optimizer's usage so far, by stage."""
        return self.model.usage


@dataclass(frozen=True)
class Training:
    """One process's part of a run.

    Args:
        config, splits: the run's.
        record: records and reports what happens; it has the run's state.
        runner: runs rollouts.
        gate, stages, prompts, stop: the run's other parts.
        spec: the optimizer model.
        replies: the replies of the run that this one was forked from, by id.
        held_out: whether the test split is of selection tasks that were kept from training.
    """

    config: Config
    splits: dict[Split, tuple[Task, ...]]
    record: Recorder
    runner: RolloutRunner
    gate: Gate
    stages: Stages
    prompts: Prompts
    stop: StopCondition
    spec: ModelSpec
    replies: Mapping[str, Replied] = field(default_factory=dict)
    held_out: bool = False

    @property
    def state(self) -> State:
        """The run's current state."""
        return self.record.state

    @cached_property
    def guard(self) -> LeakGuard:
        """What belongs to single tasks; made when the first rollouts have run, as it takes time."""
        held_out = (*self.splits["val"], *self.splits["test"])
        return leak_guard((*self.splits["train"], *held_out), held_out)

    @property
    def current(self) -> Skill:
        """The skill that the gate accepted last."""
        return self.state.skills[self.state.current]

    def stopping(self) -> str:
        """Why a stop condition of the config ends the training now; empty if none does."""
        reason = self.stop(self.state, self.record.meter.total)
        return reason or budget_used(self.state.asked, self.config.method.rollouts)

    def baseline(self, initial: Skill | None) -> None:
        """Score the initial skill on the selection split, before the first step.

        Args:
            initial: None if the optimizer drafts it.
        """
        val, skill = self.splits["val"], initial or self.draft()
        with self.stage("baseline", len(val)):
            rollouts = self.runner.rollouts(val, skill, stage="baseline")
        score = self._score(rollouts)
        self.record(skill_made(skill))
        self.record(BaselineDone(skill=skill.digest, score=score, rollouts=rows_of(rollouts)))
        self.record.note(f"initial skill: {score:.3f} on the selection split")
        self._warn(skill)

    def batch(self, plan: StepPlan, part: int, clock: Clock) -> list[Rollout]:
        """The scored rollouts of one batch of a step with the current skill.

        Some may be missing because the infrastructure failed; they stay missing once the optimizer
        has been asked about the others.

        Args:
            plan: the step's.
            part: number of the batch in it, from 1.
            clock: the step's.
        """
        state, share = self.state, self.config.max_infra_share
        tasks, skill = plan.parts[part - 1], self.current
        asked = any(reply.step == plan.step for reply in state.replies.values())
        keys = state.batches.get((plan.step, part)) if asked else None
        with self.stage("rollout", len(tasks), plan, clock):
            if keys is not None:
                tasks = tuple(t for t in tasks if self.runner.key(t, skill) in keys)
            done = self.runner.rollouts(tasks, skill, stage="rollout", max_infra_share=share)
        scored = [rollout for rollout in done if rollout.status.scored]
        if keys is None:
            keys = [r.key for r in scored]
            self.record(BatchDone(step=plan.step, part=part, keys=keys))
        return scored

    @property
    def max_tokens(self) -> int:
        """The token limit for ``SKILL.md``."""
        drafted = self.config.skill.init == "draft"
        initial = None if drafted else self.state.skills.get(self.state.initial)
        return token_limit(self.config.skill, initial)

    @property
    def settled(self) -> bool:
        """Whether no candidate could be accepted: the gate wants more than the highest score."""
        strict = gate_kind(self.config, len(self.splits["val"])) == "strict"
        return strict and self.state.current_score >= 1 - 1e-9

    @property
    def _steps_in_epoch(self) -> int:
        train = self.config.train
        return -(-len(self.splits["train"]) // (train.batch_size * train.accumulation))

    def lacks_room(self, plan: StepPlan) -> bool:
        """Whether a step begins by shortening the skill: it is over its limit, or was too close
        to it for what the last step proposed."""
        if self.state.compressed >= plan.step or self.config.train.only == "description":
            return False
        over = estimate_tokens(self.current.text) > self.max_tokens
        return over or (lacked_room(self.state) and is_crowded(self.current, self.max_tokens))

    def judge(
        self,
        plan: StepPlan,
        candidate: Skill,
        clock: Clock,
        *,
        ties: bool = False,
        stage: str = "gate",
    ) -> GateDecision | None:
        """The gate's decision; None if the candidate is the current skill.

        Args:
            plan, candidate, clock: the step's.
            ties: as for :class:`skillopt.gates.base.Trial`.
            stage: the stage that its rollouts belong to.
        """
        current = self.current
        if candidate.digest == current.digest:
            return None
        sides: dict[Side, Skill] = {"candidate": candidate, "current": current}

        def measure(side: Side, tasks: Sequence[Task], replicate: int) -> list[Rollout]:
            return self.runner.rollouts(tasks, sides[side], stage=stage, replicate=replicate)

        val, state = self.splits["val"], self.state
        trial = Trial(
            tasks=val,
            known=state.rewards,
            measure=measure,
            ties=ties,
            tried=state.rewards_of(candidate.digest),
            before=[state.rewards_of(skill) for skill in state.lineage],
            raced=state.raced(candidate.digest, plan.step),
        )
        self.record(skill_made(candidate))
        with self.stage(stage, len(val), plan, clock), own_code("gate", self.gate):
            decision = self.gate.decide(trial)
            if not isinstance(decision, GateDecision):
                raise TypeError(f"it returned {decision!r}; return a GateDecision")
            return decision

    def step(
        self, plan: StepPlan, rollouts: Sequence[Rollout], proposal: Proposal, asking: Asking
    ) -> GateDecision | None:
        """Judge a step's candidate and record the step.

        Args:
            plan, rollouts, proposal: the step's.
            asking: has the step's clock and the optimizer's usage.

        Returns:
            The gate's decision; None if there was nothing to judge.
        """
        for problem in proposal.errors:
            self.record.note(f"step {plan.step}: {problem}", step=plan.step)
        steps = plan_steps(self.splits["train"], self.config.train, self.config.seed)
        self.check_answered(last=plan.step >= len(steps))
        decision = self.judge(plan, proposal.candidate, asking.clock)
        action = action_of(decision)
        used, took = asking.usage, asking.clock.seconds
        self.record(
            StepDone(
                step=plan.step,
                epoch=plan.epoch,
                action=action,
                row=history_row(
                    plan, action, rollouts, proposal, decision, used, took, self.config.gate.scorer
                ),
                rollouts=rows_of(rollouts),
                patches=list(proposal.patches),
                report=list(proposal.report),
                skipped="" if decision else proposal.skipped,
                candidate=proposal.candidate.digest if decision else None,
                gate=decision,
                rejected=rejection(plan.step, proposal.edits, decision),
            )
        )
        return decision

    def finish(self, reason: str) -> None:
        """Measure the final selection score, and the scores on the test split; end the run."""
        state, val, test = self.state, self.splits["val"], self.splits["test"]
        if state.unused:
            self.record.note(f"rollouts that were run ahead and not used: {len(state.unused)}")
        if state.chosen is None:  # A method that decides by itself was told after each step.
            self.check_answered(last=True)
        with self.stage("final", len(val)):
            final = self._all_known(self.runner.rollouts(val, self.current, stage="final"))
        rows: list[Row] = []
        if self.config.final.test and test:
            skills = self._tested(final)
            with self.stage("test", len(skills) * len(test)):
                rows = compare(self.runner, skills, test, stage="test")
        kept = state.best_with(final) == state.initial
        found = None if kept else claim_at_end(rows, HELD_OUT if self.held_out else "test")
        done = run_done(reason, final, rows, found or self._no_claim(kept))
        self.record(done)
        self.record.note(done.claim["words"] if done.claim else done.no_claim)

    def _tested(self, final: float) -> dict[str, Skill | None]:
        """The skills to score on the test split, by role.

        Args:
            final: the current skill's score, as measured last.
        """
        state = self.state
        best = state.best_with(final)
        roles = {"initial": state.initial, "best": best, "final": state.current}
        skills: dict[str, Skill | None] = {r: state.skills[d] for r, d in roles.items()}
        for arm in test_arms(self.config, len(self.splits["test"])):
            if arm == "none":
                skills[arm] = None
                continue
            try:
                skills[arm] = made = self.draft()
                self.record(skill_made(made))
            except OptimizerReplyError as error:
                self.record.note(f"no draft to compare with: {error}")
        return skills

    def _no_claim(self, kept: bool) -> str:
        """Why nothing is claimed of the best skill.

        Args:
            kept: whether it is the initial one.
        """
        if kept:
            return "no edit was kept: the skill is the one that the run started from"
        if not self.config.final.test:
            return "nothing is confirmed: final.test is off, so no held-out task was run"
        val = len({task.digest for task in self.splits["val"]})
        return (
            f"nothing is confirmed: there is no test split, and too few selection tasks ({val}) to "
            "keep some from training; add test tasks"
        )

    def asking(self, about: str, skill: Skill, plan: StepPlan | None = None) -> Asking:
        """What a step uses to ask the optimizer.

        Args:
            about: the step, for its seed: ``step/3``.
            skill: the skill that it starts from.
            plan: the step's; None before the first.
        """
        model = self.model(about, plan.step if plan else 0)
        return Asking(self.briefing(about, skill, model, plan), model)

    def briefing(
        self, about: str, skill: Skill, model: GatewayModel, plan: StepPlan | None = None
    ) -> Briefing:
        """What the stages of a step share, see :meth:`asking`.

        Args:
            about, skill, plan: as for :meth:`asking`.
            model: the optimizer model.
        """
        config, state, step = self.config, self.state, plan.step if plan else 0
        train, seed = config.train, f"{config.seed}/{about}"
        remarks = self._remarks(step) if plan else ""
        return Briefing(
            skill=skill,
            budget=plan.budget if plan else None,
            model=model,
            parallel=self.runner.pool.map,
            seed=seed,
            agent=agent_paragraph(config, self.splits),
            **(earlier(state, step, self._steps_in_epoch, skill) if train.memory and plan else {}),
            notes=state.notes if train.meta_skill else "",
            remarks=remarks,
            prompts=self.prompts,
            guard=self.guard,
            sees_answers=config.optimizer.sees_answers,
            edit_files=config.skill.edit_files,
            skill_aware=train.skill_aware,
            autonomous=train.learning_rate.schedule == "autonomous",
            max_tokens=self.max_tokens,
            scorer=config.gate.scorer,
            trajectory_tokens=trajectory_tokens(config, self.max_tokens),
        )

    def model(self, about: str, step: int) -> GatewayModel:
        """The optimizer model, as a step asks it.

        Args:
            about: the step, for its seed: ``step/3``.
            step: its number; 0 before the first.
        """
        config, state = self.config, self.state
        return GatewayModel(
            self.runner.gateway, self.spec, f"{config.seed}/{about}", step,
            self.record.folder.step(step), self.record, self.record.meter,
            _answered(state.replies, state.steps), self.replies,
            service_of(config, config.optimizer, self.runner.parts) | asked_by(config),
            silence_of(config), self.runner.questions.open, config.caller("optimizer"),
            self.runner.questions.budget,
        )  # fmt: skip

    def _remarks(self, step: int) -> str:
        """What people have said of the run, for a step's prompts."""
        if not (shown := take_remarks(self.record, step)):
            return ""
        tasks = {task.name: task for task in self.splits["train"]}
        return remarks_text(shown, tasks, self.guard, self.config.optimizer.sees_answers)

    @contextmanager
    def stage(
        self, name: str, total: int, plan: StepPlan | None = None, clock: Clock | None = None
    ) -> Iterator[None]:
        """Record that a stage has started, and measure how long it takes.

        Args:
            name: the stage's name.
            total: the most rollouts or calls in it.
            plan: the plan of the step that it belongs to.
            clock: the step's.
        """
        epoch, step = (plan.epoch, plan.step) if plan else (0, 0)
        self.record(StageStarted(stage=name, epoch=epoch, step=step, total=total))
        with (clock or Clock()).measure(name):
            yield

    def check_answered(self, last: bool) -> None:
        """Raise if the optimizer's replies are of no use: it is set up wrongly, and further
        rollouts would be wasted.

        Args:
            last: whether no step comes after this one.
        """
        if problem := _useless(self.state.replies.values(), last):
            raise OptimizerUnavailableError(problem)

    def draft(self) -> Skill:
        """The optimizer's one-shot draft."""
        own, named = self.config.skill, self.state.skills.get(self.state.initial)
        name = own.name or (named.name if named else "")
        empty = Skill(name, own.description or "To be described.", "")
        with self.stage("draft", 1):
            return draft(self.splits["train"], self.asking("draft", empty).briefing).value

    def _warn(self, skill: Skill) -> None:
        """Note what the owner of the initial skill should know."""
        self.record.note(told_of_length(self.config.skill, skill))
        if len(self.splits["val"]) < FEW:
            self.record.note(told_of_tasks(len(self.splits["val"])))
        if self.held_out:
            self.record.note(
                f"{len(self.splits['test'])} selection tasks are kept from training to test its "
                "gain at the end (final.held_out)"
            )
        if names := left_out_of(self.config.skill.init):
            self.record.note(f"left out of the skill: {', '.join(names)}")
        agent = self.config.harness.name
        if not_offered(skill, agent) and self.config.harness.mount == "native":
            self.record.note(
                f"{agent} does not offer this skill to the model, as its front matter has "
                "disable-model-invocation: true; no edit to it can change a score"
            )

    def _score(self, rollouts: Sequence[Rollout]) -> float:
        return self.config.gate.scorer.mean(r.reward for r in rollouts)

    def _all_known(self, rollouts: Sequence[Rollout]) -> float:
        """The current skill's selection score from all of its outcomes, each task counted once.

        Args:
            rollouts: one of each task; a user's own gate may have measured no more than some.
        """
        scorer, known = self.config.gate.scorer, self.state.rewards
        rewards = [known.get(rollout.task.name, [rollout.reward]) for rollout in rollouts]
        scores = [scorer.mean(found) for found in rewards]
        return math.fsum(scores) / len(scores)


def budget_used(asked: int, budget: int | None) -> str:
    """Why a method ends as its budget of rollouts is used; empty if it is not.

    Args:
        asked: distinct rollouts that it has asked for.
        budget: ``method.rollouts``; None for no limit.
    """
    if budget is None or asked < budget:
        return ""
    over = f", {asked - budget} more than allowed" if asked > budget else ""
    return f"method.rollouts: {asked} of {budget} rollouts asked for{over}"


def _useless(replies: Iterable[Replied], last: bool) -> str:
    """Why training with these replies makes no sense; empty if it does.

    Args:
        replies: of the run, in their order; those before the first step do not count.
        last: whether no step comes after them.
    """
    asked = [reply for reply in replies if reply.step]
    usable = [reply for reply in asked if reply.reply is not None]
    after = usable[-1].step if usable else 0
    since = [reply for reply in asked if reply.step > after]
    if not since:
        return ""
    advice = (
        f"{since[-1].error}; check optimizer.name, optimizer.sampling and the service's context "
        "length"
    )
    if not usable and all(reply.refused for reply in asked):
        return f"optimizer: every request so far was refused: {advice}"
    if not usable and (last or len(asked) >= USELESS):
        return f"optimizer: not one of {len(asked)} replies could be used: {advice}"
    steps = len({reply.step for reply in since})
    if steps >= USELESS:
        return f"optimizer: no reply could be used in {steps} steps: {advice}"
    return ""


def _answered(replies: Mapping[str, Replied], done: int) -> Mapping[str, Replied]:
    """The replies that need not be requested again. If they ended the run as of no use, those of
    the unfinished step, or of the draft, are repeated, as what was wrong may have been corrected.

    Args:
        replies: of the run, by id.
        done: number of finished steps.
    """
    drafted = any(reply.reply is not None for reply in replies.values())
    if drafted and not _useless(replies.values(), last=True):
        return replies
    return {id: r for id, r in replies.items() if r.reply is not None or 0 < r.step <= done}


def action_of(decision: GateDecision | None) -> str:
    """The ``action`` of a decision in the history."""
    if decision is None:
        return "skip"
    return "accept" if decision.accepted else "reject"
