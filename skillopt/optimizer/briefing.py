"""What all stages of a step share: the skill, what is known so far, the rules, and the optimizer.

A briefing is a value; the trainer makes a new one for each step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pydantic import BaseModel

from skillopt.core.metric import Scorer
from skillopt.core.skill import Skill, plain_text
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Edit, Finding, RejectedEdit, Rollout, Tried
from skillopt.optimizer.files import editable_files
from skillopt.optimizer.leaks import LeakGuard
from skillopt.optimizer.memory import (
    render_findings,
    render_kept,
    render_memory,
    render_refused,
    render_untried,
)
from skillopt.optimizer.model import AskedAgain, OptimizerModel, OptimizerRefusedError, ParallelMap
from skillopt.optimizer.render import View, view, without_repeats
from skillopt.optimizer.replies import offered
from skillopt.optimizer.templates import Prompts

T = TypeVar("T", bound=BaseModel)

TRAJECTORY_TOKENS = 3000
"""Token budget of each rollout in a prompt, unless config or context say otherwise."""
ANSWER_TOKENS = 300
SHARES = (1.0, 0.5, 0.2)
"""Shares of the usual material, tried in turn as long as the service refuses the prompt."""


TOO_LONG = "the skill would be longer than skill.max_tokens"


@dataclass(frozen=True)
class Briefing:
    """What a step starts from and what it may do.

    Args:
        skill: the current one.
        budget: edits that the step may make; None for no limit.
        model: the optimizer.
        parallel: runs calls that do not depend on each other.
        seed: decides everything random.
        agent: what the agent is and how it is judged, in a paragraph.
        memory: rejected edits, oldest first.
        tried: all decisions so far, oldest first.
        untried: edits that were proposed and not tried.
        findings: types of failure that earlier steps found, by step.
        failures: number of failed rollouts of these steps.
        ran: scored rollouts of the step's batches.
        solved: those of them that are solved.
        notes: the optimizer's notes from earlier epochs (meta skill).
        remarks: what people said of earlier rollouts and steps, as text.
        prompts: the templates.
        guard: refuses what belongs to single tasks; None if there is nothing to guard.
        sees_answers: whether expected answers are shown.
        edit_files: whether edits may touch other files than ``SKILL.md``.
        skill_aware: whether reminders may be proposed for rules that were not followed.
        autonomous: whether the optimizer chooses the number of edits.
        max_tokens: the limit for ``SKILL.md``.
        scorer: how rewards are counted, which decides what is a failure.
        trajectory_tokens: token budget of each rollout in a prompt.
    """

    skill: Skill
    budget: int | None
    model: OptimizerModel
    parallel: ParallelMap = map
    seed: str = ""
    agent: str = ""
    memory: tuple[RejectedEdit, ...] = ()
    tried: tuple[Tried, ...] = ()
    untried: tuple[Edit, ...] = ()
    findings: Mapping[int, Sequence[Finding]] = field(default_factory=dict)
    failures: Mapping[int, int] = field(default_factory=dict)
    ran: int = 0
    solved: int = 0
    notes: str = ""
    remarks: str = ""
    prompts: Prompts = field(default_factory=Prompts)
    guard: LeakGuard | None = None
    sees_answers: bool = False
    edit_files: bool = False
    skill_aware: bool = False
    autonomous: bool = False
    max_tokens: int = 2000
    scorer: Scorer = Scorer()
    trajectory_tokens: int = TRAJECTORY_TOKENS

    @property
    def failed(self) -> int:
        """Scored rollouts of the step's batches that are not solved."""
        return self.ran - self.solved

    def again(self, number: int) -> Briefing:
        """The briefing for another candidate of the same step; the first one's is this.

        Args:
            number: the candidate's, from 1.
        """
        return self if number == 1 else replace(self, model=AskedAgain(self.model, number))

    def ask(
        self,
        stage: str,
        about: str,
        template: str,
        schema: type[T],
        values: Mapping[str, object],
        skill: Skill | None = None,
    ) -> T:
        """Ask the optimizer with a template, which also gets the skill, memory and notes.

        Args:
            stage, about, schema: as for :meth:`OptimizerModel.ask`.
            template: name of the prompt.
            values: the template's own variables.
            skill: shown instead of the current one.

        Raises:
            OptimizerReplyError, OptimizerUnavailableError: from the model.
        """
        shown = skill or self.skill
        prompt = self.prompts.render(
            template,
            skill=plain_text(shown),
            files=editable_files(shown) if self.edit_files else {},
            agent=self.agent,
            kept=render_kept(self.tried),
            memory=render_memory(self.memory),
            refused_before=render_refused(self.tried),
            untried=render_untried(self.untried),
            findings=render_findings(self.findings, self.failures),
            notes=self.notes,
            remarks=self.remarks,
            **values,
        )
        system = self.prompts.render(
            "system",
            edit_files=self.edit_files,
            skill_aware=self.skill_aware,
            sees_answers=self.sees_answers,
        )
        shape: type[T] = offered(schema, self.skill_aware, self.edit_files)
        return self.model.ask(stage, about, system, prompt, shape)

    def ask_fitting(
        self,
        stage: str,
        about: str,
        template: str,
        schema: type[T],
        values_at: Callable[[float], Mapping[str, object]],
    ) -> T:
        """Ask as :meth:`ask` does, with less and less material as long as the service refuses the
        prompt: a prompt that is too long would be refused every time.

        Args:
            stage, about, template, schema: as for :meth:`ask`.
            values_at: maps a share of the usual material to the template's variables.

        Raises:
            OptimizerRefusedError: the service refuses the shortest prompt too.
            OptimizerReplyError, OptimizerUnavailableError: from the model.
        """
        *shrinking, last = SHARES
        for share in shrinking:
            what = about if share == 1 else f"{about}, {share:.0%} of the material"
            try:
                return self.ask(stage, what, template, schema, values_at(share))
            except OptimizerRefusedError:
                continue
        what = f"{about}, {last:.0%} of the material"
        return self.ask(stage, what, template, schema, values_at(last))

    def view(self, rollout: Rollout) -> View:
        """A rollout as far as the optimizer may see it."""
        feedback, answers = rollout.reward.feedback, ""
        if self.guard is not None and self.sees_answers:
            answers = self.guard.answers(rollout.task, ANSWER_TOKENS)
        elif self.guard is not None:
            feedback = self.guard.redact(rollout.task, feedback)
        return view(rollout, self.skill, feedback=feedback, answers=answers)

    def show_all(self, rollouts: Sequence[Rollout], share: float = 1.0) -> list[str]:
        """Rollouts for one prompt; what one repeats of another is a reference to that.

        Args:
            rollouts: in the order of the prompt.
            share: of the usual budget, in [0, 1].
        """
        tokens = round(self.trajectory_tokens * share)
        return without_repeats([self.view(rollout).text(tokens) for rollout in rollouts])

    def refusal(self, before: Skill, after: Skill) -> str:
        """Why a change is refused, as it copies from a single task or makes the skill too long;
        empty if it is not."""
        return next(iter(self.refusals(before, after)), "")

    def refusals(self, before: Skill, after: Skill) -> list[str]:
        """All reasons of :meth:`refusal`."""
        found, tokens = [], estimate_tokens(after.text)
        if tokens > max(self.max_tokens, estimate_tokens(before.text)):
            found = [f"{TOO_LONG}: about {tokens} tokens, and {self.max_tokens} are allowed"]
        copied = self.guard.refusal(before, after) if self.guard else ""
        return [*found, copied] if copied else found
