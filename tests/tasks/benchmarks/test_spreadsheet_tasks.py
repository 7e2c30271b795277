"""SpreadsheetBench's tasks: what is read of a download, and how an agent's workbooks are judged."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from sandboxes.base import Limits
from sandboxes.local_backend import LocalBackend
from skillopt.config.schema import TasksConfig
from skillopt.core.types import Reward, Task, named_task
from skillopt.tasks.benchmarks.limited import LimitError, limited
from skillopt.tasks.benchmarks.prepare import benchmark, prepare
from skillopt.tasks.benchmarks.spreadsheetbench import score
from skillopt.tasks.benchmarks.spreadsheetbench.layout import find_cases, read
from skillopt.tasks.benchmarks.spreadsheetbench.score import Judge
from skillopt.tasks.environment import Environments
from skillopt.tasks.finishing import FILES, finish
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.sources import load_splits
from tests.helpers.benchmark_sets import write
from tests.helpers.parity import PARITY, parity

COPY = "import openpyxl\nbook = openpyxl.load_workbook(INPUT_PATH)\n"
SAVE = "book.save(OUTPUT_PATH)\n"
SOLUTION = f"""{COPY}
sheet = book["S"]
sheet["C1"] = sheet["A1"].value * 2
{SAVE}"""


def saved(path: Path, **cells: Any) -> Path:
    made = Workbook()
    sheet = made.worksheets[0]
    sheet.title = "S"
    for name, value in cells.items():
        sheet[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path)
    return path


def judged(folder: Path, gold: Path, output: Path, position: str = "'S'!C1") -> Reward:
    judge = Judge((gold,), (output.name,), position, "", "public")
    return judge(named_task("t"), output.parent, "", folder)


@parity("spreadsheet-pairs")
def test_the_judge_gives_the_public_verdict(row: dict[str, Any], tmp_path: Path) -> None:
    gold, output = PARITY / row["gold"], PARITY / row["pred"]
    for scorer, column in (("public", "expected"), ("reference", "reference")):
        judge = Judge((gold,), (output.name,), row["answer_position"], row["answer_sheet"], scorer)
        reward = judge(named_task("t"), output.parent, "", tmp_path)
        assert reward.hard == reward.soft == float(row[column]["as_is"])
        assert bool(reward.feedback) != row[column]["as_is"]


def test_feedback_names_the_cell_and_not_what_is_expected(tmp_path: Path) -> None:
    gold = saved(tmp_path / "gold.xlsx", C1="Zanzibar", C2=4711, C3="=1+1", C4=5, D1=9)
    output = saved(tmp_path / "output.xlsx", C1=3, C2="=A1*2", C3=2)
    feedback = judged(tmp_path, gold, output, "'S'!C1:C4,'T'!A1").feedback
    assert "S!C1 has the number '3', where a text is expected" in feedback
    assert "S!C2 has a formula without a stored value" in feedback
    assert "S!C4 is empty" in feedback and "no sheet 'T'" in feedback
    assert "Zanzibar" not in feedback and "4711" not in feedback


def no_file(output: Path) -> None:
    output.unlink()


def a_folder(output: Path) -> None:
    output.unlink()
    output.mkdir()


def no_workbook(output: Path) -> None:
    output.write_bytes(b"PK\x03\x04 not a workbook")


def many_zeros(output: Path) -> None:
    """A small file with a sheet of 200 megabytes."""
    unpacked = {}
    with zipfile.ZipFile(output) as archive:
        unpacked = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in unpacked.items():
            if not name.endswith("sheet1.xml"):
                archive.writestr(name, content)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            start = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
            sheet.write(start + b'<sheetData><row r="1"><c r="A1" t="str"><v>')
            for _ in range(200):
                sheet.write(b"0" * 1024 * 1024)
            sheet.write(b"</v></c></row></sheetData></worksheet>")


def entities(output: Path) -> None:
    """Ten entities, each ten of the one before it."""
    with zipfile.ZipFile(output) as archive:
        unpacked = {name: archive.read(name) for name in archive.namelist()}
    names = [f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10)]
    kind = f'<!DOCTYPE worksheet [<!ENTITY e0 "0000000000">{"".join(names)}]>'
    sheet = unpacked["xl/worksheets/sheet1.xml"].decode().replace("<worksheet", f"{kind}<worksheet")
    unpacked["xl/worksheets/sheet1.xml"] = sheet.replace("<sheetData>", "<sheetData>&e9;").encode()
    with zipfile.ZipFile(output, "w") as archive:
        for name, content in unpacked.items():
            archive.writestr(name, content)


SPOILT: dict[Callable[[Path], None], str] = {
    no_file: "there is no such file",
    a_folder: "there is no such file",
    no_workbook: "cannot be read as a workbook",
    many_zeros: "reading it took more than",
    entities: "cannot be read as a workbook",
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_no_workbook_of_an_agent_stops_a_run(
    spoil: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "limited", partial(limited, memory_mb=500))
    gold, output = (saved(tmp_path / name, C1=1) for name in ("gold.xlsx", "output.xlsx"))
    spoil(output)
    reward = judged(tmp_path, gold, output)
    assert reward.soft == 0.0 and SPOILT[spoil] in reward.feedback


def busy(given: Any) -> None:
    while True:
        given += 1


def environment(given: Any) -> dict[str, str]:
    return dict(os.environ)


def test_a_process_with_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    assert "secret" not in limited(environment, 0).values()
    with pytest.raises(LimitError, match="1 s of work"):
        limited(busy, 0, seconds=1)


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
