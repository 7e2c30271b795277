"""Rows of JSON lines, JSON, CSV and Parquet files, each with where it is."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from skillopt.tasks.harbor import TaskError

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Of the files that can be read."""
INSTALL = "pip install 'skillopt-harness[benchmarks]'"
_BATCH = 64
_POINTER = b"version https://git-lfs.github.com/spec/"
_CELL = 2**31 - 1


def read_rows(file: Path) -> Iterator[tuple[str, Any]]:
    """The rows of a file, which is never held as a whole but for ``.json``, each with its place.

    A ``.json`` file is a list of rows, or an object with one list of objects in it, or else one
    row. What a row is, is not checked: it may be any JSON value. Cells of CSV and TSV are texts.

    Raises:
        TaskError: the file cannot be read; the message names the line, if there is one.
    """
    match file.suffix.lower():
        case ".parquet":
            found = _parquet(file)
        case ".csv" | ".tsv":
            found = _table(file, "\t" if file.suffix.lower() == ".tsv" else ",")
        case ".json":
            found = _json(file)
        case _:
            found = _json_lines(file)
    check_content(file)
    try:
        yield from found
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file}: cannot be read: {error}") from error


def check_content(file: Path) -> None:
    """Raise TaskError if a file is only Git LFS's pointer to it, as in a clone without LFS."""
    try:
        with file.open("rb") as opened:
            start = opened.read(len(_POINTER))
    except OSError as error:
        raise TaskError(f"{file}: cannot be read: {error}") from error
    if start == _POINTER:
        raise TaskError(
            f"{file}: is a pointer of Git LFS, not the file itself; get it with 'git lfs pull', or "
            "download it from its home"
        )


def _json_lines(file: Path) -> Iterator[tuple[str, Any]]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{file}: line {number}", _value(line, f"{file}: line {number}")


def _json(file: Path) -> Iterator[tuple[str, Any]]:
    for number, value in enumerate(listed(_value(file.read_text("utf-8-sig"), str(file))), start=1):
        yield f"{file}: row {number}", value


def listed(content: Any) -> list[Any]:
    """The rows in the content of a JSON file."""
    if isinstance(content, dict):
        lists = [value for value in content.values() if isinstance(value, list) and value]
        if len(lists) == 1 and all(isinstance(row, dict) for row in lists[0]):
            return lists[0]
    return content if isinstance(content, list) else [content]


def _value(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{place}: not valid JSON: {error}") from error


def _table(file: Path, delimiter: str) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(_CELL)
    with file.open(encoding="utf-8-sig", newline="") as table:
        reader = csv.DictReader(table, delimiter=delimiter, strict=True)
        try:
            for row in reader:
                place = f"{file}: line {reader.line_num}"
                if None in row or None in row.values():
                    raise TaskError(f"{place}: has not as many cells as the first line")
                yield place, row
        except csv.Error as error:
            raise TaskError(f"{file}: line {reader.line_num}: {error}") from error


def _parquet(file: Path) -> Iterator[tuple[str, Any]]:
    arrow, parquet = needed("pyarrow"), needed("pyarrow.parquet")
    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file}: row {number}", row
    except arrow.ArrowException as error:
        raise TaskError(f"{file}: {error}") from error


def needed(module: str) -> Any:
    """A module of the extra ``benchmarks``; raises TaskError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TaskError(f"these tasks need {module.partition('.')[0]}: {INSTALL}") from error
