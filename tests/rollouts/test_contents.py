"""``skillopt store``: what it holds, what of it goes by rule, and its rollouts' files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.packed import PACKED, RESULT
from tests.helpers.packed import made_plain
from tests.helpers.tiny import Tiny, command, tiny

__all__ = ["tiny"]


def told(*words: str | Path) -> dict[str, Any]:
    done = command("store", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def store(tiny: Tiny) -> Path:
    """Three rollouts that no run refers to, and those of a run."""
    other = "---\nname: other\ndescription: Use it.\n---\n\n# Other rules\n"
    tiny.put("other/SKILL.md", other)
    assert command("eval", "other", "--config", "tiny.yaml", "--split", "val").returncode == 0
    assert tiny.train().returncode == 0
    return tiny.store


def aged(store: Path, key: str, days: float) -> None:
    (file,) = store.glob(f"*/{key}/{RESULT}")
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"finished": time.time() - days * 86400}))


def test_a_store_is_counted_by_task_skill_status_and_age(store: Path) -> None:
    folders = list(store.glob("??/*"))
    aged(store, folders[0].name, 10)
    aged(store, folders[1].name, 100)
    (folders[2] / RESULT).write_text("{")
    found = told("summary")
    whole = found["scored"]
    assert whole["rollouts"] == len(folders) > 6
    assert whole["bytes"] == sum(p.stat().st_size for f in folders for p in f.rglob("*"))
    assert found["unused"]["rollouts"] == 3 and found["failed"]["rollouts"] == 0
    assert found["ages"]["7 to 30 days"]["rollouts"] == 1
    assert found["ages"]["more than 30 days"]["rollouts"] == 1
    assert found["statuses"]["damaged"]["rollouts"] == 1
    for kind in ("statuses", "ages", "tasks", "skills"):
        counted = sum(one["rollouts"] for one in found[kind].values())
        assert counted == len(folders) - (kind != "statuses")
    assert {"val-0", "test-1", "none"} & {*found["tasks"], *found["skills"]}
    shown = command("store", "summary").stdout
    assert "no run refers to" in shown and "more than 30 days" in shown and "kB" in shown


def test_only_what_no_run_refers_to_is_pruned(store: Path) -> None:
    before = {folder.name for folder in store.glob("??/*")}
    first = told("prune", "--unused")
    assert len(first["keys"]) == 3 and first["bytes"] > 0 and first["removed"] is False
    assert {folder.name for folder in store.glob("??/*")} == before, "it was only counted"
    assert "; --yes removes them" in command("store", "prune", "--unused").stdout
    assert told("prune", "--before", "30d", "--yes")["keys"] == []
    aged(store, first["keys"][0], 31)
    (used, *_) = before - set(first["keys"])
    aged(store, used, 31)
    assert told("prune", "--before", "30d", "--yes")["keys"] == [first["keys"][0]]
    assert set(told("prune", "--unused", "--yes")["keys"]) == set(first["keys"][1:])
    assert {folder.name for folder in store.glob("??/*")} == before - set(first["keys"])
    assert told("prune", "--before", "30d", "--used", "--yes")["keys"] == [used]


def test_prune_wants_a_rule(tiny: Tiny) -> None:
    tiny.store.mkdir(parents=True)
    for words in ([], ["--used"], ["--yes"], ["--unused", "--used"]):
        done = command("store", "prune", *words)
        assert done.returncode == 2 and "give" in done.stderr


def test_failed_attempts_are_pruned_by_themselves(tiny: Tiny) -> None:
    tiny.own("def broken(task, workspace, answer):\n    raise VerifierError('no verdict')\n")
    own = (tiny.folder / "own.py").read_text()
    tiny.put("own.py", f"from skillopt.tasks.verifier import VerifierError\n{own}")
    tiny.write(verifier="own:broken")
    command("eval", "my-skill", "--config", "tiny.yaml", "--split", "val")
    failed = [path for path in (tiny.store / "failed").glob("*") if (path / RESULT).is_file()]
    assert failed and not any((path / PACKED).exists() for path in failed), "for people to look at"
    assert told("summary")["failed"]["rollouts"] == len(failed)
    assert told("prune", "--unused", "--yes")["keys"] == []
    assert sorted(told("prune", "--failed")["keys"]) == sorted(path.name for path in failed)
    assert told("prune", "--failed", "--yes")["removed"] is True
    assert not any(path.exists() for path in failed)


def test_the_files_of_a_rollout_are_named_and_unpacked(store: Path, tmp_path: Path) -> None:
    folder = next(store.glob("??/*"))
    assert sorted(os.listdir(folder)) == [PACKED, RESULT]
    found = told("show", folder.name[:12])
    assert RESULT in found["files"] and "work.json" in found["files"]
    words = found["unpack"].split()
    assert words[:3] == ["skillopt", "store", "unpack"] and folder.name.startswith(words[3])
    made_plain(folder)
    plain = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert sorted(map(str, plain)) == sorted(found["files"])
    for name in ("one", "two"):
        done = command("store", "unpack", folder.name[:12], tmp_path / name)
        assert done.stdout == f"wrote {tmp_path / name}\n", done.stderr
        target = tmp_path / name
        files = {p.relative_to(target): p.read_bytes() for p in target.rglob("*") if p.is_file()}
        assert files == plain
    again = command("store", "unpack", folder.name[:12], tmp_path / "one")
    assert again.returncode == 2 and "is there already" in again.stderr
    assert "unpack" not in told("show", folder.name[:12])
