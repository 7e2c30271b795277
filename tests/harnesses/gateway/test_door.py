"""Which answers with status 200 are replies, told before a client gets a byte of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from harnesses.base import Usage
from harnesses.gateway import door
from harnesses.gateway.door import EVENTS, JSON, NoReplyError, StreamRead, opened
from harnesses.gateway.upstreams import Answer, UpstreamError
from harnesses.protocols.base import (
    ProtocolError,
    ProtocolName,
    Reply,
    TextPiece,
    Thought,
    ToolCall,
)
from harnesses.protocols.registry import CODECS
from harnesses.protocols.sse import event
from tests.helpers.services import read_answer

REPLY = Reply("hello", usage=Usage(1, 9, 0, 1), model="m")
WHOLE = json.dumps(CODECS["chat"].write_response(REPLY, "m", "id-1")).encode()
PARTS = list(CODECS["chat"].write_stream(REPLY, "m", "1"))
STREAM = b"".join(PARTS)
TOLD = {"x-limit": "9"}
MARK = b"\xef\xbb\xbf"


class Read:
    """What came of an answer with these chunks."""

    def __init__(
        self, *chunks: bytes, streamed: bool = True, kind: str = EVENTS,
        protocol: ProtocolName = "chat",
    ) -> None:  # fmt: skip
        self.content = 0
        self.taken = 0
        """The chunks that were read before it was known to be a reply."""
        self.first = ""
        answer = Answer(200, kind, self._chunks(chunks), headers=TOLD)
        self.answer, self.raw = asyncio.run(self._opened(answer, protocol, streamed))

    async def _chunks(self, chunks: tuple[bytes, ...]) -> AsyncIterator[bytes]:
        for chunk in chunks:
            self.taken += 1
            yield chunk

    def _noted(self) -> None:
        self.content += 1

    async def _opened(
        self, answer: Answer, protocol: ProtocolName, streamed: bool
    ) -> tuple[Answer, bytes]:
        found = await opened(answer, protocol, streamed, self._noted)
        self.read_ahead = self.taken
        return found, b"".join([chunk async for chunk in found.chunks])


def test_a_stream_passes_once_it_has_said_something() -> None:
    read = Read(*PARTS)
    assert (read.answer.status, read.answer.content_type) == (200, EVENTS)
    assert read.answer.headers == TOLD and read.raw == STREAM
    assert read.read_ahead < len(PARTS)
    empty = list(CODECS["chat"].write_stream(Reply(""), "m", "1"))
    assert Read(*empty).read_ahead == len(empty), "one that says nothing has to end well"


@pytest.mark.parametrize(
    ("before", "kind"),
    [(b"", JSON), (b" \r\n", JSON), (MARK, JSON), (MARK + b"\n", EVENTS), (b"\t", EVENTS)],
)
def test_a_whole_reply_to_who_asked_for_a_stream_becomes_one(before: bytes, kind: str) -> None:
    read = Read(before, WHOLE[:5], WHOLE[5:], kind=kind)
    assert read.answer.content_type == EVENTS and read.answer.headers == TOLD
    assert read_answer("chat", EVENTS, read.raw) == REPLY
    assert b'"id-1"' in read.raw
    nameless = json.loads(WHOLE) | {"id": None}
    assert b'"reply"' in Read(json.dumps(nameless).encode()).raw


@pytest.mark.parametrize("kind", [JSON, EVENTS, "text/plain"])
def test_a_whole_reply_to_who_wants_one_passes_as_it_is(kind: str) -> None:
    read = Read(MARK + WHOLE[:9], WHOLE[9:], streamed=False, kind=kind)
    assert (read.answer.status, read.answer.content_type) == (200, JSON)
    assert read.answer.headers == TOLD and read.raw == WHOLE
    assert read.content == 1, "what comes after the first chunk"


def test_signs_of_life_are_no_content() -> None:
    chunks = [WHOLE[:6], b" ", b"\n", WHOLE[6:9], WHOLE[9:], b" "]
    read = Read(*chunks, streamed=False, kind=JSON)
    assert read.content == 2 and json.loads(read.raw) == json.loads(WHOLE)


def test_a_stream_to_who_wants_none_is_joined() -> None:
    read = Read(*PARTS, streamed=False)
    assert read.answer.content_type == JSON and read.answer.headers == TOLD
    assert read_answer("chat", JSON, read.raw) == REPLY
    assert len(json.loads(read.raw)["id"]) == 24
    with pytest.raises(NoReplyError, match="not JSON"):
        Read(*PARTS, streamed=False, kind=JSON)


ERROR: dict[str, Any] = {"message": "too much", "code": "c", "type": "t"}
SAID = event({"error": ERROR})


@pytest.mark.parametrize(
    ("chunks", "streamed", "kind", "words", "code"),
    [
        ([b"<html>"], True, EVENTS, "the answer is not JSON", ""),
        ([b"<html>"], False, JSON, "the answer is not JSON", ""),
        ([b"[1]"], True, JSON, "the answer is not an object", ""),
        ([b""], False, JSON, "the answer is not JSON", ""),
        ([json.dumps({"error": ERROR}).encode()], False, JSON, "too much", "c t"),
        ([json.dumps({"error": ERROR}).encode()], True, JSON, "too much", "c t"),
        ([json.dumps({"error": {"message": "too much", "type": "t"}}).encode()], True, JSON,
         "too much", "t"),
        ([SAID], True, EVENTS, "too much", "c t"),
        ([SAID], False, EVENTS, "too much", "c t"),
        ([PARTS[0], SAID], True, EVENTS, "too much", "c t"),
        ([PARTS[0]], True, EVENTS, "ended without finish_reason", ""),
        ([PARTS[0]], False, EVENTS, "ended without finish_reason", ""),
        ([], True, EVENTS, "neither JSON nor a stream of events", ""),
        ([b"Sign in, please. " + b"x" * 300], True, EVENTS,
         'neither JSON nor a stream of events: "Sign in, please. ' + "x" * 183 + '"', ""),
    ],
)  # fmt: skip
def test_what_is_no_reply_says_so(
    chunks: list[bytes], streamed: bool, kind: str, words: str, code: str
) -> None:
    with pytest.raises(NoReplyError) as error:
        Read(*chunks, streamed=streamed, kind=kind)
    assert words in str(error.value) and words in error.value.refusal.text
    assert (error.value.refusal.status, error.value.refusal.kind) == (0, code)

    async def told() -> bytes:
        return b"".join([chunk async for chunk in error.value.answer.chunks])

    passed = asyncio.run(told())
    if error.value.answer.content_type == JSON:
        assert error.value.answer.status == 400
        assert json.loads(passed)["error"]["message"] == error.value.refusal.text
    else:
        assert error.value.answer.status == 200
        assert passed.strip() == b"".join(chunks).strip()


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_a_stream_has_plain_line_ends_and_its_last_blank_line(end: str, size: int) -> None:
    told = MARK + STREAM.rstrip().replace(b"\n", end.encode())
    for tail in ("", end, end * 2):
        raw = told + tail.encode()
        read = Read(*(raw[n : n + size] for n in range(0, len(raw), size)))
        assert read.raw == STREAM + b"\n" * (tail == end), "one more does no harm"


def test_other_blank_lines_stay() -> None:
    assert Read(STREAM, b"\n").raw == STREAM + b"\n"
    assert Read(b": hi\n\n", STREAM).raw == b": hi\n\n" + STREAM


@pytest.mark.parametrize("most", [len(WHOLE) - 1, len(WHOLE)])
def test_the_size_of_a_whole_reply_is_bound(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_REPLY", most)
    if most >= len(WHOLE):
        assert Read(b"", WHOLE[:9], WHOLE[9:], streamed=False, kind=JSON).raw == WHOLE
    else:
        with pytest.raises(UpstreamError, match="the answer has more than"):
            Read(WHOLE[:9], WHOLE[9:], streamed=False, kind=JSON)


@pytest.mark.parametrize("most", [len(PARTS[0]) - 3, len(PARTS[0]) - 2])
def test_the_length_of_a_line_is_bound(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_REPLY", most)
    line = PARTS[0].removesuffix(b"\n\n")  # Its end has not come yet.
    if len(line) > most:
        with pytest.raises(UpstreamError, match="a line of the stream has more than"):
            Read(line, b"\n\n")
    else:
        with pytest.raises(NoReplyError):
            Read(line, b"\n\n")


def test_a_reply_that_has_begun_is_bound_too(monkeypatch: pytest.MonkeyPatch) -> None:
    said = event({"choices": [{"index": 0, "delta": {"content": "x"}}]})
    ping = b": ping\n\n"
    read = StreamRead("chat")
    monkeypatch.setattr(door, "MAX_REPLY", 2 * len(said))
    # What has no content does not count.
    assert [len(read.feed(chunk)) for chunk in (said, ping * 99, said)] == [2, 0, 1]
    with pytest.raises(ProtocolError, match="the reply has more than"):
        read.feed(said)
    assert read.events == 3


def test_silence_is_not_held_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_HELD_BYTES", 10)
    ping = b": ping\n\n"
    with pytest.raises(UpstreamError, match="of a stream without content"):
        Read(ping, ping, ping, *PARTS)
    assert Read(ping, b": p\n\n", *PARTS[1:]).raw.endswith(PARTS[-1])


@pytest.mark.parametrize(
    ("reply", "after"),
    [
        (Reply("x"), 2),
        (Reply("", thoughts=(Thought("t"),)), 2),
        (Reply("", thoughts=(Thought("", "seal", "chat"), Thought("t"))), 2),
        (Reply("", (ToolCall("c", "f", {"a": 1}), ToolCall("d", "f", {}))), 2),
    ],
)
def test_a_thought_or_a_call_is_a_beginning_too(reply: Reply, after: int) -> None:
    for protocol, codec in CODECS.items():
        parts = list(codec.write_stream(reply, "m", "1"))
        read = Read(*parts, protocol=protocol)
        assert after <= read.read_ahead < len(parts), protocol
        assert read.raw == b"".join(parts)


@pytest.mark.parametrize(
    ("begins", "after"),
    [
        # A thought that is hidden says something by its end, one without a word too.
        ([("content_block_start", {"content_block": {"type": "redacted_thinking", "data": "s"}}),
          ("content_block_stop", {})], 3),
        ([("content_block_start", {"content_block": {"type": "thinking", "thinking": ""}}),
          ("content_block_delta", {"delta": {"type": "signature_delta", "signature": "s"}}),
          ("content_block_stop", {})], 4),
        ([("content_block_start", {"content_block": {"type": "thinking", "thinking": ""}}),
          ("content_block_delta", {"delta": {"type": "thinking_delta", "thinking": "t"}})], 3),
        ([("content_block_start", {"content_block": {"type": "tool_use", "id": "a", "name": "f"}})],
         2),
        ([("content_block_start", {"content_block": {"type": "text", "text": "t"}})], 2),
        # An empty text is none, whether it has ended or not.
        ([("content_block_start", {"content_block": {"type": "text", "text": ""}}),
          ("content_block_delta", {"delta": {"type": "text_delta", "text": ""}}),
          ("content_block_stop", {})], None),
    ],
)  # fmt: skip
def test_what_a_message_begins_with_is_a_beginning_if_it_says_something(
    begins: list[tuple[str, dict[str, Any]]], after: int | None
) -> None:
    parts = [event({"type": "message_start", "message": {"model": "m"}}, "message_start")]
    parts += [event({"type": name, "index": 0, **more}, name) for name, more in begins]
    parts += [event({"type": "ping"}, "ping")] * 3
    if after is None:
        with pytest.raises(NoReplyError, match="ended without message_stop"):
            Read(*parts, protocol="messages")
    else:
        assert Read(*parts, protocol="messages").read_ahead == after


def test_an_empty_text_is_no_beginning() -> None:
    empty = event({"choices": [{"index": 0, "delta": {"content": ""}}]})
    read = Read(empty, empty, *PARTS)
    assert read.read_ahead == 4 and read.raw == empty * 2 + STREAM


def test_the_last_event_need_not_end() -> None:
    read = StreamRead("chat")
    found = read.feed(STREAM.rstrip())
    assert TextPiece("hello") in found
    assert read.end() == REPLY
