"""What the page is told of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from skillopt.report.view import RunView, read_run
from skillopt.run.folder import RunError
from skillopt.run.journal import LOG, JournalError
from tests.helpers.synthetic_run import synthetic_run


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


def test_every_score_of_the_curve_has_an_interval_or_is_a_bound(run: Path) -> None:
    for point in read_run(run).to_json()["curve"]:
        if point["score"] is None:
            assert 0 <= point["bound"] <= 1 and point["action"] == "reject"
        else:
            assert point["score"]["low"] <= point["score"]["value"] <= point["score"]["high"]


def test_rollouts_name_their_task_and_use_and_stand_in_the_store(run: Path) -> None:
    view = read_run(run).to_json()
    columns = view["rollouts"]
    assert len({len(column) for column in columns.values()}) == 1
    for key, task, use in zip(columns["key"], columns["task"], columns["use"], strict=True):
        assert view["uses"][use]["split"] == view["tasks"][task]["split"]
        stored = json.loads((run.parent / "store" / key[:2] / key / "result.json").read_text())
        assert stored["task"] == view["tasks"][task]["name"]
    tests = [use["name"] for use in view["uses"] if use["split"] == "test"]
    assert tests == ["test, initial skill", "test, best skill", "test, final skill"]


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
