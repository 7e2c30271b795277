"""SpreadsheetBench's comparison against the public code's tables, and against its definition."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from openpyxl import Workbook, load_workbook
from openpyxl.chart import BarChart

from skillopt.tasks.benchmarks.spreadsheetbench.compare import compare, equal
from skillopt.tasks.benchmarks.spreadsheetbench.positions import Scorer, cell_names
from tests.helpers.cells import examples
from tests.helpers.parity import PARITY, parity

SCORERS: dict[Scorer, str] = {"public": "expected", "reference": "reference"}
READ = {
    "null": lambda value: None,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda value: datetime.timedelta(seconds=float(value)),
}


def outcome(call: Any) -> Any:
    """What a call returns, or the error that it raises as the tables write it."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # It is compared.
        return {"error": type(error).__name__}


@parity("spreadsheet-cells")
def test_cells(row: dict[str, Any]) -> None:
    found, wanted = (READ[row[k]["t"]](row[k].get("v")) for k in ("input", "gold"))
    result = outcome(lambda: equal(wanted, found))
    assert result == row["expected"]["equal"] == row["reference"]["equal"]


@parity("spreadsheet-ranges")
@pytest.mark.parametrize("scorer", SCORERS)
def test_ranges(row: dict[str, Any], scorer: Scorer) -> None:
    cells = outcome(lambda: list(cell_names(row["input"], scorer)))
    wanted = row[SCORERS[scorer]]["cells"]
    if isinstance(wanted, dict) and "count" in wanted:
        cells = {"count": len(cells), "first": cells[0], "last": cells[-1]}
    assert cells == wanted


@parity("spreadsheet-pairs")
@pytest.mark.parametrize("scorer", SCORERS)
def test_pairs(row: dict[str, Any], scorer: Scorer) -> None:
    wanted = row[SCORERS[scorer]]
    try:
        gold, found = (load_workbook(PARITY / row[k], data_only=True) for k in ("gold", "pred"))
    except Exception:  # noqa: BLE001  # The judge records it, see test_spreadsheet_judge.py.
        assert not wanted["as_is"]
        return
    told = compare(gold, found, row["answer_position"], scorer, row["answer_sheet"])
    assert (told.equal, told.exception) == (wanted["as_is"], wanted.get("exception", ""))


VALUES = st.sampled_from(
    [None, 0, 1, True, 1.234, 1.23, "1.23", "a", "A", " ", "=A1", datetime.datetime(2024, 1, 2, 13),
     datetime.time(1, 2, 3)]
)  # fmt: skip
SHEETS = ("One", "b, c", "x!y")
CELLS = st.dictionaries(st.tuples(st.integers(1, 4), st.integers(1, 3)), VALUES, max_size=8)
CORNER = st.builds(
    "{}{}".format,
    st.sampled_from(["A", "B", "C", "a", "$A", " A", "ZZ", "ZZZ", "AAAA", "", "é"]),
    st.sampled_from(["1", "2", "4", "$3", "0", "", "1048576", "1048577", "٣"]),
)
RANGE = st.one_of(CORNER, st.builds("{}:{}".format, CORNER, CORNER))
PIECE = st.one_of(RANGE, st.builds("'{}'!{}".format, st.sampled_from((*SHEETS, "Chart")), RANGE))
POSITION = st.builds(", ".join, st.lists(PIECE, min_size=1, max_size=2))


def book(cells: list[dict[tuple[int, int], Any]]) -> Workbook:
    made = Workbook()
    made.remove(made.worksheets[0])
    for name, values in zip(SHEETS, cells, strict=False):
        sheet = made.create_sheet(name)
        for (row, column), value in values.items():
            sheet.cell(row, column).value = value
    made.create_chartsheet("Chart").add_chart(BarChart())
    return made


def by_definition(gold: Workbook, found: Workbook, position: str) -> Any:
    """The public rule as it is stated: every cell of every range, by its name."""
    results = []
    for piece in position.split(","):
        sheet, cells = gold.sheetnames[0], piece
        if "!" in piece:
            sheet, cells = piece.split("!")
        sheet, cells = sheet.strip("'"), cells.strip("'")
        results.append(sheet in found.sheetnames)
        if results[-1]:
            one, other = gold[sheet], found[sheet]
            names = cell_names(cells)
            results[-1] = all(equal(one[name].value, other[name].value) for name in names)
    return all(results)


def takes_minutes(position: str) -> bool:
    """Whether the definition would look at very many cells."""
    for piece in position.split(","):
        try:
            if any(n == 3000 for n, _ in enumerate(cell_names(piece.rpartition("!")[2]))):
                return True
        except ValueError:
            continue
    return False


@pytest.mark.slow
@settings(max_examples=examples(400), deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=3), st.lists(CELLS, min_size=1, max_size=3), POSITION)
def test_the_comparison_is_the_definition(
    gold: list[dict[tuple[int, int], Any]], found: list[dict[tuple[int, int], Any]], position: str
) -> None:
    assume(not takes_minutes(position))
    told = compare(book(gold), book(found), position, "public")
    wanted = outcome(lambda: by_definition(book(gold), book(found), position))
    found_out = {"error": told.exception} if told.exception else told.equal
    assert found_out == wanted


def test_a_whole_sheet_of_empty_cells_costs_nothing() -> None:
    cells = {(1, 1): 1, (4, 3): "a"}
    for other, passes in (({(4, 3): "a", (1, 1): 1.001}, True), (cells | {(9, 9): 0}, False)):
        told = compare(book([cells]), book([other]), "A1:XFD1048576", "public")
        assert told.equal is passes
