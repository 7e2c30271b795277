"""Streams of Responses: a response of items, each added, extended and done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harnesses.json_values import loads
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
from harnesses.protocols.errors import check_body, check_error
from harnesses.protocols.fields import argument_text, get, maybe, objects
from harnesses.protocols.pieces import InOrder, call_of
from harnesses.protocols.responses_items import (
    CALLS,
    call_item,
    check_response,
    ended,
    is_refusal,
    message_item,
    read_call,
    read_thought,
    replied_call,
    response_of,
    said_in,
    stop_of,
    thought_item,
    usage_of,
)
from harnesses.protocols.sse import event
from harnesses.protocols.stops import check_stop
from harnesses.protocols.tagged_thoughts import TagReader

_TEXTS = ("response.output_text", "response.refusal")
_THOUGHTS = ("response.reasoning_summary_text", "response.reasoning_text")
_ARGUMENTS = ("response.function_call_arguments", "response.custom_tool_call_input")
_KINDS = {
    **dict.fromkeys(_TEXTS, "message"),
    **dict.fromkeys(_THOUGHTS, "reasoning"),
    **dict.fromkeys(_ARGUMENTS, "function_call"),
}
"""The kinds of items by the events that extend them, without ``.delta`` and ``.done``."""
_WHOLE = ("text", "refusal", "arguments", "input")
"""The fields in which the end of a text or of arguments has all of it."""
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


@dataclass
class _Item:
    """An output item that is being read.

    Args:
        number: its place in the order of the items.
        item: as the service last described it.
        index: its index in the output, if the service named it.
    """

    number: int
    item: dict[str, Any]
    index: int | None
    parts: list[str] = field(default_factory=list)
    part: int = 0
    """The number of the current part of its content or summary."""
    called: bool = False
    """Whether its call has been begun."""
    open: bool = True

    @property
    def kind(self) -> object:
        return self.item.get("type")

    @property
    def said(self) -> str:
        return "".join(self.parts)


class ResponsesReader:
    """Reads one stream. Items may come in turn; those without deltas are read when they end."""

    def __init__(self) -> None:
        self._begun = False
        self._order = InOrder()
        self._items: list[_Item] = []
        self._tags = TagReader()
        self._first: _Item | None = None
        """The first message with a text, which may begin with tagged thoughts."""
        self._texts: list[str] = []
        self._refused = False
        self._whole = False

    def read(self, item: Mapping[str, Any]) -> Iterator[Piece]:
        check_error(item, "stream")
        kind = item.get("type")
        if not isinstance(kind, str):
            check_body(item, "output", "stream")
            raise ProtocolError(f"stream: an event without a type: {json.dumps(item)[:200]}")
        stem, _, what = kind.rpartition(".")
        if kind in _ENDS:
            yield from self._end(get(item, "response", dict, {}), kind)
        elif isinstance(item.get("response"), dict):
            response = item["response"]
            check_error(response, "stream")
            yield from self._begin(response)
        elif kind == "response.output_item.added":
            yield from self._added(item, get(item, "item", dict))
        elif kind == "response.output_item.done":
            yield from self._item_done(item, get(item, "item", dict))
        elif stem in _KINDS and what == "delta":
            yield from self._delta(item, stem, argument_text(item.get("delta")))
        elif stem in _KINDS and what == "done":
            found = self._find(item, _KINDS[stem])
            whole = next((t for key in _WHOLE if isinstance(t := item.get(key), str)), "")
            if found and found.kind in CALLS:  # Texts have several parts; the item has them all.
                yield from self._rest(found, whole)

    def _begin(self, response: Mapping[str, Any]) -> Iterator[Piece]:
        if not self._begun:
            self._begun = True
            yield Begun(str(response.get("model") or ""))

    def _added(self, event: Mapping[str, Any], start: Mapping[str, Any]) -> Iterator[Piece]:
        yield from self._begin({})
        found = _Item(self._order.begin(), dict(start), maybe(event, "output_index", int))
        self._items.append(found)
        if found.kind in CALLS and start.get("name"):
            yield from self._call_begun(found)

    def _call_begun(self, found: _Item) -> Iterator[Piece]:
        found.item, found.called = replied_call(found.item), True
        call = read_call(found.item)
        yield from self._order.add(found.number, [CallBegun(call.id, call.name, call.custom)])

    def _find(self, event: Mapping[str, Any], kind: object, id: object = None) -> _Item | None:
        """The open item of an event, by its index, else its id, else the last one of its kind."""
        index, id = maybe(event, "output_index", int), event.get("item_id") or id
        calls = kind in CALLS
        fit = [i for i in self._items if i.open and (i.kind in CALLS if calls else i.kind == kind)]
        own = [i for i in fit if index is not None and i.index == index]
        named = [i for i in own or fit if id and i.item.get("id") == id]
        found = named or own or ([] if index is not None and self._known(fit, index) else fit)
        return found[-1] if found else None

    @staticmethod
    def _known(items: Sequence[_Item], index: int) -> bool:
        """Whether the items have indices, so that one with this index would have been found."""
        return bool(items) and all(i.index is not None and i.index != index for i in items)

    def _delta(self, event: Mapping[str, Any], stem: str, text: str) -> Iterator[Piece]:
        found = self._find(event, _KINDS[stem])
        if found is None:  # It was not added.
            start = {"type": _KINDS[stem], "id": event.get("item_id")}
            yield from self._added(event, start)
            found = self._items[-1]
        self._refused = self._refused or stem == "response.refusal"
        part = maybe(event, "summary_index", int) or maybe(event, "content_index", int) or 0
        if part != found.part and found.parts and found.kind not in CALLS:
            text = f"\n{text}"
        found.part = part
        yield from self._more(found, text)

    def _more(self, found: _Item, text: str) -> Iterator[Piece]:
        if not text:
            return
        found.parts.append(text)
        pieces: Iterable[Piece]
        if found.kind in CALLS:
            if not found.called:
                return  # Its name is in the item's end.
            pieces = [CallPiece(text)]
        elif found.kind == "reasoning":
            pieces = [ThoughtPiece(text)]
        else:
            self._first = self._first or found
            own = found is self._first
            pieces = self._noted(self._tags.feed(text) if own else [TextPiece(text)])
        yield from self._order.add(found.number, pieces)

    def _noted(self, pieces: Iterable[Piece]) -> list[Piece]:
        noted = list(pieces)
        self._texts += [piece.text for piece in noted if isinstance(piece, TextPiece)]
        return noted

    def _rest(self, found: _Item, whole: str) -> Iterator[Piece]:
        """What the deltas left out of a text or of arguments.

        Raises:
            ProtocolError: the deltas had something else.
        """
        said = found.said
        if whole.startswith(said):
            yield from self._more(found, whole[len(said) :])
        elif whole and not _alike(said, whole):
            raise ProtocolError(
                f"stream: output item {found.index} ended with {whole[:80]!r}, "
                f"but its pieces were {said[:80]!r}"
            )

    def _item_done(self, event: Mapping[str, Any], item: Mapping[str, Any]) -> Iterator[Piece]:
        found = self._find(event, item.get("type"), item.get("id"))
        if found is None:
            yield from self._added(event, item)
            found = self._items[-1]
        known = {key: value for key, value in found.item.items() if value}
        found.item = {**known, **{k: v for k, v in item.items() if v}}
        if found.called:  # The client knows it by the id that it was begun with.
            found.item["call_id"] = known["call_id"]
        yield from self._ended(found)

    def _ended(self, found: _Item) -> Iterator[Piece]:
        """The last pieces of an item."""
        found.open = False
        last: list[Piece] = [BlockDone()]
        if found.kind == "message":
            self._refused = self._refused or is_refusal(found.item)
            yield from self._rest(found, said_in(found.item))
            if found is self._first:
                last = [*self._noted(self._tags.finish()), *last]
        elif found.kind == "reasoning":
            thought = read_thought(found.item)
            if not found.parts:
                yield from self._more(found, thought.text)
            last = [ThoughtDone(thought.seal, thought.origin, thought.hidden and not found.parts)]
        elif found.kind in CALLS:
            if not found.called:
                yield from self._call_begun(found)
                yield from self._order.add(found.number, map(CallPiece, found.parts))
            key = "input" if found.kind == "custom_tool_call" else "arguments"
            yield from self._rest(found, argument_text(found.item.get(key)))
        yield from self._order.end(found.number, last)

    def _end(self, response: Mapping[str, Any], kind: str) -> Iterator[Piece]:
        status = kind.rpartition(".")[2]
        response = {**response, "status": response.get("status") or status}
        check_response(response, "stream")
        check_stop(status)
        yield from self._begin(response)
        output = objects(response, "output")
        if len(output) > len(self._items):  # Some servers send no items before the end.
            yield from self._missing(output)
        for found in self._items:
            if found.open:
                yield from self._ended(found)
        self._whole = True
        usage = usage_of(response)
        calls = [
            call_of(str(i.item.get("call_id")), str(i.item.get("name")), i.said, i.kind != CALLS[0])
            for i in self._items
            if i.kind in CALLS
        ]
        other = bool(self._items) or usage.completion_tokens > 0
        stop, odd = stop_of(response, "".join(self._texts), calls, other, self._refused)
        yield Ended(stop, usage, odd)

    def _missing(self, output: Sequence[Mapping[str, Any]]) -> Iterator[Piece]:
        """The items that have not come before the end."""
        ids = {found.item.get("id") for found in self._items} - {None}
        indices = {found.index for found in self._items}
        for index, item in enumerate(output):
            if item.get("id") not in ids and index not in indices:
                yield from self._item_done({"output_index": index}, item)

    def close(self) -> Iterator[Piece]:
        if not self._whole:
            raise ProtocolError("stream: ended without response.completed")
        return iter(())


def _alike(one: str, other: str) -> bool:
    """Whether two texts say the same: as JSON, or up to blanks."""
    if one.split() == other.split():
        return True
    try:
        return bool(loads(one) == loads(other))
    except ValueError:
        return False


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
