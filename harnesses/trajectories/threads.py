"""Sorts model calls into conversations: the main one, a sub-agent's, or none.

Codex names them in its requests, Claude Code and OpenCode in headers and by their tools. For other
agents only the openings can be compared. What an agent reports about itself is used for sorting,
and for nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from harnesses.gateway.exchange import MAIN, Exchange
from harnesses.gateway.wire import WireReader
from harnesses.protocols.base import Conversation, Message, ProtocolError, Reply, Tool
from harnesses.protocols.registry import CODECS

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


class Turns:
    """The turns of a record, also while it is written: each request is read once, and messages that
    come again with the next request are kept once.

    Args:
        record: a ``wire.jsonl``; it need not exist yet.
    """

    def __init__(self, record: Path) -> None:
        self._record = record
        self._reader, self._sorter = WireReader(), _Sorter()

    def so_far(self) -> list[Turn]:
        """The turns so far. Raises OSError, and SkillOptError as :meth:`WireReader.new`."""
        with suppress(FileNotFoundError), self._record.open("rb") as record:
            for exchange in self._reader.new(record, str(self._record)):
                self._sorter.add(exchange)
        return self._sorter.turns()


def turns(exchanges: Iterable[Exchange]) -> list[Turn]:
    """The exchanges that can be read, in the order of their requests."""
    sorter = _Sorter()
    for exchange in exchanges:
        sorter.add(exchange)
    return sorter.turns()


class _Sorter:
    """Reads requests, and sorts them into conversations."""

    def __init__(self) -> None:
        self._found: list[tuple[Turn, bool]] = []
        """The turns, and whether the agent itself reports where they belong."""
        self._messages: dict[tuple[str, str, tuple[str, ...]], Message] = {}
        """The last message of a role and text, and with the ids of its calls and results."""
        self._tools: tuple[Tool, ...] = ()

    def add(self, exchange: Exchange) -> None:
        try:
            shown = CODECS[exchange.protocol].read_request(exchange.request)
        except ProtocolError:
            return  # The upstream refused it with 400; it is in wire.jsonl.
        reported = _reported(exchange, shown)
        shown = self._without_copies(shown)
        turn = Turn(shown, exchange.reply, exchange.started, part=exchange.part)
        if reported is not None:
            thread, kind, label = reported
            turn = replace(turn, thread=thread, kind=kind, label=label)
        self._found.append((turn, reported is not None))

    def turns(self) -> list[Turn]:
        """The turns so far, in the order of their requests."""
        found = sorted(self._found, key=lambda one: one[0].started)
        opening = _opening(turn.shown for turn, reported in found if not reported)
        return [turn if reported else _guessed(turn, opening) for turn, reported in found]

    def _without_copies(self, shown: Conversation) -> Conversation:
        """The conversation with those messages and tools that are known already."""
        messages = tuple(map(self._known, shown.messages))
        self._tools = self._tools if shown.tools == self._tools else shown.tools
        return replace(shown, messages=messages, tools=self._tools)

    def _known(self, message: Message) -> Message:
        calls = (*(c.id for c in message.calls), *(r.call_id for r in message.results))
        key = (message.role, message.text, calls)
        known = self._messages.get(key)
        if known != message:
            known = self._messages[key] = message
        return known


def main_conversation(found: Iterable[Turn]) -> list[Turn]:
    """The turns of the task itself, without sub-agents, summaries and side requests."""
    return [turn for turn in found if turn.thread == MAIN and turn.kind == "turn"]


def _reported(exchange: Exchange, shown: Conversation) -> tuple[str, Kind, str] | None:
    """Thread, kind and label as the agent itself reports them; None if it does not."""
    asked = exchange.request
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


def _guessed(turn: Turn, opening: Message | None) -> Turn:
    """A turn sorted by comparison: side requests have no tools, or begin with another user message
    than the first request with tools. A chat without tools is the main conversation."""
    shown = turn.shown
    if opening is None or (shown.tools and _first_user(shown) == opening):
        return replace(turn, label="turn")
    return replace(turn, kind="side", label="another opening" if shown.tools else "without tools")


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
