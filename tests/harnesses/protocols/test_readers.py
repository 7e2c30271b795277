"""What each event of a stream says, piece by piece."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harnesses.base import Usage
from harnesses.protocols.base import (
    Begun,
    BlockDone,
    CallBegun,
    CallPiece,
    Conversation,
    Ended,
    GenerationOptions,
    Piece,
    ProtocolError,
    ProtocolName,
    Reply,
    ServiceFailure,
    TextPiece,
    Thought,
    ThoughtDone,
    ThoughtPiece,
    Tool,
    ToolCall,
    ToolResult,
)
from harnesses.protocols.registry import CODECS

Event = dict[str, Any]
Said = list[Any]
UNKNOWN = Usage(1, estimated=True)


def read(name: ProtocolName, *events: Event) -> list[list[Piece]]:
    """The pieces of each event, and those at the end."""
    reader = CODECS[name].reader()
    found = [list(reader.read(one)) for one in events]
    return [*found, list(reader.close())]


def chat(finish: Any = None, **delta: Any) -> Event:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def called(index: Any, id: Any, name: Any = None, text: Any = None) -> Event:
    return {"index": index, "id": id, "function": {"name": name, "arguments": text}}


USED = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}


@pytest.mark.parametrize(
    ("events", "pieces"),
    [
        # The first event begins the reply, whatever is in it.
        ([{**chat(content="a"), "model": "m"}, chat("stop"), USED],
         [[Begun("m"), TextPiece("a")], [], [],
          [BlockDone(), Ended("end", Usage(1, 5, 0, 7))]]),
        ([{}, {"type": "ping"}, {"type": "keepalive"}, chat("stop", content="a")],
         [[], [], [], [Begun(""), TextPiece("a")], [BlockDone(), Ended("end", UNKNOWN)]]),
        ([{"object": "chat.completion.chunk"}, chat("stop", content="a")],
         [[Begun("")], [TextPiece("a")], [BlockDone(), Ended("end", UNKNOWN)]]),
        # Another choice is not the reply.
        ([{"choices": [{"index": 1, "delta": {"content": "b"}}]}, chat("stop", content="a"),
          {"choices": [{"index": None, "delta": {"content": "c"}}, {"delta": {"content": "d"}}]}],
         [[Begun("")], [TextPiece("a")], [TextPiece("c"), TextPiece("d")],
          [BlockDone(), Ended("end", UNKNOWN)]]),
        # A thought ends where the text begins, and names its field.
        ([chat(reasoning="h"), chat(reasoning="m"), chat("stop", content="a")],
         [[Begun(""), ThoughtPiece("h")], [ThoughtPiece("m")],
          [ThoughtDone("reasoning", "chat"), TextPiece("a")],
          [BlockDone(), Ended("end", UNKNOWN)]]),
        ([chat("stop", reasoning_content="h")],
         [[Begun(""), ThoughtPiece("h")],
          [ThoughtDone("reasoning_content", "chat"), BlockDone(), Ended("end", UNKNOWN)]]),
        ([chat(content=[{"type": "thinking", "thinking": "h"}]), chat("stop", content="a")],
         [[Begun(""), ThoughtPiece("h")], [ThoughtDone("reasoning_content", "chat"),
                                           TextPiece("a")],
          [BlockDone(), Ended("end", UNKNOWN)]]),
        # A text that a thought interrupts goes on.
        ([chat(content="a"), chat(reasoning="h"), chat("stop", content="b")],
         [[Begun(""), TextPiece("a")], [ThoughtPiece("h")],
          [ThoughtDone("reasoning", "chat"), TextPiece("b", continues=True)],
          [BlockDone(), Ended("end", UNKNOWN)]]),
        ([chat(refusal="no"), chat("stop")],
         [[Begun(""), TextPiece("no")], [], [BlockDone(), Ended("end", UNKNOWN)]]),
        # The first call as it comes, and all else after it.
        ([chat(content="a"), chat(tool_calls=[called(0, "x", "f", "{")]), chat(content="b"),
          chat(tool_calls=[called(1, "y", "g", "{}")]),
          chat("tool_calls", tool_calls=[called(0, None, None, "}")])],
         [[Begun(""), TextPiece("a")], [CallBegun("x", "f"), CallPiece("{")], [], [],
          [CallPiece("}")],
          [BlockDone(), CallBegun("y", "g"), CallPiece("{}"), BlockDone(),
           TextPiece("b", continues=True), Ended("tool_calls", UNKNOWN)]]),
        ([chat(reasoning="h"), chat("stop", tool_calls=[called(0, "x", "f", "{}")])],
         [[Begun(""), ThoughtPiece("h")],
          [ThoughtDone("reasoning", "chat"), CallBegun("x", "f"), CallPiece("{}")],
          [BlockDone(), Ended("tool_calls", UNKNOWN)]]),
        ([chat(content="<thi"), chat("stop", tool_calls=[called(0, "x", "f", "{}")])],
         [[Begun("")], [TextPiece("<thi"), CallBegun("x", "f"), CallPiece("{}")],
          [BlockDone(), Ended("tool_calls", UNKNOWN)]]),
        # Nothing said, and a count that says that it is so.
        ([chat("stop"), {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}],
         [[Begun("")], [], [BlockDone(), Ended("end", Usage(1, 5, 0, 1))]]),
        ([chat("stop", content="")], [[Begun("")], [BlockDone(), Ended("end", UNKNOWN)]]),
        ([chat("eos", content="a")],
         [[Begun(""), TextPiece("a")], [BlockDone(), Ended("end", UNKNOWN, "eos")]]),
        # A word for the end is not taken back.
        ([chat("length", content="a"), chat(content="")],
         [[Begun(""), TextPiece("a")], [], [BlockDone(), Ended("length", UNKNOWN)]]),
    ],
)  # fmt: skip
def test_a_stream_of_chat(events: list[Event], pieces: Said) -> None:
    assert read("chat", *events) == pieces


def test_what_went_wrong_in_a_stream_of_chat_is_told() -> None:
    with pytest.raises(ProtocolError, match=r'after \{"choices": \[\], "x": "y+$') as error:
        read("chat", chat(content="a"), {"choices": [], "x": "y" * 600})
    assert str(error.value).count("y") < 500
    with pytest.raises(ProtocolError, match=r"without finish_reason$"):
        read("chat", chat(content="a"), USED)
    with pytest.raises(ServiceFailure, match="tool call 'x' has no name"):
        read("chat", chat("stop", tool_calls=[called(0, "x", None, "{}")]))
    with pytest.raises(ServiceFailure, match="stream: no choices"):
        read("chat", {"detail": "x"})
    with pytest.raises(ServiceFailure, match="stream: error: no"):
        read("chat", chat(content="a", error="no"))


def block(index: Any, **start: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": start}


def more(index: Any, kind: str, key: str, text: Any) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, key: text}}


def text(index: Any, said: str) -> Event:
    return more(index, "text_delta", "text", said)


def stop(index: Any) -> Event:
    return {"type": "content_block_stop", "index": index}


START = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 5}}}
LAST = {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 7}}  # fmt: skip
OVER = {"type": "message_stop"}
COUNTED = Usage(1, 5, 0, 7)


@pytest.mark.parametrize(
    ("events", "pieces"),
    [
        ([START, block(0, type="text", text=""), text(0, "a"), stop(0), LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [], [TextPiece("a")], [BlockDone()], [],
          [Ended("end", COUNTED)], []]),
        # Without a beginning, or an end.
        ([text(0, "a"), LAST, OVER],
         [[Begun("", UNKNOWN), TextPiece("a")], [],
          [BlockDone(), Ended("end", Usage(1, 0, 0, 7, estimated=True))], []]),
        ([START, START, block(0, type="text", text="a"), text(0, "b"), stop(0), stop(0), stop(9),
          {"type": "ping"}, LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [], [TextPiece("a")], [TextPiece("b")],
          [BlockDone()], [], [], [], [], [Ended("end", COUNTED)], []]),
        # Thoughts and their seals.
        ([START, block(0, type="thinking", thinking="h", signature="s"),
          more(0, "thinking_delta", "thinking", "m"),
          more(0, "signature_delta", "signature", "i"),
          more(0, "signature_delta", "signature", "g"), stop(0),
          block(1, type="redacted_thinking", data="d"), stop(1),
          block(2, type="thinking", thinking="", signature="skillopt:responses:!x"), stop(2),
          text(3, "a"), LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [ThoughtPiece("h")], [ThoughtPiece("m")],
          [], [], [ThoughtDone("sig", "messages")], [], [ThoughtDone("d", "messages", True)], [],
          [ThoughtDone("x", "responses")], [TextPiece("a")], [],
          [BlockDone(), Ended("end", COUNTED)], []]),
        # Calls: arguments in pieces, in the beginning, or in none.
        ([START, block(0, type="tool_use", id="x", name="f", input={}),
          more(0, "input_json_delta", "partial_json", "{}"),
          more(0, "input_json_delta", "partial_json", {"a": 1}), stop(0),
          block(1, type="tool_use", id="y", name="g", input={"b": 1}), stop(1),
          block(2, type="tool_use", id="z", name="h"),
          more(2, "input_json_delta", "partial_json", ""), stop(2), LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [CallBegun("x", "f")], [CallPiece("{}")],
          [CallPiece('{"a": 1}')], [BlockDone()], [CallBegun("y", "g")],
          [CallPiece('{"b": 1}'), BlockDone()], [CallBegun("z", "h")], [CallPiece("")],
          [CallPiece("{}"), BlockDone()], [], [Ended("tool_calls", COUNTED)], []]),
        # An index that is used again ends the block before.
        ([START, block(0, type="text", text="a"), block(0, type="text", text="b"), LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [TextPiece("a")],
          [BlockDone(), TextPiece("b")], [], [BlockDone(), Ended("end", COUNTED)], []]),
        # A text after the end of its block is a new one.
        ([START, block(0, type="text", text="a"), stop(0), text(0, "b"), LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [TextPiece("a")], [BlockDone()],
          [TextPiece("b")], [], [BlockDone(), Ended("end", COUNTED)], []]),
        # Tagged thoughts are in the first text alone.
        ([START, block(0, type="text", text=""), text(1, "<think>h</think>a"), text(0, "<think>"),
          LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [], [], [TextPiece("<think>")], [],
          [BlockDone(), ThoughtPiece("h"), ThoughtDone("", None), TextPiece("a"), BlockDone(),
           Ended("end", COUNTED)], []]),
        ([START, text(0, "<thi"), text(1, "nk>x"), LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [], [], [],
          [TextPiece("<thi"), BlockDone(), TextPiece("nk>x"), BlockDone(), Ended("end", COUNTED)],
          []]),
        # A word for the end, and counts, are not taken back by null.
        ([START, text(0, "a"), LAST,
          {"type": "message_delta", "delta": {"stop_reason": None}, "usage":
           {"output_tokens": None, "input_tokens": 6}}, {"type": "message_delta"}, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [TextPiece("a")], [], [], [],
          [BlockDone(), Ended("end", Usage(1, 6, 0, 7))], []]),
        # Blocks and pieces of other kinds say nothing.
        ([START, block(0, type="server_tool_use", id="x", name="search"), text(1, "a"),
          more(1, "citations_delta", "citation", {}), stop(0), stop(1), LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [], [], [],
          [TextPiece("a")], [BlockDone()], [], [Ended("end", COUNTED)], []]),
        # Nothing but a count.
        ([START, LAST, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [], [Ended("end", COUNTED)], []]),
        ([START, {**LAST, "usage": {"output_tokens": 1}}, OVER],
         [[Begun("m", Usage(1, 5, estimated=True))], [], [Ended("end", Usage(1, 5, 0, 1))], []]),
    ],
)  # fmt: skip
def test_a_stream_of_messages(events: list[Event], pieces: Said) -> None:
    assert read("messages", *events) == pieces


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([START, text(0, "a"), LAST], "ended without message_stop"),
        ([more(0, "input_json_delta", "partial_json", "{}")], "block 0 has not begun"),
        ([more(0, "signature_delta", "signature", "s")], "block 0 has not begun"),
        ([block(3, type="tool_use", id="x")], "block 3: a tool call has no name"),
        ([{"content": []}], "an event without a type: "),
        ([{"x": 1}], "stream: no content"),
        ([{"type": "message_delta", "delta": {"error": "no"}}], "stream: error: no"),
        ([{"type": "message_start"}], "message: expected dict"),
        ([OVER], "without content"),
    ],
)
def test_a_stream_of_messages_that_cannot_be_read(events: list[Event], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        read("messages", *events)


def added(index: Any, **item: Any) -> Event:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: Any, **item: Any) -> Event:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def extended(index: Any, what: str, said: Any, **more: Any) -> Event:
    return {"type": f"response.{what}.delta", "output_index": index, "delta": said, **more}


TEXT, REFUSAL = "output_text", "refusal"
SUMMARY, ARGUMENTS = "reasoning_summary_text", "function_call_arguments"
CREATED = {"type": "response.created", "response": {"model": "m"}}
BEGUN = [Begun("m")]


def completed(**response: Any) -> Event:
    usage = {"usage": {"input_tokens": 5, "output_tokens": 7}}
    return {"type": "response.completed", "response": {**usage, **response}}


def message(*texts: str, kind: str = "output_text") -> Event:
    key = "refusal" if kind == "refusal" else "text"
    return {"type": "message", "content": [{"type": kind, key: said} for said in texts]}


@pytest.mark.parametrize(
    ("events", "pieces"),
    [
        ([CREATED, added(0, type="message"), extended(0, TEXT, "a"), done(0, **message("ab")),
          completed()],
         [BEGUN, [], [TextPiece("a")], [TextPiece("b"), BlockDone()], [Ended("end", COUNTED)], []]),
        # Parts of a content, and of a summary, are lines.
        ([CREATED, added(0, type="message"), extended(0, TEXT, "a", content_index=0),
          extended(0, TEXT, "b", content_index=1), extended(0, TEXT, "c", content_index=1),
          done(0, **message("a", "bc")), completed()],
         [BEGUN, [], [TextPiece("a")], [TextPiece("\nb")], [TextPiece("c")], [BlockDone()],
          [Ended("end", COUNTED)], []]),
        ([CREATED, added(0, type="reasoning"), extended(0, SUMMARY, "a", summary_index=0),
          extended(0, SUMMARY, "b", summary_index=2),
          done(0, type="reasoning", id="r", encrypted_content="e",
               summary=[{"type": "summary_text", "text": "other"}]),
          extended(1, TEXT, "c"), completed()],
         [BEGUN, [], [ThoughtPiece("a")], [ThoughtPiece("\nb")],
          [ThoughtDone("r e", "responses")], [TextPiece("c")],
          [BlockDone(), Ended("end", COUNTED)], []]),
        ([CREATED, extended(0, TEXT, "a", content_index=3), completed()],
         [BEGUN, [TextPiece("a")], [BlockDone(), Ended("end", COUNTED)], []]),
        # A thought without a text is hidden; one in the end alone is read there.
        ([CREATED, done(0, type="reasoning", id="r", encrypted_content="e"),
          done(1, type="reasoning", summary=[{"type": "summary_text", "text": "h"}]),
          completed(output=[message("a")] * 3)],
         [BEGUN, [ThoughtDone("r e", "responses", True)],
          [ThoughtPiece("h"), ThoughtDone("", "responses")],
          [TextPiece("a"), BlockDone(), Ended("end", COUNTED)], []]),
        # Calls, with and without a beginning.
        ([CREATED, added(0, type="function_call", call_id="x", name="f"),
          extended(0, ARGUMENTS, '{"a"'), extended(0, ARGUMENTS, ": 1}", content_index=4),
          {"type": "response.function_call_arguments.done", "output_index": 0,
           "arguments": '{"a": 1}'},
          done(0, type="function_call", call_id="other", name="f", arguments='{"a":  1}'),
          completed()],
         [BEGUN, [CallBegun("x", "f")], [CallPiece('{"a"')], [CallPiece(": 1}")], [],
          [BlockDone()], [Ended("tool_calls", COUNTED)], []]),
        ([CREATED, added(0, type="function_call", id="i"), extended(0, ARGUMENTS, "{"),
          done(0, type="function_call", id="i", name="f", arguments="{}"), completed()],
         [BEGUN, [], [], [CallBegun("i", "f"), CallPiece("{"), CallPiece("}"), BlockDone()],
          [Ended("tool_calls", COUNTED)], []]),
        ([CREATED, done(0, type="custom_tool_call", call_id="x", name="f", input="text"),
          completed()],
         [BEGUN, [CallBegun("x", "f", True), CallPiece("text"), BlockDone()],
          [Ended("tool_calls", COUNTED)], []]),
        ([CREATED, added(0, type="function_call", call_id="x", name="f", namespace="g"),
          {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": "{}"},
          completed()],
         [BEGUN, [CallBegun("x", "g__f")], [CallPiece("{}")],
          [BlockDone(), Ended("tool_calls", COUNTED)], []]),
        # The end of a text has one of several parts, and is not read.
        ([CREATED, added(0, type="message"), extended(0, TEXT, "a"),
          {"type": "response.output_text.done", "output_index": 0, "text": "ab"}, completed()],
         [BEGUN, [], [TextPiece("a")], [], [BlockDone(), Ended("end", COUNTED)], []]),
        # A refusal, by its event or its item.
        ([CREATED, extended(0, REFUSAL, "no"), completed()],
         [BEGUN, [TextPiece("no")], [BlockDone(), Ended("refusal", COUNTED)], []]),
        ([CREATED, done(0, **message("no", kind="refusal")), completed()],
         [BEGUN, [TextPiece("no"), BlockDone()], [Ended("refusal", COUNTED)], []]),
        # Items by their ids where indices lie, and by their kind where there are none.
        ([CREATED, added(0, type="message", id="a"), added(0, type="message", id="b"),
          extended(0, TEXT, "y", item_id="b"), extended(0, TEXT, "x", item_id="a"),
          completed()],
         [BEGUN, [], [], [], [TextPiece("x")],
          [BlockDone(), TextPiece("y"), BlockDone(), Ended("end", COUNTED)], []]),
        ([CREATED, added(None, type="reasoning"), added(None, type="message"),
          extended(None, TEXT, "a"), extended(None, SUMMARY, "h"), completed()],
         [BEGUN, [], [], [], [ThoughtPiece("h")],
          [ThoughtDone("", "responses"), TextPiece("a"), BlockDone(), Ended("end", COUNTED)], []]),
        ([CREATED, added(0, type="message"), extended(1, TEXT, "b"), extended(0, TEXT, "a"),
          completed()],
         [BEGUN, [], [], [TextPiece("a")],
          [BlockDone(), TextPiece("b"), BlockDone(), Ended("end", COUNTED)], []]),
        # Only the end has items; or some that have come, by index or id.
        ([completed(model="n", output=[message("a")])],
         [[Begun("n"), TextPiece("a"), BlockDone(), Ended("end", COUNTED)], []]),
        ([CREATED, done(1, **message("a")),
          completed(output=[{"type": "reasoning", "id": "r"}, message("x")])],
         [BEGUN, [TextPiece("a"), BlockDone()],
          [ThoughtDone("", "responses"), Ended("end", COUNTED)], []]),
        # The status of an event that has none in it.
        ([CREATED, extended(0, TEXT, "a"),
          {"type": "response.incomplete",
           "response": {"incomplete_details": {"reason": "max_output_tokens"}}}],
         [BEGUN, [TextPiece("a")], [BlockDone(), Ended("length", UNKNOWN)], []]),
        ([CREATED, completed()], [BEGUN, [Ended("end", COUNTED)], []]),
        ([CREATED, completed(usage={"input_tokens": 5, "output_tokens": 1})],
         [BEGUN, [Ended("end", Usage(1, 5, 0, 1))], []]),
        # Pieces without a number are of one part; an id is enough to find an item.
        ([CREATED, extended(0, TEXT, "a"), extended(0, TEXT, "b"), completed()],
         [BEGUN, [TextPiece("a")], [TextPiece("b")], [BlockDone(), Ended("end", COUNTED)], []]),
        ([CREATED, added(None, type="message", id="a"), added(None, type="message", id="b"),
          extended(None, TEXT, "x", item_id="a"), extended(None, TEXT, "y", item_id="b"),
          completed()],
         [BEGUN, [], [], [TextPiece("x")], [],
          [BlockDone(), TextPiece("y"), BlockDone(), Ended("end", COUNTED)], []]),
        # An item of another kind says nothing.
        ([CREATED, added(0, type="web_search_call"), done(0, type="web_search_call"), completed()],
         [BEGUN, [], [BlockDone()], [Ended("end", COUNTED)], []]),
    ],
)  # fmt: skip
def test_a_stream_of_responses(events: list[Event], pieces: Said) -> None:
    assert read("responses", *events) == pieces


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([CREATED, extended(0, TEXT, "a")], "ended without response.completed"),
        ([CREATED, extended(7, TEXT, "ab" * 50), done(7, **message("x" * 90))],
         "output item 7 ended with '" + "x" * 80 + "', but its pieces were '" + "ab" * 40 + "'"),
        ([{"output": []}], "an event without a type"), ([{"x": 1}], "stream: no output"),
        ([{"type": "response.x", "response": {"error": "no"}}], "stream: error: no"),
        ([{"type": "response.failed"}], "'failed'"),
        ([{"type": "response.incomplete", "response": {}}], "incomplete, without a reason"),
        ([{"type": "response.completed", "response": {"status": "failed"}}], "'failed'"),
        ([{"type": "response.cancelled", "response": {"status": "completed"}}], "'cancelled'"),
        ([CREATED, done(0, type="function_call", arguments="{}")], "a tool call has no name"),
        ([{"type": "response.completed", "response": {}}], "without content"),
    ],
)  # fmt: skip
def test_a_stream_of_responses_that_cannot_be_read(events: list[Event], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        read("responses", *events)


@pytest.mark.parametrize(
    ("said", "whole", "alike"),
    [("a  b", "a b\n", True), ('{"a":1}', '{ "a": 1 }', True), ("a", "b", False),
     ("[1]", "x", False), ('{"a": 1}', '{"a": 2}', False), ("a", "", True)],
)  # fmt: skip
def test_an_end_that_says_the_same_in_other_words(said: str, whole: str, alike: bool) -> None:
    events = [CREATED, extended(0, TEXT, said), done(0, **message(whole)), completed()]
    if alike:
        assert read("responses", *events)[1] == [TextPiece(said)]
    else:
        with pytest.raises(ProtocolError, match="ended with"):
            read("responses", *events)


PIECES: list[Piece] = [
    Begun("m"), ThoughtPiece("h"), ThoughtPiece("m"), TextPiece("a"), TextPiece("b"),
    CallBegun("x", "f"), CallPiece("{"), CallPiece("}"), CallBegun("y", "g"),
    CallPiece('{"a": 1}'), Ended("tool_calls", COUNTED),
]  # fmt: skip


@pytest.mark.parametrize("name", CODECS)
def test_a_writer_ends_what_nobody_ended(name: ProtocolName) -> None:
    writer = CODECS[name].writer("m", "1")
    events = [event for piece in PIECES for event in writer.write(piece)]
    data = [json.loads(one.split(b"data: ")[1]) for one in events if b"[DONE]" not in one]
    reply = CODECS[name].read_stream(iter(data))
    assert (reply.text, reply.reasoning, reply.stop) == ("ab", "hm", "tool_calls")
    assert [(c.id, c.name, c.arguments) for c in reply.calls] == [
        ("x", "f", {}), ("y", "g", {"a": 1}),
    ]  # fmt: skip
    kinds = [one.get("type") for one in data]
    blocks = {"messages": "content_block_st", "responses": "response.output_item."}
    if name in blocks:  # Each of the four is begun and ended once.
        assert sum(str(kind).startswith(blocks[name]) for kind in kinds) == 8
        assert len(kinds) == len(set(map(str, data)))


def test_a_piece_of_a_call_is_in_a_call() -> None:
    writer = CODECS["responses"].writer("m", "1")
    with pytest.raises(ProtocolError, match="a piece of a tool call outside of a call"):
        list(writer.write(CallPiece("{}")))


def test_what_a_value_has_unless_it_is_told() -> None:
    shown = Conversation("m", ())
    assert (shown.tools, shown.stream, shown.schema_name, shown.schema) == ((), False, None, None)
    assert (shown.options, shown.left_out) == (GenerationOptions(), ())
    assert vars(GenerationOptions()) == {
        "max_tokens": None, "temperature": None, "top_p": None, "stop": (), "tool_choice": None,
        "tool": "", "parallel": None,
    }  # fmt: skip
    assert vars(Begun("m")) == {"model": "m", "usage": Usage(requests=1)}
    assert (Reply().usage, Reply().stop) == (Usage(requests=0), "end")
    assert not ToolResult("c", "x").is_error and not ToolCall("c", "f", {}).custom
    assert not Tool("f", "d", {}).custom and not Thought("t").hidden
    assert not TextPiece("a").continues and not ThoughtDone().hidden
    assert not CallBegun("c", "f").custom and Thought("t").origin is None
