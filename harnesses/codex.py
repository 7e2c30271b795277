"""Codex CLI (npm ``@openai/codex``) in batch mode: ``codex exec --json``."""

from __future__ import annotations

import json
from dataclasses import dataclass

from harnesses.base import Request
from harnesses.cli_agent import HOME, Launch
from harnesses.protocols.fields import loads
from harnesses.toolchains import Toolchain

CONFIG = """\
model = {model}
model_provider = "gateway"
check_for_update_on_startup = false

[analytics]
enabled = false

[skills.bundled]
enabled = false

[model_providers.gateway]
name = "gateway"
base_url = {base_url}
env_key = "GATEWAY_TOKEN"
wire_api = "responses"
"""


@dataclass(frozen=True)
class Codex:
    """See :class:`harnesses.cli_agent.CliAgent`."""

    toolchain: Toolchain
    name: str = "codex"
    skills_dir: str = ".codex/skills"
    instructions: str = ".codex/AGENTS.md"
    transcripts: str = ".codex/sessions/*/*/*/rollout-*.jsonl"

    def launch(self, request: Request, token: str, base_url: str) -> Launch:
        # A JSON string is also a TOML basic string.
        config = CONFIG.format(
            model=json.dumps(request.model.name), base_url=json.dumps(f"{base_url}/v1")
        )
        argv = [
            self.toolchain.binary,
            "exec",
            "--json",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            "-C",
            request.workdir,
            "--",
            request.instruction,
        ]
        env = {
            "CODEX_HOME": f"{HOME}/.codex",
            "GATEWAY_TOKEN": token,
            "PATH": f"{self.toolchain.target}/codex-path:/usr/local/bin:/usr/bin:/bin",
        }
        return Launch(argv, env, {".codex/config.toml": config})

    def complaint(self, stdout: str) -> str:
        failure = ""
        for line in stdout.split("\n"):
            try:
                event = loads(line)
            except ValueError:
                continue  # The program prints plain warnings between its events.
            if not isinstance(event, dict):
                continue
            if event.get("type") == "turn.failed":
                failure = str((event.get("error") or {}).get("message"))
            elif event.get("type") == "turn.completed":
                failure = ""
        return failure
