"""The rollout store: found again exactly when the same thing was run, and never half."""

from __future__ import annotations

import errno
import json
import shutil
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harnesses.base import ModelSpec, Status, Usage
from sandboxes.owner import Owner, current_owner
from skillopt.core.errors import FileError, FormatError
from skillopt.core.files import read_json
from skillopt.core.packed import PACKED, names
from skillopt.core.types import Reward, Rollout
from skillopt.rollouts.identity import RolloutIdentity, work_of
from skillopt.rollouts.store import OUTCOME, RolloutStore, UnderWay, has_result
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


def test_what_is_under_way_is_named_with_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RolloutStore(tmp_path)
    monkeypatch.setattr("skillopt.rollouts.store.time.time", lambda: 12.5)
    with store.begin("ab12") as one, store.begin("cd34") as two, store.begin("ef56") as three:
        store.announce(one, "ab12", "task-1")
        store.announce(three, "ef56", "task-3")
        found = {way.key: way for way in RolloutStore(tmp_path).under_way()}
        assert found["ab12"] == UnderWay("ab12", "task-1", 12.5, one)
        assert set(found) == {"ab12", "ef56"} and found["ef56"].folder == three
        assert json.loads((one / "under_way.json").read_text())["format"] == 1
        ended: list[Path] = []

        def read(file: Path, format: int) -> Any:
            if not ended:
                ended.append(file)
                raise FileNotFoundError(file)
            return read_json(file, format=format)

        monkeypatch.setattr("skillopt.rollouts.store.read_json", read)
        assert len(store.under_way()) == 1, "one has just ended"
        monkeypatch.undo()
        kept = store.commit(a_result(one))
    assert not store.under_way() and "under_way.json" not in names(kept.folder)
    assert two.exists() is False


@pytest.mark.parametrize(
    ("beginning", "found"),
    [
        ("abcd", 2),
        ("abcd1", 1),
        ("abc", 0),
        ("abcd" + "1" * 60, 1),
        ("abcd" + "1" * 61, 0),
        ("ABCD", 0),
        ("ab*d", 0),
        ("0000", 0),
    ],
)
def test_keys_are_found_by_a_beginning_of_four_digits(
    beginning: str, found: int, tmp_path: Path
) -> None:
    store = RolloutStore(tmp_path)
    keys = ["abcd" + "1" * 60, "abcd" + "2" * 60]
    for key in keys:
        store.folder(key).mkdir(parents=True)
    assert store.folder(keys[0]) == tmp_path / "ab" / keys[0]
    assert sorted(store.keys(beginning)) == keys[:found]


def test_folders_come_by_key_and_files_are_none(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    for name in ("ff/ff2", "ab/ab2", "ab/ab1", "failed/x2", "failed/x1", "failed/by_work/w"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ab" / "ab0").write_text("")
    (tmp_path / "failed" / "x0").write_text("")
    assert [path.name for path in store.folders()] == ["ab1", "ab2", "ff2"]
    assert [path.name for path in store.failures()] == ["x1", "x2"]


def test_a_result_is_there_as_soon_as_its_file_is(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    store.folder("ab12").mkdir(parents=True)
    assert not has_result(tmp_path, "ab12") and store.get("ab12", TASK) is None
    (store.folder("ab12") / "result.json").write_text("{}")
    assert has_result(tmp_path, "ab12") and not has_result(tmp_path, "ab13")


@pytest.mark.parametrize(("free", "full"), [(64 * 2**20, False), (64 * 2**20 - 1, True)])
def test_a_disk_is_full_below_64_mebibytes(
    free: int, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=free)
    monkeypatch.setattr("skillopt.rollouts.store.shutil.disk_usage", lambda folder: usage)
    store = RolloutStore(tmp_path)
    if full:
        with pytest.raises(OSError, match="63 MiB are left on the disk") as error:
            store.check_room()
        assert error.value.errno == errno.ENOSPC and error.value.filename == str(tmp_path)
    else:
        store.check_room()


def test_a_verdict_is_taken_again_on_a_copy_without_it(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    with store.begin("ab12") as folder:
        (folder / "verifier").mkdir()
        (folder / "verifier" / "reward.json").write_text("{}")
        (folder / "work.json").write_text("{}")
        kept = store.commit(a_result(folder))
    with store.again(kept) as folder:
        assert {path.name for path in folder.iterdir()} == {"work.json"}
        new = store.replace(a_result(folder, answer="again", message=f"see {folder}/x"))
    assert store.get("ab12", TASK) == new and new.message == f"see {new.folder}/x"
    assert new.folder == kept.folder and not list((tmp_path / "tmp").iterdir())
    with store.again(new):
        pass
    assert store.get("ab12", TASK) == new, "what is not committed changes nothing"


def test_a_folder_is_removed_once(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    with store.begin("ab12") as folder:
        kept = store.commit(a_result(folder))
    store.remove(kept.folder)
    store.remove(kept.folder)  # Another process may have been faster.
    assert not kept.folder.exists() and not list((tmp_path / "tmp").iterdir())


def test_what_cannot_be_moved_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RolloutStore(tmp_path)
    rename, broken = Path.rename, errno.EACCES

    def renamed(self: Path, target: Path) -> Path:
        if target.parent.name == "failed" or target.parent.name == "ab":
            raise OSError(broken, "cannot")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    with store.begin("ab12") as folder, pytest.raises(OSError, match="cannot"):
        store.keep_failed(a_result(folder, status=Status.INFRA_ERROR))
    with store.begin("ab12") as folder, pytest.raises(OSError, match="cannot"):
        store.commit(a_result(folder))


@pytest.mark.parametrize("code", [errno.ENOTEMPTY, errno.EEXIST])
def test_the_last_of_several_failures_takes_the_place(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rename, tries = RolloutStore(tmp_path), Path.rename, [2]

    def renamed(self: Path, target: Path) -> Path:
        if target.parent.name == "failed" and tries[0]:
            tries[0] -= 1
            (target / "theirs").mkdir(parents=True)
            raise OSError(code, "another process has put one there")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    with store.begin("ab12") as folder:
        kept = store.keep_failed(a_result(folder, status=Status.INFRA_ERROR))
    assert Rollout.read(kept.folder).status is Status.INFRA_ERROR
    assert not (kept.folder / "theirs").exists() and not list((tmp_path / "tmp").iterdir())


def test_a_failure_that_is_replaced_while_it_is_copied_is_copied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, copytree, failures = RolloutStore(tmp_path), shutil.copytree, [3]
    with store.begin("ab12") as folder:
        (folder / OUTCOME).write_text("{}")
        store.keep_failed(a_result(folder, status=Status.INFRA_ERROR))

    def copied(source: Path, target: Path, **options: Any) -> Path:
        if failures[0]:
            failures[0] -= 1
            (target / "half").write_text("")
            raise OSError(2, "it has just gone")
        return copytree(source, target, **options)

    monkeypatch.setattr(shutil, "copytree", copied)
    with store.begin("ab12") as folder:
        assert {path.name for path in folder.iterdir()} == {OUTCOME, "result.json"}
    failures[0] = 20
    with store.begin("ab12") as folder:
        assert (folder / OUTCOME).is_file()
    failures[0] = 21
    with pytest.raises(OSError, match="it has just gone"), store.begin("ab12"):
        pass
    gone = store.failed("ab12")

    def removed(source: Path, target: Path, **options: Any) -> Path:
        store.remove(gone)
        raise OSError(2, "it has just gone")

    monkeypatch.setattr(shutil, "copytree", removed)
    with store.begin("ab12") as folder:
        assert not list(folder.iterdir()), "then there is nothing"


def test_work_is_listed_for_other_keys_only_if_there_can_be_some(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    plain = an_identity()
    with store.begin(plain.key) as folder:
        store.keep_failed(
            a_result(
                folder, key=plain.key, identity=plain.to_json(), status=Status.INFRA_ERROR
            )
        )  # fmt: skip
    with store.begin("ab12") as folder:
        store.keep_failed(a_result(folder, identity={}, status=Status.INFRA_ERROR))
    assert not (tmp_path / "failed" / "by_work").exists()


def test_the_folder_of_a_store_is_named_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    for root in (Path("real"), Path("link"), tmp_path / "link"):
        assert RolloutStore(root).root == tmp_path / "real"
    assert RolloutStore(Path("new/deep")).root.is_dir() and (tmp_path / "new/deep/tmp").is_dir()


def test_a_kept_rollout_has_the_time_at_which_it_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RolloutStore(tmp_path)
    now = 12.34567
    monkeypatch.setattr("skillopt.rollouts.store.time.time", lambda: now)
    with store.begin("ab12") as folder:
        assert store.commit(a_result(folder, finished=1.0)).finished == 12.346
    with store.begin("cd34") as folder:
        failed = store.keep_failed(a_result(folder, key="cd34", status=Status.INFRA_ERROR))
    assert failed.finished == Rollout.read(failed.folder).finished == 12.346
    now = 13.0
    found = store.get("ab12", TASK)
    assert found is not None and found.finished == 12.346
    with store.again(found) as folder:
        assert store.replace(a_result(folder)).finished == 13.0


def test_finished_work_is_packed_and_failed_work_is_not(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    kept = {}
    for key, keep in (("ab12", store.commit), ("cd34", store.keep_failed)):
        with store.begin(key) as folder:
            store.announce(folder, key, "task-1")
            (folder / "wire.jsonl").write_text("{}\n")
            kept[key] = keep(a_result(folder, key=key)).folder
    assert {path.name for path in kept["ab12"].iterdir()} == {PACKED, "result.json"}
    assert {path.name for path in kept["cd34"].iterdir()} == {"wire.jsonl", "result.json"}
    assert names(kept["ab12"]) == names(kept["cd34"])


WORK = an_identity().work


def waiting(store: RolloutStore, key: str, identity: dict[str, Any], outcome: bool = True) -> None:
    """Work that could not be judged."""
    with store.begin("ff99") as folder:
        if outcome:
            (folder / OUTCOME).write_text(f'"{key}"')
        store.keep_failed(a_result(folder, key=key, identity=identity, status=Status.INFRA_ERROR))


OWN = an_identity(agent={"name": "codex", "version": "1", "verifier": "v1"})


@pytest.mark.parametrize(
    ("own", "other", "work", "found"),
    [
        # What is left of an attempt that has no outcome hides no work that waits.
        (None, True, WORK, OWN.key),
        (None, True, "", ""),
        (None, False, WORK, ""),
        (True, None, WORK, "ab12"),
        (False, None, WORK, ""),
        (True, True, WORK, "ab12"),
        (True, False, WORK, "ab12"),
        (True, True, "", "ab12"),
        (False, True, WORK, OWN.key),
        (False, True, "", ""),
        (False, True, "0" * 64, ""),
        (False, False, WORK, ""),
    ],
)
def test_work_that_waits_is_that_of_the_key_or_of_the_same_work(
    own: bool | None, other: bool | None, work: str, found: str, tmp_path: Path
) -> None:
    store = RolloutStore(tmp_path)
    if own is not False:
        waiting(store, "ab12", {}, outcome=bool(own))
    if other is not False:
        waiting(store, OWN.key, OWN.to_json(), outcome=bool(other))
        assert (tmp_path / "failed" / "by_work" / WORK).read_text() == OWN.key
    with store.begin("ab12", work) as folder:
        assert (folder / OUTCOME).is_file() is bool(found)
        if found:
            assert json.loads((folder / OUTCOME).read_text()) == found
        assert folder.parent == tmp_path / "tmp" and folder.name.startswith(str(current_owner()))
    assert not list((tmp_path / "tmp").iterdir())


def test_work_without_an_outcome_does_not_wait(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    waiting(store, OWN.key, OWN.to_json(), outcome=False)
    waiting(store, "ab12", {}, outcome=False)
    for key in ("ab12", OWN.key):
        with store.begin(key, WORK) as folder:
            assert not list(folder.iterdir())


def test_links_in_work_that_waits_stay_links(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    with store.begin("ab12") as folder:
        (folder / OUTCOME).write_text("{}")
        (folder / "away").symlink_to("/etc")
        store.keep_failed(a_result(folder, status=Status.INFRA_ERROR))
    with store.begin("ab12") as folder:
        assert (folder / "away").is_symlink()


def test_a_place_without_a_result_is_taken(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    (store.folder("ab12") / "rest").mkdir(parents=True)
    with store.begin("ab12") as folder:
        kept = store.commit(a_result(folder, answer="mine"))
    assert store.get("ab12", TASK) == kept and not (kept.folder / "rest").exists()
    with store.begin("ab12") as folder:
        assert store.commit(a_result(folder, answer="later")).answer == "mine"
    with store.begin("ab12") as folder:
        assert store.replace(a_result(folder, answer="replaced")).answer == "replaced"
    found = store.get("ab12", TASK)
    assert found is not None and found.answer == "replaced"


def test_a_moved_folder_is_synced_where_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        "skillopt.rollouts.store.sync_folder", lambda folder: synced.append(folder.name)
    )
    store = RolloutStore(tmp_path)
    with store.begin("ab12") as folder:
        kept = store.commit(a_result(folder))
    assert synced == ["ab"]
    with store.again(kept) as folder:
        store.replace(a_result(folder))
    assert synced == ["ab"] * 3, "taken away, and put there"
    store.remove(kept.folder)
    assert synced == ["ab"] * 4
    store.remove(kept.folder)
    assert synced == ["ab"] * 4


ODD = "caf\udce9 \ud83d \u00fc\U0001f600"
"""As the name of an agent's file that is not UTF-8, which a user's own verifier may tell."""
PLAIN = "caf? ? \u00fc\U0001f600"


@pytest.mark.parametrize("how", ["commit", "replace", "keep_failed"])
def test_texts_that_utf_8_cannot_express_are_kept_as_far_as_it_can(
    how: str, tmp_path: Path
) -> None:
    store = RolloutStore(tmp_path)
    with store.begin("ab12") as folder:
        odd = a_result(
            folder,
            message=f"{folder}: {ODD}",
            answer=ODD,
            reward=Reward(0.5, {ODD: 1.0}, ODD, True),
        )
        kept = getattr(store, how)(odd)
    assert kept.message == f"{kept.folder}: {PLAIN}" and kept.answer == PLAIN
    assert kept.reward == Reward(0.5, {PLAIN: 1.0}, PLAIN, True)
    assert Rollout.read(kept.folder).answer == PLAIN
    assert Rollout.read(kept.folder).reward == kept.reward
