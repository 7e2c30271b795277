"""Reads rows from the files that a benchmark's home publishes."""

from __future__ import annotations

import lzma
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skillopt.tasks.benchmarks.base import Item
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.records import check_content, read_rows

Record = dict[str, Any]
_SHOWN = 3
_POINTER_BYTES = 1024
_SUFFIXES = (".parquet", ".json", ".jsonl", ".csv")


def items(
    download: Path,
    columns: Sequence[str],
    make: Callable[[Record], Item | None],
    suffixes: Sequence[str] = _SUFFIXES,
) -> Iterator[Item]:
    """What is made of the rows of a download.

    Args:
        download, columns, suffixes: as for :func:`records`.
        make: the item of a row; None if it is none.

    Raises:
        TaskError: a row has another form than ``make`` needs, or as for :func:`records`.
    """
    for place, row in _placed(download, columns, suffixes):
        try:
            item = make(row)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise TaskError(
                f"{place}: has another form than is published: {type(error).__name__}: {error}"
            ) from error
        if item is not None:
            yield item


def records(
    download: Path, columns: Sequence[str], suffixes: Sequence[str] = _SUFFIXES
) -> Iterator[Record]:
    """The rows of all files of a download that have certain columns, with a value in each.

    Args:
        download: a file, or a folder that is searched.
        columns: those that a row must have; files of something else are left out.
        suffixes: of the files to read.

    Raises:
        TaskError: no file has such rows, or one cannot be read.
    """
    for _, row in _placed(download, columns, suffixes):
        yield row


def texts(value: Any) -> list[str]:
    """The texts in a cell: a list of them, one, or none; raises TypeError for anything else."""
    if value is None or isinstance(value, str):
        return [] if value is None else [value]
    if not isinstance(value, list):
        raise TypeError(f"expected a list of texts and not {value!r:.80}")
    return [str(each) for each in value]


def _placed(
    download: Path, columns: Sequence[str], suffixes: Sequence[str]
) -> Iterator[tuple[str, Record]]:
    """The rows, each with where it is."""
    files = [download] if download.is_file() else sorted(p for p in download.rglob("*"))
    files = [file for file in files if file.suffix.lower() in suffixes and file.is_file()]
    found, others = False, list[str]()
    for file in files:
        for number, (place, row) in enumerate(_complete(file), start=1):
            if not isinstance(row, dict) or not set(columns) <= set(row):
                if number == 1:
                    has = f"columns {', '.join(map(str, row))}" if isinstance(row, dict) else "none"
                    others.append(f"{file.name} has {has}"[:200])
                    break
                raise TaskError(f"{place} lacks one of {', '.join(columns)}")
            found = True
            if all(row[column] is not None for column in columns):
                yield place, row
    if not found:
        raise TaskError(
            f"{download}: no {' or '.join(suffixes)} file in it has rows with "
            f"{', '.join(columns)}"
            + (f" ({'; '.join(others[:_SHOWN])})" if others else "")
            + "; give the download as its home publishes it"
        )


def check_complete(download: Path) -> None:
    """Raise TaskError if a file is only Git LFS's pointer to it, as in a clone without LFS."""
    for file in [download] if download.is_file() else download.rglob("*"):
        if file.is_file() and file.stat().st_size < _POINTER_BYTES:
            check_content(file)


def _complete(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        yield from read_rows(file)
    except TaskError as error:
        raise TaskError(f"{error}; is the download complete?") from error


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The content of a tar archive, in a folder of its own that is removed afterwards.

    Raises:
        TaskError: the archive cannot be read, or ends early.
    """
    with tempfile.TemporaryDirectory(prefix="so-") as folder:
        try:
            with tarfile.open(archive) as packed:
                packed.extractall(folder, filter="data")
                # Its end has the checksum, and is not read otherwise.
                while packed.fileobj is not None and packed.fileobj.read(1 << 20):
                    pass
        except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
            raise TaskError(f"{archive}: {error}; is the download complete?") from error
        yield Path(folder)
