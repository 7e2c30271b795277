"""What a family produces, and what families share: people, firms, dates, CSV and XLSX bytes.

Bytes depend on the arguments only, so a seed always gives the same task set.
"""

from __future__ import annotations

import csv
import io
import random
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from xml.sax.saxutils import escape

CUSTOMERS = (
    "Adler & Sons", "Brightwater Ltd", "Casa Lumen", "Delta Freight", "Everson Mills",
    "Fjord Supplies", "Gable Roofing", "Hollis Books", "Indigo Print", "Juniper Foods",
    "Kestrel Labs", "Larkspur Tea", "Moreau Textiles", "Northgate Dairy", "Orchard Lane",
    "Pelham Tools", "Quarry Street", "Rowan Clinic", "Sable Motors", "Tilbury Glass",
)  # fmt: skip
PEOPLE = (
    "Amina Diallo", "Ben Okafor", "Carla Reyes", "Dmitri Volkov", "Elif Kaya", "Farid Haddad",
    "Greta Lindqvist", "Hugo Martin", "Ines Carvalho", "Jonas Weber", "Keiko Tanaka",
    "Liam Byrne", "Mei Chen", "Nadia Rossi", "Omar Farouk", "Priya Nair",
)  # fmt: skip
PLACES = (
    "Antwerp", "Bergen", "Cork", "Dresden", "Evora", "Ghent", "Hull", "Izmir", "Lyon", "Turin",
)  # fmt: skip

_ZIP_TIME = (2026, 1, 1, 0, 0, 0)
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'

Cell = str | int | float


@dataclass(frozen=True)
class Chore:
    """One task before it is written: what the agent sees, and what only the verifier sees."""

    title: str
    instruction: str
    files: Mapping[str, bytes]
    """The initial workspace."""
    data: Mapping[str, Any]
    """The ground truth behind the files, for the hidden checks."""
    solution: Mapping[str, bytes]
    """The files of a correct result."""


def days(rng: random.Random, count: int, span: int = 80) -> list[date]:
    """``count`` dates in order within ``span`` days of 2025 or 2026."""
    start = date(rng.choice((2025, 2026)), 1, 1) + timedelta(days=rng.randrange(250))
    return sorted(start + timedelta(days=rng.randrange(span)) for _ in range(count))


def money(rng: random.Random, low: int = 20, high: int = 9000) -> int:
    """An amount in cents, mostly of four digits before the point."""
    return rng.randrange(low * 100, high * 100)


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A CSV file with Unix line ends."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


def xlsx_bytes(sheets: Mapping[str, Sequence[Sequence[Cell]]]) -> bytes:
    """A minimal workbook of strings and numbers.

    Not written by openpyxl, which puts the time into every file that it saves.
    """
    numbers = range(1, len(sheets) + 1)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        f'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.'
        f'relationships+xml"/><Override PartName="/xl/workbook.xml" '
        f'ContentType="{_TYPE}.sheet.main+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" '
            f'ContentType="{_TYPE}.worksheet+xml"/>'
            for n in numbers
        )
        + "</Types>",
        "_rels/.rels": _relations([("officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELS}"><sheets>'
        + "".join(
            f'<sheet name="{escape(name)}" sheetId="{n}" r:id="rId{n}"/>'
            for n, name in zip(numbers, sheets, strict=True)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": _relations(
            [("worksheet", f"worksheets/sheet{n}.xml") for n in numbers]
        ),
    }
    for n, rows in zip(numbers, sheets.values(), strict=True):
        parts[f"xl/worksheets/sheet{n}.xml"] = _sheet(rows)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), _XML + text)
    return out.getvalue()


def _relations(targets: Sequence[tuple[str, str]]) -> str:
    items = "".join(
        f'<Relationship Id="rId{n}" Type="{_RELS}/{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets, start=1)
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{items}</Relationships>'


def _sheet(rows: Sequence[Sequence[Cell]]) -> str:
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = "".join(
            f'<c r="{chr(65 + i)}{number}" t="inlineStr"><is><t>{escape(v)}</t></is></c>'
            if isinstance(v, str)
            else f'<c r="{chr(65 + i)}{number}"><v>{v}</v></c>'
            for i, v in enumerate(row)
        )
        lines.append(f'<row r="{number}">{cells}</row>')
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
