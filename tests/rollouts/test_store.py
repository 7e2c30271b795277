"""The rollout store: found again exactly when the same thing was run, and never half."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import ModelSpec, Status, Usage
from sandboxes.owner import Owner, current_owner
from skillopt.core.errors import FileError, FormatError
from skillopt.core.types import Reward, Rollout
from skillopt.rollouts.identity import RolloutIdentity, work_of
from skillopt.rollouts.store import OUTCOME, RolloutStore
from tests.helpers.values import a_result, a_task, an_identity

TASK = a_task()


@pytest.mark.parametrize(
    "change",
    [
        {"skill": None},
        {"skill": "s2"},
        {"task": "t2"},
        {"agent": {"name": "codex", "version": "2"}},
        {"model": ModelSpec("up", "m2", {"temperature": 0.5, "top_p": 1})},
        {"model": ModelSpec("up", "m", {"temperature": 0.6, "top_p": 1})},
        {"service": {"kind": "sim", "seed": 1}},
        {"replicate": 1},
    ],
    ids=str,
)
def test_whatever_decides_a_rollout_is_in_its_key(change: dict[str, Any]) -> None:
    assert an_identity(**change).key != an_identity().key


def test_names_and_order_that_decide_nothing_are_not() -> None:
    other = ModelSpec("another name", "m", {"top_p": 1, "temperature": 0.5})
    assert an_identity(model=other).key == an_identity().key


def test_what_was_committed_is_found_whole(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    with store.begin("ab12") as folder:
        (folder / "wire.jsonl").write_text("{}\n")
        assert store.get("ab12", TASK) is None
        kept = store.commit(a_result(folder, message=f"see {folder}/wire.jsonl"))
    found = RolloutStore(tmp_path).get("ab12", TASK)
    assert found == kept
    assert found.reward == Reward(0.5, {"reward": 0.5}, "two rows differ")
    assert found.usage == Usage(2, 10, 5, 3, None)
    assert found.trajectory() is None
    with found.open("wire.jsonl") as wire:
        assert wire.read() == b"{}\n"
    assert found.message == f"see {found.folder}/wire.jsonl"
    assert not list((tmp_path / "tmp").iterdir())


def test_the_file_of_a_result_has_its_reward_as_a_number_at_its_top(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    for key, soft, hard in (("ab12", 0.5, 0.0), ("cd34", 1.0, 1.0)):
        with store.begin(key) as folder:
            kept = store.commit(a_result(folder, key=key, reward=Reward(soft)))
        told = json.loads((kept.folder / "result.json").read_text())
        assert list(told)[:5] == ["format", "task", "status", "reward", "message"]
        assert (told["task"], told["status"], told["reward"]) == (TASK.name, "completed", hard)
        assert told["soft"] == soft


def test_a_result_from_before_there_was_a_format_number_is_read(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    with store.begin("ab12") as folder:
        kept = store.commit(a_result(folder))
    file = kept.folder / "result.json"
    told = json.loads(file.read_text())
    old = {k: v for k, v in told.items() if k not in ("format", "soft")} | {"reward": 0.5}
    file.write_text(json.dumps(old))
    assert store.get("ab12", TASK) == kept


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1}', "null"])
def test_a_result_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    store = RolloutStore(tmp_path)
    with store.begin("ab12") as folder:
        kept = store.commit(a_result(folder))
    (kept.folder / "result.json").write_text(text)
    with pytest.raises(FormatError, match=r"ab12/result\.json: "):
        store.get("ab12", TASK)


def test_what_was_not_committed_is_gone(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    with pytest.raises(KeyboardInterrupt), store.begin("ab12") as folder:
        (folder / "result.json").write_text("{}")
        raise KeyboardInterrupt
    assert not list((tmp_path / "tmp").iterdir())


def test_the_first_of_two_with_the_same_key_stays(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    for answer in ("first", "second"):
        with store.begin("ab12") as folder:
            store.commit(a_result(folder, answer=answer))
    found = store.get("ab12", TASK)
    assert found is not None and found.answer == "first"


def test_a_failed_rollout_is_kept_with_its_reason_and_the_next_attempt_judges_its_work(
    tmp_path: Path,
) -> None:
    store = RolloutStore(tmp_path)
    with store.begin("ab12") as folder:
        (folder / OUTCOME).write_text("{}")
        message = f"no verdict; see {folder}/verifier"
        kept = store.keep_failed(a_result(folder, status=Status.INFRA_ERROR, message=message))
    assert kept.folder == store.failed("ab12")
    assert Rollout.read(kept.folder).message == f"no verdict; see {kept.folder}/verifier"
    with store.begin("ab12") as folder:
        assert (folder / OUTCOME).is_file()
    with store.begin("cd34") as folder:
        assert not list(folder.iterdir())


def test_only_what_a_process_known_to_be_dead_left_under_way_is_removed(tmp_path: Path) -> None:
    here = current_owner()
    names = {
        "dead": f"{Owner(here.machine, here.boot, here.pid, 'before')}.abc",
        "of another start of this machine": f"{Owner(here.machine, 'other', here.pid, '1')}.abc",
        "of another machine": f"{Owner('elsewhere', here.boot, here.pid, here.started)}.abc",
        "a file system's own": ".nfs0001",
        "somebody's": "notes",
        "written by an older version": "999999999-abc",
    }
    tmp = RolloutStore(tmp_path).root / "tmp"
    for name in names.values():
        (tmp / name).mkdir()
    with RolloutStore(tmp_path).begin("ab12") as mine:
        RolloutStore(tmp_path)
        assert mine.is_dir()
    left = {what for what, name in names.items() if (tmp / name).exists()}
    assert left == set(names) - {"dead", "of another start of this machine"}


def test_a_store_that_has_gone_is_an_error_with_its_name(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path / "store")
    (tmp_path / "store" / "tmp").rmdir()
    with pytest.raises(FileError, match=r"store/tmp/.*must not be moved"), store.begin("ab12"):
        pass


def test_each_repetition_task_and_skill_has_a_seed_of_its_own() -> None:
    cells = [*product((None, "s1", "s2"), ("t1", "t2"), range(3))]
    identities = [an_identity(skill=s, task=t, replicate=n) for s, t, n in cells]
    assert len({one.seed for one in identities}) == len({one.key for one in identities}) == 18
    assert all(0 <= one.seed < 2**48 for one in identities)
    again = an_identity(skill=None, task="t1", replicate=0)
    assert again.seed == identities[0].seed == int(again.key[:12], 16)


@pytest.mark.parametrize(
    ("agent", "same"),
    [
        ({"name": "codex", "version": "1", "verifier": "v2"}, True),
        ({"name": "codex", "version": "1", "judge": {"model": "j"}}, True),
        ({"name": "codex", "version": "2"}, False),
        ({"name": "codex", "version": "1", "options": {"a": 1}}, False),
    ],
)
def test_the_agents_work_is_the_same_whoever_judges_it(agent: dict[str, Any], same: bool) -> None:
    one, other = an_identity(), an_identity(agent=agent)
    assert one.key != other.key
    assert (one.work == other.work) is same
    assert work_of(other.to_json()) == other.work and work_of({}) == ""
    assert RolloutIdentity.read(other.to_json()).key == other.key
