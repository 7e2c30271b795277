"""Whether a JSON value fits one of the SDKs' request types, with no field that the type lacks.

pydantic reads their ``Iterable`` fields lazily and lets unknown keys pass, so it cannot tell.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from typing_extensions import is_typeddict


def problems(value: Any, hint: Any, where: str = "") -> list[str]:
    """What is wrong with it, with the path to it; empty when it fits."""
    if is_typeddict(hint):
        return _of_object(value, hint, where)
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Required, NotRequired, Annotated):
        return problems(value, inner[0], where)
    if kind in (Union, types.UnionType):
        found = [problems(value, one, where) for one in inner]
        # The alternative that was meant is the one that goes deepest.
        return [] if [] in found else max(found, key=lambda f: max(len(p) for p in f))
    if kind is Literal:
        return [] if value in inner else [f"{where}: {value!r} is not one of {inner}"]
    if kind in (list, Iterable, Sequence):
        return _of_list(value, inner[0], where)
    if kind in (dict, Mapping):
        return [] if isinstance(value, dict) else [f"{where}: not an object"]
    if hint is float:
        return [] if isinstance(value, int | float) else [f"{where}: not a number"]
    if hint in (Any, object):
        return []
    if hint is None or hint is type(None):
        return [] if value is None else [f"{where}: not null"]
    if isinstance(hint, type):
        fits = isinstance(value, hint) and not (hint is int and isinstance(value, bool))
        return [] if fits else [f"{where}: {value!r:.60} is not {hint.__name__}"]
    return [f"{where}: {hint!r} is nothing that JSON has"]


def _of_list(value: Any, hint: Any, where: str) -> list[str]:
    if not isinstance(value, list):
        return [f"{where}: not a list"]
    return [p for n, item in enumerate(value) for p in problems(item, hint, f"{where}[{n}]")]


def _of_object(value: Any, hint: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: not an object"]
    hints = get_type_hints(hint, include_extras=True)
    found = [f"{where}.{key}: {hint.__name__} has no such field" for key in value.keys() - hints]
    found += [f"{where}.{key}: missing" for key in hint.__required_keys__ - value.keys()]
    for key in value.keys() & hints.keys():
        found += problems(value[key], hints[key], f"{where}.{key}")
    return found
