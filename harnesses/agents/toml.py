"""Writes TOML, which the standard library only reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_toml(values: Mapping[str, Any]) -> str:
    """A document of strings, numbers, booleans, lists and mappings.

    Raises:
        ValueError: TOML cannot express a value.
    """
    return "\n".join(f"{_text(key)} = {_value(value)}" for key, value in values.items()) + "\n"


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(_value(item) for item in value)}]"
        case Mapping():
            inside = ", ".join(f"{_text(key)} = {_value(item)}" for key, item in value.items())
            return f"{{{inside}}}"
    raise ValueError(f"TOML has no {type(value).__name__}")


def _text(text: str) -> str:
    """A TOML basic string: a JSON string, except for one control character that JSON leaves."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
