"""SpreadsheetBench's layout: dataset.json, and a folder of workbooks for each item. As in the
verified set, one pair has bare names, and one gold the name of another id.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from openpyxl import Workbook

NAMES = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana")


def write(download: Path) -> list[str]:
    rows = [_row(download / "spreadsheetbench_verified_400", number) for number in range(12)]
    file = download / "spreadsheetbench_verified_400" / "dataset.json"
    file.write_text(json.dumps(rows))
    return [str(row["id"]) for row in rows]


def _row(root: Path, number: int) -> dict[str, object]:
    id = str(90001 + number)
    folder = root / "spreadsheet" / id
    folder.mkdir(parents=True)
    values = [(number + 3) * (row + 2) % 40 + row for row in range(4 + number % 4)]
    letter, sheet = "DEFG"[number % 4], ("Sales", "Team data")[number % 2]
    first, second = f"{letter}2", f"{letter}3"
    source, gold = _book(sheet, values), _book(sheet, values)
    gold[sheet][first], gold[sheet][second] = sum(values), max(values)
    init, golden = names(id, number)
    source.save(folder / init)
    gold.save(folder / golden)
    return {
        "id": id,
        "instruction": f"Put the sum of column B into {first} and the largest value of column B "
        f"into {second}.",
        "spreadsheet_path": f"spreadsheet/{id}",
        "instruction_type": ("Cell-Level Manipulation", "Sheet-Level Manipulation")[number % 2],
        "answer_position": f"'{sheet}'!{first}:{second}",
        "answer_sheet": sheet,
        "data_position": f"'{sheet}'!A1:B{len(values) + 1}",
    }


def names(id: str, number: int) -> tuple[str, str]:
    """The names of input and gold."""
    if number == 5:
        return "initial.xlsx", "golden.xlsx"
    return f"1_{id}_init.xlsx", f"1_{'43930' if number == 9 else id}_golden.xlsx"


def _book(sheet: str, values: list[int]) -> Workbook:
    book = Workbook()
    page = book.worksheets[0]
    page.title = sheet
    page.append(["Name", "Amount"])
    for name, value in zip(NAMES, values, strict=False):
        page.append([name, value])
    return book


def saved(path: Path, **cells: Any) -> Path:
    """A workbook with one sheet, S."""
    made = Workbook()
    sheet = made.worksheets[0]
    sheet.title = "S"
    for name, value in cells.items():
        sheet[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(path)
    return path
