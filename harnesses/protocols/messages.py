"""Anthropic Messages (https://docs.anthropic.com/en/api/messages), requests and responses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harnesses.protocols.base import (
    Content,
    Conversation,
    GenerationOptions,
    Image,
    Message,
    ProtocolError,
    ProtocolName,
    Reply,
    ServiceFailure,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from harnesses.protocols.errors import check_body
from harnesses.protocols.fields import (
    arguments,
    content_of,
    get,
    images_in,
    made_id,
    maybe,
    objects,
    plain,
    strings,
    text_of,
    tool,
    without_blanks,
)
from harnesses.protocols.messages_stream import (
    MessagesReader,
    MessagesWriter,
    start_of,
    stop_name,
    thought_block,
    usage_of,
)
from harnesses.protocols.pieces import gathered, streamed
from harnesses.protocols.seals import unsealed
from harnesses.protocols.stops import check_stop, read_stop
from harnesses.protocols.tagged_thoughts import split_thoughts

MAX_TOKENS = 8192
"""The limit of a reply if the caller sets none, which this protocol requires."""
MAX_STREAMED_TOKENS = 32_000

_READ = frozenset(
    {
        "model", "messages", "system", "tools", "stream", "max_tokens", "temperature", "top_p",
        "stop_sequences", "tool_choice", "output_config",
    }
)  # fmt: skip
_MODES = {"auto": "auto", "any": "required", "none": "none"}
_MODE_NAMES = {"auto": "auto", "required": "any", "none": "none"}
_CACHED = {"cache_control": {"type": "ephemeral"}}


class MessagesCodec:
    """Codec of the Messages protocol."""

    name: ProtocolName = "messages"

    def read_request(self, body: Mapping[str, Any]) -> Conversation:
        messages = [_message(item) for item in objects(body, "messages")]
        if body.get("system"):
            messages.insert(0, Message("system", plain(body["system"])))
        tools = objects(body, "tools")
        config = get(body, "output_config", dict, {})
        schema = (config.get("format") or {}).get("schema")
        hosted = {f"tools: {t.get('name')}" for t in tools if "input_schema" not in t}
        asked = {f"output_config.{key}" for key in config.keys() - {"format"}}
        return Conversation(
            model=get(body, "model", str),
            messages=tuple(messages),
            tools=tuple(tool(t, "input_schema") for t in tools if "input_schema" in t),
            stream=bool(body.get("stream")),
            schema_name=get(schema or {}, "title", str, "") or None,
            schema=schema if isinstance(schema, dict) else None,
            options=_options(body),
            left_out=tuple(sorted((body.keys() - _READ) | hosted | asked)),
        )

    def write_request(self, shown: Conversation) -> dict[str, Any]:
        messages = without_blanks(shown.messages)
        system = [m.text for m in messages if m.role == "system"]
        body: dict[str, Any] = {
            "model": shown.model,
            "max_tokens": shown.options.max_tokens
            or (MAX_STREAMED_TOKENS if shown.stream else MAX_TOKENS),
            "messages": _written_messages(m for m in messages if m.role != "system"),
        }
        if system:
            body["system"] = "\n\n".join(system)
        if shown.tools:
            body["tools"] = [
                {"name": t.name, "description": t.description, "input_schema": dict(t.parameters)}
                for t in shown.tools
            ]
            body |= _written_choice(shown.options)
            _mark_for_cache(body)
        if shown.schema is not None:
            form = {"type": "json_schema", "schema": dict(shown.schema)}
            body["output_config"] = {"format": form}
        warm = shown.options.temperature
        given = {
            "temperature": None if warm is None else min(warm, 1.0),
            "top_p": shown.options.top_p,
            "stop_sequences": list(shown.options.stop) or None,
            "stream": shown.stream or None,
        }
        return body | {key: value for key, value in given.items() if value is not None}

    def read_response(self, body: Mapping[str, Any]) -> Reply:
        check_body(body, "content")
        check_stop(body.get("stop_reason"))
        content = objects(body, "content")
        calls = tuple(_replied_call(b) for b in content if b.get("type") == "tool_use")
        texts = [get(b, "text", str, "") for b in content if b.get("type") == "text"]
        tagged, text = split_thoughts(texts)
        usage = usage_of(maybe(body, "usage", dict) or {})
        other = bool(content) or usage.completion_tokens > 0
        stop, odd = read_stop(body.get("stop_reason"), text, calls, other)
        thoughts = (*_thoughts(content), *tagged)
        return Reply(text, calls, usage, stop, thoughts, str(body.get("model") or ""), odd)

    def reader(self) -> MessagesReader:
        return MessagesReader()

    def writer(self, model: str, id: str, tools: Sequence[Tool] = ()) -> MessagesWriter:
        return MessagesWriter(model, id)

    def read_stream(self, events: Iterator[Mapping[str, Any]]) -> Reply:
        return gathered(self.reader(), events)

    def write_stream(self, reply: Reply, model: str, id: str) -> Iterator[bytes]:
        return streamed(self.writer(model, id), reply)

    def write_response(
        self, reply: Reply, model: str, id: str, tools: Sequence[Tool] = ()
    ) -> dict[str, Any]:
        content = [thought_block(thought) for thought in reply.thoughts]
        if reply.text or not reply.calls:
            content.append({"type": "text", "text": reply.text})
        return {
            **start_of(model, id, reply.usage),
            "content": content + _written_calls(reply.calls),
            "stop_reason": stop_name(reply.stop, bool(reply.calls)),
        }


def _options(body: Mapping[str, Any]) -> GenerationOptions:
    choice = maybe(body, "tool_choice", dict) or {}
    single = maybe(choice, "disable_parallel_tool_use", bool)
    mode = _MODES.get(str(choice.get("type")))
    return GenerationOptions(
        max_tokens=maybe(body, "max_tokens", int),
        temperature=maybe(body, "temperature", float),
        top_p=maybe(body, "top_p", float),
        stop=strings(body.get("stop_sequences")),
        tool_choice=mode,  # type: ignore[arg-type]  # one of the values of _MODES
        tool=maybe(choice, "name", str) or "",
        parallel=None if single is None else not single,
    )


def _written_choice(options: GenerationOptions) -> dict[str, Any]:
    choice: dict[str, Any] = {}
    if options.tool:
        choice = {"type": "tool", "name": options.tool}
    elif options.tool_choice or options.parallel is False:
        choice = {"type": _MODE_NAMES[options.tool_choice or "auto"]}
    if options.parallel is False and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    return {"tool_choice": choice} if choice else {}


def _mark_for_cache(body: dict[str, Any]) -> None:
    """Mark the tools and system prompt, and the conversation up to its end, for the service's
    cache, as an agent sends all of it again with each turn."""
    if "system" in body:
        body["system"] = [{"type": "text", "text": body["system"], **_CACHED}]
    if body["messages"]:
        content = body["messages"][-1]["content"]
        if content and content[-1]["type"] not in ("thinking", "redacted_thinking"):
            content[-1] = {**content[-1], **_CACHED}


def _message(item: Mapping[str, Any]) -> Message:
    role = get(item, "role", str)
    if role not in ("user", "assistant", "system"):
        raise ProtocolError(f"messages.role: {role!r} is not user, assistant or system")
    value = item.get("content")
    if isinstance(value, str):
        return Message(role, value)  # type: ignore[arg-type]  # checked above
    blocks = objects(item, "content")
    own = ("tool_result", "tool_use", "thinking", "redacted_thinking")
    content = content_of([b for b in blocks if b.get("type") not in own])
    return Message(
        role,  # type: ignore[arg-type]  # checked above
        text_of(content),
        tuple(_call(b) for b in blocks if b.get("type") == "tool_use"),
        tuple(_result(b) for b in blocks if b.get("type") == "tool_result"),
        _thoughts(blocks),
        images_in(content),
    )


def _result(block: Mapping[str, Any]) -> ToolResult:
    content = content_of(block.get("content"))
    failed = bool(block.get("is_error"))
    return ToolResult(
        get(block, "tool_use_id", str), text_of(content), failed, images_in(content)
    )  # fmt: skip


def _written_messages(messages: Iterator[Message]) -> list[dict[str, Any]]:
    """One message for each run of messages of one side, with the results of tools first."""
    written: list[dict[str, Any]] = []
    for message in messages:
        results = [_written_result(r) for r in message.results]
        blocks = [thought_block(t) for t in message.thoughts if t.origin == "messages"]
        blocks += _written_content(message.content or (message.text,))
        blocks += _written_calls(message.calls)
        if not written or written[-1]["role"] != message.role:
            written.append({"role": message.role, "content": []})
        content = written[-1]["content"]
        first = sum(block["type"] == "tool_result" for block in content)
        content[first:first] = results
        content += blocks
    return [item for item in written if item["content"]]


def _written_result(result: ToolResult) -> dict[str, Any]:
    content: str | list[dict[str, Any]] = result.text
    if result.content:
        content = _written_content(result.content)
    return {
        "type": "tool_result",
        "tool_use_id": _safe(result.call_id),
        "content": content,
        "is_error": result.is_error,
    }


def _written_content(content: Content) -> list[dict[str, Any]]:
    """The content as blocks, without empty texts, which the service refuses."""
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image", "source": _source(part)}
        for part in content
        if part
    ]


def _source(image: Image) -> dict[str, str]:
    match = re.match(r"data:([\w/+.-]+);base64,", image.url)
    if match is None:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": match[1], "data": image.url[match.end() :]}


def _written_calls(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    return [
        {"type": "tool_use", "id": _safe(c.id), "name": c.name, "input": dict(c.arguments)}
        for c in calls
    ]


def _safe(id: str) -> str:
    """An id without characters that the service refuses and other services may use."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", id)


def _call(block: Mapping[str, Any]) -> ToolCall:
    return ToolCall(get(block, "id", str), get(block, "name", str), get(block, "input", dict, {}))


def _replied_call(block: Mapping[str, Any]) -> ToolCall:
    """A call in a reply; an id that the service did not give is made."""
    if not (name := get(block, "name", str, "")):
        raise ServiceFailure("content: a tool call has no name")
    return ToolCall(made_id(block.get("id")), name, arguments(block.get("input")))


def _thoughts(blocks: Sequence[Mapping[str, Any]]) -> tuple[Thought, ...]:
    found = []
    for block in blocks:
        if block.get("type") == "thinking":
            text, seal = get(block, "thinking", str, ""), get(block, "signature", str, "")
            found.append(unsealed(text, seal, "messages"))
        elif block.get("type") == "redacted_thinking":
            found.append(unsealed("", get(block, "data", str, ""), "messages", hidden=True))
    return tuple(found)
