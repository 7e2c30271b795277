"""Options of agent programs: what is taken, and what is refused with the reason."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harnesses.agents.toml import to_toml
from skillopt.config.loading import ConfigError, load_config
from skillopt.config.schema import HarnessConfig
from tests.helpers.small import small_config, small_set

TAKEN: list[tuple[str, dict[str, Any]]] = [
    ("codex", {"effort": "low", "allowed_tools": ["shell"]}),
    ("codex", {"flags": ["--enable", "goals", "--output-schema=schema.json", "--ignore-rules"]}),
    ("codex", {"settings": {"features": {"goals": False}, "model_verbosity": "low"}}),
    ("codex", {"mcp_servers": {"calc": {"command": "python3", "args": ["s.py"]}}}),
    ("claude-code", {"effort": "max", "allowed_tools": ["Bash", "Skill"]}),
    ("claude-code", {"flags": ["--append-system-prompt", "Be brief.", "--brief"]}),
    ("claude-code", {"flags": ["--system-prompt=-- be brief"]}),
    ("claude-code", {"settings": {"permissions": {"deny": ["WebFetch"]}}}),
    ("opencode", {"effort": "high", "allowed_tools": ["bash", "skill"]}),
    ("opencode", {"flags": ["--agent", "plan"], "settings": {"compaction": {"auto": False}}}),
    ("claude-code", {"settings": {"env": {"BASH_MAX_TIMEOUT_MS": "1000"}}}),
]


@pytest.mark.parametrize(("name", "options"), TAKEN)
def test_what_is_sensible_is_taken(name: str, options: dict[str, Any]) -> None:
    taken = HarnessConfig.model_validate({"name": name, "options": options}).options
    assert taken.model_dump(mode="json", exclude_unset=True).keys() == options.keys()


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("direct", {"effort": "low"}, "options: are for codex, claude-code, opencode only"),
    (
        "my_module:MyHarness",
        {"effort": "low"},
        "options: are for codex, claude-code, opencode only",
    ),
    ("codex", {"effort": "hihg"}, "options.effort: 'hihg' is not allowed; did you mean 'high'"),
    ("claude-code", {"effort": "minimal"}, "options.effort: 'minimal' is not allowed"),
    ("codex", {"allowed_tools": ["Bash"]}, "options.allowed_tools: 'Bash' is not allowed"),
    ("codex", {"allowed_tools": ["goals"]}, "without 'shell' no mounted skill can be opened"),
    ("claude-code", {"allowed_tools": ["Bash"]}, "without 'Skill' no mounted skill"),
    ("claude-code", {"allowed_tools": ["Bsh", "Skill"]}, "did you mean 'Bash'"),
    ("codex", {"flags": ["-c", "model=x"]}, "flags: -c is refused: put it under settings"),
    ("codex", {"flags": ["--model=x"]}, "flags: --model is refused: the model is target.name"),
    ("codex", {"flags": ["-C", "/"]}, "flags: -C is refused: the agent works in the task's"),
    ("codex", {"flags": ["--oss"]}, "flags: --oss is refused: model calls go through the gateway"),
    ("codex", {"flags": ["--ephemeral"]}, "flags: --ephemeral is refused: what the agent prints"),
    ("codex", {"flags": ["hello"]}, "flags: 'hello' is not allowed; allowed: --dangerously"),
    ("codex", {"flags": ["--"]}, "flags: '--' is not allowed"),
    ("codex", {"flags": ["--enable"]}, "flags: --enable needs a value"),
    ("codex", {"flags": ["--enable", "--ignore-rules"]}, "flags: --enable needs a value"),
    ("codex", {"flags": ["--ignore-rules=yes"]}, "flags: --ignore-rules takes no value"),
    ("claude-code", {"flags": ["--bare"]}, "--bare is refused: the skill would not be found"),
    ("claude-code", {"flags": ["--output-format", "text"]}, "--output-format is refused"),
    ("claude-code", {"flags": ["--model", "opus"]}, "--model is refused"),
    ("claude-code", {"flags": ["--settings", "{}"]}, "--settings is refused: put its keys under"),
    ("claude-code", {"flags": ["--betaz", "x"]}, "did you mean '--betas'"),
    ("codex", {"settings": {"model_provider": "x"}}, "settings.model_provider: is refused"),
    ("codex", {"settings": {"model_providers": {"gateway": {"base_url": "http://x"}}}}, "refused"),
    ("codex", {"settings": {"sandbox_mode": "read-only"}}, "settings.sandbox_mode: is refused"),
    ("codex", {"settings": {"mcp_servers": {}}}, "is refused: use options.mcp_servers"),
    ("codex", {"settings": {"features.goals": True}}, "write keys nested, not with dots"),
    ("codex", {"settings": {"a": [{"b": yaml.safe_load("2026-01-01")}]}}, "date is no JSON value"),
    ("claude-code", {"settings": {"apiKeyHelper": "x"}}, "settings.apiKeyHelper: is refused"),
    ("claude-code", {"settings": {"permissions": {"defaultMode": "plan"}}}, "is refused"),
    ("claude-code", {"settings": {"hoks": {}}}, "settings: 'hoks' is not allowed; did you mean"),
    (
        "claude-code",
        {"settings": {"env": {"ANTHROPIC_BASE_URL": "http://x"}}},
        "settings.env: 'ANTHROPIC_BASE_URL' is not allowed",
    ),
    ("claude-code", {"settings": {"env": {"MCP_TIMEOUT": 3}}}, "settings.env: must map names"),
    ("opencode", {"allowed_tools": ["Bash", "skill"]}, "did you mean 'bash'"),
    ("opencode", {"flags": ["--session=x"]}, "--session is refused: what the agent prints"),
    ("opencode", {"settings": {"provider": {}}}, "settings.provider: is refused: model calls go"),
    ("opencode", {"settings": {"skills": {"urls": []}}}, "settings.skills.urls: is refused"),
    ("opencode", {"settings": {"plugins": []}}, "settings: 'plugins' is not allowed"),
    ("codex", {"mcp_servers": {"a.b": {"command": "x"}}}, "mcp_servers.a.b"),
    ("codex", {"mcp_servers": {"a": {"url": "http://x"}}}, "mcp_servers.a.url: unknown key"),
]


def test_the_terminal_is_for_programs_and_takes_no_flags_of_batch_mode() -> None:
    with pytest.raises(
        ValueError, match="mode: interactive is for codex, claude-code, opencode only"
    ):
        HarnessConfig.model_validate({"name": "direct", "mode": "interactive"})
    options = {"flags": ["--ignore-rules"]}
    HarnessConfig.model_validate({"name": "codex", "options": options})
    with pytest.raises(ValueError, match="--ignore-rules does nothing with mode: interactive"):
        HarnessConfig.model_validate({"name": "codex", "mode": "interactive", "options": options})


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_what_would_break_a_rollout_is_refused_with_the_reason(
    name: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"name": name, "options": options}))
    with pytest.raises(ConfigError) as caught:
        load_config(file, HarnessConfig)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(file))


def test_the_message_names_file_and_line(tmp_path: Path) -> None:
    small_set(tmp_path)
    with pytest.raises(ConfigError, match=r"codex.yaml:\d+: harness: options.flags: --json is"):
        small_config(tmp_path, "codex", **{"harness.options": {"flags": ["--json"]}})


scalars = st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3)
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_what_is_written_as_toml_reads_the_same(document: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(document)) == document
