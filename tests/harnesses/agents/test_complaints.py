"""What programs say of their own failures, in output that the agent can have written into."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harnesses.agents.cli_agent import CliAgent
from harnesses.agents.options import Options
from harnesses.agents.registry import CLI_AGENTS, agent_kind


def agent(name: str) -> CliAgent:
    kind = agent_kind(name)
    return kind.agent(kind.toolchain(None), Options())


def lines(*events: Any) -> str:
    return "a plain warning\n" + "\n".join(map(json.dumps, events)) + "\n"


CODEX = {"type": "turn.failed", "error": {"message": "no model"}}
CLAUDE = {"type": "result", "is_error": True, "result": "no model"}
OPENCODE = {"type": "error", "error": {"name": "APIError", "data": {"message": "no model"}}}


@pytest.mark.parametrize(
    ("name", "events", "said"),
    [
        ("codex", [CODEX], "no model"),
        ("codex", [CODEX, {"type": "turn.completed"}], ""),
        ("codex", [CODEX | {"error": "odd"}], "a turn failed without a reason"),
        ("codex", [], ""),
        ("claude-code", [CLAUDE], "no model"),
        ("claude-code", [CLAUDE, CLAUDE | {"is_error": False}], ""),
        ("claude-code", [CLAUDE | {"result": None}], "an error without a text"),
        ("claude-code", [], "no result event was printed"),
        ("opencode", [OPENCODE], "no model"),
        ("opencode", [OPENCODE, {"type": "step_finish"}], ""),
        ("opencode", [OPENCODE | {"error": {"name": "APIError", "data": 3}}], "APIError"),
        ("opencode", [OPENCODE | {"error": ["odd"]}], "an error without a name"),
        ("opencode", [], ""),
    ],
)
def test_the_error_that_a_program_reports_at_its_end(
    name: str, events: list[Any], said: str
) -> None:
    assert agent(name).complaint(lines(*events)) == said


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=5,
)
words = st.sampled_from(["error", "turn.failed", "turn.completed", "result", "step_finish"])
keys = st.sampled_from(["error", "data", "message", "result", "is_error", "name"])


@pytest.mark.parametrize("name", CLI_AGENTS)
@given(found=st.lists(st.tuples(words, st.dictionaries(keys, values, max_size=3)), max_size=4))
def test_nothing_that_an_agent_writes_there_breaks_it(name: str, found: list[Any]) -> None:
    told = lines(*({"type": word} | fields for word, fields in found))
    assert isinstance(agent(name).complaint(told), str)
    assert isinstance(agent(name).complaint("[" * 10_000 + told), str)
