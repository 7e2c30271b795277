"""Session logs of Codex CLI: ``sessions/YYYY/MM/DD/rollout-*.jsonl`` in ``$CODEX_HOME``.

Read in the versions 0.169 and 0.171, with what earlier ones wrote otherwise: a message of the user
was an event ``user_message``, a patch an event ``patch_apply_begin``, and a fork a copy.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from skillopt.tasks.drafts.sessions import (
    Session,
    Turns,
    objects,
    records,
    said,
    skills_in,
    text_of,
)

PATTERN = "sessions/**/rollout-*.jsonl"
_PATCHED = re.compile(r"^\*\*\* (?:Add|Update|Delete) File: (.+)$", re.MULTILINE)


def read_codex(file: Path) -> Session | None:
    """The session in a log; None if the file is no session's."""
    return _Log(file).read()


class _Log:
    """A log as it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.meta: dict[str, Any] | None = None
        self.turns = Turns()
        self.plain: list[tuple[str, str, str]] = []
        """Messages of the user that are in the log as what the model was shown."""

    def read(self) -> Session | None:
        for line, record in enumerate(records(self.file)):
            ordinal = record.get("ordinal")
            self._add(record, ordinal if isinstance(ordinal, int) else line)
        meta = self.meta
        if meta is None or not text_of(meta, "id"):
            return None
        if not self.turns.found:
            for id, text, at in self.plain:
                self.turns.add(id, text, at)
        source = meta.get("source")
        spawned = isinstance(source, dict) and "subagent" in source
        parent = text_of(meta, "parent_thread_id") or _spawner(source)
        base = meta.get("history_base")
        end = base.get("end_ordinal_exclusive") if isinstance(base, dict) else None
        return Session(
            agent="codex",
            id=text_of(meta, "id"),
            file=self.file,
            version=text_of(meta, "cli_version"),
            folder=text_of(meta, "cwd"),
            commit=text_of(meta, "git", "commit_hash"),
            began=text_of(meta, "timestamp"),
            turns=tuple(self.turns.found),
            parent=parent or ("unknown" if spawned else ""),
            base=text_of(meta, "forked_from_id") or text_of(base, "thread_id"),
            base_end=end if isinstance(end, int) else None,
        )

    def _add(self, record: dict[str, Any], ordinal: int) -> None:
        kind, payload = record.get("type"), record.get("payload")
        at = text_of(record, "timestamp")
        if not isinstance(payload, dict):
            return
        if kind == "session_meta":
            # A copied history brings the first line of the session that it was copied from.
            self.meta = self.meta or payload
        elif kind == "event_msg":
            self._event(payload, ordinal, at)
        elif kind == "response_item":
            self._item(payload, ordinal, at)

    def _id(self, ordinal: int) -> str:
        return f"{text_of(self.meta, 'id')}:{ordinal}"

    def _event(self, event: dict[str, Any], ordinal: int, at: str) -> None:
        kind = event.get("type")
        if kind == "user_message":
            self._say(ordinal, text_of(event, "message"), at)
        elif kind == "agent_message":
            self.turns.answered(text_of(event, "message"))
        elif kind == "turn_aborted":
            self.turns.interrupted()
        elif kind == "task_complete":
            self.turns.answered(text_of(event, "last_agent_message"))
            self.turns.finished()
        elif kind == "patch_apply_begin" and isinstance(event.get("changes"), dict):
            self.turns.changed(map(_path, event["changes"]))
        elif kind == "item_completed" and isinstance(event.get("item"), dict):
            self._completed(event["item"], ordinal, at)

    def _completed(self, item: dict[str, Any], ordinal: int, at: str) -> None:
        kind, content = item.get("type"), objects(item.get("content"))
        if kind == "UserMessage":
            self._say(ordinal, "\n".join(text_of(part, "text") for part in content), at)
            self.turns.opened(text_of(p, "name") for p in content if p.get("type") == "skill")
        elif kind == "AgentMessage":
            self.turns.answered("\n".join(text_of(part, "text") for part in content))
        elif kind == "FileChange" and item.get("status") == "completed":
            changes = item.get("changes")
            self.turns.changed(map(_path, changes if isinstance(changes, dict) else ()))

    def _item(self, item: dict[str, Any], ordinal: int, at: str) -> None:
        kind = item.get("type")
        if kind == "message" and item.get("role") == "user":
            text = said("\n".join(text_of(part, "text") for part in objects(item.get("content"))))
            if text and not text.startswith("# AGENTS.md instructions"):
                self.plain.append((self._id(ordinal), text, at))
        elif kind in ("function_call", "local_shell_call", "custom_tool_call"):
            call = f"{text_of(item, 'arguments')}\n{text_of(item, 'input')}\n{item.get('action')}"
            self.turns.opened(skills_in(call))
            if kind == "custom_tool_call":
                self.turns.changed(_PATCHED.findall(text_of(item, "input")))

    def _say(self, ordinal: int, text: str, at: str) -> None:
        if text := said(text):
            self.turns.add(self._id(ordinal), text, at)


def _spawner(source: Any) -> str:
    part = source.get("subagent") if isinstance(source, dict) else None
    return text_of(part, "thread_spawn", "parent_thread_id")


def _path(name: str) -> str:
    return unquote(urlsplit(name).path) if name.startswith("file://") else name
