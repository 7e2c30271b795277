"""Transfer: the matrix starts where a skill was trained, is resumed, and tells what is kept."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from skillopt import RunResult, train
from skillopt.events import Event, RolloutStarted
from skillopt.stats import kept_share
from skillopt.transfer import Place, cell_json, subjects_of, to_svg, transfer
from tests.small import small_config
from tests.test_cli import skillopt, small_options


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("transfer")


@pytest.fixture(scope="module")
def result(folder: Path) -> RunResult:
    return train(small_config(folder))


def test_the_source_comes_first_and_nothing_is_run_twice(result: RunResult, folder: Path) -> None:
    places = [Place("direct", "sim-2"), Place("direct", "sim-1")]
    subjects = subjects_of([str(result.folder), str(result.folder / "skills/skill_v0000.md")])
    cells = list(transfer(small_config(folder), subjects, places, ["test", "val"]))
    assert [(c.subject, c.place.model, c.split) for c in cells[:4]] == [
        ("quickstart-local", "sim-1", "test"),
        ("skill_v0000.md", "sim-1", "test"),
        ("quickstart-local", "sim-2", "test"),
        ("skill_v0000.md", "sim-2", "test"),
    ]
    assert [c.is_source for c in cells[:4]] == [True, False, False, False]
    assert cells[0].row.gain is not None and cells[0].row.gain.value == 0.5
    seen: list[Event] = []
    again = list(
        transfer(small_config(folder), subjects, places, ["test", "val"], listeners=[seen.append])
    )
    assert not [event for event in seen if isinstance(event, RolloutStarted)]
    assert [cell_json(cell) for cell in again] == [cell_json(cell) for cell in cells]
    ElementTree.fromstring(to_svg(cells))


def test_what_is_kept_is_told_also_where_another_skill_was_trained(
    result: RunResult, folder: Path
) -> None:
    subjects = subjects_of([str(result.folder)])
    other = type(subjects[0])("other", subjects[0].skill, Place("direct", "sim-2"))
    cells = list(transfer(small_config(folder), [*subjects, other], [], ["test"]))
    assert [(c.subject, c.place.model, c.is_source) for c in cells] == [
        ("quickstart-local", "sim-1", True),
        ("other", "sim-1", False),
        ("quickstart-local", "sim-2", False),
        ("other", "sim-2", True),
    ]
    # Both have the same gains here: whatever one keeps, the other does.
    kept = [cell.kept for cell in cells]
    assert kept[0] is None and kept[3] is None and kept[1] == kept[2]


def test_the_command_writes_table_csv_json_and_heat_map(result: RunResult, folder: Path) -> None:
    out = folder / "out"
    options = ["--config", "quickstart/local", *small_options(folder), "-o", out]
    done = skillopt("transfer", result.folder, *options, "--to", "direct:sim-2", "--to", "direct")
    assert done.returncode == 0, done.stderr
    assert "trained here" in done.stdout and "sim-2" in done.stdout
    with (out / "transfer.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["sim-1", "sim-2"]
    assert json.loads((out / "transfer.json").read_text())[0]["trained_here"] is True
    assert "trained here" in (out / "heatmap.svg").read_text()
    wrong = skillopt("transfer", result.folder, *options, "--to", "codx")
    assert wrong.returncode == 2 and "codx" in wrong.stderr


def test_kept_shares() -> None:
    assert kept_share([1.0] * 20, [1.0] * 20) is not None
    half = kept_share([1.0] * 20, [1.0, 0.0] * 10)
    assert half is not None and half.value == 0.5 and half.low < 0.5 < half.high
    assert kept_share([0.0] * 20, [1.0] * 20) is None
    assert kept_share([1.0, -1.0] * 10, [1.0] * 20) is None


def test_hostile_names_stay_text_in_the_heat_map(result: RunResult, folder: Path) -> None:
    evil = folder / "<script>alert(1)<"
    evil.mkdir()
    path = evil / "x"
    path.mkdir()
    (path / "SKILL.md").write_text("---\nname: x\ndescription: d\n---\n")
    subject = subjects_of([str(path)])[0]
    renamed = type(subject)("<script>&", subject.skill, None)
    cells = list(transfer(small_config(folder), [renamed], [Place("direct", "sim-1")], ["val"]))
    root = ElementTree.fromstring(to_svg(cells))
    assert not [node for node in root.iter() if node.tag.endswith("script")]
