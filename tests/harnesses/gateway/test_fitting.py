"""What services of another protocol refuse is made to fit, and mapped back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.gateway.call_ids import CallIds
from harnesses.gateway.fitting import fitting_schema, prepared, service_names
from harnesses.gateway.translation import Translated, translate
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import (
    Conversation,
    GenerationOptions,
    Image,
    Message,
    ProtocolName,
    Reply,
    Tool,
    ToolCall,
    ToolResult,
)
from harnesses.protocols.registry import CODECS, PATHS
from harnesses.protocols.sse import event, read_events
from tests.helpers.services import read_answer

PAIRS: list[tuple[ProtocolName, ProtocolName]] = list(permutations(CODECS, 2))
LONG = "mcp__plugin_project-management_issues__list_pipeline_jobs_from_merge_request_by_id"
ODD = ["list jobs", "list.jobs", "list_jobs", LONG, LONG + "_2", "é", "x" * 65]


def sent(
    client: ProtocolName,
    to: ProtocolName,
    shown: Conversation,
    ids: CallIds | None = None,
) -> Translated:
    path = next(path for path, name in PATHS.items() if name == client)
    return translate(
        Call(client, path, CODECS[client].write_request(shown), {}, 1), to, {}, {}, ids
    )


def answered(way: Translated, reply: Reply, streamed: bool) -> Reply:
    """The reply as the client gets it."""
    codec = CODECS[way.call.protocol]
    raw = b"".join(codec.write_stream(reply, "m", "1"))
    if not streamed:
        raw = json.dumps(codec.write_response(reply, "m", "1")).encode()
    kind = "text/event-stream" if streamed else "application/json"

    async def chunks() -> AsyncIterator[bytes]:
        yield raw

    async def gather() -> bytes:
        return b"".join([c async for c in way.answer(Answer(200, kind, chunks())).chunks])

    return read_answer(way.client, kind, asyncio.run(gather()))


def tools_named(*names: str) -> tuple[Tool, ...]:
    return tuple(Tool(name, "d", {"type": "object", "properties": {}}) for name in names)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_names_fit_every_service_and_come_back(
    client: ProtocolName, to: ProtocolName, streamed: bool
) -> None:
    call, result = ToolCall("a", LONG, {}), ToolResult("a", "done")
    messages = (Message("user", "q"), Message("assistant", "", (call,)),
                Message("user", results=(result,)))  # fmt: skip
    options = GenerationOptions(tool=LONG)
    shown = Conversation("m", messages, tools_named(*ODD), streamed, options=options)
    way = sent(client, to, shown)
    there = CODECS[to].read_request(way.call.body)
    names = [tool.name for tool in there.tools]
    assert len(set(names)) == len(ODD) and "list_jobs" in names
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    assert there.options.tool == names[3] == there.messages[1].calls[0].name
    for own, theirs in zip(ODD, names, strict=True):
        reply = answered(
            way, Reply(calls=(ToolCall("n", theirs, {}),), stop="tool_calls"), streamed
        )
        assert [c.name for c in reply.calls] == [own]


@given(st.lists(st.text(min_size=1, max_size=80), max_size=8, unique=True), st.randoms())
def test_a_tools_name_does_not_depend_on_the_others_order(names: list[str], random: Any) -> None:
    found = service_names(Conversation("m", (), tools_named(*names)))
    assert len({found.get(name, name) for name in names}) == len(names)
    shuffled = random.sample(names, len(names))
    assert service_names(Conversation("m", (), tools_named(*shuffled))) == found


@pytest.mark.parametrize(
    ("schema", "right", "left"),
    [
        ({}, {"type": "object", "properties": {}}, []),
        ({"type": "object"}, {"type": "object", "properties": {}}, []),
        ({"type": None, "properties": None}, {"type": "object", "properties": {}}, []),
        ({"type": ["object", "null"], "required": None}, {"type": "object", "properties": {}}, []),
        ({"properties": {"a": {"anyOf": [{}]}}, "required": ["a"], "additionalProperties": False},
         {"type": "object", "properties": {"a": {"anyOf": [{}]}}, "required": ["a"],
          "additionalProperties": False}, []),
        ({"anyOf": [{"properties": {"a": {}, "b": {}}, "required": ["a", "b"]},
                    {"properties": {"a": {}, "c": {}}, "required": ["a"]}]},
         {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["a"]},
         ["anyOf"]),
        ({"type": "object", "properties": {"x": {}}, "required": ["x"],
          "oneOf": [{"required": ["a"]}, 7]},
         {"type": "object", "properties": {"x": {}}, "required": ["x"]}, ["oneOf"]),
        ({"allOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]},
         {"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]}, ["allOf"]),
        ({"anyOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"properties": {"a": {}}}}},
         {"type": "object", "properties": {"a": {}}, "$defs": {"A": {"properties": {"a": {}}}}},
         ["anyOf"]),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"a": {}}, "required": ["a"]}}},
         {"type": "object", "properties": {"a": {}}, "required": ["a"],
          "$defs": {"A": {"properties": {"a": {}}, "required": ["a"]}}}, ["$ref"]),
        ({"$ref": "https://example.com/schema"}, {"type": "object", "properties": {}}, ["$ref"]),
        ({"enum": [{}], "not": {}, "anyOf": None}, {"type": "object", "properties": {}},
         ["enum", "not", "anyOf"]),
    ],
)  # fmt: skip
def test_a_schema_is_an_object_with_properties(schema: Any, right: Any, left: list[str]) -> None:
    assert fitting_schema(schema) == (right, left)
    for client, to in PAIRS:
        shown = Conversation("m", (Message("user", "q"),), (Tool("f", "d", schema),))
        way = sent(client, to, shown)
        assert dict(CODECS[to].read_request(way.call.body).tools[0].parameters) == right
        assert [f"tools: f: {key} at the top of its parameters" for key in left] == [
            lost for lost in way.left_out if lost.startswith("tools: f")
        ]


@pytest.mark.parametrize(
    ("key", "required", "fitted"),
    [
        # Of alternatives, only what all of them require is required; of parts, what any does.
        ("anyOf", [["a", "b"], ["a"]], ["a"]), ("oneOf", [["a", "b"], ["a"]], ["a"]),
        ("allOf", [["a", "b"], ["a"]], ["a", "b"]), ("anyOf", [["a"], []], None),
        ("oneOf", [["a"], []], None), ("allOf", [["a"], []], ["a"]),
        ("anyOf", [["b", "a"], ["a", "b"]], ["b", "a"]), ("oneOf", [["b"], ["a"]], None),
        ("allOf", [["b"], ["a"]], ["b", "a"]), ("anyOf", [["a", "gone"]], ["a"]),
    ],
)  # fmt: skip
def test_what_is_required_of_several_objects(
    key: str, required: list[list[str]], fitted: list[str] | None
) -> None:
    own = {"a": {"type": "string"}, "b": {}}
    parts = [{"properties": own, "required": names} for names in required]
    found, left = fitting_schema({key: parts})
    assert (found.get("required"), left) == (fitted, [key])
    whole, _ = fitting_schema({"properties": {"c": {}}, "required": ["c"], key: parts})
    assert whole["required"] == ["c", *(fitted or [])]


@pytest.mark.parametrize("key", ["anyOf", "oneOf", "allOf", "$ref"])
def test_the_first_that_says_what_a_property_is_is_right(key: str) -> None:
    first = {"properties": {"a": {"type": "number"}, "b": {"type": "array"}}}
    second = {"properties": {"b": {"type": "null"}, "c": {}}}
    schema: dict[str, Any] = {"properties": {"a": {"type": "string"}}}
    schema |= (
        {"$ref": "#/$defs/f", "$defs": {"f": first}} if key == "$ref" else {key: [first, second]}
    )
    found, _ = fitting_schema(schema)
    assert found["properties"]["a"] == {"type": "string"}
    assert found["properties"]["b"] == {"type": "array"}
    assert list(found["properties"]) == ["a", "b", *(["c"] if key != "$ref" else [])]


def test_a_result_without_its_call_is_the_users_text() -> None:
    picture = Image("https://h/i.png")
    given = Message(
        "user", "and this", results=(ToolResult("gone", "done", content=("done", picture)),),
        content=("and this", picture),
    )  # fmt: skip
    fitted, _ = prepared(Conversation("m", (given,)), "messages")
    assert fitted.messages == (Message("user", "[result of a tool]\ndone\nand this"),)
    alone = Message("user", results=(ToolResult("gone", "done"),))
    fitted, _ = prepared(Conversation("m", (alone,)), "messages")
    assert fitted.messages == (Message("user", "[result of a tool]\ndone"),)


BLANKS = ["", " ", "\n\t ", "\u00a0"]


def blank_texts(value: Any) -> list[str]:
    """The texts of blanks alone in what a service is sent, other than those of arguments."""
    if isinstance(value, list):
        return [text for item in value for text in blank_texts(item)]
    if not isinstance(value, Mapping):
        return []
    found = [text for key in ("text", "content", "output", "instructions", "system")
             if isinstance(text := value.get(key), str) and not text.strip()]  # fmt: skip
    inner = [item for key, item in value.items() if key != "input" or "name" not in value]
    return found + [text for item in inner for text in blank_texts(item)]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
def test_no_service_is_sent_a_text_of_blanks(codec: Any, blank: str) -> None:
    call = ToolCall("a", "run", {"text": " "})
    messages = (
        Message("system", blank), Message("user", "q"), Message("assistant", blank),
        Message("user", blank), Message("assistant", blank, (call,)),
        Message("user", blank, results=(ToolResult("a", blank),)), Message("assistant", "a"),
    )  # fmt: skip
    direct = codec.write_request(Conversation("m", messages))
    bodies = [direct, *(sent(client, to, Conversation("m", messages)).call.body
                        for client, to in PAIRS if to == codec.name)]  # fmt: skip
    for body in bodies:
        there = codec.read_request(body)
        assert [c.arguments for m in there.messages for c in m.calls] == [{"text": " "}]
        assert [r.text for m in there.messages for r in m.results] == ["(no output)"]
        texts = blank_texts({key: body[key] for key in body if key not in ("tools",)})
        # Chat Completions has a message's calls beside a content that may be empty.
        assert texts == [] or (codec.name == "chat" and set(texts) <= {""})


@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_a_conversation_begins_with_the_user(client: ProtocolName, to: ProtocolName) -> None:
    for messages in (
        (Message("system", "s"), Message("assistant", "Hello."), Message("user", "q")),
        (Message("system", "s"),),
        (Message("assistant", "Hello."),),
    ):
        body = sent(client, to, Conversation("m", messages)).call.body
        there = [m for m in CODECS[to].read_request(body).messages if m.role != "system"]
        assert to == "responses" or there[0].role == "user"
        assert [m.text for m in there if m.role == "assistant"] == [
            m.text for m in messages if m.role == "assistant"
        ]


@pytest.mark.parametrize("to", CODECS)
def test_broken_arguments_in_the_history_are_an_object_with_them(to: ProtocolName) -> None:
    call = ToolCall("a", "run", {"_raw": '{"cmd": '})
    messages = (Message("user", "q"), Message("assistant", "", (call,)),
                Message("user", results=(ToolResult("a", "no"),)))  # fmt: skip
    body = CODECS[to].write_request(Conversation("m", messages))
    written = json.dumps(body)
    assert CODECS[to].read_request(body).messages[1].calls[0].arguments == call.arguments
    for text in re.findall(r'"arguments": ("(?:[^"\\]|\\.)*")', written):
        assert isinstance(json.loads(json.loads(text)), dict)


def test_what_must_go_is_named() -> None:
    options = GenerationOptions(stop=("a", " ", "b", "c", "d"), tool="gone")
    shown = Conversation("m", (Message("user", "q"),), tools_named("f", "f"), options=options)
    for to, stops in (("chat", ("a", " ", "b", "c")), ("messages", ("a", "b", "c", "d")),
                      ("responses", ())):  # fmt: skip
        fitted, lost = prepared(shown, to)  # type: ignore[arg-type]
        assert fitted.options.stop == stops and not fitted.options.tool
        assert [tool.name for tool in fitted.tools] == ["f"]
        assert {"stop sequences", "tool_choice: gone", "tools: the second f"} <= set(lost)


class Session:
    """A client that gives back what it got, to a service of another protocol."""

    def __init__(self, client: ProtocolName, to: ProtocolName, streamed: bool) -> None:
        self.client, self.to, self.streamed = client, to, streamed
        self.ids = CallIds()
        self.messages: list[Message] = [Message("user", "q")]
        self.theirs: list[str] = []

    def turn(self, given: Sequence[str]) -> list[str]:
        """The ids that the client gets for those of a reply of the service."""
        shown = Conversation("m", tuple(self.messages), tools_named("run"), self.streamed)
        way = sent(self.client, self.to, shown, self.ids)
        there = CODECS[self.to].read_request(way.call.body)
        self.theirs = [c.id for m in there.messages for c in m.calls]
        assert [r.call_id for m in there.messages for r in m.results] == self.theirs
        calls = tuple(ToolCall(id, "run", {"n": n}) for n, id in enumerate(given))
        said = Reply(calls=calls, stop="tool_calls") if calls else Reply("done")
        reply = answered(way, said, self.streamed)
        results = [ToolResult(c.id, f"result of {c.id}") for c in reply.calls]
        self.messages += [Message("assistant", "", reply.calls),
                          Message("user", results=tuple(results))]  # fmt: skip
        return [c.id for c in reply.calls]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("client", "to"), PAIRS)
def test_each_call_of_a_session_has_an_id_of_its_own(
    client: ProtocolName, to: ProtocolName, streamed: bool
) -> None:
    session = Session(client, to, streamed)
    rounds = [["call_0", "call_1"], ["call_0"], ["call_0", "call_1"], ["new"], ["call_0_2"]]
    got = [session.turn(given) for given in rounds]
    assert got[0] == ["call_0", "call_1"] and got[3] == ["new"]
    flat = [id for ids in got for id in ids]
    assert len(set(flat)) == len(flat)
    session.turn([])
    assert session.theirs == [id for given in rounds for id in given]


@pytest.mark.parametrize("id", ["functions.run:0", "a" * 90, "x y", "0"])
def test_odd_ids_fit_the_client_and_come_back(id: str) -> None:
    session = Session("messages", "chat", True)
    got = session.turn([id]) + session.turn([id])
    assert len(set(got)) == 2
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", own) for own in got)
    session.turn([])
    assert session.theirs == [id, id]


def test_one_id_for_two_calls_of_a_reply_is_told_apart() -> None:
    session = Session("messages", "chat", False)
    first, second = session.turn(["x", "x"])
    assert first == "x" and second != "x"
    session.turn([])
    assert session.theirs == ["x", second]


def test_an_id_that_the_client_made_is_no_other_calls() -> None:
    ids = CallIds()
    said = (Message("user", "q"), Message("assistant", "", (ToolCall("mine", "run", {}),)),
            Message("user", results=(ToolResult("mine", "done"),)))  # fmt: skip
    way = sent("messages", "chat", Conversation("m", said), ids)
    reply = Reply(calls=(ToolCall("mine", "run", {}),), stop="tool_calls")
    assert answered(way, reply, False).calls[0].id == "mine_2"


def test_a_reply_names_the_model_that_made_it() -> None:
    shown = Conversation("asked", (Message("user", "q"),))
    for client, to in PAIRS:
        way = sent(client, to, shown)
        assert answered(way, Reply("x"), False).model == "m", "as the service says"
        unnamed = CODECS[to].write_response(Reply("x"), "", "1")
        raw = json.dumps(unnamed).encode()

        async def told(way: Translated = way, raw: bytes = raw) -> bytes:
            async def chunks() -> AsyncIterator[bytes]:
                yield raw

            answer = way.answer(Answer(200, "application/json", chunks()))
            assert answer.content_type == "application/json"
            return b"".join([chunk async for chunk in answer.chunks])

        reply = read_answer(client, "application/json", asyncio.run(told()))
        assert reply.model == "asked"


def test_a_second_try_of_a_call_has_the_ids_of_the_first() -> None:
    ids = CallIds()
    way = sent("messages", "chat", Conversation("m", (Message("user", "q"),)), ids)
    reply = Reply(calls=(ToolCall("call_0", "run", {}),), stop="tool_calls")
    assert answered(way, reply, False).calls[0].id == "call_0"
    assert answered(way, reply, False).calls[0].id == "call_0"


NATIVE = {name: Reply("hi", (ToolCall("call_0", "run", {"id": "call_0"}),), stop="tool_calls")
          for name in CODECS}  # fmt: skip


def passed_on(ids: CallIds, protocol: ProtocolName, raw: bytes, kind: str, size: int) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(raw), size):
            yield raw[start : start + size]

    async def gather() -> bytes:
        answer = ids.answer(protocol, Answer(200, kind, chunks()))
        return b"".join([chunk async for chunk in answer.chunks])

    return asyncio.run(gather())


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", CODECS)
def test_calls_that_are_not_translated_have_ids_of_their_own_too(
    name: ProtocolName, streamed: bool, size: int
) -> None:
    codec, ids, reply = CODECS[name], CallIds(), NATIVE[name]
    kind = "text/event-stream" if streamed else "application/json"
    raw = b"".join(codec.write_stream(reply, "m", "1"))
    if not streamed:
        raw = json.dumps(codec.write_response(reply, "m", "1")).encode()
    # The first has an id that is new: not one byte is changed.
    assert passed_on(ids, name, raw, kind, size) == raw
    body = {"model": "m"}
    assert ids.request(body) is body
    second = passed_on(ids, name, raw, kind, size)
    got = read_answer(name, kind, second)
    assert got.calls[0].id == "call_0_2" and got.calls[0].arguments == {"id": "call_0"}
    assert got.text == "hi"
    if streamed:
        own = [json.dumps(event).count('"call_0_2"') for event in read_events(second)]
        assert sum(map(bool, own)) >= 1
    call = ToolCall("call_0_2", "run", {"call_id": "call_0_2"})
    result = ToolResult("call_0_2", "call_0_2")
    messages = (Message("user", "call_0_2"), Message("assistant", "", (call,)),
                Message("user", results=(result,)))  # fmt: skip
    there = codec.read_request(ids.request(codec.write_request(Conversation("m", messages))))
    assert there.messages[1].calls == (ToolCall("call_0", "run", {"call_id": "call_0_2"}),)
    assert there.messages[2].results == (ToolResult("call_0", "call_0_2"),)
    assert there.messages[0].text == "call_0_2"


STREAMS = json.loads(
    (Path(__file__).parents[1] / "protocols" / "chat-streams.json").read_text("utf-8")
)


@pytest.mark.parametrize("stream", STREAMS, ids=[stream["name"] for stream in STREAMS])
def test_an_agent_of_chat_gets_calls_that_anyone_can_put_together(stream: Any) -> None:
    """Put together as the SDKs of agents do it: by the index alone."""
    raw = b"".join(map(event, stream["chunks"]))
    passed = passed_on(CallIds(), "chat", raw, "text/event-stream", 50)
    calls: dict[int, list[str]] = {}
    for chunk in read_events(passed):
        for choice in chunk.get("choices") or []:
            for part in (choice.get("delta") or {}).get("tool_calls") or []:
                function = part["function"]
                if part["index"] not in calls:
                    assert part["id"] and function["name"]
                    calls[part["index"]] = [function["name"], ""]
                calls[part["index"]][1] += function["arguments"] or ""
    found = [[name, json.loads(text)] for _, (name, text) in sorted(calls.items())]
    assert found == stream["right"].get("calls", [])
    if "pieces of two calls in turn" in stream["name"]:
        assert passed == raw  # It was regular already.
