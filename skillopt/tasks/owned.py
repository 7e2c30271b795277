"""What belongs to a single task: its name, its files' names, its expected answers, long literals.

Read from the task's folder; what is made of it is :mod:`skillopt.optimizer.guard`'.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillopt.types import Task

MAX_BYTES = 2_000_000
"""Of a file; larger ones are passed over."""
CODE = (".py", ".sh", ".bash", ".js", ".ts", ".rb", ".pl")
SHINGLE = 8
"""Words in a row that no two people write by chance."""
FEW_LINES = 3
"""Of a text file that is an answer and not a document."""
LONGEST = 12
"""Words of a literal that count; the rest of a longer one does not matter."""
_WORD = re.compile(r"[^\s`*\"'“”„‘’()\[\]{}<>|,;=]+(?:,\d{3}(?!\d)[^\s`*\"'“”()\[\]{}<>|,;=]*)*")
_NUMBER = re.compile(r"[-+$€£]?\d+(?:,\d{3})*(?:\.\d+)?%?")
_FILE = re.compile(r"`([\w./ -]*?([\w.-]+\.\w{1,5}))`")

Words = tuple[str, ...]


@dataclass(frozen=True)
class Literals:
    """What is a task's own. Each literal is a tuple of words, as :func:`words_of` gives them."""

    names: frozenset[Words]
    files: frozenset[Words]
    answers: dict[Words, str]
    """Expected values that the agent is not given, with the text they stand for."""
    sure: frozenset[Words]
    """Those of them that are said to be the answer, and not just found in a file of the tests."""
    texts: frozenset[Words]
    """Long literals and runs of words of the instruction and the files that the agent is given."""
    vocabulary: frozenset[str]
    """All single words of instruction, given files and tests."""


def words_of(text: str) -> list[tuple[str, int, int]]:
    """The words of a text in one form whatever their case, quotes, emphasis and digit grouping.

    Returns:
        Of each the form, and where it stands in the text.
    """
    found = []
    for match in _WORD.finditer(text):
        word = match.group().strip(".:!?_…")
        if not word:
            continue
        start = match.start() + match.group().index(word)
        found.append((_form(word), start, start + len(word)))
    return found


def forms(text: str) -> Words:
    """The words' forms alone."""
    return tuple(form for form, _, _ in words_of(text))


def literals_of(task: Task) -> Literals:
    """Read a task's literals. Strange, huge and binary files have none; nothing is raised."""
    instruction = task.instruction
    given = [instruction, *_texts(task.folder / "environment", code=True)]
    given_words = [forms(text) for text in given]
    joined = " ".join(f" {' '.join(words)} " for words in given_words)
    answers: dict[Words, str] = {}
    hidden: set[str] = set()
    sure: set[Words] = set()
    for value, said in _answers(task):
        words = forms(value)[:LONGEST]
        hidden.update(words)
        if f" {' '.join(words)} " not in joined and _is_distinctive(words, value, said):
            answers.setdefault(words, value.strip())
            sure |= {words} if said else set()
    texts: set[Words] = {(w,) for words in given_words for w in words if _is_long(w)}
    for words in given_words:
        texts |= {words[i : i + SHINGLE] for i in range(len(words) - SHINGLE + 1)}
    return Literals(
        names=frozenset(_names(task)),
        files=frozenset(forms(name) for name in _file_names(task)),
        answers=answers,
        sure=frozenset(sure),
        texts=frozenset(texts),
        vocabulary=frozenset(w for words in given_words for w in words) | hidden,
    )


def _form(word: str) -> str:
    if not _NUMBER.fullmatch(word):
        return word.casefold()
    digits = word.strip("-+$€£%").replace(",", "")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return digits.lstrip("0") or "0"


def _is_distinctive(words: Words, value: str, said: bool) -> bool:
    """Whether a value tells its task. Small numbers and short words are everybody's, and so are
    ordinary words in the tests' files: those may be settings of the tests, and no answers."""
    if len(words) > 1:
        return len("".join(words)) >= 6
    word = words[0] if words else ""
    if re.fullmatch(r"[\d.]+", word):
        is_year = re.fullmatch(r"(19|20)\d\d", word)
        return len(word.replace(".", "").strip("0")) >= 4 and not is_year
    ordinary = value.strip().isalpha() and value.strip().islower() and not said
    return len(word) >= 5 and word not in ("false", "none") and not ordinary


def _is_long(word: str) -> bool:
    if re.fullmatch(r"[\d.]+", word):
        return len(word.replace(".", "").strip("0")) >= 5
    return (len(word) >= 10 and any(char.isdigit() for char in word)) or "@" in word[1:-1]


def _names(task: Task) -> Iterator[Words]:
    """The task's names, where they are not ordinary words."""
    for name in {task.name, str(_toml(task).get("task", {}).get("name", ""))}:
        words = forms(name)
        if words and re.search(r"[\d_-]", name):
            yield words


def _file_names(task: Task) -> Iterator[str]:
    for _, name in _FILE.findall(task.instruction):
        yield name
    for path in _files(task.folder / "environment"):
        if path.name != "Dockerfile":
            yield path.name


def _answers(task: Task) -> Iterator[tuple[str, bool]]:
    """Values that may be answers, and whether they are said to be: in the task's metadata, or
    alone in a text file."""
    metadata = _toml(task).get("metadata", {})
    for key in ("answer", "answers", "expected"):
        yield from ((value, True) for value in _leaves(metadata.get(key)))
    for part in ("tests", "solution"):
        for path in _files(task.folder / part):
            values = list(_values(path))
            alone = path.suffix.lower() in (".txt", ".md", "") and len(values) <= FEW_LINES
            yield from ((value, alone) for value in values)


def _values(path: Path) -> Iterator[str]:
    """The values of a data file: leaves of JSON, cells of tables, lines of text."""
    suffix = path.suffix.lower()
    if suffix in CODE:
        return
    if suffix == ".xlsx":
        yield from _cells(path)
        return
    text = _text(path)
    if suffix == ".json":
        try:
            yield from _leaves(json.loads(text))
        except (ValueError, RecursionError):
            return
    elif suffix in (".csv", ".tsv"):
        try:
            rows = csv.reader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else ",")
            yield from (cell for row in rows for cell in row)
        except csv.Error:
            return
    else:
        yield from text.splitlines()


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)


def _texts(folder: Path, code: bool) -> Iterator[str]:
    """The text of all files below a folder; tables of workbooks too."""
    for path in _files(folder):
        if path.suffix.lower() == ".xlsx":
            yield "\n".join(_cells(path))
        elif code or path.suffix.lower() not in CODE:
            yield _text(path)


def _cells(path: Path) -> list[str]:
    """The values of a workbook; none of one that is broken."""
    import zipfile
    import zlib

    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    if path.stat().st_size > MAX_BYTES:
        return []
    found: list[str] = []
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        for sheet in book.worksheets:
            for row in sheet.iter_rows(max_row=5000, max_col=50, values_only=True):
                found += [str(cell) for cell in row if cell is not None]
        book.close()
    except (InvalidFileException, zipfile.BadZipFile, zlib.error, *_BROKEN):
        return []
    return found


# What a workbook that is no workbook makes its reader raise, from the XML up.
_BROKEN = (
    KeyError, ValueError, TypeError, IndexError, SyntaxError, OSError, AttributeError, EOFError,
    RuntimeError,
)  # fmt: skip


def _files(folder: Path) -> Iterable[Path]:
    if not folder.is_dir():
        return ()
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        return ""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return ""
    return "" if "\x00" in text else text


def _toml(task: Task) -> dict[str, Any]:
    path = task.folder / "task.toml"
    try:
        return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}
