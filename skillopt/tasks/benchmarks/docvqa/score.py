"""DocVQA's scorers: average normalised Levenshtein similarity (ANLS; Biten et al. 2019).

``reference`` follows the definition: a similarity counts if the normalised distance is below 0.5.
``public`` is lmms-eval's: one of exactly 0.5 counts too, and lengths are taken before blanks are
joined, so that additional blanks raise the score.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from skillopt.core.types import Reward, Task
from skillopt.tasks.benchmarks.answers import has_tag, last_line, not_expected
from skillopt.tasks.records import needed

Scorer = Literal["reference", "public"]
THRESHOLD = 0.5
HARD = 0.999
"""The ANLS from which an answer is right: one wrong character in a thousand."""
_OPENING, _CLOSING = "<answer>", "</answer>"


def answer_in(reply: str) -> str:
    """What is between the last opening and the last closing tag, else the last line."""
    lower = reply.lower()
    start, end = lower.rfind(_OPENING), lower.rfind(_CLOSING)
    if start != -1 and end > start:
        return reply[start + len(_OPENING) : end].strip()
    return last_line(reply)


def golds_of(raw: Any) -> list[str]:
    """The expected answers in any form in which they are published.

    A text that looks like a list is one: the reference's CSV files have lists as text.
    """
    match raw:
        case str():
            parsed = _parsed(raw.strip())
            return [raw.strip()] if parsed is None else golds_of(parsed)
        case Mapping():
            keys = [key for key in ("answers", "ground_truth", "answer") if key in raw]
            return golds_of(raw[keys[0]]) if keys else [str(raw)]
        case Iterable():
            return [gold for item in raw for gold in _golds_in(item)] or [""]
        case None:
            return [""]
        case _:
            return [str(raw)]


def _golds_in(item: Any) -> list[str]:
    if isinstance(item, Mapping):
        keys = [key for key in ("text", "answer", "value") if key in item]
        return golds_of(item[keys[0]]) if keys else [str(item)]
    return [str(item)]


def _parsed(text: str) -> Any:
    if not text.startswith(("[", "{")):
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def anls(answer: str, golds: Sequence[str], scorer: Scorer = "reference") -> float:
    """The best similarity to a gold, in [0, 1].

    Raises:
        ValueError: the public scorer is given no gold.
    """
    if scorer == "public":
        best = 1.0 - min(_distance(answer, gold, raw_lengths=True) for gold in golds)
        return best if best >= THRESHOLD else 0.0
    distances = [_distance(answer, gold, raw_lengths=False) for gold in golds]
    return max((1.0 - found for found in distances if found < THRESHOLD), default=0.0)


def _distance(answer: str, gold: str, raw_lengths: bool) -> float:
    """The normalised edit distance; 0 if both are empty."""
    levenshtein = needed("rapidfuzz.distance.Levenshtein")
    given, right = (" ".join(text.lower().split()) for text in (answer, gold))
    # lmms-eval takes the capitals' length: that of ß is 2.
    lengths = (answer.upper(), gold.upper()) if raw_lengths else (given, right)
    longest = max(map(len, lengths))
    return levenshtein.distance(given, right) / longest if longest else 0.0


@dataclass(frozen=True)
class Judge:
    """A task's verifier: soft is ANLS, hard an ANLS of at least 0.999."""

    golds: tuple[str, ...]
    scorer: Scorer

    def __call__(self, task: Task, workspace: Path, answer: str) -> Reward:
        given = answer_in(answer)
        found = anls(given, self.golds, self.scorer)
        solved = found >= HARD
        feedback = "" if solved else self._feedback(answer, given, found)
        return Reward(found, {"anls": found}, feedback, solved=solved)

    def _feedback(self, reply: str, given: str, found: float) -> str:
        said = not_expected(given)
        if not has_tag(reply):
            return f"{said}. There was no <answer> tag, so the last line was taken."
        if any(gold.lower() in given.lower() for gold in self.golds if gold):
            return f"{said}: it has the expected text and more around it."
        if any(given.lower() in gold.lower() for gold in self.golds if given):
            return f"{said}: it is a part of the expected text."
        close = "it is close to it" if found else "it is not close to it"
        return f"{said}: {close} (ANLS {found:.2f})."
