"""What a method gets of a training: training tasks, a counted runner, a recorded model, no more.

Of selection tasks there are names, scores and redacted feedback, of test tasks nothing. A method
runs in this process, so this is no wall against one that looks for a way around it.

A method that decides by itself begins each step with :meth:`SealedTraining.begin_step`, ends it
with :meth:`~SealedTraining.end_step`, and gives its result to :meth:`~SealedTraining.choose`. If
its run is resumed, it is called again and does everything again: what it asks for is there already,
and what is recorded is not recorded again. So it asks for the same things in the same order, and
keeps its own skills and scores: :attr:`state` is that of the whole run, which may be further. A
method that leaves decisions to the gate uses :meth:`~SealedTraining.stopping`,
:meth:`~SealedTraining.step` and :attr:`state` instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel

from skillopt.core.skill import Skill
from skillopt.core.types import Edit, GateDecision, Rollout, Task
from skillopt.optimizer.briefing import Briefing
from skillopt.run.records import MethodDone, skill_made
from skillopt.training.context import Asking, Clock, Training, budget_used
from skillopt.training.method_steps import MethodStep
from skillopt.training.proposal import Proposal
from skillopt.training.steps import StepPlan
from skillopt.training.view import Selected, TrainingView

T = TypeVar("T", bound=BaseModel)


class SealedTraining(TrainingView):
    """A training as a method sees it.

    Args:
        training: the whole of it.

    Attributes:
        step_number: number of the step that the method is in; 0 before its first.
    """

    def __init__(self, training: Training) -> None:
        super().__init__(training)
        self._times: Counter[tuple[str, str]] = Counter()
        """How often a skill was asked for on a task, by their digests."""
        self._keys: set[tuple[str, str, int]] = set()
        self._rows: dict[str, list[Rollout]] = {}
        """The last selection rollouts of each skill, by its digest."""
        self._calls = 0
        self._in_step: list[Rollout] = []
        self.step_number = 0
        self._open(0)

    def _open(self, number: int) -> None:
        self.step_number, self._clock, self._in_step = number, Clock(), []
        self._model = self._training.model(f"method/{number}", number)

    # What a method may know.

    @property
    def asked(self) -> int:
        """Distinct rollouts that the method has asked for: of the whole run, although only this
        process counts, as a method that is resumed asks again."""
        return len(self._keys)

    def show(self, rollout: Rollout, skill: Skill, share: float = 1.0) -> str:
        """A rollout of a training task as text, as the optimizer may see it.

        Args:
            rollout: what to show.
            skill: the skill that it was run with.
            share: of the usual tokens, in [0, 1].
        """
        return self.briefing(skill).show_all([rollout], share)[0]

    def briefing(self, skill: Skill) -> Briefing:
        """What the project's own stages (:mod:`skillopt.optimizer`) need to work on a skill in this
        step: the model, the prompts and the rules for edits, without memory of earlier steps."""
        return self._training.briefing(f"method/{self.step_number}", skill, self._model)

    # What a method may have done.

    def rollouts(
        self, skill: Skill, tasks: Sequence[Task], *, fresh: bool = False, stage: str = "rollout"
    ) -> list[Rollout]:
        """Scored rollouts on training tasks, in their order.

        Args:
            skill: the skill to run them with.
            tasks: training tasks, which may repeat.
            fresh: whether each is a new sample, also of what was asked for before; otherwise the
                first one is returned again.
            stage: the stage that they count for.

        Raises:
            SkillError: the skill has a :meth:`problem`.
            PausedError, LimitReachedError, OwnCodeError: as
                :meth:`skillopt.rollouts.runner.RolloutRunner.rollouts`.
        """
        known = {task.digest for task in self.train}
        if other := next((task.name for task in tasks if task.digest not in known), ""):
            raise ValueError(f"{other!r} is no training task; selection tasks are for select()")
        done = self._run(skill, tasks, fresh, stage)
        self._in_step += done
        return done

    def select(
        self, skill: Skill, names: Sequence[str] = (), *, fresh: bool = False
    ) -> tuple[Selected, ...]:
        """What a skill scores on selection tasks, in their order. One with a :meth:`problem` is not
        run and scores 0.

        Args:
            skill: the skill to score.
            names: of the tasks; all if there are none.
            fresh: as for :meth:`rollouts`.

        Raises:
            PausedError, LimitReachedError, OwnCodeError: as :meth:`rollouts`.
        """
        tasks = {task.name: task for task in self._training.splits["val"]}
        wanted = [tasks[name] for name in names or tasks]
        if problem := self.problem(skill):
            return tuple(Selected(task.name, 0.0, problem) for task in wanted)
        done = self._run(skill, wanted, fresh, "gate")
        self._rows[skill.digest] = done
        score = self.scorer.score
        return tuple(
            Selected(r.task.name, float(score(r.reward)), self._seen(r.task, r.reward.feedback))
            for r in done
        )

    def say(self, system: str, prompt: str, *, stage: str = "reflect", about: str = "") -> str:
        """The optimizer model's reply in free text. It is recorded and priced, and requested once
        in a run.

        Args:
            system, prompt: what the model is shown; the first may be empty.
            stage: the stage that it counts for.
            about: the subject of the call, which tells calls with the same words apart. Calls that
                run in parallel need one; by default the calls of the run are numbered.

        Raises:
            OptimizerReplyError: the reply was empty, or the service refuses the prompt.
            OptimizerUnavailableError, LimitReachedError: there is no reply.
        """
        return self._model.say(stage, self._about(about), system, prompt)

    def ask(
        self, system: str, prompt: str, schema: type[T], *, stage: str = "reflect", about: str = ""
    ) -> T:
        """A reply of a given shape, as :meth:`say` otherwise.

        Raises:
            OptimizerReplyError: the reply was malformed twice.
        """
        return self._model.ask(stage, self._about(about), system, prompt, schema)

    def draft(self) -> Skill:
        """A skill that the optimizer writes from some training tasks alone, without rollouts.

        Raises:
            OptimizerReplyError: no draft was usable, also when asked again.
            OptimizerUnavailableError, LimitReachedError: there is no reply.
        """
        return self._training.draft()

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[None]:
        """Announce a stage of the step, and measure how long it takes.

        Args:
            name: its name.
            total: the most rollouts or calls in it.
        """
        if self._is_recorded:
            yield
            return
        with self._training.stage(name, total, self._plan(), self._clock):
            yield

    def note(self, text: str) -> None:
        """Record a line about the step, once."""
        if not self._is_recorded:
            self._training.record.note(text, step=self.step_number)

    # What a method decides by itself.

    def begin_step(self) -> str:
        """Begin the next step, unless a stop condition of the config holds or the budget is used:
        the reason to end then, else empty."""
        training = self._training
        if self.step_number >= training.state.steps:
            # Before that the run has gone on, and what was spent later does not count.
            reason = training.stop(training.state, training.record.meter.total)
            if reason := reason or budget_used(self.asked, training.config.method.rollouts):
                return reason
        self._open(self.step_number + 1)
        return ""

    def end_step(
        self,
        candidate: Skill,
        accepted: bool | None,
        reason: str,
        *,
        before: float = 0.0,
        errors: Sequence[str] = (),
        edits: Sequence[Edit] | None = None,
    ) -> None:
        """Record the step, unless an earlier process has.

        Args:
            candidate: what the step has made.
            accepted: the method's decision on it, from what it scores on the selection split; None
                if it was not asked for, or nothing was made.
            reason: of the decision, or why there is none.
            before: the score that the method compares with.
            errors: what went wrong and was handled.
            edits: what the candidate changes; by default the whole text.

        Raises:
            OptimizerUnavailableError: the optimizer's replies are of no use.
        """
        if self._is_recorded:
            return
        training, plan, scorer = self._training, self._plan(), self.scorer
        training.check_answered(last=False)
        for problem in errors:
            training.record.note(f"step {plan.step}: {problem}", step=plan.step)
        made = None if edits is None else tuple(edits)
        step = MethodStep(candidate, accepted, reason, before, tuple(errors), made)
        selected = self._rows.get(candidate.digest, [])
        decision = step.decision(selected, training.state.rewards, len(self.selection), scorer)
        used, took = self._model.usage, self._clock.seconds
        training.record(skill_made(candidate))
        training.record(step.record(plan, self._in_step, decision, used, took, scorer))

    def choose(self, skill: Skill, reason: str, score: float | None = None) -> str:
        """Record the method's result, which the final scores are measured of, whatever the gate
        would say of it.

        Args:
            skill: the result. If it has a :meth:`problem`, the current skill takes its place, as
                nothing can be run with it.
            reason: why the method has ended.
            score: on the selection split, if the method knows it.

        Returns:
            The reason.
        """
        training = self._training
        if problem := self.problem(skill):
            training.record.note(f"the method's result cannot be used: {problem}")
            skill, score = training.current, None
        findings = self.briefing(skill).refusals(self.initial, skill)
        for text in findings:
            training.record.note(f"the method's result, which an edit could not have: {text}")
        training.record(skill_made(skill))
        training.record(
            MethodDone(
                skill=skill.digest,
                score=score,
                asked=self.asked,
                budget=training.config.method.rollouts,
                reason=reason,
                findings=findings,
            )
        )
        return reason

    # What the gate decides.

    def stopping(self) -> str:
        """Why training should end before the next step, see
        :meth:`skillopt.training.context.Training.stopping`."""
        return self._training.stopping()

    def asking(self, about: str, skill: Skill, plan: StepPlan | None = None) -> Asking:
        """What a step uses to ask the optimizer, see
        :meth:`skillopt.training.context.Training.asking`."""
        return self._training.asking(about, skill, plan)

    def batch(self, plan: StepPlan, part: int, clock: Clock) -> list[Rollout]:
        """The scored rollouts of one batch of a step with the current skill, see
        :meth:`skillopt.training.context.Training.batch`."""
        return self._training.batch(plan, part, clock)

    def step(
        self, plan: StepPlan, rollouts: Sequence[Rollout], proposal: Proposal, asking: Asking
    ) -> GateDecision | None:
        """Let the gate judge a step's candidate and record the step, see
        :meth:`skillopt.training.context.Training.step`."""
        return self._training.step(plan, rollouts, proposal, asking)

    @property
    def _is_recorded(self) -> bool:
        """Whether an earlier process has finished the step."""
        return 0 < self.step_number <= self._training.state.steps

    def _plan(self) -> StepPlan:
        return StepPlan(
            1 if self.step_number else 0, self.step_number, budget=None, parts=(), ends_epoch=False
        )

    def _run(self, skill: Skill, tasks: Sequence[Task], fresh: bool, stage: str) -> list[Rollout]:
        wanted = []
        for task in tasks:
            pair = (skill.digest, task.digest)
            number = self._times[pair] if fresh else 0
            self._times[pair] += fresh or not self._times[pair]
            self._keys.add((*pair, number))
            wanted.append((skill, task, number))
        with self.stage(stage, len(wanted)):
            return self._training.runner.rollouts_of_each(wanted, stage=stage)

    def _about(self, about: str) -> str:
        if about:
            return about
        self._calls += 1
        return f"call {self._calls}"


def opened(sealed: SealedTraining) -> Training:
    """The whole of a training, for SkillOpt's own loop: its gate runs on selection tasks, and what
    its prompts show of them is checked where they are made."""
    return sealed._training
