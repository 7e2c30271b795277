"""Session logs of Claude Code: ``projects/FOLDER/SESSION.jsonl`` in ``$CLAUDE_CONFIG_DIR``.

Read in the versions 2.1.197 and 2.1.332. A session that was resumed as a fork has copies of the
lines before it, with their own ids; sub-agents have a log each, or in earlier versions lines in
the session's that are marked as a side chain.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from skillopt.tasks.drafts.sessions import (
    Session,
    Turns,
    objects,
    records,
    said,
    skills_in,
    text_of,
)

PATTERN = "projects/**/*.jsonl"
_WRITERS = ("Write", "Edit", "MultiEdit", "NotebookEdit")
_INTERRUPTED = "[Request interrupted by user"
_REASON = re.compile(r"the user said:\s*\n?(.+)", re.DOTALL)
_COMMAND = re.compile(r"<command-name>/?([^<]+)</command-name>")
_ARGUMENTS = re.compile(r"<command-args>(.*?)</command-args>", re.DOTALL)
_COMMIT = re.compile(r"^Recent commits:\s*\n\s*([0-9a-f]{7,40})\b", re.MULTILINE)
_OWN_COMMANDS = {
    "add-dir", "agents", "btw", "clear", "compact", "config", "context", "cost", "exit", "export",
    "fast", "help", "hooks", "ide", "login", "logout", "mcp", "memory", "model", "permissions",
    "plugin", "quit", "rename", "resume", "rewind", "status", "theme", "usage", "vim",
}  # fmt: skip
"""Commands of the program itself, which ask nothing of the agent."""


def read_claude(file: Path) -> Session | None:
    """The session in a log; None if the file is no session's."""
    return _Log(file).read()


class _Log:
    """A log as it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.turns = Turns()
        self.known: set[str] = set()
        self.answered_at: set[str] = set()
        """The lines that a person has spoken after."""
        self.first: dict[str, Any] = {}
        self.commit = ""
        # A sub-agent's log lies in a folder with the name of its session.
        self.part = file.parent.name == "subagents" or file.name.startswith("agent-")

    def read(self) -> Session | None:
        for record in records(self.file):
            id = text_of(record, "uuid")
            if not id or id in self.known:
                continue  # After a summary, lines that are kept come again.
            self.known.add(id)
            if bool(record.get("isSidechain")) == self.part:
                self.first = self.first or record
                self._add(record, id)
        if not self.first:
            return None
        session = text_of(self.first, "sessionId")
        agent = text_of(self.first, "agentId")
        return Session(
            agent="claude-code",
            id=f"{session}/{agent or self.file.stem}" if self.part else session,
            file=self.file,
            version=text_of(self.first, "version"),
            folder=text_of(self.first, "cwd"),
            commit=self.commit,
            began=text_of(self.first, "timestamp"),
            turns=tuple(self.turns.found),
            parent=session if self.part else "",
        )

    def _add(self, record: dict[str, Any], id: str) -> None:
        kind = record.get("type")
        if kind == "user":
            self._user(record, id)
        elif kind == "assistant":
            for block in objects(_content(record)):
                self._did(block)
            if text_of(record, "message", "stop_reason") == "end_turn":
                self.turns.finished()
        elif kind == "system" and record.get("subtype") == "turn_duration":
            self.turns.finished()
        elif kind == "attachment":
            self._attached(record.get("attachment"), id, text_of(record, "timestamp"))

    def _user(self, record: dict[str, Any], id: str) -> None:
        content = _content(record)
        at = text_of(record, "timestamp")
        for block in objects(content):
            if block.get("type") == "tool_result" and block.get("is_error"):
                self._refused(text_of(block, "content"), id, at)
        texts = [text_of(b, "text") for b in objects(content) if b.get("type") == "text"]
        text = content if isinstance(content, str) else "\n".join(texts)
        if record.get("isMeta") or record.get("isCompactSummary") or not text.strip():
            return
        if text.startswith(_INTERRUPTED):
            self.turns.interrupted()
            return
        if text_of(record, "origin", "kind") not in ("", "human"):
            return  # The end of a task in the background, or another agent.
        before = text_of(record, "parentUuid")  # Empty at the beginning.
        self._say(text, id, at, again=before in self.answered_at)
        self.answered_at.add(before)

    def _say(self, text: str, id: str, at: str, *, again: bool = False) -> None:
        """A person spoke, perhaps by a command with the name of a skill."""
        command, arguments = _COMMAND.search(text), _ARGUMENTS.search(text)
        if command:
            name = command[1].strip()
            asked = arguments[1].strip() if arguments else ""
            if name not in _OWN_COMMANDS and asked:
                self.turns.add(id, said(asked), at, again=again)
                self.turns.opened([name.rpartition(":")[2]])
        elif text := said(text):
            self.turns.add(id, text, at, again=again)

    def _refused(self, text: str, id: str, at: str) -> None:
        """The person refused a tool call, and perhaps said why."""
        if "user doesn't want to" not in text:
            return
        self.turns.interrupted()
        reason = _REASON.search(text)
        if reason and said(reason[1]):
            self.turns.add(id, said(reason[1]), at)

    def _did(self, block: dict[str, Any]) -> None:
        if block.get("type") == "text":
            self.turns.answered(text_of(block, "text"))
        elif block.get("type") == "tool_use":
            name, given = block.get("name"), block.get("input")
            path = text_of(given, "file_path") or text_of(given, "notebook_path")
            if name in _WRITERS:
                self.turns.changed([path])
            elif name == "Skill":
                skill = text_of(given, "skill") or text_of(given, "command")
                self.turns.opened([skill.rpartition(":")[2]])
            elif name in ("Read", "Bash"):
                self.turns.opened(skills_in(path or text_of(given, "command")))

    def _attached(self, attachment: Any, id: str, at: str) -> None:
        kind = text_of(attachment, "type")
        if kind == "queued_command" and text_of(attachment, "commandMode") in ("", "prompt"):
            if text_of(attachment, "origin", "kind") in ("", "human"):
                self._say(text_of(attachment, "prompt"), id, at)
        elif kind == "session_context" and not self.commit:
            found = _COMMIT.search(text_of(attachment, "context", "gitStatus"))
            self.commit = found[1] if found else ""


def _content(record: dict[str, Any]) -> Any:
    message = record.get("message")
    return message.get("content") if isinstance(message, dict) else None
