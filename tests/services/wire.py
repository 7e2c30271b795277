"""What services of the three protocols send, written by hand and not by the project's codecs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Protocol = Literal["chat", "messages", "responses"]
PATHS: dict[str, Protocol] = {
    "/v1/chat/completions": "chat",
    "/v1/messages": "messages",
    "/v1/responses": "responses",
}
JSON, EVENTS, HTML = "application/json", "text/event-stream", "text/html"
COMMAND = "echo 42 > answer.txt"
SHELLS = {"exec_command": "cmd", "Bash": "command", "bash": "command", "shell": "command"}
STOPS: dict[Protocol, dict[str, str]] = {
    "chat": {"end": "stop", "calls": "tool_calls"},
    "messages": {"end": "end_turn", "calls": "tool_use"},
    "responses": {"end": "completed", "calls": "completed"},
}


@dataclass(frozen=True)
class Asked:
    """One request. ``number`` counts from 1 since the service began."""

    protocol: Protocol
    body: Json
    number: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """With names in lower case."""

    @property
    def bearer(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def items(self) -> list[Json]:
        found = self.body.get("messages") or self.body.get("input") or []
        return [item for item in found if isinstance(item, dict)]

    @property
    def results(self) -> int:
        """The number of results of tools in the conversation."""
        blocks = [b for m in self.items if isinstance(m.get("content"), list) for b in m["content"]]
        kinds = [item.get("type") or item.get("role") for item in [*self.items, *blocks]]
        kinds += [item.get("role") for item in self.items if item.get("type")]
        wanted = ("tool", "tool_result", "function_call_output", "custom_tool_call_output")
        return sum(kind in wanted for kind in kinds)

    @property
    def tools(self) -> list[Json]:
        return [tool.get("function") or tool for tool in self.body.get("tools") or []]

    def shell(self, command: str = COMMAND) -> tuple[str, str] | None:
        """Name and arguments of a call of whatever shell tool the agent offers."""
        for tool in self.tools:
            if tool.get("name") in SHELLS:
                name = tool["name"]
                return name, json.dumps({SHELLS[name]: command, "description": "run it"})
        return None


@dataclass(frozen=True)
class Said:
    """A reply: a text, then calls as (id, name, arguments)."""

    text: str = ""
    calls: Sequence[tuple[str, str, str]] = ()
    stop: str | None = None
    """The word for the end, if not the usual one."""
    usage: Json | None = None
    """Token counts, if not the usual ones; an empty one is left out."""

    def ending(self, protocol: Protocol) -> str:
        return self.stop or STOPS[protocol]["calls" if self.calls else "end"]


@dataclass(frozen=True)
class Answer:
    """``body`` is bytes, or pieces: bytes to send at once and seconds to wait."""

    status: int
    body: bytes | Iterable[bytes | float]
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), headers=named)


def refused(status: int, message: str, type: str = "", code: str = "", **headers: str) -> Answer:
    """An error as OpenAI and Anthropic write it."""
    error = {"type": type or "invalid_request_error", "message": message, "code": code or None}
    return as_json({"type": "error", "error": error}, status, **headers)


def page(text: str, status: int = 200) -> Answer:
    return Answer(status, f"<html><body>{text}</body></html>".encode(), HTML)


def usage_of(protocol: Protocol, said: Said) -> Json:
    if said.usage is not None:
        return said.usage
    if protocol == "chat":
        return {"prompt_tokens": 500, "completion_tokens": 6, "total_tokens": 506}
    return {"input_tokens": 500, "output_tokens": 6, "total_tokens": 506}


def whole(protocol: Protocol, said: Said) -> Json:
    """A whole reply."""
    usage = usage_of(protocol, said)
    counts = {"usage": usage} if usage else {}
    if protocol == "chat":
        calls = [
            {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id, name, arguments in said.calls
        ]
        message = {"role": "assistant", "content": said.text or None}
        message |= {"tool_calls": calls} if calls else {}
        choice = {"index": 0, "message": message, "finish_reason": said.ending(protocol)}
        head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
        return {**head, "choices": [choice], **counts}
    if protocol == "messages":
        content: list[Json] = [{"type": "text", "text": said.text}] if said.text else []
        content += [
            {"type": "tool_use", "id": id, "name": name, "input": json.loads(arguments)}
            for id, name, arguments in said.calls
        ]
        head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m"}
        ending = {"stop_reason": said.ending(protocol), "stop_sequence": None}
        return {**head, "content": content, **ending, **counts}
    return {**_response(said.ending(protocol)), "output": _items(said), **counts}


def _response(status: str) -> Json:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": status,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _items(said: Said) -> list[Json]:
    items: list[Json] = []
    if said.text:
        part = {"type": "output_text", "text": said.text, "annotations": []}
        head = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        items.append({**head, "content": [part]})
    for number, (id, name, arguments) in enumerate(said.calls):
        head = {"type": "function_call", "id": f"fc_{number}", "status": "completed"}
        items.append({**head, "call_id": id, "name": name, "arguments": arguments})
    return items


def events(protocol: Protocol, said: Said) -> list[Json]:
    """The events of a streamed reply, as objects."""
    made = {"chat": _chat_events, "messages": _messages_events, "responses": _responses_events}
    return made[protocol](said)


def chunk(delta: Json, stop: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": stop}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [choice]}


def piece(index: int | None, id: str | None, name: str | None, arguments: str | None) -> Json:
    """A chunk with a piece of one call; what is None is left out."""
    call: Json = {} if index is None else {"index": index}
    call |= {} if id is None else {"id": id, "type": "function"}
    parts = {"name": name, "arguments": arguments}
    call["function"] = {key: value for key, value in parts.items() if value is not None}
    return chunk({"tool_calls": [call]})


def _chat_events(said: Said) -> list[Json]:
    found = [chunk({"role": "assistant", "content": ""})]
    found += [chunk({"content": said.text})] if said.text else []
    found += [piece(index, *call) for index, call in enumerate(said.calls)]
    found.append(chunk({}, said.ending("chat")))
    usage = usage_of("chat", said)
    return [*found, {**chunk({}), "choices": [], "usage": usage}] if usage else found


def _messages_events(said: Said) -> list[Json]:
    message = {**whole("messages", said), "content": [], "stop_reason": None}
    found: list[Json] = [{"type": "message_start", "message": message}]
    for index, block in enumerate(whole("messages", said)["content"]):
        if block["type"] == "text":
            empty = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": block["text"]}
        else:
            empty = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        found += [
            {"type": "content_block_start", "index": index, "content_block": empty},
            {"type": "content_block_delta", "index": index, "delta": delta},
            {"type": "content_block_stop", "index": index},
        ]
    ending = {"stop_reason": said.ending("messages"), "stop_sequence": None}
    counts = {"usage": {"output_tokens": 6}} if usage_of("messages", said) else {}
    return [*found, {"type": "message_delta", "delta": ending, **counts}, {"type": "message_stop"}]


def _responses_events(said: Said) -> list[Json]:
    found: list[Json] = [
        {"type": "response.created", "response": _response("in_progress")},
        {"type": "response.in_progress", "response": _response("in_progress")},
    ]
    for index, item in enumerate(_items(said)):
        at = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            text = item["content"][0]
            found += [
                {
                    "type": "response.output_item.added",
                    "output_index": index,
                    "item": {**item, "content": [], "status": "in_progress"},
                },
                {
                    "type": "response.content_part.added",
                    **at,
                    "content_index": 0,
                    "part": {**text, "text": ""},
                },
                {
                    "type": "response.output_text.delta",
                    **at,
                    "content_index": 0,
                    "delta": text["text"],
                },
                {
                    "type": "response.output_text.done",
                    **at,
                    "content_index": 0,
                    "text": text["text"],
                },
                {"type": "response.content_part.done", **at, "content_index": 0, "part": text},
            ]
        else:
            kind = "response.function_call_arguments"
            found += [
                {
                    "type": "response.output_item.added",
                    "output_index": index,
                    "item": {**item, "arguments": "", "status": "in_progress"},
                },
                {"type": f"{kind}.delta", **at, "delta": item["arguments"]},
                {"type": f"{kind}.done", **at, "arguments": item["arguments"]},
            ]
        found.append({"type": "response.output_item.done", "output_index": index, "item": item})
    status = said.ending("responses")
    kind = status if status in ("completed", "failed", "incomplete") else "completed"
    found.append({"type": f"response.{kind}", "response": whole("responses", said)})
    return [{**event, "sequence_number": number} for number, event in enumerate(found)]


def written(protocol: Protocol, found: Iterable[Json], done: bool = True) -> list[bytes | float]:
    """Events as bytes, one piece for each."""
    names = protocol != "chat"
    lines: list[bytes | float] = [
        (f"event: {event['type']}\n" if names else "").encode()
        + f"data: {json.dumps(event)}\n\n".encode()
        for event in found
    ]
    return [*lines, b"data: [DONE]\n\n"] if done and not names else lines


def streamed(protocol: Protocol, found: Iterable[Json]) -> Answer:
    return Answer(200, written(protocol, found), EVENTS)


def reply(asked: Asked, said: Said) -> Answer:
    """A reply in the form that was asked for."""
    if asked.streamed:
        return streamed(asked.protocol, events(asked.protocol, said))
    return as_json(whole(asked.protocol, said))


def solution(asked: Asked, id: str = "") -> Said:
    """What a model says that solves the task: it runs one command, and then says so."""
    call = asked.shell() if not asked.results else None
    return Said(calls=[(id or f"call_{asked.number}", *call)]) if call else Said("Done: 42.")


def good(asked: Asked) -> Answer:
    """A service and a model that behave."""
    return reply(asked, solution(asked))
