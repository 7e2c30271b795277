"""The columns of a row of prompts with answers: which is what, by name or as options say."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from skillopt.core.types import Split
from skillopt.tasks.evals.case import slug
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.records import read_rows

PROMPTS = ("prompt", "question", "instruction", "query", "problem", "messages", "input", "text")
"""Columns that are taken for the prompt, the first that is there."""
CONTEXTS = ("context", "passage")
"""Columns that are put before a prompt that was found by its name, the first with a value."""
ANSWERS = (
    "answer", "answers", "expected", "expected_output", "ideal", "target", "output", "label",
    "reference", "completion", "response", "solution", "test",
)  # fmt: skip
"""Columns that are taken for the expected answer, the first that is there."""
SPLIT_NAMES: Mapping[str, Split] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "selection": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What a row's ``split``, or a file's name, may say."""
_LETTERS = string.ascii_uppercase
_BRACES = re.compile(r"{(\w[^{}]*)}")
_NAME_CHARS = 80


class RowOptions(BaseModel):
    """``tasks.options`` of files of prompts with answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str = ""
    """The column of the prompt, or a text with columns in braces, such as ``{document}
    {question}``. By default the first of :data:`PROMPTS`, after a context; of a chat, its
    messages."""
    answer: str = ""
    """The column of the expected answer, or a text with columns in braces: a text, a number, JSON,
    or a list of right answers. By default the first of :data:`ANSWERS`; of a chat without one, its
    last message."""
    answer_pattern: str = ""
    """A regular expression that finds the answer in its column; its first group, if it has one."""
    scorer: str = "normalised"
    """A named scorer, ``program`` for answers that are run, the import path of a function of reply
    and expected answer, or ``command: `` and a command."""
    scorer_options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of the named scorer, or keyword arguments of the function."""
    id: str = ""
    """The column of a name for the row. By default ``id`` if there is one, else its number."""
    split: str = ""
    """The column that says ``train``, ``val`` or ``test``. By default ``split`` if there is one."""
    family: str = ""
    """A column by which scores are grouped, such as a subject."""
    exclude_empty: bool = False
    """Whether rows without a prompt or an answer are left out instead of being an error."""

    @field_validator("answer_pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return pattern


@dataclass(frozen=True)
class Row:
    """One row, read.

    Args:
        name: of its task.
        place: file and line, for messages.
        prompt: what the agent is asked.
        expected: what the scorer wants; JSON.
        family: groups scores.
        split: that it names; None if it names none.
        choices: labels and texts of the options of a multiple choice.
        values: all its columns.
    """

    name: str
    place: str
    prompt: str
    expected: Any
    family: str
    split: Split | None
    choices: Mapping[str, str]
    values: Mapping[str, Any]


def read(files: Sequence[Path], options: RowOptions) -> Iterator[Row]:
    """The rows of files, checked.

    Raises:
        TaskError: a row has no prompt or answer, two have the same name, or a file has no rows.
    """
    names: dict[str, str] = {}
    for file in files:
        prefix = f"{_plain(file.stem)}-" if len(files) > 1 or not options.id else ""
        count = 0
        for count, (place, values) in enumerate(read_rows(file), start=1):
            if not isinstance(values, dict):
                raise TaskError(f"{place}: is no object with columns but {values!r:.60}")
            row = _row(place, f"{prefix}{count}", prefix, values, split_of(file), options)
            if row is None:
                continue
            if row.name in names:
                raise TaskError(
                    f"{place}: gives the task {row.name!r}, as {names[row.name]} does; name "
                    "another column in tasks.options.id"
                )
            names[row.name] = place
            yield row
        if not count:
            raise TaskError(f"{file}: has no rows")


def _row(
    place: str,
    number: str,
    prefix: str,
    values: Mapping[str, Any],
    split: Split | None,
    options: RowOptions,
) -> Row | None:
    prompt, choices = _prompt(place, values, options), _choices(place, values, options)
    expected = _expected(place, values, options)
    if not prompt.strip() or expected in (None, "", []):
        if options.exclude_empty:
            return None
        what = "prompt" if not prompt.strip() else "answer"
        raise TaskError(f"{place}: has no {what}; set tasks.options.exclude_empty to leave it out")
    if choices:
        lines = "\n".join(f"{label}. {text}" for label, text in choices.items())
        prompt = f"{prompt.rstrip()}\n\n{lines}"
    named = _cell(place, values, options.id) if options.id else values.get("id")
    own = _plain(str(named)) if isinstance(named, str | int) and str(named).strip() else ""
    said = values.get(options.split or "split")
    if options.split or (split is None and isinstance(said, str) and said.lower() in SPLIT_NAMES):
        split = _named_split(place, _cell(place, values, options.split or "split"))
    family = str(_cell(place, values, options.family)) if options.family else ""
    name = f"{prefix}{own}" if own else number
    return Row(name, place, prompt, expected, family, split, choices, values)


def _named_split(place: str, said: Any) -> Split:
    if str(said).lower() not in SPLIT_NAMES:
        raise TaskError(f"{place}: {said!r} is no split; it must be train, val or test")
    return SPLIT_NAMES[str(said).lower()]


def prompt_columns(place: str, values: Mapping[str, Any], options: RowOptions) -> list[str]:
    """The columns that are a row's prompt, in their order."""
    if options.prompt:
        return _named(place, values, options.prompt)
    if chat := _chat_column(values):
        return [chat]
    if "instruction" in values and values.get("input"):
        return ["instruction", "input"]  # As in Alpaca's files.
    context = [name for name in CONTEXTS if values.get(name)][:1]
    return [*context, _known(place, values, PROMPTS, "prompt")]


def answer_columns(place: str, values: Mapping[str, Any], options: RowOptions) -> list[str]:
    """The columns that are a row's expected answer; that of a chat if it ends with a reply."""
    if options.answer:
        return _named(place, values, options.answer)
    chat = _chat_column(values)
    if chat and values[chat][-1].get("role") == "assistant" and not set(ANSWERS) & set(values):
        return [chat]
    return [_known(place, values, [name for name in ANSWERS if name != chat], "answer")]


def _prompt(place: str, values: Mapping[str, Any], options: RowOptions) -> str:
    columns = prompt_columns(place, values, options)
    if options.prompt not in ("", *columns):
        return _filled(values, options.prompt)
    if columns == [_chat_column(values)]:
        chat = values[columns[0]]
        asked = chat[:-1] if chat[-1].get("role") == "assistant" else chat
        return "\n\n".join(_text(message["content"]) for message in asked)
    return "\n\n".join(_text(values[column]) for column in columns)


def _expected(place: str, values: Mapping[str, Any], options: RowOptions) -> Any:
    columns = answer_columns(place, values, options)
    expected: Any = values[columns[0]]
    if options.answer not in ("", *columns):
        expected = _filled(values, options.answer)
    elif columns == [_chat_column(values)]:
        expected = expected[-1]["content"]
    if isinstance(expected, dict) and isinstance(expected.get("text"), list):
        expected = expected["text"]  # As in SQuAD's files.
    if not options.answer_pattern:
        return expected
    found = re.search(options.answer_pattern, _text(expected))
    if found is None:
        raise TaskError(f"{place}: tasks.options.answer_pattern finds nothing in the answer")
    return (found[1] if found.groups() else found[0]).strip()


def _choices(place: str, values: Mapping[str, Any], options: RowOptions) -> dict[str, str]:
    """The options of a multiple choice: a list of texts, or lists of labels and texts."""
    found = values.get("choices", values.get("options"))
    if options.scorer != "choice" or options.scorer_options:
        return {}
    if not found:
        raise TaskError(
            f"{place}: has no choices in a column 'choices' or 'options'; name those of all rows "
            "in tasks.options.scorer_options.choices"
        )
    if isinstance(found, dict) and {"label", "text"} <= set(found):  # As in ARC's files.
        return dict(zip(map(str, found["label"]), map(str, found["text"]), strict=True))
    if isinstance(found, dict):
        return {str(label): str(text) for label, text in found.items()}
    if not isinstance(found, list) or len(found) > len(_LETTERS):
        raise TaskError(f"{place}: the choices must be a list of at most {len(_LETTERS)} texts")
    return dict(zip(_LETTERS, map(str, found), strict=False))


def _chat_column(values: Mapping[str, Any]) -> str:
    """The column that has a chat's messages, as model services want and keep them; empty if none
    has."""
    for column in ("messages", "input", "prompt"):
        found = values.get(column)
        if isinstance(found, list) and found and all(map(_is_message, found)):
            return column
    return ""


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "content" in value


def _known(place: str, values: Mapping[str, Any], names: Sequence[str], what: str) -> str:
    """The first of some columns with a value in it, or else that is there."""
    there = [name for name in names if name in values]
    if not there:
        raise TaskError(
            f"{place}: no column is known to be the {what}; name one of {', '.join(values)} in "
            f"tasks.options.{what}"
        )
    return next((name for name in there if values[name] not in (None, "")), there[0])


def is_row(values: Any) -> bool:
    """Whether an object has columns that are known to be prompt and answer."""
    return isinstance(values, dict) and all(
        set(names) & set(values) for names in (PROMPTS, ANSWERS)
    )


def _named(place: str, values: Mapping[str, Any], given: str) -> list[str]:
    """The columns that an option names: one, or those in braces."""
    names = [given] if given in values else _BRACES.findall(given) or [given]
    for name in names:
        _cell(place, values, name)
    return names


def _filled(values: Mapping[str, Any], given: str) -> str:
    """A text in which columns stand in braces."""
    return _BRACES.sub(lambda found: _text(values[found[1]]), given)


def _cell(place: str, values: Mapping[str, Any], column: str) -> Any:
    if column not in values:
        raise TaskError(f"{place}: has no column {column!r}; it has {', '.join(values)}")
    return values[column]


def _text(value: Any) -> str:
    if isinstance(value, list):  # Parts of a message.
        parts = [part.get("text") if isinstance(part, dict) else part for part in value]
        if all(isinstance(part, str) for part in parts):
            return "\n".join(map(str, parts))
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def split_of(file: Path) -> Split | None:
    """The split that a file is named after, such as ``train.jsonl`` and ``test-00000.parquet``."""
    return SPLIT_NAMES.get(file.stem.partition("-")[0].lower())


def _plain(text: str) -> str:
    return slug(text)[:_NAME_CHARS]
