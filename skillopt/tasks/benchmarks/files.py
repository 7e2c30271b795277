"""Reads rows from the files that a benchmark's home publishes."""

from __future__ import annotations

import csv
import importlib
import json
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skillopt.tasks.harbor import TaskError

Record = dict[str, Any]
INSTALL = "pip install 'skillopt-harness[benchmarks]'"
_BATCH = 64
_SUFFIXES = (".parquet", ".json", ".jsonl", ".csv")


def records(
    download: Path, columns: Sequence[str], suffixes: Sequence[str] = _SUFFIXES
) -> Iterator[Record]:
    """The rows of all files of a download that have certain columns.

    Args:
        download: a file, or a folder that is searched.
        columns: those that a row must have; files of something else are left out.
        suffixes: of the files to read.

    Raises:
        TaskError: no file has such rows, or one cannot be read.
    """
    files = [download] if download.is_file() else sorted(p for p in download.rglob("*"))
    files = [file for file in files if file.suffix.lower() in suffixes and file.is_file()]
    found = False
    for file in files:
        for number, row in enumerate(_rows(file)):
            if not isinstance(row, dict) or not set(columns) <= set(row):
                if number == 0:
                    break
                raise TaskError(f"{file}: row {number + 1} lacks one of {', '.join(columns)}")
            found = True
            yield row
    if not found:
        raise TaskError(
            f"{download}: no {' or '.join(suffixes)} file in it has rows with "
            f"{', '.join(columns)}; give the download as its home publishes it"
        )


def _rows(file: Path) -> Iterator[Any]:
    try:
        match file.suffix.lower():
            case ".parquet":
                yield from _parquet(file)
            case ".jsonl":
                with file.open(encoding="utf-8") as lines:
                    yield from (json.loads(line) for line in lines if line.strip())
            case ".csv":
                csv.field_size_limit(2**31 - 1)
                with file.open(encoding="utf-8-sig", newline="") as table:
                    yield from csv.DictReader(table)
            case _:
                values = json.loads(file.read_text("utf-8-sig"))
                yield from values if isinstance(values, list) else [values]
    except (OSError, ValueError, csv.Error) as error:
        raise TaskError(f"{file}: {error}; is the download complete?") from error


def _parquet(file: Path) -> Iterator[Record]:
    arrow, parquet = needed("pyarrow"), needed("pyarrow.parquet")
    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(_BATCH):
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise TaskError(f"{file}: {error}; is the download complete?") from error


@contextmanager
def unpacked(download: Path) -> Iterator[Path]:
    """The folder of a download, which may be a tar archive."""
    if not download.is_file() or not tarfile.is_tarfile(download):
        yield download
        return
    with tempfile.TemporaryDirectory(prefix="so-") as folder:
        with tarfile.open(download) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def needed(module: str) -> Any:
    """A module of the extra ``benchmarks``; raises TaskError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TaskError(f"this benchmark needs {module.partition('.')[0]}: {INSTALL}") from error
