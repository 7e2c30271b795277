"""The harnesses by name. A new one is a new file and a line here.

An agent's module is imported when it is first used, so that to know the names costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sandboxes.errors import BackendError, SkillOptError

if TYPE_CHECKING:
    from harnesses.agents.cli_agent import AgentKind
    from harnesses.agents.options import Options
    from harnesses.agents.toolchains import Toolchain
    from harnesses.base import Mode
    from harnesses.harness import Harness
    from sandboxes.backend import Traits

CLI_AGENTS: Mapping[str, str] = {
    "codex": "harnesses.agents.codex",
    "claude-code": "harnesses.agents.claude_code",
    "opencode": "harnesses.agents.opencode",
}
"""The command-line agents and their modules, each of which has a ``KIND``."""

HARNESSES: Mapping[str, str] = {"direct": "harnesses.agents.direct:Direct"}
"""The harnesses that are not programs, and their classes."""

NAMES = (*HARNESSES, *CLI_AGENTS)
"""All harnesses of the project."""


class HarnessError(SkillOptError):
    """A harness that does not exist."""


def agent_kind(name: str) -> AgentKind:
    """A command-line agent's description.

    Raises:
        HarnessError: no such agent.
    """
    if name not in CLI_AGENTS:
        raise HarnessError(_unknown(name, "a command-line agent", list(CLI_AGENTS)))
    kind: AgentKind = importlib.import_module(CLI_AGENTS[name]).KIND
    return kind


def make_harness(
    name: str, version: str | None = None, options: Options | None = None, mode: Mode = "batch"
) -> Harness:
    """The harness of that name.

    Args:
        name: one of ``NAMES``.
        version: of the command-line agent, in place of the pinned one.
        options: of the command-line agent, already checked.
        mode: how the command-line agent is run.

    Raises:
        HarnessError: no such harness.
    """
    if name in HARNESSES:
        module, _, made = HARNESSES[name].partition(":")
        harness: Harness = getattr(importlib.import_module(module), made)()
        return harness
    if name not in CLI_AGENTS:
        raise HarnessError(_unknown(name, "a harness", NAMES))

    from harnesses.agents.cli_agent import CliHarness
    from harnesses.agents.options import Options

    kind = agent_kind(name)
    return CliHarness(kind.agent(kind.toolchain(version), options or Options()), mode)


def check_backend(agent: str, backend: Traits, key: str = "harness.name") -> None:
    """Check that a command-line agent can run in the sandboxes of a backend: its program comes
    from an image, and is started without asking for permissions.

    Args:
        agent: its name.
        backend: or its traits.
        key: of the config, by which the agent is named.

    Raises:
        BackendError: it cannot.
    """
    if not (backend.isolated and backend.images):
        other = "harness.name to direct" if key == "harness.name" else f"remove {key}"
        raise BackendError(
            f"{key}: {agent!r} needs sandboxes that are isolated and run images, and those "
            f"of {backend.name!r} are not or do not: set sandbox.kind to docker, or {other}"
        )


def toolchains(versions: Mapping[str, str | None] | None = None) -> list[Toolchain]:
    """The toolchains of all command-line agents.

    Args:
        versions: by agent, in place of the pinned ones.
    """
    chosen = versions or {}
    return [agent_kind(name).toolchain(chosen.get(name)) for name in CLI_AGENTS]


def _unknown(name: str, what: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(known)}"
    return f"{name!r} is not {what}{hint}"
