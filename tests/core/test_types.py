"""Rewards, results and decisions: what they count, and what is on the disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from harnesses.base import Status, Usage
from skillopt.core.errors import FormatError
from skillopt.core.judgement import JudgedExpectation, Judgement
from skillopt.core.types import (
    Edit,
    Finding,
    Finish,
    GateDecision,
    Patch,
    RejectedEdit,
    Reward,
    Rollout,
    RolloutRow,
    Task,
    TaskNeeds,
    Triggers,
    Verdict,
    named_task,
    used,
)
from tests.helpers.values import a_result, a_rollout, a_task


@pytest.mark.parametrize(
    ("soft", "solved", "hard"),
    [
        (1.0, None, 1.0),
        (1.0 - 1e-9, None, 1.0),
        (1.0 - 2e-9, None, 0.0),
        (0.0, None, 0.0),
        (0.3, True, 1.0),
        (1.0, False, 0.0),
    ],
)
def test_a_task_is_solved_by_its_whole_reward_or_by_what_the_verifier_says(
    soft: float, solved: bool | None, hard: float
) -> None:
    assert Reward(soft, solved=solved).hard == hard


def test_a_task_that_says_nothing_has_the_limits_of_its_format() -> None:
    task = named_task("t")
    assert (task.name, task.instruction, task.digest, task.prompts) == ("t", "", "", ("",))
    assert (task.agent_timeout_s, task.verifier_timeout_s, task.build_timeout_s) == (600, 600, None)
    assert (task.memory_mb, task.cpus, task.disk_mb, task.max_turns) == (2048, 1.0, 10240, None)
    assert (task.workdir, task.workdir_known) == ("/app", True)
    rights = task.root, task.verifier_root, task.handover, task.untrusted_programs
    assert not any((*rights, task.question, task.led, task.folder.is_dir()))
    assert task.needs == TaskNeeds() and not any(vars(TaskNeeds()).values())
    assert Finish("f", lambda _: None).timeout_s == 600 and not Triggers().no_others


def test_the_users_messages_are_the_instruction_and_what_follows() -> None:
    task = Task(name="t", instruction="first", digest="", follow_ups=("second", "third"))
    assert task.prompts == ("first", "second", "third")


JUDGED = Judgement(
    model="j",
    expectations=(
        JudgedExpectation(
            expectation="It is short.", met=True, quote="x", reason="It is.", asked=2
        ),
        JudgedExpectation(expectation="It rhymes.", met=False, doubt="no such passage"),
    ),
    usage=Usage(1, 2, 0, 3, None),
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"reward": Reward(0.5, {"a": 1.0}, "half", solved=True), "others_opened": ("other",)},
        {"reward": Reward(1.0, solved=False), "skill_activated": None, "finished": 12.5},
        {"judgement": JUDGED, "service_s": 2.5, "given": "abc"},
        {"earlier": (Verdict(key="old", soft=0.25, metrics={"a": 1.0}, feedback="f"),)},
        {"status": Status.AGENT_TIMEOUT, "message": "stopped after 60 s"},
    ],
)
def test_a_result_comes_back_from_its_file(tmp_path: Path, changes: dict[str, Any]) -> None:
    result = a_result(tmp_path, **changes)
    values = result.to_json()
    assert values["reward"] == result.reward.hard and values["task"] == "task-1"
    assert ("solved" in values) == (result.reward.solved is not None)
    assert ("judgement" in values) == (result.judgement is not None)
    (tmp_path / "result.json").write_text(json.dumps(values))
    assert Rollout.read(tmp_path, result.task) == result
    assert Rollout.read(tmp_path).task == named_task("task-1")


def test_a_result_of_the_first_version_has_one_reward(tmp_path: Path) -> None:
    values = a_result(tmp_path).to_json()
    del values["format"], values["soft"]
    values["reward"] = 0.25
    (tmp_path / "result.json").write_text(json.dumps(values))
    read = Rollout.read(tmp_path)
    assert (read.format, read.reward) == (1, Reward(0.25, {"reward": 0.5}, "two rows differ"))


@pytest.mark.parametrize(
    "changes",
    [{"metrics": None}, {"soft": None}, {"feedback": None}, {"unknown": 1}, {"status": "odd"}],
)
def test_what_is_no_result_is_refused_by_its_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    values = a_result(tmp_path).to_json()
    for name, value in changes.items():
        if value is None:
            del values[name]
        else:
            values[name] = value
    (tmp_path / "result.json").write_text(json.dumps(values))
    with pytest.raises(FormatError, match="not the result of a rollout") as caught:
        Rollout.read(tmp_path)
    assert str(tmp_path / "result.json") in str(caught.value)


def test_the_row_of_a_rollout_has_what_the_log_must_know(tmp_path: Path) -> None:
    task = a_task("t", family="sheets")
    reward = Reward(0.5, {"a": 1.0}, "half", solved=True)
    rollout = a_result(tmp_path, task=task, reward=reward, message="m")
    assert rollout.row == RolloutRow(
        key="ab12", task="t", family="sheets", status=Status.COMPLETED, hard=1.0, soft=0.5,
        skill_activated=True, feedback="half", message="m", usage=Usage(2, 10, 5, 3, None),
    )  # fmt: skip


def test_files_of_a_rollout_are_opened_and_a_missing_trajectory_is_none(tmp_path: Path) -> None:
    (tmp_path / "wire.jsonl").write_bytes(b"line\n")
    rollout = a_result(tmp_path)
    with rollout.open("wire.jsonl") as file:
        assert file.read() == b"line\n"
    with pytest.raises(FileNotFoundError):
        rollout.open("none")
    assert rollout.trajectory() is None


def test_a_rollout_that_stands_for_several_tasks_is_used_once() -> None:
    one = a_rollout(a_task("one")).model_copy(update={"usage": Usage(1, 10, 2, 5, 0.5)})
    other = a_rollout(a_task("two")).model_copy(update={"usage": Usage(1, 20, 0, 1, 0.25)})
    assert used([one, other, one.row]) == Usage(2, 30, 2, 6, 0.75)
    assert used([]) == Usage()


def a_decision(**changes: Any) -> GateDecision:
    values: dict[str, Any] = {
        "accepted": False, "score_before": 0.5, "score_after": None, "upper_bound": 0.75,
        "total": 4, "reason": "because", "rollouts": (),
    }  # fmt: skip
    return GateDecision(**values | changes)


def test_a_decision_counts_tasks_and_rollouts() -> None:
    rows = tuple(a_rollout(a_task(name)).row for name in ("a", "b", "a"))
    found = a_decision(rollouts=rows, remeasured=rows[:2])
    assert (found.evaluated, found.cost) == (2, 5)
    assert (found.undecided, found.broken, found.fixed) == (False, (), ())


@pytest.mark.parametrize(
    ("gain", "bound", "improvement"), [(None, 0.75, 0.25), (0.0, 0.75, 0.0), (-0.5, 0.75, -0.5)]
)
def test_an_improvement_is_the_estimate_or_else_the_difference(
    gain: float | None, bound: float, improvement: float
) -> None:
    assert a_decision(gain=gain, upper_bound=bound).improvement == improvement


def test_a_gate_that_accepts_says_what_the_candidate_scores() -> None:
    with pytest.raises(ValidationError, match="must say what the candidate scores"):
        a_decision(accepted=True)
    assert a_decision(accepted=True, score_after=0.0).accepted
    assert not a_decision(score_after=0.0).accepted


def test_what_is_recorded_cannot_change_and_has_no_other_fields(tmp_path: Path) -> None:
    values: list[BaseModel] = [
        a_result(tmp_path), a_rollout().row, a_decision(), JUDGED, JUDGED.expectations[0],
        Verdict(key="k", soft=0.5),
    ]  # fmt: skip
    for value in values:
        kind = type(value)
        with pytest.raises(ValidationError, match="frozen"):
            setattr(value, next(iter(kind.model_fields)), "other")
        known = {name: getattr(value, name) for name in kind.model_fields}
        assert kind(**known) == value
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            kind(**known, unknown=1)


def test_what_is_not_known_of_a_result_counts_as_nothing(tmp_path: Path) -> None:
    bare = Rollout(key="k", task=named_task("t"), status=Status.COMPLETED, folder=tmp_path)
    assert (bare.format, bare.finished, bare.reward, bare.usage) == (1, 0.0, Reward(0.0), Usage())
    assert (bare.duration_s, bare.service_s, bare.skill_activated) == (0.0, 0.0, None)
    assert (bare.given, bare.answer, bare.message, bare.others_opened) == ("", "", "", ())
    verdict = Verdict(key="k", soft=0.5)
    assert (verdict.metrics, verdict.feedback, verdict.finished) == ({}, "", 0.0)
    assert Finding("f").count == 0 and Patch(()).source == "merged"
    assert JudgedExpectation(expectation="e", met=True).asked == 1
    assert Edit("append").support == 1
    entry = RejectedEdit(1, (), 0.5, 0.25, ())
    assert (entry.evaluated, entry.total, entry.undecided, entry.removed) == (0, 0, False, False)


def test_a_judgement_in_words_has_each_verdict_with_its_reason() -> None:
    assert JUDGED.met == 1
    assert JUDGED.words == (
        "met: It is short.\nreason: It is.\nquotation: x\nasked twice\n\n"
        "not met: It rhymes.\nin doubt: no such passage"
    )
    assert Judgement(model="j").words == "" and Judgement(model="j").met == 0
