"""Reads an agent's prompt: the task, the skills on offer, the text that has been read; and calls
its shell.

Knows how the agents and direct chat lay out their prompts, but nothing about chores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import unescape

from harnesses.protocols.base import Conversation, Message, Reply, ToolCall, ToolResult

# How the harnesses wrap, in user messages, what was not written by the user.
_INJECTED = re.compile(
    r"<(system-reminder|environment_context|user_instructions|skills_instructions|"
    r"permissions instructions|local-command-stdout|command-\w+|skill)\b[^>]*>.*?</\1>",
    re.DOTALL,
)
_BODY = re.compile(r"\s*(Base directory for this skill:|# AGENTS\.md instructions|<INSTRUCTIONS>)")
_CODEX_LISTING = re.compile(r"<skills_instructions>.*?</skills_instructions>", re.DOTALL)
_CLAUDE_LISTING = re.compile(
    r"[^\n]*skills are available for use with the Skill tool.*?(?=</system-reminder>|\Z)",
    re.DOTALL,
)
_OPENCODE_LISTING = re.compile(r"<available_skills>.*?</available_skills>", re.DOTALL)
_NO_RULES = re.compile(
    f"{_CODEX_LISTING.pattern}|{_CLAUDE_LISTING.pattern}|{_OPENCODE_LISTING.pattern}"
    r"|<environment_context>.*?</environment_context>",
    re.DOTALL,
)
_ROOT = re.compile(r"^- `(\w+)` = `([^`]+)`$", re.MULTILINE)
_CODEX_SKILL = re.compile(r"^- (\S[^\n]*?): (.*) \(file: ([^)\n]+)\)$", re.MULTILINE)
# By the folder's name; the front matter's follows if it is another one.
_CLAUDE_SKILL = re.compile(r"^- (\S[^\n]*?)(?: \([^)\n]*\))?: (.*)$", re.MULTILINE)
_OPENCODE_SKILL = re.compile(r"<name>(.*?)</name>\s*<description>(.*?)</description>", re.DOTALL)
SKILL_TOOLS = {"Skill": "skill", "skill": "name"}
"""Tools that open a skill, and the argument that names it."""
SHELLS = {"exec_command": "cmd", "Bash": "command", "bash": "command", "shell": "command"}
"""Shell tools of the harnesses, and the argument that contains the command."""


@dataclass(frozen=True)
class ListedSkill:
    """A skill that the prompt offers. ``path`` is its file if the harness names it."""

    name: str
    description: str
    path: str | None


@dataclass(frozen=True)
class PromptTurn:
    """A tool call of the model and its result."""

    call: ToolCall
    result: ToolResult | None


def task_index(conversation: Conversation) -> int | None:
    """Position of the last message in which the user asks for something; None if there is none."""
    for index in range(len(conversation.messages) - 1, -1, -1):
        if task_text(conversation.messages[index]):
            return index
    return None


def task_text(message: Message) -> str:
    """What the user wrote in a message, without what a harness added."""
    if message.role != "user" or _BODY.match(message.text):
        return ""
    return _INJECTED.sub("", message.text).strip()


def shell_of(conversation: Conversation) -> str | None:
    """The name of the shell tool; None if there is none."""
    return next((tool.name for tool in conversation.tools if tool.name in SHELLS), None)


def shell_call(shell: str, command: str, said: str, conversation: Conversation) -> Reply:
    """A turn that runs a command."""
    arguments: dict[str, str | int] = {SHELLS[shell]: command}
    if shell == "exec_command":
        # Codex gives up waiting after 10 s by default, too early on a busy machine.
        arguments["yield_time_ms"] = 30_000
    elif shell in ("Bash", "bash"):
        arguments["description"] = said
    return Reply(said, (ToolCall(call_id(conversation), shell, arguments),), stop="tool_calls")


def call_id(conversation: Conversation) -> str:
    """An id for the next tool call."""
    return f"call_{len(turns(conversation.messages)) + 1:04d}"


def turns(messages: tuple[Message, ...]) -> list[PromptTurn]:
    """All tool calls in order, each with its result."""
    results: dict[str, list[ToolResult]] = {}
    for message in messages:
        for result in message.results:
            results.setdefault(result.call_id, []).append(result)
    calls = [call for message in messages for call in message.calls]
    # Ids may come again: their results are in the order of the calls.
    return [PromptTurn(c, results[c.id].pop(0) if results.get(c.id) else None) for c in calls]


def listed_skills(conversation: Conversation) -> list[ListedSkill]:
    """The skills on offer, in the order of the prompt."""
    skills = []
    for text in _texts(conversation):
        for listing in _CODEX_LISTING.findall(text):
            roots = dict(_ROOT.findall(listing))
            for name, description, file in _CODEX_SKILL.findall(listing):
                root, _, rest = file.partition("/")
                path = f"{roots[root]}/{rest}" if root in roots else file
                skills.append(ListedSkill(name, description, path))
        for match in _CLAUDE_LISTING.finditer(text):
            skills += [ListedSkill(n, d, None) for n, d in _CLAUDE_SKILL.findall(match[0])]
        for listing in _OPENCODE_LISTING.findall(text):
            found = _OPENCODE_SKILL.findall(listing)
            skills += [ListedSkill(unescape(n), unescape(d), None) for n, d in found]
    return skills


def text_read(conversation: Conversation) -> str:
    """Every text that may contain rules: prompts without listings of skills, and opened skills.

    A description in a listing is only an offer and does not count. The only tool output that counts
    is that of opening a skill: input files are data.
    """
    parts = [_NO_RULES.sub("", text) for text in _texts(conversation)]
    for turn in turns(conversation.messages):
        if turn.result and not turn.result.is_error and opens_skill(turn.call):
            parts.append(turn.result.text)
    return "\n\n".join(parts)


def opens_skill(call: ToolCall, name: str = "", path: str | None = None) -> bool:
    """Whether a tool call reads a skill: a tool for skills, or its file.

    Args:
        call: the tool call.
        name: of the skill, or of its folder; empty for any.
        path: of its file, if it is listed with that.
    """
    if call.name in SKILL_TOOLS:
        return name in ("", call.arguments.get(SKILL_TOOLS[call.name]))
    return (path or f"{name}/SKILL.md") in " ".join(str(v) for v in call.arguments.values())


def _texts(conversation: Conversation) -> Iterator[str]:
    return (m.text for m in conversation.messages if m.role in ("system", "user") and m.text)
