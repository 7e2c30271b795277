"""Converts streams into whole replies and back, and puts the pieces of blocks that come in turn in
order, the same for all protocols."""

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
from harnesses.protocols.tagged_thoughts import split_unopened


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
    yield Ended(reply.stop, reply.usage, reply.odd_stop)


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


def is_whole(call: ToolCall) -> bool:
    """Whether a call has a name and arguments that can be read."""
    return bool(call.name) and (call.custom or set(call.arguments) != {"_raw"})


class InOrder:
    """Passes on the pieces of blocks that a service sends in turn, one block after another.

    The first block that has not ended is passed on as it comes; those after it wait. So a client
    sees the reply as it is made, and pieces of one text, thought or call come together.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, list[Piece]] = {}
        """The pieces of each block that has not been passed on, in the order of the blocks."""
        self._ended: set[int] = set()
        self._number = 0

    def begin(self) -> int:
        """The number of a new block, which comes after all others."""
        self._number += 1
        self._waiting[self._number] = []
        return self._number

    def add(self, block: int, pieces: Iterable[Piece]) -> list[Piece]:
        """What can be passed on once a block has these pieces. They are left out if it ended."""
        if block not in self._waiting:
            return []
        if block != next(iter(self._waiting)):
            self._waiting[block] += pieces
            return []
        return list(pieces)

    def end(self, block: int, pieces: Iterable[Piece] = ()) -> list[Piece]:
        """What can be passed on once a block has ended with these pieces."""
        passed = self.add(block, pieces)
        self._ended.add(block)
        while self._waiting and (first := next(iter(self._waiting))) in self._ended:
            passed += self._waiting.pop(first)
            if self._waiting:
                after = next(iter(self._waiting))
                passed += self._waiting[after]
                self._waiting[after] = []
        return passed


class Gathering:
    """Puts pieces together to a reply."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._continues = False
        """Whether the current text continues the one before."""
        self._calls: list[ToolCall] = []
        self._thoughts: list[Thought] = []
        self._open: Piece | None = None
        self._said: list[str] = []
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
                    self._continues = isinstance(piece, TextPiece) and piece.continues
                self._said.append(text)
            case CallBegun():
                self._close()
                self._open = piece
            case CallPiece(text):
                self._said.append(text)
            case ThoughtDone(seal, origin, hidden):
                text = "".join(self._said) if isinstance(self._open, ThoughtPiece) else ""
                self._thoughts.append(Thought(text, seal, origin, hidden))
                self._open, self._said = None, []
            case BlockDone():
                self._close()
            case Ended():
                self._close()
                self._end = piece

    def _close(self) -> None:
        said = "".join(self._said)
        match self._open:
            case TextPiece() if self._continues and self._texts:
                self._texts[-1] += said
            case TextPiece():
                self._texts.append(said)
            case ThoughtPiece():
                self._thoughts.append(Thought(said))
            case CallBegun(id, name, custom):
                self._calls.append(call_of(id, name, said, custom))
        self._open, self._said = None, []

    def reply(self) -> Reply:
        """The reply. Raises ProtocolError if the stream has not ended."""
        if self._end is None:
            raise ProtocolError("stream: ended before the reply did")
        thought, text = split_unopened("\n".join(text for text in self._texts if text))
        return Reply(
            text=text,
            calls=tuple(self._calls),
            usage=self._end.usage,
            stop=self._end.stop,
            thoughts=(*self._thoughts, *thought),
            model=self._model,
            odd_stop=self._end.odd_stop,
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
