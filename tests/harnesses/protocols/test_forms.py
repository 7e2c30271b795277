"""The form of each protocol, field by field: ``forms.json`` has one request, one reply and one
stream in all three, as their documents have them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Usage
from harnesses.protocols.base import (
    Conversation,
    GenerationOptions,
    Image,
    Message,
    ProtocolError,
    ProtocolName,
    Reply,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from harnesses.protocols.registry import CODECS, PATHS
from harnesses.protocols.sse import event

FORMS = json.loads((Path(__file__).parent / "forms.json").read_text("utf-8"))
PICTURE, REMOTE = Image("data:image/png;base64,AAAA"), Image("https://h/i.png")
HIDDEN = Thought("", "rs_9 enc", "responses", hidden=True)
SEALED, PLAIN = Thought("hm", "sig", "messages"), Thought("so", "reasoning_content", "chat")
RUN, SEE = ToolCall("c1", "run", {"cmd": "ls"}), ToolCall("c2", "see", {})
SHOWN = Conversation(
    "m",
    (
        Message("system", "Be brief."),
        Message("user", "Look.\n[image]", content=("Look.", PICTURE)),
        Message("assistant", "I call.", (RUN, SEE), thoughts=(SEALED, HIDDEN, PLAIN)),
        Message("user", results=(
            ToolResult("c1", "done", is_error=True),
            ToolResult("c2", "x\n[image]", content=("x", REMOTE)),
        )),
        Message("user", "Go on."),
    ),
    (Tool("run", "Runs.", {"type": "object", "properties": {}}),),
    stream=True,
    schema_name="T",
    schema={"type": "object"},
    options=GenerationOptions(9, 0.5, 0.25, ("x", "y"), "required", "", parallel=False),
)  # fmt: skip
REPLY = Reply(
    "Hi.", (RUN, SEE), Usage(1, 100, 40, 7, 0.0, 10, 5), "tool_calls", (SEALED, PLAIN, HIDDEN), "m"
)
NAMES = pytest.mark.parametrize("name", CODECS)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.9)


@NAMES
def test_a_request_a_reply_and_a_stream_are_written_in_their_form(name: ProtocolName) -> None:
    assert CODECS[name].write_request(SHOWN) == FORMS["requests"][name]
    assert CODECS[name].write_response(REPLY, "m", "id1") == FORMS["responses"][name]
    written = list(CODECS[name].write_stream(REPLY, "m", "id1"))
    assert written == [event(data, kind) for kind, data in FORMS["streams"][name]]
    assert PATHS[f"/v1/{'chat/completions' if name == 'chat' else name}"] == name


def test_a_request_is_read_from_its_form() -> None:
    system, asked, said, results, last = SHOWN.messages
    done, seen = results.results
    read = CODECS["responses"].read_request(FORMS["requests"]["responses"])
    assert read == replace(
        SHOWN,
        messages=(
            system, asked, Message("assistant", thoughts=(HIDDEN,)),
            Message("assistant", said.text),
            Message("assistant", calls=(RUN,)), Message("assistant", calls=(SEE,)),
            Message("user", results=(replace(done, is_error=False),)),
            Message("user", results=(seen,)), last,
        ),
        options=replace(SHOWN.options, max_tokens=16, stop=()),
    )  # fmt: skip
    read = CODECS["chat"].read_request(FORMS["requests"]["chat"])
    label = "[images of tool call c2]"
    assert read == replace(
        SHOWN,
        messages=(
            system, asked, said,
            Message("user", results=(replace(done, is_error=False),)),
            Message("user", results=(replace(seen, content=()),)),
            Message("user", f"{label}\n[image]", content=(label, REMOTE)), last,
        ),
    )  # fmt: skip
    read = CODECS["messages"].read_request(FORMS["requests"]["messages"])
    both = replace(last, results=(done, seen))
    said = replace(said, thoughts=(SEALED,))
    assert read == replace(SHOWN, messages=(system, asked, said, both), schema_name=None)


@NAMES
def test_a_reply_is_read_from_its_form(name: ProtocolName) -> None:
    usage = {
        "responses": Usage(1, 100, 40, 7, 0.0, 15), "messages": Usage(1, 100, 40, 7, 0.0, 15),
        "chat": Usage(1, 100, 40, 7),
    }[name]  # fmt: skip
    right = replace(REPLY, usage=usage)
    assert CODECS[name].read_response(FORMS["responses"][name]) == right
    events = [data for _, data in FORMS["streams"][name] if data != "[DONE]"]
    if name == "chat":  # A stream has no place for what tells its thoughts apart.
        right = replace(right, thoughts=(Thought("hmso", "reasoning_content", "chat"),))
    assert CODECS[name].read_stream(iter(events)) == right


BARE = Conversation("m", (Message("user", "hi"),))
TOOLS = (Tool("run", "Runs.", {"type": "object"}),)
CALLED = {"name": "run", "description": "Runs."}


@pytest.mark.parametrize(
    ("name", "shown", "fields"),
    [
        ("chat", BARE, {}),
        ("messages", BARE, {"max_tokens": 8192}),
        ("messages", replace(BARE, stream=True), {"max_tokens": 32_000, "stream": True}),
        ("responses", BARE, {"store": False}),
        ("responses", replace(BARE, stream=True), {"store": False, "stream": True}),
        ("chat", replace(BARE, stream=True),
         {"stream": True, "stream_options": {"include_usage": True}}),
        ("chat", replace(BARE, schema={"a": 1}), {"response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": {"a": 1}, "strict": False}}}),
        ("responses", replace(BARE, schema={"a": 1}), {"store": False, "text": {"format": {
            "type": "json_schema", "name": "reply", "schema": {"a": 1}, "strict": False}}}),
        ("responses", replace(BARE, options=GenerationOptions(17)),
         {"store": False, "max_output_tokens": 17}),
        ("responses", replace(BARE, options=GenerationOptions(0)),
         {"store": False, "max_output_tokens": 0}),
        ("messages", replace(BARE, options=GenerationOptions(5, 1.5)),
         {"max_tokens": 5, "temperature": 1.0}),
        ("messages", replace(BARE, options=GenerationOptions(5, 0.0, 0.0)),
         {"max_tokens": 5, "temperature": 0.0, "top_p": 0.0}),
        ("chat", replace(BARE, options=GenerationOptions(5, 1.5, 0.0)),
         {"max_tokens": 5, "temperature": 1.5, "top_p": 0.0}),
        # Choices and parallel calls are of tools, and left out without them.
        *((name, replace(BARE, options=GenerationOptions(5, tool_choice="required", tool="run",
                                                         parallel=False)),
           {"max_tokens": 5}) for name in ("chat", "messages")),
    ],
)  # fmt: skip
def test_what_is_not_asked_for_is_not_written(
    name: ProtocolName, shown: Conversation, fields: dict[str, Any]
) -> None:
    body = CODECS[name].write_request(shown)
    forms: dict[str, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": "hi"}]},
        "messages": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        "responses": {"input": [{"type": "message", "role": "user", "content": "hi"}]},
    }
    assert body == {"model": "m", **forms[name], **fields}


@pytest.mark.parametrize(
    ("options", "chat", "responses", "messages"),
    [
        ({}, {}, {}, {}),
        ({"tool_choice": "auto"}, {"tool_choice": "auto"}, {"tool_choice": "auto"},
         {"tool_choice": {"type": "auto"}}),
        ({"tool_choice": "none", "parallel": False},
         {"tool_choice": "none", "parallel_tool_calls": False},
         {"tool_choice": "none", "parallel_tool_calls": False}, {"tool_choice": {"type": "none"}}),
        ({"tool_choice": "required", "parallel": True},
         {"tool_choice": "required", "parallel_tool_calls": True},
         {"tool_choice": "required", "parallel_tool_calls": True},
         {"tool_choice": {"type": "any"}}),
        ({"parallel": False}, {"parallel_tool_calls": False}, {"parallel_tool_calls": False},
         {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}),
        ({"parallel": True}, {"parallel_tool_calls": True}, {"parallel_tool_calls": True}, {}),
        ({"tool": "run", "tool_choice": "auto", "parallel": False},
         {"tool_choice": {"type": "function", "function": {"name": "run"}},
          "parallel_tool_calls": False},
         {"tool_choice": {"type": "function", "name": "run"}, "parallel_tool_calls": False},
         {"tool_choice": {"type": "tool", "name": "run", "disable_parallel_tool_use": True}}),
    ],
)  # fmt: skip
def test_how_tools_are_chosen(
    options: dict[str, Any], chat: Any, responses: Any, messages: Any
) -> None:
    shown = replace(BARE, tools=TOOLS, options=GenerationOptions(**options))
    wanted = {"chat": chat, "responses": responses, "messages": messages}
    for name, codec in CODECS.items():
        body = codec.write_request(shown)
        found = {key: body[key] for key in ("tool_choice", "parallel_tool_calls") if key in body}
        assert found == wanted[name], name
        read = codec.read_request(body).options
        tool = options.get("tool", "")
        given = replace(GenerationOptions(**options), max_tokens=read.max_tokens)
        if tool:
            given = replace(given, tool_choice=None)
        if name == "messages":
            single = "disable_parallel_tool_use" in str(found)
            mode = given.tool_choice or ("auto" if single and not tool else None)
            given = replace(given, parallel=False if single else None, tool_choice=mode)
        assert read == given, name


@pytest.mark.parametrize(
    ("name", "body", "left_out"),
    [
        ("chat", {"messages": [], "n": 1, "seed": 7, "logprobs": True}, ("logprobs", "seed")),
        ("messages", {"messages": [], "metadata": {}, "top_k": 1,
                      "output_config": {"effort": "low", "format": {}}},
         ("metadata", "output_config.effort", "top_k")),
        ("messages", {"messages": [], "tools": [{"type": "web_search_1", "name": "search"}]},
         ("tools: search",)),
        ("responses", {"input": [{"type": "x"}, {"role": "user", "content": "a"}],
                       "reasoning": {}, "text": {"verbosity": "low"},
                       "tools": [{"type": "web_search"}, {"type": "namespace", "name": "g",
                                  "tools": [{"type": "mcp"}]}]},
         ("input: x", "reasoning", "text.verbosity", "tools: mcp", "tools: web_search")),
    ],
)  # fmt: skip
def test_what_has_no_place_is_named(
    name: ProtocolName, body: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    assert CODECS[name].read_request({"model": "m", **body}).left_out == left_out


def test_a_tool_of_a_group_or_with_free_text_is_known_by_one_name() -> None:
    free = {"type": "custom", "name": "patch", "description": "Patches."}
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    inner = [{"type": "function", "name": "f", "parameters": {"a": 1}}, free]
    tools = [{**free, "format": grammar}, {"type": "namespace", "name": "g", "tools": inner}]
    choice = {"type": "function", "name": "f", "namespace": "g"}
    body = {"model": "m", "input": "hi", "instructions": "s", "tools": tools, "tool_choice": choice}
    shown = CODECS["responses"].read_request(body)
    assert shown.messages == (Message("system", "s"), Message("user", "hi"))
    first, second, third = shown.tools
    assert (first.name, first.custom, first.namespace) == ("patch", True, "")
    assert first.description == (
        "Patches.\n\nThe text is given as the argument `input`. It follows this lark grammar:\n"
        "start: x"
    )
    assert second == Tool("g__f", "", {"a": 1}, namespace="g")
    assert (third.name, third.description, third.namespace) == ("g__patch", "Patches.", "g")
    assert third.parameters == first.parameters and third.custom
    assert first.parameters == {
        "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"],
        "additionalProperties": False,
    }  # fmt: skip
    assert shown.options.tool == "g__f"
    # Calls of them come back as the client knows them, whole and streamed.
    calls = (
        ToolCall("a", "g__f", {"x": 1}), ToolCall("b", "patch", {"input": "text"}),
        ToolCall("c", "g__patch", {"input": 7}), ToolCall("d", "other", {"_raw": "{"}),
    )  # fmt: skip
    codec, reply = CODECS["responses"], Reply("", calls, stop="tool_calls", model="m")
    output = codec.write_response(reply, "m", "1", shown.tools)["output"]
    assert [{key: item.get(key) for key in ("type", "id", "name", "namespace")} for item in output
            ] == [
        {"type": "function_call", "id": "fc_a", "name": "f", "namespace": "g"},
        {"type": "custom_tool_call", "id": "ctc_b", "name": "patch", "namespace": None},
        {"type": "custom_tool_call", "id": "ctc_c", "name": "patch", "namespace": "g"},
        {"type": "function_call", "id": "fc_d", "name": "other", "namespace": None},
    ]  # fmt: skip
    assert [item.get("input", item.get("arguments")) for item in output] == [
        '{"x": 1}', "text", '{"input": 7}', "{",
    ]  # fmt: skip
    writer = codec.writer("m", "1", shown.tools)
    events = [json.loads(raw.split(b"data: ")[1]) for raw in _written(writer, reply)]
    done = [one["item"] for one in events if one["type"] == "response.output_item.done"]
    assert done == output
    texts = [(one["type"], one["delta"]) for one in events if one["type"].endswith(".delta")]
    assert texts == [
        ("response.function_call_arguments.delta", '{"x": 1}'),
        ("response.custom_tool_call_input.delta", "text"),
        ("response.custom_tool_call_input.delta", '{"input": 7}'),
        ("response.function_call_arguments.delta", "{"),
    ]
    begun = [one["item"] for one in events if one["type"] == "response.output_item.added"]
    assert [item.get("input", item.get("arguments")) for item in begun] == [""] * 4
    assert [item["status"] for item in begun] == ["in_progress"] * 4
    read = codec.read_response({"output": output, "status": "completed"})
    assert [(c.name, c.custom) for c in read.calls] == [
        ("g__f", False), ("patch", True), ("g__patch", True), ("other", False),
    ]  # fmt: skip


def _written(writer: Any, reply: Reply) -> list[bytes]:
    from harnesses.protocols.pieces import streamed

    return list(streamed(writer, reply))


@pytest.mark.parametrize(
    ("stop", "called", "chat", "messages", "responses"),
    [
        ("end", False, "stop", "end_turn", ("completed", None)),
        ("end", True, "tool_calls", "tool_use", ("completed", None)),
        ("tool_calls", True, "tool_calls", "tool_use", ("completed", None)),
        ("length", False, "length", "max_tokens", ("incomplete", "max_output_tokens")),
        ("length", True, "length", "max_tokens", ("incomplete", "max_output_tokens")),
        ("refusal", False, "content_filter", "refusal", ("incomplete", "content_filter")),
    ],
)
def test_why_a_reply_ended(
    stop: str, called: bool, chat: str, messages: str, responses: tuple[str, str | None]
) -> None:
    reply = Reply("x", (RUN,) if called else (), stop=stop, model="m")
    bodies = {name: codec.write_response(reply, "m", "1") for name, codec in CODECS.items()}
    assert bodies["chat"]["choices"][0]["finish_reason"] == chat
    assert bodies["messages"]["stop_reason"] == messages
    details = bodies["responses"]["incomplete_details"]
    assert bodies["responses"]["status"] == responses[0]
    assert details == ({"reason": responses[1]} if responses[1] else None)
    for name, codec in CODECS.items():
        read = codec.read_response(bodies[name])
        stream = b"".join(codec.write_stream(reply, "m", "1"))
        right = "tool_calls" if called and stop == "end" else stop
        assert (read.stop, read.odd_stop) == (right, ""), name
        assert f'"{chat}"' in stream.decode() or name != "chat"
        assert f'"stop_reason": "{messages}"' in stream.decode() or name != "messages"


@NAMES
def test_an_empty_reply_says_so(name: ProtocolName) -> None:
    codec = CODECS[name]
    empty = Reply("", usage=Usage(1, 5, 0, 3), model="m")
    assert codec.read_response(codec.write_response(empty, "m", "1")) == empty
    called = codec.write_response(Reply("", (RUN,)), "m", "1")
    content = {
        "chat": called.get("choices", [{}])[0].get("message", {}).get("content", "?"),
        "messages": [block["type"] for block in called.get("content", [])],
        "responses": [item["type"] for item in called.get("output", [])],
    }[name]
    assert content == {"chat": None, "messages": ["tool_use"], "responses": ["function_call"]}[name]


LIMITS: dict[str, str] = {
    "chat": "max_tokens", "responses": "max_output_tokens", "messages": "max_tokens",
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "read", "limit"),
    [
        (0, 0.0, 0), (0.0, 0.0, 0), (0.3, 0.3, None), (1, 1.0, 1), (1.0, 1.0, 1),
        (True, None, None), ("1", None, None), (None, None, None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", CODECS)
def test_options_of_any_value(
    name: ProtocolName, value: Any, read: float | None, limit: int | None
) -> None:
    """An option of 0 is one; one of another kind need not be understood."""
    body = CODECS[name].write_request(Conversation("m", (Message("user", "q"),)))
    options = CODECS[name].read_request(body | {"temperature": value, "top_p": value}).options
    assert (options.temperature, options.top_p) == (read, read)
    assert CODECS[name].read_request(body | {LIMITS[name]: value}).options.max_tokens == limit
    shown = Conversation("m", (), options=GenerationOptions(temperature=read, top_p=read))
    written = CODECS[name].write_request(shown)
    assert (written.get("temperature"), written.get("top_p")) == (read, read)


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"max_completion_tokens": 5}, 5), ({"max_tokens": 7}, 7),
        # The newer name wins.
        ({"max_completion_tokens": 5, "max_tokens": 7}, 5),
        ({"max_completion_tokens": None, "max_tokens": 7}, 7),
        ({"max_completion_tokens": "5", "max_tokens": 7}, 7), ({}, None),
    ],
)  # fmt: skip
def test_the_limit_of_a_reply_has_two_names_in_chat(
    fields: dict[str, Any], limit: int | None
) -> None:
    body = CODECS["chat"].write_request(Conversation("m", (Message("user", "q"),)))
    assert CODECS["chat"].read_request(body | fields).options.max_tokens == limit


@pytest.mark.parametrize(
    ("asked", "warm"), [(0.0, 0.0), (0.7, 0.7), (1.0, 1.0), (1.5, 1.0), (2.0, 1.0)]
)
def test_messages_knows_nothing_warmer_than_1(asked: float, warm: float) -> None:
    shown = Conversation("m", (), options=GenerationOptions(temperature=asked))
    assert CODECS["messages"].write_request(shown)["temperature"] == warm
    assert CODECS["chat"].write_request(shown)["temperature"] == asked


@pytest.mark.parametrize(
    "runs", [((1,),), ((1, 1),), ((1, 1, 1), (1,)), ((2, 1), (1, 2)), ((1, 3),)]
)
def test_results_keep_their_order_and_come_before_the_words_of_their_turn(
    runs: tuple[tuple[int, ...], ...],
) -> None:
    """Of services with a message for each result, several come one after another."""
    messages, wanted, number = [Message("user", "go")], [], 0
    for run in runs:
        messages.append(Message("assistant", "yes"))
        ids: list[str] = []
        for count in run:
            own = [f"c{number + n}" for n in range(count)]
            number += count
            results = tuple(ToolResult(id, f"out {id}") for id in own)
            messages.append(Message("user", f"said {own[0]}", results=results))
            ids += own
        wanted.append(
            (ids, [f"said {id}" for id in ids if f"said {id}" in {m.text for m in messages}])
        )
    body = CODECS["messages"].write_request(Conversation("m", tuple(messages)))
    found = []
    for item in body["messages"][2::2]:
        blocks = item["content"]
        ids = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        assert [block["type"] for block in blocks[: len(ids)]] == ["tool_result"] * len(ids)
        found.append((ids, [block["text"] for block in blocks[len(ids) :]]))
    assert found == wanted


@pytest.mark.parametrize(
    ("usage", "wanted"),
    [
        ({"input_tokens": 5, "output_tokens": 7}, Usage(1, 5, 0, 7)),
        ({"input_tokens": 5, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 20,
          "output_tokens": 7}, Usage(1, 35, 10, 7, 0.0, 20)),
        ({"input_tokens": 5, "cache_creation_input_tokens": 20, "output_tokens": 7,
          "cache_creation": {"ephemeral_1h_input_tokens": 15, "ephemeral_5m_input_tokens": 5}},
         Usage(1, 25, 0, 7, 0.0, 5, 15)),
        ({"input_tokens": 5, "cache_creation_input_tokens": 20, "output_tokens": 7,
          "cache_creation": {"ephemeral_1h_input_tokens": 99}}, Usage(1, 25, 0, 7, 0.0, 0, 20)),
        ({"input_tokens": 5, "output_tokens": 7, "cache_creation": 3}, Usage(1, 5, 0, 7)),
        ({"input_tokens": 5}, Usage(1, 5, estimated=True)),
        ({"input_tokens": 5, "output_tokens": 7, "estimated": True},
         Usage(1, 5, 0, 7, estimated=True)),
    ],
)  # fmt: skip
def test_the_counts_of_messages(usage: dict[str, Any], wanted: Usage) -> None:
    said = {"content": [{"type": "text", "text": "x"}], "stop_reason": "end_turn"}
    read = CODECS["messages"].read_response(said | {"usage": usage}).usage
    assert read == wanted
    again = CODECS["messages"].write_response(Reply("x", usage=read), "m", "1")["usage"]
    assert again["input_tokens"] == usage["input_tokens"]
    assert again.get("estimated", False) is wanted.estimated
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
         "usage": {**usage, "input_tokens": usage["input_tokens"], "x": None}},
        {"type": "message_stop"},
    ]  # fmt: skip
    assert CODECS["messages"].read_stream(iter(events)).usage == wanted


@pytest.mark.parametrize(
    ("name", "usage", "wanted"),
    [
        ("chat", {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {
            "cached_tokens": 3, "cache_write_tokens": 2}}, Usage(1, 5, 3, 7, 0.0, 2)),
        ("chat", {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": 3},
         Usage(1, 5, 0, 7)),
        ("responses", {"input_tokens": 5, "output_tokens": 7, "input_tokens_details": {
            "cached_tokens": 3, "cache_write_tokens": 2}}, Usage(1, 5, 3, 7, 0.0, 2)),
        ("responses", {"output_tokens": 7}, Usage(1, 0, 0, 7, estimated=True)),
    ],
)  # fmt: skip
def test_the_counts_of_the_others(name: ProtocolName, usage: dict[str, Any], wanted: Usage) -> None:
    body = CODECS[name].write_response(Reply("x"), "m", "1") | {"usage": usage}
    assert CODECS[name].read_response(body).usage == wanted


@pytest.mark.parametrize(
    ("name", "item", "words"),
    [
        ("chat", {"role": "narrator", "content": "x"}, "'narrator' is not one of system"),
        ("chat", {"content": "x"}, "role: expected str"),
        ("chat", {"role": "tool", "content": "x"}, "tool_call_id: expected str"),
        ("chat", {"role": "assistant", "tool_calls": [{"id": "a"}]}, "function: expected dict"),
        ("messages", {"role": "tool", "content": "x"}, "'tool' is not user, assistant or system"),
        ("messages", {"role": "user", "content": 7}, "content: expected list"),
        ("messages", {"role": "user", "content": [{"type": "tool_result"}]}, "tool_use_id"),
        ("messages", {"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]}, "name"),
        ("responses", {"role": "tool", "content": "x"}, "'tool' is not a role"),
        ("responses", {"role": "user", "content": 7}, "content: expected string or list, got int"),
        ("responses", {"type": "function_call", "name": "f"}, "call_id: expected str"),
        ("responses", {"type": "function_call_output"}, "call_id: expected str"),
    ],
)
def test_an_item_that_cannot_be_read_is_named(
    name: ProtocolName, item: dict[str, Any], words: str
) -> None:
    key = "input" if name == "responses" else "messages"
    with pytest.raises(ProtocolError, match=words):
        CODECS[name].read_request({"model": "m", key: [item]})


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "x", "function": 7}, 7, "any", None])
def test_a_choice_of_another_form_names_no_tool(choice: Any) -> None:
    for name, codec in CODECS.items():
        key = "input" if name == "responses" else "messages"
        options = codec.read_request({"model": "m", key: [], "tool_choice": choice}).options
        mode = "auto" if name == "messages" and choice == {"type": "auto"} else None
        assert (options.tool, options.tool_choice) == ("", mode), name


def test_thoughts_go_into_the_field_of_the_first_that_has_one() -> None:
    thoughts = (Thought("a", "reasoning", "chat"), Thought("b", "thinking", "chat"))
    for given, field in ((thoughts, "reasoning"), (thoughts[::-1], "thinking")):
        written = CODECS["chat"].write_response(Reply("x", thoughts=given), "m", "1")
        message = written["choices"][0]["message"]
        assert set(message) == {"role", "content", field}
        assert message[field] == "\n".join(thought.text for thought in given)


def test_a_call_without_a_name_is_the_services_failure() -> None:
    call = {"id": "a", "function": {"name": "", "arguments": "{}"}}
    body = {"choices": [{"message": {"content": None, "tool_calls": [call]}}]}
    with pytest.raises(ProtocolError, match="a call has no name"):
        CODECS["chat"].read_response(body)


@pytest.mark.parametrize(
    ("messages", "marked"),
    [
        ((), None), ((Message("assistant", thoughts=(SEALED,)),), None),
        ((Message("assistant", "x", thoughts=(SEALED,)),), "text"),
        ((Message("user", "a"), Message("assistant", "", (RUN,))), "tool_use"),
    ],
)  # fmt: skip
def test_the_end_of_a_conversation_is_marked_for_the_cache(
    messages: tuple[Message, ...], marked: str | None
) -> None:
    shown = Conversation("m", (Message("system", "s"), *messages), TOOLS)
    body = CODECS["messages"].write_request(shown)
    blocks = [block for message in body["messages"] for block in message["content"]]
    assert [b["type"] for b in blocks if "cache_control" in b] == ([marked] if marked else [])
    assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
    free = CODECS["messages"].write_request(replace(shown, tools=()))
    assert free["system"] == "s" and "cache_control" not in str(free)


@pytest.mark.parametrize(
    ("fields", "stop", "odd"),
    [
        ({"status": "completed"}, "end", ""), ({}, "end", ""), ({"status": None}, "end", ""),
        ({"status": "completed", "incomplete_details": {"reason": "max_output_tokens"}}, "end", ""),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
         "length", ""),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
         "refusal", ""),
        ({"status": "incomplete", "incomplete_details": {"reason": "odd"}}, "length", "odd"),
        ({"status": "paused"}, "end", "paused"),
    ],
)  # fmt: skip
def test_the_status_of_a_response(fields: dict[str, Any], stop: str, odd: str) -> None:
    part = {"type": "output_text", "text": "x"}
    output = [{"type": "message", "content": [part]}]
    read = CODECS["responses"].read_response({"output": output, **fields})
    assert (read.stop, read.odd_stop) == (stop, odd)
    refused = [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}, part]}]
    read = CODECS["responses"].read_response({"output": refused, **fields})
    assert read.stop == ("refusal" if stop == "end" else stop) and read.text == "no\nx"


@pytest.mark.parametrize(
    ("thought", "item"),
    [
        (Thought("h"), {"id": "own", "summary": [{"type": "summary_text", "text": "h"}]}),
        (Thought("", "", "responses"), {"id": "own", "summary": []}),
        (HIDDEN, {"id": "rs_9", "summary": [], "encrypted_content": "enc"}),
        (Thought("h", "s", "messages"),
         {"id": "own", "summary": [{"type": "summary_text", "text": "h"}],
          "encrypted_content": "skillopt:messages:s"}),
    ],
)  # fmt: skip
def test_a_thought_as_an_item(thought: Thought, item: dict[str, Any]) -> None:
    output = CODECS["responses"].write_response(Reply("x", thoughts=(thought,)), "m", "1")["output"]
    found = dict(output[0])
    if found["id"] == "rs_0_1":
        found["id"] = "own"
    assert found == {"type": "reasoning", **item}
    shown = Conversation("m", (Message("user", "q"), Message("assistant", thoughts=(thought,))))
    items = CODECS["responses"].write_request(shown)["input"][1:]
    assert [one["type"] for one in items] == ["reasoning"] * (thought == HIDDEN)


def test_items_of_responses_in_other_forms() -> None:
    codec = CODECS["responses"]
    said = [{"type": "reasoning_text", "text": "h"}]
    output = [{"type": "reasoning", "content": said}, {"type": "message", "content": ["x"]}]
    read = codec.read_response({"output": output})
    assert (read.thoughts, read.text, read.stop) == ((Thought("h", "", "responses"),), "x", "end")
    shown = Conversation("m", (Message("user", content=(REMOTE,)),))
    picture = {"type": "input_image", "image_url": REMOTE.url, "detail": "auto"}
    assert codec.write_request(shown)["input"] == [
        {"type": "message", "role": "user", "content": [picture]}
    ]
    later = (Message("user", "a"), Message("system", "b"))
    assert codec.write_request(Conversation("m", later))["input"][1]["role"] == "developer"
