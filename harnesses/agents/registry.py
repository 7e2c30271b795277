"""The harnesses by name. A new agent program is a new file, a line here, and its name in
:mod:`harnesses.base`."""

from __future__ import annotations

from collections.abc import Mapping

from harnesses.agents import claude_code, codex, opencode
from harnesses.agents.cli_agent import CliHarness, Program
from harnesses.agents.direct import Direct
from harnesses.agents.options import Options
from harnesses.agents.toolchains import Toolchain
from harnesses.base import NAMES, Mode
from harnesses.harness import Harness

PROGRAMS: dict[str, Program] = {
    "codex": codex.PROGRAM,
    "claude-code": claude_code.PROGRAM,
    "opencode": opencode.PROGRAM,
}


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
    if name == "direct":
        return Direct()
    if name not in PROGRAMS:
        raise KeyError(f"{name!r} is not a harness; there are: {', '.join(NAMES)}")
    program = PROGRAMS[name]
    return CliHarness(program.agent(program.toolchain(version, None), options), mode)


def toolchains(versions: Mapping[str, str | None] | None = None) -> list[Toolchain]:
    """Those of all agent programs.

    Args:
        versions: by program, in place of the pinned ones.
    """
    chosen = versions or {}
    return [program.toolchain(chosen.get(name), None) for name, program in PROGRAMS.items()]
