"""DocVQA's layout: Parquet with the page's picture; pages of our own in a bitmap font."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow
from PIL import Image
from pyarrow import parquet

from skillopt.sim.benchmarks.bitmap_font import drawn
from skillopt.sim.benchmarks.docvqa import SCALE

FIELDS = ("invoice number", "due date", "total amount")


def write(download: Path) -> list[str]:
    rows = [_row(number) for number in range(12)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), download / "validation-0.parquet")
    return [row["questionId"] for row in rows]


def _row(number: int) -> dict[str, object]:
    values = (f"A-{1040 + number}", f"{number + 3:02d}.11.2026", f"{17 * number + 205}.50")
    lines = ["ACME TRADING", "", *(f"{f}: {v}" for f, v in zip(FIELDS, values, strict=True))]
    place = number % len(FIELDS)
    return {
        "questionId": str(900001 + number),
        "question": f"What is the {FIELDS[place]}?",
        "question_types": ["form"],
        "image": {"bytes": picture(lines), "path": f"{number}.png"},
        "docId": 90001 + number,
        "ucsf_document_id": f"zzzz{number:04d}",
        "ucsf_document_page_no": "1",
        "answers": [values[place]],
        "data_split": "val",
    }


def picture(lines: list[str]) -> bytes:
    """Lines of text as a PNG."""
    grid = drawn([line or " " for line in lines])
    image = Image.new("L", (len(grid[0]), len(grid)), 255)
    for y, row in enumerate(grid):
        for x, ink in enumerate(row):
            if ink:
                image.putpixel((x, y), 0)
    file = io.BytesIO()
    image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST).save(
        file, "PNG"
    )
    return file.getvalue()
