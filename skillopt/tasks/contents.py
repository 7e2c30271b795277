"""What is in the files of a task's folder, however odd they are: nothing here ever raises."""

from __future__ import annotations

import csv
import io
import json
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

MAX_BYTES = 2_000_000
MAX_BOOK_BYTES = 20_000_000
"""Limit for an unpacked workbook: one of 2 MB can unpack to gigabytes."""
MAX_CELLS = 50_000


def files_in(folder: Path) -> list[Path]:
    """The files in a folder and in those below, sorted; no links."""
    try:
        return sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    except OSError:
        return []


def _data(path: Path) -> bytes:
    """The bytes of a file; none if it is huge or cannot be read."""
    try:
        return path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except OSError:
        return b""


def text_of(path: Path) -> str:
    """The text of a file; empty if it is huge, binary or cannot be read."""
    try:
        text = _data(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        return ""
    return "" if "\0" in text else text


def pieces_of(path: Path) -> list[str]:
    """Cells, leaves or lines of a file; none if it is huge, binary or broken."""
    suffix = path.suffix.lower()
    if suffix in (".xlsx", ".xlsm"):
        return _cells_of_book(_data(path))
    text = text_of(path)
    try:
        return list(READERS[suffix](text)) if suffix in READERS else text.splitlines()
    except (ValueError, RecursionError, csv.Error):
        return text.splitlines()


def _json(text: str) -> Iterator[str]:
    # Numbers are kept as they are written, so that no digit is lost.
    yield from leaves(json.loads(text, parse_float=str, parse_int=str, parse_constant=str))


def _json_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.strip():
            yield from _json(line)


def _csv(text: str) -> Iterator[str]:
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    for row in csv.reader(io.StringIO(text), delimiter=delimiter):
        yield from row


def leaves(value: Any) -> Iterator[str]:
    """The strings and numbers of a JSON or TOML value."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left.extend(reversed(each.values()))
        elif isinstance(each, list):
            left.extend(reversed(each))
        elif isinstance(each, str | int | float) and not isinstance(each, bool):
            yield str(each)


READERS: Mapping[str, Callable[[str], Iterator[str]]] = {
    ".json": _json, ".jsonl": _json_lines, ".ndjson": _json_lines, ".csv": _csv, ".tsv": _csv,
}  # fmt: skip


def _cells_of_book(data: bytes) -> list[str]:
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BOOK_BYTES:
                return []
        with warnings.catch_warnings():
            # Warnings about styles and extensions are of no use to whoever trains a skill.
            warnings.simplefilter("ignore")
            book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
            rows = (row for sheet in book.worksheets for row in sheet.iter_rows(values_only=True))
            cells = list(islice((cell for row in rows for cell in row), MAX_CELLS))
        return [str(cell) for cell in cells if cell is not None and not isinstance(cell, bool)]
    # What readers of archives, XML and workbooks raise for malformed contents.
    except (
        InvalidFileException, zipfile.BadZipFile, zlib.error, SyntaxError, LookupError, ValueError,
        TypeError, AttributeError, ArithmeticError, EOFError, OSError, RuntimeError,
    ):  # fmt: skip
        return []
