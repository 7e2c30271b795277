"""Named scorers for prompts with expected answers: functions of a reply and what is expected.

A scorer is an options model and a function here, and a line in :data:`SCORERS`. Whatever may take
long on a hostile reply runs in a process of its own.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from skillopt.core.types import Reward, Task
from skillopt.tasks.benchmarks.answers import last_line, last_tagged, squad_form, word_f1
from skillopt.tasks.benchmarks.docvqa.score import HARD, anls
from skillopt.tasks.benchmarks.limited import LimitError, limited
from skillopt.tasks.benchmarks.livemath.score import Choice, chosen, plain
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.questions import SHOWN
from skillopt.tasks.strange import matches, schema_problem
from skillopt.tasks.tables import checked_options

SECONDS = 4
"""Work that a pattern or a schema may take on one reply."""
MEMORY_MB = 1024
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?```", re.DOTALL | re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_MONEY = "$€£¥ \t\u00a0"


@dataclass(frozen=True)
class Scored:
    """What a scorer says of one reply.

    Args:
        soft: how right it is, in [0, 1].
        solved: whether it is right.
        feedback: what is wrong, without the expected answer; empty if nothing.
    """

    soft: float
    solved: bool
    feedback: str = ""


class Options(BaseModel):
    """Options that all scorers have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    take: Literal["tagged", "last_line", "whole"] = "tagged"
    """Which part of the reply is the answer: what is between ``<answer>`` and ``</answer>``, or
    else the last line; the last line; or all of it."""

    def answer(self, reply: str) -> str:
        """The answer in a reply."""
        match self.take:
            case "tagged":
                return last_tagged(reply)
            case "last_line":
                return last_line(reply)
            case "whole":
                return reply.strip()


class ExactOptions(Options):
    """Options of ``exact``."""

    blanks: Literal["joined", "kept"] = "joined"
    """Whether runs of blanks and line ends count as one blank."""


class NumericOptions(Options):
    """Options of ``numeric``; a number is right if one of the two tolerances allows it."""

    relative: float = Field(0.0, ge=0.0, lt=1.0)
    """Largest error as a share of the expected number."""
    absolute: float = Field(0.0, ge=0.0)
    """Largest error in the number's own unit."""


class RegexOptions(Options):
    """Options of ``regex``."""

    whole: bool = False
    """Whether the pattern must match the whole answer and not a part."""
    ignore_case: bool = False


class JsonOptions(Options):
    """Options of ``json`` and ``json_schema``: the reply, or the last fenced block in it."""

    take: Literal["tagged", "last_line", "whole"] = "whole"


class JsonEqualOptions(JsonOptions):
    """Options of ``json``."""

    relative: float = Field(0.0, ge=0.0, lt=1.0)
    """Largest error of a number as a share of the expected one."""
    any_order: bool = False
    """Whether the entries of lists may be in any order."""


class AnlsOptions(Options):
    """Options of ``anls``."""

    variant: Literal["reference", "public"] = "reference"
    """The definition's, or lmms-eval's, see :mod:`skillopt.tasks.benchmarks.docvqa.score`."""


class ChoiceOptions(Options):
    """Options of ``choice``."""

    choices: dict[str, str] = Field(min_length=1)
    """The options' texts by their labels."""


def exact(reply: str, expected: Any, options: ExactOptions) -> Scored:
    """Whether the answer is one of the expected texts."""
    return _best(options.answer(reply), expected, lambda answer, gold: _form(options, answer, gold))


def _form(options: ExactOptions, answer: str, gold: str) -> float:
    if options.blanks == "joined":
        return float(answer.split() == gold.split())
    return float(answer == gold)


def normalised(reply: str, expected: Any, options: Options) -> Scored:
    """Whether the answer is one of the expected texts in SQuAD's normal form."""
    return _best(options.answer(reply), expected, lambda a, b: squad_form(a) == squad_form(b))


def f1(reply: str, expected: Any, options: Options) -> Scored:
    """The F1 of the answer's words in SQuAD's normal form; solved if it has exactly the words in
    their order."""
    answer = options.answer(reply)
    words = _best(answer, expected, lambda a, b: word_f1(_words(a), _words(b)))
    solved = normalised(reply, expected, options).solved
    return Scored(words.soft, solved, "" if solved else _wrong(answer, words.soft))


def _words(text: str) -> list[str]:
    return squad_form(text).split()


def numeric(reply: str, expected: Any, options: NumericOptions) -> Scored:
    """Whether the answer is one of the expected numbers, within the tolerances. Digits may be
    grouped by commas; a currency sign before it and a per cent sign after it are ignored."""
    golds = {gold: number(gold) for gold in _texts(expected)}
    answer = options.answer(reply)
    found = number(answer)
    for gold, right in golds.items():
        if right is None:
            raise TaskError(f"the expected answer {gold[:SHOWN]!r} is not a number")
        if found is None:
            return Scored(0.0, False, f"The answer {answer[:SHOWN]!r} is not a number.")
        if abs(found - right) <= max(options.absolute, options.relative * abs(right)):
            return Scored(1.0, True)
    return Scored(0.0, False, _wrong(answer))


def number(text: str) -> float | None:
    """The number that a text is; None if it is none, or not a finite one."""
    bare = text.strip().rstrip("%. \t").strip(_MONEY)
    sign = -1.0 if bare.startswith(("-$", "-€", "-£", "-¥")) else 1.0
    bare = bare[1:].lstrip(_MONEY) if sign < 0 else bare
    if not bare.isascii() or not _NUMBER.fullmatch(bare):
        return None
    value = sign * float(bare.replace(",", ""))
    return value if math.isfinite(value) else None


def regex(reply: str, expected: Any, options: RegexOptions) -> Scored:
    """Whether one of the expected patterns matches the answer."""
    answer = options.answer(reply)
    for pattern in _texts(expected):
        try:
            re.compile(pattern)
        except re.error as error:
            raise TaskError(f"the pattern {pattern!r} is not valid: {error}") from error
        given = [pattern, answer, options.whole, options.ignore_case]
        try:
            # Nothing is matched in no time.
            if limited(matches, given, MEMORY_MB, SECONDS) if answer else matches(given):
                return Scored(1.0, True)
        except LimitError as error:
            return Scored(0.0, False, f"Matching the answer {error}.")
    return Scored(0.0, False, _wrong(answer))


def json_equal(reply: str, expected: Any, options: JsonEqualOptions) -> Scored:
    """Whether the answer is the expected JSON value; keys of objects are in any order."""
    value, problem = _json(options.answer(reply))
    if problem:
        return Scored(0.0, False, problem)
    place = _difference(value, expected, options, "$")
    said = f"The JSON differs from the expected one at {place}." if place else ""
    return Scored(float(not place), not place, said)


def _difference(one: Any, other: Any, options: JsonEqualOptions, place: str) -> str:
    """The first place at which two JSON values differ; empty if they do not."""
    if isinstance(one, dict) and isinstance(other, dict):
        if set(one) != set(other):
            return place
        pairs = [(one[key], other[key], f"{place}.{key}") for key in other]
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return place
        if options.any_order:
            return _unordered(one, other, options, place)
        pairs = [(a, b, f"{place}[{n}]") for n, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return "" if _same(one, other, options.relative) else place
    return next(filter(None, (_difference(a, b, options, at) for a, b, at in pairs)), "")


def _unordered(one: list[Any], other: list[Any], options: JsonEqualOptions, place: str) -> str:
    left = list(other)
    for entry in one:
        found = next(
            (n for n, gold in enumerate(left) if not _difference(entry, gold, options, place)), None
        )
        if found is None:
            return place
        del left[found]
    return ""


def _same(one: Any, other: Any, relative: float) -> bool:
    """Whether two values without parts are the same; true and 1 are not."""
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other)]
    if all(numbers):
        try:
            return bool(one == other or abs(one - other) <= relative * abs(other))
        except OverflowError:  # One is too large for a float, and the other one is a float.
            return False
    return type(one) is type(other) and bool(one == other)


def json_schema(reply: str, expected: Any, options: JsonOptions) -> Scored:
    """Whether the answer is JSON that the expected schema allows (jsonschema). References to other
    documents are not followed."""
    jsonschema = _needed("jsonschema")
    try:
        jsonschema.validators.validator_for(expected).check_schema(expected)
    except jsonschema.SchemaError as error:
        raise TaskError(f"the expected JSON schema is not valid: {error.message}") from error
    value, problem = _json(options.answer(reply))
    if problem:
        return Scored(0.0, False, problem)
    try:
        said = limited(schema_problem, [expected, value], MEMORY_MB, SECONDS)
    except LimitError as error:
        said = f"checking it {error}"
    return Scored(float(not said), not said, f"The JSON breaks its schema: {said}" if said else "")


def similar(reply: str, expected: Any, options: AnlsOptions) -> Scored:
    """Average normalised Levenshtein similarity (ANLS; Biten et al. 2019), as in DocVQA."""
    _needed("rapidfuzz")
    answer = options.answer(reply)
    found = anls(answer, _texts(expected), options.variant)
    solved = found >= HARD
    return Scored(found, solved, "" if solved else _wrong(answer, found))


def choice(reply: str, expected: Any, options: ChoiceOptions) -> Scored:
    """Whether the reply chooses the expected option, by its label or its text."""
    choices = [Choice(label, text) for label, text in options.choices.items()]
    labels = {plain(one.label) for one in choices}
    golds = {plain(gold) for gold in _texts(expected)}
    if not golds <= labels:
        raise TaskError(f"the expected answer {expected!r} is not one of {', '.join(labels)}")
    found = chosen(f"<answer>{options.answer(reply)}</answer>", choices)
    said = f"Option {found} is not the right one." if found in labels else _wrong(str(found))
    return Scored(1.0, True) if found in golds else Scored(0.0, False, said)


@dataclass(frozen=True)
class AnswerScorer:
    """A scorer with its options.

    Args:
        name: in :data:`SCORERS`.
        options: of its options model.
    """

    name: str
    options: Options

    def __call__(self, reply: str, expected: Any) -> Scored:
        """Score a reply; raises TaskError if ``expected`` is nothing that the scorer can use."""
        return SCORERS[self.name][1](reply, expected, self.options)


@dataclass(frozen=True)
class ByScorer:
    """A task's verifier: scores the agent's answer.

    Args:
        scorer: that scores.
        expected: what it wants; JSON.
    """

    scorer: AnswerScorer
    expected: Any

    @property
    def identity(self) -> list[Any]:
        """What decides a score, as JSON."""
        options = self.scorer.options.model_dump(mode="json")
        return ["scorer", self.scorer.name, options, self.expected]

    def __call__(self, task: Task, workspace: Path, answer: str) -> Reward:
        """Judge an answer."""
        found = self.scorer(answer, self.expected)
        return Reward(found.soft, {self.scorer.name: found.soft}, found.feedback, found.solved)


SCORERS: Mapping[str, tuple[type[Options], Callable[[str, Any, Any], Scored]]] = {
    "exact": (ExactOptions, exact),
    "normalised": (Options, normalised),
    "numeric": (NumericOptions, numeric),
    "f1": (Options, f1),
    "regex": (RegexOptions, regex),
    "json": (JsonEqualOptions, json_equal),
    "json_schema": (JsonOptions, json_schema),
    "anls": (AnlsOptions, similar),
    "choice": (ChoiceOptions, choice),
}
"""The scorers by name, each with its options."""


def make_scorer(name: str, options: Mapping[str, Any], where: str) -> AnswerScorer:
    """A scorer by name.

    Args:
        name: in :data:`SCORERS`.
        options: of its options model.
        where: key or place, for messages.

    Raises:
        TaskError: there is no such scorer or option.
    """
    if name not in SCORERS:
        raise TaskError(f"{where}: {name!r} is not one of {', '.join(SCORERS)}")
    return AnswerScorer(name, checked_options(SCORERS[name][0], options, f"{where}: ", name))


def _best(answer: str, expected: Any, score: Callable[[str, str], float]) -> Scored:
    soft = max((float(score(answer, gold)) for gold in _texts(expected)), default=0.0)
    return Scored(soft, soft == 1.0, "" if soft == 1.0 else _wrong(answer))


def _texts(expected: Any) -> Sequence[str]:
    """The expected answers, any of which is right; numbers as texts."""
    golds = expected if isinstance(expected, list | tuple) else [expected]
    for gold in golds:
        if not isinstance(gold, str | int | float) or isinstance(gold, bool):
            raise TaskError(f"an expected answer must be a text or a number and not {gold!r:.80}")
    if not golds:
        raise TaskError("there is no expected answer")
    return [str(gold) for gold in golds]


def _wrong(answer: str, soft: float = 0.0) -> str:
    close = f", but close to it ({soft:.2f})" if soft else ""
    return f"The answer was {answer[:SHOWN]!r}, which is not the expected one{close}."


def _json(answer: str) -> tuple[Any, str]:
    """The JSON value that an answer is, and what is wrong if it is none."""
    fenced = _FENCE.findall(answer)
    try:
        value = json.loads(fenced[-1] if fenced else answer, parse_constant=_refused)
        json.dumps(value)  # Whether it is too deep for that too.
        return value, ""
    except (ValueError, RecursionError) as error:
        return None, f"The answer is not JSON: {str(error)[:SHOWN]}."


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TaskError(
            f"this scorer needs {module}: pip install 'skillopt-harness[scorers]'"
        ) from error
