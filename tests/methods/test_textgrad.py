"""TextGrad asks and decides in the order of the published code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt import Plugins, train
from skillopt.config.inputs import read_config
from tests.helpers.conversation import Says, order_of
from tests.helpers.tiny import Tiny, tiny

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "textgrad.json").read_text())
REWRITES = (
    "<IMPROVED_VARIABLE>\n# Rules\n- rule 0\n</IMPROVED_VARIABLE>",
    "<IMPROVED_VARIABLE># Rules</IMPROVED_VARIABLE>",
    "I think this is better: <IMPROVED_VARIABLE>\n# Rules\n- rule 1\n</IMPROVED_VARIABLE>",
    "# Rules\n- rule 2",
)


def model() -> Says:
    """Says the rewrites in their order, and criticism in between."""
    left = list(REWRITES)

    def answer(prompt: str) -> str:
        return left.pop(0) if "<IMPROVED_VARIABLE>" in prompt else "It lacks a rule."

    return Says(answer)


def run(tiny: Tiny, **method: Any) -> Says:
    """Train with the conversation of the fixture."""
    says = model()
    tiny.write(method={"kind": "textgrad", "batch_size": 2, "epochs": 2, **method})
    tiny.write(optimizer={"upstream": "says", "name": "m"}, upstreams__says={"kind": "sim"})
    result = train(read_config(tiny.config), plugins=Plugins(upstreams={"says": says}))
    assert result.done
    return says


def test_the_order_of_calls_and_decisions_is_that_of_the_published_code(tiny: Tiny) -> None:
    says = run(tiny)
    assert order_of(tiny.run) == FIXTURE["order"]
    # The last rewrite that was kept, though the one before scored the same.
    assert "- rule 1" in (tiny.run / "best_skill.md").read_text()
    updates = [prompt for prompt in says.prompts if "<IMPROVED_VARIABLE>" in prompt]
    assert "# Rules\n- rule 0" in updates[1] and "# Rules\n- rule 0" in updates[2]  # It was undone.
    assert all(prompt.count("It lacks a rule.") in (1, 2) for prompt in updates)
    errors = tiny.events("noted")
    assert [e["step"] for e in errors if "no <IMPROVED_VARIABLE> tags" in e["text"]] == [4]


def test_without_validation_nothing_is_selected(tiny: Tiny) -> None:
    run(tiny, validation=False)
    assert [entry[1] for entry in order_of(tiny.run) if len(entry) == 2] == ["skip"] * 4 + [5]
    assert not [entry for entry in order_of(tiny.run) if "gate" in entry]
    assert "- rule 1" in (tiny.run / "best_skill.md").read_text()


def test_the_budget_ends_it_before_a_step(tiny: Tiny) -> None:
    run(tiny, rollouts=7)
    assert tiny.summary["stopped"] == (
        "method.rollouts: 8 of 7 rollouts asked for, 1 more than allowed"
    )
    assert tiny.summary["rollouts_asked"] == 8 and tiny.summary["steps"] == 1
