"""API keys of nodes: each reads its own, from its environment or a file; none travels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harnesses.gateway.plan_upstreams import CLAUDE_TOKEN
from sandboxes.base import SandboxError
from skillopt.config.logins import login
from skillopt.config.schema import Config
from skillopt.config.upstreams import HttpConfig

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")


def needed_keys(config: Config) -> Iterator[str]:
    """The names of the environment variables with the keys that rollouts need: those of the
    target's and the judge's service."""
    used = dict.fromkeys(
        model.upstream for model in (config.target, config.judge) if model is not None
    )
    for name in used:
        upstream = config.upstreams[name]
        if isinstance(upstream, HttpConfig):
            plan = CLAUDE_TOKEN if login(config, name) == "claude-plan" else ""
            if key := upstream.key_env or plan:
                yield key


def check_keys(names: Sequence[str], file: str = "") -> None:
    """Read keys into the environment, if there is a file with them.

    Args:
        names: the variables that are needed; no others are read.
        file: ``NAME=value`` lines, with comments and quotes as shells have them; empty for none.

    Raises:
        SandboxError: the file cannot be read, or a key is missing. Values are not shown.
    """
    if file:
        try:
            lines = Path(file).read_text("utf-8").splitlines()
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", "") or type(error).__name__
            raise SandboxError(f"executor.keys_file: {file}: {why} on this node") from None
        for line in lines:
            found = _LINE.fullmatch(line)
            if found and found[1] in names:
                os.environ[found[1]] = _unquoted(found[2])
    for name in names:
        if not os.environ.get(name, "").strip():
            where = f"{file} has no line for it" if file else "it is not set there"
            raise SandboxError(
                f"no API key in {name}: {where}; set it where Ray is started on that node, or name "
                "a file in executor.keys_file"
            )


def _unquoted(text: str) -> str:
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text
