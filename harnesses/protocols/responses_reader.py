"""Reads streams of Responses: a response of items, each added, extended and done."""

from __future__ import annotations

import json
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
    ThoughtDone,
    ThoughtPiece,
)
from harnesses.protocols.errors import check_body, check_error
from harnesses.protocols.fields import argument_text, get, maybe, objects
from harnesses.protocols.pieces import InOrder, call_of
from harnesses.protocols.responses_items import (
    CALLS,
    check_response,
    is_refusal,
    read_call,
    read_thought,
    replied_call,
    said_in,
    stop_of,
    usage_of,
)
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
        return all(i.index is not None and i.index != index for i in items)

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
