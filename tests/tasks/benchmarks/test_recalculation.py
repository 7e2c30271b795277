"""LibreOffice computes the formulas of an agent's workbooks, in an image of its own, as the public
step does: every pair of the parity table. The image takes a minute to build, and these files some
minutes, so that only ``make test-all`` does it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sandboxes.base import ImageMissingError, Limits
from sandboxes.docker_backend import DockerBackend
from sandboxes.engine import LIBREOFFICE_IMAGE
from sandboxes.images import AGENT_BASE_IMAGE, build, extra_image
from skillopt.core.types import Task
from skillopt.tasks.benchmarks.spreadsheetbench.benchmark import recalculation
from skillopt.tasks.benchmarks.spreadsheetbench.score import RECALCULATION, Judge
from skillopt.tasks.environment import Environments
from skillopt.tasks.finishing import ending, finish
from skillopt.tasks.judging import VerifierSite
from tests.helpers.benchmark_sets import prepared
from tests.helpers.cells import ALL_CELLS
from tests.helpers.command_line import skillopt
from tests.helpers.parity import PARITY

pytestmark = pytest.mark.slow

ROWS = [json.loads(line) for line in (PARITY / "spreadsheet-pairs.jsonl").open()]
LIMITS = Limits(disk_mb=4096)


def computed(backend: DockerBackend, workspace: Path, record: Path) -> Task:
    """A task whose outputs, all that are in the workspace, have been computed."""
    names = tuple(sorted(file.name for file in workspace.iterdir()))
    task = Task(name="t", instruction="", digest="", finish=(recalculation(names),))
    site = VerifierSite(backend.sandbox)
    finish(task, workspace, site, Environments(backend), AGENT_BASE_IMAGE, record, LIMITS)
    return task


@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not ALL_CELLS, reason="builds an image: make test-all")
def test_the_public_verdicts_after_recalculation(tmp_path: Path) -> None:
    backend = DockerBackend()
    build(backend.engine, extra_image("libreoffice"))
    workspace, record = tmp_path / "workspace", tmp_path / "record"
    workspace.mkdir()
    for row in ROWS:
        for kind in ("gold", "pred"):
            shutil.copy(PARITY / row[kind], workspace / f"{row['id']}-{kind}.xlsx")
    computed(backend, workspace, record)
    assert ending(record, RECALCULATION).exit_code == 0
    for row in ROWS:
        found = workspace / f"{row['id']}-pred.xlsx"
        for gold, column in (
            (PARITY / row["gold"], "pred_recalculated"),
            (workspace / f"{row['id']}-gold.xlsx", "both_recalculated"),
        ):
            judge = Judge(
                (gold,), (found.name,), row["answer_position"], row["answer_sheet"], "public",
                (RECALCULATION,),
            )  # fmt: skip
            reward = judge(Task(name="t", instruction="", digest=""), workspace, "", record)
            assert reward.hard == float(row["expected"][column]), (row["id"], column)
    backend.close()


def test_sandboxes_without_images_are_refused_at_the_start(tmp_path: Path) -> None:
    made = prepared("spreadsheetbench", tmp_path)
    for given, code in ((["sandbox.kind=local"], 2), (["sandbox.kind=docker"], 0)):
        settings = [*given, f"tasks.path={made}", "tasks.options.recalculate=true"]
        options = [f"--set={setting}" for setting in settings]
        done = skillopt("train", "configs/spreadsheetbench/direct.yaml", "--dry-run", *options)
        assert done.returncode == code, done.stderr
        assert (LIBREOFFICE_IMAGE in done.stderr) is (code == 2)


@pytest.mark.engine
def test_a_missing_image_is_said_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "skillopt/libreoffice:none"
    monkeypatch.setattr("sandboxes.engine.EXTRA_IMAGES", {"libreoffice": missing})
    monkeypatch.setattr(
        "skillopt.tasks.benchmarks.spreadsheetbench.benchmark.LIBREOFFICE_IMAGE", missing
    )
    (tmp_path / "workspace").mkdir()
    with pytest.raises(ImageMissingError, match="skillopt images build libreoffice"):
        computed(DockerBackend(), tmp_path / "workspace", tmp_path)
