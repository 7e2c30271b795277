"""An answer that is none is a failure, in all three protocols, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harnesses.protocols.base import Codec, ProtocolError, Reply, ServiceFailure, ToolCall
from harnesses.protocols.registry import CODECS
from tests.helpers.services import read_answer

BUSY = {"type": "overloaded_error", "code": "busy", "message": "no room today"}
TEXT = [{"type": "text", "text": "hello"}]
SAID = [{"type": "message", "role": "assistant",
         "content": [{"type": "output_text", "text": "hello"}]}]  # fmt: skip
CUT = [{"type": "function_call", "call_id": "c", "name": "run", "arguments": '{"a": '}]


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, **fields}]}


def message(content: Any = "hello", **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **more}}


FAILURES: list[tuple[str, str, Any]] = [
    *((name, "an error at the top", {"error": BUSY}) for name in CODECS),
    *((name, "an error in words", {"error": "no room today"}) for name in CODECS),
    *((name, "an error of type error", {"type": "error", "error": BUSY}) for name in CODECS),
    *((name, "an error object", {"object": "error", **BUSY}) for name in CODECS),
    *((name, "a proxy's detail", {"detail": "no room today"}) for name in CODECS),
    *((name, "a gateway's code", {"code": 500, "msg": "no room today"}) for name in CODECS),
    *((name, "nothing", {}) for name in CODECS),
    ("chat", "choices null", {"choices": None}),
    ("chat", "choices empty", {"choices": []}),
    ("chat", "choices of another shape", {"choices": {"0": {}}}),
    ("chat", "an error beside choices", {**choice(**message()), "error": BUSY}),
    ("chat", "an error in the choice", choice(**message(""), finish_reason="error", error=BUSY)),
    ("chat", "an error in the message", choice(**message("", error=BUSY), finish_reason="stop")),
    ("chat", "finish error alone", choice(**message(), finish_reason="error")),
    ("chat", "finish abort", choice(**message(), finish_reason="abort")),
    ("chat", "no resources", choice(**message(), finish_reason="insufficient_system_resource")),
    ("chat", "network", choice(**message(), finish_reason="network_error")),
    ("chat", "no content", choice(**message(None), finish_reason="stop")),
    ("chat", "content missing", choice(message={"role": "assistant"}, finish_reason="stop")),
    ("chat", "no message", choice(finish_reason="stop")),
    ("chat", "an unknown word and nothing", choice(**message(""), finish_reason="load")),
    ("chat", "an unknown word and blanks", choice(**message(" \n"), finish_reason="load")),
    ("chat", "an unknown word and half a call", choice(
        **message(None, tool_calls=[{"id": "a", "function": {"name": "run", "arguments": "{"}}]),
        finish_reason="eos")),
    ("chat", "calls that were lost", choice(**message(""), finish_reason="tool_calls")),
    ("chat", "a call without a name", choice(
        **message(None, tool_calls=[{"id": "a", "function": {"arguments": "{}"}}]),
        finish_reason="tool_calls")),
    ("messages", "content null", {"type": "message", "content": None, "stop_reason": "end_turn"}),
    ("messages", "no content", {"type": "message", "content": [], "stop_reason": "end_turn"}),
    ("messages", "an unknown word, nothing", {"content": [], "stop_reason": "load"}),
    ("messages", "a failed word", {"content": TEXT, "stop_reason": "error"}),
    ("messages", "no word, nothing", {"content": [{"type": "text", "text": ""}]}),
    ("messages", "a call without a name",
     {"content": [{"type": "tool_use", "id": "a", "input": {}}], "stop_reason": "tool_use"}),
    ("responses", "an error beside output", {"output": SAID, "status": "completed", "error": BUSY}),
    *(("responses", f"status {status}", {"output": SAID, "status": status})
      for status in ("failed", "cancelled", "queued", "in_progress")),
    ("responses", "incomplete without a reason", {"output": SAID, "status": "incomplete"}),
    ("responses", "incomplete, details null",
     {"output": SAID, "status": "incomplete", "incomplete_details": None}),
    ("responses", "an unknown status, nothing", {"output": [], "status": "paused"}),
    ("responses", "an unknown status, half a call", {"output": CUT, "status": "paused"}),
    ("responses", "no output", {"output": [], "status": "completed"}),
    ("responses", "output missing", {"status": "completed"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "what", "body"), FAILURES, ids=[f"{n}: {w}" for n, w, _ in FAILURES]
)
def test_a_body_that_is_no_reply_is_refused(name: Any, what: str, body: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        CODECS[name].read_response(body)
    words = json.dumps(body)
    if "no room today" in words:
        assert isinstance(caught.value, ServiceFailure) and "no room today" in str(caught.value)
    if '"code": "busy"' in words:
        assert (caught.value.code, caught.value.type)[:1] == ("busy",)  # type: ignore[attr-defined]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
@pytest.mark.parametrize("body", [None, [], "busy", 5, [{"error": BUSY}]])
def test_a_body_that_is_no_object_is_refused(codec: Codec, body: Any) -> None:
    with pytest.raises(ProtocolError):
        codec.read_response(body)


def chunk(**fields: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, **fields}]}


def ended(**response: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"output": [], **response}}


HELLO = {
    "chat": [chunk(delta={"content": "hello"})],
    "messages": [
        {"type": "message_start", "message": {"model": "m"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {
            "type": "text_delta", "text": "hello"}},
    ],
    "responses": [
        {"type": "response.created", "response": {"status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message"}},
        {"type": "response.output_text.delta", "output_index": 0, "delta": "hello"},
    ],
}  # fmt: skip
AT_ONCE: list[tuple[str, str, dict[str, Any]]] = [
    *((name, "an error", {"error": BUSY}) for name in CODECS),
    *((name, "an event of type error", {"type": "error", "error": BUSY}) for name in CODECS),
    *((name, "an error event without an error", {"type": "error", **BUSY}) for name in CODECS),
    *((name, "another shape", {"detail": "no room today"}) for name in CODECS),
    ("chat", "an error in the choice", chunk(delta={"content": ""}, error=BUSY)),
    ("chat", "finish error", chunk(delta={}, finish_reason="error")),
    ("chat", "finish abort", chunk(delta={}, finish_reason="abort")),
    ("messages", "a failed word", {"type": "message_delta", "delta": {"stop_reason": "error"}}),
    ("messages", "an error in the message", {"type": "message_start", "message": {"error": BUSY}}),
    ("responses", "failed", {"type": "response.failed", "response": {"error": BUSY}}),
    ("responses", "failed without a reason", {"type": "response.failed", "response": {}}),
    ("responses", "cancelled", {"type": "response.cancelled", "response": {}}),
    ("responses", "incomplete without a reason", {"type": "response.incomplete", "response": {}}),
    ("responses", "an error in progress", {"type": "response.in_progress",
                                           "response": {"error": BUSY}}),
    *(("responses", f"status {status}", ended(status=status))
      for status in ("failed", "cancelled", "queued", "in_progress")),
]  # fmt: skip


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(("name", "what", "bad"), AT_ONCE, ids=[f"{n}: {w}" for n, w, _ in AT_ONCE])
def test_a_stream_fails_at_the_event_that_says_so(
    name: Any, what: str, bad: dict[str, Any], begun: bool
) -> None:
    reader = CODECS[name].reader()
    for item in HELLO[name] if begun else []:
        list(reader.read(item))
    with pytest.raises(ServiceFailure) as caught:
        list(reader.read(bad))
    if "no room today" in json.dumps(bad):
        assert "no room today" in str(caught.value)


AT_THE_END: list[tuple[str, str, list[dict[str, Any]]]] = [
    *((name, "nothing at all", []) for name in CODECS),
    *((name, "half of it", HELLO[name]) for name in CODECS),
    ("chat", "nothing said", [chunk(delta={"role": "assistant"}), chunk(finish_reason="stop")]),
    ("chat", "an unknown word and nothing", [chunk(delta={"content": ""}, finish_reason="load")]),
    ("chat", "an unknown word and half a call", [chunk(finish_reason="eos", delta={"tool_calls": [
        {"index": 0, "id": "a", "function": {"name": "run", "arguments": '{"a": '}}]})]),
    ("chat", "calls that were lost", [chunk(delta={"content": ""}, finish_reason="tool_calls")]),
    ("chat", "words beside no choices", [{"choices": None, "base_resp": {
        "status_code": 1008, "status_msg": "no room today"}}]),
    ("chat", "no choices", [{"id": "c", "choices": []}, {"choices": None, "usage": {}}]),
    ("messages", "nothing said", [{"type": "message_start", "message": {}},
                                  {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
                                  {"type": "message_stop"}]),
    ("messages", "an unknown word and nothing", [
        {"type": "message_delta", "delta": {"stop_reason": "load"}}, {"type": "message_stop"}]),
    ("responses", "nothing said", [ended(status="completed")]),
    ("responses", "an unknown status and nothing", [ended(status="paused")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "what", "events"), AT_THE_END,
                         ids=[f"{n}: {w}" for n, w, _ in AT_THE_END])  # fmt: skip
def test_a_stream_without_a_reply_fails_at_its_end(name: Any, what: str, events: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        CODECS[name].read_stream(iter(events))
    assert "words" not in what or "no room today" in str(caught.value)


GOOD: list[tuple[str, str, Any, Reply]] = [
    ("chat", "an unknown word", choice(**message(), finish_reason="eos"),
     Reply("hello", odd_stop="eos")),
    ("chat", "no word", choice(**message()), Reply("hello", odd_stop="none")),
    ("chat", "an empty text", choice(**message(""), finish_reason="stop"), Reply()),
    ("chat", "Gemini's words", choice(**message(), finish_reason="MAX_TOKENS"),
     Reply("hello", stop="length")),
    ("chat", "nothing but a filter", choice(**message(None), finish_reason="content_filter"),
     Reply(stop="refusal")),
    ("chat", "nothing within the limit", choice(**message(None), finish_reason="length"),
     Reply(stop="length")),
    ("chat", "error null", {**choice(**message(), finish_reason="stop"), "error": None},
     Reply("hello")),
    ("chat", "a text where calls were announced", choice(**message(), finish_reason="tool_calls"),
     Reply("hello", odd_stop="tool_calls")),
    ("chat", "arguments as an object, no id", choice(**message(None, tool_calls=[
        {"id": None, "function": {"name": "run", "arguments": {"a": 1}}}])),
     Reply(calls=(ToolCall("", "run", {"a": 1}),), stop="tool_calls", odd_stop="none")),
    ("chat", "a legacy call", choice(**message(None, function_call={
        "name": "run", "arguments": '{"a": 1}'}), finish_reason="function_call"),
     Reply(calls=(ToolCall("", "run", {"a": 1}),), stop="tool_calls")),
    ("messages", "a pause", {"content": TEXT, "stop_reason": "pause_turn"},
     Reply("hello", odd_stop="pause_turn")),
    ("messages", "text null", {"content": [{"type": "text", "text": None}, *TEXT],
                               "stop_reason": "end_turn"}, Reply("hello")),
    ("messages", "a call without an id, its input a text", {"content": [
        {"type": "tool_use", "name": "run", "input": '{"a": 1}'}], "stop_reason": "tool_use"},
     Reply(calls=(ToolCall("", "run", {"a": 1}),), stop="tool_calls")),
    ("responses", "no status", {"output": SAID}, Reply("hello")),
    ("responses", "an unknown status", {"output": SAID, "status": "paused"},
     Reply("hello", odd_stop="paused")),
    ("responses", "an unknown reason", {"output": SAID, "status": "incomplete",
                                        "incomplete_details": {"reason": "quota"}},
     Reply("hello", stop="length", odd_stop="quota")),
    ("responses", "an object as arguments, no id", {"status": "completed", "output": [
        {"type": "function_call", "name": "run", "arguments": {"a": 1}}]},
     Reply(calls=(ToolCall("", "run", {"a": 1}),), stop="tool_calls")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "what", "body", "right"), GOOD,
                         ids=[f"{n}: {w}" for n, w, _, _ in GOOD])  # fmt: skip
def test_what_is_merely_unusual_is_a_reply(name: Any, what: str, body: Any, right: Reply) -> None:
    reply = CODECS[name].read_response(body)
    assert (reply.text, reply.stop, reply.odd_stop) == (right.text, right.stop, right.odd_stop)
    assert [(c.name, c.arguments) for c in reply.calls] == [
        (c.name, c.arguments) for c in right.calls
    ]
    assert all(call.id for call in reply.calls)


@pytest.mark.parametrize(
    ("usage", "right"),
    [
        ({"prompt_tokens": 5.0, "completion_tokens": 6.0}, (5, 6, False)),
        ({"prompt_tokens": 5, "completion_tokens": 0}, (5, 0, False)),
        ({"prompt_tokens": 5}, (5, 0, True)),
        ({"prompt_tokens": 5, "completion_tokens": None}, (5, 0, True)),
        ({"prompt_tokens": "?", "completion_tokens": 6}, (0, 6, True)),
        ({"prompt_tokens": -1, "completion_tokens": 6}, (0, 6, True)),
        ({"prompt_tokens": 5.5, "completion_tokens": 6}, (0, 6, True)),
        ({}, (0, 0, True)),
        (None, (0, 0, True)),
        ("none", (0, 0, True)),
    ],
)
def test_counts_that_were_not_given_are_marked_whatever_protocol_they_pass_through(
    usage: Any, right: tuple[int, int, bool]
) -> None:
    body = {**choice(**message(), finish_reason="stop"), "usage": usage}
    found = CODECS["chat"].read_response(body).usage
    assert (found.prompt_tokens, found.completion_tokens, found.estimated) == right
    for codec in CODECS.values():
        again = codec.read_response(codec.write_response(Reply("hello", usage=found), "m", "1"))
        assert again.usage == found
        streamed = b"".join(codec.write_stream(Reply("hello", usage=found), "m", "1"))
        assert read_answer(codec.name, "text/event-stream", streamed).usage == found
    renamed = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
    if isinstance(usage, dict):
        usage = {new: usage[old] for new, old in renamed.items() if old in usage}
    for name, body in (("messages", {"content": TEXT, "stop_reason": "end_turn"}),
                       ("responses", {"output": SAID, "status": "completed"})):  # fmt: skip
        assert CODECS[name].read_response({**body, "usage": usage}).usage == found  # type: ignore[index]
