"""OpenAI Responses (https://platform.openai.com/docs/api-reference/responses)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harnesses.protocols.base import (
    Conversation,
    GenerationOptions,
    Message,
    ProtocolName,
    Reply,
    Tool,
)
from harnesses.protocols.errors import check_body
from harnesses.protocols.fields import FREE_TEXT, get, maybe, objects, plain, tool, without_blanks
from harnesses.protocols.pieces import gathered, streamed
from harnesses.protocols.responses_items import (
    CALLS,
    OUTPUTS,
    call_item,
    check_response,
    ended,
    grouped,
    is_refusal,
    message_item,
    read_call,
    read_items,
    read_thought,
    replied_call,
    response_of,
    said_in,
    stop_of,
    thought_item,
    usage_of,
    written_items,
)
from harnesses.protocols.responses_reader import ResponsesReader
from harnesses.protocols.responses_writer import ResponsesWriter
from harnesses.protocols.tagged_thoughts import split_thoughts

_READ = frozenset(
    {
        "model", "instructions", "input", "tools", "stream", "text", "max_output_tokens",
        "temperature", "top_p", "tool_choice", "parallel_tool_calls", "store", "include",
    }
)  # fmt: skip
_ITEMS = ("message", "reasoning", *CALLS, *OUTPUTS)


class ResponsesCodec:
    """Codec of the Responses protocol."""

    name: ProtocolName = "responses"

    def read_request(self, body: Mapping[str, Any]) -> Conversation:
        messages = [Message("system", text)] if (text := plain(body.get("instructions"))) else []
        items: list[Mapping[str, Any]] = []
        if isinstance(body.get("input"), str):
            messages.append(Message("user", body["input"]))
        else:
            items = objects(body, "input")
            messages += read_items(items)
        tools, unknown = _tools(objects(body, "tools"))
        config = get(body, "text", dict, {})
        output = config.get("format") or {}
        others = {
            f"input: {i.get('type')}" for i in items if i.get("type", "message") not in _ITEMS
        }
        others |= {f"text.{key}" for key in config.keys() - {"format"}}
        return Conversation(
            model=get(body, "model", str),
            messages=tuple(messages),
            tools=tools,
            stream=bool(body.get("stream")),
            schema_name=output.get("name"),
            schema=maybe(output, "schema", dict),
            options=_options(body),
            left_out=tuple(sorted((body.keys() - _READ) | others | unknown)),
        )

    def write_request(self, shown: Conversation) -> dict[str, Any]:
        messages, options = without_blanks(shown.messages), shown.options
        # The service keeps nothing: the next request contains everything again.
        body: dict[str, Any] = {"model": shown.model, "store": False}
        if messages and messages[0].role == "system":
            body["instructions"] = messages.pop(0).text
        body["input"] = [item for message in messages for item in written_items(message)]
        if shown.tools:
            body["tools"] = [_written_tool(t) for t in shown.tools]
            if options.parallel is not None:
                body["parallel_tool_calls"] = options.parallel
            if options.tool:
                body["tool_choice"] = {"type": "function", "name": options.tool}
            elif options.tool_choice:
                body["tool_choice"] = options.tool_choice
        if shown.schema is not None:
            named = {"name": shown.schema_name or "reply", "schema": dict(shown.schema)}
            body["text"] = {"format": {"type": "json_schema", **named, "strict": False}}
        given = {
            # The service refuses a smaller limit.
            "max_output_tokens": options.max_tokens and max(options.max_tokens, 16),
            "temperature": options.temperature,
            "top_p": options.top_p,
            "stream": shown.stream or None,
        }
        return body | {key: value for key, value in given.items() if value is not None}

    def read_response(self, body: Mapping[str, Any]) -> Reply:
        check_body(body, "output")
        check_response(body)
        output = objects(body, "output")
        calls = tuple(read_call(replied_call(i)) for i in output if i.get("type") in CALLS)
        said = [item for item in output if item.get("type") == "message"]
        tagged, text = split_thoughts([said_in(item) for item in said])
        own = tuple(read_thought(i) for i in output if i.get("type") == "reasoning")
        usage = usage_of(body)
        other = bool(output) or usage.completion_tokens > 0
        refused = any(map(is_refusal, said))
        stop, odd = stop_of(body, text, calls, other, refused)
        return Reply(text, calls, usage, stop, (*own, *tagged), str(body.get("model") or ""), odd)

    def reader(self) -> ResponsesReader:
        return ResponsesReader()

    def writer(self, model: str, id: str, tools: Sequence[Tool] = ()) -> ResponsesWriter:
        return ResponsesWriter(model, id, tools)

    def read_stream(self, events: Iterator[Mapping[str, Any]]) -> Reply:
        return gathered(self.reader(), events)

    def write_stream(self, reply: Reply, model: str, id: str) -> Iterator[bytes]:
        return streamed(self.writer(model, id), reply)

    def write_response(
        self, reply: Reply, model: str, id: str, tools: Sequence[Tool] = ()
    ) -> dict[str, Any]:
        known = {tool.name: tool for tool in tools}
        output = [thought_item(t, f"rs_{n}_{id}") for n, t in enumerate(reply.thoughts)]
        if reply.text or not reply.calls:
            output.append(message_item(reply.text, f"msg_{id}"))
        output += [call_item(call, known) for call in reply.calls]
        response = response_of(model, f"resp_{id}", int(time.time()))
        return ended({**response, "output": output}, reply.stop, reply.usage)


def _options(body: Mapping[str, Any]) -> GenerationOptions:
    choice = body.get("tool_choice")
    named = maybe(choice, "name", str) if isinstance(choice, dict) else None
    group = maybe(choice, "namespace", str) if isinstance(choice, dict) else None
    return GenerationOptions(
        max_tokens=maybe(body, "max_output_tokens", int),
        temperature=maybe(body, "temperature", float),
        top_p=maybe(body, "top_p", float),
        tool_choice=choice if choice in ("auto", "none", "required") else None,
        tool=grouped(named, group or "") if named else "",
        parallel=maybe(body, "parallel_tool_calls", bool),
    )


def _tools(
    items: Sequence[Mapping[str, Any]], group: str = ""
) -> tuple[tuple[Tool, ...], set[str]]:
    """The tools that the client runs itself, and the kinds of the others."""
    found: list[Tool] = []
    others: set[str] = set()
    for item in items:
        match item.get("type"):
            case "function":
                own = tool(item)
                found.append(
                    Tool(grouped(own.name, group), own.description, own.parameters, False, group)
                )
            case "custom":
                name = grouped(get(item, "name", str), group)
                found.append(Tool(name, _explained(item), FREE_TEXT, True, group))
            case "namespace":
                inner, more = _tools(objects(item, "tools"), get(item, "name", str))
                found += inner
                others |= more
            case kind:
                others.add(f"tools: {kind}")
    return tuple(found), others


def _explained(item: Mapping[str, Any]) -> str:
    """A custom tool's description with the grammar of its text, for which others have no field."""
    text = get(item, "description", str, "")
    form = get(item, "format", dict, {})
    grammar = maybe(form, "definition", str)
    if not grammar:
        return text
    note = (
        f"The text is given as the argument `input`. It follows this {form.get('syntax')} grammar:"
    )
    return f"{text}\n\n{note}\n{grammar}"


def _written_tool(tool: Tool) -> dict[str, Any]:
    # Not strict, as the schemas of other protocols' clients need not qualify.
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "strict": False,
    }
