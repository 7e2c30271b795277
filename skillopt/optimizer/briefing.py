"""What all stages of one step share: the skill, what is known so far, the rules, and whom to ask.

A value; the trainer makes a new one for each step. Stages add what is theirs and ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel

from skillopt.core.skill import Skill
from skillopt.core.types import RejectedEdit, Rollout
from skillopt.optimizer.files import editable_files
from skillopt.optimizer.leaks import LeakGuard
from skillopt.optimizer.memory import render_memory
from skillopt.optimizer.model import OptimizerModel, OptimizerRefusedError, ParallelMap
from skillopt.optimizer.render import render_rollout
from skillopt.optimizer.templates import Prompts

T = TypeVar("T", bound=BaseModel)

TRAJECTORY_TOKENS = 3000
"""For each rollout in a prompt."""
ANSWER_TOKENS = 300
SHARES = (1.0, 0.5, 0.2)
"""Of the usual tokens for material, tried in turn while the service refuses the prompt."""


@dataclass(frozen=True)
class Briefing:
    """Where a step starts from and what it may do.

    Args:
        skill: the current one.
        budget: edits that the step may make; None for no limit.
        model, parallel: asks, and runs calls that do not depend on each other.
        seed: decides what is left to chance.
        memory: rejected edits, oldest first.
        notes: the optimizer's own, of earlier epochs (meta skill).
        prompts: templates.
        guard: refuses what belongs to single tasks; None where there is nothing to guard.
        sees_answers: whether expected answers are shown.
        edit_files: whether edits may touch other files than ``SKILL.md``.
        skill_aware: whether reminders may be proposed for rules that were not followed.
        autonomous: whether the optimizer chooses the number of edits.
        max_tokens: of ``SKILL.md``.
    """

    skill: Skill
    budget: int | None
    model: OptimizerModel
    parallel: ParallelMap = map
    seed: str = ""
    memory: tuple[RejectedEdit, ...] = ()
    notes: str = ""
    prompts: Prompts = field(default_factory=Prompts)
    guard: LeakGuard | None = None
    sees_answers: bool = False
    edit_files: bool = False
    skill_aware: bool = False
    autonomous: bool = False
    max_tokens: int = 2000

    def ask(
        self,
        stage: str,
        about: str,
        template: str,
        schema: type[T],
        values: Mapping[str, object],
        skill: Skill | None = None,
    ) -> T:
        """Ask the optimizer by a template, which is also given the skill, memory and notes.

        Args:
            stage, about, schema: as for :meth:`OptimizerModel.ask`.
            template: name of the prompt.
            values: the template's own variables.
            skill: to show in place of the current one.

        Raises:
            OptimizerReplyError, OptimizerUnavailableError: from the model.
        """
        shown = skill or self.skill
        prompt = self.prompts.render(
            template,
            skill=shown.text,
            files=editable_files(shown) if self.edit_files else {},
            memory=render_memory(self.memory),
            notes=self.notes,
            **values,
        )
        system = self.prompts.render(
            "system", edit_files=self.edit_files, skill_aware=self.skill_aware
        )
        return self.model.ask(stage, about, system, prompt, schema)

    def ask_fitting(
        self,
        stage: str,
        about: str,
        template: str,
        schema: type[T],
        values_at: Callable[[float], Mapping[str, object]],
    ) -> T:
        """Ask as :meth:`ask` does, and with less material as long as the service refuses the
        prompt: one that is too long for it would be refused for ever.

        Args:
            stage, about, template, schema: as for :meth:`ask`.
            values_at: from the share of the usual tokens for material to the template's variables.

        Raises:
            OptimizerRefusedError: the service refuses the smallest one too.
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

    def show(self, rollout: Rollout, tokens: int = TRAJECTORY_TOKENS) -> str:
        """A rollout as the optimizer may see it."""
        feedback, answers = rollout.reward.feedback, ""
        if self.guard is not None and self.sees_answers:
            answers = self.guard.answers(rollout.task, ANSWER_TOKENS)
        elif self.guard is not None:
            feedback = self.guard.redact(rollout.task, feedback)
        return render_rollout(rollout, self.skill, tokens, feedback=feedback, answers=answers)

    def refusal(self, before: Skill, after: Skill) -> str:
        """Why a change copies something of a single task; empty when it does not."""
        return self.guard.refusal(before, after) if self.guard else ""
