"""People's verdicts on expectations: a file of one a line, in JSON or CSV.

Each has ``verdict`` (``met`` or ``unmet``), ``expectation`` (its words, or its number from 1), and
``rollout`` (a key, or the beginning of one), or ``task`` if only one of its rollouts is stored.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harnesses.json_values import loads
from skillopt.core.errors import SkillOptError

_KEYS = ("rollout", "task", "expectation", "verdict")
_VERDICTS = {
    **dict.fromkeys(("met", "true", "yes", "pass", "passed", "1"), True),
    **dict.fromkeys(("unmet", "false", "no", "fail", "failed", "0"), False),
}
_CHARS = 1_000_000
"""Longest line that is read."""


class LabelsError(SkillOptError):
    """A file of labels cannot be used. The message names it, the line and what to do."""


@dataclass(frozen=True)
class Label:
    """A person's verdict.

    Args:
        where: file and line, for messages.
        rollout: beginning of a rollout's key; empty if the task names it.
        task: the task's name; empty if the rollout is named.
        expectation: its words, or its number as text.
        met: the verdict.
    """

    where: str
    rollout: str
    task: str
    expectation: str
    met: bool


def read_labels(file: Path) -> list[Label]:
    """The labels in a file that ends in ``.csv``, ``.jsonl`` or ``.json``.

    Raises:
        LabelsError: it cannot be read, is empty, or a line is not as it should be.
    """
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelsError(f"{file}: cannot be read: {error}") from error
    rows = _csv(file, text) if file.suffix.lower() == ".csv" else _jsonl(file, text)
    labels = [_label(f"{file}:{line}", values) for line, values in rows]
    if not labels:
        raise LabelsError(f"{file}: has no labels (docs/your-tasks-judged.md)")
    return labels


def _csv(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        for values in reader:
            if None in values or None in values.values():
                raise LabelsError(
                    f"{file}:{reader.line_num}: has not as many fields as the first line; quote "
                    "fields with commas in them"
                )
            yield reader.line_num, values
    except csv.Error as error:
        raise LabelsError(f"{file}:{reader.line_num}: not CSV: {error}") from error


def _jsonl(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = loads(line[:_CHARS])
        except ValueError as error:
            raise LabelsError(f"{file}:{number}: not JSON: {error}") from error
        if not isinstance(values, dict):
            raise LabelsError(f"{file}:{number}: must be an object with {', '.join(_KEYS)}")
        yield number, values


def _label(where: str, values: dict[str, Any]) -> Label:
    if unknown := sorted(set(values) - set(_KEYS)):
        raise LabelsError(f"{where}: unknown {', '.join(unknown)}; known: {', '.join(_KEYS)}")
    texts = {key: _as_text(where, key, values.get(key)) for key in _KEYS}
    for key in ("expectation", "verdict"):
        if not texts[key]:
            raise LabelsError(f"{where}: {key}: is missing; add it")
    if not texts["rollout"] and not texts["task"]:
        raise LabelsError(f"{where}: names neither a rollout nor a task; add one")
    if texts["rollout"] and not re.fullmatch("[0-9a-f]{4,64}", texts["rollout"]):
        raise LabelsError(
            f"{where}: rollout: {texts['rollout']!r} is not the beginning of a key: 4 to 64 of 0-9 "
            "and a-f ('skillopt store list' shows them)"
        )
    met = _VERDICTS.get(texts["verdict"].lower())
    if met is None:
        raise LabelsError(f"{where}: verdict: {texts['verdict']!r} is neither met nor unmet")
    return Label(where, texts["rollout"], texts["task"], texts["expectation"], met)


def _as_text(where: str, key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int):
        return json.dumps(value)
    if not isinstance(value, str):
        raise LabelsError(f"{where}: {key}: must be text, not {type(value).__name__}")
    return value.strip()
