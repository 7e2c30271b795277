"""Fields of a request that a service silently ignored, as its reply shows.

Some servers accept options that they do not know. Only the reply reveals that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harnesses.json_values import loads
from harnesses.protocols.base import ProtocolError, ProtocolName, Reply
from harnesses.protocols.registry import CODECS

SCHEMAS: dict[ProtocolName, str] = {
    "responses": "text.format",
    "chat": "response_format",
    "messages": "output_config.format",
}
"""The field of each protocol that asks for a JSON schema."""


def ignored_fields(
    protocol: ProtocolName, body: Mapping[str, Any], reply: Reply
) -> tuple[str, ...]:
    """The fields of a request that a reply shows to have been ignored.

    Args:
        protocol: of the request.
        body: of the request, as the service got it.
        reply: a complete one; one that was cut off or refused shows nothing.
    """
    try:
        shown = CODECS[protocol].read_request(body)
    except ProtocolError:
        return ()
    found = []
    options = shown.options
    if reply.stop == "length" or reply.stop == "refusal":
        return ()
    if shown.schema is not None and not reply.calls and not _fits(reply.text, shown.schema):
        found.append(SCHEMAS[protocol])
    called = {call.name for call in reply.calls}
    missed = options.tool and options.tool not in called
    if missed or (options.tool_choice == "required" and not called):
        found.append("tool_choice")
    return tuple(found)


def _fits(text: str, schema: Mapping[str, Any]) -> bool:
    """Whether a reply is JSON of the schema's type with the fields that it requires. If it is not,
    it was generated without the schema; the rest is checked by whoever asked."""
    try:
        value = loads(text)
    except ValueError:
        return False
    if schema.get("type") != "object":
        return True
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return isinstance(value, dict) and all(name in value for name in names)
