"""Makes a conversation of one protocol fit for the services of another.

Services differ in the order of messages, the names of tools and the schemas that they accept. What
a conversation loses on the way is reported, not hidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from harnesses.protocols.base import (
    Conversation,
    GenerationOptions,
    Message,
    ProtocolName,
    Tool,
    ToolResult,
)
from harnesses.protocols.fields import without_blanks

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""The names of tools that every service accepts."""
_ALTERNATIVES = ("anyOf", "oneOf", "allOf")
_REFUSED = ("enum", "const", "not", "if", "then", "else", "$ref", *_ALTERNATIVES)
"""What services refuse at the top of a tool's schema."""
_MAX_STOPS = 4
"""The most stop sequences that Chat Completions accepts."""
_BILLING = re.compile(r"\Ax-anthropic-billing-header:[^\n]*\n?")
"""A line that Claude Code puts before its prompt for its own service. It differs from call to call,
so that no other service would find the prompt in its cache."""


def service_names(shown: Conversation) -> dict[str, str]:
    """New names for the tools whose names some services refuse: too long, or with other characters.
    A name is the same in each request of a conversation, as it is made from the old one alone."""
    called = (call.name for message in shown.messages for call in message.calls)
    names = dict.fromkeys([*(tool.name for tool in shown.tools), *called, shown.options.tool])
    taken = {name for name in names if _NAME.fullmatch(name)}
    found: dict[str, str] = {}
    for name in names:
        if name in taken or not name:
            continue
        base, digest = re.sub(r"[^a-zA-Z0-9_-]", "_", name), sha256(name.encode()).hexdigest()
        # Digests are longer than what is taken of them: some length of one is free.
        fitting = (f"{base[: 63 - size]}_{digest[:size]}" for size in range(8, 63))
        found[name] = next(new for new in fitting if new not in taken)
        taken.add(found[name])
    return found


def prepared(shown: Conversation, to: ProtocolName) -> tuple[Conversation, list[str]]:
    """A conversation as services of the protocol ``to`` accept it, and what is lost."""
    lost: list[str] = []
    messages = list(_answered(without_blanks(_stripped(shown.messages, to))))
    if to != "responses":
        messages = _system_first(messages)
    if to != "messages":
        messages = [replace(m, results=tuple(map(_failure_said, m.results))) for m in messages]
    if to == "chat":
        messages = list(_joined(messages))
    if to != "responses":
        messages = _user_first(messages)
    foreign = {t.origin for m in shown.messages for t in m.thoughts} - {to}
    lost += [f"thoughts of {origin or 'unknown origin'}" for origin in sorted(map(str, foreign))]
    names = service_names(shown)
    tools = list(_fitting_tools(shown.tools, lost))
    options = _fitting_options(shown, to, lost)
    # The default of every service; reasoning models refuse the field.
    if options.temperature == 1:
        options = replace(options, temperature=None)
    if options.top_p == 1:
        options = replace(options, top_p=None)
    return replace(
        shown,
        messages=tuple(_renamed(message, names) for message in messages),
        tools=tuple(replace(tool, name=names.get(tool.name, tool.name)) for tool in tools),
        options=replace(options, tool=names.get(options.tool, options.tool)),
    ), lost


def _renamed(message: Message, names: Mapping[str, str]) -> Message:
    calls = tuple(replace(call, name=names.get(call.name, call.name)) for call in message.calls)
    return replace(message, calls=calls)


def _fitting_options(shown: Conversation, to: ProtocolName, lost: list[str]) -> GenerationOptions:
    """The options without those that services of a protocol refuse."""
    options = shown.options
    stops = tuple(text for text in options.stop if text.strip()) if to == "messages" else ()
    stops = options.stop[:_MAX_STOPS] if to == "chat" else stops
    if stops != options.stop:
        lost.append("stop sequences")
    tool = options.tool
    if tool and tool not in [known.name for known in shown.tools]:
        lost.append(f"tool_choice: {tool}")
        tool = ""
    return replace(options, stop=stops, tool=tool)


def _fitting_tools(tools: Iterable[Tool], lost: list[str]) -> Iterator[Tool]:
    """The tools, each name once, with schemas that services accept."""
    names: set[str] = set()
    for tool in tools:
        if tool.name in names:
            lost.append(f"tools: the second {tool.name}")
            continue
        names.add(tool.name)
        schema, left = fitting_schema(tool.parameters)
        lost += [f"tools: {tool.name}: {key} at the top of its parameters" for key in left]
        yield replace(tool, parameters=schema)


def fitting_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The schema of a tool's parameters as an object with properties, and what it lost.

    Alternatives at the top become one object with the properties of all; what all of them require
    remains required.
    """
    left = [key for key in _REFUSED if key in schema]
    parts = [_object(schema), *map(_object, _referred(schema, schema))]
    for key in _ALTERNATIVES:
        parts += _alternatives(schema, key)
    fitted = {key: value for key, value in schema.items() if key not in _REFUSED}
    properties: dict[str, Any] = {}
    for part in parts:
        for name, value in part["properties"].items():
            properties.setdefault(name, value)
    required = dict.fromkeys(name for part in parts for name in part["required"])
    fitted |= {"type": "object", "properties": properties}
    fitted["required"] = [name for name in required if name in properties]
    if not fitted["required"]:
        del fitted["required"]
    return fitted, left


def _alternatives(schema: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects among which a schema chooses, as parts of one object."""
    items = schema.get(key)
    found = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    parts = [_object(one) for item in found for one in (item, *_referred(item, schema))]
    if key != "allOf":
        every = [set(part["required"]) for part in parts]
        common = set.intersection(*every) if every else set()
        parts = [{**p, "required": [n for n in p["required"] if n in common]} for p in parts]
    return parts


def _object(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a schema and the names of those that are required."""
    properties, required = schema.get("properties"), schema.get("required")
    return {
        "properties": properties if isinstance(properties, dict) else {},
        "required": [n for n in required if isinstance(n, str)]
        if isinstance(required, list)
        else [],
    }


def _referred(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schema that another refers to within the same root; none if there is none."""
    found: Any = root
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return []
    for key in reference[2:].split("/"):
        found = found.get(key) if isinstance(found, dict) else None
    return [found] if isinstance(found, dict) else []


def _user_first(messages: list[Message]) -> list[Message]:
    """The messages, of which the first after the system's is the user's."""
    first = next((n for n, m in enumerate(messages) if m.role != "system"), len(messages))
    if first < len(messages) and messages[first].role == "user":
        return messages
    return [*messages[:first], Message("user", "(start of the conversation)"), *messages[first:]]


def _stripped(messages: Iterable[Message], to: ProtocolName) -> Iterator[Message]:
    """The messages without what is only for another service."""
    for message in messages:
        text = _BILLING.sub("", message.text) if message.role == "system" else message.text
        own = tuple(thought for thought in message.thoughts if thought.origin == to)
        yield replace(message, text=text, thoughts=own)


def _answered(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages with each call's result right after it. A call without a result (the agent was
    interrupted) gets a note; a result without its call becomes the user's text."""
    waiting: dict[str, None] = {}
    begun = False
    """Whether some of the waiting calls have got their results."""
    held: list[Message] = []
    """Messages between a call and its result."""
    for message in messages:
        results: list[ToolResult] = []
        lost: list[ToolResult] = []
        for result in message.results:
            known = result.call_id in waiting
            (results if known else lost).append(result)
            waiting.pop(result.call_id, None)
        if results:
            begun = bool(waiting)
            yield Message("user", results=tuple(results))
        rest = replace(message, results=())
        if lost:
            text = "\n".join([*(f"[result of a tool]\n{r.text}" for r in lost), rest.text])
            rest = replace(rest, text=text.strip(), content=())
        if not (rest.text or rest.content or rest.calls or rest.thoughts):
            continue
        if waiting and message.role != "assistant":
            held.append(rest)
            continue
        if waiting and (held or begun):
            yield from _given_up(waiting)
        if not waiting:
            yield from held
            held, begun = [], False
        yield rest
        waiting |= dict.fromkeys(call.id for call in rest.calls)
    yield from _given_up(waiting)
    yield from held


def _given_up(waiting: dict[str, None]) -> Iterator[Message]:
    results = tuple(ToolResult(id, "(no result)", is_error=True) for id in waiting)
    waiting.clear()
    if results:
        yield Message("user", results=results)


def _system_first(messages: list[Message]) -> list[Message]:
    """The messages with one system message at the beginning. Later ones become messages of the user
    that are marked, as many models are trained on that alone."""
    first = next((n for n, m in enumerate(messages) if m.role != "system"), len(messages))
    texts = [m.text for m in messages[:first] if m.text]
    start = [Message("system", "\n\n".join(texts))] if texts else []
    later = [
        Message("user", f"<system-reminder>\n{m.text}\n</system-reminder>")
        if m.role == "system"
        else m
        for m in messages[first:]
    ]
    return start + later


def _failure_said(result: ToolResult) -> ToolResult:
    """A failed result with a note in its text, for protocols without a field for that."""
    if not result.is_error:
        return result
    note = "[the tool failed]"
    content = (note, *result.content) if result.content else ()
    return replace(result, text=f"{note}\n{result.text}", content=content)


def _joined(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages, with one for all that the assistant thought, said and called in one turn."""
    last: Message | None = None
    for message in messages:
        if last is not None and last.role == message.role == "assistant":
            text = "\n".join(part for part in (last.text, message.text) if part)
            last = replace(
                last,
                text=text,
                calls=last.calls + message.calls,
                thoughts=last.thoughts + message.thoughts,
            )
            continue
        if last is not None:
            yield last
        last = message
    if last is not None:
        yield last
