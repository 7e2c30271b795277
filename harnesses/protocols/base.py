"""A conversation with a model in one form, whatever its protocol.

Each protocol module reads request bodies, responses and streams into these types and writes them
from these types, so that any protocol can be translated into any other
(:mod:`harnesses.gateway.translation`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from harnesses.base import Usage
from sandboxes.errors import SkillOptError

ProtocolName = Literal["responses", "chat", "messages"]
Role = Literal["system", "user", "assistant"]


class ProtocolError(SkillOptError, ValueError):
    """A body that does not follow its protocol. The message names the field."""


class ServiceFailure(ProtocolError):  # noqa: N818  # it names what the service did
    """A service reported a failure in the place of a reply, or gave a reply without content.

    Args:
        message: with the service's own words.
        code, type: as the service named them, such as ``context_length_exceeded``; empty if it
            did not.
    """

    def __init__(self, message: str, code: str = "", type: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.type = type


@dataclass(frozen=True)
class Image:
    """A picture by its URL; ``data:TYPE;base64,…`` contains the picture itself."""

    url: str


Content = tuple[str | Image, ...]
"""Texts and images in their order."""


@dataclass(frozen=True)
class Thought:
    """A thought of a model before its reply."""

    text: str
    seal: str = ""
    """A signature or an encrypted text that the service wants back unchanged."""
    origin: ProtocolName | None = None
    """The protocol of the seal, which no other service can read."""
    hidden: bool = False
    """Whether the thought consists of its seal alone."""


@dataclass(frozen=True)
class ToolCall:
    id: str
    name: str
    arguments: Mapping[str, Any]
    custom: bool = False
    """Whether the model wrote free text, which is then the argument ``input``."""


@dataclass(frozen=True)
class ToolResult:
    call_id: str
    text: str
    is_error: bool = False
    content: Content = ()
    """Texts and images, if there are images; ``text`` has notes in their place."""


@dataclass(frozen=True)
class Message:
    """One message; results of tool calls are in user messages."""

    role: Role
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    thoughts: tuple[Thought, ...] = ()
    content: Content = ()
    """Texts and images, if there are images; ``text`` has notes in their place."""

    @property
    def reasoning(self) -> str:
        return "\n".join(thought.text for thought in self.thoughts if thought.text)


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    parameters: Mapping[str, Any]
    custom: bool = False
    """Whether the model writes its one argument ``input`` as free text."""
    namespace: str = ""
    """The group of the tool; ``name`` then begins with it and two underscores."""


@dataclass(frozen=True)
class GenerationOptions:
    """Options for the reply. None leaves one to the service."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | None = None
    tool: str = ""
    """The one tool that must be called."""
    parallel: bool | None = None
    """Whether the model may call several tools at once."""


@dataclass(frozen=True)
class Conversation:
    """A request: everything that the model is shown."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    stream: bool = False
    schema_name: str | None = None
    """The name of the JSON schema that the reply must follow, if there is one."""
    schema: Mapping[str, Any] | None = None
    options: GenerationOptions = GenerationOptions()
    left_out: tuple[str, ...] = ()
    """The parts of the request that are not in here, such as ``tools: web_search``."""


@dataclass(frozen=True)
class Reply:
    """A response of the model. ``stop`` is end, tool_calls, length or refusal."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    stop: str = "end"
    thoughts: tuple[Thought, ...] = ()
    model: str = ""
    odd_stop: str = ""
    """The service's own word for the end if it is an unknown one; ``none`` if there was none."""

    @property
    def reasoning(self) -> str:
        return "\n".join(thought.text for thought in self.thoughts if thought.text)


@dataclass(frozen=True)
class Begun:
    """The first piece of a stream."""

    model: str
    usage: Usage = Usage(1)


@dataclass(frozen=True)
class TextPiece:
    text: str
    continues: bool = False
    """Whether it continues the text before, although other pieces came between them."""


@dataclass(frozen=True)
class ThoughtPiece:
    text: str


@dataclass(frozen=True)
class ThoughtDone:
    """The end of a thought, with all but its text."""

    seal: str = ""
    origin: ProtocolName | None = None
    hidden: bool = False


@dataclass(frozen=True)
class CallBegun:
    id: str
    name: str
    custom: bool = False


@dataclass(frozen=True)
class CallPiece:
    """A part of a call's arguments: JSON text, or the free text of a custom tool."""

    text: str


@dataclass(frozen=True)
class BlockDone:
    """The end of a text or a call."""


@dataclass(frozen=True)
class Ended:
    """The last piece of a complete stream."""

    stop: str
    usage: Usage
    odd_stop: str = ""
    """As in :class:`Reply`."""


Piece = Begun | TextPiece | ThoughtPiece | ThoughtDone | CallBegun | CallPiece | BlockDone | Ended
"""A piece of a stream. Pieces of one text, thought or call come one after another."""


class StreamReader(Protocol):
    """Reads one stream."""

    def read(self, event: Mapping[str, Any]) -> Iterable[Piece]:
        """The pieces of an event. Raises ServiceFailure for one that reports a failure, and
        ProtocolError for one that cannot be read."""

    def close(self) -> Iterable[Piece]:
        """The pieces at the end of the stream. Raises ProtocolError if it broke off, and
        ServiceFailure if there was no reply in it."""


class StreamWriter(Protocol):
    """Writes one stream: server-sent events, each with its blank line."""

    def write(self, piece: Piece) -> Iterable[bytes]: ...


class Codec(Protocol):
    """One protocol, both ways. ``responses``, ``chat`` and ``messages`` have one each."""

    name: ProtocolName

    def read_request(self, body: Mapping[str, Any]) -> Conversation: ...

    def write_request(self, shown: Conversation) -> dict[str, Any]: ...

    def read_response(self, body: Mapping[str, Any]) -> Reply:
        """The reply in a response body. Raises ServiceFailure if it reports a failure or has no
        content, and ProtocolError if it has another shape."""

    def write_response(
        self, reply: Reply, model: str, id: str, tools: Sequence[Tool] = ()
    ) -> dict[str, Any]:
        """A response body; ``tools`` are those of the request."""

    def reader(self) -> StreamReader: ...

    def writer(self, model: str, id: str, tools: Sequence[Tool] = ()) -> StreamWriter: ...

    def read_stream(self, events: Iterator[Mapping[str, Any]]) -> Reply:
        """The reply in the ``data:`` objects of a stream; raises ProtocolError if it broke off."""

    def write_stream(self, reply: Reply, model: str, id: str) -> Iterator[bytes]:
        """The reply as server-sent events, each with its blank line."""
