"""SpreadsheetBench's tasks: what is read of a download, what agents get, how programs are run."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandboxes.base import Limits
from sandboxes.local_backend import LocalBackend
from skillopt.config.schema import TasksConfig
from skillopt.core.types import Reward, Task
from skillopt.tasks.benchmarks.prepare import benchmark, prepare
from skillopt.tasks.benchmarks.spreadsheetbench.layout import find_cases, read
from skillopt.tasks.environment import Environments
from skillopt.tasks.finishing import FILES, finish
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.sources import load_splits
from tests.helpers.benchmark_sets import write
from tests.helpers.benchmark_sets.spreadsheetbench import saved

pytestmark = pytest.mark.slow

COPY = "import openpyxl\nbook = openpyxl.load_workbook(INPUT_PATH)\n"
SAVE = "book.save(OUTPUT_PATH)\n"
SOLUTION = f"""{COPY}
sheet = book["S"]
sheet["C1"] = sheet["A1"].value * 2
{SAVE}"""


def older(folder: Path) -> Path:
    """The layout of the older sets, with three cases."""
    place = folder / "all_data_912" / "spreadsheet" / "7-1"
    for case in (1, 2, 3):
        saved(place / f"{case}_7-1_input.xlsx", A1=case)
        saved(place / f"{case}_7-1_answer.xlsx", A1=case, C1=2 * case)
    row = {"id": "7-1", "instruction": "Double A1 into C1.", "spreadsheet_path": "spreadsheet/7-1",
           "instruction_type": "Sheet-Level Manipulation", "answer_position": "'S'!C1"}  # fmt: skip
    (folder / "all_data_912" / "dataset.json").write_text(json.dumps([row]))
    return folder


def test_a_folder_or_its_archive(tmp_path: Path) -> None:
    download = older(tmp_path / "older")
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as archive:
        archive.add(download, ".")
    (item,), packed = read(download), read(tmp_path / "packed.tar.gz")
    assert [*packed] == [item]
    assert item.row["cases"] == 3 and len(item.files) == 6
    assert item.row["answers"] == ["4", "6"], "an input has a 2"


def test_cases_go_by_their_number(tmp_path: Path) -> None:
    for name in ("1_42930_init", "1_43930_golden", "10_42930_init", "10_42930_golden",
                 "2_42930_init", "3_42930_golden"):  # fmt: skip
        (tmp_path / f"{name}.xlsx").touch()
    assert [a.name.split("_")[0] for a, _ in find_cases(tmp_path)] == ["1", "10"]


def test_a_row_cannot_lead_out_of_the_download(tmp_path: Path) -> None:
    download = older(tmp_path / "download")
    (tmp_path / "elsewhere").mkdir()
    file = download / "all_data_912" / "dataset.json"
    (row,) = json.loads(file.read_text())
    folder = download / "all_data_912" / "spreadsheet" / "7-1"
    folder.rename(tmp_path / "elsewhere" / "7-1")
    file.write_text(json.dumps([row | {"spreadsheet_path": "../../elsewhere/7-1"}]))
    assert [*read(download)] == []


def test_broken_items_are_named(tmp_path: Path) -> None:
    download, splits = write("spreadsheetbench", tmp_path)
    root = download / "spreadsheetbench_verified_400"
    rows = json.loads((root / "dataset.json").read_text())
    rows[0]["answer_position"] = "A:G"
    rows[1]["answer_position"] = "BD2:308"
    rows[2]["answer_position"] = "'Sales'!F2:F3, 'Sales'!A1"
    folder = root / "spreadsheet" / rows[3]["id"]
    saved(folder / f"1_{rows[3]['id']}_golden.xlsx", A1="=1+1")
    rows[3] |= {"answer_position": "A1", "answer_sheet": ""}
    (root / "spreadsheet" / rows[4]["id"] / f"1_{rows[4]['id']}_golden.xlsx").write_bytes(b"PK")
    (root / "dataset.json").write_text(json.dumps(rows))
    ids = json.loads(splits.read_text())["splits"]
    notes = "\n".join(
        prepare(benchmark("spreadsheetbench"), download, tmp_path / "made", ids).notes
    )
    for number, problem in (
        (0, "no work can pass by the public scorer: position 'A:G'"),
        (0, "no work can pass by the reference scorer"),
        (1, "the unchanged input passes by the public scorer: position 'BD2:308'"),
        (2, "no work can pass by the public scorer"),
        (3, "the gold has formulas there whose values are not stored"),
        (4, "a workbook cannot be read"),
    ):
        assert f"{rows[number]['id']} ({'train' if number < 4 else 'val'}): {problem}" in notes
    assert not any(row["id"] in notes for row in rows[5:])
    assert f"{rows[2]['id']} (train): no work can pass by the reference" not in notes


def tasks(folder: Path, **options: Any) -> list[Task]:
    splits = {"train": ("7-1",), "val": (), "test": ()}
    if not (folder / "made").exists():
        prepare(benchmark("spreadsheetbench"), older(folder / "older"), folder / "made", splits)
    config = TasksConfig.model_validate(
        {"source": "spreadsheetbench", "path": str(folder / "made"), "options": options}
    )
    return list(load_splits(config, 7, folder)["train"])


def test_what_an_agent_is_given(tmp_path: Path) -> None:
    (task,) = tasks(tmp_path)
    (program,) = tasks(tmp_path, setting="program", preview=True)
    files = ["input_1.xlsx", "input_2.xlsx", "input_3.xlsx"]
    for each, names in ((task, files), (program, ["input.xlsx"])):
        place = tmp_path / each.digest
        place.mkdir()
        assert each.workspace is not None
        each.workspace(place)
        assert sorted(file.name for file in place.iterdir()) == names
        assert all(f"`{name}`" in each.instruction for name in names)
        assert "'S'!C1" in each.instruction and "Double A1 into C1." in each.instruction
    assert "`output_2.xlsx`" in task.instruction and "A1=1" not in task.instruction
    assert "`solution.py`" in program.instruction and "A1=1" in program.instruction
    assert task.digest != program.digest and task.family == "sheet_level"


def run(task: Task, folder: Path, solution: str | None = None, **files: Path) -> Reward:
    """Judge a workspace as a rollout does, its programs in local processes."""
    workspace, record = folder / "workspace", folder / "record"
    workspace.mkdir()
    record.mkdir()
    if solution is not None:
        (workspace / "solution.py").write_text(solution)
    for name, file in files.items():
        (workspace / f"{name}.xlsx").write_bytes(file.read_bytes())
    backend = LocalBackend()
    site = VerifierSite(backend.sandbox)
    finish(task, workspace, site, Environments(backend), "", record, Limits())
    assert task.verify is not None
    return task.verify(task, workspace, "", record)


def test_some_cases_are_a_part_of_the_reward(tmp_path: Path) -> None:
    (task,) = tasks(tmp_path)
    right = saved(tmp_path / "right.xlsx", C1=2)
    reward = run(task, tmp_path, output_1=right, output_2=right)
    assert reward.soft == pytest.approx(1 / 3) and reward.hard == 0.0
    assert reward.metrics == {"cases": 3.0, "passed": 1.0}
    assert "output_2.xlsx: S!C1" in reward.feedback and "output_3.xlsx: there is" in reward.feedback


FROM_ENV = f"import os\nINPUT_PATH = os.environ['INPUT_PATH']\n{SOLUTION}"
HARD_CODED = SOLUTION.replace('sheet["A1"].value * 2', "2")
PROGRAMS = {
    "right": (SOLUTION, 1.0, ""),
    "with paths of its own": (f"INPUT_PATH = 'input.xlsx'\n{SOLUTION}", 1.0, ""),
    "with paths from its variables": (FROM_ENV, 1.0, ""),
    "hard-coded": (HARD_CODED, 1 / 3, "output_2.xlsx: S!C1 has"),
    "wrong": (f"{COPY}book['X']", 0.0, "solution.py failed: KeyError: 'Worksheet X"),
    "wrong at its end": (f"{SOLUTION}raise SystemExit(3)", 0.0, "failed: exit code 3"),
    "idle": ("print('done')", 0.0, "solution.py wrote no file to OUTPUT_PATH"),
    "endless": ("while True: pass", 0.0, "solution.py was ended after 1 s"),
    "missing": (None, 0.0, "solution.py is missing"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str, tmp_path: Path) -> None:
    solution, soft, feedback = PROGRAMS[name]
    (task,) = tasks(tmp_path, setting="program")
    (step,) = task.finish

    def sooner(folder: Path) -> None:
        step.files(folder)
        text = (folder / "run.py").read_text()
        assert "SECONDS = 120" in text
        if name == "endless":
            (folder / "run.py").write_text(text.replace("SECONDS = 120", "SECONDS = 1"))

    planted = saved(tmp_path / "planted.xlsx", C1=2)
    task = replace(task, finish=(replace(step, files=sooner),))
    reward = run(task, tmp_path, solution, output_1=planted)
    assert reward.soft == pytest.approx(soft), "a planted output counts for nothing"
    assert feedback in reward.feedback


def test_a_program_sees_no_expected_workbook(tmp_path: Path) -> None:
    (task,) = tasks(tmp_path, setting="program")
    (step,) = task.finish
    (tmp_path / "files").mkdir()
    step.files(tmp_path / "files")
    names = sorted(file.name for file in (tmp_path / "files").iterdir())
    assert names == ["input_1.xlsx", "input_2.xlsx", "input_3.xlsx", "outputs.json", "run.py"]
    assert FILES.startswith("/skillopt/")


NOISY = f"""{SOLUTION}
import os
for descriptor in (1, 2):
    with open(f"/proc/{{os.getppid()}}/fd/{{descriptor}}", "w") as out:
        out.write("[1, 2\\n[\\n" + "[" * 100_000 + "\\n")
"""
KILLER = f"{SOLUTION}\nimport os, signal\nos.kill(os.getppid(), signal.SIGKILL)\n"


@pytest.mark.parametrize(("solution", "feedback"), [(NOISY, ""), (KILLER, "ended its sandbox")])
def test_a_program_that_disturbs_its_runner_decides_nothing_else(
    solution: str, feedback: str, tmp_path: Path
) -> None:
    (task,) = tasks(tmp_path, setting="program")
    reward = run(task, tmp_path, solution)
    assert reward.soft in (0.0, 1.0) and feedback in reward.feedback
