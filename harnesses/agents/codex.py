"""Codex CLI (npm ``@openai/codex``); in batch mode ``codex exec --json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from harnesses.agents.cli_agent import (
    HOME,
    PROMPT_FILE,
    SCHEMA_FILE,
    SYSTEM_FILE,
    TERMINAL_ENV,
    AgentKind,
    AgentReportedError,
    Asking,
    Launch,
    Question,
    events,
    text_at,
)
from harnesses.agents.folders import Folders, SkillRules
from harnesses.agents.options import CONTAINER, MODEL, RECORD, Options, Rules, arguments
from harnesses.agents.terminal_profile import Page, TerminalProfile
from harnesses.agents.toml import to_toml
from harnesses.agents.toolchains import NpmBuild, Toolchain
from harnesses.base import Mode, Request
from harnesses.json_values import merged

VERSION = "0.171.0"
_TARGETS = {"x64": "x86_64-unknown-linux-musl", "arm64": "aarch64-unknown-linux-musl"}


def toolchain(version: str | None = None) -> Toolchain:
    """See :class:`harnesses.agents.cli_agent.AgentKind`."""
    chosen = version or VERSION
    return Toolchain(
        name="codex",
        version=chosen,
        npm=lambda architecture: NpmBuild(
            "@openai/codex", f"{chosen}-linux-{architecture}", f"vendor/{_TARGETS[architecture]}"
        ),
        keep=("bin", "codex-path", "codex-package.json", "codex-resources/bwrap"),
        program="bin/codex",
        released_as="@openai/codex",
    )


FOLDERS = Folders(
    own=".codex",
    variable="CODEX_HOME",
    instructions="AGENTS.md",
    project=(".agents/skills", ".codex/skills"),
    shared=(".agents/skills",),
    loads=SkillRules(
        description=True,
        unique=("name", "description", "metadata"),
        name_chars=64,
        metadata=True,
        byte_order_mark=False,
    ),
)

_TOOLS: dict[str, dict[str, Any]] = {
    "shell": {"features": {"shell_tool": False}},
    "view_image": {"features": {"view_image": False}},
    "multi_agent": {"features": {"multi_agent": False}},
    "goals": {"features": {"goals": False}},
    "web_search": {"web_search": "disabled"},
    "request_user_input": {"tools": {"experimental_request_user_input": {"enabled": False}}},
}
"""The built-in tools, some of them groups, and the setting that removes each. There is none for
what a model gets by Codex's catalogue: ``apply_patch``, or all tools as one of JavaScript."""

_GATEWAY = "model calls go through the gateway, which records them"
_PLACE = "the agent works in the task's working directory"

RULES = Rules(
    efforts=("none", "minimal", "low", "medium", "high", "xhigh"),
    tools=_TOOLS,
    skill_tool="shell",
    flags={
        "--enable": True,
        "--disable": True,
        "--dangerously-bypass-hook-trust": False,
        "--ignore-rules": False,
        "--output-schema": True,
    },
    batch_flags=("--ignore-rules", "--output-schema"),
    refused_flags={
        **dict.fromkeys(("-c", "--config"), "put it under settings, where it is checked"),
        **dict.fromkeys(("-m", "--model"), MODEL),
        **dict.fromkeys(("--oss", "--local-provider", "--remote"), _GATEWAY),
        **dict.fromkeys(("-p", "--profile"), "put its keys under settings, where they are checked"),
        **dict.fromkeys(("-s", "--sandbox", "-a", "--ask-for-approval"), CONTAINER),
        **dict.fromkeys(("--approve-for-me", "--trust"), CONTAINER),
        "--dangerously-bypass-approvals-and-sandbox": CONTAINER,
        **dict.fromkeys(("-C", "--cd", "--worktree", "--add-dir"), _PLACE),
        **dict.fromkeys(("--json", "-o", "--output-last-message", "--ephemeral"), RECORD),
        "--ignore-user-config": "that config has the gateway's address",
        "--strict-config": "it is set already if there are settings",
        **dict.fromkeys(("-i", "--image"), "name the file in the task's instruction"),
        "--search": "agents have no network",
    },
    refused_settings={
        **dict.fromkeys(("model", "review_model", "oss_provider"), MODEL),
        **dict.fromkeys(("model_provider", "model_providers"), _GATEWAY),
        **dict.fromkeys(("openai_base_url", "chatgpt_base_url"), _GATEWAY),
        **dict.fromkeys(("profile", "profiles"), "put the keys themselves under settings"),
        **dict.fromkeys(("sandbox_mode", "sandbox_workspace_write"), CONTAINER),
        **dict.fromkeys(("approval_policy", "default_permissions", "projects"), CONTAINER),
        **dict.fromkeys(("history", "log_dir", "sqlite_home", "otel", "analytics"), RECORD),
        "model_reasoning_effort": "use options.effort",
        "mcp_servers": "use options.mcp_servers",
        "check_for_update_on_startup": "the version is fixed by harness.version",
        "forced_login_method": "the rollout uses a key of its own",
        "cli_auth_credentials_store": "the rollout uses a key of its own",
    },
)

_TERMINAL: dict[str, Any] = {
    "tui": {"animations": False, "show_tooltips": False},
    # There is nobody to ask.
    **_TOOLS["request_user_input"],
}

TERMINAL_PROFILE = TerminalProfile(
    ready=r"permissions: YOLO mode",
    busy=r"\([\dhms ]+ • esc to interrupt\)",
    exit_hint=r"again to (exit|quit)",
    goodbye=r"^To continue this session, run:",
    question=r"[Pp]ress enter to|enter (select|continue)",
    cursor="›",
    pages=(
        Page("Do you trust", "Yes"),
        Page("Trust this folder", "Trust and continue"),
        Page("Would you like to (run|make)", "Yes"),
        Page("Choose what happens to the current task", "Exit +Stop"),
        Page("Update available", "Skip"),
        Page("Introducing|[Tt]ry new model", ".*existing model"),
    ),
)


def _provided(model: str, base_url: str) -> dict[str, Any]:
    """The settings by which it reaches the gateway and nothing else."""
    return {
        "model": model,
        "model_provider": "gateway",
        "check_for_update_on_startup": False,
        "analytics": {"enabled": False},
        "skills": {"bundled": {"enabled": False}},
        "model_providers": {
            "gateway": {
                "name": "gateway",
                "base_url": base_url,
                "env_key": "GATEWAY_TOKEN",
                "wire_api": "responses",
            }
        },
    }


@dataclass(frozen=True)
class Codex:
    """See :class:`harnesses.agents.cli_agent.CliAgent`."""

    toolchain: Toolchain
    options: Options = Options()
    name: str = "codex"
    folders: Folders = FOLDERS
    transcripts: str = ".codex/sessions/*/*/*/rollout-*.jsonl"
    starts_tools_early: bool = False
    terminal_profile: TerminalProfile = TERMINAL_PROFILE

    def launch(self, request: Request, token: str, base_url: str, mode: Mode) -> Launch:
        batch = mode == "batch"
        common = [
            "--dangerously-bypass-approvals-and-sandbox",
            *(["--strict-config"] if self.options.settings else []),
            *arguments(self.options.flags, RULES),
        ]
        place = ["-C", request.workdir]
        exec_ = ["exec", "--json", "--skip-git-repo-check", *common]
        shown = [f"--image={request.workdir}/{name}" for name in request.pictures]
        first = [self.toolchain.binary, *exec_, *place, *shown, "--", request.instruction]
        resume = [self.toolchain.binary, *exec_, "resume", "--last", "--"]
        commands = [first, *([*resume, prompt] for prompt in request.follow_ups)]
        if not batch:
            # A background server would do the work, and outlive the terminal.
            commands = [[self.toolchain.binary, "--no-daemon", *common, *place]]
        env = {
            "CODEX_HOME": f"{HOME}/.codex",
            "GATEWAY_TOKEN": token,
        }
        config = self._config(request.model.name, f"{base_url}/v1")
        if not batch:
            env |= TERMINAL_ENV
            config = merged(_TERMINAL, config)
        files = {".codex/config.toml": to_toml(config)}
        return Launch(commands, env, files, f"{self.toolchain.target}/codex-path")

    def _config(self, model: str, base_url: str) -> dict[str, Any]:
        options = self.options
        config = _provided(model, base_url)
        if options.effort is not None:
            config["model_reasoning_effort"] = options.effort
        if options.mcp_servers:
            servers = options.mcp_servers.items()
            config["mcp_servers"] = {name: server.model_dump() for name, server in servers}
        for tool, without in _TOOLS.items():
            if options.allowed_tools is not None and tool not in options.allowed_tools:
                config = merged(config, without)
        return merged(config, options.settings)

    def complaint(self, stdout: str) -> str:
        return _complaint(stdout)


def _complaint(stdout: str) -> str:
    failure = ""
    for event in events(stdout):
        if event.get("type") == "turn.failed":
            failure = text_at(event, "error", "message") or "a turn failed without a reason"
        elif event.get("type") == "turn.completed":
            failure = ""
    return failure


_NO_SYSTEM = "Reply to the message."
"""In place of an empty system prompt: the program refuses an empty file of instructions."""
_BARE: dict[str, Any] = {
    "model_instructions_file": f"{HOME}/{SYSTEM_FILE}",
    "include_permissions_instructions": False,
    "include_apps_instructions": False,
    "include_environment_context": False,
    "features": dict.fromkeys(("apps", "plugins", "tool_search"), False),
}


def _asked(toolchain: Toolchain, question: Question) -> Launch:
    """Measured with 0.171.0: 2.9 kB of its own. ``apply_patch`` remains, and of some models all
    tools; the sandbox has nothing that they could be used on."""
    config = _provided(question.model, f"{question.base_url}/v1") | _BARE
    for without in _TOOLS.values():
        config = merged(config, without)
    idle = {"stream_idle_timeout_ms": int(question.silence_s * 1000)}
    config = merged(config, {"model_providers": {"gateway": idle}})
    command = [toolchain.binary, "exec", "--json", "--skip-git-repo-check"]
    files = {
        ".codex/config.toml": to_toml(config),
        SYSTEM_FILE: question.system if question.system.strip() else _NO_SYSTEM,
        PROMPT_FILE: question.prompt,
    }
    if question.schema is not None:
        command += ["--output-schema", f"{HOME}/{SCHEMA_FILE}"]
        files[SCHEMA_FILE] = json.dumps(strict(question.schema))
    env = {"CODEX_HOME": f"{HOME}/.codex", "GATEWAY_TOKEN": question.token}
    started = ["sh", "-c", f'exec "$@" - < {HOME}/{PROMPT_FILE}', "sh", *command]
    return Launch([started], env, files, f"{toolchain.target}/codex-path")


def strict(schema: Any) -> Any:
    """A JSON schema as Codex's own service takes it: objects have all of their properties and no
    others, and nothing has a default or stands beside a reference."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    names = schema.get("properties")
    found = {key: strict(value) for key, value in schema.items() if key != "default"}
    if isinstance(names, dict):
        # Properties are called as they like, also as a keyword is.
        found["properties"] = {name: strict(value) for name, value in names.items()}
        found |= {"required": list(names), "additionalProperties": False}
    return found


def _replied(stdout: str) -> str:
    if failure := _complaint(stdout):
        raise AgentReportedError(failure)
    found = [event.get("item") for event in events(stdout) if event.get("type") == "item.completed"]
    said = [item for item in found if text_at(item, "type") == "agent_message"]
    ended = any(event.get("type") == "turn.completed" for event in events(stdout))
    if not said and not ended:
        raise AgentReportedError("no reply was printed")
    return text_at(said[-1], "text") if said else ""


KIND = AgentKind(Codex, toolchain, RULES, FOLDERS, Asking(_asked, _replied, most_chars=1_048_576))
