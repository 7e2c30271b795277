"""Streams of Responses: a response of items, each added, extended and done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harnesses.protocols.base import (
    Begun,
    BlockDone,
    CallBegun,
    CallPiece,
    Ended,
    Piece,
    ProtocolError,
    TextPiece,
    Thought,
    ThoughtDone,
    ThoughtPiece,
    Tool,
)
from harnesses.protocols.fields import get, objects
from harnesses.protocols.pieces import call_of, call_text
from harnesses.protocols.responses_items import (
    CALLS,
    call_item,
    ended,
    message_item,
    read_call,
    read_items,
    read_thought,
    response_of,
    stop_of,
    thought_item,
    usage_of,
)
from harnesses.protocols.sse import event

_TEXTS = ("response.output_text.delta", "response.refusal.delta")
_THOUGHTS = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_ARGUMENTS = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")
_ENDS = ("response.completed", "response.incomplete", "response.failed")


class ResponsesReader:
    """Reads one stream. Items without deltas are read when they are done."""

    def __init__(self) -> None:
        self._begun = False
        self._said = False
        """Whether deltas of the current item have come."""
        self._calling = False
        """Whether the current item is a call that has begun."""
        self._called = False
        self._done = 0
        self._whole = False

    def read(self, item: Mapping[str, Any]) -> Iterator[Piece]:
        kind = item.get("type")
        if kind == "error":
            raise ProtocolError(f"stream: error event: {json.dumps(item)}")
        if kind == "response.created" and not self._begun:
            yield self._begin(get(item, "response", dict))
        elif kind == "response.output_item.added":
            yield from self._added(get(item, "item", dict))
        elif kind in _TEXTS:
            self._said = True
            yield TextPiece(get(item, "delta", str))
        elif kind in _THOUGHTS:
            self._said = True
            yield ThoughtPiece(get(item, "delta", str))
        elif kind == "response.reasoning_summary_part.added" and self._said:
            yield ThoughtPiece("\n")
        elif kind in _ARGUMENTS:
            self._said = True
            yield CallPiece(get(item, "delta", str))
        elif kind == "response.output_item.done":
            yield from self._item_done(get(item, "item", dict))
        elif kind in _ENDS:
            yield from self._end(get(item, "response", dict))

    def _begin(self, response: Mapping[str, Any]) -> Piece:
        self._begun = True
        return Begun(str(response.get("model", "")))

    def _added(self, item: Mapping[str, Any]) -> Iterator[Piece]:
        self._said = self._calling = False
        if item.get("type") in CALLS:
            yield self._call_begun(item)

    def _call_begun(self, item: Mapping[str, Any]) -> Piece:
        call = read_call(item)
        self._called = self._calling = True
        return CallBegun(call.id, call.name, call.custom)

    def _item_done(self, item: Mapping[str, Any]) -> Iterator[Piece]:
        self._done += 1
        match item.get("type"):
            case "message":
                text = read_items([item])[0].text
                if text and not self._said:
                    yield TextPiece(text)
                yield BlockDone()
            case "reasoning":
                thought = read_thought(item)
                if thought.text and not self._said:
                    yield ThoughtPiece(thought.text)
                yield ThoughtDone(thought.seal, thought.origin, thought.hidden)
            case "function_call" | "custom_tool_call":
                if not self._calling:
                    yield self._call_begun(item)
                if not self._said:
                    yield CallPiece(call_text(read_call(item)))
                yield BlockDone()
        self._said = self._calling = False

    def _end(self, response: Mapping[str, Any]) -> Iterator[Piece]:
        if response.get("status") == "failed":
            raise ProtocolError(f"response failed: {json.dumps(response.get('error'))}")
        if not self._begun:
            yield self._begin(response)
        if not self._done:  # Some servers send no items before the end.
            for item in objects(response, "output"):
                yield from self._added(item)
                yield from self._item_done(item)
        self._whole = True
        yield Ended(stop_of(response, self._called), usage_of(response))

    def close(self) -> Iterator[Piece]:
        if not self._whole:
            raise ProtocolError("stream: ended without response.completed")
        return iter(())


class ResponsesWriter:
    """Writes one stream.

    Args:
        model, id: of the response.
        tools: of the request, for the names by which the client knows them.
    """

    def __init__(self, model: str, id: str, tools: Sequence[Tool] = ()) -> None:
        self._id = id
        self._tools = {tool.name: tool for tool in tools}
        self._response = response_of(model, f"resp_{id}", int(time.time()))
        self._output: list[dict[str, Any]] = []
        self._open: Piece | None = None
        self._said = ""
        self._number = 0

    def write(self, piece: Piece) -> Iterator[bytes]:
        match piece:
            case Begun():
                yield self._event("response.created", {"response": self._response})
            case TextPiece(text):
                if not isinstance(self._open, TextPiece):
                    yield from self._close()
                    yield from self._text_begun(piece)
                yield from self._more("response.output_text.delta", text)
            case ThoughtPiece(text) if text:
                if not isinstance(self._open, ThoughtPiece):
                    yield from self._close()
                    yield from self._thought_begun(piece)
                yield from self._more("response.reasoning_summary_text.delta", text)
            case ThoughtDone():
                yield from self._thought_done(piece)
            case CallBegun():
                yield from self._close()
                yield from self._call_begun(piece)
            case CallPiece(text):
                yield from self._call_more(text)
            case BlockDone():
                yield from self._close()
            case Ended(stop, usage):
                yield from self._close()
                full = ended({**self._response, "output": self._output}, stop, usage)
                yield self._event(f"response.{full['status']}", {"response": full})

    def _event(self, name: str, data: Mapping[str, Any]) -> bytes:
        written = event({"type": name, "sequence_number": self._number, **data}, name)
        self._number += 1
        return written

    @property
    def _at(self) -> dict[str, int]:
        return {"output_index": len(self._output)}

    def _item_id(self, kind: str) -> str:
        return f"{kind}_{len(self._output)}_{self._id}"

    def _more(self, name: str, text: str) -> Iterator[bytes]:
        self._said += text
        kind, key = ("msg", "content_index") if "output_text" in name else ("rs", "summary_index")
        part = {"item_id": self._item_id(kind), key: 0}
        # The text event has a list of log probabilities, empty if none were requested.
        extra: dict[str, list[Any]] = {"logprobs": []} if kind == "msg" else {}
        yield self._event(name, {**self._at, **part, "delta": text, **extra})

    def _added(self, item: Mapping[str, Any]) -> bytes:
        return self._event("response.output_item.added", {**self._at, "item": item})

    def _item_done(self, item: dict[str, Any]) -> Iterator[bytes]:
        yield self._event("response.output_item.done", {**self._at, "item": item})
        self._output.append(item)
        self._open, self._said = None, ""

    def _text_begun(self, piece: TextPiece) -> Iterator[bytes]:
        self._open = piece
        id = self._item_id("msg")
        item = message_item("", id)
        part = item["content"][0]
        yield self._added({**item, "status": "in_progress", "content": []})
        where = {**self._at, "item_id": id, "content_index": 0}
        yield self._event("response.content_part.added", {**where, "part": part})

    def _thought_begun(self, piece: ThoughtPiece) -> Iterator[bytes]:
        self._open = piece
        id = self._item_id("rs")
        yield self._added(thought_item(Thought(""), id))
        part = {"type": "summary_text", "text": ""}
        where = {**self._at, "item_id": id, "summary_index": 0}
        yield self._event("response.reasoning_summary_part.added", {**where, "part": part})

    def _thought_done(self, done: ThoughtDone) -> Iterator[bytes]:
        id, text = self._item_id("rs"), ""
        if isinstance(self._open, ThoughtPiece):
            text = self._said
            where = {**self._at, "item_id": id, "summary_index": 0}
            yield self._event("response.reasoning_summary_text.done", {**where, "text": text})
            part = {"type": "summary_text", "text": text}
            yield self._event("response.reasoning_summary_part.done", {**where, "part": part})
        else:
            yield from self._close()
            yield self._added(thought_item(Thought(""), id))
        thought = Thought(text, done.seal, done.origin, done.hidden)
        yield from self._item_done(thought_item(thought, id))

    def _call_begun(self, piece: CallBegun) -> Iterator[bytes]:
        self._open = piece
        item = call_item(call_of(piece.id, piece.name, "", piece.custom), self._tools)
        key = "input" if item["type"] == "custom_tool_call" else "arguments"
        yield self._added({**item, "status": "in_progress", key: ""})

    def _call_more(self, text: str) -> Iterator[bytes]:
        self._said += text
        call = self._open
        assert isinstance(call, CallBegun)
        tool = self._tools.get(call.name)
        if call.custom or (tool and tool.custom):
            return  # Its text is inside JSON here, and known only when that is complete.
        name = "response.function_call_arguments.delta"
        yield self._event(name, {**self._at, "item_id": f"fc_{call.id}", "delta": text})

    def _close(self) -> Iterator[bytes]:
        match self._open:
            case TextPiece():
                item = message_item(self._said, self._item_id("msg"))
                where = {**self._at, "item_id": item["id"], "content_index": 0}
                done = {**where, "text": self._said, "logprobs": []}
                yield self._event("response.output_text.done", done)
                part = {**where, "part": item["content"][0]}
                yield self._event("response.content_part.done", part)
                yield from self._item_done(item)
            case ThoughtPiece():
                yield from self._thought_done(ThoughtDone())
            case CallBegun():
                yield from self._call_done(self._open)

    def _call_done(self, begun: CallBegun) -> Iterator[bytes]:
        call = call_of(begun.id, begun.name, self._said, begun.custom)
        item = call_item(call, self._tools)
        where = {**self._at, "item_id": item["id"]}
        if item["type"] == "custom_tool_call":
            name, text = "response.custom_tool_call_input", {"input": item["input"]}
            yield self._event(f"{name}.delta", {**where, "delta": item["input"]})
        else:
            item["arguments"] = self._said or "{}"
            name, text = "response.function_call_arguments", {"arguments": item["arguments"]}
        yield self._event(f"{name}.done", {**where, **text})
        yield from self._item_done(item)
