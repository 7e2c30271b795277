"""Transfer: the matrix starts where a skill was trained, is resumed, and tells what is kept."""

from __future__ import annotations

import csv
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from skillopt import RunResult
from skillopt.config.loading import ConfigError
from skillopt.core.errors import PausedError
from skillopt.core.skill import Skill
from skillopt.evaluation.stats import kept_share
from skillopt.evaluation.transfer import AgentModel, cell_json, subjects_of, to_svg, transfer
from skillopt.rollouts.runner import RolloutRunner
from skillopt.run.events import Event, RolloutStarted
from tests.helpers.command_line import skillopt, small_options
from tests.helpers.small import small_config, trained


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return trained(tmp_path_factory.mktemp("transfer"))


@pytest.fixture(scope="module")
def folder(result: RunResult) -> Path:
    """Where that run is, and others find its rollouts."""
    return result.folder.parent.parent


@pytest.mark.slow
def test_the_source_comes_first_and_nothing_is_run_twice(result: RunResult, folder: Path) -> None:
    places = [AgentModel("direct", "sim-2"), AgentModel("direct", "sim-1")]
    paths = [str(result.folder), str(result.folder / "skills/skill_v0000.md")]
    subjects = subjects_of(small_config(folder), paths)
    cells = list(transfer(small_config(folder), subjects, places, ["test", "val"]))
    assert [(c.subject, c.place.model, c.split) for c in cells[:4]] == [
        ("quickstart-local", "sim-1", "test"),
        ("skill_v0000", "sim-1", "test"),
        ("quickstart-local", "sim-2", "test"),
        ("skill_v0000", "sim-2", "test"),
    ]
    assert [c.is_source for c in cells[:4]] == [True, False, False, False]
    assert cells[0].row and cells[0].row.gain and cells[0].row.gain.value == 0.5
    seen: list[Event] = []
    again = list(
        transfer(small_config(folder), subjects, places, ["test", "val"], listeners=[seen.append])
    )
    assert not [event for event in seen if isinstance(event, RolloutStarted)]
    assert [cell_json(cell) for cell in again] == [cell_json(cell) for cell in cells]
    ElementTree.fromstring(to_svg(cells))


@pytest.mark.slow
def test_what_is_kept_is_told_also_where_another_skill_was_trained(
    result: RunResult, folder: Path
) -> None:
    subjects = subjects_of(small_config(folder), [str(result.folder)])
    other = type(subjects[0])("other", subjects[0].skill, AgentModel("direct", "sim-2"))
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_matrix_can_stand_in_the_config(result: RunResult, folder: Path) -> None:
    out, initial = folder / "out2", result.folder / "skills" / "skill_v0000.md"
    matrix = f"{{skills: [{result.folder}, {initial}], to: [direct:sim-2, direct:sim:sim-1]}}"
    more = "transfer.splits=[test, val]"
    options = ["--config", "quickstart/local", *small_options(folder), "-o", out]
    options += ["--set", f"transfer={matrix}", "--set", more]
    done = skillopt("transfer", *options, "--json")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)
    assert [(c["split"], c["model"], c["skill"]) for c in cells] == [
        (split, model, skill)
        for split in ("test", "val")
        for model in ("sim-1", "sim-2")
        for skill in ("quickstart-local", "skill_v0000")
    ]
    assert [c["trained_here"] for c in cells[:4]] == [True, False, False, False]
    fewer = skillopt("transfer", initial, *options, "--to", "direct", "--split", "val", "--json")
    (cell,) = json.loads(fewer.stdout)
    assert (cell["split"], cell["model"], cell["skill"]) == ("val", "sim-1", "skill_v0000")
    # It may change between two starts of a run: it says nothing about training.
    again = skillopt(
        "train", "quickstart/local", *small_options(folder), "--set", f"transfer={matrix}"
    )
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "to=[codx]",
            "'codx' is not one of direct, codex, claude-code, opencode (did you mean 'codex'?)",
        ),
        ("to=[direct:nowhere:gpt]", "'nowhere' is not in upstreams (sim)"),
        ("splits=[tests]", "'tests' is not one of 'train', 'val' or 'test' (did you mean 'test'?)"),
        ("splits=[]", "transfer.splits"),
        ("skills=[none]", "none: is measured in every place anyway"),
        ("skills=[]", "name a skill or a run"),
    ],
)
def test_an_unusable_matrix_is_refused_before_anything_runs(
    setting: str, message: str, folder: Path
) -> None:
    options = ["--config", "quickstart/local", *small_options(folder), "-o", folder / "no"]
    done = skillopt("transfer", *options, "--set", f"transfer.{setting}")
    assert done.returncode == 2 and message in done.stderr
    assert "Traceback" not in done.stderr and not (folder / "no").exists()


def test_a_run_from_an_unknown_upstream_is_not_scored_at_another_one(
    result: RunResult, folder: Path
) -> None:
    config = small_config(folder)
    sim = config.upstreams["sim"]
    elsewhere = config.model_copy(
        update={
            "upstreams": {"other": sim},
            "target": config.target.model_copy(update={"upstream": "other"}),
        }
    )
    with pytest.raises(ConfigError, match=r"'sim' is not in upstreams \(other\)"):
        subjects_of(elsewhere, [str(result.folder)])


def test_skills_of_the_same_name_are_told_apart(result: RunResult, folder: Path) -> None:
    other = folder / "copy" / "best_skill"
    shutil.copytree(result.folder / "best_skill", other)
    paths = [str(result.folder / "best_skill" / "house-rules"), str(other / "house-rules")]
    assert [subject.name for subject in subjects_of(small_config(folder), paths)] == paths


@pytest.mark.slow
def test_a_place_that_fails_does_not_lose_the_others_and_is_tried_again(
    result: RunResult, folder: Path
) -> None:
    """A service that nobody runs: an infrastructure failure there, each time."""
    options = ["--config", "quickstart/local", *small_options(folder), "-o", folder / "failing"]
    options += ["--set", "rollout_tries=1", "--set", "patience=1", "--split", "val"]
    gone = "{kind: openai-compatible, base_url: 'http://127.0.0.1:1'}"
    options += ["--set", f"upstreams.gone={gone}"]
    done = skillopt(
        "transfer", result.folder, *options, "--to", "direct:gone:m", "--to", "direct:sim-3"
    )
    assert done.returncode == 3 and "run the same command to try again" in done.stderr
    assert "failed" in done.stdout and "quickstart-local" in done.stdout
    with (folder / "failing" / "transfer.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["harness"], row["model"], bool(row["failed"])) for row in rows] == [
        ("direct", "sim-1", False), ("direct", "gone:m", True), ("direct", "sim-3", False),
    ]  # fmt: skip
    assert rows[1]["solved"] == "" and float(rows[2]["gain"]) == 0.5
    assert "#cccccc" in (folder / "failing" / "heatmap.svg").read_text()


def test_agents_that_the_sandboxes_cannot_run_are_refused_at_once(
    result: RunResult, folder: Path
) -> None:
    options = ["--config", "quickstart/local", *small_options(folder), "-o", folder / "refused"]
    done = skillopt("transfer", result.folder, *options, "--to", "direct:sim-3", "--to", "codex")
    assert done.returncode == 2 and "harness.name: 'codex' needs sandboxes" in done.stderr
    assert not list((folder / "refused").iterdir())


@pytest.mark.slow
def test_one_skill_that_fails_does_not_lose_the_others(
    result: RunResult, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(result.folder / "skills" / "skill_v0000.md"), str(result.folder)]
    real = RolloutRunner.rollouts

    def failing(runner: RolloutRunner, tasks: Any, skill: Skill | None, **more: Any) -> Any:
        if skill is not None and skill.digest == result.initial.digest:
            raise PausedError("no luck")
        return real(runner, tasks, skill, **more)

    monkeypatch.setattr(RolloutRunner, "rollouts", failing)
    subjects = subjects_of(small_config(folder), paths)
    cells = list(
        transfer(small_config(folder), subjects, [AgentModel("direct", "sim-2")], ["test"])
    )
    assert [cell.failed for cell in cells] == ["no luck", "", "no luck", ""]
    assert cells[3].row and cells[3].row.gain and cells[3].row.gain.value == 0.5


def test_kept_shares() -> None:
    assert kept_share([1.0] * 20, [1.0] * 20) is not None
    half = kept_share([1.0] * 20, [1.0, 0.0] * 10)
    assert half is not None and half.value == 0.5 and half.low < 0.5 < half.high
    assert kept_share([0.0] * 20, [1.0] * 20) is None
    assert kept_share([1.0, -1.0] * 10, [1.0] * 20) is None


@pytest.mark.slow
def test_hostile_names_stay_text_in_the_heat_map(result: RunResult, folder: Path) -> None:
    evil = folder / "<script>alert(1)<"
    evil.mkdir()
    path = evil / "x"
    path.mkdir()
    (path / "SKILL.md").write_text("---\nname: x\ndescription: d\n---\n")
    subject = subjects_of(small_config(folder), [str(path)])[0]
    renamed = type(subject)("<script>&", subject.skill, None)
    cells = list(
        transfer(small_config(folder), [renamed], [AgentModel("direct", "sim-1")], ["val"])
    )
    root = ElementTree.fromstring(to_svg(cells))
    assert not [node for node in root.iter() if node.tag.endswith("script")]
