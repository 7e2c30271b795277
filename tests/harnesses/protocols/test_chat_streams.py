"""Streams of Chat Completions as servers really send them, and what each means.

``chat-streams.json`` has the streams, each with what is ``right``; they play reports about public
servers (vLLM, SGLang, LMDeploy, LiteLLM and others).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harnesses.base import Usage
from harnesses.protocols.base import BlockDone, CallBegun, ProtocolError, Reply, TextPiece
from harnesses.protocols.chat import ChatCodec
from harnesses.protocols.registry import CODECS
from harnesses.protocols.sse import Splitter, event
from tests.helpers.cells import examples

STREAMS = json.loads((Path(__file__).parent / "chat-streams.json").read_text("utf-8"))
IDS = [stream["name"] for stream in STREAMS]
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}


def read(chunks: list[Any]) -> Reply:
    return ChatCodec().read_stream(iter(chunks))


def part(index: int | None, id: str | None, name: str | None, text: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": text}
    call = {"index": index, "id": id, "type": "function", "function": function}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}


def said(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


def calls_of(reply: Reply) -> list[list[Any]]:
    return [[call.name, dict(call.arguments)] for call in reply.calls]


@pytest.mark.parametrize("stream", STREAMS, ids=IDS)
def test_a_stream_means_what_stands_beside_it(stream: dict[str, Any]) -> None:
    right = stream["right"]
    if right.get("error"):
        with pytest.raises(ProtocolError):
            read(stream["chunks"])
        return
    try:
        reply = read(stream["chunks"])
    except ProtocolError as error:
        assert "or an error" in right.get("note", "") and "finish_reason" in str(error)
        return
    assert reply.text == right.get("text", "")
    assert reply.reasoning == right.get("thought", "")
    assert calls_of(reply) == right.get("calls", [])
    assert len({call.id for call in reply.calls}) == len(reply.calls) or "one id" in stream["name"]
    if right.get("usage") == "estimated":
        assert reply.usage == Usage(1, estimated=True)
    elif "usage" in right:
        assert reply.usage == Usage(1, right["usage"][0], 0, right["usage"][1])


@pytest.mark.parametrize("client", ["responses", "messages"])
@pytest.mark.parametrize("stream", STREAMS, ids=IDS)
def test_a_stream_means_the_same_to_a_client_of_another_protocol(
    stream: dict[str, Any], client: Any
) -> None:
    try:
        reply = read(stream["chunks"])
    except ProtocolError:
        return
    reader, writer = ChatCodec().reader(), CODECS[client].writer("m", "1")
    splitter = Splitter()
    pieces = [piece for chunk in stream["chunks"] for piece in reader.read(chunk)]
    written = b"".join(raw for p in [*pieces, *reader.close()] for raw in writer.write(p))
    events = [*splitter.feed(written), *splitter.end()]
    got = CODECS[client].read_stream(iter(events))
    assert (got.text, got.reasoning) == (reply.text, reply.reasoning)
    assert calls_of(got) == calls_of(reply)
    assert got.usage == reply.usage


NAMES = st.sampled_from(["Bash", "Read", "Write"])
CALLS = st.lists(st.tuples(NAMES, st.dictionaries(NAMES, st.text(max_size=8))), max_size=4)


@settings(max_examples=examples(200))
@given(calls=CALLS, data=st.data())
def test_calls_survive_any_interleaving_of_their_pieces(
    calls: list[tuple[str, Any]], data: st.DataObject
) -> None:
    waiting: list[list[dict[str, Any]]] = []
    for index, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments)
        cut = data.draw(st.integers(0, len(text)))
        repeats = data.draw(st.sampled_from([None, "", f"id{index}", f"other{index}"]))
        pieces = [part(index, f"id{index}", name, text[:cut]), part(index, repeats, None, "")]
        waiting.append([*pieces, part(index, repeats, None, text[cut:])])
    chunks, begun = [], 0
    words = data.draw(st.lists(st.sampled_from(["one", " two", "<x>"]), max_size=3))
    while any(waiting) or words:
        # Calls begin in their order; after that, any of the open ones can go on.
        ready = [n for n, pieces in enumerate(waiting) if pieces and n <= begun]
        turn = data.draw(st.sampled_from([*ready, -1] if words else ready))
        if turn < 0:
            chunks.append(said(content=words.pop(0)))
            continue
        begun = max(begun, turn + 1)
        chunks.append(waiting[turn].pop(0))
    reply = read([*chunks, END]) if chunks else Reply()
    assert calls_of(reply) == [[name, arguments] for name, arguments in calls]
    texts = [c["choices"][0]["delta"].get("content") or "" for c in chunks]
    assert reply.text == "".join(texts)


def test_a_text_and_the_first_call_are_passed_on_as_they_come() -> None:
    reader = ChatCodec().reader()
    assert TextPiece("Look") in list(reader.read(said(content="Look")))
    assert CallBegun("a", "Bash") in list(reader.read(part(0, "a", "Bash", "")))
    assert list(reader.read(part(1, "b", "Read", "{}"))) == []
    assert BlockDone() not in list(reader.read(part(0, None, None, '{"x": 1}')))
    rest = [p for p in [*reader.read(END), *reader.close()] if isinstance(p, CallBegun)]
    assert rest == [CallBegun("b", "Read")]


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_counts_may_come_beside_the_choices_or_alone(beside: bool, last: bool) -> None:
    usage = {"usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    alone = {"choices": [], **usage}
    chunks = [said(content="a"), end | usage] if beside else [said(content="a"), end, alone]
    if not last:  # Then the counts are those of the last event that has some.
        chunks.insert(0, said(content="") | {"usage": {"prompt_tokens": 7, "completion_tokens": 0}})
    reply = read(chunks)
    assert reply.usage == Usage(1, 7, 0, 3) and reply.text == "a"


@pytest.mark.parametrize(
    ("name", "chunks", "calls"),
    [
        ("the name in each piece", [part(0, "a", "Bash", '{"c"'), part(0, "a", "Bash", ': "ls"}')],
         [["Bash", {"c": "ls"}]]),
        ("the name after the id", [part(0, "a", None, ""), part(0, None, "Bash", '{"c": "ls"}')],
         [["Bash", {"c": "ls"}]]),
        ("whole calls one after another at one index, without ids",
         [part(0, None, "Bash", "{}"), part(0, "", "Bash", '{"c": "ls"}')],
         [["Bash", {}], ["Bash", {"c": "ls"}]]),
        ("another name at one index, without ids",
         [part(0, "a", "Bash", '{"c": 1'), part(0, None, "Read", "{}")],
         [["Bash", {"_raw": '{"c": 1'}], ["Read", {}]]),
        ("another id at one index, with the same name",
         [part(0, "a", "Bash", '{"c": 1'), part(0, "b", "Bash", "{}")],
         [["Bash", {"_raw": '{"c": 1'}], ["Bash", {}]]),
        ("no index and no id in the second piece",
         [part(None, "a", "Bash", ""), part(None, None, None, '{"c": "ls"}')],
         [["Bash", {"c": "ls"}]]),
        ("no index, pieces told apart by their ids",
         [part(None, "a", "Bash", ""), part(None, "b", "Read", ""),
          part(None, "a", None, '{"c": 1}'), part(None, "b", None, '{"c": 2}')],
         [["Bash", {"c": 1}], ["Read", {"c": 2}]]),
        ("an index as a float", [part(0.0, "a", "Bash", '{"c"'), part(0.0, "", None, ": 1}")],  # type: ignore[arg-type]
         [["Bash", {"c": 1}]]),
        ("arguments null", [part(0, "a", "Bash", None)], [["Bash", {}]]),
        ("a thought between the pieces",
         [part(0, "a", "Bash", '{"c"'), said(reasoning_content="hm"), part(0, None, None, ": 1}")],
         [["Bash", {"c": 1}]]),
        ("the older field of one call",
         [said(function_call={"name": "Bash", "arguments": '{"c"'}),
          said(function_call={"arguments": ": 1}"})], [["Bash", {"c": 1}]]),
        ("a whole message as the only chunk",
         [{"choices": [{"message": {"content": None, "tool_calls": [
             {"id": "a", "function": {"name": "Bash", "arguments": "{}"}}]}}]}],
         [["Bash", {}]]),
    ],
)  # fmt: skip
def test_other_habits_of_servers(name: str, chunks: list[Any], calls: list[Any]) -> None:
    reply = read([*chunks, END])
    assert calls_of(reply) == calls, name
    assert all(call.id for call in reply.calls)


def test_a_stream_is_read_the_same_in_one_chunk_and_byte_by_byte() -> None:
    def splitted(raw: bytes, size: int) -> Iterator[Any]:
        splitter = Splitter()
        for start in range(0, len(raw), size):
            yield from splitter.feed(raw[start : start + size])
        yield from splitter.end()

    for stream in STREAMS:
        raw = b"".join(map(event, stream["chunks"])) + b"data: [DONE]\n\n"
        assert list(splitted(raw, 1)) == list(splitted(raw, len(raw))) == stream["chunks"]


CALL = {"id": "a", "type": "function", "function": {"name": "run", "arguments": '{"x": 1}'}}


@pytest.mark.parametrize(
    ("pieces", "text", "calls"),
    [
        # A message as the only one, and one that says once more what came in pieces.
        ([], "hello", [["run", {"x": 1}]]),
        ([said(content="")], "hello", [["run", {"x": 1}]]),
        ([said(content="hel"), said(content="lo")], "hello", []),
        ([part(0, "a", "run", '{"x": '), part(0, None, None, "1}")], "", [["run", {"x": 1}]]),
        ([said(content="hello"), part(0, "a", "run", '{"x": 1}')], "hello", [["run", {"x": 1}]]),
    ],
)
def test_a_whole_message_after_pieces_says_nothing_new(
    pieces: list[Any], text: str, calls: list[Any]
) -> None:
    message = {"role": "assistant", "content": "hello", "tool_calls": [CALL]}
    last = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    reply = read([*pieces, last])
    assert (reply.text, calls_of(reply)) == (text, calls)
