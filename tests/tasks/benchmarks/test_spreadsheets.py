"""SpreadsheetBench without another process: reading, what is said, verdicts, what agents get."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openpyxl import Workbook

from sandboxes.engine import LIBREOFFICE_IMAGE
from skillopt.core.types import named_task
from skillopt.tasks.benchmarks.base import Item, Kept
from skillopt.tasks.benchmarks.limited import LimitError
from skillopt.tasks.benchmarks.spreadsheetbench import benchmark, layout, reading, score
from skillopt.tasks.benchmarks.spreadsheetbench.benchmark import SpreadsheetBenchOptions, notes
from skillopt.tasks.benchmarks.spreadsheetbench.compare import compare
from skillopt.tasks.benchmarks.spreadsheetbench.inside import program, recalculate
from skillopt.tasks.benchmarks.spreadsheetbench.positions import Block, column_name, parts
from skillopt.tasks.benchmarks.spreadsheetbench.score import Judge
from skillopt.tasks.rewards import VerifierError
from tests.helpers.benchmark_sets.spreadsheetbench import saved


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is run in a process of its own."""
    for module in (score, layout):
        monkeypatch.setattr(module, "limited", lambda function, given, **_: function(given))


def compared(folder: Path, gold: dict[str, Any], found: dict[str, Any], position: str) -> Any:
    files = [saved(folder / name, **cells) for name, cells in (("g.xlsx", gold), ("f.xlsx", found))]
    given = {"gold": str(files[0]), "found": str(files[1]), "position": position}
    return reading.judge(given | {"sheet": "", "scorer": "public"})


WHEN = datetime.datetime(2024, 1, 2)


@pytest.mark.parametrize(
    ("gold", "found", "said"),
    [
        (5, None, "S!A1 is empty"),
        (5, "=1+1", "S!A1 has a formula without a stored value, which counts as empty"),
        (5, 6, "S!A1 has '6', which is not the expected value"),
        (5, "six", "S!A1 has the text 'six', where a number is expected"),
        ("six", 5, "S!A1 has the number '5', where a text is expected"),
        (
            5,
            WHEN,
            "S!A1 has the date or time '2024-01-02 00:00:00', where a number is expected",
        ),
        (WHEN.time(), "x", "S!A1 has the text 'x', where a date or time is expected"),
        (None, 6, "S!A1 has '6', which is not the expected value"),
        ("5", "6", "S!A1 has '6', which is not the expected value"),
        (5, "x" * 70, f"S!A1 has the text '{'x' * 59}, where a number is expected"),
        (True, "x", "S!A1 has the text 'x', where a number is expected"),
    ],
)
def test_what_differs_is_said_by_its_kind(gold: Any, found: Any, said: str, tmp_path: Path) -> None:
    told = compared(tmp_path, {"A1": gold}, {"A1": found}, "A1:A2")
    assert told == {"equal": False, "notes": [said]}


def test_five_of_the_differences_are_shown(tmp_path: Path) -> None:
    gold = {f"A{n}": n for n in range(1, 8)}
    for differing, more in ((5, []), (7, ["7 cells differ in all"])):
        found = {cell: value + 100 * (value <= differing) for cell, value in gold.items()}
        told = compared(tmp_path, gold, found, "A1:A7")
        assert told["notes"][:5] == [
            f"S!A{n} has '{n + 100}', which is not the expected value" for n in range(1, 6)
        ]
        assert told["notes"][5:] == more
    assert compared(tmp_path, gold, gold, "A1:A7") == {"equal": True, "notes": []}


def test_a_missing_sheet_and_a_position_that_cannot_be_compared_are_said(tmp_path: Path) -> None:
    cells = {"A1": 1}
    assert compared(tmp_path, cells, cells, "'T'!A1")["notes"] == ["there is no sheet 'T'"]
    (said,) = compared(tmp_path, cells, cells, "A:G")["notes"]
    assert said == "the answer position cannot be compared there (ValueError)"
    (tmp_path / "f.xlsx").write_bytes(b"PK")
    given = {"gold": str(tmp_path / "g.xlsx"), "found": str(tmp_path / "f.xlsx"), "sheet": "",
             "position": "A1", "scorer": "public"}  # fmt: skip
    (said,) = reading.judge(given)["notes"]
    assert said.startswith("cannot be read as a workbook: ")


def examined(
    folder: Path, *cases: tuple[dict[str, Any], dict[str, Any]], position: str = "C1"
) -> Any:
    made = [
        {
            "input": str(saved(folder / f"i{n}.xlsx", **given)),
            "gold": str(saved(folder / f"g{n}.xlsx", **gold)),
        }
        for n, (given, gold) in enumerate(cases)
    ]
    return reading.examine({"cases": made, "position": position, "sheet": ""})


BOTH = ["public", "reference"]


@pytest.mark.parametrize(
    ("cases", "position", "answers", "problems"),
    [
        ([({"A1": 1}, {"A1": 1, "C1": 2})], "C1", ["2"], []),
        ([({"A1": 2}, {"A1": 2, "C1": 2})], "C1", [], []),
        ([({"A1": 2}, {"C1": 3}), ({"A1": 3}, {"C1": 4})], "C1", ["4"], []),
        ([({"C1": 2}, {"C1": 2})], "C1", [], [f"input:{s}" for s in BOTH]),
        ([({}, {"C1": 2})], "C:D", [], [f"gold:{s}" for s in BOTH]),
        ([({}, {"C1": 2})], "'T'!C1", [], [f"gold:{s}" for s in BOTH]),
        ([({"C1": 9}, {"C1": "=1+1"})], "C1", [], ["uncached"]),
        ([({}, {"C1": True, "C2": "x" * 200, "C3": "y" * 201})], "C1:C3", ["x" * 200], []),
        ([({}, {"C1": " a ", "C2": "a"})], "C1:C2", ["a"], []),
    ],
)
def test_what_is_to_be_known_of_an_item(
    cases: Any, position: str, answers: list[str], problems: list[str], tmp_path: Path
) -> None:
    found = examined(tmp_path, *cases, position=position)
    assert (found["answers"], found["problems"]) == (answers, problems)


def test_so_many_answers_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_ANSWERS", 2)
    cells = {f"C{n}": f"answer {n}" for n in range(1, 4)}
    assert examined(tmp_path, ({}, cells), position="C1:C3")["answers"] == ["answer 1", "answer 2"]


def test_a_workbook_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "broken.xlsx").write_bytes(b"PK")
    good = {
        "input": str(saved(tmp_path / "i.xlsx", A1=1)),
        "gold": str(saved(tmp_path / "g.xlsx", C1=2)),
    }
    cases = [{**good, "input": str(tmp_path / "broken.xlsx")}, good]
    found = reading.examine({"cases": cases, "position": "C1", "sheet": ""})
    assert found["problems"] == ["unreadable"] and found["answers"] == ["2"]
    assert found["preview"].startswith("## Sheet 'S' (A1:A1, 1 rows, 1 columns)\nA1=1")


def test_the_beginning_of_each_sheet_is_shown(tmp_path: Path) -> None:
    book = Workbook()
    book.worksheets[0].title = "One"
    for row in range(1, 8):
        book.worksheets[0].append([row, None, "x" * (38 + row)])
    book.create_sheet("Two").cell(1, 22).value = "far"
    book.save(tmp_path / "i.xlsx")
    gold = saved(tmp_path / "g.xlsx", A1=1)
    case = {"input": str(tmp_path / "i.xlsx"), "gold": str(gold)}
    shown = reading.examine({"cases": [case], "position": "A1", "sheet": ""})["preview"]
    lines = shown.split("\n")
    assert lines[:3] == [
        "## Sheet 'One' (A1:C7, 7 rows, 3 columns)",
        f"A1=1 | B1= | C1={'x' * 39}",
        f"A2=2 | B2= | C2={'x' * 40}",
    ]
    assert lines[3] == f"A3=3 | B3= | C3={'x' * 37}..." and lines[6] == "... (2 more rows)"
    assert lines[7] == "" and lines[8] == "## Sheet 'Two' (V1:V1, 1 rows, 22 columns)"
    assert lines[9].endswith("T1=") and len(lines) == 11


@pytest.mark.parametrize(
    ("block", "inside", "outside"),
    [
        (Block(1, 1, 2, 2), Block(1, 1, 2, 2), None),
        (Block(2, 2, 1, 5), Block(2, 2, 1, 5), None),
        (Block(0, 1, 2, 2), Block(1, 1, 0, 0), "1"),
        (Block(1, 0, 2, 2), Block(1, 1, 0, 0), "A0"),
        (Block(1, 1, 1, 1048576), Block(1, 1, 1, 1048576), None),
        (Block(1, 2, 3, 1048577), Block(1, 2, 1, 1048576), "A1048577"),
        (Block(1, 1048577, 1, 1048577), Block(1, 1, 0, 0), "A1048577"),
        (Block(1, 3, 16384, 4), Block(1, 3, 16384, 4), None),
        (Block(2, 3, 18279, 4), Block(2, 3, 18278, 4), "AAAA3"),
        (Block(18279, 3, 18279, 4), Block(1, 1, 0, 0), "AAAA3"),
    ],
)
def test_a_block_ends_where_workbooks_do(block: Block, inside: Block, outside: str | None) -> None:
    assert block.split() == (inside, outside)
    assert block.empty == (block.last_column < block.first_column)


@pytest.mark.parametrize(
    ("number", "name"), [(0, ""), (1, "A"), (26, "Z"), (27, "AA"), (702, "ZZ"), (703, "AAA")]
)
def test_columns_have_letters(number: int, name: str) -> None:
    assert column_name(number) == name


def test_the_two_scorers_read_a_position_in_their_ways() -> None:
    text = "'a b'!A1, ,\"c\"!B2"
    assert [(p.sheet, p.cells) for p in parts(text, "reference")] == [("a b", "A1"), ("c", "B2")]
    public = [(p.sheet, p.cells) for p in parts(text, "public")]
    assert public[0] == ("a b", "A1") and len(public) == 3


def verdict(
    folder: Path, *outputs: int | None, finished: tuple[str, ...] = (), **ends: tuple[int, Any, str]
) -> Any:
    """The reward of workbooks with a value in C1, of which 2 is expected."""
    gold, names = saved(folder / "gold.xlsx", C1=2), []
    for number, value in enumerate(outputs):
        names.append(f"o{number}.xlsx")
        if value is not None:
            saved(folder / names[-1], C1=value)
    (folder / "verifier").mkdir(exist_ok=True)
    for name, (code, limit, output) in ends.items():
        (folder / "verifier" / f"{name}.json").write_text(
            json.dumps({"exit_code": code, "limit": limit})
        )
        (folder / "verifier" / f"{name}.txt").write_text(output)
    judge = Judge((gold,) * len(outputs), tuple(names), "C1", "", "public", finished)
    return judge(named_task("t"), folder, "", folder)


@pytest.mark.parametrize(
    ("outputs", "soft", "solved", "said"),
    [
        ((2,), 1.0, True, []),
        ((2, 3), 0.5, False, ["o1.xlsx: S!C1 has '3', which is not the expected value"]),
        ((None, 2), 0.5, False, ["o0.xlsx: there is no such file"]),
        ((None,), 0.0, False, ["o0.xlsx: there is no such file"]),
    ],
)
def test_the_reward_is_the_share_of_cases(
    outputs: tuple[int | None, ...], soft: float, solved: bool, said: list[str], tmp_path: Path
) -> None:
    found = verdict(tmp_path, *outputs)
    assert (found.soft, found.solved, found.feedback.splitlines()) == (soft, solved, said)
    passed = sum(value == 2 for value in outputs)
    assert found.metrics == {"cases": len(outputs), "passed": passed}


@pytest.mark.parametrize(
    ("end", "soft", "said"),
    [
        ((0, "", '["", ""]'), 1.0, []),
        ((0, "", 'noise\n["", "failed: KeyError"]\n[1, 2, 3]\n{'), 0.5, ["o1: failed: KeyError"]),
        ((0, "", ""), 0.0, ["o0: left no report", "o1: left no report"]),
        ((0, "", '["one"]'), 0.0, ["o0: left no report", "o1: left no report"]),
        ((3, "", ""), 0.0, ["o0: ended its sandbox", "o1: ended its sandbox"]),
        ((137, "memory", ""), 0.0, ["o0: was ended at its memory limit"] * 2),
        ((0, "", json.dumps(["x" * 500, ""])), 0.5, [f"o0: {'x' * 400}"]),
    ],
)
def test_a_program_that_failed_has_no_output(
    end: tuple[int, str, str], soft: float, said: list[str], tmp_path: Path
) -> None:
    found = verdict(tmp_path, 2, 2, finished=("program",), program=end)
    lines = [line.replace(".xlsx: solution.py ", ": ") for line in found.feedback.splitlines()]
    assert found.soft == soft and len(lines) == len(said)
    assert lines[:1] == said[:1]


@pytest.mark.parametrize(
    ("name", "code"), [("program", 126), ("program", 127), ("recalculation", 127),
                       ("recalculation", 69)]
)  # fmt: skip
def test_what_could_not_begin_is_no_verdict(name: str, code: int, tmp_path: Path) -> None:
    with pytest.raises(VerifierError, match=f"{name}: x{{291}}no python$"):
        verdict(tmp_path, 2, finished=(name,), **{name: (code, "", "x" * 400 + "no python\n")})


def test_formulas_that_were_not_computed_are_said_where_it_matters(tmp_path: Path) -> None:
    ends = {"recalculation": (0, "", '["no LibreOffice", "no LibreOffice"]')}
    found = verdict(tmp_path, 2, 3, finished=("recalculation",), **ends)
    assert found.soft == 0.5 and found.feedback.splitlines()[1:] == [
        "o1.xlsx: its formulas were not computed: no LibreOffice"
    ]
    (tmp_path / "other").mkdir()
    assert verdict(tmp_path / "other", 2, finished=("program",), program=(69, "", "")).soft == 0.0


def test_what_takes_too_much_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def limited(function: Any, given: Any) -> Any:
        raise LimitError("took more than 4 s")

    monkeypatch.setattr(score, "limited", limited)
    assert verdict(tmp_path, 2).feedback == "o0.xlsx: reading it took more than 4 s"
    monkeypatch.setattr(score, "limited", lambda f, given: {"equal": False, "notes": []})
    assert verdict(tmp_path, 2).feedback == "o0.xlsx: it does not pass"


# The download.


def row(**values: Any) -> dict[str, Any]:
    return {"id": 7, "instruction": "Do it.", "answer_position": "C1", **values}


def a_case(folder: Path, first: str, second: str) -> None:
    saved(folder / first, A1=1)
    saved(folder / second, C1=2)


@pytest.mark.parametrize(
    ("files", "pairs"),
    [
        (["1_7_input", "1_7_answer"], [("1_7_input", "1_7_answer")]),
        (["1_7_init", "1_7_golden"], [("1_7_init", "1_7_golden")]),
        (["1_7_init", "1_8_golden"], [("1_7_init", "1_8_golden")]),
        (["1_7_init", "1_8_golden", "1_9_golden"], []),
        (["1_7_init"], []),
        (["initial", "golden"], [("initial", "golden")]),
        (["initial"], []),
        (["initial", "golden", "1_7_init", "1_7_golden"], [("1_7_init", "1_7_golden")]),
        (
            ["10_7_init", "10_7_golden", "2_7_init", "2_7_golden"],
            [("2_7_init", "2_7_golden"), ("10_7_init", "10_7_golden")],
        ),
    ],
)
def test_an_input_and_its_gold_are_a_case(
    files: list[str], pairs: list[tuple[str, str]], tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / f"{name}.xlsx").touch()
    assert [(a.stem, b.stem) for a, b in layout.find_cases(tmp_path)] == pairs


def items(folder: Path, *rows: dict[str, Any]) -> list[Item]:
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(rows))
    return list(layout.read(folder))


def test_an_item_is_its_row_its_files_and_what_is_known_of_it(tmp_path: Path) -> None:
    a_case(tmp_path / "spreadsheet" / "7", "1_7_init.xlsx", "1_7_golden.xlsx")
    (item,) = items(tmp_path, row(instruction_type="Cell-Level", answer_sheet="S"))
    assert item.id == "7" and set(item.files) == {"input_1.xlsx", "gold_1.xlsx"}
    expected = {
        "instruction": "Do it.", "type": "Cell-Level", "position": "C1", "sheet": "S", "cases": 1,
        "answers": ["2"], "problems": [],
    }  # fmt: skip
    assert {k: v for k, v in item.row.items() if k != "preview"} == expected
    (bare,) = items(tmp_path, row(answer_sheet=None))
    assert (bare.row["type"], bare.row["sheet"]) == ("", "")


@pytest.mark.parametrize(
    ("place", "path", "found"),
    [
        ("spreadsheet/7", None, True),
        ("elsewhere", "elsewhere", True),
        ("elsewhere", "other", False),
        ("../out", "../out", False),
        ("spreadsheet/7", "missing", True),
    ],
)
def test_where_the_workbooks_of_an_item_are(
    place: str, path: str | None, found: bool, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    a_case(root / place, "1_7_init.xlsx", "1_7_golden.xlsx")
    assert len(items(root, row(spreadsheet_path=path))) == found


def test_an_item_that_takes_too_much_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def limited(function: Any, given: Any, seconds: int) -> Any:
        assert seconds == 600 and len(given["cases"]) == 1
        raise LimitError("took more")

    monkeypatch.setattr(layout, "limited", limited)
    a_case(tmp_path / "spreadsheet" / "7", "1_7_init.xlsx", "1_7_golden.xlsx")
    (item,) = items(tmp_path, row())
    assert item.row["problems"] == ["unreadable"] and item.row["preview"] == ""


@pytest.mark.parametrize(
    ("files", "given", "archives"),
    [
        (["a.tar.gz"], "a.tar.gz", ["a.tar.gz"]),
        (["a.json"], "a.json", []),
        (["a.JSONL"], "a.JSONL", []),
        (["b.tar.gz", "a.tgz", "c.tar", "d.zip"], "", ["a.tgz", "b.tar.gz", "c.tar"]),
        (["b.tar.gz", "x_verified_400.tar.gz"], "", ["x_verified_400.tar.gz"]),
        (["b.tar.gz", "deep/dataset.json"], "", []),
        (["b.tar.gz", "deep/.dataset.json"], "", ["b.tar.gz"]),
        (["b.tar.gz", "dataset.jsonl"], "", []),
    ],
)
def test_which_archives_are_unpacked(
    files: list[str], given: str, archives: list[str], tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.tar").mkdir()
    assert [file.name for file in layout._archives(tmp_path / given)] == archives


# Tasks.


def kept(folder: Path, cases: int = 2, **values: Any) -> Kept:
    for number in range(1, cases + 1):
        (folder / f"input_{number}.xlsx").write_text(f"input {number}")
    base = {
        "instruction": "Do it.", "type": "Sheet-Level Manipulation", "position": "C1", "sheet": "S",
        "cases": cases, "answers": ["4"], "problems": [], "preview": "A1=1",
    }  # fmt: skip
    return Kept("7-1", base | values, folder, folder)


def made(folder: Path, item: Kept | None = None, **options: Any) -> Any:
    return benchmark.task(item or kept(folder), SpreadsheetBenchOptions(**options))


def test_a_task_of_a_request(tmp_path: Path) -> None:
    task = made(tmp_path, image="own:1")
    assert (task.name, task.family, task.docker_image) == ("7-1", "sheet_level", "own:1")
    assert (task.answers, task.finish, task.agent_timeout_s) == (("4",), (), 600.0)
    golds = tuple(tmp_path / f"gold_{n}.xlsx" for n in (1, 2))
    outputs = ("output_1.xlsx", "output_2.xlsx")
    assert task.verify == Judge(golds, outputs, "C1", "S", "public", ())
    for text in ("`input_1.xlsx`, `input_2.xlsx`", "`output_1.xlsx`, `output_2.xlsx`", "cells C1;",
                 "Kind of request: Sheet-Level Manipulation", "Request:\nDo it."):  # fmt: skip
        assert text in task.instruction
    assert "A1=1" not in task.instruction and task.instruction.endswith("Do it.\n")
    (tmp_path / "there").mkdir()
    task.workspace(tmp_path / "there")
    files = {file.name: file.read_text() for file in (tmp_path / "there").iterdir()}
    assert files == {"input_1.xlsx": "input 1", "input_2.xlsx": "input 2"}


@pytest.mark.parametrize(
    ("kind", "family"),
    [("Cell-Level", "cell_level"), ("SHEET", "sheet_level"), ("else", "other"), ("", "other")],
)
def test_the_family_is_the_kind_of_request(kind: str, family: str, tmp_path: Path) -> None:
    assert made(tmp_path, kept(tmp_path, type=kind)).family == family


def test_a_single_case_has_no_number(tmp_path: Path) -> None:
    task = made(tmp_path, kept(tmp_path, 1), scorer="reference", preview=True)
    assert "workbook `input.xlsx` in" in task.instruction and "as `output.xlsx`" in task.instruction
    assert "cells S!C1;" in task.instruction and "`input.xlsx`:\nA1=1\n" in task.instruction
    assert task.verify.outputs == ("output.xlsx",) and task.verify.scorer == "reference"


def test_programs_are_run_on_each_case(tmp_path: Path) -> None:
    task = made(tmp_path, setting="program", recalculate=True)
    first, second = task.finish
    assert task.verify.finished == (first.name, second.name) == ("program", "recalculation")
    assert (first.image, second.image) == (None, LIBREOFFICE_IMAGE)
    assert first.timeout_s == second.timeout_s == 2 * 130 + 30
    assert "`solution.py`" in task.instruction and "`input.xlsx` is such" in task.instruction
    for step, module, more in ((first, program, {"input_1.xlsx", "input_2.xlsx"}),
                               (second, recalculate, set())):  # fmt: skip
        folder = tmp_path / step.name
        folder.mkdir()
        step.files(folder)
        assert {f.name for f in folder.iterdir()} == {"run.py", "outputs.json"} | more
        assert (folder / "run.py").read_text() == Path(str(module.__file__)).read_text()
        assert json.loads((folder / "outputs.json").read_text()) == [
            "output_1.xlsx",
            "output_2.xlsx",
        ]
    (tmp_path / "there").mkdir()
    task.workspace(tmp_path / "there")
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["input.xlsx"]


def test_broken_items_are_noted() -> None:
    def item(id: str, *problems: str) -> Item:
        return Item(id, {"position": "A1", "problems": list(problems)}, {})

    train = [item("1"), item("2", "gold:public", "input:reference")]
    found = notes({"train": train, "val": [item("3", "uncached"), item("4", "unreadable")]})
    assert [note.partition(": ")[0] for note in found] == [
        "2 (train)", "2 (train)", "3 (val)", "4 (val)",
    ]  # fmt: skip
    assert "no work can pass by the public scorer: position 'A1'" in found[0]
    assert "the unchanged input passes by the reference scorer" in found[1]


# What is run on an agent's work.


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("files", "work"):
        (tmp_path / name).mkdir()
    for module in (program, recalculate):
        monkeypatch.setattr(module, "HERE", tmp_path / "files")
    (tmp_path / "files" / "outputs.json").write_text('["o1", "o2"]')
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.parametrize(
    ("solution", "said"),
    [
        ("open(OUTPUT_PATH, 'w').write(INPUT_PATH)", ""),
        ("INPUT_PATH = 'x'\n  OUTPUT_PATH='y'\nopen(OUTPUT_PATH, 'w').write(INPUT_PATH)", ""),
        ("pass", "wrote no file to OUTPUT_PATH"),
        ("raise KeyError('odd')", "failed: KeyError: 'odd'"),
        ("open(OUTPUT_PATH, 'w'); raise SystemExit(3)", "failed: exit code 3"),
        ("import sys; sys.stderr.write('a\\n' + 'x' * 400); sys.exit(1)", f"failed: {'x' * 300}"),
        (None, "is missing"),
    ],
)
def test_a_solution_is_run_on_each_input(
    solution: str | None, said: str, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if solution is not None:
        (inside / "solution.py").write_text(solution)
    (inside / "o1").mkdir()
    (inside / "o2").write_text("planted")
    program.main()
    told = json.loads(capsys.readouterr().out)
    assert told == [said, said]
    if said == "":
        texts = [(inside / name).read_text() for name in ("o1", "o2")]
        assert texts == [str(program.HERE / f"input_{n}.xlsx") for n in (1, 2)]
    elif said != "is missing":
        assert [file.name for file in inside.iterdir()] == ["solution.py"]


def test_a_solution_that_takes_too_long_is_ended(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "SECONDS", 0.05)
    (inside / "solution.py").write_text("import time\ntime.sleep(30)")
    said = program.run(inside / "solution.py", inside / "i", inside / "o")
    assert said == "was ended after 0.05 s"


@pytest.mark.parametrize(
    ("code", "writes", "said"),
    [
        (0, True, ""),
        (1, True, "LibreOffice could not open it (exit code 1)"),
        (0, False, "LibreOffice could not open it (exit code 0)"),
        (None, False, "LibreOffice took more than 120 s"),
    ],
)
def test_each_output_is_computed_and_saved_again(
    code: int | None,
    writes: bool,
    said: str,
    inside: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(command: list[str], timeout: float, capture_output: bool, env: dict[str, str]) -> Any:
        assert command[0] == "/usr/bin/soffice" and command[-1] == str(inside / "o1")
        assert command[2:6] == [
            "--headless",
            "--calc",
            "--convert-to",
            "xlsx:Calc MS Excel 2007 XML",
        ]
        assert timeout == 120 and command[1].startswith("-env:UserInstallation=file://")
        assert env["HOME"] in command[1]
        if code is None:
            raise recalculate.subprocess.TimeoutExpired(command, timeout)  # type: ignore[attr-defined]
        if writes:
            target = Path(command[command.index("--outdir") + 1])
            target.mkdir()
            (target / "o1.xlsx").write_text("computed")
        return SimpleNamespace(returncode=code)

    (inside / "o1").write_text("written")
    monkeypatch.setattr(recalculate.subprocess, "run", run)  # type: ignore[attr-defined]
    monkeypatch.setattr(recalculate.shutil, "which", lambda name: f"/usr/bin/{name}")  # type: ignore[attr-defined]
    recalculate.main()
    assert json.loads(capsys.readouterr().out) == [said, "there is no such file"]
    assert (inside / "o1").read_text() == ("written" if said else "computed")


def test_without_libreoffice_nothing_begins(
    inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recalculate.shutil, "which", lambda name: None)  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as ended:
        recalculate.main()
    assert ended.value.code == score.CANNOT_BEGIN == 69
    assert "there is no soffice" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "gold", "problems"),
    [
        ("=1+1", None, ["input:public", "input:reference"]),
        (None, "=1+1", ["input:public", "input:reference", "uncached"]),
        (1, 2, []),
    ],
)
def test_formulas_count_by_their_stored_values(
    source: Any, gold: Any, problems: list[str], tmp_path: Path
) -> None:
    files = {"input": saved(tmp_path / "i.xlsx", A1=source, B1="x"),
             "gold": saved(tmp_path / "g.xlsx", A1=gold, B1="x")}  # fmt: skip
    case = {kind: str(file) for kind, file in files.items()}
    found = reading.examine({"cases": [case], "position": "A1", "sheet": ""})
    assert found["problems"] == problems
    assert ("A1==1+1" in found["preview"]) is (source == "=1+1")


@pytest.mark.parametrize(("cells", "counted"), [(999, 999), (1000, 1000), (1002, 1000)])
def test_so_many_differences_are_counted(cells: int, counted: int) -> None:
    gold, found = Workbook(), Workbook()
    for number in range(1, cells + 1):
        gold.worksheets[0].cell(number, 1, number)
    told = compare(gold, found, f"A1:A{cells}", "public")
    assert not told.equal and len(told.differences) == counted
