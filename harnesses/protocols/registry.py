"""The protocols by name, and by the path that a client posts to."""

from __future__ import annotations

from harnesses.protocols.base import Codec, ProtocolName, Reply
from harnesses.protocols.chat import ChatCodec
from harnesses.protocols.fields import object_in
from harnesses.protocols.messages import MessagesCodec
from harnesses.protocols.responses import ResponsesCodec
from harnesses.protocols.sse import read_events

CODECS: dict[ProtocolName, Codec] = {
    "responses": ResponsesCodec(),
    "chat": ChatCodec(),
    "messages": MessagesCodec(),
}

PATHS: dict[str, ProtocolName] = {
    "/v1/responses": "responses",
    "/v1/chat/completions": "chat",
    "/v1/messages": "messages",
}


def read_reply(protocol: ProtocolName, content_type: str, raw: bytes) -> Reply:
    """The reply in the body of an answer, whole or streamed.

    Its first character decides, as servers stream when they were not asked to, or fail to when they
    were.

    Raises:
        ServiceFailure: it reports a failure or has no content.
        ProtocolError: it is something else, such as a page.
    """
    if raw[:64].lstrip().startswith(b"{") or "event-stream" not in content_type:
        streamed = raw[:64].removeprefix(b"\xef\xbb\xbf").startswith((b"data:", b"event:", b":"))
        if not streamed:
            return CODECS[protocol].read_response(object_in(raw, "reply"))
    return CODECS[protocol].read_stream(read_events(raw))
