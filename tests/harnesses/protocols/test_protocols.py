"""The codecs against each other: what one side writes, the other reads back the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.base import Usage
from harnesses.protocols.base import Codec, ProtocolError, Reply, ToolCall
from harnesses.protocols.registry import CODECS
from harnesses.protocols.sse import read_events
from harnesses.protocols.tagged_thoughts import split_thoughts
from tests.helpers.strategies import names, texts

arguments = st.dictionaries(names, texts | st.integers() | st.lists(texts, max_size=3), max_size=3)


@st.composite
def replies(draw: Any) -> Reply:
    calls = draw(st.lists(st.tuples(names, arguments), max_size=3))
    prompt = draw(st.integers(0, 10**6))
    return Reply(
        # One that begins with the tag of a thought is read as a thought.
        text=draw(texts.filter(lambda text: split_thoughts([text])[1] == text)),
        calls=tuple(ToolCall(f"call_{i}", n, a) for i, (n, a) in enumerate(calls)),
        usage=Usage(1, prompt, draw(st.integers(0, prompt)), draw(st.integers(0, 10**6))),
        stop="tool_calls" if calls else "end",
        model="sim-1",
    )


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
@given(reply=replies())
def test_response_and_stream_carry_the_same_reply(codec: Codec, reply: Reply) -> None:
    body = json.loads(json.dumps(codec.write_response(reply, "sim-1", "id1")))
    assert codec.read_response(body) == reply
    raw = b"".join(codec.write_stream(reply, "sim-1", "id1"))
    assert codec.read_stream(read_events(raw)) == reply


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
def test_a_stream_cut_anywhere_is_an_error_and_never_a_reply(codec: Codec) -> None:
    reply = Reply("text", (ToolCall("c1", "run", {"cmd": "ls"}),), stop="tool_calls", model="m")
    events = list(codec.write_stream(reply, "m", "id1"))
    # Chat Completions is complete with its finish_reason; usage and [DONE] may follow.
    enough = len(events) - 2 if codec.name == "chat" else len(events)
    for n in range(enough):
        with pytest.raises(ProtocolError):
            codec.read_stream(read_events(b"".join(events[:n])))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
@given(body=st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["model", "messages", "input", "role", "content", "tools", "type", "name",
                         "tool_calls", "function", "output", "call_id", "system"]) | names,
        inner, max_size=5),
    max_leaves=20,
))  # fmt: skip
def test_no_request_body_raises_anything_but_a_protocol_error(codec: Codec, body: Any) -> None:
    if isinstance(body, dict):
        try:
            assert codec.read_request(body).model == body["model"]
        except ProtocolError as error:
            assert str(error)


def events_of(*items: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return iter(items)


def test_messages_request_of_claude_code_is_read() -> None:
    shown = CODECS["messages"].read_request({
        "model": "m",
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "do it"}]},
            {"role": "system", "content": "skills: none"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": True,
                 "content": [{"type": "text", "text": "no"}]},
                {"type": "text", "text": "go on"},
            ]},
        ],
        "tools": [{"name": "Bash", "input_schema": {}}, {"type": "web_search_20250305",
                                                        "name": "web_search"}],
    })  # fmt: skip
    assert [m.role for m in shown.messages] == ["system", "user", "system", "assistant", "user"]
    assert shown.messages[3].calls == (ToolCall("t1", "Bash", {"command": "ls"}),)
    assert shown.messages[3].reasoning == "hm"
    assert shown.messages[4].text == "go on"
    assert shown.messages[4].results[0].text == "no" and shown.messages[4].results[0].is_error
    assert [tool.name for tool in shown.tools] == ["Bash"]


def test_responses_request_of_codex_is_read() -> None:
    shown = CODECS["responses"].read_request({
        "model": "m",
        "input": [
            {"type": "message", "role": "developer", "content": [
                {"type": "input_text", "text": "you are"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "do"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "think"}]},
            {"type": "function_call", "call_id": "c1", "name": "exec_command",
             "arguments": "{\"cmd\": \"ls\"}"},
            {"type": "function_call_output", "call_id": "c1", "output": "a.txt"},
            {"type": "function_call", "call_id": "c2", "name": "exec_command",
             "arguments": "not json"},
        ],
        "tools": [{"type": "function", "name": "exec_command", "parameters": {}},
                  {"type": "web_search"}],
        "text": {"format": {"type": "json_schema", "name": "Patch", "schema": {}}},
    })  # fmt: skip
    assert shown.messages[0].role == "system"
    assert shown.messages[3].calls[0].arguments == {"cmd": "ls"}
    assert shown.messages[4].results[0].text == "a.txt"
    assert shown.messages[5].calls[0].arguments == {"_raw": "not json"}
    assert shown.schema_name == "Patch"


def test_what_utf_8_cannot_express_does_not_get_in() -> None:
    call = ToolCall("c1", "run", {"cmd": "echo \ud800 \N{GRINNING FACE}"})
    codec = CODECS["chat"]
    raw = b"".join(codec.write_stream(Reply("\ud800", (call,)), "m", "1"))
    reply = codec.read_stream(read_events(raw))
    assert reply.text == "?"
    assert reply.calls[0].arguments == {"cmd": "echo ? \N{GRINNING FACE}"}


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
def test_an_error_event_names_what_the_service_said(codec: Codec) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    with pytest.raises(ProtocolError, match="busy"):
        codec.read_stream(events_of(error))
