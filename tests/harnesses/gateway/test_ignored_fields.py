"""What a reply shows a service to have ignored, and what it does not show."""

from __future__ import annotations

import pytest

from harnesses.gateway.ignored_fields import SCHEMAS, ignored_fields
from harnesses.protocols.base import (
    Conversation,
    GenerationOptions,
    Message,
    ProtocolName,
    Reply,
    Tool,
    ToolCall,
)
from harnesses.protocols.registry import CODECS

SCHEMA = {"type": "object", "title": "T", "properties": {}, "required": ["a"]}
CALL = ToolCall("c", "run", {})
ASKED = Conversation("m", (Message("user", "q"),), schema_name="T", schema=SCHEMA)


@pytest.mark.parametrize("protocol", list(CODECS))
@pytest.mark.parametrize(
    ("reply", "noticed"),
    [
        (Reply('{"a": 1}'), False),
        (Reply('{"b": 1}'), True),
        (Reply("Of course."), True),
        (Reply("[1]"), True),
        (Reply('```json\n{"a": 1}\n```'), True),
        (Reply('{"a":', stop="length"), False),
        (Reply("I cannot.", stop="refusal"), False),
        (Reply("", (CALL,), stop="tool_calls"), False),
    ],
)
def test_schemas(protocol: ProtocolName, reply: Reply, noticed: bool) -> None:
    body = CODECS[protocol].write_request(ASKED)
    assert ignored_fields(protocol, body, reply) == ((SCHEMAS[protocol],) if noticed else ())
    free = CODECS[protocol].write_request(Conversation("m", ASKED.messages))
    assert ignored_fields(protocol, free, reply) == ()


@pytest.mark.parametrize("protocol", list(CODECS))
@pytest.mark.parametrize(
    ("options", "called", "noticed"),
    [
        (GenerationOptions(tool="run"), ("run",), False),
        (GenerationOptions(tool="run"), ("see",), True),
        (GenerationOptions(tool="run"), (), True),
        (GenerationOptions(tool_choice="required"), ("see",), False),
        (GenerationOptions(tool_choice="required"), (), True),
        (GenerationOptions(tool_choice="auto"), (), False),
    ],
)
def test_forced_tools(
    protocol: ProtocolName, options: GenerationOptions, called: tuple[str, ...], noticed: bool
) -> None:
    tools = (Tool("run", "d", {}), Tool("see", "d", {}))
    body = CODECS[protocol].write_request(Conversation("m", ASKED.messages, tools, options=options))
    calls = tuple(ToolCall("c", name, {}) for name in called)
    assert ignored_fields(protocol, body, Reply("x", calls)) == (
        ("tool_choice",) if noticed else ()
    )


@pytest.mark.parametrize(
    ("schema", "text", "noticed"),
    [
        ({"type": "array"}, "[1]", False), ({"type": "array"}, "{}", False),
        ({"type": "object"}, "{}", False), ({"type": "object"}, "[]", True),
        ({"type": "object", "required": "a"}, "{}", False),
        ({"type": "object", "required": ["a", "b"]}, '{"a": 1}', True),
        ({"type": "object", "required": ["a", "b"]}, '{"a": 1, "b": null}', False),
    ],
)  # fmt: skip
def test_what_a_schema_wants_at_least(schema: dict[str, object], text: str, noticed: bool) -> None:
    shown = Conversation("m", (Message("user", "q"),), schema_name="T", schema=schema)
    body = CODECS["chat"].write_request(shown)
    assert bool(ignored_fields("chat", body, Reply(text))) is noticed


def test_a_request_that_cannot_be_read_shows_nothing() -> None:
    assert ignored_fields("chat", {"model": 7}, Reply("x")) == ()
    forced = {"model": "m", "messages": [], "tool_choice": "required"}
    assert ignored_fields("chat", forced, Reply("x", stop="length")) == ()
