"""Reads workbooks: run in a process of its own, see :mod:`skillopt.tasks.benchmarks.limited`.

Both functions take and return JSON.
"""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Iterator
from typing import Any, get_args

from openpyxl import load_workbook

from skillopt.tasks.benchmarks.spreadsheetbench.compare import (
    MOST,
    Compared,
    Verdict,
    cells_at,
    comparable,
    compare,
    stored_values,
)
from skillopt.tasks.benchmarks.spreadsheetbench.positions import Scorer

Row = dict[str, Any]
PREVIEW_ROWS, PREVIEW_COLUMNS, PREVIEW_CHARS = 5, 20, 40
"""Rows and columns of each sheet, and characters of each cell, that a preview shows."""
MOST_ANSWERS, ANSWER_CHARS = 300, 200
SHOWN, SHOWN_CHARS = 5, 60


def judge(given: Row) -> Row:
    """Compare a workbook with its gold.

    Args:
        given: ``gold`` and ``found`` (paths), ``position``, ``sheet``, ``scorer``.

    Returns:
        ``equal``, and ``notes`` on what differs. They say nothing of the expected values but what
        kind they are of.
    """
    warnings.simplefilter("ignore")
    try:
        gold = load_workbook(given["gold"], data_only=True)
        found = load_workbook(given["found"], data_only=True)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # Whatever openpyxl raises: it is in the notes.
        return {"equal": False, "notes": [f"cannot be read as a workbook: {error}"[:300]]}
    told = compare(gold, found, given["position"], given["scorer"], given["sheet"])
    return {"equal": told.equal, "notes": list(_notes(told, given["found"]))}


def examine(given: Row) -> Row:
    """What is to be known of an item before it becomes a task.

    Args:
        given: ``cases``, each with ``input`` and ``gold`` (paths), ``position``, ``sheet``.

    Returns:
        ``preview`` of the first input; ``answers``: the expected values that no input contains;
        ``problems``: ``gold:SCORER`` if a gold does not pass, ``input:SCORER`` if an input does,
        ``uncached`` if a gold has formulas without a value there, ``unreadable``.
    """
    warnings.simplefilter("ignore")
    problems, expected = dict[str, None](), dict[str, None]()
    known, preview = {""}, ""
    for case in given["cases"]:
        try:
            source = load_workbook(case["input"])
            stored = load_workbook(case["input"], data_only=True)
            gold = load_workbook(case["gold"], data_only=True)
            written = load_workbook(case["gold"])
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  # Whatever openpyxl raises: it is in the problems.
            problems["unreadable"] = None
            continue
        preview = preview or "\n".join(_preview(source))
        place = (given["position"], given["sheet"])
        problems |= dict.fromkeys(_problems(stored, gold, written, *place))
        known |= {_text(v) for sheet in stored.worksheets for v in stored_values(sheet)}
        expected |= {_text(cell.expected): None for cell in _at(gold, *place)}
    answers = [text for text in expected if text not in known and len(text) <= ANSWER_CHARS]
    return {
        "preview": preview,
        "answers": answers[:MOST_ANSWERS],
        "problems": list(problems),
    }


def _at(book: Any, position: str, sheet: str) -> Iterator[Compared]:
    """The stored cells at a position, as either scorer reads it."""
    for scorer in get_args(Scorer):
        yield from cells_at(book, position, scorer, sheet)


def _problems(stored: Any, gold: Any, written: Any, position: str, sheet: str) -> Iterator[str]:
    for scorer in get_args(Scorer):
        if not compare(gold, gold, position, scorer, sheet).equal:
            yield f"gold:{scorer}"
        elif compare(gold, stored, position, scorer, sheet).equal:
            yield f"input:{scorer}"
    for cell in _at(written, position, sheet):
        if _is_formula(cell.expected) and gold[cell.sheet][cell.cell].value is None:
            yield "uncached"
            return


def _preview(book: Any) -> Iterator[str]:
    """The first rows of each sheet, as the reference shows them."""
    for sheet in book.worksheets:
        size = f"{sheet.dimensions}, {sheet.max_row} rows, {sheet.max_column} columns"
        yield f"## Sheet {sheet.title!r} ({size})"
        for row in sheet.iter_rows(
            max_row=min(sheet.max_row, PREVIEW_ROWS), max_col=min(sheet.max_column, PREVIEW_COLUMNS)
        ):
            yield " | ".join(f"{cell.coordinate}={_short(cell.value)}" for cell in row)
        if sheet.max_row > PREVIEW_ROWS:
            yield f"... ({sheet.max_row - PREVIEW_ROWS} more rows)"
        yield ""


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= PREVIEW_CHARS else text[: PREVIEW_CHARS - 3] + "..."


def _notes(told: Verdict, file: str) -> Iterator[str]:
    """What differs, for people and for the optimizer."""
    if told.missing:
        yield f"there is no sheet {told.missing!r}"
    if told.exception:
        yield f"the answer position cannot be compared there ({told.exception})"
    different = told.differences
    formulas = load_workbook(file) if any(d.found is None for d in different) else None
    for each in different[:SHOWN]:
        yield f"{each.sheet}!{each.cell} {_what(each, formulas)}"
    if len(different) > SHOWN:
        more = "at least " if len(different) == MOST else ""
        yield f"{more}{len(different)} cells differ in all"


def _what(each: Compared, formulas: Any) -> str:
    if each.found is None:
        written = formulas[each.sheet][each.cell].value
        if _is_formula(written):
            return "has a formula without a stored value, which counts as empty"
        return "is empty"
    shown = repr(str(each.found))[:SHOWN_CHARS]
    kind, wanted = _kind(each.found), _kind(each.expected)
    if kind != wanted and wanted:
        return f"has the {kind} {shown}, where a {wanted} is expected"
    return f"has {shown}, which is not the expected value"


def _kind(value: Any) -> str:
    """The kind of a value as it is compared; empty for an empty cell."""
    match comparable(value):
        case None | "":
            return ""
        case float() if not isinstance(value, datetime.datetime):
            return "number"
        case str() if isinstance(value, str):
            return "text"
    return "date or time"


def _is_formula(value: Any) -> bool:
    text = getattr(value, "text", value)  # Of an array formula.
    return isinstance(text, str) and text.startswith("=")


def _text(value: Any) -> str:
    """A cell's value as text; empty for truth values, which tell nothing."""
    return "" if value is None or isinstance(value, bool) else str(value).strip()
