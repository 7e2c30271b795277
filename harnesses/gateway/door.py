"""The one door for replies: decides whether an answer with status 200 is a reply at all.

The client gets nothing before that is known, so that everything else can be tried again: a page,
an error in the place of a reply, a stream that ends or breaks off before it says anything.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from harnesses.gateway.blame import Refusal
from harnesses.gateway.upstreams import Answer, UpstreamError
from harnesses.protocols.base import (
    CallBegun,
    Ended,
    Piece,
    ProtocolError,
    ProtocolName,
    Reply,
    ServiceFailure,
    TextPiece,
    ThoughtDone,
    ThoughtPiece,
)
from harnesses.protocols.errors import error_body
from harnesses.protocols.fields import object_in
from harnesses.protocols.pieces import Gathering
from harnesses.protocols.registry import CODECS
from harnesses.protocols.sse import Splitter

MAX_REPLY = 16 * 1024 * 1024
"""The most bytes of one reply."""
_HELD_BYTES = 8 * 1024 * 1024
_MARK = b"\xef\xbb\xbf"
_BLANK = _MARK + b" \t\r\n"
EVENTS, JSON = "text/event-stream", "application/json"

Progress = Callable[[], None]
"""Called for content, as opposed to blanks, comments and other signs of life."""


class NoReplyError(UpstreamError):
    """An answer with status 200 is no reply.

    Args:
        refusal: what the service said.
        answer: what a client gets that is to know; in the service's protocol.
    """

    def __init__(self, refusal: Refusal, answer: Answer) -> None:
        super().__init__(refusal.text)
        self.refusal = refusal
        self.answer = answer


class StreamRead:
    """Reads one stream as it passes, and keeps the reply and nothing else."""

    def __init__(self, protocol: ProtocolName) -> None:
        self._splitter, self._reader = Splitter(), CODECS[protocol].reader()
        self._gathering = Gathering()
        self.events = 0
        self._size = 0

    def feed(self, chunk: bytes) -> list[Piece]:
        """The pieces that a chunk completes. Raises ProtocolError."""
        found = []
        for event in self._splitter.feed(chunk):
            self.events += 1
            for piece in self._reader.read(event):
                self._gathering.add(piece)
                found.append(piece)
        if found:
            self._size += len(chunk)
        if self._size > MAX_REPLY:
            raise ProtocolError(f"the reply has more than {MAX_REPLY >> 20} MiB")
        return found

    def end(self) -> Reply:
        """The reply. Raises ProtocolError if the stream broke off."""
        self.feed(b"\n\n")  # Some servers omit the end of the last event.
        for piece in self._reader.close():
            self._gathering.add(piece)
        return self._gathering.reply()


async def opened(
    answer: Answer, protocol: ProtocolName, streamed: bool, progress: Progress
) -> Answer:
    """An answer with status 200, once it is known to be a reply.

    Args:
        answer: of the service.
        protocol: of the service.
        streamed: whether a stream was asked for.
        progress: called for content.

    Returns:
        A whole reply, or a stream that has begun to say something. A service that does not stream
        though it was asked to has its reply written as a stream.

    Raises:
        NoReplyError: it is none; with the service's words.
        UpstreamError: it broke off.
    """
    chunks = _plain_lines(answer.chunks) if streamed else answer.chunks
    first = b""
    async for chunk in chunks:
        first += chunk
        if first.strip(_BLANK):
            break
    looks_whole = first.strip(_BLANK).startswith((b"{", b"<", b"["))
    if streamed and not looks_whole:
        return replace(await _begun(chunks, first, protocol), headers=answer.headers)
    raw = await _whole(first, chunks, progress)
    if not streamed and EVENTS in answer.content_type and not looks_whole:
        return _joined(raw, protocol, answer)
    try:
        body = object_in(raw, "the answer")
        reply = CODECS[protocol].read_response(body)
    except ProtocolError as error:
        refusal = _refusal(error)
        said = json.dumps(error_body(protocol, 400, refusal.text)).encode()
        raise NoReplyError(refusal, Answer(400, JSON, _again(said))) from error
    if streamed:
        events = CODECS[protocol].write_stream(reply, reply.model, str(body.get("id") or "reply"))
        return Answer(200, EVENTS, _again(b"".join(events)), headers=answer.headers)
    return Answer(200, JSON, _again(raw), headers=answer.headers)


def _joined(raw: bytes, protocol: ProtocolName, answer: Answer) -> Answer:
    """The whole reply of a stream that a service gave to a client that wants none."""
    read = StreamRead(protocol)
    try:
        read.feed(raw)
        reply = read.end()
    except ProtocolError as error:
        refusal = _refusal(error)
        said = json.dumps(error_body(protocol, 400, refusal.text)).encode()
        raise NoReplyError(refusal, Answer(400, JSON, _again(said))) from error
    body = CODECS[protocol].write_response(reply, reply.model, secrets.token_hex(12))
    return replace(answer, content_type=JSON, chunks=_again(json.dumps(body).encode()))


async def _whole(first: bytes, chunks: AsyncIterator[bytes], progress: Progress) -> bytes:
    raw = bytearray(first)
    async for chunk in chunks:
        raw += chunk
        if chunk.strip():
            progress()
        if len(raw) > MAX_REPLY:
            raise UpstreamError(f"the answer has more than {MAX_REPLY >> 20} MiB")
    return bytes(raw).removeprefix(_MARK)


async def _begun(chunks: AsyncIterator[bytes], first: bytes, protocol: ProtocolName) -> Answer:
    """A stream, once it has said something or ended well."""
    read, held, size = StreamRead(protocol), [first], 0
    begun = Answer(200, EVENTS, _and_then(held, chunks))
    try:
        if any(map(_says, read.feed(first))):
            return begun
        async for chunk in chunks:
            held.append(chunk)
            size += len(chunk)
            if any(map(_says, read.feed(chunk))):
                return begun
            if size > _HELD_BYTES:
                raise UpstreamError(f"{_HELD_BYTES >> 20} MiB of a stream without content")
        if not read.events:
            said = json.dumps(first[:200].decode("utf-8", "replace"))
            raise ProtocolError(f"the answer is neither JSON nor a stream of events: {said}")
        read.end()
    except ProtocolError as error:
        raise NoReplyError(_refusal(error), begun) from error
    return begun


def _says(piece: Piece) -> bool:
    match piece:
        case TextPiece(text) | ThoughtPiece(text):
            return bool(text)
        case CallBegun() | ThoughtDone() | Ended():
            return True
    return False


async def _plain_lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A stream of events as every client reads it: with LF line ends, its last blank line, and no
    byte order mark. It comes in whole lines.

    All else is allowed (WHATWG HTML, 9.2.6) or usual, but not all agents read it.
    """
    rest, begun, last = b"", False, b"\n\n"
    async for chunk in chunks:
        text = rest + chunk
        if not begun and _MARK.startswith(text):  # It may come in parts.
            rest = text
            continue
        text, begun = text if begun else text.removeprefix(_MARK), True
        # A CR at the end may be the first half of a CRLF.
        end = max(text.rfind(b"\n"), text.rfind(b"\r", 0, len(text) - 1)) + 1
        if len(text) - end > MAX_REPLY:
            raise UpstreamError(f"a line of the stream has more than {MAX_REPLY >> 20} MiB")
        lines, rest = text[:end], text[end:]
        if lines:
            plain = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            last = (last + plain)[-2:]
            yield plain
    rest = rest.replace(b"\r", b"\n")
    if (last + rest)[-2:] != b"\n\n":
        yield rest + b"\n\n"
    elif rest:
        yield rest


async def _and_then(held: list[bytes], chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in held:
        yield chunk
    held.clear()
    async for chunk in chunks:
        yield chunk


async def _again(raw: bytes) -> AsyncIterator[bytes]:
    yield raw


def _refusal(error: ProtocolError) -> Refusal:
    kind = f"{error.code} {error.type}" if isinstance(error, ServiceFailure) else ""
    return Refusal(0, str(error), kind.strip())
