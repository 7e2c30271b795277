"""What the optimizer is told of the agent, and how much it is shown of each rollout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.resources import resource
from skillopt.core.types import Edit
from skillopt.run.state import State
from skillopt.training.shown import agent_paragraph, earlier, silence_of, trajectory_tokens
from tests.helpers.values import SKILL, a_task


def a_config(shipped: str = "codex", **settings: Any) -> Config:
    path = resource("configs") / "quickstart" / f"{shipped}.yaml"
    return load_config(path, Config, settings)


@pytest.mark.parametrize(
    ("shipped", "settings", "question", "parts"),
    [
        ("codex", {}, False, ["Codex CLI with the model sim-1.", "name and description",
                              "all hidden checks of its task pass", "share of solved tasks"]),
        ("claude-code", {"harness.mount": "instructions"}, False,
         ["Claude Code", "always reads"]),
        ("direct", {}, False, ["Direct chat", "whole skill stands before each request"]),
        ("direct", {}, True, ["It has no tools.", "answer is judged right"]),
        ("codex", {"gate.metric": "soft"}, False, ["mean reward"]),
        ("codex", {"gate.metric": "mixed", "gate.mix": 0.25}, False, ["0.25 times", "0.75 if"]),
    ],
)  # fmt: skip
def test_the_agent_is_told(
    shipped: str, settings: dict[str, Any], question: bool, parts: list[str]
) -> None:
    task = replace(a_task(), question=question)
    text = agent_paragraph(a_config(shipped, **settings), {"train": [task]})
    assert all(part in text for part in parts), text
    assert ("no tools" in text) == question


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({}, 3000),
        ({"optimizer.trajectory_tokens": 5000}, 5000),
        ({"optimizer.context_tokens": 200_000}, 3000),
        ({"optimizer.context_tokens": 16_000}, 1850),
        ({"optimizer.context_tokens": 16_000, "train.minibatch": 2}, 3000),
        ({"optimizer.context_tokens": 16_000, "optimizer.trajectory_tokens": 500}, 500),
        ({"optimizer.context_tokens": 4_000}, 200),
        ({"upstreams.sim": {"kind": "llamacpp", "context": 16_000}}, 1850),
    ],
)
def test_a_minibatch_fits_into_the_context(settings: dict[str, Any], tokens: int) -> None:
    assert trajectory_tokens(a_config(**settings), 2000) == tokens


def test_a_reply_may_think_for_half_an_hour_or_as_long_as_services_are_waited_for() -> None:
    assert silence_of(a_config()) == 1800
    assert silence_of(a_config(patience=5)) == 5
    assert silence_of(a_config(**{"optimizer.timeout_s": 7200})) == 7200


def test_proposals_that_the_skill_has_by_now_are_not_shown() -> None:
    state = State(
        untried=(Edit("append", content="- Read the request first."), Edit("delete", "x"))
    )
    shown = earlier(state, 3, 2, SKILL)
    assert shown["untried"] == (Edit("delete", "x"),) and shown["memory"] == ()
