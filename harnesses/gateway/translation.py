"""Translates calls into the protocol of a service, and its answers back as they come in.

The protocols themselves are in :mod:`harnesses.protocols`; what a service of one expects of a
conversation that was held in another is in :mod:`harnesses.gateway.fitting`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from harnesses.gateway.call_ids import CallIds
from harnesses.gateway.fitting import prepared, service_names
from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import (
    CallBegun,
    Codec,
    Conversation,
    Message,
    Piece,
    ProtocolError,
    ProtocolName,
    Reply,
    ServiceFailure,
    Thought,
    ToolCall,
)
from harnesses.protocols.errors import error_body, error_event, error_message
from harnesses.protocols.fields import object_in
from harnesses.protocols.pieces import Gathering
from harnesses.protocols.registry import CODECS, PATHS
from harnesses.protocols.sse import Splitter

Named = TypeVar("Named", ToolCall, CallBegun)

PREFERRED: tuple[ProtocolName, ...] = ("responses", "messages", "chat")
"""The protocols by what is lost in translation, the best first."""

_PATHS = {protocol: path for path, protocol in PATHS.items()}

Thoughts = dict[str, tuple[Thought, ...]]
"""The thoughts of replies, by the ids of the tool calls in them."""


@dataclass(frozen=True)
class Translated:
    """A call as its service gets it.

    Args:
        call: in the service's protocol.
        client: the client's protocol.
        shown: the conversation.
        left_out: the parts of the client's call that have no place in the service's protocol.
        thoughts: gets those of the reply, for clients that cannot give them back.
        ids: of the session's calls.
        names: of the client's tools, by those that the service knows.
    """

    call: Call
    client: ProtocolName
    shown: Conversation
    left_out: tuple[str, ...]
    thoughts: Thoughts
    ids: CallIds
    names: Mapping[str, str]
    _given: dict[str, str] = field(default_factory=dict)
    """The services' ids of the calls in the reply, by our own."""

    def answer(self, answer: Answer) -> Answer:
        """The service's answer in the client's protocol; a stream is translated event by event.

        Args:
            answer: as :func:`harnesses.gateway.door.opened` gives it: with status 200 a stream if
                the client asked for one, and else a whole reply.
        """
        kind = "text/event-stream" if self._streams(answer) else "application/json"
        return replace(answer, content_type=kind, chunks=self._chunks(answer))

    def _streams(self, answer: Answer) -> bool:
        return answer.status == 200 and self.shown.stream

    async def _chunks(self, answer: Answer) -> AsyncIterator[bytes]:
        self.ids.forget(self._given)  # Of an earlier try of the same call.
        self._given.clear()
        if self._streams(answer):
            async for chunk in self._stream(answer.chunks):
                yield chunk
            return
        raw = b"".join([chunk async for chunk in answer.chunks])
        if answer.status != 200:
            body = error_body(self.client, answer.status, error_message(raw))
            yield json.dumps(body).encode()
            return
        reply = CODECS[self.call.protocol].read_response(object_in(raw, "reply"))
        reply = replace(reply, calls=tuple(self._known(call) for call in reply.calls))
        self._remember(reply)
        id, model, own = secrets.token_hex(12), reply.model or self.shown.model, CODECS[self.client]
        yield json.dumps(own.write_response(reply, model, id, self.shown.tools)).encode()

    def _known(self, call: Named) -> Named:
        """A call by an id of its own and the name that the client knows."""
        id = self.ids.own(call.id, twice=call.id in self._given.values())
        self._given[id] = call.id
        return replace(call, id=id, name=self.names.get(call.name, call.name))

    def _remember(self, reply: Reply) -> None:
        """Keep the thoughts of a reply: Chat Completions clients do not give them back."""
        if self.client == "chat" and reply.thoughts:
            self.thoughts.update({call.id: reply.thoughts for call in reply.calls})

    async def _stream(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        own: Codec = CODECS[self.client]
        splitter, reader = Splitter(), CODECS[self.call.protocol].reader()
        writer = own.writer(self.shown.model, secrets.token_hex(12), self.shown.tools)
        gathering = Gathering()

        def written(pieces: Iterable[Piece]) -> Iterator[bytes]:
            for piece in pieces:
                known = self._known(piece) if isinstance(piece, CallBegun) else piece
                gathering.add(known)
                yield from writer.write(known)

        try:
            async for chunk in chunks:
                for event in splitter.feed(chunk):
                    for part in written(reader.read(event)):
                        yield part
            for event in splitter.end():
                for part in written(reader.read(event)):
                    yield part
        except ProtocolError as error:
            code = error.code if isinstance(error, ServiceFailure) else ""
            yield error_event(self.client, str(error), code)
            return
        try:
            last = list(written(reader.close()))
        except ServiceFailure as error:
            yield error_event(self.client, str(error), error.code)
            return
        for part in last:
            yield part
        self._remember(gathering.reply())


def pick_protocol(client: ProtocolName, spoken: Collection[ProtocolName]) -> ProtocolName:
    """The protocol for calls to a service: the client's own if the service speaks it."""
    return client if client in spoken else next(name for name in PREFERRED if name in spoken)


def translate(
    call: Call,
    to: ProtocolName,
    extra: Mapping[str, Any],
    thoughts: Thoughts,
    ids: CallIds | None = None,
) -> Translated:
    """A call as a service of the protocol ``to`` gets it.

    Args:
        call: as the client made it.
        to: another protocol.
        extra: fields for the service, which replace the client's.
        thoughts: of earlier replies; those of the reply to this call will be added.
        ids: of the calls in earlier replies; those of the reply to this call will be added.

    Raises:
        ProtocolError: it cannot be read, or refers to a conversation that a service keeps.
    """
    if call.body.get("previous_response_id"):
        raise ProtocolError(
            "previous_response_id: this model's service does not keep conversations: send the "
            "whole conversation as input"
        )
    read = CODECS[call.protocol].read_request(call.body)
    read = replace(read, messages=tuple(_remembered(m, thoughts) for m in read.messages))
    ids = ids if ids is not None else CallIds()
    ids.seen(read.messages)
    shown, lost = prepared(read, to)
    shown = replace(shown, messages=tuple(map(ids.theirs, shown.messages)))
    body = CODECS[to].write_request(shown) | dict(extra)
    if to == "responses" and "reasoning" in body:
        body.setdefault("include", ["reasoning.encrypted_content"])
    translated = replace(call, protocol=to, path=_PATHS[to], body=body, headers={})
    names = {new: name for name, new in service_names(read).items()}
    left_out = (*read.left_out, *lost)
    return Translated(translated, call.protocol, read, left_out, thoughts, ids, names)


def _remembered(message: Message, thoughts: Thoughts) -> Message:
    """A message of the model with its thoughts, which the client did not give back."""
    found = next((thoughts[call.id] for call in message.calls if call.id in thoughts), ())
    return replace(message, thoughts=found) if found else message
