"""Streams of Chat Completions: chunks with deltas, then usage, then ``[DONE]``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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
    ThoughtDone,
    ThoughtPiece,
    ToolCall,
)
from harnesses.protocols.errors import check_body, check_error
from harnesses.protocols.fields import (
    argument_text,
    count,
    get,
    made_id,
    mark_of,
    maybe,
    objects,
    plain,
    uncounted,
)
from harnesses.protocols.pieces import call_of, is_whole
from harnesses.protocols.sse import event
from harnesses.protocols.stops import check_stop, read_stop
from harnesses.protocols.tagged_thoughts import TagReader

REASONING = ("reasoning_content", "reasoning", "thinking")
"""The fields in which servers of open models put thoughts; OpenAI's protocol has none."""

_THOUGHT_TEXTS = ("text", "thinking", "reasoning", "summary", "content")
_CHUNK = "chat.completion.chunk"
_STOP_NAMES = {"end": "stop", "tool_calls": "tool_calls", "length": "length"}
_STOP_NAMES |= {"refusal": "content_filter"}


def finish_name(stop: str, called: bool) -> str:
    """The name of that reason in this protocol."""
    return _STOP_NAMES.get("tool_calls" if called and stop == "end" else stop, "stop")


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Token counts of a response."""
    details = maybe(usage, "prompt_tokens_details", dict) or {}
    return Usage(
        requests=1,
        prompt_tokens=count(usage, "prompt_tokens"),
        cached_tokens=count(details, "cached_tokens"),
        completion_tokens=count(usage, "completion_tokens"),
        cache_write_tokens=count(details, "cache_write_tokens"),
        estimated=uncounted(usage, "prompt_tokens", "completion_tokens"),
    )


def written_usage(usage: Usage) -> dict[str, Any]:
    """Token counts in the form of this protocol."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        **mark_of(usage.estimated),
    }


def thought_in(message: Mapping[str, Any]) -> tuple[str, str]:
    """The field of a message or a delta that has a thought, and the thought."""
    for key in REASONING:
        if text := message.get(key):
            return key, text if isinstance(text, str) else plain_thought(text)
    details = message.get("reasoning_details")  # OpenRouter's, also beside its field for the text.
    return REASONING[1], plain_thought(details)


def plain_thought(value: Any) -> str:
    """The text of a thought in any form: a string, parts with a text, a summary or a content."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(plain_thought, value))
    if isinstance(value, dict):
        return next((t for key in _THOUGHT_TEXTS if (t := plain_thought(value.get(key)))), "")
    return ""


def parts_of(content: Any) -> tuple[str, str]:
    """The thought and the text of a reply's content, a string or a list of parts."""
    if not isinstance(content, list):
        return "", plain(content)
    thoughts, texts = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else ""
        if kind in ("thinking", "reasoning"):
            thoughts.append(plain_thought(part))
        else:
            texts.append(plain([part]))
    return "".join(thoughts), "".join(texts)


@dataclass
class OpenCall:
    """A call that is being read; it stays open until the end of the reply."""

    index: int | None
    id: str
    name: str = ""
    parts: list[str] = field(default_factory=list)
    passed: int = 0
    """One more than the number of parts that have been passed on; 0 if it was not begun."""

    def whole(self) -> bool:
        """Whether the arguments are complete."""
        if not self.parts or not self.parts[-1].rstrip().endswith("}"):
            return False
        return is_whole(self.call())

    def call(self) -> ToolCall:
        """The call as far as it has come."""
        return call_of(self.id, self.name, "".join(self.parts))

    def rest(self) -> tuple[bool, str]:
        """Whether nothing has been passed on before, and the arguments that have not."""
        begins, text = self.passed == 0, "".join(self.parts[max(self.passed - 1, 0) :])
        self.passed = len(self.parts) + 1
        return begins, text


class Calls:
    """Puts the calls of one reply together.

    Servers differ in what they repeat and in what they change from piece to piece. A piece with a
    name begins a call if its index is another, or its id is another and not empty, or the call of
    that index has whole arguments. A piece without a name continues the call of its index, else of
    its id, else the last one.
    """

    def __init__(self) -> None:
        self.open: list[OpenCall] = []

    def add(self, part: Mapping[str, Any]) -> OpenCall:
        """The call that a part belongs to. Raises ProtocolError if it cannot be read."""
        function = get(part, "function", dict, {})
        index, id = maybe(part, "index", int), part.get("id")
        id = str(id) if id not in (None, "") else ""
        name = get(function, "name", str, "")
        call = self._named(index, id, name) if name else self._unnamed(index, id)
        if call is None:
            call = OpenCall(index, made_id(id))
            self.open.append(call)
        call.name = call.name or name
        if text := argument_text(function.get("arguments")):
            call.parts.append(text)
        return call

    def _named(self, index: int | None, id: str, name: str) -> OpenCall | None:
        call = self._last(lambda call: call.index == index)
        if call is None or not call.name:
            return call
        other = (id and id != call.id) or name != call.name or call.whole()
        return None if other else call

    def _unnamed(self, index: int | None, id: str) -> OpenCall | None:
        own = self._last(lambda call: index is not None and call.index == index)
        own = own or self._last(lambda call: bool(id) and call.id == id)
        return own or (self.open[-1] if self.open else None)

    def _last(self, fits: Callable[[OpenCall], bool]) -> OpenCall | None:
        return next((call for call in reversed(self.open) if fits(call)), None)

    def begun(self) -> Iterator[Piece]:
        """What can be passed on: the first call as it comes; all others follow at the end, as a
        piece of an earlier call may still come."""
        if self.open and self.open[0].name:
            yield from self._passed(self.open[0])

    def ended(self) -> Iterator[Piece]:
        """The rest. Raises ServiceFailure for a call that never had a name."""
        for call in self.open:
            if not call.name:
                raise ServiceFailure(f"stream: tool call {call.id!r} has no name")
            yield from self._passed(call)
            yield BlockDone()

    def _passed(self, call: OpenCall) -> Iterator[Piece]:
        begins, text = call.rest()
        if begins:
            yield CallBegun(call.id, call.name)
        if text:
            yield CallPiece(text)


class ChatReader:
    """Reads one stream. It is complete if it has a reason to finish."""

    def __init__(self) -> None:
        self._begun = False
        self._thinks = ""
        """The field of the thought that is being read."""
        self._tags = TagReader("chat")
        self._text: list[str] = []
        self._broken = False
        """Whether a thought has come after the text had begun."""
        self._other = False
        """Whether there was a thought, or an empty text: the model replied, if with nothing."""
        self._calls = Calls()
        self._held: list[Piece] = []
        """What came after the first call had begun, and follows the calls."""
        self._finish: object = None
        self._odd: Mapping[str, Any] = {}
        """The last event without choices and counts, which may say what went wrong."""
        self._usage = Usage(1, estimated=True)

    def read(self, item: Mapping[str, Any]) -> Iterator[Piece]:
        check_error(item, "stream")
        if not item or item.get("type") in ("ping", "keepalive"):
            return
        if not item.keys() & {"choices", "usage"} and item.get("object") != _CHUNK:
            check_body(item, "choices", "stream")
        if not self._begun:
            self._begun = True
            yield Begun(str(item.get("model") or ""))
        if item.get("usage"):
            self._usage = usage_of(get(item, "usage", dict))
        elif not item.get("choices"):
            self._odd = item
        for choice in objects(item, "choices"):
            if maybe(choice, "index", int) in (None, 0):
                yield from self._choice(choice)

    def _choice(self, choice: Mapping[str, Any]) -> Iterator[Piece]:
        check_error(choice, "stream")
        delta = get(choice, "delta", dict, {})
        if not delta and not self._text and not self._calls.open:
            # Some servers answer with a whole reply as the only event.
            delta = get(choice, "message", dict, {})
        for piece in self._said(delta):
            if self._calls.open:
                self._held.append(piece)
            else:
                yield piece
        check_error(delta, "stream")
        legacy = delta.get("function_call")
        parts = objects(delta, "tool_calls") + ([{"function": legacy}] if legacy else [])
        if parts and not self._calls.open:
            yield from self._untagged(self._tags.finish())
            yield from self._thought_done()
        for part in parts:
            self._calls.add(part)
        yield from self._calls.begun()
        check_stop(choice.get("finish_reason"))
        self._finish = choice.get("finish_reason") or self._finish

    def _said(self, delta: Mapping[str, Any]) -> Iterator[Piece]:
        key, thought = thought_in(delta)
        content = delta.get("content")
        inner, text = parts_of(content)
        if thought or inner:
            self._thinks = key if thought else REASONING[0]
            self._broken = bool(self._text)
            yield ThoughtPiece(thought or inner)
        self._other = self._other or bool(thought or inner) or content is not None
        if text := text or plain(delta.get("refusal")):
            yield from self._thought_done()
            yield from self._untagged(self._tags.feed(text))

    def _untagged(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The pieces of a text without its tags."""
        for piece in pieces:
            if isinstance(piece, TextPiece):
                continues = bool(self._text) and (self._broken or bool(self._calls.open))
                self._text.append(piece.text)
                yield replace(piece, continues=continues)
            else:
                self._other = True
                yield piece

    def _thought_done(self) -> Iterator[Piece]:
        if self._thinks:
            yield ThoughtDone(self._thinks, "chat")
        self._thinks = ""

    def close(self) -> Iterator[Piece]:
        if self._finish is None:
            said = f", after {json.dumps(self._odd)[:500]}" if self._odd else ""
            raise ProtocolError(f"stream: ended without finish_reason{said}")
        if not self._calls.open:
            yield from self._untagged(self._tags.finish())
            yield from self._thought_done()
            yield BlockDone()
        yield from self._calls.ended()
        yield from self._held
        yield from self._untagged(self._tags.finish())
        yield from self._thought_done()
        calls = [call.call() for call in self._calls.open]
        empty = self._other or self._usage.completion_tokens > 0
        stop, odd = read_stop(self._finish, "".join(self._text), calls, empty)
        yield Ended(stop, self._usage, odd)


class ChatWriter:
    """Writes one stream."""

    def __init__(self, model: str, id: str) -> None:
        self._head = {
            "id": id,
            "object": _CHUNK,
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
