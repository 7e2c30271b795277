"""What a store holds, by kind and age, without a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Status
from skillopt.rollouts import contents as module
from skillopt.rollouts.catalogue import Filter
from skillopt.rollouts.contents import Amount, contents, largest, prunable, size_of
from skillopt.rollouts.store import RolloutStore
from tests.helpers.values import a_result, a_task, an_identity

NOW = 10_000_000.0
DAY = 86_400.0
KEYS = [f"{n:02x}" * 32 for n in range(1, 5)]


def put(store: RolloutStore, key: str, days: float, **values: Any) -> Path:
    with store.begin(key) as folder:
        kept = store.commit(a_result(folder, key=key, **values))
    file = kept.folder / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"finished": NOW - days * DAY}))
    return kept.folder


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RolloutStore:
    monkeypatch.setattr(module.time, "time", lambda: NOW)  # type: ignore[attr-defined]
    return RolloutStore(tmp_path / "store")


@pytest.mark.parametrize(
    ("days", "age"),
    [
        (0.0, "less than a day"),
        (0.99, "less than a day"),
        (1.0, "1 to 7 days"),
        (6.99, "1 to 7 days"),
        (7.0, "7 to 30 days"),
        (29.99, "7 to 30 days"),
        (30.0, "more than 30 days"),
    ],
)
def test_ages_end_at_their_days(days: float, age: str, store: RolloutStore) -> None:
    put(store, KEYS[0], days)
    assert set(contents(store).ages) == {age}


def test_rollouts_are_counted_by_each_of_their_properties(
    store: RolloutStore, tmp_path: Path
) -> None:
    folders = [
        put(store, KEYS[0], 0),
        put(store, KEYS[1], 2, task=a_task("other"), status=Status.AGENT_ERROR),
        put(store, KEYS[2], 2, identity=an_identity(skill=None).to_json()),
        put(store, KEYS[3], 2),
    ]
    (folders[3] / "result.json").write_text("{")
    with store.begin("ab12") as folder:
        (folder / "log").write_text("x" * 100)
        failed = store.keep_failed(a_result(folder, status=Status.INFRA_ERROR))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.jsonl").write_text(f'{{"key": "{KEYS[0]}"}}\n')
    found, size = contents(store), [size_of(folder) for folder in folders]
    assert found.scored == Amount(4, sum(size)) and found.unused == Amount(3, sum(size[1:]))
    assert found.failed == Amount(1, size_of(failed.folder))
    assert found.tasks == {"task-1": Amount(2, size[0] + size[2]), "other": Amount(1, size[1])}
    assert found.skills == {"s1": Amount(2, size[0] + size[1]), "none": Amount(1, size[2])}
    assert found.statuses == {
        "completed": Amount(2, size[0] + size[2]),
        "agent_error": Amount(1, size[1]),
        "damaged": Amount(1, size[3]),
    }
    assert found.ages == {
        "less than a day": Amount(1, size[0]),
        "1 to 7 days": Amount(2, size[1] + size[2]),
    }


def test_the_size_of_a_folder_is_that_of_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "a" / "one").write_text("123")
    (tmp_path / "a" / "deep" / "two").write_text("12345")
    (tmp_path / "b").write_text("x" * 99)
    (tmp_path / "a" / "link").symlink_to(tmp_path / "b")
    assert size_of(tmp_path / "a") == 8


@pytest.mark.parametrize(
    ("wanted", "failed", "used", "found"),
    [
        (Filter(), False, False, [1]),
        (Filter(), False, True, [0, 1]),
        (Filter(tasks=("task-1",)), False, False, []),
        (Filter(before=NOW - DAY), False, True, [1]),
        (Filter(), True, False, ["ab12"]),
        (Filter(tasks=("other",)), True, False, []),
        # What failed for a run is kept with what it has used.
        (Filter(), True, True, [KEYS[3], "ab12"]),
    ],
)
def test_what_can_go_by_rule(
    wanted: Filter, failed: bool, used: bool, found: list[Any], store: RolloutStore, tmp_path: Path
) -> None:
    put(store, KEYS[0], 0)
    put(store, KEYS[1], 2, task=a_task("other"))
    (put(store, KEYS[2], 2) / "result.json").write_text("{")
    with store.begin("ab12") as folder:
        store.keep_failed(a_result(folder, status=Status.INFRA_ERROR))
    with store.begin(KEYS[3]) as folder:
        store.keep_failed(a_result(folder, key=KEYS[3], status=Status.INFRA_ERROR))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.jsonl").write_text(f'{{"keys": ["{KEYS[0]}", "{KEYS[3]}"]}}\n')
    expected = [KEYS[one] if isinstance(one, int) else one for one in found]
    assert [f.name for f in prunable(store, wanted, failed=failed, used=used)] == expected


def test_the_largest_are_named_and_the_others_added_up() -> None:
    amounts = {
        "b": Amount(1, 5), "a": Amount(2, 5), "small": Amount(3, 1), "big": Amount(1, 9),
        "tiny": Amount(4, 0),
    }  # fmt: skip
    first = [("big", Amount(1, 9)), ("a", Amount(2, 5)), ("b", Amount(1, 5))]
    assert list(largest(amounts, 3)) == [*first, ("2 others", Amount(7, 1))]
    assert list(largest(amounts, 5))[3:] == [("small", Amount(3, 1)), ("tiny", Amount(4, 0))]
    assert list(largest({}, 3)) == []
