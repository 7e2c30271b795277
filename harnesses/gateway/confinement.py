"""Keeps agents from reaching outside through their model service.

Services search the web, run code and fetch addresses on a client's behalf. An agent without a
network must not have that either: it would see what its sandbox keeps from it, and could send out
what is in there. Which tools the agent runs itself follows from the published schemas of the three
protocols.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harnesses.protocols.base import ProtocolName

OWN_TOOLS: dict[ProtocolName, tuple[str, ...]] = {
    "responses": (
        "function", "custom", "namespace", "local_shell", "shell", "apply_patch", "tool_search",
        "computer",
    ),
    "chat": ("function", "custom"),
    "messages": (
        "custom", "bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_",
    ),
}  # fmt: skip
"""The types of tools that the agent runs itself; for Messages without their versions."""

SERVICE_FIELDS: dict[ProtocolName, tuple[str, ...]] = {
    "responses": (),
    "chat": ("web_search_options",),
    "messages": ("mcp_servers", "container"),
}
"""The fields of a request that have the service act outside."""


def confined(
    protocol: ProtocolName, body: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """A request without the tools that the service would run, and what was removed."""
    kept = {key: value for key, value in body.items() if key not in SERVICE_FIELDS[protocol]}
    taken = [key for key in body if key in SERVICE_FIELDS[protocol]]
    tools = body.get("tools")
    if isinstance(tools, list):
        kept["tools"] = [tool for tool in tools if _is_own(protocol, tool)]
        taken += [f"tool {tool.get('type')}" for tool in tools if not _is_own(protocol, tool)]
    return kept, tuple(taken)


def remote_address(protocol: ProtocolName, body: Mapping[str, Any]) -> str:
    """The first address in a request's messages that the service would fetch; empty if there is
    none."""
    messages = body.get("input" if protocol == "responses" else "messages")
    return next(_addresses(messages), "")


def _is_own(protocol: ProtocolName, tool: Any) -> bool:
    if not isinstance(tool, dict):
        return True  # It is not a tool; the service will refuse it.
    kind = tool.get("type")
    if kind is None:
        return protocol == "messages"
    own = OWN_TOOLS[protocol]
    return str(kind).startswith(own) if protocol == "messages" else kind in own


def _addresses(value: Any) -> Iterator[str]:
    """The addresses in messages and tool results, but not those in the arguments of tools."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, list):
            pending += part
        if not isinstance(part, dict):
            continue
        for key in ("image_url", "file_url", "source"):
            named = part.get(key)
            address = named.get("url") if isinstance(named, dict) else named
            if isinstance(address, str) and address.lower().startswith(("http:", "https:")):
                yield address
        pending += [part[key] for key in ("content", "output", "tool_result") if key in part]
