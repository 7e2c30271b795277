"""The options of a command-line agent that a user may set, and those that would break a rollout.

The options are the same for all agents; an agent's :class:`Rules`, next to its adapter, have the
values and flags that it takes. What defeats isolation, recording or the gateway is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from sandboxes.errors import SkillOptError

MODEL = "the model is target.name, behind the gateway"
CONTAINER = "it is set already: the container is the sandbox"
RECORD = "what the agent prints and writes is recorded as it is"
"""Reasons for a refusal that apply to every agent."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class OptionsError(SkillOptError, ValueError):
    """An option that an agent does not take or that must not be set; begins with its key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class McpServer(_Section):
    """A tool server that the agent starts in its sandbox and uses over standard input."""

    command: str = Field(min_length=1)
    """A program of the task's image, or a path in its working directory."""
    args: tuple[str, ...] = ()
    env: dict[Name, str] = {}
    """The agent can read it, and it is stored with the run: no secrets."""


class Options(_Section):
    """Options of a command-line agent; one that is not set keeps the agent's default."""

    effort: str | None = None
    """How much the model thinks, in the agent's own words."""
    allowed_tools: tuple[str, ...] | None = None
    """The only built-in tools that the model is offered. Tools of MCP servers are added to them,
    and in Codex those of the model by its catalogue, such as ``apply_patch``."""
    mcp_servers: dict[Name, McpServer] = {}
    flags: tuple[str, ...] = ()
    """More arguments of the agent, each flag with its value: ``[--system-prompt, Be brief]``."""
    settings: dict[str, Any] = {}
    """Keys of Codex's config.toml or Claude Code's settings.json, nested as there."""

    def set(self) -> dict[str, Any]:
        """The options that are set, as JSON, which identify a rollout."""
        return self.model_dump(mode="json", exclude_defaults=True)


@dataclass(frozen=True)
class Rules:
    """The options that an agent takes. What is in no list is unknown.

    Args:
        efforts: its words for the effort.
        tools: its built-in tools.
        skill_tool: the tool with which it opens a skill that it has found.
        flags: with whether each takes a value.
        batch_flags: those of them that only its batch mode knows.
        refused_flags: with the reason.
        settings: allowed at the top level; None if the agent itself refuses unknown ones.
        refused_settings: by dotted key, with the reason; keys below them are refused too.
        settings_env: names that are allowed under ``env`` in the settings.
    """

    efforts: tuple[str, ...]
    tools: Collection[str]
    skill_tool: str
    flags: Mapping[str, bool]
    refused_flags: Mapping[str, str]
    refused_settings: Mapping[str, str]
    settings: Collection[str] | None = None
    settings_env: Collection[str] = ()
    batch_flags: Collection[str] = field(default_factory=frozenset)


def check(options: Options, rules: Rules, *, finds_skills: bool, interactive: bool) -> None:
    """Refuse options that the agent does not take or that must not be set.

    Args:
        options, rules: of the agent.
        finds_skills: whether the skill has to be opened with a tool.
        interactive: whether the agent runs in its interactive mode.

    Raises:
        OptionsError: with the key, the reason and what to do.
    """
    if options.effort is not None:
        _known("effort", options.effort, rules.efforts)
    for tool in options.allowed_tools or ():
        _known("allowed_tools", tool, rules.tools)
    allowed = options.allowed_tools
    if finds_skills and allowed is not None and rules.skill_tool not in allowed:
        raise OptionsError(
            f"allowed_tools: without {rules.skill_tool!r} no mounted skill can be opened; "
            "add it, or set harness.mount to instructions"
        )
    for flag, _ in pairs(options.flags, rules):
        if interactive and flag in rules.batch_flags:
            raise OptionsError(f"flags: {flag} does nothing with mode: interactive; remove it")
    _check_settings(options.settings, rules)


def pairs(flags: Sequence[str], rules: Rules) -> Iterator[tuple[str, str | None]]:
    """The flags with their values; raises OptionsError for one that is not allowed."""
    left = list(flags)
    while left:
        flag, equals, value = left.pop(0).partition("=")
        if flag in rules.refused_flags:
            raise OptionsError(f"flags: {flag} is refused: {rules.refused_flags[flag]}")
        _known("flags", flag, rules.flags)
        if not rules.flags[flag]:
            if equals:
                raise OptionsError(f"flags: {flag} takes no value")
            yield flag, None
        elif equals:
            yield flag, value
        elif left and not left[0].startswith("--"):
            yield flag, left.pop(0)
        else:
            raise OptionsError(f"flags: {flag} needs a value after it, or as {flag}=VALUE")


def arguments(flags: Sequence[str], rules: Rules) -> list[str]:
    """The flags as arguments, none of which can be taken as another's value."""
    return [flag if value is None else f"{flag}={value}" for flag, value in pairs(flags, rules)]


def _check_settings(settings: Mapping[str, Any], rules: Rules) -> None:
    for key, value in _walk(settings, ""):
        for refused, why in rules.refused_settings.items():
            if key == refused or key.startswith(f"{refused}."):
                raise OptionsError(f"settings.{key}: is refused: {why}")
        if value is not None and not isinstance(value, (str, int, float, bool, list, dict)):
            raise OptionsError(f"settings.{key}: {type(value).__name__} is no JSON value; quote it")
    if rules.settings is None:
        return
    for key in settings:
        _known("settings", key, rules.settings)
    env = settings.get("env", {})
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise OptionsError("settings.env: must map names to strings; quote the values")
    for name in env:
        _known("settings.env", name, rules.settings_env)


def _walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every value below a setting with its dotted key; entries of a list have that of the list."""
    if key:
        yield key, value
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if not isinstance(name, str) or "." in name or not name.isprintable():
                raise OptionsError(
                    f"settings: {name!r} is no key; write keys nested, not with dots"
                )
            yield from _walk(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, key)


def _known(key: str, word: str, known: Iterable[str]) -> None:
    words = sorted(known)
    if word in words:
        return
    close = difflib.get_close_matches(word, words, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(words)}"
    raise OptionsError(f"{key}: {word!r} is not allowed; {hint}")
