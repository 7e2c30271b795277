"""Writes streams of Responses: a response of items, each added, extended and done."""

from __future__ import annotations

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
from harnesses.protocols.pieces import call_of
from harnesses.protocols.responses_items import (
    call_item,
    ended,
    message_item,
    response_of,
    thought_item,
)
from harnesses.protocols.sse import event


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
                if not self._output:  # An empty reply says so.
                    yield from self._text_begun(TextPiece(""))
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
        if not isinstance(call, CallBegun):
            raise ProtocolError("stream: a piece of a tool call outside of a call")
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
