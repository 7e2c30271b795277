"""The protocols by name, and by the path that a client posts to."""

from __future__ import annotations

from harnesses.protocols.base import Codec, ProtocolName
from harnesses.protocols.chat import ChatCodec
from harnesses.protocols.messages import MessagesCodec
from harnesses.protocols.responses import ResponsesCodec

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
