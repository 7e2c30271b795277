"""Keeps agents from reaching outside through their model service.

Services search the web, run code and fetch addresses on a client's behalf, and open what they keep
for an account. An agent without a network must not have that: it would see what its sandbox keeps
from it, could send out what is in there, and could spend what no limit sees. So there is a list of
what may pass, by type and form, from the published schemas of the three protocols; all else is
taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harnesses.protocols.base import ProtocolError, ProtocolName

OWN_TOOLS: dict[ProtocolName, tuple[str, ...]] = {
    "responses": (
        "function", "custom", "namespace", "local_shell", "shell", "apply_patch", "tool_search",
        "computer", "computer_use_preview",
    ),
    "chat": ("function", "custom"),
    "messages": (
        "custom", "bash", "text_editor", "computer", "memory", "tool_search_tool",
        "tool_search_tool_regex", "tool_search_tool_bm25",
    ),
}  # fmt: skip
"""The types of tools that the agent runs itself; for Messages without their versions."""

_VERSION = re.compile(r"_\d{8}\Z")

_SAMPLING = frozenset(
    {
        "temperature", "top_p", "top_k", "top_a", "min_p", "typical_p", "stop", "seed", "n",
        "frequency_penalty", "presence_penalty", "repetition_penalty", "repeat_penalty",
        "length_penalty", "logit_bias", "logprobs", "top_logprobs", "min_tokens", "ignore_eos",
        "grammar", "json_schema", "guided_json", "guided_regex", "guided_choice",
        "guided_grammar", "chat_template_kwargs", "enable_thinking", "thinking_budget",
        "cache_prompt", "num_ctx", "options", "keep_alive", "user", "metadata",
    }
)  # fmt: skip
"""Options of the reply alone, as published or as servers of open models have them."""

FIELDS: dict[ProtocolName, frozenset[str]] = {
    "responses": _SAMPLING | {
        "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls",
        "max_tool_calls", "stream", "stream_options", "store", "include", "reasoning", "text",
        "max_output_tokens", "client_metadata", "prompt_cache_key", "prompt_cache_retention",
        "safety_identifier", "truncation", "service_tier", "context_management",
    },
    "chat": _SAMPLING | {
        "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "functions",
        "function_call", "stream", "stream_options", "store", "reasoning", "reasoning_effort",
        "verbosity", "response_format", "max_tokens", "max_completion_tokens", "modalities",
        "audio", "prediction", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
        "service_tier", "thinking",
    },
    "messages": _SAMPLING | {
        "model", "messages", "system", "tools", "tool_choice", "stream", "max_tokens",
        "stop_sequences", "thinking", "output_config", "output_format", "context_management",
        "cache_control", "service_tier",
    },
}  # fmt: skip
"""The fields of a request that may pass."""

_TIERS = ("auto", "default", "flex", "standard", "standard_only")
"""The service tiers that cost what the price table says, or less."""
_KEPT_BY_SERVICE = ("previous_response_id", "conversation", "prompt")
"""The fields for parts of the conversation that the service has, without which it is another."""
_NOTE = "[a file of the service, which this agent cannot use]"
_FETCHED = re.compile(r"(^|_)(url|uri|source|file|file_data|image|audio|video)$")
"""Keys of what a service fetches: those of the protocols, and those that servers of open models and
routers have besides, such as ``video_url`` and a file whose data is an address."""
_PLACES = ("url", "uri", "file_url", "file_data")
_TEXT: dict[ProtocolName, str] = {"responses": "input_text", "chat": "text", "messages": "text"}


def confined(
    protocol: ProtocolName, body: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """A request without what the service would do or open by itself, and what was removed.

    Raises:
        ProtocolError: a part of the conversation is with the service, so that the rest alone would
            mean something else.
    """
    for key in _KEPT_BY_SERVICE:
        if protocol == "responses" and body.get(key):
            raise ProtocolError(
                f"{key}: the service may not use what it keeps: send the whole conversation as "
                "input"
            )
    kept = {key: value for key, value in body.items() if _passes(protocol, key, value)}
    taken = [key for key in body if key not in kept]
    if isinstance(body.get("tools"), list):
        kept["tools"], others = _own_tools(protocol, body["tools"])
        taken += others
        if others and not _choosable(kept.get("tool_choice"), kept["tools"]):
            del kept["tool_choice"]
            taken.append("tool_choice")
    for key in ("messages", "input", "system"):
        if isinstance(kept.get(key), list):
            kept[key], parts = _own_parts(protocol, kept[key])
            taken += parts
    return kept, tuple(taken)


def _passes(protocol: ProtocolName, key: str, value: Any) -> bool:
    return key in FIELDS[protocol] and (key != "service_tier" or value is None or value in _TIERS)


def _own_tools(protocol: ProtocolName, tools: list[Any]) -> tuple[list[Any], list[str]]:
    """The tools that the agent runs itself, and the others' types."""
    own: list[Any] = []
    others: list[str] = []
    for tool in tools:
        if not _is_own(protocol, tool):
            others.append(f"tool {tool.get('type')}")
            continue
        if isinstance(tool, dict) and isinstance(tool.get("tools"), list):
            inner, more = _own_tools(protocol, tool["tools"])
            tool = {**tool, "tools": inner}
            others += more
        own.append(tool)
    return own, others


def _is_own(protocol: ProtocolName, tool: Any) -> bool:
    if not isinstance(tool, dict):
        return True  # It is not a tool; the service will refuse it.
    kind = tool.get("type")
    if kind is None:
        return protocol == "messages"
    name = _VERSION.sub("", str(kind)) if protocol == "messages" else kind
    if name not in OWN_TOOLS[protocol]:
        return False
    place = tool.get("environment")
    return place is None or (isinstance(place, dict) and place.get("type") == "local")


def _choosable(choice: Any, tools: list[Any]) -> bool:
    """Whether a choice of a tool can be made among these."""
    if not isinstance(choice, dict):
        return True
    several = choice.get("tools")
    chosen = several if isinstance(several, list) else [choice]
    known = {str(tool.get(key)) for tool in tools if isinstance(tool, dict)
             for key in ("type", "name")}  # fmt: skip
    named = [one.get("name") or one.get("type") for one in chosen if isinstance(one, dict)]
    modes = ("auto", "any", "none", "function", "custom")
    return all(str(name) in known or name in modes for name in named)


def _own_parts(protocol: ProtocolName, items: list[Any]) -> tuple[list[Any], list[str]]:
    """Messages without references to what the service keeps, and what was removed."""
    kept: list[Any] = []
    taken: list[str] = []
    for item in items:
        if isinstance(item, dict) and item.get("type") == "item_reference":
            taken.append("input: item_reference")
            continue
        if isinstance(item, dict) and item.get("type") == "additional_tools":
            given = item.get("tools")
            own, others = _own_tools(protocol, given if isinstance(given, list) else [])
            taken += others
            kept.append({**item, "tools": own})
            continue
        if isinstance(item, dict) and _is_kept_file(item):
            taken.append(f"file of the service: {item.get('type')}")
            kept.append({"type": _TEXT[protocol], "text": _NOTE})
            continue
        if isinstance(item, dict):
            for key in ("content", "output"):
                if isinstance(item.get(key), list):
                    parts, more = _own_parts(protocol, item[key])
                    taken += more
                    item = {**item, key: parts} if more else item
        kept.append(item)
    return kept, taken


def _is_kept_file(part: Mapping[str, Any]) -> bool:
    """Whether a part of a message is a file by its id."""
    inner = [part.get(key) for key in ("source", "file", "image_url", "input_audio")]
    places = [part, *(value for value in inner if isinstance(value, dict))]
    return part.get("type") == "container_upload" or any(place.get("file_id") for place in places)


def remote_address(protocol: ProtocolName, body: Mapping[str, Any]) -> str:
    """The first address in a request's messages that the service would fetch; empty if there is
    none."""
    messages = body.get("input" if protocol == "responses" else "messages")
    system = body.get("system") if protocol == "messages" else None
    return next(_addresses([messages, system]), "")


def _addresses(value: Any) -> Iterator[str]:
    """The addresses in messages and tool results, but not those in the arguments of tools."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        if not isinstance(part, dict):
            continue
        for key, named in part.items():
            if not _FETCHED.search(key):
                continue
            inner = [named.get(name) for name in _PLACES] if isinstance(named, dict) else [named]
            for address in inner:
                if isinstance(address, str) and address.lower().startswith(("http:", "https:")):
                    yield address
        pending += [part[key] for key in ("content", "output", "tool_result") if key in part]
