"""Every protocol made into every other: requests, replies, streams, errors; real bodies of the CLIs
and the official SDKs' own types to check against."""

from __future__ import annotations

import asyncio
import json
import pkgutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harnesses.agents.registry import CLI_AGENTS
from harnesses.base import Usage
from harnesses.gateway.fitting import prepared
from harnesses.gateway.translation import Translated, pick_protocol, translate
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import (
    Conversation,
    GenerationOptions,
    Image,
    Message,
    ProtocolError,
    ProtocolName,
    Reply,
    ServiceFailure,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from harnesses.protocols.registry import CODECS, PATHS
from harnesses.protocols.sse import event as written_event
from harnesses.protocols.sse import read_events
from tests.helpers.cells import examples
from tests.helpers.strategies import names, texts
from tests.helpers.typed import problems

RECORDED = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parents[1] / "recorded").glob("*.json"))
}
OWN: dict[str, ProtocolName] = dict.fromkeys(RECORDED, "responses")
OWN |= {"claude-code": "messages", "opencode": "chat"}
PAIRS: list[tuple[ProtocolName, ProtocolName]] = list(permutations(CODECS, 2))
SDK_TYPES: dict[ProtocolName, tuple[str, str]] = {
    "responses": (
        "openai.types.responses.response_create_params:ResponseCreateParamsStreaming",
        "openai.types.responses:ResponseStreamEvent",
    ),
    "chat": (
        "openai.types.chat.completion_create_params:CompletionCreateParamsStreaming",
        "openai.types.chat:ChatCompletionChunk",
    ),
    "messages": (
        "anthropic.types.message_create_params:MessageCreateParamsStreaming",
        "anthropic.types:RawMessageStreamEvent",
    ),
}
"""The official SDKs' types of a request and of a streamed event. An import of both SDKs takes two
seconds, which every process that collects tests would spend."""


def call(protocol: ProtocolName, body: Mapping[str, Any]) -> Call:
    path = next(path for path, name in PATHS.items() if name == protocol)
    return Call(protocol, path, body, {}, 1)


def translated(name: str, to: ProtocolName) -> Translated:
    return translate(call(OWN[name], RECORDED[name]), to, {}, {})


def ways() -> list[tuple[str, ProtocolName]]:
    return [(name, to) for name in RECORDED for to in CODECS if to != OWN[name]]


def asking(client: ProtocolName, to: ProtocolName, tools: Sequence[Tool] = ()) -> Translated:
    """A short streamed question of a client."""
    shown = Conversation("m", (Message("user", "hi"),), tuple(tools), stream=True)
    return translate(call(client, CODECS[client].write_request(shown)), to, {}, {})


def answered(way: Translated, raw: Sequence[bytes], status: int = 200, kind: str = "") -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in raw:
            yield chunk

    async def gather() -> bytes:
        answer = way.answer(Answer(status, kind or "text/event-stream", chunks()))
        return b"".join([chunk async for chunk in answer.chunks])

    return asyncio.run(gather())


def event_type(protocol: ProtocolName, event: Mapping[str, Any]) -> Any:
    """The SDK's class of an event."""
    found = pkgutil.resolve_name(SDK_TYPES[protocol][1])
    if protocol == "chat":
        return found
    return next(
        kind
        for kind in get_args(get_args(found)[0])
        if event["type"] in get_args(kind.model_fields["type"].annotation)
    )


def test_what_the_clis_send_was_recorded() -> None:
    assert set(RECORDED) == {*CLI_AGENTS, "codex-other-model"}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "to"), ways())
def test_the_services_own_types_know_every_field_of_what_they_are_sent(
    name: str, to: ProtocolName
) -> None:
    body = json.loads(json.dumps(translated(name, to).call.body))
    request = pkgutil.resolve_name(SDK_TYPES[to][0])
    assert problems(body, request) == []
    assert problems({**body, "made_up": 1}, request) != []


@pytest.mark.parametrize(("name", "to"), ways())
def test_all_that_the_agent_shows_its_model_gets_through(name: str, to: ProtocolName) -> None:
    way = translated(name, to)
    before = CODECS[OWN[name]].read_request(RECORDED[name])
    after = CODECS[to].read_request(way.call.body)
    assert [tool.name for tool in after.tools] == [tool.name for tool in before.tools]
    assert [c.name for m in after.messages for c in m.calls] == [
        c.name for m in before.messages for c in m.calls
    ]
    results = [r for m in after.messages for r in m.results]
    assert [r.call_id for r in results] == [r.call_id for m in before.messages for r in m.results]
    assert "one" in results[0].text and "/nowhere" in results[1].text
    everything = json.dumps(way.call.body)
    for text in ("Look at dot.png", "Two at once.", "iVBORw0KGgo", "echo one"):
        assert text in everything
    assert after.messages[0].role == "system" and len(after.messages[0].text) > 100
    # Of another service's thoughts it is given nothing.
    assert "c2ln" not in everything and "c2VjcmV0" not in everything
    assert f"thoughts of {OWN[name]}" in way.left_out


def test_codex_special_tools_have_a_place_in_the_others() -> None:
    body = translated("codex", "messages").call.body
    patch = next(tool for tool in body["tools"] if tool["name"] == "apply_patch")
    assert patch["input_schema"]["properties"] == {"input": {"type": "string"}}
    assert "start: begin_patch" in patch["description"]
    used = [b for m in body["messages"] for b in m["content"] if b.get("name") == "apply_patch"]
    assert "*** Add File: new.txt" in used[0]["input"]["input"]
    other = translated("codex-other-model", "chat")
    listed = [tool["function"]["name"] for tool in other.call.body["tools"]]
    assert "multi_agent_v1__spawn_agent" in listed
    assert "tools: web_search" in other.left_out


def test_claude_codes_failures_and_later_system_messages_are_said_in_words() -> None:
    body = translated("claude-code", "chat").call.body
    roles = [message["role"] for message in body["messages"]]
    assert roles[0] == "system" and "system" not in roles[1:]
    failed = next(m for m in body["messages"] if m.get("tool_call_id") == "call_1")
    assert failed["content"].startswith("[the tool failed]\nExit code 3")
    later = [m["content"] for m in body["messages"] if m["role"] == "user"]
    assert any("<system-reminder>\nAvailable agent types" in str(text) for text in later)
    assert "x-anthropic-billing-header" not in json.dumps(body)
    assert "output_config.effort" in translated("claude-code", "chat").left_out


def test_the_conversation_is_marked_for_the_cache_that_bills_it() -> None:
    body = translated("codex", "messages").call.body
    assert body["system"][-1]["cache_control"] == {"type": "ephemeral"}
    assert body["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}


def test_options_have_their_equal_in_each_protocol() -> None:
    tools = (Tool("run", "d", {"type": "object"}), Tool("see", "d", {"type": "object"}))
    options = GenerationOptions(100, 0.3, 0.9, ("END",), "required", "see", False)
    schema = {"type": "object", "title": "Answer", "properties": {}}
    for client, to in PAIRS:
        shown = Conversation(
            "m", (Message("user", "q"),), tools, True, "Answer", schema, options
        )  # fmt: skip
        way = translate(call(client, CODECS[client].write_request(shown)), to, {}, {})
        seen = CODECS[to].read_request(way.call.body)
        wanted = replace(options, tool_choice=seen.options.tool_choice)
        if "responses" in (client, to):
            wanted = replace(wanted, stop=())
        assert seen.options == wanted
        assert seen.options.tool == "see" and seen.schema == schema
        assert seen.stream


def test_default_temperatures_are_not_sent_and_fields_of_the_config_win() -> None:
    shown = Conversation("m", (Message("user", "q"),), options=GenerationOptions(50, 1.0, 1.0))
    body = CODECS["messages"].write_request(shown)
    way = translate(call("messages", body), "responses", {"reasoning": {"effort": "low"}}, {})
    assert "temperature" not in way.call.body and "top_p" not in way.call.body
    assert way.call.body["reasoning"] == {"effort": "low"}
    assert way.call.body["include"] == ["reasoning.encrypted_content"]
    way = translate(call("messages", body), "chat", {"max_tokens": 9}, {})
    assert way.call.body["max_tokens"] == 9
    way = translate(call("messages", {**body, "max_tokens": 1}), "responses", {}, {})
    assert way.call.body["max_output_tokens"] == 16


def test_a_conversation_that_another_service_keeps_is_refused() -> None:
    body = {"model": "m", "input": "go on", "previous_response_id": "resp_1"}
    with pytest.raises(ProtocolError, match="previous_response_id"):
        translate(call("responses", body), "chat", {}, {})


@pytest.mark.parametrize(
    ("spoken", "client", "to"),
    [
        ({"chat", "responses"}, "messages", "responses"),
        ({"chat", "messages"}, "responses", "messages"),
        ({"chat"}, "responses", "chat"),
        ({"responses", "chat", "messages"}, "chat", "chat"),
    ],
)
def test_a_service_is_spoken_to_in_the_clients_protocol_or_the_nearest(
    spoken: set[ProtocolName], client: ProtocolName, to: ProtocolName
) -> None:
    assert pick_protocol(client, spoken) == to


# Replies


@st.composite
def replies(draw: Any, origin: ProtocolName) -> Reply:
    seals = {"chat": "reasoning_content", "messages": "c2ln", "responses": "rs_1 c2VjcmV0"}
    thoughts = draw(st.lists(texts.filter(bool), max_size=1))
    calls = draw(st.lists(st.tuples(names, st.dictionaries(names, texts, max_size=2)), max_size=3))
    prompt = draw(st.integers(0, 10**6))
    return Reply(
        text=draw(texts),
        calls=tuple(ToolCall(f"call_{i}", n, a) for i, (n, a) in enumerate(calls)),
        usage=Usage(1, prompt, draw(st.integers(0, prompt)), draw(st.integers(0, 10**6))),
        stop="tool_calls" if calls else draw(st.sampled_from(["end", "length", "refusal"])),
        thoughts=tuple(Thought(text, seals[origin], origin) for text in thoughts),
        model="m",
    )


@pytest.mark.parametrize(("client", "to"), PAIRS)
@settings(max_examples=examples(30))
@given(data=st.data())
def test_a_reply_says_the_same_streamed_or_not_cut_into_any_chunks(
    client: ProtocolName, to: ProtocolName, data: Any
) -> None:
    reply = data.draw(replies(to))
    way = asking(client, to)
    raw = b"".join(CODECS[to].write_stream(reply, "m", "id1"))
    size = data.draw(st.integers(1, len(raw)))
    chunks = [raw[i : i + size] for i in range(0, len(raw), size)]
    assert CODECS[client].read_stream(read_events(answered(way, chunks))) == expected(client, reply)
    unended = [raw.rstrip(b"\n")]
    assert CODECS[client].read_stream(read_events(answered(way, unended))) == expected(
        client, reply
    )
    still = replace(way, shown=replace(way.shown, stream=False))
    body = json.dumps(CODECS[to].write_response(reply, "m", "id1")).encode()
    whole = json.loads(answered(still, [body], kind="application/json"))
    assert CODECS[client].read_response(whole) == reply


def expected(client: ProtocolName, reply: Reply) -> Reply:
    """Streams of Chat Completions have no field for another's seals: those thoughts are text."""
    if client != "chat":
        return reply
    own = tuple(Thought(t.text, "reasoning_content", "chat") for t in reply.thoughts)
    return replace(reply, thoughts=own)


@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_a_thought_comes_back_to_its_service_as_it_gave_it(
    client: ProtocolName, to: ProtocolName
) -> None:
    seal = {"chat": "reasoning", "messages": "c2ln", "responses": "rs_1 c2VjcmV0"}[to]
    thought = Thought("I think.", seal, to)
    tool = ToolCall("call_1", "run", {})
    hidden = Thought("", "rs_2 x" if to == "responses" else "ZGF0YQ", to, hidden=True)
    thoughts = (thought,) if to == "chat" else (thought, hidden)
    way = replace(asking(client, to), shown=replace(asking(client, to).shown, stream=False))
    body = CODECS[to].write_response(Reply("", (tool,), thoughts=thoughts), "m", "1")
    given = answered(way, [json.dumps(body).encode()], kind="application/json")
    reply = CODECS[client].read_response(json.loads(given))
    # The client sends it on with the next request, in its own protocol.
    again = Conversation(
        "m",
        (
            Message("user", "q"),
            Message("assistant", reply.text, reply.calls, thoughts=reply.thoughts),
            Message("user", results=(ToolResult("call_1", "ok"),)),
        ),
    )
    body = told_again(client, again)
    sent = translate(call(client, body), to, {}, {}).call.body
    assert [t for m in CODECS[to].read_request(sent).messages for t in m.thoughts] == list(thoughts)


@pytest.mark.parametrize("to", ["messages", "responses"])
def test_thoughts_that_a_stream_of_chat_has_no_place_for_are_remembered(to: ProtocolName) -> None:
    thought = Thought("I think.", {"messages": "c2ln", "responses": "rs_1 c2VjcmV0"}[to], to)
    calls = (ToolCall("call_1", "run", {}), ToolCall("call_2", "run", {}))
    way = asking("chat", to, (Tool("run", "", {"type": "object"}),))
    given = answered(
        way, list(CODECS[to].write_stream(Reply("", calls, thoughts=(thought,)), "m", "1"))
    )
    reply = CODECS["chat"].read_stream(read_events(given))
    assert thought not in reply.thoughts
    messages = (
        Message("user", "q"),
        Message("assistant", "", reply.calls),
        Message("user", results=(ToolResult("call_1", "ok"), ToolResult("call_2", "ok"))),
        Message("assistant", "", (ToolCall("call_3", "run", {}),)),
        Message("user", results=(ToolResult("call_3", "ok"),)),
    )
    body = CODECS["chat"].write_request(Conversation("m", messages))
    sent = translate(call("chat", body), to, {}, way.thoughts).call.body
    shown = CODECS[to].read_request(sent).messages
    assert [t for m in shown for t in m.thoughts] == [thought]
    assert not [t for m in shown[-2:] for t in m.thoughts]


@pytest.mark.parametrize("kept", [(0,), (1,), (2,), (0, 1, 2), (2, 0)])
@pytest.mark.parametrize("to", ["messages", "responses"])
def test_thoughts_are_remembered_by_each_call_of_their_reply(
    to: ProtocolName, kept: tuple[int, ...]
) -> None:
    """A client may give back some of the calls alone."""
    thought = Thought("I think.", {"messages": "c2ln", "responses": "rs_1 c2VjcmV0"}[to], to)
    calls = tuple(ToolCall(f"call_{n}", "run", {}) for n in range(3))
    way = asking("chat", to, (Tool("run", "", {"type": "object"}),))
    answered(way, list(CODECS[to].write_stream(Reply("", calls, thoughts=(thought,)), "m", "1")))
    given = tuple(calls[n] for n in kept)
    results = tuple(ToolResult(one.id, "ok") for one in given)
    messages = (
        Message("user", "q"),
        Message("assistant", "", given),
        Message("user", results=results),
    )
    body = CODECS["chat"].write_request(Conversation("m", messages))
    sent = translate(call("chat", body), to, {}, way.thoughts).call.body
    assert [t for m in CODECS[to].read_request(sent).messages for t in m.thoughts] == [thought]


@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_a_service_of_another_protocol_gets_none_of_the_clients_headers(
    client: ProtocolName, to: ProtocolName
) -> None:
    body = CODECS[client].write_request(Conversation("m", (Message("user", "q"),)))
    given = {"anthropic-beta": "b", "openai-beta": "o", "x-session-id": "s", "user-agent": "u"}
    made = replace(call(client, body), headers=given, seed=7, silence_s=3.0)
    sent = translate(made, to, {}, {}).call
    assert (sent.headers, sent.protocol, PATHS[sent.path]) == ({}, to, to)
    assert (sent.seed, sent.silence_s, sent.raw, sent.bearer) == (7, 3.0, None, "")


def told_again(client: ProtocolName, shown: Conversation) -> dict[str, Any]:
    """The request as a client makes it of what it was given: with the service's own blocks."""
    body = CODECS[client].write_request(shown)
    said = CODECS[client].write_response(
        Reply("", shown.messages[1].calls, thoughts=shown.messages[1].thoughts), "m", "1"
    )
    if client == "messages":
        body["messages"][1]["content"] = said["content"]
    elif client == "responses":
        thoughts = [item for item in said["output"] if item["type"] == "reasoning"]
        body["input"][1:1] = thoughts
    return body


@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_each_event_is_passed_on_before_the_next_has_come(
    client: ProtocolName, to: ProtocolName
) -> None:
    """The upstream waits after each event; the client must have it by then."""
    # Letters that no random identifier has.
    reply = Reply("wxyz", (ToolCall("c1", "run", {"x": "stuv"}),), stop="tool_calls", model="m")
    events = list(CODECS[to].write_stream(reply, "m", "1"))
    passed: list[bytes] = []
    seen_when_asked: list[int] = []

    async def chunks() -> AsyncIterator[bytes]:
        for event in events:
            seen_when_asked.append(len(b"".join(passed)))
            yield event

    async def drive() -> None:
        answer = asking(client, to).answer(Answer(200, "text/event-stream", chunks()))
        async for chunk in answer.chunks:
            passed.append(chunk)

    asyncio.run(drive())
    for needle in (b"wxyz", b"stuv"):
        at = next(n for n, event in enumerate(events) if needle in event)
        place = b"".join(passed).index(needle)
        assert seen_when_asked[at] <= place < seen_when_asked[at + 1]


@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_a_stream_cut_after_any_event_is_never_a_reply(
    client: ProtocolName, to: ProtocolName
) -> None:
    reply = Reply(
        "text", (ToolCall("c1", "run", {"cmd": "ls"}),), stop="tool_calls", model="m",
        thoughts=(Thought("hm", "reasoning_content" if to == "chat" else "s", to),),
    )  # fmt: skip
    events = list(CODECS[to].write_stream(reply, "m", "id1"))
    enough = len(events) - 2 if to == "chat" else len(events)
    for n in range(enough):
        with pytest.raises(ProtocolError):
            raw = answered(asking(client, to), events[:n])
            CODECS[client].read_stream(read_events(raw))
    assert CODECS[client].read_stream(read_events(answered(asking(client, to), events)))


@pytest.mark.slow
@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_clients_sdks_know_every_event_that_they_are_sent(
    client: ProtocolName, to: ProtocolName
) -> None:
    thought = Thought("hm", "reasoning_content" if to == "chat" else "s", to)
    reply = Reply("ab", (ToolCall("c1", "run", {"a": 1}),), Usage(1, 9, 4, 2), thoughts=(thought,))
    raw = answered(asking(client, to), list(CODECS[to].write_stream(reply, "m", "1")))
    events = list(read_events(raw))
    assert len(events) > 6
    for event in events:
        event_type(client, event).model_validate(event)


@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_an_error_is_told_in_the_clients_protocol(client: ProtocolName, to: ProtocolName) -> None:
    from harnesses.protocols.errors import error_body

    way = asking(client, to)
    body = json.dumps(error_body(to, 404, "no model m")).encode()
    told = json.loads(answered(way, [body], 404, "application/json"))
    assert told == error_body(client, 404, "no model m")
    assert "<html>" in answered(way, [b"<html>"], 502, "text/html").decode()


@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_an_error_within_a_stream_is_told_and_never_a_reply(
    client: ProtocolName, to: ProtocolName
) -> None:
    from harnesses.protocols.errors import error_event

    start = next(iter(CODECS[to].write_stream(Reply("hi"), "m", "1")))
    raw = answered(asking(client, to), [start, error_event(to, "too busy")])
    with pytest.raises(ProtocolError, match="too busy"):
        CODECS[client].read_stream(read_events(raw))


@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_a_failure_keeps_its_code_also_at_the_end_of_a_stream(
    client: ProtocolName, to: ProtocolName
) -> None:
    from harnesses.protocols.errors import error_event

    start = next(iter(CODECS[to].write_stream(Reply("hi"), "m", "1")))
    ends: dict[ProtocolName, bytes] = {
        "chat": written_event({"choices": [{"delta": {"content": ""}, "finish_reason": "load"}]}),
        "messages": written_event({"type": "message_delta", "delta": {"stop_reason": "load"}})
        + written_event({"type": "message_stop"}),
        "responses": written_event({"type": "response.completed", "response": {"status": "load"}}),
    }
    for last, words, code in (
        (error_event(to, "too long", "context_length_exceeded"), "too long",
         "context_length_exceeded"),
        (ends[to], "without content", None),
    ):  # fmt: skip
        raw = answered(asking(client, to), [start, last])
        with pytest.raises(ServiceFailure, match=words) as caught:
            CODECS[client].read_stream(read_events(raw))
        assert code is None or caught.value.code == code


@pytest.mark.parametrize("to", ["chat", "messages"])
def test_codex_gets_its_special_tools_called_as_it_knows_them(to: ProtocolName) -> None:
    body = {
        "model": "m", "input": "q", "stream": True,
        "tools": [
            {"type": "custom", "name": "apply_patch", "description": "d"},
            {"type": "namespace", "name": "agents", "description": "", "tools": [
                {"type": "function", "name": "spawn", "parameters": {"type": "object"}}]},
        ],
    }  # fmt: skip
    way = translate(call("responses", body), to, {}, {})
    calls = (
        ToolCall("c1", "apply_patch", {"input": "*** Begin\n"}),
        ToolCall("c2", "agents__spawn", {"x": 1}),
    )
    events = list(CODECS[to].write_stream(Reply("", calls, stop="tool_calls"), "m", "1"))
    sent = list(read_events(answered(way, events)))
    items = [event["item"] for event in sent if event["type"] == "response.output_item.done"]
    assert (items[0]["type"], items[0]["input"]) == ("custom_tool_call", "*** Begin\n")
    assert (items[1]["namespace"], items[1]["name"]) == ("agents", "spawn")
    whole = CODECS["responses"].write_response(Reply("", calls), "m", "1", way.shown.tools)
    assert [item["type"] for item in whole["output"]] == ["custom_tool_call", "function_call"]


# Conversations


@st.composite
def conversations(draw: Any) -> Conversation:
    """Turns of user, assistant with calls, and their results, some of which are missing."""
    messages = [Message("system", draw(texts))] if draw(st.booleans()) else []
    count = 0
    for _ in range(draw(st.integers(1, 3))):
        said = draw(texts.filter(bool))
        images = (said, Image("data:image/png;base64,AAAA")) if draw(st.booleans()) else ()
        messages.append(Message("user", f"{said}\n[image]" if images else said, content=images))
        calls = []
        for _ in range(draw(st.integers(0, 2))):
            calls.append(ToolCall(f"call_{count}", draw(names), {"a": draw(texts)}))
            count += 1
        messages.append(Message("assistant", draw(texts), tuple(calls)))
        for done in calls:
            if draw(st.integers(0, 3)):
                result = ToolResult(done.id, draw(texts))
                messages.append(Message("user", results=(result,)))
    return Conversation("m", tuple(messages), stream=True)


@pytest.mark.parametrize(("client", "to"), PAIRS)
@settings(max_examples=examples(40))
@given(shown=conversations())
def test_a_conversation_keeps_its_words_calls_and_results_in_order(
    client: ProtocolName, to: ProtocolName, shown: Conversation
) -> None:
    body = CODECS[client].write_request(shown)
    got = CODECS[to].read_request(translate(call(client, body), to, {}, {}).call.body)
    assert facts(got) == facts(prepared(shown, to)[0])
    calls = [c.id for m in got.messages for c in m.calls]
    results = [r.call_id for m in got.messages for r in m.results]
    assert sorted(calls) == sorted(results)  # what a service refuses otherwise


def facts(shown: Conversation) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for message in shown.messages:
        found += [("result", r.call_id, r.text) for r in message.results]
        parts = message.content or (message.text,)
        for part in parts:
            if isinstance(part, Image):
                found.append((message.role, "image", part.url))
            else:
                found += [(message.role, line) for line in part.split("\n") if line]
        found += [("call", c.id, c.name, str(dict(c.arguments))) for c in message.calls]
    return found


@settings(max_examples=examples(40))
@given(body=st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["model", "messages", "input", "role", "content", "tools", "type", "name",
                         "tool_calls", "function", "output", "call_id", "system", "tool_choice",
                         "image_url", "source", "text", "stop", "max_tokens", "format"]) | names,
        inner, max_size=5),
    max_leaves=20,
))  # fmt: skip
@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_no_request_raises_anything_but_a_protocol_error(
    client: ProtocolName, to: ProtocolName, body: Any
) -> None:
    if isinstance(body, dict):
        try:
            way = translate(call(client, {"model": "m", "messages": [], **body}), to, {}, {})
        except ProtocolError as error:
            assert str(error)
        else:
            json.dumps(way.call.body)


def test_messages_out_of_order_are_put_where_services_expect_them() -> None:
    run = ToolCall("c1", "run", {})
    messages = (
        Message("user", "q"),
        Message("assistant", "", (run,)),
        Message("user", "by the way"),
        Message("user", results=(ToolResult("c1", "ok"),)),
        Message("user", results=(ToolResult("gone", "late"), ToolResult("c1", "twice"))),
        Message("assistant", "", (ToolCall("c2", "run", {}),)),
        Message("user", "stop"),
    )
    shown, _ = prepared(Conversation("m", messages), "chat")
    said = [
        m.text or [r.text for r in m.results] or [c.id for c in m.calls] for m in shown.messages
    ]
    assert said == [
        "q", ["c1"], ["ok"], "by the way",
        "[result of a tool]\nlate\n[result of a tool]\ntwice", ["c2"],
        ["[the tool failed]\n(no result)"], "stop",
    ]  # fmt: skip


def called(*ids: str) -> Message:
    return Message("assistant", "", tuple(ToolCall(id, "run", {}) for id in ids))


def gave(*ids: str) -> Message:
    return Message("user", results=tuple(ToolResult(id, f"result of {id}") for id in ids))


NOTHING_CAME = "[the tool failed]\n(no result)"


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        # A result that is missing when the model speaks again is given up, whatever came between:
        # another result,
        (
            [called("a", "b"), gave("a"), Message("assistant", "well")],
            [["a", "b"], ["result of a"], [NOTHING_CAME], "well"],
        ),
        # or something that the user said,
        (
            [called("a"), Message("user", "hi"), Message("assistant", "well")],
            [["a"], [NOTHING_CAME], "hi", "well"],
        ),
        # or both.
        (
            [called("a", "b"), gave("b"), Message("user", "hi"), called("c"), gave("c")],
            [["a", "b"], ["result of b"], [NOTHING_CAME], "hi", ["c"], ["result of c"]],
        ),
        # Calls of one reply that come as two messages have their results after both.
        (
            [called("a"), called("b"), gave("a", "b")],
            [["a", "b"], ["result of a", "result of b"]],
        ),
        ([called("a"), gave("a"), Message("assistant", "well")], [["a"], ["result of a"], "well"]),
        ([called("a"), Message("user", "hi"), gave("a")], [["a"], ["result of a"], "hi"]),
        ([called("a")], [["a"], [NOTHING_CAME]]),
    ],
)
def test_each_call_has_its_result_right_after_it(messages: list[Message], said: list[Any]) -> None:
    shown, _ = prepared(Conversation("m", (Message("user", "q"), *messages)), "chat")
    found = [m.text or [r.text for r in m.results] or [c.id for c in m.calls]
             for m in shown.messages]  # fmt: skip
    assert found == ["q", *said]


def events_of(*items: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return iter(items)


def chunk(**delta: Any) -> dict[str, Any]:
    return {"model": "m", "choices": [{"delta": delta}]}


def test_what_chat_servers_do_differently_is_understood() -> None:
    def part(index: int, id: str | None, name: str, text: str) -> dict[str, Any]:
        function = {"name": name, "arguments": text}
        return chunk(tool_calls=[{"index": index, "id": id, "function": function}])

    end = {"choices": [{"delta": {}, "finish_reason": "stop"}]}
    # Calls that all have the index 0, and 'stop' where a tool was called.
    reply = CODECS["chat"].read_stream(
        events_of(part(0, "a", "run", "{}"), part(0, "b", "see", "{}"), end)
    )
    assert [call.name for call in reply.calls] == ["run", "see"] and reply.stop == "tool_calls"
    # The id again in each part.
    reply = CODECS["chat"].read_stream(
        events_of(part(0, "a", "run", '{"x":'), part(0, "a", "", " 1}"), end)
    )
    assert reply.calls[0].arguments == {"x": 1}
    # vLLM's newer name of the field.
    reply = CODECS["chat"].read_stream(events_of(chunk(reasoning="hm"), chunk(content="a"), end))
    assert reply.thoughts == (Thought("hm", "reasoning", "chat"),)
    # A call that continues after the next one has begun.
    parts = (part(0, "a", "run", "{"), part(1, "b", "see", "{}"), part(0, None, "", "}"))
    reply = CODECS["chat"].read_stream(events_of(*parts, end))
    assert [(call.name, call.arguments) for call in reply.calls] == [("run", {}), ("see", {})]


def test_a_responses_server_that_sends_no_deltas_is_understood() -> None:
    body = CODECS["responses"].write_response(
        Reply("text", (ToolCall("c1", "run", {"a": 1}),)), "m", "1"
    )
    items = [{"type": "response.output_item.done", "item": item} for item in body["output"]]
    end = {"type": "response.completed", "response": body}
    for events in ([*items, end], [end]):
        reply = CODECS["responses"].read_stream(iter(events))
        assert (reply.text, reply.calls[0].arguments) == ("text", {"a": 1})
