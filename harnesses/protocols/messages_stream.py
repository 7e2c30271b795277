"""Streams of Messages: a message of blocks, each begun, extended and ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
    TextPiece,
    Thought,
    ThoughtDone,
    ThoughtPiece,
)
from harnesses.protocols.fields import get
from harnesses.protocols.seals import sealed, unsealed
from harnesses.protocols.sse import event

_STOPS = {"end_turn": "end", "stop_sequence": "end", "tool_use": "tool_calls"}
_STOPS |= {"max_tokens": "length", "model_context_window_exceeded": "length"}
_STOPS |= {"refusal": "refusal"}
_STOP_NAMES = {"end": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}


def stop_of(reason: object, called: bool) -> str:
    """Why a reply ended."""
    stop = _STOPS.get(str(reason), "end")
    return "tool_calls" if called and stop == "end" else stop


def stop_name(stop: str, called: bool) -> str:
    """The name of that reason in this protocol."""
    return _STOP_NAMES.get("tool_calls" if called and stop == "end" else stop, stop)


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Token counts of a response."""
    cached = get(usage, "cache_read_input_tokens", int, 0)
    written = get(usage, "cache_creation_input_tokens", int, 0)
    kept = get(usage, "cache_creation", dict, {})
    long = min(written, get(kept, "ephemeral_1h_input_tokens", int, 0))
    return Usage(
        requests=1,
        prompt_tokens=get(usage, "input_tokens", int, 0) + cached + written,
        cached_tokens=cached,
        completion_tokens=get(usage, "output_tokens", int, 0),
        cache_write_tokens=written - long,
        cache_write_long_tokens=long,
    )


def written_usage(usage: Usage) -> dict[str, int]:
    """Token counts as this protocol has them: those from the cache, and those
    written to it, are counted apart."""
    written = usage.cache_write_tokens + usage.cache_write_long_tokens
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - written,
        "cache_read_input_tokens": usage.cached_tokens,
        "cache_creation_input_tokens": written,
        "output_tokens": usage.completion_tokens,
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


class MessagesReader:
    """Reads one stream."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] = {}
        self._stop: object = None
        self._called = False
        self._whole = False

    def read(self, item: Mapping[str, Any]) -> Iterator[Piece]:
        match item.get("type"):
            case "message_start":
                message = get(item, "message", dict)
                self._usage = dict(get(message, "usage", dict, {}))
                yield Begun(str(message.get("model", "")), usage_of(self._usage))
            case "content_block_start":
                block = {**get(item, "content_block", dict), "_said": ""}
                self._blocks[get(item, "index", int)] = block
                yield from self._block_begun(block)
            case "content_block_delta":
                yield from self._delta(self._block(item), get(item, "delta", dict))
            case "content_block_stop":
                yield from self._block_done(self._block(item))
            case "message_delta":
                self._stop = get(item, "delta", dict).get("stop_reason") or self._stop
                new = get(item, "usage", dict, {})
                self._usage |= {key: value for key, value in new.items() if value is not None}
            case "error":
                raise ProtocolError(f"stream: error event: {json.dumps(item.get('error'))}")
            case "message_stop":
                self._whole = True
                yield Ended(stop_of(self._stop, self._called), usage_of(self._usage))

    def _block(self, item: Mapping[str, Any]) -> dict[str, Any]:
        index = get(item, "index", int)
        if index not in self._blocks:
            raise ProtocolError(f"stream: block {index} has not begun")
        return self._blocks[index]

    def _block_begun(self, block: Mapping[str, Any]) -> Iterator[Piece]:
        match block.get("type"):
            case "tool_use":
                self._called = True
                yield CallBegun(get(block, "id", str), get(block, "name", str))
            case "text" if block.get("text"):
                yield TextPiece(get(block, "text", str))
            case "thinking" if block.get("thinking"):
                yield ThoughtPiece(get(block, "thinking", str))

    def _delta(self, block: dict[str, Any], delta: Mapping[str, Any]) -> Iterator[Piece]:
        match delta.get("type"):
            case "text_delta":
                yield TextPiece(get(delta, "text", str))
            case "thinking_delta":
                yield ThoughtPiece(get(delta, "thinking", str))
            case "signature_delta":
                block["signature"] = block.get("signature", "") + get(delta, "signature", str)
            case "input_json_delta":
                text = get(delta, "partial_json", str)
                block["_said"] += text
                yield CallPiece(text)

    def _block_done(self, block: Mapping[str, Any]) -> Iterator[Piece]:
        match block.get("type"):
            case "thinking":
                thought = unsealed("", get(block, "signature", str, ""), "messages")
                yield ThoughtDone(thought.seal, thought.origin)
            case "redacted_thinking":
                thought = unsealed("", get(block, "data", str, ""), "messages", hidden=True)
                yield ThoughtDone(thought.seal, thought.origin, hidden=True)
            case "tool_use" if not block["_said"]:
                yield CallPiece(json.dumps(get(block, "input", dict, {})))
                yield BlockDone()
            case "text" | "tool_use":
                yield BlockDone()

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
