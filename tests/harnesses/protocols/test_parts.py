"""The parts that all protocols share: fields, words for the end, errors, seals, tags and pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harnesses.base import Usage
from harnesses.protocols import sse
from harnesses.protocols.base import (
    Begun,
    BlockDone,
    CallBegun,
    CallPiece,
    Ended,
    Image,
    Message,
    Piece,
    ProtocolError,
    ProtocolName,
    Reply,
    ServiceFailure,
    TextPiece,
    Thought,
    ThoughtDone,
    ThoughtPiece,
    ToolCall,
    ToolResult,
)
from harnesses.protocols.errors import check_body, check_error, error_body, error_event
from harnesses.protocols.errors import error_message as message_in
from harnesses.protocols.fields import (
    argument_text,
    content_of,
    images_in,
    made_id,
    object_in,
    plain,
    strings,
    text_of,
    tool,
    uncounted,
    without_blanks,
)
from harnesses.protocols.pieces import (
    Gathering,
    InOrder,
    call_of,
    call_text,
    is_whole,
    pieces_of,
)
from harnesses.protocols.seals import sealed, unsealed
from harnesses.protocols.sse import Splitter, event, read_events
from harnesses.protocols.stops import STOPS, check_stop, read_stop
from harnesses.protocols.tagged_thoughts import TagReader, is_tag, split_thoughts, split_unopened
from harnesses.protocols.tagged_thoughts import tagged as between_tags

PICTURE = Image("data:image/png;base64,AAAA")


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("words", "words"), ({"type": "text", "text": "words"}, "words"),
        ({"type": "output_text", "text": ""}, ""), ({"type": "refusal", "refusal": "no"}, "no"),
        ({"type": "x", "text": 7}, None), (7, None), (None, None), ({"type": "x"}, None),
        ({"type": "image_url", "image_url": {"url": PICTURE.url}}, PICTURE),
        ({"type": "image_url", "image_url": PICTURE.url}, PICTURE),
        ({"type": "input_image", "image_url": PICTURE.url}, PICTURE),
        ({"type": "input_image", "file_id": "f"}, "[image]"),
        ({"type": "image_url", "image_url": {"url": 7}}, "[image]"),
        ({"type": "image_url", "image_url": {}}, "[image]"),
        ({"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                      "data": "AAAA"}}, PICTURE),
        ({"type": "image", "source": {"type": "url", "url": "https://h"}}, Image("https://h")),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "[image]"),
        ({"type": "document"}, "[document]"), ({"type": "input_file"}, "[input_file]"),
        ({"type": "file"}, "[file]"), ({"type": "input_audio"}, "[input_audio]"),
    ],
)  # fmt: skip
def test_a_part_of_a_content(part: Any, found: Any) -> None:
    assert content_of([part]) == (() if found is None else (found,))
    assert content_of([part, "more"])[-1] == "more"
    text = "[image]" if isinstance(found, Image) else found
    assert plain([part]) == (text or "")


def test_a_content_of_any_form() -> None:
    assert content_of(None) == () and content_of("x") == ("x",) and plain("x") == "x"
    with pytest.raises(ProtocolError, match="content: expected string or list, got int"):
        content_of(7)
    assert text_of(("a", PICTURE, "b")) == "a\n[image]\nb" and text_of(()) == ""
    assert images_in(("a", PICTURE)) == ("a", PICTURE) and images_in(("a", "b")) == ()
    assert strings("a") == ("a",) and strings(["a", 7, "b"]) == ("a", "b") and strings(None) == ()


@pytest.mark.parametrize(
    ("value", "text"), [("x", "x"), ("", ""), (None, ""), ({"a": 1}, '{"a": 1}'), (0, "0")]
)
def test_a_part_of_arguments_is_text(value: Any, text: str) -> None:
    assert argument_text(value) == text


@pytest.mark.parametrize("value", [None, "", True, False, 1.5, []])
def test_an_id_is_made_if_there_is_none(value: Any) -> None:
    first, second = made_id(value), made_id(value)
    assert first.startswith("call_") and len(first) == 21 and first != second
    assert made_id("x") == "x" and made_id(7) == "7" and made_id(0) == "0"


def test_what_is_no_object_is_shown() -> None:
    assert object_in('{"a": 1}', "it") == {"a": 1}
    with pytest.raises(ProtocolError, match=r"^it is not JSON: 'x{80}'$"):
        object_in("x" * 81, "it")
    with pytest.raises(ProtocolError, match=r"^it is not an object: b'\[1\]'$"):
        object_in(b"[1]", "it")
    assert uncounted({"n": 1, "estimated": True}, "n") and not uncounted({"n": 1, "estimated": 1})


def test_a_tool_has_a_name_and_defaults() -> None:
    found = tool({"name": "f"})
    assert (found.name, found.description, found.parameters, found.custom) == ("f", "", {}, False)
    found = tool({"name": "f", "description": "d", "schema": {"a": 1}}, "schema")
    assert (found.description, found.parameters) == ("d", {"a": 1})
    with pytest.raises(ProtocolError, match="name: expected str"):
        tool({})


CALL = ToolCall("c", "f", {})


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (Message("user", " \n"), Message("user", "(nothing)")),
        (Message("assistant"), Message("assistant", "(nothing)")),
        (Message("system", " "), None),
        (Message("system", " x "), Message("system", " x ")),
        (Message("user", " ", content=(" ", PICTURE)), Message("user", content=(PICTURE,))),
        (Message("user", " ", content=(" ",)), Message("user", "(nothing)")),
        (Message("assistant", " ", (CALL,)), Message("assistant", "", (CALL,))),
        (Message("assistant", thoughts=(Thought("t"),)),
         Message("assistant", thoughts=(Thought("t"),))),
        (Message("user", results=(ToolResult("c", " "),
                                  ToolResult("d", "x", content=("", PICTURE)))),
         Message("user", results=(ToolResult("c", "(no output)"),
                                  ToolResult("d", "x", content=(PICTURE,))))),
    ],
)  # fmt: skip
def test_blanks_are_left_out_or_noted(given: Message, left: Message | None) -> None:
    assert without_blanks([given]) == ([] if left is None else [left])


@pytest.mark.parametrize("word", [*STOPS, "STOP", "Length", None, 7, "weird"])
def test_words_that_report_no_failure(word: Any) -> None:
    check_stop(word)


@pytest.mark.parametrize(
    "word",
    ["error", "ERROR", "failed", "abort", "cancelled", "timeout", "time_out", "overloaded",
     "insufficient_x", "unavailable", "interrupted", "exception", "queued", "in_progress"],
)  # fmt: skip
def test_words_that_do(word: str) -> None:
    with pytest.raises(ServiceFailure, match=f"ended the reply with '{word}'") as error:
        check_stop(word)
    assert (error.value.code, error.value.type) == (word, "")
    for near in ("requeued", "queued_up", "x_in_progress"):
        check_stop(near)


WHOLE, HALF = ToolCall("c", "f", {}), ToolCall("c", "f", {"_raw": "{"})
NONE = "without content"


@pytest.mark.parametrize(
    ("word", "text", "calls", "other", "found"),
    [
        ("stop", "x", (), False, ("end", "")), ("END_TURN", "x", (), False, ("end", "")),
        ("stop", "", (), True, ("end", "")), ("stop", "", (), False, NONE),
        ("stop", " ", (), False, ("end", "")), ("stop", "", (HALF,), False, ("tool_calls", "")),
        ("stop", "", (WHOLE,), False, ("tool_calls", "")),
        ("tool_calls", "", (WHOLE,), False, ("tool_calls", "")),
        ("tool_calls", "x", (), False, ("end", "tool_calls")),
        ("tool_calls", " ", (), True, "without a call"), ("tool_calls", "", (), False, NONE),
        ("length", "", (), False, ("length", "")), ("length", "", (WHOLE,), False, ("length", "")),
        ("max_tokens", "x", (), False, ("length", "")), ("SAFETY", "", (), False, ("refusal", "")),
        ("refusal", "x", (WHOLE,), False, ("refusal", "")),
        ("weird", "x", (), False, ("end", "weird")), (None, "x", (), False, ("end", "none")),
        (7, "x", (), False, ("end", "none")),
        ("weird", "", (WHOLE,), False, ("tool_calls", "weird")),
        ("weird", "", (HALF,), True, NONE), ("weird", " ", (), True, NONE),
        (None, "", (), True, NONE),
    ],
)  # fmt: skip
def test_why_a_reply_ended(
    word: Any, text: str, calls: tuple[ToolCall, ...], other: bool, found: Any
) -> None:
    if isinstance(found, str):
        with pytest.raises(ServiceFailure, match=found):
            read_stop(word, text, calls, other)
    else:
        assert read_stop(word, text, calls, other) == found


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (403, "permission_error"),
     (404, "not_found_error"), (413, "request_too_large"), (429, "rate_limit_error"),
     (529, "overloaded_error"), (500, "api_error"), (503, "api_error"),
     (422, "invalid_request_error"), (499, "invalid_request_error")],
)  # fmt: skip
def test_the_body_of_an_error(status: int, kind: str) -> None:
    error = {"type": kind, "message": "no"}
    assert error_body("messages", status, "no") == {"type": "error", "error": error}
    for name in ("chat", "responses"):
        body = error_body(name, status, "no")
        assert body == {"error": {**error, "code": None, "param": None}}


@pytest.mark.parametrize("code", ["", "c"])
def test_the_event_of_an_error(code: str) -> None:
    named = {"code": code} if code else {}
    error = {"type": "api_error", "message": "no"}
    assert error_event("messages", "no", code) == event(
        {"type": "error", "error": error | named}, "error"
    )
    assert error_event("chat", "no", code) == event(
        {"error": {**error, "code": code or None, "param": None}}
    )
    response = {
        "id": "resp_failed", "object": "response", "status": "failed",
        "error": {"code": code or "server_error", "message": "no"}, "output": [],
    }  # fmt: skip
    failed = {"type": "response.failed", "sequence_number": 0, "response": response}
    assert error_event("responses", "no", code) == event(failed, "response.failed")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'{"error": {"message": "m"}}', "m"), (b'{"message": "m"}', "m"), (b'{"error": "m"}', "m"),
        (b'"m"', "m"), (b' {"error": {"message": 7}} ', '{"error": {"message": 7}}'),
        (b"{", "{"), (b" words\n", "words"), (b"x" * 2001, "x" * 2000), (b"[1]", "[1]"),
    ],
)  # fmt: skip
def test_the_message_of_any_error(raw: bytes, text: str) -> None:
    assert message_in(raw) == text


@pytest.mark.parametrize(
    ("body", "words", "code", "type"),
    [
        ({"error": "no"}, "reply: error: no", "", ""),
        ({"error": {"message": "no", "code": "c", "type": "t"}},
         'reply: error: no {"code": "c"}', "c", "t"),
        ({"error": {"message": "no", "code": 7}}, 'reply: error: no {"code": 7}', "7", ""),
        ({"error": {"message": "no", "metadata": {"a": 1}}},
         'reply: error: no {"metadata": {"a": 1}}', "", ""),
        ({"error": {"message": "", "type": "t"}},
         'reply: error: {"message": "", "type": "t"}', "", "t"),
        ({"error": [1]}, "reply: error: [1]", "", ""),
        ({"error": {"message": "x" * 3000}}, "reply: error: " + "x" * 2000, "", ""),
        ({"object": "error", "message": "no"}, "reply: error: no", "", ""),
        ({"type": "some_error", "message": "no"}, "reply: error: no", "", "some_error"),
        ({"choices": None, "code": "c"}, 'reply: no choices: {"choices": null, "code": "c"}',
         "c", ""),
    ],
)  # fmt: skip
def test_a_failure_in_the_services_words(body: Any, words: str, code: str, type: str) -> None:
    with pytest.raises(ServiceFailure) as error:
        check_body(body, "choices")
    assert (str(error.value), error.value.code, error.value.type) == (words, code, type)


def test_a_body_that_is_a_reply_passes() -> None:
    check_body({"choices": [], "error": None, "object": "x", "type": "errors"}, "choices")
    check_error({"error": ""}, "reply")
    for body, words in (([], "reply: expected an object, got list"),
                        ({"choices": 7}, "reply: choices: expected a list, got int")):  # fmt: skip
        with pytest.raises(ProtocolError, match=words):
            check_body(body, "choices")


@pytest.mark.parametrize(
    ("thought", "own", "seal"),
    [
        (Thought("t", "s", "chat"), "chat", "s"),
        (Thought("t", "s"), "chat", "s"),
        (Thought("t", "s", "messages"), "chat", "skillopt:messages:s"),
        (Thought("t", "s:x", "messages", True), "chat", "skillopt:messages:!s:x"),
        (Thought("t", "", "responses"), "chat", "skillopt:responses:"),
    ],
)
def test_a_seal_comes_back_to_its_protocol(thought: Thought, own: ProtocolName, seal: str) -> None:
    assert sealed(thought, own) == seal
    back = unsealed("t", seal, own)
    assert back == (thought if thought.origin else Thought("t", "s", own))


@pytest.mark.parametrize(
    ("seal", "hidden"), [("skillopt:other:s", False), ("skillopt:chat", True), ("x:chat:s", False)]
)
def test_what_is_no_mark_is_the_seal_itself(seal: str, hidden: bool) -> None:
    assert unsealed("t", seal, "chat", hidden) == Thought("t", seal, "chat", hidden)
    assert unsealed("", "skillopt:messages:s", "chat", True) == Thought("", "s", "messages", True)


@pytest.mark.parametrize(
    ("text", "thought", "rest"),
    [
        ("</think>x", None, "x"), ("a</think>b", "a", "b"), ("a\n</think> b", "a", "b"),
        (" a \n</think>\nb", "a", "b"), ("a </think>\r\nb", "a", "b"), ("a </think> ", "a", ""),
        ("a[/THINK]b", "a", "b"), ("`x` a\n</thinking>\nb", "`x` a", "b"),
        ("```\nx\n```\n</think>\nb", "```\nx\n```", "b"), ("a</think>b</think>", "a", "b</think>"),
    ],
)  # fmt: skip
def test_a_thought_without_its_opening_tag(text: str, thought: str | None, rest: str) -> None:
    wanted = (Thought(thought),) if thought else ()
    assert split_unopened(text) == (wanted, rest)


@pytest.mark.parametrize(
    "text",
    ["a </think> b", "a</think> b", "a </think>b", '{"a": "</think>"}', ' ["</think>\n"]',
     "a <think>\n</think>\nb", "'</think>\nb", "a '</think>\nb", "a</think>`b",
     "```\na\n</think>\n", "see `a </think>\nb", "no tag", '"</think>"', "\u201c</think>\u201d"],
)  # fmt: skip
def test_a_tag_that_is_a_part_of_the_text(text: str) -> None:
    assert split_unopened(text) == ((), text)


def test_a_seal_that_is_a_tag() -> None:
    assert is_tag("<think>") and is_tag("[think]") and not is_tag("</think>") and not is_tag("")
    assert between_tags("<think>", "t") == "<think>\nt\n</think>\n\n"
    assert between_tags("[think]", "t") == "[THINK]\nt\n[/THINK]\n\n"


def fed(*texts: str, origin: ProtocolName | None = None) -> list[list[Piece]]:
    reader = TagReader(origin)
    return [*(list(reader.feed(text)) for text in texts), list(reader.finish())]


def test_what_can_be_told_is_told_at_once() -> None:
    assert fed("Hi", " there") == [[TextPiece("Hi")], [TextPiece(" there")], []]
    assert fed("<th", "ink> a b ", "c </thi", "nk> x", "y") == [
        [], [ThoughtPiece("a b")], [ThoughtPiece(" c")], [ThoughtDone("", None), TextPiece("x")],
        [TextPiece("y")], [],
    ]  # fmt: skip
    assert fed("<THINK>a</think>b", origin="chat") == [
        [ThoughtPiece("a"), ThoughtDone("<think>", "chat"), TextPiece("b")], [],
    ]  # fmt: skip
    assert fed("<think>", "a") == [[], [ThoughtPiece("a")], [ThoughtDone("", None)]]
    assert fed("<think>a<", "b") == [[ThoughtPiece("a")], [ThoughtPiece("<b")],
                                     [ThoughtDone("", None)]]  # fmt: skip
    assert fed("<think> ", " </think>", " \n") == [[], [], [], []], "a thought of nothing is none"
    assert fed("<think>a</think>", "  ") == [
        [ThoughtPiece("a"), ThoughtDone("", None)], [], [],
    ]  # fmt: skip
    assert fed("<think>a</think>", " <")[2] == [TextPiece("<")]
    assert fed(" ", "x") == [[], [TextPiece(" x")], []]
    assert fed("<thi") == [[], [TextPiece("<thi")]]


@pytest.mark.parametrize("blanks", [4096, 4097])
def test_many_blanks_are_a_part_of_the_text(blanks: int) -> None:
    text = " " * blanks + "<think>a</think>b"
    thoughts, rest = split_thoughts([text])
    assert (len(thoughts), rest) == ((1, "b") if blanks == 4096 else (0, text))


def test_the_texts_of_a_reply_are_one() -> None:
    assert split_thoughts([]) == ((), "") and split_thoughts(["", "a", "", "b"]) == ((), "a\nb")
    assert split_thoughts(["<think>a</think>", "b", "c</think>d"]) == (
        (Thought("a"), Thought("b\nc")), "d",
    )  # fmt: skip


def test_blocks_that_come_in_turn_are_passed_on_in_order() -> None:
    order = InOrder()
    one, two, three = (order.begin() for _ in range(3))
    piece = {number: TextPiece(str(number)) for number in range(9)}
    assert order.add(one, [piece[0]]) == [piece[0]]
    assert order.add(two, [piece[1]]) == [] and order.add(three, [piece[2]]) == []
    assert order.end(two, [piece[3]]) == []
    assert order.end(one, [piece[4]]) == [piece[4], piece[1], piece[3], piece[2]]
    assert order.add(three, [piece[5]]) == [piece[5]]
    assert order.add(one, [piece[6]]) == [] == order.end(two)
    assert order.end(three) == [] and order.begin() == 4


def gathered(*pieces: Piece) -> Reply:
    gathering = Gathering()
    for piece in pieces:
        gathering.add(piece)
    return gathering.reply()


USAGE, END = Usage(1, 5, 0, 7), Ended("end", Usage(1, 5, 0, 7), "odd")


@pytest.mark.parametrize(
    ("pieces", "reply"),
    [
        ([Begun("m"), TextPiece("a"), TextPiece("b"), BlockDone(), TextPiece("c")],
         Reply("ab\nc", model="m")),
        ([TextPiece("a"), ThoughtPiece("t"), ThoughtDone("s", "chat"), TextPiece("b", True)],
         Reply("ab", thoughts=(Thought("t", "s", "chat"),))),
        ([TextPiece("b", True)], Reply("b")),
        ([TextPiece("a"), BlockDone(), TextPiece("b"), ThoughtDone(), TextPiece("c"),
          ThoughtPiece("t"), ThoughtDone(), TextPiece("d", True)],
         Reply("a\ncd", thoughts=(Thought(""), Thought("t")))),
        ([TextPiece("a"), ThoughtPiece("t"), TextPiece("b")],
         Reply("a\nb", thoughts=(Thought("t"),))),
        ([ThoughtPiece("t"), ThoughtPiece("u"), ThoughtDone()], Reply(thoughts=(Thought("tu"),))),
        ([TextPiece("a"), ThoughtDone("s", "responses", True)],
         Reply(thoughts=(Thought("", "s", "responses", True),))),
        ([CallBegun("c", "f"), CallPiece('{"a"'), CallPiece(": 1}"), CallBegun("d", "g", True),
          CallPiece("text")],
         Reply(calls=(ToolCall("c", "f", {"a": 1}), ToolCall("d", "g", {"input": "text"}, True)))),
        ([TextPiece(""), BlockDone(), TextPiece("a")], Reply("a")),
        ([TextPiece("hm\n</think>\nb")], Reply("b", thoughts=(Thought("hm"),))),
    ],
)  # fmt: skip
def test_pieces_are_put_together(pieces: list[Piece], reply: Reply) -> None:
    found = gathered(*pieces, END)
    assert (found.text, found.calls, found.thoughts, found.model) == (
        reply.text, reply.calls, reply.thoughts, reply.model,
    )  # fmt: skip
    assert (found.usage, found.stop, found.odd_stop) == (USAGE, "end", "odd")
    with pytest.raises(ProtocolError, match="ended before the reply did"):
        gathered(*pieces)


def test_a_reply_as_pieces() -> None:
    calls = (ToolCall("c", "f", {"a": 1}), ToolCall("d", "g", {"input": "x"}, True))
    reply = Reply("t", calls, USAGE, "tool_calls", (Thought("h", "s", "chat", True),), "m", "odd")
    assert list(pieces_of(reply)) == [
        Begun("m"), ThoughtPiece("h"), ThoughtDone("s", "chat", True), TextPiece("t"), BlockDone(),
        CallBegun("c", "f"), CallPiece('{"a": 1}'), BlockDone(), CallBegun("d", "g", True),
        CallPiece("x"), BlockDone(), Ended("tool_calls", USAGE, "odd"),
    ]  # fmt: skip
    assert gathered(*pieces_of(reply)) == reply
    assert list(pieces_of(Reply())) == [Begun(""), Ended("end", Usage())]


@pytest.mark.parametrize(
    ("call", "text", "whole"),
    [
        (ToolCall("c", "f", {"a": 1}), '{"a": 1}', True), (HALF, "{", False),
        (ToolCall("c", "", {"a": 1}), '{"a": 1}', False), (ToolCall("c", "f", {}), "{}", True),
        (ToolCall("c", "f", {"_raw": "x", "a": 1}), '{"_raw": "x", "a": 1}', True),
        (ToolCall("c", "f", {"input": "x"}, True), "x", True),
        (ToolCall("c", "f", {}, True), "", True),
        (ToolCall("c", "f", {"_raw": "x"}, True), "", True),
    ],
)  # fmt: skip
def test_the_arguments_of_a_call_as_text(call: ToolCall, text: str, whole: bool) -> None:
    assert call_text(call) == text and is_whole(call) is whole
    if not call.custom:
        assert call_of(call.id, call.name, text).arguments == call.arguments


def test_reasoning_is_what_thoughts_say() -> None:
    thoughts = (Thought("a"), Thought("", "s"), Thought("b"))
    assert Reply(thoughts=thoughts).reasoning == "a\nb"
    assert Message("assistant", thoughts=thoughts).reasoning == "a\nb"


def test_an_event_as_it_is_written() -> None:
    assert event({"a": 1}) == b'data: {"a": 1}\n\n' and event("[DONE]") == b"data: [DONE]\n\n"
    assert event({"a": 1}, "x") == b'event: x\ndata: {"a": 1}\n\n'


@pytest.mark.parametrize(
    ("raw", "right"),
    [
        (b'event: message\ndata: {"a": 1}\n\n', [{"a": 1}]),
        (b'event: x\nevent: y\ndata: {"a": 1}\n\n', [{"type": "y", "a": 1}]),
        (b'event:x\ndata:  {"a": 1}\n\n', [{"type": "x", "a": 1}]),
        (b'data: {"a": 1}\ndata:\n\n', [{"a": 1}]),
        (b"data: [DONE]\ndata: [DONE]\n\n", []),
        (b'data: {"a": 1}\ndata: [DONE]\n\n', [{"a": 1}]),
    ],
)
def test_names_and_ends_of_events(raw: bytes, right: list[Any]) -> None:
    assert list(read_events(raw)) == right


def test_lines_that_are_no_events_by_themselves_are_one() -> None:
    with pytest.raises(ProtocolError, match=r'event is not JSON: \'\{"a": 1\}\\nx\''):
        list(read_events(b'data: {"a": 1}\ndata: x\n\n'))
    # Nothing that comes between CR and LF makes two lines of them.
    splitter = Splitter()
    chunks = (b'data: {"a":\r', b"", b"\ndata: 1}\r", b"", b"\n\r", b"", b"\n")
    assert [one for chunk in chunks for one in splitter.feed(chunk)] == [{"a": 1}]


def test_the_size_of_an_event_is_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    line = b'data: {"a": 1}\n'
    monkeypatch.setattr(sse, "MAX_EVENT", 14)
    splitter = Splitter()
    # What was read is forgotten: with its event, its line, or as a comment.
    for chunk in (
        line + b"\n",
        line[:5],
        line[5:] + b"\n",
        b": " + b"x" * 50,
        b"\n" + line + b"\n",
    ):
        list(splitter.feed(chunk))
    for chunks in ([line + line], [line, line], [b"x" * 15], [b"x" * 14, b"x"], [b"da", line]):
        splitter = Splitter()
        with pytest.raises(ProtocolError, match="an event has more than 14 bytes"):
            for chunk in chunks:
                list(splitter.feed(chunk))
    list(Splitter().feed(b"x" * 14))


def test_only_the_beginning_of_a_page_is_shown() -> None:
    for lines in ([b"<" + b"x" * 600], [b"<" + b"x" * 300] * 4):
        with pytest.raises(ProtocolError) as error:
            list(read_events(b"\n".join(lines)))
        assert 500 <= len(str(error.value).removeprefix("stream: no events: ")) <= 810
    assert list(read_events(b'<x>\n\ndata: {"a": 1}\n\n<y>\n\n')) == [{"a": 1}]
    assert json.loads(event({"a": "\N{LINE SEPARATOR}"})[6:]) == {"a": "\N{LINE SEPARATOR}"}
