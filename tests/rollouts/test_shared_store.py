"""A store that is shared by machines, containers and processes loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harnesses.base import Status
from sandboxes import owner
from sandboxes.owner import Owner, current_owner, is_dead
from skillopt.core.types import Reward
from skillopt.rollouts.identity import RolloutIdentity
from skillopt.rollouts.store import OUTCOME, RolloutStore
from tests.helpers.values import a_result, a_task, an_identity

ROOT = Path(__file__).parents[2]
OTHER_SPACE = ["unshare", "--pid", "--fork", "--uts", "--mount-proc"]
"""A process namespace of its own, as another container has, with the pids of this one again."""
CAN_UNSHARE = subprocess.run([*OTHER_SPACE, "true"], capture_output=True).returncode == 0


def python(code: str, *argv: str | Path, before: list[str] | None = None) -> subprocess.Popen[str]:
    words = [*(before or []), sys.executable, "-c", code, *map(str, argv)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True)


def test_both_of_two_go_on_with_the_rollout_that_is_kept(tmp_path: Path) -> None:
    here, there = RolloutStore(tmp_path), RolloutStore(tmp_path)
    with here.begin("ab12") as mine, there.begin("ab12") as theirs:
        first = here.commit(a_result(mine, answer="first", reward=Reward(0.0)))
        second = there.commit(a_result(theirs, answer="second", reward=Reward(1.0)))
    assert (first.answer, second.answer, second.reward.soft) == ("first", "first", 0.0)
    assert here.get("ab12", a_task()) == first == second
    assert not list((tmp_path / "tmp").iterdir())


def test_what_is_no_rollout_does_not_take_its_place(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    (store.folder("ab12") / "half").mkdir(parents=True)
    with store.begin("ab12") as folder:
        kept = store.commit(a_result(folder))
    assert store.get("ab12", a_task()) == kept and not (kept.folder / "half").exists()


RACE = """
import sys
from pathlib import Path
from harnesses.base import Status
from skillopt.rollouts.store import OUTCOME, RolloutStore
from tests.helpers.values import a_result

root, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(count):
    store = RolloutStore(root)
    with store.begin("ab12") as folder:
        (folder / OUTCOME).write_text("{}")
        (folder / "files").mkdir(exist_ok=True)
        for file in range(20):
            (folder / "files" / f"{file}").write_text(name)
        store.keep_failed(a_result(folder, status=Status.INFRA_ERROR, message=name))
    key = f"{number:04x}" + "0" * 60
    with store.begin(key) as folder:
        (folder / "who").write_text(name)
        kept = store.commit(a_result(folder, key=key, answer=name))
        assert kept.answer == kept.open("who").read().decode(), "files of another"
        print(key, kept.answer, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("spaces", [False, True])
def test_processes_that_write_at_the_same_time_agree(tmp_path: Path, spaces: bool) -> None:
    if spaces and not CAN_UNSHARE:
        pytest.skip("needs the right to make namespaces")
    before = OTHER_SPACE if spaces else []
    names = ("one", "two", "three")
    running = [python(RACE, tmp_path, name, "20", before=before) for name in names]
    told = [process.communicate(timeout=100)[0].splitlines() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert len(told[0]) == 20 and told[0] == told[1] == told[2]
    assert not list((tmp_path / "tmp").iterdir())
    texts = {file.read_text() for file in (tmp_path / "failed" / "ab12" / "files").iterdir()}
    assert len(texts) == 1


WAITING = """
import sys, time
from pathlib import Path
from skillopt.rollouts.store import RolloutStore

with RolloutStore(Path(sys.argv[1])).begin("ab12") as folder:
    (folder / "work").touch()
    print(folder.name, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.skipif(not CAN_UNSHARE, reason="needs the right to make namespaces")
def test_work_of_another_process_namespace_is_left_alone(tmp_path: Path) -> None:
    process = python(WAITING, tmp_path, before=OTHER_SPACE)
    try:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        theirs = Owner.parse(name.partition(".")[0])
        assert theirs is not None and theirs.machine != current_owner().machine
        for _ in range(3):
            RolloutStore(tmp_path)
        assert (tmp_path / "tmp" / name / "work").exists()
    finally:
        process.kill()
        process.wait()


def test_machines_of_one_host_name_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As cloud images are: the first process namespace has the same number on every machine."""
    monkeypatch.setattr(owner, "_MACHINE_ID", tmp_path / "machine-id")
    found = []
    for number in ("1" * 32, "2" * 32):
        (tmp_path / "machine-id").write_text(number)
        found.append(current_owner())
    assert found[0].machine != found[1].machine
    assert not is_dead(Owner(found[0].machine, "another start", found[0].pid, "1"))
    assert is_dead(Owner(found[1].machine, "another start", found[1].pid, "1"))


def test_work_that_waits_is_found_under_a_corrected_verifier(tmp_path: Path) -> None:

    def judged_by(verifier: str) -> RolloutIdentity:
        return an_identity(agent={"name": "codex", "version": "1", "verifier": verifier})

    store, old, new = RolloutStore(tmp_path), judged_by("own:j#1"), judged_by("own:j#2")
    assert old.key != new.key and old.work == new.work == an_identity().key
    with store.begin(old.key) as folder:
        (folder / OUTCOME).write_text("{}")
        failed = a_result(folder, key=old.key, identity=old.to_json(), status=Status.INFRA_ERROR)
        store.keep_failed(failed)
    with store.begin(new.key, new.work) as folder:
        assert (folder / OUTCOME).is_file()
    with store.begin(new.key) as folder:
        assert not list(folder.iterdir())
    other = an_identity(replicate=1, agent=dict(old.agent))
    with store.begin(other.key, other.work) as folder:
        assert not list(folder.iterdir())


@pytest.mark.slow
def test_a_store_is_opened_while_others_work(tmp_path: Path) -> None:
    """Reading it does not wait, and finds what is complete only."""
    process = python(RACE, tmp_path, "one", "30")
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        for folder in RolloutStore(tmp_path).folders():
            assert (folder / "result.json").is_file()
    assert process.wait() == 0
