"""When a judge is asked, and what of a rollout it is shown; what it says is the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harnesses.base import ModelSpec
from skillopt.core.judgement import JudgedExpectation, Judgement
from skillopt.core.skill import Skill, write_skill
from skillopt.core.types import Reward, Rollout, Task
from skillopt.rollouts.judge.asking import JudgeSpec
from skillopt.rollouts.judge.question import read_template
from skillopt.rollouts.judge.scoring import judged_by_words
from tests.helpers.values import a_result, a_task

WORDED = replace(a_task(), expectations=("It greets.", "It is short."))
SAID = Judgement(
    model="j",
    expectations=(
        JudgedExpectation(expectation="It greets.", met=True),
        JudgedExpectation(expectation="It is short.", met=False, reason="so"),
    ),
)
SPEC = JudgeSpec(ModelSpec("up", "j"), read_template(None))


@dataclass
class Lab:
    folder: Path
    shown: list[Any] = field(default_factory=list)
    prepared: list[Any] = field(default_factory=list)

    def prepare(self, task: Task, place: Path) -> None:
        assert not place.exists()
        place.mkdir(parents=True)
        (place / "old.txt").write_text("old")
        self.prepared.append((task, place))

    def judged(
        self,
        checks: Reward | None,
        when: Any = "passed",
        task: Task = WORDED,
        skill: Path | None = None,
        tokens: int = 900,
    ) -> Rollout:
        def judge(asked: Task, shown: Any) -> Judgement:
            assert asked is task
            self.shown.append(shown.value)
            return SAID

        judges: Any = SimpleNamespace(
            spec=replace(SPEC, when=when, tokens=tokens), judge=judge, folder=self.folder
        )
        rollout = a_result(self.folder, task=task, answer="By the skill house-rules: hello.")
        return judged_by_words(
            rollout, checks, judges, cast(Any, self), self.folder / "work", skill
        )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "new.txt").write_text("new")
    return Lab(tmp_path)


@pytest.mark.parametrize(
    ("checks", "when", "asked", "soft"),
    [
        (None, "passed", True, 0.5),
        (Reward(1.0), "passed", True, 2 / 3),
        (Reward(0.5), "passed", False, 0.5 / 3),
        (Reward(0.5), "always", True, 1.5 / 3),
        (Reward(0.0), "passed", False, 0.0),
        (Reward(0.9, solved=True), "passed", True, 1.9 / 3),
        (None, "always", True, 0.5),
    ],
)
def test_a_judge_is_asked_unless_a_check_before_has_failed(
    checks: Reward | None, when: str, asked: bool, soft: float, lab: Lab
) -> None:
    found = lab.judged(checks, when)
    assert bool(lab.shown) is bool(lab.prepared) is asked
    assert found.reward.soft == pytest.approx(soft)
    assert found.judgement == (SAID if asked else Judgement(model="j"))
    assert (found.key, found.answer) == ("ab12", "By the skill house-rules: hello.")


def test_it_is_shown_what_has_changed_since_the_first_workspace(lab: Lab) -> None:
    left = lab.folder / "scratch" / "first"
    left.mkdir(parents=True)
    (left / "of-an-earlier-attempt").write_text("")
    lab.judged(None)
    assert lab.prepared == [(WORDED, left)]
    (shown,) = lab.shown
    assert {file["path"]: file["change"] for file in shown["files"]} == {
        "new.txt": "added",
        "old.txt": "removed",
    }
    assert shown["final_answer"] == "By the skill house-rules: hello." and shown["steps"] == []


@pytest.mark.parametrize(
    ("question", "workspace", "files"),
    [(True, False, False), (True, True, True), (False, False, True), (False, True, True)],
)
def test_a_question_without_files_shows_none(
    question: bool, workspace: bool, files: bool, lab: Lab
) -> None:
    def fill(place: Path) -> None: ...

    given = fill if workspace else None
    lab.judged(None, task=replace(WORDED, question=question, workspace=given))
    (shown,) = lab.shown
    assert ("files" in shown) is bool(lab.prepared) is files


def test_nothing_is_shown_of_the_skill_and_no_more_than_there_is_room_for(lab: Lab) -> None:
    folder = lab.folder / "house-rules"
    write_skill(Skill("house-rules", "Rules.", "- x\n"), folder)
    lab.judged(None, skill=folder)
    assert lab.shown[0]["final_answer"] == "By the skill […]: hello."
    lab.judged(None, tokens=4)
    assert len(lab.shown[1]["final_answer"]) < 900
