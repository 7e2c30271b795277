"""The ids of tool calls, event by event, as agents and services get them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from harnesses.gateway import call_ids
from harnesses.gateway.call_ids import CallIds
from harnesses.gateway.upstreams import Answer
from harnesses.protocols.base import Message, ProtocolName, ToolCall, ToolResult
from harnesses.protocols.sse import event, read_events

STREAM, JSON = "text/event-stream", "application/json"


def passed(
    ids: CallIds, protocol: ProtocolName, *chunks: bytes, kind: str = STREAM, status: int = 200
) -> list[bytes]:
    async def given() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def gather() -> list[bytes]:
        answer = ids.answer(protocol, Answer(status, kind, given()))
        return [chunk async for chunk in answer.chunks]

    return asyncio.run(gather())


def known(*names: str) -> CallIds:
    ids = CallIds()
    for name in names:
        ids.own(name)
    return ids


@pytest.mark.parametrize(
    ("taken", "theirs", "own"),
    [
        ([], "a", "a"), (["a"], "a", "a_2"), (["a", "a"], "a", "a_3"), (["a", "a_2"], "a", "a_3"),
        ([], "x y", "x_y"), (["x_y"], "x y", "x_y_2"), ([], "x" * 64, "x" * 64),
        ([], "x" * 65, "x" * 48), ([], "ü.", "__"),
    ],
)  # fmt: skip
def test_an_id_is_a_calls_own(taken: list[str], theirs: str, own: str) -> None:
    assert known(*taken).own(theirs) == own


def test_an_id_of_nothing_is_made() -> None:
    ids = CallIds()
    first, second = ids.own(""), ids.own("")
    assert first.startswith("call_") and len(first) == 21 and first != second


def test_services_get_their_own_ids_back_unless_they_gave_one_twice() -> None:
    ids = CallIds()
    ids.seen([Message("assistant", calls=(ToolCall("mine", "f", {}),))])
    assert ids.own("mine") == "mine_2" and ids.own("b") == "b" and ids.own("b", twice=True) == "b_2"
    calls = tuple(ToolCall(id, "f", {}) for id in ("mine", "mine_2", "b", "b_2", "other"))
    results = tuple(ToolResult(call.id, "r") for call in calls)
    found = ids.theirs(Message("assistant", calls=calls, results=results))
    wanted = ["mine", "mine", "b", "b_2", "other"]
    assert [c.id for c in found.calls] == [r.call_id for r in found.results] == wanted
    ids.seen([Message("assistant", calls=(ToolCall("mine_2", "f", {}),))])
    assert ids.theirs(found).calls[0].id == "mine", "what is known stays known"
    ids.forget(["mine_2", "never"])
    assert ids.own("mine") == "mine_2"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"call_id": "a_2"}, {"call_id": "a"}),
        ({"tool_call_id": "a_2"}, {"tool_call_id": "a"}),
        ({"tool_use_id": "a_2"}, {"tool_use_id": "a"}),
        ({"call_id": 7, "id": "a_2"}, {"call_id": 7, "id": "a_2"}),
        ({"type": "tool_use", "id": "a_2"}, {"type": "tool_use", "id": "a"}),
        ({"type": "tool_use", "id": 7}, {"type": "tool_use", "id": 7}),
        ({"type": "text", "id": "a_2"}, {"type": "text", "id": "a_2"}),
        ({"tool_calls": [{"id": "a_2"}, 7, {"id": None}]},
         {"tool_calls": [{"id": "a"}, 7, {"id": None}]}),
        # What a call was made with is not looked into.
        ({"type": "tool_use", "id": "a_2", "input": {"call_id": "a_2"}},
         {"type": "tool_use", "id": "a", "input": {"call_id": "a_2"}}),
        ({"type": "function", "arguments": {"call_id": "a_2"}},
         {"type": "function", "arguments": {"call_id": "a_2"}}),
        # A conversation is no arguments.
        ({"input": [{"call_id": "a_2"}]}, {"input": [{"call_id": "a"}]}),
        ({"messages": [[{"content": [{"tool_use_id": "a_2"}]}]]},
         {"messages": [[{"content": [{"tool_use_id": "a"}]}]]}),
    ],
)  # fmt: skip
def test_a_request_has_the_services_ids(given: dict[str, Any], sent: dict[str, Any]) -> None:
    before = json.dumps(given)
    assert known("a", "a").request(given) == sent
    assert json.dumps(given) == before
    assert known("a", "b").request(given) is given


def chat(*calls: Any, key: str = "delta", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, key: {"tool_calls": list(calls)}, **more}]}


def piece(**fields: Any) -> dict[str, Any]:
    arguments = fields.pop("arguments", None)
    function = {"name": fields.pop("name", None), "arguments": arguments}
    kept = {key: value for key, value in function.items() if value is not None}
    return {**fields, "function": kept}


WHOLE = {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("pieces", "right"),
    [
        # As OpenAI has them: not one byte is changed.
        ([[piece(index=0, id="a", name="f", arguments="")], [piece(index=0, arguments="{}")]], []),
        ([[piece(index=0, id="a", name="f", arguments="{")],
          [piece(index=0, id="a", arguments="}")]], []),
        ([[piece(index=0, id="a", name="f", arguments="{")],
          [piece(index=0, id="", arguments="}")]], []),
        # An index that is missing, or of the reply's own.
        ([[piece(id="a", **WHOLE)], [piece(id="b", **WHOLE)]],
         [(0, "a", "f", "{}"), (1, "b", "f", "{}")]),
        ([[piece(index=4, id="a", **WHOLE)]], [(0, "a", "f", "{}")]),
        # Two calls in one event; the name in each piece; a name that comes later.
        ([[piece(index=0, id="a", **WHOLE), piece(index=0, id="b", **WHOLE)]],
         [(0, "a", "f", "{}"), (1, "b", "f", "{}")]),
        ([[piece(index=0, id="a", name="f", arguments="{")],
          [piece(index=0, id="a", name="f", arguments="}")]],
         [(0, "a", "f", "{"), (0, None, None, "}")]),
        ([[piece(index=0, id="a", arguments="{")], [piece(index=0, name="f", arguments="}")]],
         [(0, "a", "f", "{}")]),
        # Arguments that are an object.
        ([[piece(index=0, id="a", name="f", arguments={"x": 1})]], [(0, "a", "f", '{"x": 1}')]),
    ],
)  # fmt: skip
def test_the_pieces_of_calls_in_a_stream_of_chat(
    pieces: list[list[dict[str, Any]]], right: list[tuple[Any, ...]]
) -> None:
    chunks = [event(chat(*parts)) for parts in pieces]
    found = passed(CallIds(), "chat", *chunks)
    if not right:
        assert b"".join(found) == b"".join(chunks)
        return
    told = [
        call
        for one in read_events(b"".join(found))
        for call in one["choices"][0]["delta"]["tool_calls"]
    ]
    assert [
        (
            call["index"],
            call.get("id"),
            call["function"].get("name"),
            call["function"]["arguments"],
        )
        for call in told
    ] == right
    new = [call for call in told if call not in [one for parts in pieces for one in parts]]
    assert new and all(("type" in call) is ("id" in call) for call in new)


@pytest.mark.parametrize("later", [None, "", "a", "a_2", "z"])
@pytest.mark.parametrize("taken", [(), ("a",)])
def test_no_later_piece_has_another_id_than_its_call(
    taken: tuple[str, ...], later: str | None
) -> None:
    """Some services repeat the id with each piece, which may have another one by then."""
    more = {} if later is None else {"id": later}
    pieces = [
        piece(index=0, id="a", name="f", arguments="{"),
        piece(index=0, arguments='"x": ', **more),
        piece(index=0, arguments="1}", **more),
    ]
    found = passed(known(*taken), "chat", *(event(chat(one)) for one in pieces))
    told = [
        call
        for one in read_events(b"".join(found))
        for call in one["choices"][0]["delta"]["tool_calls"]
    ]
    own = "a_2" if taken else "a"
    assert told[0]["id"] == own and {call.get("id") or own for call in told} == {own}
    assert "".join(call["function"]["arguments"] for call in told) == '{"x": 1}'


@pytest.mark.parametrize(
    ("protocol", "data", "name"),
    [
        ("chat", chat(piece(index=0, id="a", **WHOLE)), None),
        ("messages", {"type": "content_block_start", "index": 0,
                      "content_block": {"type": "tool_use", "id": "a"}}, "content_block_start"),
        ("responses", {"type": "response.output_item.added", "output_index": 0,
                       "item": {"call_id": "a"}}, "response.output_item.added"),
        ("responses", {"type": "response.completed",
                       "response": {"output": [{"call_id": "a"}]}}, "response.completed"),
    ],
)  # fmt: skip
def test_an_event_with_a_known_id_is_written_anew(
    protocol: ProtocolName, data: dict[str, Any], name: str | None
) -> None:
    raw = event(data, name)
    other = event({"type": "x", "text": "é  "}, "x")
    assert passed(CallIds(), protocol, raw + other) == [raw + other, b""]
    ids = known("a")
    found = passed(ids, protocol, other + raw + other)
    renamed = json.loads(json.dumps(data).replace('"a"', '"a_2"'))
    (new,) = [one for one in read_events(b"".join(found)) if one != json.loads(other[15:])]
    calls = new.get("choices", [{}])[0].get("delta", {}).get("tool_calls", [{}])
    assert new == renamed or (calls[0]["id"], calls[0]["index"]) == ("a_2", 0)
    assert b"".join(found).startswith(other) and b"".join(found).endswith(other)
    if name:
        assert f"event: {name}\n".encode() in b"".join(found)


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        ("chat", chat(piece(id="a", **WHOLE), piece(id="a", **WHOLE), key="message")),
        ("messages", {"content": [{"type": "text"}, {"type": "tool_use", "id": "a"},
                                  {"type": "tool_use", "id": "a"}]}),
        ("responses", {"output": [{"type": "x"}, {"call_id": "a"}, {"call_id": "a"}]}),
        ("responses", {"response": {"output": [{"call_id": "a"}, {"call_id": "a"}]}}),
    ],
)  # fmt: skip
def test_a_whole_reply_has_an_id_for_each_call(protocol: ProtocolName, body: Any) -> None:
    raw = json.dumps(body).encode()
    (found,) = passed(CallIds(), protocol, raw[:9], raw[9:], kind=JSON)
    assert json.loads(found) == json.loads(raw[::-1].replace(b'"a"', b'"2_a"', 1)[::-1]), (
        "the second gets another one"
    )
    ids = CallIds()
    passed(ids, protocol, raw, kind=JSON)
    told = {"messages": [{"role": "tool", "tool_call_id": "a_2"}]}
    assert ids.request(told) == told, "its service cannot tell the two apart"


def test_one_id_that_is_known_is_enough_to_write_a_reply_anew() -> None:
    body = {"output": [{"call_id": "a"}, {"call_id": "b"}]}
    (found,) = passed(known("a"), "responses", json.dumps(body).encode(), kind=JSON)
    assert [item["call_id"] for item in json.loads(found)["output"]] == ["a_2", "b"]


def test_a_piece_that_cannot_be_read_passes_as_it_is() -> None:
    odd = event(chat({"index": 0, "function": 7}))
    assert passed(known("a"), "chat", odd) == [odd, b""]


@pytest.mark.parametrize("raw", [b"no JSON: tool_calls", b"[]", b'{"choices": {"tool_calls": 1}}'])
def test_what_is_no_reply_passes(raw: bytes) -> None:
    ids = known("a")
    for protocol in ("chat", "messages", "responses"):
        assert passed(ids, protocol, raw, kind=JSON) == [raw]
        stream = b"data: " + raw + b"\n\n"
        assert b"".join(passed(ids, protocol, stream)) == stream
    body = json.dumps({"output": [{"call_id": "a"}]}).encode()
    assert passed(ids, "responses", body, kind=JSON, status=400) == [body]


def test_events_pass_when_they_are_whole() -> None:
    one, two = event({"call_id": 1}), event({"call_id": 2})
    chunks = [one[:-1], b"\n" + two + one[:5], one[5:], b"data: tail"]
    assert passed(CallIds(), "chat", *chunks) == [one + two, one, b"data: tail"]
    assert passed(CallIds(), "chat", one) == [one, b""]
    assert passed(CallIds(), "chat", one[:-1], b"\n", two) == [one, two, b""]
    assert passed(CallIds(), "chat", one[:-2], b"\n", b"\n") == [one, b""]


def test_an_event_that_is_too_long_passes_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_ids, "MAX_EVENT", 10)
    ids = known("a")
    long = b'data: {"item": {"call_id": "a"}}'
    assert passed(ids, "responses", b"data: {}\n\n", long[:10], long[10:] + b"\n\n") == [
        b"data: {}\n\n", long + b"\n\n", b"",
    ]  # fmt: skip


def test_an_event_of_several_lines_and_a_mark_is_read() -> None:
    raw = b'\xef\xbb\xbfevent: x\nid: 7\ndata: {"item":\ndata:{"call_id": "a"}}\n\n'
    found = b"".join(passed(known("a"), "responses", raw))
    assert found == event({"item": {"call_id": "a_2"}}, "x")
