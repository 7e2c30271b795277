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
_EMPTY: dict[Any, Any] = {str: "", list: [], int: 0}


class UnreadableReplyError(ValueError):
    """No object in a reply fits. The message says what is wrong with the longest."""


def read_fitting(text: str, schema: type[T]) -> tuple[T, list[str]]:
    """The first object that fits a schema, and notes on what had to be left out of it.

    Harmless differences are accepted: a field more, an empty one missing (other than those that
    ``schema.needed`` lists, if it has that), null for a text or a list, a whole number as a float.
    Of a list of objects, those that do not fit are left out if others do.

    Args:
        text: the reply, with or without thoughts, prose and fences around the object.
        schema: the shape of the object.

    Raises:
        UnreadableReplyError: there is none.
    """
    _, said = split_thoughts([text])
    longest, problem = 0, "Invalid JSON: there is no whole JSON object in it"
    for value, length in _objects(said if said.strip() else text):
        notes: list[str] = []
        try:
            return _valid(value, schema, notes), notes
        except ValidationError as error:
            if length > longest:
                longest, problem = length, _short(error)
    raise UnreadableReplyError(problem)


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
    found: dict[str, Any] = {}
    for name, field in schema.model_fields.items():
        kind = get_origin(field.annotation) or field.annotation
        if value.get(name) is None and name not in needed and kind in _EMPTY:
            found[name] = _EMPTY[kind]
        elif name in value:
            found[name] = _field(value[name], field.annotation, name, notes)
    return found


def _field(value: Any, annotation: Any, name: str, notes: list[str]) -> Any:
    kind = get_origin(annotation) or annotation
    if value is None and kind in (str, list):
        return _EMPTY[kind]
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is list and isinstance(value, list):
        (inner,) = get_args(annotation) or (NoneType,)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return _fitting(value, inner, name, notes)
        return [_field(item, inner, name, notes) for item in value]
    if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict):
        return _adapted(value, kind, notes)
    return value


def _fitting(items: list[Any], schema: type[BaseModel], name: str, notes: list[str]) -> list[Any]:
    """The items that fit; all of them if none does, so that the error is seen."""
    adapted = [_adapted(item, schema, notes) if isinstance(item, dict) else item for item in items]
    good, problems = [], []
    for number, item in enumerate(adapted):
        try:
            schema.model_validate_json(json.dumps(item))
            good.append(item)
        except ValidationError as error:
            problems.append(f"{name}.{number} was left out: {_short(error)}")
    if good:
        notes += problems
    return good or adapted


def _short(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    lines = [f"{'.'.join(map(str, item['loc'])) or 'reply'}: {item['msg']}" for item in found[:5]]
    return "; ".join(lines)
