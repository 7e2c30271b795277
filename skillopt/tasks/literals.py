"""What belongs to one task alone: expected answers, file names, long literals, its name.

:mod:`skillopt.optimizer.leaks` uses this to detect text that copies from a task. Never fails: a
file that cannot be read has no literals.
"""

from __future__ import annotations

import csv
import io
import json
import tomllib
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from re import compile as pattern
from typing import Any

from skillopt.core.types import Task
from skillopt.tasks.wording import (
    PUNCTUATION,
    date,
    distinctive,
    fold,
    is_common,
    key,
    keys,
    long_literal,
    plain_words,
    shingles,
    telling,
    tokens,
    word_set,
    words,
)

MAX_BYTES = 2_000_000
MAX_BOOK_BYTES = 20_000_000
"""Limit for an unpacked workbook: one of 2 MB can unpack to gigabytes."""
MAX_CELLS = 50_000
MAX_VALUES = 20_000

_CODE = word_set(
    ".py .sh .bash .js .mjs .cjs .ts .tsx .jsx .rb .pl .go .rs .java .kt .c .h .cpp .hpp .cs .php"
    " .sql .r .lua .bat .ps1"
)
_BUILD_FILES = word_set("dockerfile .dockerignore makefile .gitignore requirements.txt")
_FILE_TYPES = word_set(
    "csv tsv json jsonl ndjson xml html htm yaml yml toml ini cfg conf env md rst txt log tex bib"
    " xlsx xls xlsm ods docx doc odt pptx ppt pdf eml msg ics vcf zip gz tgz tar bz2 xz 7z db"
    " sqlite sqlite3 sql parquet feather pkl npy npz h5 png jpg jpeg gif svg bmp tif tiff webp mp3"
    " mp4 wav py ipynb sh bash js mjs ts tsx jsx rb pl go rs java kt c h cpp hpp cs php r lua bat"
    " ps1 patch diff dat bin out err bak tmp css scss lock"
)
# Names that many folders have: a rule such as "write README.md" names no single task.
_COMMON_STEMS = word_set(
    "readme main index data input inputs output outputs out report reports result results config"
    " settings setup test tests package skill license changelog notes utils util app script answer"
    " answers solution file example sample template pyproject conftest __init__ run summary log"
    " logs table export document image"
)
_TICKS = pattern(r"`([^`\n]{1,300})`")


@dataclass(frozen=True)
class Literals:
    """What belongs to one task, as far as its own folder shows."""

    answers: frozenset[str]
    """Distinctive expected values that the agent is not given, as written."""
    files: frozenset[str]
    """Names of the task's files, folded, without those that many folders have (``README.md``)."""
    texts: frozenset[str]
    """Keys of long literals and shingles of what the agent is given."""
    names: frozenset[str]
    """The task's own name, folded, if it cannot be taken for an ordinary word."""
    small: frozenset[str] = frozenset()
    """Expected values that also occur in ordinary text: ``42``, ``paid``."""
    sure: frozenset[str] = frozenset()
    """Answers that the author of the task declared as such, whatever their wording."""
    given: frozenset[str] = frozenset()
    """Every word of what the agent is given."""


def literals_of(task: Task) -> Literals:
    """The literals of one task. Never raises; what cannot be read has none.

    Args:
        task: its instruction and the files in its folder are read.
    """
    table = _toml(task.folder / "task.toml")
    given = _Given("\n".join([*task.prompts, *_given(task.folder / "environment")]))
    answers, small = _answers(task.folder, given)
    declared = [*_declared(table), *filter(None, map(str.strip, task.answers))]
    sure = {value for value in declared if _is_sure(value)}
    # Declared answers longer than a letter are withheld too, but an edit may contain the like.
    answers |= sure | {value for value in declared if _is_tellable(value)}
    small |= set(declared)
    long = {literal for token in given.tokens if (literal := long_literal(token))}
    return Literals(
        answers=frozenset(answers),
        files=_file_names(task),
        texts=frozenset(long | given.shingles),
        names=_names(task.name, table),
        small=frozenset(small - answers),
        sure=frozenset(sure),
        given=given.words,
    )


class _Given:
    """What the agent is given, tokenized once."""

    def __init__(self, text: str) -> None:
        self._folded = fold(text)
        self._sequence = words(self._folded)
        self.words = frozenset(self._sequence)
        self._runs: dict[int, set[tuple[str, ...]]] = {}

    @cached_property
    def tokens(self) -> set[str]:
        return tokens(self._folded)

    @cached_property
    def shingles(self) -> set[str]:
        return shingles(plain_words(self._folded))

    @cached_property
    def _dates(self) -> set[tuple[str, str, str]]:
        return {found for token in self.tokens if (found := date(token))}

    def has(self, value: str) -> bool:
        """Whether it contains a value, in any spelling of a number or a date."""
        found = date(value)
        if found is not None and found in self._dates:
            return True
        return all(each in self.shingles or self._has_run(each.split()) for each in keys(value))

    def _has_run(self, run: list[str]) -> bool:
        if not self.words.issuperset(run):
            return False
        if len(run) > 1 and len(run) not in self._runs:
            shifted = (self._sequence[i:] for i in range(len(run)))
            self._runs[len(run)] = set(zip(*shifted, strict=False))
        return len(run) == 1 or tuple(run) in self._runs[len(run)]


def _answers(folder: Path, given: _Given) -> tuple[set[str], set[str]]:
    """Expected values: the distinctive ones that are not given, and the common ones."""
    answers: set[str] = set()
    small: set[str] = set()
    for value in islice(dict.fromkeys(_expected(folder)), MAX_VALUES):
        if not distinctive(value):
            small.add(value)
        elif not given.has(value):
            answers.add(value)
    return answers, {value for value in small if key(value)}


def _is_tellable(value: str) -> bool:
    plain = key(value)
    return len(plain) > 1 and not is_common(plain)


def _is_sure(value: str) -> bool:
    """Whether a rule cannot contain a declared answer by chance: more than ``42`` or ``yes``."""
    return distinctive(value) or (_is_tellable(value) and sum(map(str.isalpha, value)) >= 5)


def _expected(folder: Path) -> Iterator[str]:
    """The values of the data files of tests and solution, as written."""
    for path in [*_files(folder / "solution"), *_files(folder / "tests")]:
        if path.suffix.lower() in _CODE or path.name.lower() in _BUILD_FILES:
            continue
        is_data = path.suffix.lower() in _READERS
        for piece in _pieces(path):
            value = " ".join(piece.split())
            if not is_data:
                value = value.lstrip("#>*+- ")
            if value and (is_data or "|" not in value):
                yield value
            if not is_data or " " in value:
                yield from _parts(value)


def _parts(line: str) -> Iterator[str]:
    """The cells, numbers and identifiers of a line of text."""
    if "|" in line:
        yield from (cell for raw in line.split("|") if (cell := raw.strip(" *`:-")))
    for raw in line.split():
        part = raw.strip(PUNCTUATION)
        # Within a line, a number of three digits is too often a count or a size.
        if any(len(word) >= 4 and telling(word) for word in words(fold(part))):
            yield part


def _given(folder: Path) -> Iterator[str]:
    for path in _files(folder):
        if path.name.lower() not in _BUILD_FILES:
            yield "\n".join(_pieces(path))


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    except OSError:
        return []


def _pieces(path: Path) -> list[str]:
    """Cells, leaves or lines of a file; none if it is huge, binary or broken."""
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except OSError:
        return []
    suffix = path.suffix.lower()
    if suffix in (".xlsx", ".xlsm"):
        return _cells_of_book(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return []
    if "\0" in text:
        return []
    try:
        return list(_READERS[suffix](text)) if suffix in _READERS else text.splitlines()
    except (ValueError, RecursionError, csv.Error):
        return text.splitlines()


def _json(text: str) -> Iterator[str]:
    # Numbers are kept as they are written, so that no digit is lost.
    yield from _leaves(json.loads(text, parse_float=str, parse_int=str, parse_constant=str))


def _json_lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.strip():
            yield from _json(line)


def _csv(text: str) -> Iterator[str]:
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    for row in csv.reader(io.StringIO(text), delimiter=delimiter):
        yield from row


def _leaves(value: Any) -> Iterator[str]:
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


_READERS: Mapping[str, Callable[[str], Iterator[str]]] = {
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


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _declared(table: dict[str, Any]) -> list[str]:
    metadata = table.get("metadata")
    if not isinstance(metadata, dict):
        return []
    found = [metadata.get(name) for name in ("answer", "answers", "expected")]
    return [value for each in found for leaf in _leaves(each) if (value := leaf.strip())]


def _names(name: str, table: dict[str, Any]) -> frozenset[str]:
    head = table.get("task")
    full = head.get("name") if isinstance(head, dict) else None
    names = {name, full, full.rpartition("/")[2]} if isinstance(full, str) else {name}
    # A name that is a word ("reconcile") would forbid the word.
    return frozenset(n for each in names if len(n := fold(each)) >= 4 and not n.isalpha())


def _file_names(task: Task) -> frozenset[str]:
    there = {path.name for path in _files(task.folder / "environment")}
    quoted = [name for text in _TICKS.findall(task.instruction) for name in _quoted(text)]
    folded = {fold(name) for name in there | {PurePosixPath(name).name for name in quoted}}
    return frozenset(name for name in folded if _is_own(name))


def _quoted(text: str) -> list[str]:
    """File names in the text between backticks: a name, a path or a command."""
    parts = [part.strip("\"'()[]{}<>,;:=") for part in text.split()]
    return [part for part in parts if part.rpartition(".")[2].lower() in _FILE_TYPES]


def _is_own(name: str) -> bool:
    stem, dot, _ = name.rpartition(".")
    if name in _BUILD_FILES or (dot and not stem):
        return False
    # Without a suffix, only names that cannot be taken for a word: "notes" would forbid the word.
    return stem not in _COMMON_STEMS if dot else not name.isalpha()
