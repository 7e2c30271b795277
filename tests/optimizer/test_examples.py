"""The stages for small models: worked examples, one for each mistake, asked for one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import BaseModel

from harnesses.protocols.base import Message
from skillopt.core.skill import Skill
from skillopt.core.types import Reward, Rollout
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.examples import Example, merge, rank, reflect
from skillopt.optimizer.model import OptimizerReplyError, ask_with_repair
from skillopt.optimizer.stages import make_stages
from skillopt.tasks.harbor import read_task
from tests.helpers.tasks import question
from tests.helpers.values import a_rollout

T = TypeVar("T", bound=BaseModel)
SKILL = Skill("word-kinds", "d", "# Kinds")
GOOD = {"op": "add", "input": "bread", "output": "food"}


class Model:
    """Answers with what a test says; keeps the prompts."""

    def __init__(self, *replies: object) -> None:
        self.replies = [json.dumps(r) if isinstance(r, dict) else str(r) for r in replies]
        self.asked: list[str] = []

    def ask(self, stage: str, about: str, system: str, prompt: str, schema: type[T]) -> T:
        def send(messages: Sequence[Message]) -> str:
            self.asked.append(messages[-1].text)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

        return ask_with_repair(send, system, prompt, schema)


def failed(folder: Path, number: int = 0, answer: str = "I am ready to help") -> Rollout:
    task = read_task(question(folder / f"q{number}"))
    return a_rollout(task, 0.0, answer=answer)


def briefing(model: Model, budget: int | None = 4, sees: bool = True) -> Briefing:
    return Briefing(SKILL, budget, model, sees_answers=sees)


def test_each_mistake_is_one_question_that_ends_with_what_is_to_be_answered(
    tmp_path: Path,
) -> None:
    model = Model(GOOD)
    solved = failed(tmp_path, 1).model_copy(update={"reward": Reward(1.0)})
    result = reflect([failed(tmp_path), solved], briefing(model))
    assert [call.error for call in result.calls] == [""]
    edit = result.value[0].edits[0]
    assert (edit.kind, edit.content) == ("append", "Input: bread\nOutput: food")
    lines = model.asked[0].strip().split("\n")
    # Nothing follows the mistake: a small model goes on with what it sees last.
    assert lines[-1] == 'A wrong answer was given to "bread". Right is "food".'
    assert json.loads(lines[1]) == {"op": "add", "input": "heron", "output": "animal"}
    assert "JSON schema" not in model.asked[0]


def test_what_cannot_be_read_is_asked_for_again_and_then_a_failed_call(tmp_path: Path) -> None:
    result = reflect([failed(tmp_path)], briefing(Model("no", GOOD)))
    assert result.value[0].edits[0].content == "Input: bread\nOutput: food"
    result = reflect([failed(tmp_path)], briefing(Model({**GOOD, "op": "rm -rf"})))
    assert result.value == () and "malformed reply" in result.errors[0]


def test_a_skip_and_a_budget_of_none_change_nothing(tmp_path: Path) -> None:
    assert reflect([failed(tmp_path)], briefing(Model({**GOOD, "op": "skip"}))).value == ()
    model = Model(GOOD)
    assert reflect([failed(tmp_path)], briefing(model, 0)).value == () and model.asked == []


def test_without_the_answers_it_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"set optimizer\.sees_answers"):
        reflect([failed(tmp_path)], briefing(Model(GOOD), sees=False))


def test_examples_are_put_side_by_side_once_each_and_cut_to_the_budget(tmp_path: Path) -> None:
    other = {"op": "add", "input": "cake", "output": "food"}
    patches = reflect(
        [failed(tmp_path, n) for n in range(3)], briefing(Model(GOOD, GOOD, other))
    ).value
    merged = merge(patches, briefing(Model("")))
    assert [e.content.split()[1] for e in merged.value.edits] == ["bread", "cake"]
    assert not merged.calls
    assert len(rank(merged.value.edits, briefing(Model(""), 1)).value) == 1
    assert len(rank(merged.value.edits, briefing(Model(""), None)).value) == 2


def test_they_are_stages_by_name() -> None:
    stages = make_stages({"reflect": reflect, "merge": merge, "rank": rank})
    assert stages.reflect is reflect
    with pytest.raises(OptimizerReplyError):
        Model("").ask("reflect", "x", "s", "p", Example)
