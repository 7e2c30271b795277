"""Claude Code CLI (npm ``@anthropic-ai/claude-code``); in batch mode ``claude -p``."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from harnesses.agents.cli_agent import (
    HOME,
    PROMPT_FILE,
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
from harnesses.agents.toolchains import NpmBuild, Toolchain
from harnesses.base import Mode, Request
from harnesses.gateway.plan_upstreams import ProgramToken

VERSION = "2.1.332"


def toolchain(version: str | None = None) -> Toolchain:
    """See :class:`harnesses.agents.cli_agent.AgentKind`."""
    chosen = version or VERSION
    return Toolchain(
        name="claude-code",
        version=chosen,
        npm=lambda architecture: NpmBuild(
            f"@anthropic-ai/claude-code-linux-{architecture}", chosen
        ),
        keep=("claude",),
        program="claude",
        released_as="@anthropic-ai/claude-code",
    )


FOLDERS = Folders(
    own=".claude",
    variable="CLAUDE_CONFIG_DIR",
    instructions="CLAUDE.md",
    project=(".claude/skills",),
    loads=SkillRules(hides_disabled=True),
)

MODEL_VARIABLES = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)
"""Variables that give side requests and sub-agents the rollout's model: its token works for no
other."""

KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
"""Variables with a key, or with another token than that of a plan."""

HELD_MS = str(7 * 24 * 3600 * 1000)
"""How long a call may be held that waits for a window of a plan; JavaScript's timers take 24 days.
"""

MCP_FILE = ".claude/mcp-servers.json"

_KEY = "the rollout uses a key of its own, through the gateway"
_NETWORK = "agents have no network"
_SKILL = "the skill would not be found"

RULES = Rules(
    efforts=("low", "medium", "high", "xhigh", "max"),
    tools=(
        "Agent", "Artifact", "AskUserQuestion", "Bash", "CronCreate", "CronDelete", "CronList",
        "Edit", "EnterPlanMode", "EnterWorktree", "ExitPlanMode", "ExitWorktree", "Glob", "Grep",
        "LSP", "ListAgents", "Monitor", "NotebookEdit", "Read", "ReportFindings", "ScheduleWakeup",
        "SendMessage", "Skill",
        "TaskCreate", "TaskGet", "TaskList", "TaskOutput", "TaskStop", "TaskUpdate", "TodoWrite",
        "ToolSearch", "WebFetch", "WebSearch", "Workflow", "Write",
    ),
    skill_tool="Skill",
    flags={
        **dict.fromkeys(("--append-system-prompt", "--system-prompt"), True),
        **dict.fromkeys(("--agents", "--agent", "--betas", "--plugin-dir"), True),
        **dict.fromkeys(("--disallowedTools", "--disallowed-tools"), True),
        **dict.fromkeys(("--max-budget-usd", "--json-schema"), True),
        **dict.fromkeys(("--brief", "--exclude-dynamic-system-prompt-sections"), False),
    },
    batch_flags=("--max-budget-usd", "--json-schema"),
    refused_flags={
        **dict.fromkeys(("--model", "--fallback-model"), MODEL),
        **dict.fromkeys(("--bare", "--safe-mode", "--disable-slash-commands"), _SKILL),
        **dict.fromkeys(("--setting-sources", "--add-dir"), _SKILL),
        **dict.fromkeys(("--permission-mode", "--dangerously-skip-permissions"), CONTAINER),
        "--allow-dangerously-skip-permissions": CONTAINER,
        **dict.fromkeys(("-p", "--print", "--verbose", "--output-format"), RECORD),
        **dict.fromkeys(("--input-format", "--include-partial-messages"), RECORD),
        **dict.fromkeys(("--include-hook-events", "--replay-user-messages"), RECORD),
        **dict.fromkeys(("-d", "--debug", "--debug-file", "--no-session-persistence"), RECORD),
        **dict.fromkeys(("-c", "--continue", "-r", "--resume", "--fork-session"), RECORD),
        **dict.fromkeys(("--session-id", "--bg", "--background", "-n", "--name"), RECORD),
        **dict.fromkeys(("--from-pr", "--remote-control", "--chrome", "--ide"), _NETWORK),
        **dict.fromkeys(("--plugin-url", "--file"), _NETWORK),
        **dict.fromkeys(("-w", "--worktree", "--tmux"), "the task's working directory is used"),
        "--settings": "put its keys under settings, where they are checked",
        "--mcp-config": "use options.mcp_servers",
        "--strict-mcp-config": "it is set already if there are options.mcp_servers",
        "--effort": "use options.effort",
        **dict.fromkeys(("--tools", "--allowedTools", "--allowed-tools"), "use allowed_tools"),
    },
    # The agent silently ignores settings that it does not know.
    settings=(
        "agent", "alwaysThinkingEnabled", "attribution", "autoCompactEnabled", "autoCompactWindow",
        "claudeMdExcludes", "defaultShell", "disableAllHooks", "disableArtifact",
        "disableBundledSkills", "disableSkillShellExecution", "disableWorkflows", "env",
        "fileCheckpointingEnabled", "hooks", "includeCoAuthoredBy", "includeGitInstructions",
        "language", "outputStyle", "permissions", "precomputeCompactionEnabled",
        "respectGitignore", "showThinkingSummaries", "skillListingBudgetFraction",
        "skillListingMaxDescChars", "skillOverrides", "skipWebFetchPreflight",
        "todoFeatureEnabled", "totalTokensReminder", "totalTokensReminderBudget",
    ),
    refused_settings={
        **dict.fromkeys(("model", "modelOverrides", "availableModels"), MODEL),
        **dict.fromkeys(("fallbackModel", "advisorModel"), MODEL),
        **dict.fromkeys(("apiKeyHelper", "proxyAuthHelper", "awsAuthRefresh"), _KEY),
        **dict.fromkeys(("awsCredentialExport", "gcpAuthRefresh", "forceLoginMethod"), _KEY),
        **dict.fromkeys(("sandbox", "permissions.defaultMode"), CONTAINER),
        "permissions.disableBypassPermissionsMode": CONTAINER,
        **dict.fromkeys(("cleanupPeriodDays", "otelHeadersHelper"), RECORD),
        **dict.fromkeys(("enabledPlugins", "extraKnownMarketplaces"), _NETWORK),
        **dict.fromkeys(("autoMemoryEnabled", "autoMemoryDirectory"),
                        "rollouts must not learn from each other"),
        "effortLevel": "use options.effort",
    },
    settings_env=(
        "BASH_DEFAULT_TIMEOUT_MS", "BASH_MAX_OUTPUT_LENGTH", "BASH_MAX_TIMEOUT_MS",
        "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE", "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS", "ENABLE_TOOL_SEARCH", "MAX_MCP_OUTPUT_TOKENS",
        "MAX_THINKING_TOKENS", "MCP_TIMEOUT", "MCP_TOOL_TIMEOUT",
    ),
)  # fmt: skip


ASKING = ("AskUserQuestion", "EnterPlanMode", "ExitPlanMode")
"""Tools that wait for a person, which batch mode does not offer either."""

TERMINAL_PROFILE = TerminalProfile(
    ready=r"bypass permissions on",
    busy=r"^  (\S.* · )?esc to interrupt",
    exit_hint=r"again to (exit|quit)",
    goodbye=r"^Resume this session with:",
    question=r"Enter to confirm|Esc to cancel",
    cursor="❯",
    pages=(
        Page("Is this a project you created or one you trust", "Yes, I trust"),
        Page("in Bypass Permissions mode", "Yes, I accept"),
        Page("Do you want to ", "Yes"),
        Page("Choose the text style", r"Dark mode\s*(✔\s*)?$"),
        Page("Use Claude Code's terminal setup", r"No\b"),
    ),
)


def _started(token: str, workdir: str) -> dict[str, Any]:
    """The state of an earlier start, without which the agent would begin by calling its vendor and
    by asking whether the working directory is trusted."""
    key = {"approved": [token[-20:]], "rejected": []}
    project = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    return {
        "hasCompletedOnboarding": True,
        "customApiKeyResponses": key,
        "projects": {workdir: project},
    }


def _environment(model: str, token: str, base_url: str) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": token,
        "CLAUDE_CONFIG_DIR": f"{HOME}/.claude",
        # Rollouts must not learn from each other.
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        # Not every model service knows tools that are loaded later; settings.env can allow it.
        "ENABLE_TOOL_SEARCH": "false",
        **dict.fromkeys(MODEL_VARIABLES, model),
    }


def _on_plan(launch: Launch, token: ProgramToken, base_url: str) -> Launch:
    """Any key would come before the token (code.claude.com/docs/en/authentication)."""
    env = {name: value for name, value in launch.env.items() if name not in KEYS}
    env |= {"ANTHROPIC_BASE_URL": base_url, token.variable: token.value}
    # The gateway holds a call until a window has reset. 2.1.332 would ask anew after 6 minutes.
    env |= dict.fromkeys(("API_TIMEOUT_MS", "CLAUDE_STREAM_IDLE_TIMEOUT_MS"), HELD_MS)
    return replace(launch, env=env, unset=KEYS)


@dataclass(frozen=True)
class ClaudeCode:
    """See :class:`harnesses.agents.cli_agent.CliAgent`."""

    toolchain: Toolchain
    options: Options = Options()
    name: str = "claude-code"
    folders: Folders = FOLDERS
    transcripts: str = ".claude/projects/**/*.jsonl"
    starts_tools_early: bool = False
    terminal_profile: TerminalProfile = TERMINAL_PROFILE

    def launch(self, request: Request, token: str, base_url: str, mode: Mode) -> Launch:
        env = _environment(request.model.name, token, base_url)
        if request.root:
            env["IS_SANDBOX"] = "1"  # Without it, root is refused.
        settings = dict(self.options.settings)
        if mode == "interactive":
            # Answers the page about it beforehand.
            settings["skipDangerousModePermissionPrompt"] = True
        files = {".claude/settings.json": json.dumps(settings) + "\n"}
        if self.options.mcp_servers:
            servers = self.options.mcp_servers.items()
            config = {"mcpServers": {name: server.model_dump() for name, server in servers}}
            files[MCP_FILE] = json.dumps(config)
        if mode == "interactive":
            env |= TERMINAL_ENV | {"DISABLE_INSTALLATION_CHECKS": "1"}
            files[".claude/.claude.json"] = json.dumps(_started(token, request.workdir))
        return Launch(self._commands(request, mode), env, files, self.toolchain.target)

    def on_plan(self, launch: Launch, token: ProgramToken, base_url: str) -> Launch:
        """See :class:`harnesses.agents.cli_agent.PlanAgent`."""
        return _on_plan(launch, token, base_url)

    def _commands(self, request: Request, mode: Mode) -> list[list[str]]:
        model = ["--model", request.model.name]
        common = [self.toolchain.binary, "--dangerously-skip-permissions", *model]
        common += self._arguments()
        if mode == "interactive":
            return [[*common, f"--disallowedTools={','.join(ASKING)}"]]
        batch = [*common, "--output-format", "stream-json", "--verbose"]
        first, *others = request.prompts
        resumed = [[*batch, "--continue", "-p", "--", prompt] for prompt in others]
        return [[*batch, "-p", "--", first], *resumed]

    def _arguments(self) -> list[str]:
        options = self.options
        found = arguments(options.flags, RULES)
        if options.effort is not None:
            found.append(f"--effort={options.effort}")
        if options.allowed_tools is not None:
            found.append(f"--tools={','.join(options.allowed_tools)}")
        if options.mcp_servers:
            found += [f"--mcp-config={HOME}/{MCP_FILE}", "--strict-mcp-config"]
        return found

    def complaint(self, stdout: str) -> str:
        results = [event for event in events(stdout) if event.get("type") == "result"]
        if not results:
            return "no result event was printed"
        if not results[-1].get("is_error"):
            return ""
        return text_at(results[-1], "result") or "an error without a text"


_SCHEMA_BYTES = 120_000
"""The longest schema that is given as an argument, which Linux limits to 128 KiB."""


def _asked(toolchain: Toolchain, question: Question) -> Launch:
    """Measured with 2.1.332: one request, the schema in it as a tool's, and 2.5 kB of its own."""
    command = [toolchain.binary, "-p", "--model", question.model, "--output-format", "json"]
    command += ["--tools", "", "--system-prompt-file", f"{HOME}/{SYSTEM_FILE}"]
    command += ["--disable-slash-commands", "--strict-mcp-config", "--setting-sources", ""]
    command += ["--no-session-persistence"]
    schema = json.dumps(question.schema) if question.schema is not None else ""
    if schema and len(schema.encode()) <= _SCHEMA_BYTES:
        command += ["--json-schema", schema]
    env = _environment(question.model, question.token, question.base_url)
    env["API_TIMEOUT_MS"] = str(int(question.silence_s * 1000))
    env["CLAUDE_STREAM_IDLE_TIMEOUT_MS"] = env["API_TIMEOUT_MS"]
    # Whoever asked reads what does not fit to the letter, and asks again.
    env["MAX_STRUCTURED_OUTPUT_RETRIES"] = "1"
    files = {SYSTEM_FILE: question.system, PROMPT_FILE: question.prompt}
    return Launch([["sh", "-c", f'exec "$@" < {HOME}/{PROMPT_FILE}', "sh", *command]], env, files)


def _replied(stdout: str) -> str:
    """A reply by the schema is in a field of its own, which is not there if the model ended with
    a text; then the exit code is 0 too, and the text may have what was asked for."""
    results = [event for event in events(stdout) if event.get("type") == "result"]
    last = results[-1] if results else {"is_error": True, "result": "no result was printed"}
    if last.get("structured_output") is not None:
        return json.dumps(last["structured_output"])
    gave_up = last.get("subtype") == "error_max_structured_output_retries"
    if last.get("is_error") and not gave_up:  # What does not fit is for whoever asked.
        raise AgentReportedError(text_at(last, "result") or f"an error: {last.get('subtype')}")
    return text_at(last, "result")


KIND = AgentKind(
    ClaudeCode, toolchain, RULES, FOLDERS, Asking(_asked, _replied, 2_500_000, _on_plan)
)
