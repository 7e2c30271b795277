"""Reading fields of untrusted JSON bodies; a wrong type names the field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from harnesses.protocols.base import ProtocolError, Tool

T = TypeVar("T")


def loads(raw: str | bytes) -> Any:
    """JSON as a value that can be written as UTF-8: a lone surrogate, which JSON can escape and
    UTF-8 cannot express, becomes a question mark. Raises ValueError for what is not JSON, or is
    nested too deeply to be read."""
    try:
        value = json.loads(raw)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    text = raw if isinstance(raw, bytes) else raw.encode("utf-8", "replace")
    if b"\\ud" in text or b"\\uD" in text:
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return value


def get(body: Mapping[str, Any], key: str, kind: type[T], default: T | None = None) -> T:
    """``body[key]`` of the given type; absent or null gives ``default`` where there is one."""
    value = body.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ProtocolError(f"{key}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def objects(body: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The list of objects at ``key``; absent gives an empty list."""
    items: list[Any] = get(body, key, list, [])
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise ProtocolError(f"{key}[{index}]: expected object, got {type(item).__name__}")
    return items


def tool(item: Mapping[str, Any], schema: str = "parameters") -> Tool:
    """A tool's definition; ``schema`` is the key of its parameters' JSON schema."""
    return Tool(
        get(item, "name", str), get(item, "description", str, ""), get(item, schema, dict, {})
    )


def arguments(text: str) -> Mapping[str, Any]:
    """Tool-call arguments. Models do write broken JSON: it is kept whole under ``_raw``."""
    if not text.strip():
        return {}
    try:
        value = loads(text)
    except ValueError:
        return {"_raw": text}
    return value if isinstance(value, dict) else {"_raw": text}


def plain(content: Any) -> str:
    """The text of a content field: a string, or a list of parts; images leave a note."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ProtocolError(f"content: expected string or list, got {type(content).__name__}")
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and isinstance(part.get("refusal"), str):
            texts.append(part["refusal"])
        elif isinstance(part, dict) and "image" in str(part.get("type")):
            texts.append("[image]")
    return "\n".join(texts)
