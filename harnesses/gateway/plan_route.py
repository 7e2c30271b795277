"""What a ChatGPT plan's route takes of a Responses request, and what is left out.

By developers.openai.com/siwc/token-sharing-open-source/preview-limitations (2026-10) and the lists
in PyPI ``chatgpt-plan-auth`` 1.0.2: ``store: false`` and ``stream: true``, no system items, no
options but the model's own, and tools in namespaces or in ``additional_tools`` items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harnesses.gateway.upstreams import Call

UNSUPPORTED = frozenset(
    {
        "background", "conversation", "max_output_tokens", "max_tool_calls", "metadata",
        "moderation", "multi_agent", "previous_response_id", "prompt", "prompt_cache_key",
        "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier",
        "stream_options", "temperature", "top_logprobs", "top_p", "truncation", "user",
    }
)  # fmt: skip
"""Fields that the route refuses."""
_OWN_TOOLS = ("function", "custom")
"""Types of tools that go into an ``additional_tools`` item."""


def on_chatgpt_plan(call: Call) -> tuple[Call, tuple[str, ...]]:
    """A Responses call as the route takes it, and the parts that are left out.

    Args:
        call: of the Responses protocol.
    """
    body = dict(call.body)
    lost = [key for key in body if key in UNSUPPORTED and body[key] is not None]
    body = {key: value for key, value in body.items() if key not in UNSUPPORTED}
    items = _items(body.get("input"))
    if isinstance(body.get("tools"), list):
        grouped, given, others = _tools(body.pop("tools"))
        lost += others
        if grouped:
            body["tools"] = grouped
        if given:
            head = {"type": "additional_tools", "role": "developer", "tools": given}
            items = [head, *items]
    if isinstance(body.get("tool_choice"), dict):  # It can only name a tool of ``tools``.
        del body["tool_choice"]
        lost.append("tool_choice")
    body |= {"input": items, "store": False, "stream": True}
    # Of a client that asked for a whole reply, which the route does not give.
    headers = {name: value for name, value in call.headers.items() if name != "accept"}
    return replace(call, body=body, headers=headers), tuple(lost)


def _items(given: Any) -> list[Any]:
    """The conversation as items, without the role ``system``."""
    if isinstance(given, str):
        text = {"type": "input_text", "text": given}
        return [{"type": "message", "role": "user", "content": [text]}]
    return [_developer(item) for item in given] if isinstance(given, list) else []


def _developer(item: Any) -> Any:
    if isinstance(item, Mapping) and item.get("role") == "system":
        return {**item, "role": "developer"}
    return item


def _tools(tools: list[Any]) -> tuple[list[Any], list[Any], list[str]]:
    """The namespaces, the tools that stand alone, and the types of those that are left out."""
    grouped, given, others = [], [], []
    for tool in tools:
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if kind == "namespace":
            grouped.append(tool)
        elif kind in _OWN_TOOLS:
            given.append(tool)
        else:
            others.append(f"tool {kind}")
    return grouped, given, others
