"""What the page is told of a run."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from pathlib import Path

import pytest

from skillopt.core.metric import _exact
from skillopt.report.view import RunView, read_run
from skillopt.run.folder import RunError
from skillopt.run.journal import LOG, JournalError, LogReader
from tests.helpers.synthetic_run import synthetic_run


@pytest.mark.slow
def test_it_tells_the_runs_own_history(run: Path) -> None:
    view = read_run(run).to_json()
    history = json.loads((run / "history.json").read_text())
    summary = json.loads((run / "summary.json").read_text())
    steps = [entry for entry in view["entries"] if "applied" in entry]
    assert [(e["step"], e["action"], e["budget"]) for e in steps] == [
        (row["step"], row["action"], row["edit_budget"]) for row in history
    ]
    assert view["spent"] == summary["spent"]
    assert (view["format"], view["state"]) == (summary["format"], summary["state"]) == (1, "done")
    assert (view["initial_score"], view["best_score"]) == (0.5, summary["best_score"])
    assert {e["action"] for e in steps} >= {"accept", "reject"}
    assert view["skill"] == (run / "best_skill.md").read_text()


def test_a_log_is_read_record_by_record(tmp_path: Path) -> None:
    synthetic_run(tmp_path / "r", steps=30, train=20, val=40, test=20, batch=20)
    read_run(tmp_path / "r")  # What is imported is not the log's.
    tracemalloc.start()
    records = sum(1 for _ in LogReader(tmp_path / "r").new())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    log = tmp_path / "r" / LOG
    longest = max(map(len, log.read_bytes().splitlines()))
    assert records == log.read_bytes().count(b"\n") > 1500
    assert peak < 10 * longest < log.stat().st_size / 2


def test_scores_that_occur_often_are_made_exact_once(tmp_path: Path) -> None:
    synthetic_run(tmp_path / "r", steps=30, train=20, val=40, test=20, batch=20)
    _exact.cache_clear()
    read_run(tmp_path / "r")
    assert _exact.cache_info().misses <= 3


def test_records_before_a_damaged_line_are_read_and_then_it_is_named(tmp_path: Path) -> None:
    synthetic_run(tmp_path / "r", steps=1, train=2, val=2, test=1, batch=2)
    log = tmp_path / "r" / LOG
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2], b"{}\n", *lines[2:], lines[0][:9]]))
    reader = LogReader(tmp_path / "r")
    found = reader.new()
    assert [next(found).kind, next(found).kind] == ["run_created", "skill_made"]
    with pytest.raises(JournalError, match=r"events\.jsonl:3: not a record"):
        next(found)
    log.write_bytes(b"".join([*lines, lines[0][:9]]))
    reader = LogReader(tmp_path / "r")
    assert len(list(reader.new())) == len(lines) and not list(reader.new())
    with log.open("ab") as file:
        file.write(lines[0][9:])
    assert [record.kind for record in reader.new()] == ["run_created"]


@pytest.mark.slow
def test_every_score_of_the_curve_has_an_interval_or_is_a_bound(run: Path) -> None:
    for point in read_run(run).to_json()["curve"]:
        if point["score"] is None:
            assert 0 <= point["bound"] <= 1 and point["action"] == "reject"
        else:
            assert point["score"]["low"] <= point["score"]["value"] <= point["score"]["high"]


@pytest.mark.slow
def test_rollouts_name_their_task_and_use_and_stand_in_the_store(run: Path) -> None:
    view = read_run(run).to_json()
    columns = view["rollouts"]
    assert len({len(column) for column in columns.values()}) == 1
    for key, task, use in zip(columns["key"], columns["task"], columns["use"], strict=True):
        assert view["uses"][use]["split"] == view["tasks"][task]["split"]
        stored = json.loads((run.parent / "store" / key[:2] / key / "result.json").read_text())
        assert stored["task"] == view["tasks"][task]["name"]
    tests = [use["name"] for use in view["uses"] if use["split"] == "test"]
    roles = ("initial", "best", "final", "none")
    assert tests == [f"test, {role} skill" for role in roles]


@pytest.mark.slow
def test_the_change_of_a_step_goes_from_the_skill_before_to_the_candidate(run: Path) -> None:
    steps = [entry for entry in read_run(run).to_json()["entries"] if entry["gate"]]
    for entry in steps:
        file = run / "steps" / f"step_{entry['step']:04d}"
        prefix = "slow_" if entry["name"].startswith("slow") else ""
        candidate = (file / f"{prefix}candidate_skill.md").read_text().splitlines()
        added = [row["right"] for row in entry["diff"] if row["kind"] in ("added", "changed")]
        assert added
        for side in added:
            assert candidate[side["number"] - 1] == "".join(text for text, _ in side["parts"])


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 7, 60])
def test_a_run_read_as_it_grows_is_the_run_read_at_once(
    run: Path, tmp_path: Path, cut: int
) -> None:
    data = (run / LOG).read_bytes()
    growing = tmp_path / run.name
    growing.mkdir()
    first = data.index(b"\n") + 1
    (growing / LOG).write_bytes(data[:first])
    view = RunView(growing)
    for start in range(first, len(data), len(data) // cut + 1):
        with (growing / LOG).open("ab") as log:
            log.write(data[start : start + len(data) // cut + 1])
        assert view.refresh() or cut > 1
    shutil.copytree(run, tmp_path / "whole")
    whole = read_run(tmp_path / "whole").to_json()
    assert view.to_json() | {"folder": ""} == whole | {"folder": ""}
    assert not view.refresh()


def test_a_damaged_log_is_named_with_its_line(tmp_path: Path) -> None:
    synthetic_run(tmp_path / "r", steps=1, train=2, val=2, test=1, batch=2)
    log = tmp_path / "r" / LOG
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines[:2], "{}\n", *lines[2:]]))
    with pytest.raises(JournalError, match=r"events\.jsonl:3: not a record"):
        read_run(tmp_path / "r")
    with pytest.raises(RunError, match="no record in it"):
        read_run(tmp_path)
