"""Streams of Chat Completions: chunks with deltas, then usage, then ``[DONE]``."""

from __future__ import annotations

import json
import secrets
import time
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
    ThoughtDone,
    ThoughtPiece,
)
from harnesses.protocols.fields import get, objects
from harnesses.protocols.sse import event

_STOPS = {"stop": "end", "tool_calls": "tool_calls", "function_call": "tool_calls"}
_STOPS |= {"length": "length", "content_filter": "refusal"}
_STOP_NAMES = {"end": "stop", "tool_calls": "tool_calls", "length": "length"}
_STOP_NAMES |= {"refusal": "content_filter"}


def stop_of(finish: object, called: bool) -> str:
    """Why a reply ended. Some servers send ``stop`` even if the model called a tool."""
    stop = _STOPS.get(str(finish), "end")
    return "tool_calls" if called and stop == "end" else stop


def finish_name(stop: str, called: bool) -> str:
    """The name of that reason in this protocol."""
    return _STOP_NAMES.get("tool_calls" if called and stop == "end" else stop, "stop")


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Token counts of a response."""
    details = get(usage, "prompt_tokens_details", dict, {})
    return Usage(
        requests=1,
        prompt_tokens=get(usage, "prompt_tokens", int, 0),
        cached_tokens=get(details, "cached_tokens", int, 0),
        completion_tokens=get(usage, "completion_tokens", int, 0),
        cache_write_tokens=get(details, "cache_write_tokens", int, 0),
    )


def written_usage(usage: Usage) -> dict[str, Any]:
    """Token counts in the form of this protocol."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


class ChatReader:
    """Reads one stream. It is complete if it has a reason to finish."""

    def __init__(self) -> None:
        self._begun = False
        self._thinks = ""
        """The field of the thought that is being read."""
        self._call: tuple[int, str] | None = None
        """The index and id of the call that is being read."""
        self._done: set[int] = set()
        self._called = False
        self._finish: str | None = None
        self._usage = Usage(1)

    def read(self, item: Mapping[str, Any]) -> Iterator[Piece]:
        if item.get("error"):
            raise ProtocolError(f"stream: error event: {json.dumps(item['error'])}")
        if not self._begun:
            self._begun = True
            yield Begun(str(item.get("model") or ""))
        if item.get("usage"):
            self._usage = usage_of(get(item, "usage", dict))
        for choice in objects(item, "choices")[:1]:
            yield from self._delta(get(choice, "delta", dict, {}))
            self._finish = choice.get("finish_reason") or self._finish

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[Piece]:
        for key in ("reasoning_content", "reasoning"):
            if isinstance(delta.get(key), str) and delta[key]:
                self._thinks = key
                yield ThoughtPiece(delta[key])
                break
        text = delta.get("content") or delta.get("refusal")
        if isinstance(text, str) and text:
            yield from self._thought_done()
            yield TextPiece(text)
        for part in objects(delta, "tool_calls"):
            yield from self._thought_done()
            yield from self._called_part(part)

    def _thought_done(self) -> Iterator[Piece]:
        if self._thinks:
            yield ThoughtDone(self._thinks, "chat")
        self._thinks = ""

    def _called_part(self, part: Mapping[str, Any]) -> Iterator[Piece]:
        index, id = get(part, "index", int, 0), part.get("id") or ""
        function = get(part, "function", dict, {})
        # Some servers give every call the index 0, with different ids.
        if self._call is None or index != self._call[0] or (id and id != self._call[1]):
            if self._call is not None:
                self._done.add(self._call[0])
                yield BlockDone()
            if not id and index in self._done:
                raise ProtocolError(
                    f"stream: tool call {index} continues after the next one has begun"
                )
            self._call, self._called = (index, str(id)), True
            yield CallBegun(
                str(id) or f"call_{secrets.token_hex(8)}", str(function.get("name") or "")
            )
        if text := function.get("arguments"):
            yield CallPiece(str(text))

    def close(self) -> Iterator[Piece]:
        if self._finish is None:
            raise ProtocolError("stream: ended without finish_reason")
        yield from self._thought_done()
        yield BlockDone()
        yield Ended(stop_of(self._finish, self._called), self._usage)


class ChatWriter:
    """Writes one stream."""

    def __init__(self, model: str, id: str) -> None:
        self._head = {
            "id": id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        self._calls = 0

    def write(self, piece: Piece) -> Iterator[bytes]:
        match piece:
            case Begun():
                yield self._chunk({"role": "assistant", "content": ""})
            case TextPiece(text):
                yield self._chunk({"content": text})
            case ThoughtPiece(text) if text:
                yield self._chunk({"reasoning_content": text})
            case CallBegun(id, name):
                function = {"name": name, "arguments": ""}
                call = {"index": self._calls, "id": id, "type": "function", "function": function}
                self._calls += 1
                yield self._chunk({"tool_calls": [call]})
            case CallPiece(text):
                call = {"index": self._calls - 1, "function": {"arguments": text}}
                yield self._chunk({"tool_calls": [call]})
            case Ended(stop, usage):
                yield self._chunk({}, finish_name(stop, self._calls > 0))
                yield event({**self._head, "choices": [], "usage": written_usage(usage)})
                yield event("[DONE]")

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event({**self._head, "choices": [choice]})
