"""The rollout store: found again exactly when the same thing was run, and never half."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harnesses.base import ModelSpec, Status, Usage
from skillopt.rollouts.store import Result, RolloutStore, identity, key_of
from tests.helpers.values import a_task

TASK = a_task()


def an_identity(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "skill": "s1",
        "task": "t1",
        "harness": {"name": "codex", "version": "1"},
        "model": ModelSpec("up", "m", {"temperature": 0.5, "top_p": 1}),
        "service": {"kind": "sim", "seed": 0},
        "replicate": 0,
    }
    return identity(**{**base, **changes})


def a_result(key: str, **changes: Any) -> Result:
    base: dict[str, Any] = {
        "key": key,
        "identity": an_identity(),
        "task": TASK.name,
        "status": Status.COMPLETED,
        "message": "",
        "reward": 0.5,
        "metrics": {"reward": 0.5},
        "feedback": "two rows differ",
        "skill_activated": True,
        "answer": "done",
        "usage": Usage(2, 10, 5, 3, None),
        "agent_version": "1",
        "duration_s": 1.5,
    }
    return Result(**{**base, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"skill": None},
        {"skill": "s2"},
        {"task": "t2"},
        {"harness": {"name": "codex", "version": "2"}},
        {"model": ModelSpec("up", "m2", {"temperature": 0.5, "top_p": 1})},
        {"model": ModelSpec("up", "m", {"temperature": 0.6, "top_p": 1})},
        {"service": {"kind": "sim", "seed": 1}},
        {"replicate": 1},
    ],
    ids=str,
)
def test_whatever_decides_a_rollout_is_in_its_key(change: dict[str, Any]) -> None:
    assert key_of(an_identity(**change)) != key_of(an_identity())


def test_names_and_order_that_decide_nothing_are_not() -> None:
    other = ModelSpec("another name", "m", {"top_p": 1, "temperature": 0.5})
    assert key_of(an_identity(model=other)) == key_of(an_identity())


def test_what_was_committed_is_found_whole(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    with store.begin() as folder:
        (folder / "wire.jsonl").write_text("{}\n")
        assert store.get("ab12", TASK) is None
        store.commit(folder, a_result("ab12"), TASK)
    found = RolloutStore(tmp_path).get("ab12", TASK)
    assert found is not None
    assert (found.reward.soft, found.reward.hard, found.reward.feedback) == (
        0.5,
        0.0,
        "two rows differ",
    )
    assert found.usage == Usage(2, 10, 5, 3, None)
    assert found.trajectory() is None
    assert (found.folder / "wire.jsonl").read_text() == "{}\n"
    assert not list((tmp_path / "tmp").iterdir())


def test_what_was_not_committed_is_gone(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.begin() as folder:
        (folder / "result.json").write_text("{}")
        raise KeyboardInterrupt
    assert not list((tmp_path / "tmp").iterdir())


def test_the_first_of_two_with_the_same_key_stays(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    for answer in ("first", "second"):
        with store.begin() as folder:
            store.commit(folder, a_result("ab12", answer=answer), TASK)
    found = store.get("ab12", TASK)
    assert found is not None and found.answer == "first"


def test_what_dead_processes_left_under_way_is_removed(tmp_path: Path) -> None:
    left = RolloutStore(tmp_path).root / "tmp" / "999999999-abc"
    left.mkdir()
    with RolloutStore(tmp_path).begin() as mine:
        RolloutStore(tmp_path)
        assert mine.is_dir()
    assert not left.exists()
