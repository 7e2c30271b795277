"""TextGrad (arXiv 2406.07496): text is optimized by feedback that flows back through the system.

The algorithm of ``evaluation/prompt_optimization.py`` (zou-group/textgrad, commit 3472f5f) with the
classes that it uses (``BlackboxLLM``, ``StringBasedFunction``, ``TextualGradientDescent``), as
stages: forward, two calls of criticism for each task (of what the agent did, then of the skill),
one rewrite with all of it, and the score on the selection split, which undoes a step if it falls.
No memory, no momentum, no constraints, as is their default. Where the code leaves a choice, or
could not be followed, this was chosen:

- The variable is the body of ``SKILL.md``; name and description stay.
- The criticism of one task goes through its two calls in order, the tasks run side by side. The
  order has no effect, as the calls of different tasks do not depend on each other.
- The wording of the prompts is this project's. The update shows the skill in full. Theirs shows
  the first and last words of a variable, and the whole only as the system prompt of each example.
- Their engines answer at temperature 0 from a cache: the same skill on the same task is the same
  sample, and so it is here.
- A rewrite without tags, which stops their program, is a step that changes nothing. So is one that
  is no valid skill. A task whose criticism failed is left out.
- Their script scores the test split after each step and selects nothing by it. Here it is sealed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from skillopt.config.methods import TextGradConfig
from skillopt.config.schema import Config
from skillopt.core.skill import Skill, canonical_body
from skillopt.core.types import Rollout, Split, Task
from skillopt.methods.prompting import render
from skillopt.optimizer.model import OptimizerReplyError
from skillopt.training.method import Estimate
from skillopt.training.sealed import SealedTraining
from skillopt.training.steps import batches
from skillopt.training.view import mean_score

IMPROVED = re.compile(r"<IMPROVED_VARIABLE>(.*?)</IMPROVED_VARIABLE>", re.DOTALL)
DONE = "all steps are done"


@dataclass(frozen=True)
class Criticism:
    """What one task says of the skill; ``error`` is set if it says nothing."""

    text: str = ""
    error: str = ""


class TextGrad:
    """Implements :class:`skillopt.training.method.Method`.

    Args:
        settings: TextGrad's.
    """

    def __init__(self, settings: TextGradConfig) -> None:
        self.settings = settings

    def estimate(self, config: Config, splits: dict[Split, tuple[Task, ...]]) -> Estimate:
        own = self.settings
        plan = self._batches(splits["train"], config.seed)
        tasks, val = sum(map(len, plan)), len(splits["val"]) if own.validation else 0
        return Estimate(
            steps=len(plan),
            budgets=(None,) * len(plan),
            rollouts=(("rollout", tasks), ("gate", (len(plan) + 1) * val)),
            calls=(("reflect", 2 * tasks), ("apply", len(plan))),
        )

    def _batches(self, tasks: Sequence[Task], seed: int) -> list[tuple[Task, ...]]:
        own = self.settings
        return [
            batch
            for epoch in range(1, own.epochs + 1)
            for batch in batches(tasks, own.batch_size, seed, epoch)[: own.steps]
        ]

    def run(self, training: SealedTraining) -> str:
        """The algorithm.

        Raises:
            LimitReachedError, PausedError, OptimizerUnavailableError: what ends it early.
        """
        skill = training.initial
        score = mean_score(training.select(skill)) if self.settings.validation else None
        for batch in self._batches(training.train, training.seed):
            if reason := training.begin_step():
                return training.choose(skill, reason, score)
            skill, score = self._step(training, skill, score, batch)
        return training.choose(skill, DONE, score)

    def _step(
        self, training: SealedTraining, skill: Skill, before: float | None, batch: Sequence[Task]
    ) -> tuple[Skill, float | None]:
        """One step; the skill after it, and its score."""
        rollouts = training.rollouts(skill, batch)
        with training.stage("reflect", 2 * len(rollouts)):
            found = list(
                training.parallel(
                    lambda one: _criticism(training, skill, *one), enumerate(rollouts, 1)
                )
            )
        errors = [one.error for one in found if one.error]
        with training.stage("apply", 1):
            made = _rewritten(training, skill, [one.text for one in found if not one.error], errors)
        if made.digest == skill.digest:
            training.end_step(skill, None, "the skill did not change", errors=errors)
            return skill, before
        if before is None:
            training.end_step(made, None, "not scored (method.validation: false)", errors=errors)
            return made, None
        after = mean_score(training.select(made))
        kept = after >= before
        words = "kept" if kept else "undone"
        reason = f"{after:.3f} on the selection split after {before:.3f}: {words}"
        training.end_step(made, kept, reason, before=before, errors=errors)
        return (made, after) if kept else (skill, before)


def _criticism(training: SealedTraining, skill: Skill, number: int, rollout: Rollout) -> Criticism:
    """The criticism of a skill from one rollout: of what the agent did, then of the skill."""
    values = {
        "task": rollout.task.instruction,
        "shown": training.show(rollout, skill),
        "feedback": training.feedback(rollout) or "solved",
    }
    try:
        first = training.say("", render("textgrad_response", **values), about=f"response {number}")
        text = training.say(
            "",
            render("textgrad_skill", skill=skill.body, criticism=first, **values),
            about=f"skill {number}",
        )
    except OptimizerReplyError as error:
        return Criticism(error=f"criticism {number}: {error}")
    return Criticism(text)


def _rewritten(
    training: SealedTraining, skill: Skill, feedback: Sequence[str], errors: list[str]
) -> Skill:
    """The skill rewritten with feedback; unchanged, with an error more, if that failed."""
    if not feedback:
        return skill
    prompt = render("textgrad_update", skill=skill.body, feedback=feedback)
    try:
        reply = training.say("", prompt, stage="apply", about="update")
    except OptimizerReplyError as error:
        errors.append(f"update: {error}")
        return skill
    found = IMPROVED.search(reply)
    if found is None:
        errors.append("update: the reply has no <IMPROVED_VARIABLE> tags")
        return skill
    made = replace(skill, body=canonical_body(found[1].strip()))
    if problem := training.problem(made):
        errors.append(f"update: {problem}")
        return skill
    return made
