"""LiveMath's scorers: which option a reply chooses.

``reference`` reads the answer as a label, as an option's whole text, or as a label in its first
word. ``public`` is the benchmark's own evaluation: the last ``\\boxed{X}``, else the last capital
A to E that stands alone. They differ where an answer is decorated: ``(B)`` counts in the second
only, ``b`` in the first only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skillopt.core.types import Reward, Task
from skillopt.tasks.benchmarks.answers import last_tagged
from skillopt.tasks.questions import SHOWN

Scorer = Literal["reference", "public"]
_BOXED = re.compile(r"\\boxed\{\s*([A-E])\s*\}")
_ALONE = re.compile(r"\b([A-E])\b")


@dataclass(frozen=True)
class Choice:
    """An option as it is shown."""

    label: str
    text: str


def plain(label: str) -> str:
    """A label in capitals, without what may follow it."""
    return label.strip().upper().rstrip(".):")


def chosen(reply: str, choices: Sequence[Choice], scorer: Scorer = "reference") -> str | None:
    """The label that a reply chooses, or what stands in its place; None if there is none.

    Args:
        reply: the model's last message.
        choices: the options; the public scorer does not look at them.
        scorer: whose reading.
    """
    if scorer == "public":
        found = _BOXED.findall(reply) or _ALONE.findall(reply)
        return str(found[-1]) if found else None
    answer = last_tagged(reply)
    labels = {plain(choice.label) for choice in choices}
    if plain(answer) in labels:
        return plain(answer)
    for choice in choices:
        if choice.text.strip() and choice.text.strip().lower() == answer.lower():
            return plain(choice.label)
    first = plain(answer.split()[0]) if answer.split() else ""
    return first if first in labels else plain(answer)


@dataclass(frozen=True)
class Judge:
    """A task's verifier: hard and soft are the same."""

    choices: tuple[Choice, ...]
    right: str
    scorer: Scorer

    def __call__(self, task: Task, workspace: Path, answer: str) -> Reward:
        found = chosen(answer, self.choices, self.scorer)
        if found == plain(self.right):
            return Reward(1.0)
        labels = {plain(choice.label) for choice in self.choices}
        if found in labels:
            return Reward(0.0, feedback=f"Option {found} is not the right one.")
        said = last_tagged(answer)[:SHOWN]
        return Reward(0.0, feedback=f"The answer {said!r} is not the label of an option.")
