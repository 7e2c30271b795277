"""SearchQA's scorer: exact match and word F1 after SQuAD's normalisation.

``reference`` is that of the reference implementation; ``public`` is MRQA's official evaluation,
which gives F1 0 where answer and gold are both empty. They agree everywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skillopt.core.types import Reward, Task
from skillopt.tasks.benchmarks.answers import (
    has_tag,
    last_tagged,
    not_expected,
    squad_form,
    word_f1,
)

Scorer = Literal["reference", "public"]


@dataclass(frozen=True)
class Score:
    """The score of one reply; all numbers are in [0, 1]."""

    answer: str
    em: float
    f1: float
    sub_em: float


def score(reply: str, golds: Sequence[str], scorer: Scorer = "reference") -> Score:
    """The score of a reply: the best over the golds; 0 if there are none."""
    answer = last_tagged(reply)
    given = squad_form(answer)
    each = [(given, squad_form(gold)) for gold in golds]
    em = max((float(a == b) for a, b in each), default=0.0)
    f1 = max((_f1(a, b, scorer) for a, b in each), default=0.0)
    sub_em = max((float(a in b or b in a) for a, b in each), default=0.0)
    return Score(answer, em, f1, sub_em)


def _f1(given: str, gold: str, scorer: Scorer) -> float:
    if scorer == "public" and not given and not gold:
        return 0.0
    return word_f1(given.split(), gold.split())


@dataclass(frozen=True)
class Judge:
    """A task's verifier: hard is exact match, soft is F1."""

    golds: tuple[str, ...]
    scorer: Scorer

    def __call__(self, task: Task, workspace: Path, answer: str) -> Reward:
        found = score(answer, self.golds, self.scorer)
        metrics = {"em": found.em, "f1": found.f1, "sub_em": found.sub_em}
        return Reward(found.f1, metrics, self._feedback(answer, found), solved=found.em == 1.0)

    def _feedback(self, reply: str, found: Score) -> str:
        if found.em == 1.0:
            return ""
        said = not_expected(found.answer)
        if not has_tag(reply):
            return f"{said}. There was no <answer> tag, so the last line was taken."
        if any(squad_form(gold) in squad_form(found.answer) for gold in self.golds if gold):
            return f"{said}: it has the expected answer and more words around it."
        if found.f1 > 0:
            return f"{said}; some of its words are (F1 {found.f1:.2f})."
        return f"{said}; none of its words is."
