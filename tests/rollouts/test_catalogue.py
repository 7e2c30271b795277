"""Which stored rollouts are meant, what is wrong with one, and which runs refer to it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Status
from skillopt.core.errors import FileError
from skillopt.core.packed import PACKED
from skillopt.core.types import Reward, Rollout
from skillopt.rollouts import catalogue
from skillopt.rollouts.catalogue import (
    Filter,
    RolloutInUseError,
    finished,
    forget,
    keys_of_run,
    named,
    open_store,
    runs_with,
    stored,
    verify,
)
from skillopt.rollouts.store import RolloutStore
from tests.helpers.packed import made_plain
from tests.helpers.values import a_result, a_task, an_identity

HERE = Path("/nowhere")


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        ({}, True),
        ({"keys": ("ab",)}, True),
        ({"keys": ("b12",)}, False),
        ({"keys": ("cd", "ab12")}, True),
        ({"tasks": ("task-?",)}, True),
        ({"tasks": ("TASK-1",)}, False),
        ({"tasks": ("other", "*-1")}, True),
        ({"skills": ("s1",)}, True),
        ({"skills": ("s",)}, True),
        ({"skills": ("1",)}, False),
        ({"skills": (None,)}, False),
        ({"skills": (None, "s1")}, True),
        ({"statuses": ("completed",)}, True),
        ({"statuses": ("agent_error",)}, False),
        ({"statuses": ("agent_error", "completed")}, True),
        ({"harnesses": ("codex",)}, True),
        ({"harnesses": ("code",)}, False),
        ({"models": ("m",)}, True),
        ({"models": ("m2",)}, False),
        ({"before": 100.0}, False),
        ({"before": 100.1}, True),
        ({"after": 100.0}, True),
        ({"after": 100.1}, False),
        ({"among": frozenset({"ab12"})}, True),
        ({"among": frozenset()}, False),
        ({"keys": ("ab",), "tasks": ("other",)}, False),
        ({"tasks": ("task-1",), "models": ("m2",)}, False),
        ({"after": 1.0, "before": 200.0, "among": frozenset({"ab12"})}, True),
    ],
    ids=str,
)
def test_a_rollout_is_meant_by_all_that_is_given(wanted: dict[str, Any], takes: bool) -> None:
    assert Filter(**wanted).takes(a_result(HERE, finished=100.0)) is takes
    assert Filter(**wanted).names_nothing is (not wanted)


def test_a_rollout_without_a_skill_is_meant_by_that() -> None:
    without = a_result(HERE, finished=1.0, identity=an_identity(skill=None).to_json())
    assert Filter(skills=(None,)).takes(without)
    assert not Filter(skills=("",)).takes(without) and not Filter(skills=("s1",)).takes(without)


def test_a_rollout_that_does_not_say_what_it_is_of_is_of_no_model() -> None:
    bare = a_result(HERE, finished=1.0, identity={})
    assert Filter(skills=(None,)).takes(bare)
    for wanted in (Filter(models=("m",)), Filter(harnesses=("codex",)), Filter(skills=("s1",))):
        assert not wanted.takes(bare)


def test_the_time_of_an_older_rollout_is_that_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    os.utime(tmp_path / "result.json", (50, 60))
    assert finished(a_result(tmp_path, finished=0.0)) == 60
    assert finished(a_result(tmp_path, finished=7.5)) == 7.5


KEYS = [an_identity(replicate=n).key for n in range(3)]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three rollouts, the later ones older."""
    root = tmp_path_factory.mktemp("catalogue") / "store"
    made = RolloutStore(root)
    for number, key in enumerate(KEYS):
        identity = an_identity(replicate=number).to_json()
        with made.begin(key) as folder:
            (folder / "notes.txt").write_text("x" * number)
            made.commit(a_result(folder, key=key, identity=identity, task=a_task(f"task-{number}")))
        change(made.folder(key), finished=100.0 - number)
    return root


@pytest.fixture
def store(made_once: Path, tmp_path: Path) -> RolloutStore:
    """A copy of it."""
    shutil.copytree(made_once, tmp_path / "runs" / "store")
    return RolloutStore(tmp_path / "runs" / "store")


def change(folder: Path, **values: Any) -> None:
    file = folder / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_those_that_match_come_oldest_first_and_damaged_ones_not_at_all(
    store: RolloutStore,
) -> None:
    assert [r.key for r in stored(store, Filter())] == KEYS[::-1]
    assert [r.key for r in stored(store, Filter(keys=(KEYS[0][:9], KEYS[2])))] == KEYS[2::-2]
    assert [r.key for r in stored(store, Filter(tasks=("task-1",)))] == [KEYS[1]]
    change(store.folder(KEYS[2]), finished=100.0)
    change(store.folder(KEYS[1]), finished=100.0)
    assert [r.key for r in stored(store, Filter())] == sorted(KEYS), "by key where times are equal"
    (store.folder(KEYS[1]) / "result.json").write_text("{")
    (store.folder(KEYS[2]) / "result.json").unlink()
    assert [r.key for r in stored(store, Filter())] == [KEYS[0]]


def test_folders_are_named_by_beginnings_of_keys_whatever_is_in_them(store: RolloutStore) -> None:
    (store.folder(KEYS[1]) / "result.json").write_text("{")
    assert named(store, []) == []
    assert named(store, [KEYS[1][:6]]) == [store.folder(KEYS[1])]
    assert named(store, KEYS[1:]) == sorted(store.folder(key) for key in KEYS[1:])
    assert named(store, ["zz"]) == []


def moved(folder: Path) -> None:
    """Where it would not be looked for."""
    other = folder.parent.parent / ("00" if folder.parent.name != "00" else "11")
    other.mkdir()
    folder.rename(other / folder.name)


def with_wire(folder: Path, trajectory: bool) -> None:
    plain = made_plain(folder)
    (plain / "wire.jsonl").write_text("{}\n")
    if trajectory:
        shutil.copy(plain / "notes.txt", plain / "trajectory.json")


WITHOUT = "trajectory.json is missing, and wire.jsonl is there"


@pytest.mark.parametrize(
    ("damage", "messages"),
    [
        (lambda folder: None, []),
        (lambda folder: (folder / "result.json").unlink(), ["has no result.json"]),
        (lambda folder: (folder / "result.json").write_text("{"), ["result.json: not JSON"]),
        (lambda folder: change(folder, format=7), ["result.json: has format 7"]),
        (
            lambda folder: change(folder, key="0" * 64),
            [
                f"result.json has the key {'0' * 64}: it was moved or copied here",
                "its key is not the digest of its identity",
            ],
        ),
        (moved, [f"is not in {KEYS[1][:2]}/, where it would be looked for"]),
        (
            lambda folder: change(folder, identity=an_identity(task="t9").to_json()),
            ["its key is not the digest of its identity: one of them was changed"],
        ),
        (lambda folder: change(folder, identity={}), []),
        (
            lambda folder: change(folder, status="infra_error", soft=0.0, reward=0.0),
            ["has the status infra_error, which is no verdict"],
        ),
        (lambda folder: change(folder, status="agent_error", soft=0.0, reward=0.0), []),
        (
            lambda folder: change(folder, status="agent_error"),
            ["has the status agent_error and a reward of 0.5"],
        ),
        (lambda folder: change(folder, soft=1.0, reward=1.0), []),
        (lambda folder: change(folder, soft=0.0), []),
        (
            lambda folder: change(folder, soft=1.5, reward=1.0),
            ["has a reward of 1.5, which is not between 0 and 1"],
        ),
        (
            lambda folder: change(folder, soft=-0.5),
            ["has a reward of -0.5, which is not between 0 and 1"],
        ),
        (lambda folder: change(folder, reward=1.0), ["its reward is 1.0, and its soft reward 0.5"]),
        (
            lambda folder: (made_plain(folder) / "trajectory.json").write_text("{}"),
            ["trajectory.json cannot be read: "],
        ),
        (
            lambda folder: (made_plain(folder) / "work.tar.gz").write_text("x"),
            ["work.tar.gz cannot be read: "],
        ),
        (lambda folder: with_wire(folder, trajectory=False), [WITHOUT]),
        (lambda folder: with_wire(folder, trajectory=True), ["trajectory.json cannot be read: "]),
        (
            lambda folder: os.truncate(folder / PACKED, 20),
            [f"{PACKED}: cannot be read: "],
        ),
    ],
)
def test_each_flaw_of_a_stored_rollout_is_named_with_its_folder(
    damage: Callable[[Path], object], messages: list[str], store: RolloutStore
) -> None:
    damage(store.folder(KEYS[1]))
    found = list(verify(store))
    assert {flaw.folder.name for flaw in found} <= {KEYS[1]}
    assert len(found) == len(messages), found
    for flaw, message in zip(found, messages, strict=True):
        assert flaw.message.startswith(message)
        assert len(flaw.message.splitlines()) == 1


def test_an_older_result_has_no_hard_reward_to_compare(store: RolloutStore) -> None:
    file = store.folder(KEYS[0]) / "result.json"
    told = json.loads(file.read_text())
    old = {k: v for k, v in told.items() if k not in ("format", "soft")} | {"reward": 0.5}
    file.write_text(json.dumps(old))
    assert list(verify(store)) == []


def a_run(store: RolloutStore, name: str, keys: list[str]) -> Path:
    """A run that refers to some rollouts, and to something that is no key."""
    run = store.root.parent / name
    run.mkdir()
    lines = [json.dumps({"kind": "rollout_ran", "key": key, "skill": key[:40]}) for key in keys]
    (run / "events.jsonl").write_text("".join(line + "\n" for line in lines))
    return run


def test_the_keys_of_a_run_are_those_in_its_log(store: RolloutStore) -> None:
    assert keys_of_run(a_run(store, "one", [*KEYS[:2], KEYS[0]])) == frozenset(KEYS[:2])
    (store.root.parent / "two").mkdir()
    with pytest.raises(FileError, match=r"two/events\.jsonl: missing; name a run's folder"):
        keys_of_run(store.root.parent / "two")


def test_runs_are_counted_by_the_keys_that_they_refer_to(
    store: RolloutStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: set[str] = set()
    monkeypatch.setattr(catalogue, "_is_running", lambda run: run.name in running)
    for name, keys in (("one", KEYS[:2]), ("two", KEYS[2:]), ("three", KEYS)):
        a_run(store, name, keys)
    assert runs_with(store, KEYS[:2]) == {"one": 2, "three": 2}
    assert runs_with(store, [KEYS[2], KEYS[2]]) == {"three": 1, "two": 1}
    assert runs_with(store, ["0" * 64]) == {}
    running.add("two")
    assert runs_with(store, KEYS[:1]) == {"one": 1, "three": 1}
    with pytest.raises(RolloutInUseError, match=r"two is running and refers to 1 of them"):
        forget(store, [store.folder(key) for key in KEYS])
    assert len(stored(store, Filter())) == 3, "none is removed"
    assert forget(store, [store.folder(key) for key in KEYS[:2]]) == 2
    assert [r.key for r in stored(store, Filter())] == KEYS[2:]


def test_a_damaged_log_is_of_no_running_run(store: RolloutStore) -> None:
    a_run(store, "one", KEYS)
    assert runs_with(store, KEYS) == {"one": 3}


def test_a_store_is_opened_only_where_there_is_one(store: RolloutStore, tmp_path: Path) -> None:
    assert open_store(tmp_path / "runs").root == store.root
    with pytest.raises(FileError, match=r"store: no rollouts are stored here; .*--runs"):
        open_store(tmp_path)
    assert not (tmp_path / "store").exists()


def test_a_verdict_with_its_own_rule_for_solved_is_no_flaw(store: RolloutStore) -> None:
    with store.begin("ef" * 32) as folder:
        reward = Reward(0.4, {}, "", solved=True)
        kept = store.commit(
            a_result(folder, key="ef" * 32, identity={}, reward=reward, status=Status.COMPLETED)
        )
    assert list(verify(store)) == [] and Rollout.read(kept.folder).reward.hard == 1.0
