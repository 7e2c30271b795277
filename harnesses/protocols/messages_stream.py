"""Streams of Messages: a message of blocks, each begun, extended and ended."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harnesses.base import Usage
from harnesses.protocols.base import (
    Begun,
    BlockDone,
    CallBegun,
    CallPiece,
    Ended,
    Piece,
    ProtocolError,
    ServiceFailure,
    TextPiece,
    Thought,
    ThoughtDone,
    ThoughtPiece,
)
from harnesses.protocols.errors import check_body, check_error
from harnesses.protocols.fields import argument_text, count, get, made_id, mark_of, maybe, uncounted
from harnesses.protocols.pieces import InOrder, call_of
from harnesses.protocols.seals import sealed, unsealed
from harnesses.protocols.sse import event
from harnesses.protocols.stops import check_stop, read_stop
from harnesses.protocols.tagged_thoughts import TagReader

_STOP_NAMES = {"end": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}


def stop_name(stop: str, called: bool) -> str:
    """The name of that reason in this protocol."""
    return _STOP_NAMES.get("tool_calls" if called and stop == "end" else stop, stop)


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Token counts of a response."""
    cached = count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    kept = maybe(usage, "cache_creation", dict) or {}
    long = min(written, count(kept, "ephemeral_1h_input_tokens"))
    return Usage(
        requests=1,
        prompt_tokens=count(usage, "input_tokens") + cached + written,
        cached_tokens=cached,
        completion_tokens=count(usage, "output_tokens"),
        cache_write_tokens=written - long,
        cache_write_long_tokens=long,
        estimated=uncounted(usage, "input_tokens", "output_tokens"),
    )


def written_usage(usage: Usage) -> dict[str, Any]:
    """Token counts as this protocol has them: those from the cache, and those
    written to it, are counted apart."""
    written = usage.cache_write_tokens + usage.cache_write_long_tokens
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - written,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": written,
        "output_tokens": usage.completion_tokens,
        **mark_of(usage.estimated),
    }


def start_of(model: str, id: str, usage: Usage) -> dict[str, Any]:
    """A message without content."""
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": written_usage(usage),
    }


def thought_block(thought: Thought) -> dict[str, Any]:
    """A thought as a block."""
    seal = sealed(thought, "messages")
    if thought.hidden:
        return {"type": "redacted_thinking", "data": seal}
    return {"type": "thinking", "thinking": thought.text, "signature": seal}


@dataclass
class _Block:
    """A block that is being read.

    Args:
        number: its place in the order of the blocks.
        start: as the service began it.
    """

    number: int
    start: dict[str, Any]
    parts: list[str] = field(default_factory=list)
    """The arguments of a call."""
    open: bool = True

    @property
    def kind(self) -> object:
        return self.start.get("type")


class MessagesReader:
    """Reads one stream. Blocks may come in turn, and need not be ended."""

    def __init__(self) -> None:
        self._begun = False
        self._order = InOrder()
        self._blocks: list[_Block] = []
        self._by_index: dict[int | None, _Block] = {}
        self._tags = TagReader()
        self._first: _Block | None = None
        """The first block with a text, which may begin with tagged thoughts."""
        self._texts: list[str] = []
        self._usage: dict[str, Any] = {}
        self._stop: object = None
        self._whole = False

    def read(self, item: Mapping[str, Any]) -> Iterator[Piece]:
        check_error(item, "stream")
        kind = item.get("type")
        if kind == "message_start":
            message = get(item, "message", dict)
            check_error(message, "stream")
            self._usage = dict(maybe(message, "usage", dict) or {})
            yield from self._begin(str(message.get("model") or ""))
        elif kind == "content_block_start":
            yield from self._begin()
            yield from self._started(item, get(item, "content_block", dict))
        elif kind == "content_block_delta":
            yield from self._begin()
            yield from self._delta(item, get(item, "delta", dict))
        elif kind == "content_block_stop":
            block = self._by_index.get(maybe(item, "index", int))
            yield from self._ended(block) if block else ()
        elif kind == "message_delta":
            delta = get(item, "delta", dict, {})
            check_error(delta, "stream")
            check_stop(delta.get("stop_reason"))
            self._stop = delta.get("stop_reason") or self._stop
            new = maybe(item, "usage", dict) or {}
            self._usage |= {key: value for key, value in new.items() if value is not None}
        elif kind == "message_stop":
            yield from self._end()
        elif not isinstance(kind, str):
            check_body(item, "content", "stream")
            raise ProtocolError(f"stream: an event without a type: {json.dumps(item)[:200]}")

    def _begin(self, model: str = "") -> Iterator[Piece]:
        if not self._begun:
            self._begun = True
            yield Begun(model, usage_of(self._usage))

    def _started(self, item: Mapping[str, Any], start: Mapping[str, Any]) -> Iterator[Piece]:
        index = maybe(item, "index", int)
        if index in self._by_index:  # It was not ended.
            yield from self._ended(self._by_index[index])
        block = _Block(self._order.begin(), dict(start))
        self._blocks.append(block)
        self._by_index[index] = block
        match block.kind:
            case "tool_use":
                if not (name := get(start, "name", str, "")):
                    raise ServiceFailure(f"stream: block {index}: a tool call has no name")
                block.start["id"] = made_id(start.get("id"))
                yield from self._order.add(block.number, [CallBegun(block.start["id"], name)])
            case "text" if text := get(start, "text", str, ""):
                yield from self._said(block, text)
            case "thinking" if text := get(start, "thinking", str, ""):
                yield from self._order.add(block.number, [ThoughtPiece(text)])

    def _delta(self, item: Mapping[str, Any], delta: Mapping[str, Any]) -> Iterator[Piece]:
        index, kind = maybe(item, "index", int), str(delta.get("type"))
        block = self._by_index.get(index)
        if block is None or not block.open:
            begins = {"text_delta": "text", "thinking_delta": "thinking"}
            if kind not in begins:
                raise ProtocolError(f"stream: block {index} has not begun")
            yield from self._started(item, {"type": begins[kind]})
            block = self._by_index[index]
        match kind:
            case "text_delta":
                yield from self._said(block, get(delta, "text", str, ""))
            case "thinking_delta":
                text = get(delta, "thinking", str, "")
                yield from self._order.add(block.number, [ThoughtPiece(text)])
            case "signature_delta":
                seal = get(delta, "signature", str, "")
                block.start["signature"] = get(block.start, "signature", str, "") + seal
            case "input_json_delta":
                text = argument_text(delta.get("partial_json"))
                block.parts.append(text)
                yield from self._order.add(block.number, [CallPiece(text)])

    def _said(self, block: _Block, text: str) -> Iterator[Piece]:
        if text and self._first is None:
            self._first = block
        pieces = self._tags.feed(text) if block is self._first else [TextPiece(text)]
        yield from self._order.add(block.number, self._noted(pieces))

    def _noted(self, pieces: Iterable[Piece]) -> list[Piece]:
        noted = list(pieces)
        self._texts += [piece.text for piece in noted if isinstance(piece, TextPiece)]
        return noted

    def _ended(self, block: _Block) -> list[Piece]:
        if not block.open:
            return []
        block.open = False
        return self._order.end(block.number, self._last(block))

    def _last(self, block: _Block) -> Iterator[Piece]:
        """The last pieces of a block."""
        match block.kind:
            case "thinking":
                thought = unsealed("", get(block.start, "signature", str, ""), "messages")
                yield ThoughtDone(thought.seal, thought.origin)
            case "redacted_thinking":
                thought = unsealed("", get(block.start, "data", str, ""), "messages")
                yield ThoughtDone(thought.seal, thought.origin, hidden=True)
            case "tool_use":
                if not any(block.parts):
                    block.parts.append(argument_text(block.start.get("input") or {}))
                    yield CallPiece(block.parts[-1])
                yield BlockDone()
            case "text":
                if block is self._first:
                    yield from self._noted(self._tags.finish())
                yield BlockDone()

    def _end(self) -> Iterator[Piece]:
        yield from self._begin()
        for block in self._blocks:
            yield from self._ended(block)
        self._whole = True
        usage = usage_of(self._usage)
        calls = [
            call_of(block.start["id"], block.start["name"], "".join(block.parts))
            for block in self._blocks
            if block.kind == "tool_use"
        ]
        other = bool(self._blocks) or usage.completion_tokens > 0
        stop, odd = read_stop(self._stop, "".join(self._texts), calls, other)
        yield Ended(stop, usage, odd)

    def close(self) -> Iterator[Piece]:
        if not self._whole:
            raise ProtocolError("stream: ended without message_stop")
        return iter(())


class MessagesWriter:
    """Writes one stream."""

    def __init__(self, model: str, id: str) -> None:
        self._model, self._id = model, id
        self._index = -1
        self._open = ""
        """The type of the block that is being written."""
        self._called = False

    def write(self, piece: Piece) -> Iterator[bytes]:
        match piece:
            case Begun(_, usage):
                start = start_of(self._model, self._id, usage)
                yield event({"type": "message_start", "message": start}, "message_start")
            case TextPiece(text):
                yield from self._begin("text", {"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": text})
            case ThoughtPiece(text) if text:
                yield from self._begin_thought()
                yield self._delta({"type": "thinking_delta", "thinking": text})
            case ThoughtDone():
                yield from self._end_thought(piece)
            case CallBegun(id, name):
                self._called = True
                block = {"type": "tool_use", "id": id, "name": name, "input": {}}
                yield from self._end()
                yield from self._begin("tool_use", block)
            case CallPiece(text):
                yield self._delta({"type": "input_json_delta", "partial_json": text})
            case BlockDone():
                yield from self._end()
            case Ended(stop, usage):
                yield from self._finish(stop, usage)

    def _finish(self, stop: str, usage: Usage) -> Iterator[bytes]:
        if self._index < 0:  # An empty reply says so.
            yield from self._begin("text", {"type": "text", "text": ""})
        yield from self._end()
        end = {"stop_reason": stop_name(stop, self._called), "stop_sequence": None}
        counted = written_usage(usage)
        yield event({"type": "message_delta", "delta": end, "usage": counted}, "message_delta")
        yield event({"type": "message_stop"}, "message_stop")

    def _begin(self, kind: str, block: dict[str, Any]) -> Iterator[bytes]:
        if self._open == kind:
            return
        yield from self._end()
        self._open = kind
        self._index += 1
        yield self._event("content_block_start", {"content_block": block})

    def _begin_thought(self) -> Iterator[bytes]:
        return self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})

    def _end_thought(self, done: ThoughtDone) -> Iterator[bytes]:
        seal = sealed(Thought("", done.seal, done.origin, done.hidden), "messages")
        if done.hidden:
            yield from self._begin("redacted", {"type": "redacted_thinking", "data": seal})
        else:
            yield from self._begin_thought()
            yield self._delta({"type": "signature_delta", "signature": seal})
        yield from self._end()

    def _end(self) -> Iterator[bytes]:
        if self._open:
            yield self._event("content_block_stop", {})
        self._open = ""

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return self._event("content_block_delta", {"delta": delta})

    def _event(self, name: str, data: dict[str, Any]) -> bytes:
        return event({"type": name, "index": self._index, **data}, name)
