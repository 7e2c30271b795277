"""The harnesses by name. A new one is a new file and a line here."""

from __future__ import annotations

from harnesses import claude_code as claude_code_agent
from harnesses import codex as codex_agent
from harnesses.base import NAMES, Harness, Mode
from harnesses.claude_code import ClaudeCode
from harnesses.cli_agent import CliHarness
from harnesses.codex import Codex
from harnesses.direct import Direct
from harnesses.options import Options, Rules
from harnesses.toolchains import claude_code, codex

RULES: dict[str, Rules] = {"codex": codex_agent.RULES, "claude-code": claude_code_agent.RULES}
"""Of those harnesses that take options."""


def make_harness(
    name: str, version: str | None = None, options: Options = Options(), mode: Mode = "batch"
) -> Harness:
    """The harness of that name.

    Args:
        name: one of ``NAMES``.
        version: of the agent program, in place of the pinned one.
        options: of the agent program, already checked.
        mode: how the agent program is run.

    Raises:
        KeyError: no such harness.
    """
    match name:
        case "direct":
            return Direct()
        case "codex":
            return CliHarness(Codex(codex(version) if version else codex(), options), mode)
        case "claude-code":
            return CliHarness(
                ClaudeCode(claude_code(version) if version else claude_code(), options), mode
            )
    raise KeyError(f"{name!r} is not a harness; there are: {', '.join(NAMES)}")
