"""A conversation with a model in one shape, whatever protocol it goes over.

Each protocol module reads request bodies, responses and streams into these types and writes them
from these types. So any protocol can be translated into any other
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


@dataclass(frozen=True)
class Image:
    """A picture by its URL; ``data:TYPE;base64,…`` for one that is carried along."""

    url: str


Content = tuple[str | Image, ...]
"""Text and images in their order."""


@dataclass(frozen=True)
class Thought:
    """What a model thought before it spoke."""

    text: str
    seal: str = ""
    """What its service wants back with it, unchanged: a signature or an encrypted text."""
    origin: ProtocolName | None = None
    """The protocol that the seal belongs to: no other service can read it."""
    hidden: bool = False
    """Whether the seal is all there is of it."""


@dataclass(frozen=True)
class ToolCall:
    id: str
    name: str
    arguments: Mapping[str, Any]
    custom: bool = False
    """Whether it was written as free text, which is then the argument ``input``."""


@dataclass(frozen=True)
class ToolResult:
    call_id: str
    text: str
    is_error: bool = False
    content: Content = ()
    """With the images, where there are any; ``text`` notes where they stood."""


@dataclass(frozen=True)
class Message:
    """One message; results of tool calls are carried by user messages."""

    role: Role
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    results: tuple[ToolResult, ...] = ()
    thoughts: tuple[Thought, ...] = ()
    content: Content = ()
    """With the images, where there are any; ``text`` notes where they stood."""

    @property
    def reasoning(self) -> str:
        return "\n".join(thought.text for thought in self.thoughts if thought.text)


@dataclass(frozen=True)
class Tool:
    name: str
    description: str
    parameters: Mapping[str, Any]
    custom: bool = False
    """Whether its one argument ``input`` is written as free text."""
    namespace: str = ""
    """The group it is in; ``name`` then begins with it and two underscores."""


@dataclass(frozen=True)
class GenerationOptions:
    """How the model is asked to reply. None leaves it to the service."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | None = None
    tool: str = ""
    """The one tool that must be called."""
    parallel: bool | None = None
    """Whether several tools may be called at once."""


@dataclass(frozen=True)
class Conversation:
    """A request: everything the model is shown."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    stream: bool = False
    schema_name: str | None = None
    """Name of the JSON schema that the reply must follow, where the caller asked for one."""
    schema: Mapping[str, Any] | None = None
    options: GenerationOptions = GenerationOptions()
    left_out: tuple[str, ...] = ()
    """What of the request is not in here, such as ``tools: web_search``."""


@dataclass(frozen=True)
class Reply:
    """A response: what the model said. ``stop`` is end, tool_calls, length or refusal."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    stop: str = "end"
    thoughts: tuple[Thought, ...] = ()
    model: str = ""

    @property
    def reasoning(self) -> str:
        return "\n".join(thought.text for thought in self.thoughts if thought.text)


@dataclass(frozen=True)
class Begun:
    """First piece of a stream."""

    model: str
    usage: Usage = Usage(1)


@dataclass(frozen=True)
class TextPiece:
    text: str


@dataclass(frozen=True)
class ThoughtPiece:
    text: str


@dataclass(frozen=True)
class ThoughtDone:
    """End of a thought, with what belongs to it besides its text."""

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
    """A part of the arguments: JSON text, or the free text of a custom tool."""

    text: str


@dataclass(frozen=True)
class BlockDone:
    """The text or call that was being said is complete."""


@dataclass(frozen=True)
class Ended:
    """Last piece of a stream that came whole."""

    stop: str
    usage: Usage


Piece = Begun | TextPiece | ThoughtPiece | ThoughtDone | CallBegun | CallPiece | BlockDone | Ended
"""What a stream says, in order; one thing at a time is being said."""


class StreamReader(Protocol):
    """Reads one stream."""

    def read(self, event: Mapping[str, Any]) -> Iterable[Piece]:
        """What an event says. Raises ProtocolError for an error event."""

    def close(self) -> Iterable[Piece]:
        """What the end of the stream says. Raises ProtocolError when it was cut."""


class StreamWriter(Protocol):
    """Writes one stream: server-sent events, each complete with its blank line."""

    def write(self, piece: Piece) -> Iterable[bytes]: ...


class Codec(Protocol):
    """One protocol, both ways. Modules ``responses``, ``chat`` and ``messages`` have one each."""

    name: ProtocolName

    def read_request(self, body: Mapping[str, Any]) -> Conversation: ...

    def write_request(self, shown: Conversation) -> dict[str, Any]: ...

    def read_response(self, body: Mapping[str, Any]) -> Reply: ...

    def write_response(
        self, reply: Reply, model: str, id: str, tools: Sequence[Tool] = ()
    ) -> dict[str, Any]:
        """A response body; ``tools`` are those of the request."""

    def reader(self) -> StreamReader: ...

    def writer(self, model: str, id: str, tools: Sequence[Tool] = ()) -> StreamWriter: ...

    def read_stream(self, events: Iterator[Mapping[str, Any]]) -> Reply:
        """From the ``data:`` objects of a stream; raises ProtocolError when it was cut."""

    def write_stream(self, reply: Reply, model: str, id: str) -> Iterator[bytes]:
        """Server-sent events, each complete with its blank line."""
