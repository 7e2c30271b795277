"""OpenAI Chat Completions (https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
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
from harnesses.protocols.chat_stream import (
    REASONING,
    ChatReader,
    ChatWriter,
    finish_name,
    parts_of,
    thought_in,
    usage_of,
    written_usage,
)
from harnesses.protocols.errors import check_body, check_error
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
from harnesses.protocols.pieces import call_text, gathered, streamed
from harnesses.protocols.seals import sealed, unsealed
from harnesses.protocols.stops import check_stop, read_stop
from harnesses.protocols.tagged_thoughts import is_tag, split_thoughts, tagged

SEALS = "skillopt_thoughts"
"""Our own field for thoughts of other protocols, which a chat client gives back."""

_READ = frozenset(
    {
        "model", "messages", "tools", "stream", "stream_options", "response_format", "max_tokens",
        "max_completion_tokens", "temperature", "top_p", "stop", "tool_choice", "n",
        "parallel_tool_calls",
    }
)  # fmt: skip


class ChatCodec:
    """Codec of the Chat Completions protocol."""

    name: ProtocolName = "chat"

    def read_request(self, body: Mapping[str, Any]) -> Conversation:
        tools = [get(t, "function", dict) for t in objects(body, "tools") if "function" in t]
        schema = get(body, "response_format", dict, {}).get("json_schema") or {}
        return Conversation(
            model=get(body, "model", str),
            messages=tuple(_message(item) for item in objects(body, "messages")),
            tools=tuple(tool(item) for item in tools),
            stream=bool(body.get("stream")),
            schema_name=schema.get("name"),
            schema=maybe(schema, "schema", dict),
            options=_options(body),
            left_out=tuple(sorted(body.keys() - _READ)),
        )

    def write_request(self, shown: Conversation) -> dict[str, Any]:
        options = shown.options
        body: dict[str, Any] = {
            "model": shown.model,
            "messages": [
                item for m in without_blanks(shown.messages) for item in _written_message(m)
            ],
        }
        if shown.tools:
            body["tools"] = [_written_tool(t) for t in shown.tools]
            if options.parallel is not None:
                body["parallel_tool_calls"] = options.parallel
            if options.tool:
                body["tool_choice"] = {"type": "function", "function": {"name": options.tool}}
            elif options.tool_choice:
                body["tool_choice"] = options.tool_choice
        if shown.schema is not None:
            named = {"name": shown.schema_name or "reply", "schema": dict(shown.schema)}
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {**named, "strict": False},
            }
        given = {
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "stop": list(options.stop) or None,
        }
        body |= {key: value for key, value in given.items() if value is not None}
        if shown.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def read_response(self, body: Mapping[str, Any]) -> Reply:
        check_body(body, "choices")
        choices = objects(body, "choices")
        if not choices:
            raise ServiceFailure("choices: empty")
        check_error(choices[0], "choices[0]")
        finish = choices[0].get("finish_reason")
        check_stop(finish)
        message = get(choices[0], "message", dict)
        check_error(message, "choices[0].message")
        calls = _replied_calls(message)
        inner, content = parts_of(message.get("content"))
        tagged, text = split_thoughts([content or plain(message.get("refusal"))], "chat")
        own = _thoughts(message) or ((Thought(inner, REASONING[0], "chat"),) if inner else ())
        usage = usage_of(maybe(body, "usage", dict) or {})
        empty = bool(own or tagged) or message.get("content") is not None
        stop, odd = read_stop(finish, text, calls, empty or usage.completion_tokens > 0)
        return Reply(text, calls, usage, stop, (*own, *tagged), str(body.get("model") or ""), odd)

    def reader(self) -> ChatReader:
        return ChatReader()

    def writer(self, model: str, id: str, tools: Sequence[Tool] = ()) -> ChatWriter:
        return ChatWriter(model, id)

    def read_stream(self, events: Iterator[Mapping[str, Any]]) -> Reply:
        return gathered(self.reader(), events)

    def write_stream(self, reply: Reply, model: str, id: str) -> Iterator[bytes]:
        return streamed(self.writer(model, id), reply)

    def write_response(
        self, reply: Reply, model: str, id: str, tools: Sequence[Tool] = ()
    ) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if reply.calls:
            message["content"] = reply.text or None
        message |= _written_thoughts(reply.thoughts)
        if reply.calls:
            message["tool_calls"] = [
                _written(call, call_text(replace(call, custom=False))) for call in reply.calls
            ]
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": finish_name(reply.stop, bool(reply.calls)),
        }
        return {
            "id": id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [choice],
            "usage": written_usage(reply.usage),
        }


def _options(body: Mapping[str, Any]) -> GenerationOptions:
    choice = body.get("tool_choice")
    named = maybe(choice, "function", dict) or {} if isinstance(choice, dict) else {}
    return GenerationOptions(
        max_tokens=maybe(body, "max_completion_tokens", int) or maybe(body, "max_tokens", int),
        temperature=maybe(body, "temperature", float),
        top_p=maybe(body, "top_p", float),
        stop=strings(body.get("stop")),
        tool_choice=choice if choice in ("auto", "none", "required") else None,
        tool=maybe(named, "name", str) or "",
        parallel=maybe(body, "parallel_tool_calls", bool),
    )


def _message(item: Mapping[str, Any]) -> Message:
    role = get(item, "role", str)
    content = content_of(item.get("content"))
    text, images = text_of(content), images_in(content)
    match role:
        case "system" | "developer":
            return Message("system", text)
        case "user":
            return Message("user", text, content=images)
        case "assistant":
            calls = tuple(_call(c) for c in objects(item, "tool_calls"))
            return Message("assistant", text, calls, thoughts=_thoughts(item))
        case "tool":
            result = ToolResult(get(item, "tool_call_id", str), text, content=images)
            return Message("user", results=(result,))
    raise ProtocolError(f"messages.role: {role!r} is not one of system, user, assistant, tool")


def _written_message(message: Message) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": r.call_id, "content": r.text} for r in message.results
    ]
    # A tool's message can only have text: its images follow in a message of the user.
    shown = tuple(part for r in message.results for part in _labelled(r))
    content = shown + (message.content or ((message.text,) if message.text else ()))
    if message.results and not content:
        return items
    item: dict[str, Any] = {"role": message.role, "content": _written_content(content)}
    if message.role == "assistant":
        own = [t for t in message.thoughts if t.origin == "chat" and is_tag(t.seal)]
        if own:
            item["content"] = "".join(tagged(t.seal, t.text) for t in own) + text_of(content)
        item |= _written_thoughts([t for t in message.thoughts if t not in own])
    if message.calls:
        item["tool_calls"] = [
            _written(call, json.dumps(dict(call.arguments))) for call in message.calls
        ]
        item["content"] = item["content"] or None
    return [*items, item]


def _labelled(result: ToolResult) -> Content:
    images = tuple(part for part in result.content if isinstance(part, Image))
    return (f"[images of tool call {result.call_id}]", *images) if images else ()


def _written_content(content: Content) -> str | list[dict[str, Any]]:
    if not images_in(content):
        return text_of(content)
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": part.url}}
        for part in content
    ]


def _thoughts(item: Mapping[str, Any]) -> tuple[Thought, ...]:
    if SEALS in item:
        return tuple(
            unsealed(get(t, "text", str), get(t, "seal", str), "chat") for t in objects(item, SEALS)
        )
    key, text = thought_in(item)
    return (Thought(text, key, "chat"),) if text else ()


def _written_thoughts(thoughts: Sequence[Thought]) -> dict[str, Any]:
    text = "\n".join(thought.text for thought in thoughts if thought.text)
    own = [t.seal for t in thoughts if t.origin == "chat" and t.seal in REASONING]
    fields: dict[str, Any] = {own[0] if own else REASONING[0]: text} if text else {}
    if any(t.origin not in (None, "chat") for t in thoughts):
        fields[SEALS] = [{"text": t.text, "seal": sealed(t, "chat")} for t in thoughts]
    return fields


def _written_tool(tool: Tool) -> dict[str, Any]:
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    return {"type": "function", "function": function}


def _call(item: Mapping[str, Any]) -> ToolCall:
    function = get(item, "function", dict)
    name = get(function, "name", str)
    return ToolCall(get(item, "id", str), name, arguments(function.get("arguments")))


def _replied_calls(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls in a reply; ids that the service did not give are made."""
    legacy = message.get("function_call")
    items = objects(message, "tool_calls") + ([{"function": legacy}] if legacy else [])
    calls = tuple(_call({**item, "id": made_id(item.get("id"))}) for item in items)
    if not all(call.name for call in calls):
        raise ServiceFailure("choices[0].message.tool_calls: a call has no name")
    return calls


def _written(call: ToolCall, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}
