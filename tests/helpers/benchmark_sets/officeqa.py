"""OfficeQA's layout: a table of questions, and bulletins as text and as parsed JSON; made up."""

from __future__ import annotations

import csv
import json
from pathlib import Path

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December")  # fmt: skip
COLUMNS = ("customs receipts", "excise receipts", "estate tax receipts")
PAGE = 12


def write(download: Path) -> list[str]:
    parsed = download / "treasury_bulletins_parsed"
    for folder in ("transformed", "jsons"):
        (parsed / folder).mkdir(parents=True)
    rows = []
    for number, month in enumerate(MONTHS):
        stem = f"treasury_bulletin_1951_{number + 1:02d}"
        (parsed / "transformed" / f"{stem}.txt").write_text(_text(number))
        (parsed / "jsons" / f"{stem}.json").write_text(json.dumps(_parsed(number)))
        place = number % len(COLUMNS)
        # Every other question names two bulletins, in one cell.
        stems = (
            [stem] if number % 2 else [f"treasury_bulletin_1951_{(number + 11) % 12 + 1:02d}", stem]
        )
        rows.append(
            {
                "uid": f"UID9{number:03d}",
                "question": f"What were {COLUMNS[place]} in {month} 1951, in millions of dollars?",
                "answer": str(_figures(number)[place]),
                "source_docs": "\r\n".join(f"https://example.org/{s}?page={PAGE}" for s in stems),
                "source_files": "\r\n".join(f"{stem}.txt" for stem in stems),
                "difficulty": "easy" if number % 2 else "hard",
            }
        )
    with (download / "officeqa_full.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return [row["uid"] for row in rows]


def _figures(number: int) -> list[int]:
    """The figures of a month, in millions."""
    return [213 + 37 * number, 541 + 23 * number, 817 + 11 * number]


def _cells(number: int) -> list[list[str]]:
    figures = [f"{figure},000" for figure in _figures(number)]
    return [["Month", *map(str.capitalize, COLUMNS)], [f"{MONTHS[number]} 1951", *figures]]


def _text(number: int) -> str:
    head, row = (f"| {' | '.join(cells)} |" for cells in _cells(number))
    rule = f"| {' | '.join(['---'] * (len(COLUMNS) + 1))} |"
    title = f"TREASURY BULLETIN\n{MONTHS[number]} 1951"
    return f"{title}\n\nBudget receipts (in thousands of dollars)\n\n{head}\n{rule}\n{row}\n"


def _parsed(number: int) -> dict[str, object]:
    rows = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in _cells(number)
    )
    contents = [
        ("TREASURY BULLETIN", 1),
        ("Budget receipts (in thousands of dollars)", PAGE),
        (f"<table>{rows}</table>", PAGE),
        ("Sources: daily statements", PAGE + 1),
    ]
    elements = [{"content": text, "bbox": [{"page_id": page}]} for text, page in contents]
    return {"document": {"elements": elements}}
