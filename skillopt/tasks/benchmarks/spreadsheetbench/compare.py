"""SpreadsheetBench's comparison of two workbooks: stored values only, cell by cell.

Numbers and texts that are numbers count to two decimals, dates to the whole day, times without
their seconds; an empty text is an empty cell. Everything else must have the same type and be equal.
Colours, fonts and number formats do not count. A formula counts by its stored value.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from skillopt.tasks.benchmarks.spreadsheetbench.positions import (
    Block,
    Scorer,
    block,
    column_name,
    parts,
    resolved,
)

MOST = 1000
"""The most differences that are counted."""
_DAY_ZERO = datetime.datetime(1899, 12, 30)


@dataclass(frozen=True)
class Compared:
    """A cell of the position.

    Args:
        sheet, cell: its names.
        found, expected: the stored values.
    """

    sheet: str
    cell: str
    found: Any
    expected: Any


@dataclass(frozen=True)
class Verdict:
    """Whether a workbook passes.

    Args:
        missing: the first sheet that it lacks.
        differences: of each range the first, with some that follow.
        exception: the class of the exception that the public code raises, which is a failure.
    """

    equal: bool
    missing: str = ""
    differences: tuple[Compared, ...] = ()
    exception: str = ""


def comparable(value: Any) -> Any:
    """A cell's value in the form in which it is compared.

    Raises:
        OverflowError, TypeError: a number is too large, or a date has a time zone.
    """
    match value:
        case bool() | int() | float():
            return round(float(value), 2)
        case datetime.time():
            return str(value)[:-3]
        case datetime.datetime():
            since = value - _DAY_ZERO
            return round(since.days + since.seconds / 86400, 0)
        case str():
            try:
                return round(float(value), 2)
            except ValueError:
                return value
    return value


def equal(expected: Any, found: Any) -> bool:
    """Whether two cells' values count as the same; raises as :func:`comparable`."""
    one, other = comparable(expected), comparable(found)
    if one in ("", None) and other in ("", None):
        return True
    return type(one) is type(other) and bool(one == other)


def compare(gold: Any, found: Any, position: str, scorer: Scorer, sheet: str = "") -> Verdict:
    """Compare two workbooks of openpyxl, both loaded with ``data_only``.

    Args:
        gold, found: the workbooks.
        position: the item's ``answer_position``.
        scorer: how the position is read.
        sheet: the item's ``answer_sheet``.
    """
    missing, differences = "", list[Compared]()
    try:
        for part in parts(resolved(position, sheet, scorer), scorer):
            name = gold.sheetnames[0] if part.sheet is None else part.sheet
            if name not in found.sheetnames:
                missing = missing or name
                continue
            cells = _cells(gold[name], found[name], part.cells, scorer)
            others = (
                Compared(name, cell, is_there, wanted)
                for cell, wanted, is_there in cells
                if not equal(wanted, is_there)
            )
            differences += islice(others, 1)
            # The public code ends a range here: whatever comes later is for the feedback alone.
            with suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
                differences += islice(others, MOST)
    except MemoryError:
        raise  # This process may not have more, which is not for the workbook to decide.
    except Exception as error:  # noqa: BLE001  # A failure in the public code too, and recorded.
        exception = type(error).__name__
        return Verdict(False, missing, tuple(differences[:MOST]), exception)
    return Verdict(not missing and not differences, missing, tuple(differences[:MOST]))


def cells_at(book: Any, position: str, scorer: Scorer, sheet: str) -> Iterator[Compared]:
    """The stored cells at a position, as both found and expected; none from where it cannot be
    read. For the arguments see :func:`compare`."""
    with suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        for part in parts(resolved(position, sheet, scorer), scorer):
            name = book.sheetnames[0] if part.sheet is None else part.sheet
            for cell, value, _ in _cells(book[name], book[name], part.cells, scorer):
                yield Compared(name, cell, value, value)


def stored_values(sheet: Any) -> Iterator[Any]:
    """The values of the stored cells of a worksheet, which may be far apart."""
    return (cell.value for cell in sheet._cells.values())


def _cells(gold: Any, found: Any, text: str, scorer: Scorer) -> Iterator[tuple[str, Any, Any]]:
    """Name and both values of the cells of a range, but for those that are in neither sheet: a
    range of a million empty cells costs nothing. Raises what openpyxl raises."""
    area = block(text, scorer)
    if area is None:
        yield text, gold[text].value, found[text].value
        return
    inside, outside = area.split()
    if not inside.empty:
        first = f"{column_name(inside.first_column)}{inside.first_row}"
        gold[first], found[first]  # Raises for a sheet that is a chart.
        yield from _stored(gold, found, inside)
    if outside is not None:
        yield outside, gold[outside].value, found[outside].value


def _stored(gold: Any, found: Any, area: Block) -> Iterator[tuple[str, Any, Any]]:
    places = {
        (column, row)
        for row, column in (*gold._cells, *found._cells)
        if area.first_column <= column <= area.last_column
        and area.first_row <= row <= area.last_row
    }
    for column, row in sorted(places):
        each = (sheet._cells.get((row, column)) for sheet in (gold, found))
        wanted, is_there = (None if cell is None else cell.value for cell in each)
        yield f"{column_name(column)}{row}", wanted, is_there
