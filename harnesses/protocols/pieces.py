"""Converts streams into whole replies and back, the same for all protocols."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harnesses.protocols.base import (
    Begun,
    BlockDone,
    CallBegun,
    CallPiece,
    Ended,
    Piece,
    ProtocolError,
    Reply,
    StreamReader,
    StreamWriter,
    TextPiece,
    Thought,
    ThoughtDone,
    ThoughtPiece,
    ToolCall,
)
from harnesses.protocols.fields import arguments


def pieces_of(reply: Reply) -> Iterator[Piece]:
    """A reply as the pieces of a stream, as few as possible."""
    yield Begun(reply.model)
    for thought in reply.thoughts:
        yield ThoughtPiece(thought.text)
        yield ThoughtDone(thought.seal, thought.origin, thought.hidden)
    if reply.text:
        yield TextPiece(reply.text)
        yield BlockDone()
    for call in reply.calls:
        yield CallBegun(call.id, call.name, call.custom)
        yield CallPiece(call_text(call))
        yield BlockDone()
    yield Ended(reply.stop, reply.usage)


def call_text(call: ToolCall) -> str:
    """The arguments of a call as a model writes them."""
    if call.custom:
        return str(call.arguments.get("input", ""))
    if set(call.arguments) == {"_raw"}:
        return str(call.arguments["_raw"])
    return json.dumps(dict(call.arguments))


def call_of(id: str, name: str, text: str, custom: bool = False) -> ToolCall:
    """A call from its arguments as a model wrote them."""
    return ToolCall(id, name, {"input": text} if custom else arguments(text), custom)


class Gathering:
    """Puts pieces together to a reply."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._thoughts: list[Thought] = []
        self._open: Piece | None = None
        self._said = ""
        self._model = ""
        self._end: Ended | None = None

    def add(self, piece: Piece) -> None:
        match piece:
            case Begun(model):
                self._model = model
            case TextPiece(text) | ThoughtPiece(text):
                if not isinstance(self._open, type(piece)):
                    self._close()
                    self._open = piece
                self._said += text
            case CallBegun():
                self._close()
                self._open = piece
            case CallPiece(text):
                self._said += text
            case ThoughtDone(seal, origin, hidden):
                text = self._said if isinstance(self._open, ThoughtPiece) else ""
                self._thoughts.append(Thought(text, seal, origin, hidden))
                self._open, self._said = None, ""
            case BlockDone():
                self._close()
            case Ended():
                self._close()
                self._end = piece

    def _close(self) -> None:
        match self._open:
            case TextPiece():
                self._texts.append(self._said)
            case ThoughtPiece():
                self._thoughts.append(Thought(self._said))
            case CallBegun(id, name, custom):
                self._calls.append(call_of(id, name, self._said, custom))
        self._open, self._said = None, ""

    def reply(self) -> Reply:
        """The reply. Raises ProtocolError if the stream has not ended."""
        if self._end is None:
            raise ProtocolError("stream: ended before the reply did")
        return Reply(
            text="\n".join(text for text in self._texts if text),
            calls=tuple(self._calls),
            usage=self._end.usage,
            stop=self._end.stop,
            thoughts=tuple(self._thoughts),
            model=self._model,
        )


def gathered(reader: StreamReader, events: Iterable[Mapping[str, Any]]) -> Reply:
    """A whole stream as a reply. Raises ProtocolError if it broke off or reports a failure."""
    gathering = Gathering()
    for event in events:
        for piece in reader.read(event):
            gathering.add(piece)
    for piece in reader.close():
        gathering.add(piece)
    return gathering.reply()


def streamed(writer: StreamWriter, reply: Reply) -> Iterator[bytes]:
    """A reply as a stream."""
    for piece in pieces_of(reply):
        yield from writer.write(piece)
