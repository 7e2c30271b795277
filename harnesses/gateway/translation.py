"""Translates calls into the protocol of a service, and its answers back as they come in.

The protocols themselves are in :mod:`harnesses.protocols`; here is what a service of one expects of
a conversation that was held in another. What cannot be translated is reported, not hidden.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harnesses.gateway.upstreams import Answer, Call
from harnesses.protocols.base import (
    Codec,
    Conversation,
    Message,
    ProtocolError,
    ProtocolName,
    Thought,
    ToolResult,
)
from harnesses.protocols.errors import error_body, error_event, error_message
from harnesses.protocols.fields import object_in
from harnesses.protocols.registry import CODECS, PATHS
from harnesses.protocols.sse import Splitter, read_events

PREFERRED: tuple[ProtocolName, ...] = ("responses", "messages", "chat")
"""The protocols by what is lost in translation, the best first."""

_PATHS = {protocol: path for path, protocol in PATHS.items()}
_BILLING = re.compile(r"\Ax-anthropic-billing-header:[^\n]*\n?")
"""A line that Claude Code puts before its prompt for its own service. It differs from call to call,
so that no other service would find the prompt in its cache."""


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
    """

    call: Call
    client: ProtocolName
    shown: Conversation
    left_out: tuple[str, ...]
    thoughts: Thoughts

    def answer(self, answer: Answer) -> Answer:
        """The service's answer in the client's protocol; a stream is translated event by event."""
        kind = "text/event-stream" if self._streams(answer) else "application/json"
        return replace(answer, content_type=kind, chunks=self._chunks(answer))

    def _streams(self, answer: Answer) -> bool:
        return answer.status == 200 and self.shown.stream

    async def _chunks(self, answer: Answer) -> AsyncIterator[bytes]:
        if answer.status == 200 and "event-stream" in answer.content_type:
            chunks = self._kept(answer.chunks) if self.client == "chat" else answer.chunks
            async for chunk in self._stream(chunks):
                yield chunk
            return
        raw = b"".join([chunk async for chunk in answer.chunks])
        if answer.status != 200:
            body = error_body(self.client, answer.status, error_message(raw))
            yield json.dumps(body).encode()
            return
        reply = CODECS[self.call.protocol].read_response(object_in(raw, "reply"))
        id, model, own = secrets.token_hex(12), reply.model or self.shown.model, CODECS[self.client]
        if self.shown.stream:  # The service did not stream; it may not be able to.
            for event in own.write_stream(reply, model, id):
                yield event
            return
        yield json.dumps(own.write_response(reply, model, id, self.shown.tools)).encode()

    async def _kept(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """A stream whose thoughts are kept: Chat Completions clients do not give them back."""
        raw = bytearray()
        async for chunk in chunks:
            raw += chunk
            yield chunk
        try:
            reply = CODECS[self.call.protocol].read_stream(read_events(bytes(raw)))
        except ProtocolError:
            return  # The client gets the stream, and the error, as it is.
        if reply.thoughts:
            self.thoughts.update({call.id: reply.thoughts for call in reply.calls})

    async def _stream(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        own: Codec = CODECS[self.client]
        splitter, reader = Splitter(), CODECS[self.call.protocol].reader()
        writer = own.writer(self.shown.model, secrets.token_hex(12), self.shown.tools)

        def translated(chunk: bytes) -> Iterator[bytes]:
            for event in splitter.feed(chunk):
                for piece in reader.read(event):
                    yield from writer.write(piece)

        try:
            async for chunk in chunks:
                for written in translated(chunk):
                    yield written
            for written in translated(b"\n"):  # Some servers omit the end of the last line.
                yield written
        except ProtocolError as error:
            yield error_event(self.client, str(error))
            return
        for piece in reader.close():
            for written in writer.write(piece):
                yield written


def pick_protocol(client: ProtocolName, spoken: Collection[ProtocolName]) -> ProtocolName:
    """The protocol for calls to a service: the client's own if the service speaks it."""
    return client if client in spoken else next(name for name in PREFERRED if name in spoken)


def translate(
    call: Call, to: ProtocolName, extra: Mapping[str, Any], thoughts: Thoughts
) -> Translated:
    """A call as a service of the protocol ``to`` gets it.

    Args:
        call: as the client made it.
        to: another protocol.
        extra: fields for the service, which replace the client's.
        thoughts: of earlier replies; those of the reply to this call will be added.

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
    shown, lost = prepared(read, to)
    body = CODECS[to].write_request(shown) | dict(extra)
    if to == "responses" and "reasoning" in body:
        body.setdefault("include", ["reasoning.encrypted_content"])
    translated = replace(call, protocol=to, path=_PATHS[to], body=body, headers={})
    return Translated(translated, call.protocol, read, (*read.left_out, *lost), thoughts)


def _remembered(message: Message, thoughts: Thoughts) -> Message:
    """A message of the model with its thoughts, which the client did not give back."""
    found = next((thoughts[call.id] for call in message.calls if call.id in thoughts), ())
    return replace(message, thoughts=found) if found else message


def prepared(shown: Conversation, to: ProtocolName) -> tuple[Conversation, list[str]]:
    """A conversation as services of the protocol ``to`` accept it, and what is lost."""
    messages = list(_answered(_stripped(shown.messages, to)))
    if to != "responses":
        messages = _system_first(messages)
    if to != "messages":
        messages = [replace(m, results=tuple(map(_failure_said, m.results))) for m in messages]
    if to == "chat":
        messages = list(_joined(messages))
    lost = []
    foreign = {t.origin for m in shown.messages for t in m.thoughts} - {to}
    lost += [f"thoughts of {origin or 'unknown origin'}" for origin in sorted(map(str, foreign))]
    options = shown.options
    if options.stop and to == "responses":
        lost.append("stop sequences")
    # The default of every service; reasoning models refuse the field.
    if options.temperature == 1:
        options = replace(options, temperature=None)
    if options.top_p == 1:
        options = replace(options, top_p=None)
    return replace(shown, messages=tuple(messages), options=options), lost


def _stripped(messages: Iterable[Message], to: ProtocolName) -> Iterator[Message]:
    """The messages without what is only for another service."""
    for message in messages:
        text = _BILLING.sub("", message.text) if message.role == "system" else message.text
        own = tuple(thought for thought in message.thoughts if thought.origin == to)
        yield replace(message, text=text, thoughts=own)


def _answered(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages with each call's result right after it. A call without a result (the agent was
    interrupted) gets a note; a result without its call becomes the user's text."""
    waiting: dict[str, None] = {}
    begun = False
    """Whether some of the waiting calls have got their results."""
    held: list[Message] = []
    """Messages between a call and its result."""
    for message in messages:
        results: list[ToolResult] = []
        lost: list[ToolResult] = []
        for result in message.results:
            known = result.call_id in waiting
            (results if known else lost).append(result)
            waiting.pop(result.call_id, None)
        if results:
            begun = bool(waiting)
            yield Message("user", results=tuple(results))
        rest = replace(message, results=())
        if lost:
            text = "\n".join([*(f"[result of a tool]\n{r.text}" for r in lost), rest.text])
            rest = replace(rest, text=text.strip(), content=())
        if not _says(rest):
            continue
        if waiting and message.role != "assistant":
            held.append(rest)
            continue
        if waiting and (held or begun):
            yield from _given_up(waiting)
        if not waiting:
            yield from held
            held, begun = [], False
        yield rest
        waiting |= dict.fromkeys(call.id for call in rest.calls)
    yield from _given_up(waiting)
    yield from held


def _given_up(waiting: dict[str, None]) -> Iterator[Message]:
    results = tuple(ToolResult(id, "(no result)", is_error=True) for id in waiting)
    waiting.clear()
    if results:
        yield Message("user", results=results)


def _says(message: Message) -> bool:
    return bool(
        message.text or message.content or message.calls or message.results or message.thoughts
    )


def _system_first(messages: list[Message]) -> list[Message]:
    """The messages with one system message at the beginning. Later ones become messages of the user
    that are marked, as many models are trained on that alone."""
    first = next((n for n, m in enumerate(messages) if m.role != "system"), len(messages))
    texts = [m.text for m in messages[:first] if m.text]
    start = [Message("system", "\n\n".join(texts))] if texts else []
    later = [
        Message("user", f"<system-reminder>\n{m.text}\n</system-reminder>")
        if m.role == "system"
        else m
        for m in messages[first:]
    ]
    return start + later


def _failure_said(result: ToolResult) -> ToolResult:
    """A failed result with a note in its text, for protocols without a field for that."""
    if not result.is_error:
        return result
    note = "[the tool failed]"
    content = (note, *result.content) if result.content else ()
    return replace(result, text=f"{note}\n{result.text}", content=content)


def _joined(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages, with one for all that the assistant thought, said and called in one turn."""
    last: Message | None = None
    for message in messages:
        if last is not None and last.role == message.role == "assistant":
            text = "\n".join(part for part in (last.text, message.text) if part)
            last = replace(
                last,
                text=text,
                calls=last.calls + message.calls,
                thoughts=last.thoughts + message.thoughts,
            )
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last
