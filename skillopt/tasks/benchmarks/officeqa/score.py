"""OfficeQA's scorers.

``reference`` compares words: it drops commas, most punctuation and the words million, billion,
dollar and nominal, so that 543 million equals 543 billion and 5.0 differs from 5. ``public`` is the
benchmark's own :func:`skillopt.tasks.benchmarks.officeqa.reward.reward`. Both are reported as
metrics of each rollout.
"""

from __future__ import annotations

import math
import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from skillopt.core.types import Reward, Task
from skillopt.tasks.benchmarks.answers import first_tagged, has_tag, not_expected, word_f1
from skillopt.tasks.benchmarks.officeqa.reward import LONGEST, numbers, reward

Scorer = Literal["reference", "public"]
TOLERANCES = (0.0, 0.001, 0.01, 0.05)
"""The relative errors at which the benchmark's authors report."""
_DROPPED = str.maketrans("", "", "".join(set(string.punctuation) - set(".-%")))
_UNIT_WORDS = re.compile(r"\b(?:millions?|billions?|dollars?|nominal)\b")
_SCALES = (3, 6, 9)
"""Powers of ten between thousand, million, billion and trillion."""


def reference_form(text: str) -> str:
    """An answer as the reference compares it."""
    return " ".join(_UNIT_WORDS.sub(" ", text.lower().strip().translate(_DROPPED)).split())


@dataclass(frozen=True)
class Score:
    """The reference's score of one reply; both numbers are in [0, 1]."""

    answer: str
    em: float
    f1: float


def score(reply: str, gold: str) -> Score:
    """The reference's score of a reply: its first tag. An empty answer is wrong whatever the
    gold."""
    answer = first_tagged(reply)
    if not answer:
        return Score("", 0.0, 0.0)
    given, right = reference_form(answer), reference_form(gold)
    return Score(answer, float(given == right), word_f1(given.split(), right.split()))


@dataclass(frozen=True)
class Judge:
    """A task's verifier.

    Args:
        gold: the expected answer.
        scorer: whose verdict counts: of ``reference`` hard is equality and soft word F1, of
            ``public`` both are the reward.
        tolerance: of ``public``, the largest relative error of a number.
    """

    gold: str
    scorer: Scorer
    tolerance: float = 0.0

    def __call__(self, task: Task, workspace: Path, answer: str) -> Reward:
        found = score(answer, self.gold)
        close = {t: reward(self.gold, found.answer, t) for t in {*TOLERANCES, self.tolerance}}
        metrics = {"em": found.em, "f1": found.f1}
        metrics |= {f"reward_{t:g}": float(right) for t, right in sorted(close.items())}
        public = self.scorer == "public"
        soft = float(close[self.tolerance]) if public else found.f1
        solved = close[self.tolerance] if public else found.em == 1.0
        feedback = "" if solved else self._feedback(answer, found, close)
        return Reward(soft, metrics, feedback, solved=solved)

    def _feedback(self, reply: str, found: Score, close: dict[float, bool]) -> str:
        if not has_tag(reply):
            return "There was no <answer> tag, and only what is in one counts."
        said = not_expected(found.answer)
        if not found.answer or len(found.answer) > LONGEST or "\n" in found.answer:
            return f"{said}: it has to be one short line."
        if close[0.0]:
            return f"{said}: its value is right, but it is written differently."
        if any(close.values()):
            within = min(tolerance for tolerance, right in close.items() if right)
            return f"{said}: it is within {within:.1%} of it, and exactness is asked for."
        return f"{said}{self._difference(found.answer)}."

    def _difference(self, answer: str) -> str:
        given, right = numbers(answer), numbers(self.gold)
        if len(given) != len(right):
            return f": it has {len(given)} number(s), and the expected one has {len(right)}"
        if len(right) != 1 or given[0].value * right[0].value == 0:
            return ""
        one, other = given[0], right[0]
        ratio = abs(math.log10(abs(one.value)) - math.log10(abs(other.value)))
        if any(math.isclose(ratio, scale) for scale in _SCALES):
            return ": its digits are right, but it is in another unit than the question asks for"
        if one.value == -other.value:
            return ": its sign is wrong"
        differ = one.unit != other.unit and None not in (one.unit, other.unit)
        return ": it names another unit" if differ else ""
