"""The harnesses by name. A new one is a new file and a line here."""

from __future__ import annotations

from harnesses.base import NAMES, Harness
from harnesses.claude_code import ClaudeCode
from harnesses.cli_agent import CliHarness
from harnesses.codex import Codex
from harnesses.direct import Direct
from harnesses.toolchains import claude_code, codex


def make_harness(name: str, version: str | None = None) -> Harness:
    """The harness of that name.

    Args:
        name: one of ``NAMES``.
        version: of the agent program, in place of the pinned one.

    Raises:
        KeyError: no such harness.
    """
    match name:
        case "direct":
            return Direct()
        case "codex":
            return CliHarness(Codex(codex(version) if version else codex()))
        case "claude-code":
            return CliHarness(ClaudeCode(claude_code(version) if version else claude_code()))
    raise KeyError(f"{name!r} is not a harness; there are: {', '.join(NAMES)}")
