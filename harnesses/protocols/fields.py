"""Reads fields of untrusted JSON bodies; errors name the field."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from harnesses.json_values import loads
from harnesses.protocols.base import Content, Image, Message, ProtocolError, Tool, ToolResult

T = TypeVar("T")

ESTIMATED = "estimated"
FREE_TEXT = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}
"""The parameters of a custom tool in a protocol without them: its free text as one argument."""


def object_in(raw: str | bytes, what: str) -> Mapping[str, Any]:
    """The JSON object in a text. Raises ProtocolError with ``what`` it should be."""
    try:
        value = loads(raw)
    except ValueError as error:
        raise ProtocolError(f"{what} is not JSON: {raw[:80]!r}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"{what} is not an object: {raw[:80]!r}")
    return value


def get(body: Mapping[str, Any], key: str, kind: type[T], default: T | None = None) -> T:
    """``body[key]`` of the given type; ``default``, if given, replaces a missing value or null."""
    value = _whole(body.get(key), kind)
    if value is None and default is not None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ProtocolError(f"{key}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def maybe(body: Mapping[str, Any], key: str, kind: type[T]) -> T | None:
    """``body[key]`` if it has the type, else None: for options that need not be understood."""
    value = _whole(body.get(key), kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    odd = not isinstance(value, kind) or (kind is int and isinstance(value, bool))
    return None if odd else value


def count(body: Mapping[str, Any], key: str) -> int:
    """The number at ``key``; 0 if there is none. Odd counts do not make a reply unusable."""
    return max(maybe(body, key, int) or 0, 0)


def uncounted(usage: Mapping[str, Any], *keys: str) -> bool:
    """Whether the usage of a reply lacks one of these counts, or was written without them."""
    counts = [maybe(usage, key, int) for key in keys]
    return any(n is None or n < 0 for n in counts) or usage.get(ESTIMATED) is True


def mark_of(estimated: bool) -> dict[str, bool]:
    """Our own field of a usage that the service did not report, for a client that needs one."""
    return {ESTIMATED: True} if estimated else {}


def objects(body: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The list of objects at ``key``; empty if there is none."""
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


def arguments(text: Any) -> Mapping[str, Any]:
    """The arguments of a tool call: JSON, or an object already. Broken JSON, which models do write,
    is kept under ``_raw``."""
    if isinstance(text, dict):
        return text
    if text is None:
        return {}
    if not isinstance(text, str):
        return {"_raw": json.dumps(text)}
    if not text.strip():
        return {}
    try:
        value = loads(text)
    except ValueError:
        return {"_raw": text}
    return value if isinstance(value, dict) else {"_raw": text}


def argument_text(value: Any) -> str:
    """A part of a call's arguments as text; some servers send an object in its place."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def made_id(value: Any) -> str:
    """The id of a tool call, made if the service gave none."""
    given = isinstance(value, str | int) and not isinstance(value, bool)
    return (str(value) if given else "") or f"call_{secrets.token_hex(8)}"


def strings(value: Any) -> tuple[str, ...]:
    """The strings in a string or a list; anything else is left out."""
    items = value if isinstance(value, list) else [value]
    return tuple(item for item in items if isinstance(item, str))


def content_of(value: Any) -> Content:
    """The texts and images of a content field in order. Notes replace parts of other kinds."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise ProtocolError(f"content: expected string or list, got {type(value).__name__}")
    found = (_part(part) for part in value)
    return tuple(part for part in found if part is not None)


def images_in(content: Content) -> Content:
    """The content if it contains images, else nothing: its text is enough."""
    return content if any(isinstance(part, Image) for part in content) else ()


def text_of(content: Content) -> str:
    """The text of a content, with a note for each image."""
    return "\n".join(part if isinstance(part, str) else "[image]" for part in content)


def without_blanks(messages: Iterable[Message]) -> list[Message]:
    """Messages without texts of blanks alone, which services refuse. Results and messages that
    would be empty get a note, as some services want the two sides to take turns."""
    found = []
    for message in messages:
        results = tuple(map(_noted, message.results))
        text = message.text if message.text.strip() else ""
        message = replace(
            message, text=text, results=results, content=_without_blanks(message.content)
        )
        if not (text or message.content or results or message.calls or message.thoughts):
            if message.role == "system":
                continue
            message = replace(message, text="(nothing)")
        found.append(message)
    return found


def _noted(result: ToolResult) -> ToolResult:
    text = result.text if result.text.strip() else "(no output)"
    return replace(result, text=text, content=_without_blanks(result.content))


def _without_blanks(content: Content) -> Content:
    return tuple(part for part in content if isinstance(part, Image) or part.strip())


def plain(content: Any) -> str:
    """The text of a content field, a string or a list of parts, with a note for each image."""
    return text_of(content_of(content))


def _whole(value: Any, kind: type[Any]) -> Any:
    """A whole number, also if it was written as 5.0."""
    whole = kind is int and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _part(part: Any) -> str | Image | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return None
    for key in ("text", "refusal"):
        if isinstance(part.get(key), str):
            return str(part[key])
    kind = str(part.get("type"))
    if "image" in kind:
        url = _image_url(part)
        return Image(url) if url else "[image]"
    return f"[{kind}]" if kind in ("document", "input_file", "file", "input_audio") else None


def _image_url(part: Mapping[str, Any]) -> str:
    """The URL of an image part of any protocol; empty if it names a file of the service."""
    source = part.get("source")
    if isinstance(source, dict):
        if source.get("type") == "base64":
            return f"data:{source.get('media_type')};base64,{source.get('data')}"
        return str(source.get("url") or "")
    url = part.get("image_url")
    if isinstance(url, dict):
        url = url.get("url")
    return url if isinstance(url, str) else ""
