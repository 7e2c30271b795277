"""Stages for models that are too small for the project's own prompts: edits are worked examples.

The tasks are questions of the form ``Input: …`` newline ``Output:``. For each failed rollout the
optimizer is asked one question with demonstrations in it, and answers in typed fields; nothing
else is asked. ``train.stages`` puts these functions in place of the project's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from skillopt.core.types import Edit, Patch, Rollout
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.model import Exemplified, OptimizerCall, OptimizerReplyError, StageResult
from skillopt.tasks.questions import expected_answer

SYSTEM = "Each mistake becomes an example that shows how it is done right."
_INPUT = re.compile(r"^Input: (.+)$", re.MULTILINE)
_MISTAKE = "A wrong answer was given to {input}. Right is {right}."
# The wrong answer itself is not shown: such a small model would copy it.


class Example(Exemplified):
    """One worked example for the skill, or none."""

    op: Literal["add", "skip"]
    input: str = Field(min_length=1, max_length=60)
    output: str = Field(min_length=1, max_length=60)

    @property
    def text(self) -> str:
        return f"Input: {self.input}\nOutput: {self.output}"


_DEMONSTRATIONS = (
    Example(op="add", input="heron", output="animal"),
    Example(op="add", input="muesli", output="food"),
)
"""Examples whose words occur in no task."""


def reflect(
    rollouts: Sequence[Rollout], briefing: Briefing, *, minibatch: int = 8, batch: str = ""
) -> StageResult[tuple[Patch, ...]]:
    """Ask for an example for each failed rollout of a batch.

    Args:
        rollouts: the batch; those that succeeded or were not scored are skipped.
        briefing: the step's; the expected answers must be shown (``optimizer.sees_answers``).
        minibatch: ignored, since a small model is asked about one rollout at a time.
        batch: name of the batch if a step has several.

    Raises:
        OptimizerUnavailableError: from the model.
        ValueError: the config does not let the optimizer see answers.
    """
    if not briefing.sees_answers:
        raise ValueError("an example contains the right answer: set optimizer.sees_answers")
    failed = [r for r in rollouts if r.status.scored and not briefing.scorer.succeeds(r.reward)]
    if briefing.budget == 0:
        return StageResult(())
    answers = list(briefing.parallel(lambda one: _ask(one, briefing, batch), failed))
    patches = tuple(patch for patch, _ in answers if patch is not None)
    return StageResult(patches, tuple(call for _, call in answers))


def merge(patches: Sequence[Patch], briefing: Briefing, *, batch: int = 8) -> StageResult[Patch]:
    """All examples, each once; the optimizer is not asked."""
    edits = {edit.content: edit for patch in patches for edit in patch.edits}
    return StageResult(Patch(tuple(edits.values())))


def rank(edits: Sequence[Edit], briefing: Briefing) -> StageResult[tuple[Edit, ...]]:
    """The first examples, as many as the step may add; the optimizer is not asked."""
    return StageResult(tuple(edits[: briefing.budget]))


def _ask(rollout: Rollout, briefing: Briefing, batch: str) -> tuple[Patch | None, OptimizerCall]:
    about = f"{batch}{rollout.task.name}"
    try:
        example = briefing.model.ask("reflect", about, SYSTEM, _prompt(rollout), Example)
    except OptimizerReplyError as error:
        return None, OptimizerCall("reflect", about, str(error))
    if example.op == "skip":
        return None, OptimizerCall("reflect", about)
    edit = Edit("append", content=example.text, reason=f"{rollout.task.name} failed")
    return Patch((edit,), source="failure"), OptimizerCall("reflect", about)


def _prompt(rollout: Rollout) -> str:
    """Mistakes with their examples, and at the end the mistake that needs one."""
    parts = [
        f"{_mistake(example.input, example.output)}\n{example.model_dump_json()}"
        for example in _DEMONSTRATIONS
    ]
    match = _INPUT.search(rollout.task.instruction)
    word = match[1] if match else rollout.task.instruction
    parts.append(_mistake(word, expected_answer(rollout.task)))
    return "\n\n".join(parts) + "\n"


def _mistake(word: str, right: str) -> str:
    return _MISTAKE.format(input=json.dumps(word), right=json.dumps(right))
