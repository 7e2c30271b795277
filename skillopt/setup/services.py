"""Agents and model services that can be used here: programs, environment variables that have a key,
and logins on disk. Only that there is one is looked at, never what it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harnesses.agents.registry import CLI_AGENTS, agent_kind

SIM = "sim"


@dataclass(frozen=True)
class Service:
    """A model service that ``init`` can write into a config.

    Args:
        name: of the upstream.
        block: the upstream's keys, as YAML in one line.
        key_env: environment variable with the key; empty if it needs none.
        address: where requests go; empty if they go nowhere.
        agent: that speaks its protocol.
        target, optimizer: models that the price table knows.
    """

    name: str
    block: str
    key_env: str
    address: str
    agent: str
    target: str
    optimizer: str


SERVICES: Mapping[str, Service] = {
    service.name: service
    for service in (
        Service(
            "anthropic", "{kind: anthropic, key_env: ANTHROPIC_API_KEY}", "ANTHROPIC_API_KEY",
            "https://api.anthropic.com", "claude-code", "claude-sonnet-5-5", "claude-opus-5-5",
        ),
        Service(
            "openai", "{kind: openai, key_env: OPENAI_API_KEY}", "OPENAI_API_KEY",
            "https://api.openai.com", "codex", "gpt-5.5", "gpt-5.5",
        ),
        Service(
            "minimax",
            '{kind: anthropic, base_url: "https://api.minimax.io/anthropic", '
            "key_env: MINIMAX_API_KEY}",
            "MINIMAX_API_KEY", "https://api.minimax.io", "claude-code", "MiniMax-M3", "MiniMax-M3",
        ),
        Service(SIM, "{kind: sim}", "", "", "codex", "sim-1", "sim-1"),
    )
}  # fmt: skip
"""By name; the simulated model, which needs no key, is the last."""

PROGRAMS = {"codex": "codex", "claude-code": "claude", "opencode": "opencode"}
_LOGINS = {
    "codex": ("auth.json",),
    "claude-code": (".credentials.json",),
    "opencode": ("../../.local/share/opencode/auth.json",),
}
"""Where agents keep the login of a plan, below their own folder."""
_TOKENS = ("CLAUDE_CODE_OAUTH_TOKEN", "CODEX_ACCESS_TOKEN")


@dataclass(frozen=True)
class Machine:
    """What can be used here.

    Args:
        agents: programs on the path; runs use their own copies, so that none is needed.
        keys: environment variables that have a key.
        logins: agents that are logged in to a plan, which runs do not use.
    """

    agents: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    logins: tuple[str, ...] = ()

    @property
    def services(self) -> list[Service]:
        """The services whose key is there."""
        return [service for service in SERVICES.values() if service.key_env in self.keys]


def look_around() -> Machine:
    """What can be used on this machine."""
    known = dict.fromkeys(service.key_env for service in SERVICES.values() if service.key_env)
    return Machine(
        agents=tuple(agent for agent, program in PROGRAMS.items() if shutil.which(program)),
        keys=tuple(name for name in known if os.environ.get(name, "").strip()),
        logins=tuple(agent for agent in CLI_AGENTS if _logged_in(agent)),
    )


def _logged_in(agent: str) -> bool:
    own: Path = agent_kind(agent).folders.here()
    tokens = [name for name in _TOKENS if name.startswith(PROGRAMS[agent].upper())]
    files = [own / name for name in _LOGINS[agent]]
    return any(os.environ.get(name) for name in tokens) or any(os.path.lexists(f) for f in files)
