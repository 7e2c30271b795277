"""Claude Code CLI (npm ``@anthropic-ai/claude-code``) in batch mode: ``claude -p``."""

from __future__ import annotations

from dataclasses import dataclass

from harnesses.base import Request
from harnesses.cli_agent import HOME, Launch
from harnesses.protocols.fields import loads
from harnesses.toolchains import Toolchain

MODEL_VARIABLES = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)
"""Side requests and sub-agents use the rollout's model too: its token works for no other."""


@dataclass(frozen=True)
class ClaudeCode:
    """See :class:`harnesses.cli_agent.CliAgent`."""

    toolchain: Toolchain
    name: str = "claude-code"
    skills_dir: str = ".claude/skills"
    instructions: str = ".claude/CLAUDE.md"
    transcripts: str = ".claude/projects/*/*.jsonl"

    def launch(self, request: Request, token: str, base_url: str) -> Launch:
        argv = [
            self.toolchain.binary,
            "--output-format",
            "stream-json",
            "--verbose",
            "--dangerously-skip-permissions",
            "--model",
            request.model.name,
            "-p",
            "--",
            request.instruction,
        ]
        env = {
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_API_KEY": token,
            "CLAUDE_CONFIG_DIR": f"{HOME}/.claude",
            # Keeps rollouts from learning from each other behind the trainer's back.
            "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "PATH": f"{self.toolchain.target}:/usr/local/bin:/usr/bin:/bin",
            **dict.fromkeys(MODEL_VARIABLES, request.model.name),
        }
        return Launch(argv, env, {".claude/settings.json": "{}\n"})

    def complaint(self, stdout: str) -> str:
        for line in reversed(stdout.split("\n")):
            try:
                event = loads(line)
            except ValueError:
                continue  # The program prints plain warnings between its events.
            if isinstance(event, dict) and event.get("type") == "result":
                return str(event.get("result")) if event.get("is_error") else ""
        return "no result event was printed"
