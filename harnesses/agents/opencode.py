"""OpenCode (npm ``opencode-ai``); in batch mode ``opencode run --format json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from harnesses.agents.cli_agent import TERMINAL_ENV, AgentKind, Launch, events, text_at
from harnesses.agents.folders import Folders, SkillRules
from harnesses.agents.options import CONTAINER, MODEL, RECORD, Options, Rules, arguments
from harnesses.agents.terminal_profile import TerminalProfile
from harnesses.agents.toolchains import NpmBuild, Toolchain
from harnesses.base import Mode, Request
from harnesses.json_values import merged

VERSION = "1.18.33"


def toolchain(version: str | None = None) -> Toolchain:
    """See :class:`harnesses.agents.cli_agent.AgentKind`."""
    chosen = version or VERSION
    return Toolchain(
        name="opencode",
        version=chosen,
        npm=lambda architecture: NpmBuild(f"opencode-linux-{architecture}", chosen, "bin"),
        keep=("opencode",),
        program="opencode",
        released_as="opencode-ai",
    )


FOLDERS = Folders(
    own=".config/opencode",
    variable="XDG_CONFIG_HOME",
    below="opencode",
    instructions="AGENTS.md",
    project=(".opencode/skills", ".claude/skills", ".agents/skills"),
    shared=(".claude/skills", ".agents/skills"),
    loads=SkillRules(description=True, name=True, texts_only=True, unique=None),
)

TOOLS = ("bash", "edit", "glob", "grep", "read", "skill", "task", "todowrite", "webfetch")
"""The built-in tools as OpenCode grants them: ``edit`` includes writing and patching."""

_GATEWAY = "model calls go through the gateway, which records them"
_NETWORK = "agents have no network"
_PLACE = "the agent works in the task's working directory"

RULES = Rules(
    efforts=("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    tools=TOOLS,
    skill_tool="skill",
    flags={"--agent": True, "--thinking": False},
    batch_flags=("--thinking",),
    refused_flags={
        **dict.fromkeys(("-m", "--model"), MODEL),
        **dict.fromkeys(("--variant",), "use options.effort"),
        **dict.fromkeys(("--auto",), CONTAINER),
        **dict.fromkeys(("--format", "--print-logs", "--log-level", "--title"), RECORD),
        **dict.fromkeys(("-c", "--continue", "-s", "--session", "--fork"), RECORD),
        **dict.fromkeys(("--command", "-i", "--interactive", "--mini"), RECORD),
        **dict.fromkeys(("--share", "--attach", "--port", "-p", "--password"), _NETWORK),
        **dict.fromkeys(("-u", "--username"), _NETWORK),
        "--dir": _PLACE,
        "--pure": "the home has no plugins",
        **dict.fromkeys(("-f", "--file"), "name the file in the task's instruction"),
    },
    # The agent refuses a config with a key that it does not know.
    settings=(
        "agent", "attachment", "command", "compaction", "default_agent", "experimental",
        "formatter", "instructions", "lsp", "permission", "references", "shell", "skills",
        "snapshot", "subagent_depth", "tool_output", "tools", "username", "watcher",
    ),
    refused_settings={
        **dict.fromkeys(("model", "small_model"), MODEL),
        **dict.fromkeys(("provider", "disabled_providers", "enabled_providers"), _GATEWAY),
        **dict.fromkeys(("share", "autoshare", "server", "enterprise", "plugin"), _NETWORK),
        "autoupdate": "the version is fixed by harness.version",
        "mcp": "use options.mcp_servers",
        **dict.fromkeys(("logLevel", "experimental.openTelemetry"), RECORD),
        "skills.urls": _NETWORK,
    },
)  # fmt: skip

CONTEXT, OUTPUT = 200_000, 32_000
"""The tokens of a model's context and of one reply that OpenCode assumes. For a model that it does
not know it would never summarise. ``target.sampling.max_tokens`` changes the latter."""

TERMINAL_PROFILE = TerminalProfile(
    ready=r"Ask anything",
    busy=r"esc interrupt",
    exit_hint=r"again to exit",
    goodbye=r"opencode -s ses_",
    question=r"enter confirm",
    cursor="›",
    pages=(),
)

STDIN = 'printf %s "$0" | exec "$@"'
"""The way a prompt is given: OpenCode would put an argument with a space in quotes."""


@dataclass(frozen=True)
class OpenCode:
    """See :class:`harnesses.agents.cli_agent.CliAgent`."""

    toolchain: Toolchain
    options: Options = Options()
    name: str = "opencode"
    folders: Folders = FOLDERS
    transcripts: str = ".local/share/opencode/log/*.log"
    starts_tools_early: bool = True
    terminal_profile: TerminalProfile = TERMINAL_PROFILE

    def launch(self, request: Request, token: str, base_url: str, mode: Mode) -> Launch:
        model = request.model.name
        env = {
            "GATEWAY_TOKEN": token,
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "XDG_CONFIG_HOME": "",
        }
        if mode == "interactive":
            env |= TERMINAL_ENV
        config = merged(self._config(model, f"{base_url}/v1"), self.options.settings)
        files = {f"{FOLDERS.own}/opencode.json": json.dumps(config) + "\n"}
        return Launch(self._commands(request, mode), env, files)

    def _commands(self, request: Request, mode: Mode) -> list[list[str]]:
        binary, model = self.toolchain.binary, request.model.name
        common = ["--auto", f"--model=gateway/{model}", *arguments(self.options.flags, RULES)]
        if mode == "interactive":
            return [[binary, *common]]
        batch = [binary, "run", "--format=json", *common]
        first, *others = request.prompts
        resumed = [["sh", "-c", STDIN, prompt, *batch, "--continue"] for prompt in others]
        # Without a title it would ask the model for one.
        shown = [f"--file={request.workdir}/{name}" for name in request.pictures]
        return [["sh", "-c", STDIN, first, *batch, "--title=task", *shown], *resumed]

    def _config(self, model: str, base_url: str) -> dict[str, Any]:
        options = self.options
        known: dict[str, Any] = {
            "limit": {"context": CONTEXT, "output": OUTPUT},
            "modalities": {"input": ["text", "image"], "output": ["text"]},
            "interleaved": {"field": "reasoning_content"},
        }
        if options.effort is not None:
            known |= {"reasoning": True, "options": {"reasoningEffort": options.effort}}
        config: dict[str, Any] = {
            "small_model": f"gateway/{model}",
            "share": "disabled",
            "provider": {
                "gateway": {
                    "npm": "@ai-sdk/openai-compatible",
                    "options": {"baseURL": base_url, "apiKey": "{env:GATEWAY_TOKEN}"},
                    "models": {model: known},
                }
            },
        }
        if options.allowed_tools is not None:
            without = [tool for tool in TOOLS if tool not in options.allowed_tools]
            config["permission"] = dict.fromkeys(without, "deny")
        if options.mcp_servers:
            config["mcp"] = {
                name: {
                    "type": "local",
                    "command": [server.command, *server.args],
                    "environment": server.env,
                }
                for name, server in options.mcp_servers.items()
            }
        return config

    def complaint(self, stdout: str) -> str:
        failure = ""
        for event in events(stdout):
            if event.get("type") == "error":
                message = text_at(event, "error", "data", "message")
                failure = message or text_at(event, "error", "name") or "an error without a name"
            elif event.get("type") == "step_finish":
                failure = ""
        return failure


KIND = AgentKind(OpenCode, toolchain, RULES, FOLDERS)
