"""EvoSkill asks and decides in the order of the published code."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from skillopt import Plugins, train
from skillopt.config.inputs import read_config
from skillopt.methods.evoskill import Member, _entered, _sampled
from tests.helpers.conversation import Says, order_of
from tests.helpers.tiny import Tiny, tiny
from tests.helpers.values import SKILL, a_task

__all__ = ["tiny"]

FIXTURE = json.loads((Path(__file__).parent / "fixtures" / "evoskill.json").read_text())
SETTINGS: dict[str, Any] = {"kind": "evoskill", "frontier": 2, "patience": 2}


def form(body: str) -> str:
    return f"Here:\n<NEW_SKILL>\n{body}\n</NEW_SKILL>"


@pytest.mark.slow
def test_the_order_of_calls_and_decisions_is_that_of_the_published_code(tiny: Tiny) -> None:
    said = ["Create a rule.", form("# Rules\n- rule 0"), "", " ", "", "Again.", form("# Rules")]
    says = Says(lambda prompt: said.pop(0))
    tiny.write(method=SETTINGS, optimizer={"upstream": "says", "name": "m"})
    tiny.write(upstreams__says={"kind": "sim"})
    result = train(read_config(tiny.config), plugins=Plugins(upstreams={"says": says}))
    assert order_of(tiny.run) == FIXTURE["order"]
    assert "- rule 0" in result.best.body
    assert tiny.summary["stopped"] == ("2 iterations in a row without a new member of the frontier")
    proposals = [prompt for prompt in says.prompts if "<NEW_SKILL>" not in prompt]
    assert "Earlier proposals" not in proposals[0]
    assert len(proposals) == 1 + 3 + 1
    # Only what was scored is in the history.
    assert "Proposal 1, improved (0.333 on the selection tasks" in proposals[-1]
    assert "Proposal 2" not in proposals[-1]


@pytest.mark.slow
@pytest.mark.parametrize("reply", ["no tags", " ", "<NEW_SKILL>cut"])
def test_a_generator_that_writes_nothing_leaves_the_parent(tiny: Tiny, reply: str) -> None:
    """The child is scored as it is, and may enter the frontier, where it changes nothing."""
    says = Says(lambda prompt: reply if "<NEW_SKILL>" in prompt else "Create a rule.")
    tiny.write(method={**SETTINGS, "iterations": 1}, optimizer={"upstream": "says", "name": "m"})
    tiny.write(upstreams__says={"kind": "sim"})
    result = train(read_config(tiny.config), plugins=Plugins(upstreams={"says": says}))
    assert result.best == result.initial and len(says.prompts) == 2
    (row,) = result.history
    assert "number 2 of the frontier" in row["gate"] and row["optimizer_errors"]
    assert result.summary["rollouts_asked"] == 3 + 2  # Its scores are known.


@pytest.mark.slow
def test_solved_tasks_are_no_reason_to_propose(tiny: Tiny) -> None:
    rules = "".join(f"- rule {number}\n" for number in range(3))
    tiny.put("my-skill/SKILL.md", f"---\nname: my-skill\ndescription: d\n---\n\n{rules}")
    says = Says(lambda prompt: "never")
    tiny.write(method={**SETTINGS, "iterations": 3}, optimizer={"upstream": "says", "name": "m"})
    tiny.write(upstreams__says={"kind": "sim"})
    result = train(read_config(tiny.config), plugins=Plugins(upstreams={"says": says}))
    assert says.prompts == [] and result.summary["steps"] == 3
    assert result.summary["stopped"] == "all iterations are done"


def test_tasks_come_from_the_families_in_turn() -> None:
    tasks = [a_task(f"{f}{n}", "Do.", f) for f, count in (("b", 3), ("a", 1), ("c", 2), ("d", 2))
             for n in range(count)]  # fmt: skip
    rounds = itertools.islice(_sampled(tasks, 3, 2), 4)
    assert [[task.name for task in found] for found in rounds] == [
        ["a0", "b0", "b1", "c0", "c1"],
        ["d0", "d1", "a0", "b2", "b0"],
        ["c0", "c1", "d0", "d1", "a0"],
        ["b1", "b2", "c0", "c1", "d0", "d1"],
    ]


def test_the_frontier_takes_what_beats_its_worst_or_finds_room() -> None:
    frontier = [Member(SKILL, 0.5)]
    for score, enters, scores in [
        (0.2, True, [0.5, 0.2]),
        (0.5, True, [0.5, 0.5, 0.2]),
        (0.2, False, [0.5, 0.5, 0.2]),
        (0.3, True, [0.5, 0.5, 0.3]),
        (0.9, True, [0.9, 0.5, 0.5]),
    ]:
        assert _entered(frontier, Member(SKILL, score), 3) is enters
        assert [one.score for one in frontier] == scores
