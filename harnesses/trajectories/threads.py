"""Sorts model calls into conversations: the main one, a sub-agent's, or none.

Codex names them in its requests, Claude Code and OpenCode in headers and by their tools. For other
agents only the openings can be compared. What an agent reports about itself is used for sorting,
and for nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harnesses.gateway.exchange import MAIN, WIRE_FORMAT, Exchange
from harnesses.json_values import loads
from harnesses.protocols.base import Conversation, Message, ProtocolError, Reply
from harnesses.protocols.registry import CODECS
from sandboxes.errors import SkillOptError

Kind = Literal["turn", "compaction", "side"]
_CODEX_KINDS: dict[str, Kind] = {"turn": "turn", "compaction": "compaction"}
_SUMMARY = re.compile(
    r"Your task is to create a detailed summary of (the|this) conversation"
    r"|\AHere is the conversation so far:\s+<conversation>"
)


@dataclass(frozen=True)
class Turn:
    """One exchange as a turn of a conversation.

    Args:
        shown: the conversation that the model got.
        reply: of the model; None if it did not come completely.
        started: when the call began.
        thread: ``MAIN``, or a sub-agent's name for its own conversation.
        kind: ``compaction`` asks for a summary that replaces what came before; ``side`` belongs to
            no conversation, such as the request for a title.
        label: the purpose of a side request, in the agent's own words.
        part: number of the agent's start.
    """

    shown: Conversation
    reply: Reply | None
    started: float
    thread: str = MAIN
    kind: Kind = "turn"
    label: str = ""
    part: int = 0


def turns(exchanges: Iterable[Exchange]) -> list[Turn]:
    """The exchanges that can be read, in the order of their requests."""
    found = []
    for exchange in sorted(exchanges, key=lambda e: e.started):
        asked = exchange.asked
        try:
            shown = CODECS[exchange.protocol].read_request(asked)
        except ProtocolError:
            continue  # The upstream refused it with 400; it is in wire.jsonl.
        found.append((exchange, shown, _reported(exchange, asked, shown)))
    opening = _opening(shown for _, shown, reported in found if reported is None)
    sorted_ = []
    for exchange, shown, reported in found:
        thread, kind, label = reported or _guessed(shown, opening)
        sorted_.append(
            Turn(shown, exchange.reply, exchange.started, thread, kind, label, exchange.part)
        )
    return sorted_


def main_conversation(found: Iterable[Turn]) -> list[Turn]:
    """The turns of the task itself, without sub-agents, summaries and side requests."""
    return [turn for turn in found if turn.thread == MAIN and turn.kind == "turn"]


def read_wire(file: Path) -> list[Exchange]:
    """The exchanges of a ``wire.jsonl``; an incomplete line is left out."""
    found = []
    for text in file.read_text("utf-8", "replace").split("\n"):
        try:
            line = loads(text)
            if line.get("format", WIRE_FORMAT) != WIRE_FORMAT:
                raise SkillOptError(
                    f"{file}: has format {line['format']!r}, and this version reads format "
                    f"{WIRE_FORMAT}; use the version that wrote it"
                )
            response = line["response"]
            reply = CODECS[line["protocol"]].read_response(response) if response else None
            found.append(
                Exchange(
                    protocol=line["protocol"],
                    request=line["request"],
                    reply=reply,
                    status=line["status"],
                    error=line["error"],
                    started=line["started"],
                    ended=line["ended"],
                    # Old logs have "" if the client named none.
                    thread=line["thread"] if "thread" in line else line.get("agent") or None,
                    part=line.get("part", 0),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _reported(
    exchange: Exchange, asked: Mapping[str, Any], shown: Conversation
) -> tuple[str, Kind, str] | None:
    """Thread, kind and label as the agent itself reports them; None if it does not."""
    reported = _codex(asked) if exchange.protocol == "responses" else None
    if reported is not None:
        return reported
    thread = exchange.thread
    if thread is None and not _is_claude_code(asked):
        return None
    return _by_tools(thread or MAIN, shown)


def _codex(body: Mapping[str, Any]) -> tuple[str, Kind, str] | None:
    reported = _json_at(body, "client_metadata", "x-codex-turn-metadata")
    source, kind = reported.get("thread_source"), reported.get("request_kind")
    if not isinstance(source, str) or not isinstance(kind, str):
        return None
    if source == "user":
        return MAIN, _CODEX_KINDS.get(kind, "side"), kind
    if source == "subagent":
        return str(reported.get("thread_id")), _CODEX_KINDS.get(kind, "side"), kind
    return MAIN, "side", source


def _is_claude_code(body: Mapping[str, Any]) -> bool:
    return "session_id" in _json_at(body, "metadata", "user_id")


def _by_tools(thread: str, shown: Conversation) -> tuple[str, Kind, str]:
    last = next((m.text for m in reversed(shown.messages) if m.role == "user"), "")
    if _SUMMARY.search(last):
        return thread, "compaction", "compaction"
    return (thread, "turn", "turn") if shown.tools else (thread, "side", "without tools")


def _opening(shown: Iterable[Conversation]) -> Message | None:
    """The first user message of the first request with tools; None if there is none."""
    return next((_first_user(one) for one in shown if one.tools), None)


def _guessed(shown: Conversation, opening: Message | None) -> tuple[str, Kind, str]:
    """Thread, kind and label by comparison: side requests have no tools, or begin with another user
    message than the first request with tools. A chat without tools is the main conversation."""
    if opening is None or (shown.tools and _first_user(shown) == opening):
        return MAIN, "turn", "turn"
    return MAIN, "side", "another opening" if shown.tools else "without tools"


def _first_user(shown: Conversation) -> Message | None:
    return next((m for m in shown.messages if m.role == "user" and m.text), None)


def _json_at(body: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The object in the JSON text at a path of keys; empty for anything else."""
    value: Any = body
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    try:
        found = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
