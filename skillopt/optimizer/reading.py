"""Reads the reply to a question with a schema: the first JSON object in it that fits.

Models put thoughts, prose and code fences around what they were asked for, and leave out what is
empty. None of that makes a reply unusable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from harnesses.json_values import loads
from harnesses.protocols.tagged_thoughts import split_thoughts

T = TypeVar("T", bound=BaseModel)

_OBJECT = re.compile(r'\{(?=\s*")')
_WORK = 50_000_000
"""The most characters that are looked at for one reply, as each brace may begin an object."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NUMBERED = re.compile(r"(?:\w+ )?#?(\d{1,6})")
_CUT_CHARS = 200_000
"""Characters at the end of a reply that are looked at for an object that does not end."""
_EMPTY: dict[Any, Any] = {str: "", list: [], int: 0}


class UnreadableReplyError(ValueError):
    """No object in a reply fits. The message says what is wrong with the longest.

    Args:
        problem: the message.
        cut: whether the reply ends in the middle of an object.
    """

    def __init__(self, problem: str, cut: bool = False) -> None:
        super().__init__(problem)
        self.cut = cut


def read_fitting(text: str, schema: type[T]) -> tuple[T, list[str]]:
    """The first object that fits a schema, and notes on what had to be left out of it.

    Harmless differences are accepted: a field more, an empty one missing (other than those that
    ``schema.needed`` lists, if it has that), null for a text or a list, a whole number as a float,
    a bare name for an object that needs no more.
    Of a list of objects, those that do not fit are left out if others do.

    Args:
        text: the reply, with or without thoughts, prose and fences around the object.
        schema: the shape of the object.

    Raises:
        UnreadableReplyError: there is none.
    """
    _, said = split_thoughts([text])
    said = said if said.strip() else text
    longest, problem = 0, "Invalid JSON: there is no whole JSON object in it"
    for value, length in _objects(said):
        notes: list[str] = []
        try:
            return _valid(value, schema, notes), notes
        except ValidationError as error:
            if length > longest:
                longest, problem = length, _short(error)
    if _is_cut(said):
        raise UnreadableReplyError(f"it ends in the middle of an object: {problem}", cut=True)
    raise UnreadableReplyError(problem)


def _is_cut(text: str) -> bool:
    """Whether a text ends within the last object that begins a line, or the text, in it."""
    starts = list(re.finditer(r'^[ \t]*\{\s*(?="|\Z)', text[-_CUT_CHARS:], re.MULTILINE))
    return bool(starts) and _open_at_end(text[-_CUT_CHARS:][starts[0].start() :])


def _open_at_end(text: str) -> bool:
    """Whether brackets or a string are open at the end of a JSON text."""
    bare, count = _STRING.subn("", text)
    opened = sum(bare.count(c) for c in "{[") - sum(bare.count(c) for c in "}]")
    return opened > 0 and (count > 0 or '"' in bare)


def _objects(text: str) -> Iterator[tuple[dict[str, Any], int]]:
    """The JSON objects in a text, also those within others, with their lengths."""
    decoder, left = json.JSONDecoder(strict=False), _WORK
    for match in _OBJECT.finditer(text):
        start = match.start()
        # An object that does not end is looked at until the end of the text.
        left -= len(text) - start
        if left < 0 and start > 0:
            return
        try:
            value, end = decoder.raw_decode(text, start)
            yield loads(json.dumps(value)), end - start
        except (ValueError, RecursionError):
            continue


def _valid(value: Mapping[str, Any], schema: type[T], notes: list[str]) -> T:
    return schema.model_validate_json(json.dumps(_adapted(value, schema, notes)))


def _adapted(value: Mapping[str, Any], schema: type[BaseModel], notes: list[str]) -> dict[str, Any]:
    """The fields of a schema in an object, without harmless differences."""
    needed = getattr(schema, "needed", tuple(schema.model_fields))
    spare = set(getattr(schema, "spare", ())) - set(needed)
    found: dict[str, Any] = {}
    for name, field in schema.model_fields.items():
        kind: Any = get_origin(field.annotation) or field.annotation
        if value.get(name) is None and name not in needed and kind in _EMPTY:
            found[name] = _EMPTY[kind]
        elif name in value:
            own = _field(value[name], field.annotation, name, notes, spare=name in spare)
            found[name] = own if name not in spare or isinstance(own, kind) else _EMPTY[kind]
    return found


def _field(value: Any, annotation: Any, name: str, notes: list[str], *, spare: bool = False) -> Any:
    kind: Any = get_origin(annotation) or annotation
    if value is None and kind in (str, list):
        return _EMPTY[kind]
    if kind is int:
        return _whole_number(value)
    if kind is list and get_args(annotation) == (int,) and not isinstance(value, list):
        value = [value]
    if kind is list and isinstance(value, list):
        (inner,) = get_args(annotation) or (NoneType,)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return _fitting(value, inner, name, notes, spare)
        items = [_field(item, inner, name, notes) for item in value]
        return [item for item in items if isinstance(item, inner)] if spare else items
    if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict):
        return _adapted(value, kind, notes)
    return value


def _whole_number(value: Any) -> Any:
    """A number as models write it: ``2.0``, ``"2"``, ``"trajectory 2"``; else the value itself."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and (match := _NUMBERED.fullmatch(value.strip())):
        return int(match[1])
    return value


def _fitting(
    items: list[Any], schema: type[BaseModel], name: str, notes: list[str], spare: bool
) -> list[Any]:
    """The items that fit; all of them if none does and they are needed, so that the error is
    seen."""
    alone = getattr(schema, "needed", ())
    objects = [
        {alone[0]: item} if isinstance(item, str) and alone == ("name",) else item for item in items
    ]
    adapted = [
        _adapted(item, schema, notes) if isinstance(item, dict) else item for item in objects
    ]
    good, problems = [], []
    for number, item in enumerate(adapted):
        try:
            schema.model_validate_json(json.dumps(item))
            good.append(item)
        except ValidationError as error:
            problems.append(f"{name}.{number} was left out: {_short(error)}")
    if good or spare:
        notes += problems
    return good if spare else good or adapted


def _short(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    lines = [f"{'.'.join(map(str, item['loc'])) or 'reply'}: {item['msg']}" for item in found[:5]]
    return "; ".join(lines)
