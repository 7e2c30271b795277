"""Reading YAML into a checked model: ``base:`` inheritance, errors with file, line and key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from harnesses.json_values import merged
from skillopt.core.errors import SkillOptError

Model = TypeVar("Model", bound=BaseModel)
Where = tuple[Path, int]
Key = tuple[str | int, ...]


_FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Six times as fast where PyYAML was built with libyaml; the same values."""


class ConfigError(SkillOptError):
    """A configuration cannot be used. Each line names file, line, key and what to do."""


def load_config(path: Path, kind: type[Model], overrides: Mapping[str, Any] | None = None) -> Model:
    """Read a YAML file and those it is based on.

    Args:
        path: the file. ``base:`` in it names another, relative to it, whose values it overrides
            key by key; lists are replaced whole.
        kind: the model to fill.
        overrides: dotted keys and values that override the files.

    Raises:
        ConfigError: a file is missing, not YAML, circular, or does not fit the model.
    """
    values, places = _read(path, ())
    for dotted, value in (overrides or {}).items():
        _set(values, dotted.split("."), value)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [_explain(item, values, places, path, kind) for item in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from error


def _read(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], dict[Key, Where]]:
    path = path.resolve()
    if path in above:
        raise ConfigError(f"{path}: base: leads back to itself through {above[-1]}")
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        by = f" (named by base: in {above[-1]})" if above else ""
        raise ConfigError(f"{path}: no such file{by}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    node, values = _parse(text, str(path))
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to values")
    places: dict[Key, Where] = {}
    _mark(node, (), path, places)
    base = values.pop("base", None)
    if base is None:
        return values, places
    below, below_places = _read(path.parent / str(base), (*above, path))
    return merged(below, values), {**below_places, **places}


def parse_yaml(text: str, source: str) -> Any:
    """A YAML value without repeated keys.

    Args:
        text: the value.
        source: its name in the message, before the line.

    Raises:
        ConfigError: it is not YAML, or has a key twice, of which the first would be lost.
    """
    return _parse(text, source)[1]


def _parse(text: str, source: str) -> tuple[Any, Any]:
    """A YAML document as its tree of nodes and as a value."""
    try:
        return _parse_with(_FAST, text, source)
    except ConfigError:
        # The slow one is the reference: what it reads is right, and its messages show the line.
        return _parse_with(yaml.SafeLoader, text, source)


def _parse_with(loader_of: Any, text: str, source: str) -> tuple[Any, Any]:
    try:
        loader = loader_of(text)
        node = loader.get_single_node()
        repeated = list(_repeated(node, "", ()))
        value = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{source}: not YAML: {error}") from error
    if repeated:
        raise ConfigError("\n".join(f"{source}:{problem}" for problem in repeated))
    return node, value


def _repeated(node: Any, name: str, above: tuple[Any, ...]) -> Iterator[str]:
    """Problems with keys that occur twice in a mapping, each with both lines."""
    if node in above:
        raise RecursionError(f"{name} is part of itself")
    above = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _repeated(value, f"{name}.{index}", above)
    elif isinstance(node, yaml.MappingNode):
        first: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            line, whole = key.start_mark.line + 1, f"{name}.{key.value}".lstrip(".")
            same = key.tag, str(key.value)
            if same in first:
                yield f"{line}: {whole}: is already in line {first[same]}; merge the two"
            first.setdefault(same, line)
            yield from _repeated(value, whole, above)


def _mark(node: Any, key: Key, path: Path, places: dict[Key, Where]) -> None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            at = (*key, str(name.value))
            places[at] = (path, name.start_mark.line + 1)
            _mark(value, at, path, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            places[*key, index] = (path, value.start_mark.line + 1)
            _mark(value, (*key, index), path, places)


def _set(values: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        below = values.setdefault(key, {})
        if not isinstance(below, dict):
            raise ConfigError(f"{'.'.join(keys)}: {key} has no keys below it")
        values = below
    values[keys[-1]] = value


def _explain(
    item: Any, values: Any, places: Mapping[Key, Where], path: Path, kind: type[BaseModel]
) -> str:
    key = tuple(_in_file(item["loc"], values))
    at = next((key[:n] for n in range(len(key), 0, -1) if key[:n] in places), ())
    file, line = places.get(at, (path, 1))
    name = ".".join(str(part) for part in key) or "file"
    where = f"{file}:{line}: {name}"
    if item["type"] == "extra_forbidden":
        known = _fields(kind, key[:-1])
        close = difflib.get_close_matches(str(key[-1]), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        if str(key[-1]) in known:
            hint = "it is one of another kind"
        return f"{where}: unknown key; {hint}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "literal_error":
        close = difflib.get_close_matches(str(item["input"]), _words(item["ctx"]["expected"]), 1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        return f"{where}: {item['input']!r} is not one of {item['ctx']['expected']}{hint}"
    if item["type"] == "missing":
        return f"{where}: is missing; add it"
    if item["type"] == "value_error":
        return f"{where}: {message}" if key else f"{file}: {message}"
    return f"{where}: {message}, got {item['input']!r}"


def _in_file(location: Key, values: Any) -> Iterator[str | int]:
    """The parts of pydantic's location that are keys of the values. The others are discriminators
    of unions, which have keys below them that are missing or wrong, and marks for keys."""
    for number, part in enumerate(location, start=1):
        if part == "[key]":
            continue
        if isinstance(values, dict):
            known = {str(key): value for key, value in values.items()}
            if str(part) in known:
                values = known[str(part)]
                yield part
            elif number == len(location):
                yield part  # A key that is missing.
        elif isinstance(values, list) and isinstance(part, int):
            values = values[part]
            yield part


def _words(expected: str) -> list[str]:
    return [word.strip(" '") for part in expected.split(",") for word in part.split(" or ")]


def _fields(kind: type[BaseModel], key: Key) -> list[str]:
    """The keys that are allowed at a place: those of every model that its type allows."""
    models = [kind]
    for part in key:
        fields = [model.model_fields[str(part)] for model in models if part in model.model_fields]
        # A mapping with free names: the keys below it are those of its values' models.
        models = [m for f in fields for m in _models(f.annotation)] or models
    return sorted({name for model in models for name in model.model_fields})


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
