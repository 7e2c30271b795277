"""The items of the Responses protocol: messages, thoughts, calls and their results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harnesses.base import Usage
from harnesses.protocols.base import (
    Content,
    Message,
    ProtocolError,
    ServiceFailure,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from harnesses.protocols.errors import check_error
from harnesses.protocols.fields import (
    argument_text,
    content_of,
    count,
    get,
    images_in,
    made_id,
    mark_of,
    maybe,
    plain,
    text_of,
    uncounted,
)
from harnesses.protocols.pieces import call_of, call_text
from harnesses.protocols.seals import sealed, unsealed
from harnesses.protocols.stops import check_stop, read_stop

CALLS = ("function_call", "custom_tool_call")
OUTPUTS = ("function_call_output", "custom_tool_call_output")


def read_items(items: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Input or output items as messages, one for each item. Items of other kinds are left out."""
    messages = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "message":
            messages.append(_message(item))
        elif kind in CALLS:
            messages.append(Message("assistant", calls=(read_call(item),)))
        elif kind in OUTPUTS:
            content = content_of(item.get("output"))
            result = ToolResult(
                get(item, "call_id", str), text_of(content), content=images_in(content)
            )
            messages.append(Message("user", results=(result,)))
        elif kind == "reasoning":
            messages.append(Message("assistant", thoughts=(read_thought(item),)))
    return messages


def _message(item: Mapping[str, Any]) -> Message:
    role = get(item, "role", str)
    if role not in ("system", "developer", "user", "assistant"):
        raise ProtocolError(f"input.role: {role!r} is not a role")
    content = content_of(item.get("content"))
    name = "system" if role == "developer" else role
    return Message(name, text_of(content), content=images_in(content))  # type: ignore[arg-type]


def read_call(item: Mapping[str, Any]) -> ToolCall:
    """A call; the name of a tool in a group is prefixed with that of the group."""
    name, group = get(item, "name", str), get(item, "namespace", str, "")
    custom = item.get("type") == "custom_tool_call"
    text = argument_text(item.get("input" if custom else "arguments"))
    return call_of(get(item, "call_id", str), grouped(name, group), text, custom)


def replied_call(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item of a call in a reply, with an id if the service gave none.

    Raises:
        ServiceFailure: it has no name.
    """
    if not get(item, "name", str, ""):
        raise ServiceFailure("output: a tool call has no name")
    return {**item, "call_id": made_id(item.get("call_id") or item.get("id"))}


def said_in(item: Mapping[str, Any]) -> str:
    """The text of a message in a reply, refusals included."""
    return plain(item.get("content"))


def grouped(name: str, namespace: str) -> str:
    """The name of a tool for protocols that have no groups."""
    return f"{namespace}__{name}" if namespace else name


def read_thought(item: Mapping[str, Any]) -> Thought:
    """The thought of a reasoning item. The service wants its encrypted text and id back."""
    text = plain(item.get("summary")) or plain(item.get("content"))
    secret = get(item, "encrypted_content", str, "")
    thought = unsealed(text, secret, "responses")
    if thought.origin == "responses" and secret:
        return Thought(text, f"{item.get('id', '')} {secret}", "responses", not text)
    return thought


def thought_item(thought: Thought, id: str) -> dict[str, Any]:
    """A thought as an item; ``id`` is used if it has none of its own."""
    summary = [{"type": "summary_text", "text": thought.text}] if thought.text else []
    item: dict[str, Any] = {"id": id, "type": "reasoning", "summary": summary}
    seal = sealed(thought, "responses")
    if thought.origin == "responses" and seal:
        item["id"], _, seal = seal.partition(" ")
    if seal:
        item["encrypted_content"] = seal
    return item


def message_item(text: str, id: str) -> dict[str, Any]:
    """A message of the model as an item."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": id, "type": "message", "role": "assistant", "status": "completed"}
    return {**item, "content": [part]}


def call_item(call: ToolCall, tools: Mapping[str, Tool]) -> dict[str, Any]:
    """A call of a tool as the client knows it: by its group, with free text if it takes that."""
    tool = tools.get(call.name)
    name, group = call.name, tool.namespace if tool else ""
    item: dict[str, Any] = {"id": f"fc_{call.id}", "type": "function_call", "status": "completed"}
    item |= {"call_id": call.id, "name": name.removeprefix(grouped("", group))}
    if group:
        item["namespace"] = group
    if call.custom or (tool and tool.custom):
        text = call.arguments.get("input")
        item |= {"id": f"ctc_{call.id}", "type": "custom_tool_call"}
        return {**item, "input": text if isinstance(text, str) else call_text(call)}
    return {**item, "arguments": call_text(call)}


def written_items(message: Message) -> list[dict[str, Any]]:
    """A message as input items."""
    items: list[dict[str, Any]] = [
        thought_item(t, "") for t in message.thoughts if t.origin == "responses" and t.seal
    ]
    for result in message.results:
        output: str | list[dict[str, Any]] = result.text
        if result.content:
            output = _written_content(result.content)
        items.append(
            {"type": "function_call_output", "call_id": result.call_id, "output": output}
        )  # fmt: skip
    if message.content or message.text:
        role = "developer" if message.role == "system" else message.role
        content = _written_content(message.content) if message.content else message.text
        items.append({"type": "message", "role": role, "content": content})
    for call in message.calls:
        item = {"type": "function_call", "call_id": call.id, "name": call.name}
        items.append({**item, "arguments": json.dumps(dict(call.arguments))})
    return items


def _written_content(content: Content) -> list[dict[str, Any]]:
    return [
        {"type": "input_text", "text": part}
        if isinstance(part, str)
        else {"type": "input_image", "image_url": part.url, "detail": "auto"}
        for part in content
    ]


def usage_of(body: Mapping[str, Any]) -> Usage:
    """Token counts of a response."""
    usage = maybe(body, "usage", dict) or {}
    details = maybe(usage, "input_tokens_details", dict) or {}
    return Usage(
        requests=1,
        prompt_tokens=count(usage, "input_tokens"),
        cached_tokens=count(details, "cached_tokens"),
        completion_tokens=count(usage, "output_tokens"),
        cache_write_tokens=count(details, "cache_write_tokens"),
        estimated=uncounted(usage, "input_tokens", "output_tokens"),
    )


def check_response(body: Mapping[str, Any], where: str = "response") -> None:
    """Raises ServiceFailure for a response that failed or is not complete."""
    check_error(body, where)
    if body.get("status") == "incomplete" and not _reason(body):
        raise ServiceFailure(f"{where}: incomplete, without a reason")
    check_stop(body.get("status"))


def stop_of(
    body: Mapping[str, Any], text: str, calls: Sequence[ToolCall], other: bool, refused: bool
) -> tuple[str, str]:
    """Why a reply ended, and the service's word if it is an unknown one.

    Args:
        body: the response, which has not failed (:func:`check_response`).
        text, calls, other: as for :func:`read_stop`.
        refused: whether the text is a refusal.

    Raises:
        ServiceFailure: there is no reply.
    """
    reason = _reason(body) if body.get("status") == "incomplete" else ""
    # Some servers leave the status of a complete response out.
    word = reason or body.get("status") or "completed"
    stop, odd = read_stop(word, text, calls, other)
    if odd and reason:
        return "length", odd
    return ("refusal" if refused and stop == "end" else stop), odd


def _reason(body: Mapping[str, Any]) -> str:
    return str((maybe(body, "incomplete_details", dict) or {}).get("reason") or "")


def is_refusal(item: Mapping[str, Any]) -> bool:
    """Whether a message refuses what was asked."""
    content = item.get("content")
    parts = content if item.get("type") == "message" and isinstance(content, list) else []
    return any(isinstance(part, dict) and part.get("type") == "refusal" for part in parts)


def response_of(model: str, id: str, created: int) -> dict[str, Any]:
    """A response without output."""
    return {
        "id": id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }


def ended(response: Mapping[str, Any], stop: str, usage: Usage) -> dict[str, Any]:
    """A complete response."""
    reasons = {"length": "max_output_tokens", "refusal": "content_filter"}
    reason = reasons.get(stop)
    return {
        **response,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "usage": {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cached_tokens,
                "cache_write_tokens": usage.cache_write_tokens + usage.cache_write_long_tokens,
            },
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            **mark_of(usage.estimated),
        },
    }
