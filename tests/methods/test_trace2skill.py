"""Trace2Skill asks and decides in the order of the published code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from skillopt import Plugins, train
from skillopt.config.inputs import read_config
from tests.helpers.conversation import Says, order_of
from tests.helpers.tiny import Tiny, tiny

__all__ = ["tiny"]

pytestmark = pytest.mark.slow

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "trace2skill.json").read_text())


def model() -> Says:
    """An edit for each run; the first merge leaves out one of the three, the second none."""
    merges = [2, 3]

    def answer(prompt: str) -> str:
        if '"title": "Merge"' in prompt:
            kept = range(1, merges.pop(0) + 1)
            edits = [{"sources": [number], "content": ""} for number in kept]
            return json.dumps({"reasoning": "", "edits": edits})
        found = re.search(r"Do train-(\d)", prompt)
        assert found is not None and '"title": "FailureReflection"' in prompt
        edit = {
            "reason": "r", "kind": "append", "target": "", "content": f"- rule {found[1]}",
            "file": "", "runs": [1],
        }  # fmt: skip
        return json.dumps({"reasoning": "", "failure_types": [], "edits": [edit]})

    return Says(answer)


def test_the_order_of_calls_and_decisions_is_that_of_the_published_code(tiny: Tiny) -> None:
    tiny.write(
        method={"kind": "trace2skill", "skills": 2},
        optimizer={"upstream": "says", "name": "m"},
        upstreams__says={"kind": "sim"},
    )
    result = train(read_config(tiny.config), plugins=Plugins(upstreams={"says": model()}))
    assert order_of(tiny.run) == FIXTURE["order"]
    # The second one solves all training tasks, the first two of them.
    assert result.best.body.count("- rule") == 3
    assert [row["edits_applied"] for row in result.history] == [2, 3]
    assert [row["gate"] for row in result.history] == [
        "0.667 on the training tasks", "1.000 on the training tasks"
    ]  # fmt: skip


def test_the_budget_leaves_what_was_made(tiny: Tiny) -> None:
    says = model()
    tiny.write(
        method={"kind": "trace2skill", "skills": 2, "rollouts": 4},
        optimizer={"upstream": "says", "name": "m"},
        upstreams__says={"kind": "sim"},
    )
    result = train(read_config(tiny.config), plugins=Plugins(upstreams={"says": says}))
    assert result.summary["stopped"] == (
        "method.rollouts: 6 of 4 rollouts asked for, 2 more than allowed"
    )
    assert result.best.body.count("- rule") == 2
