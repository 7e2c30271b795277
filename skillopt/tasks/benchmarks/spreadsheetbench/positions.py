"""Which cells an answer position names, as the public evaluation and the reference read it.

``public`` is SpreadsheetBench's evaluation.py at 49b73a9: it only strips quotes, counts every
character that is no digit as a letter of the column, and looks at the gold's first sheet if none is
named. ``reference`` also drops blanks and dollar signs, and then takes ``answer_sheet``. Both split
at every comma, cannot read whole columns, and find no cell in a range whose end comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Scorer = Literal["public", "reference"]
MOST_COLUMNS = 18_278
"""The last column that openpyxl can name: ZZZ."""
MOST_ROWS = 1_048_576
_QUOTES = {"public": "'", "reference": "'\""}


@dataclass(frozen=True)
class Part:
    """One of the ranges that a position lists.

    Args:
        sheet: None for the gold's first.
        cells: a range or the name of a cell, as it is written.
    """

    sheet: str | None
    cells: str


@dataclass(frozen=True)
class Block:
    """The cells of a range; columns and rows are numbers, the last ones included.

    They come column by column. Some may be none that a workbook can have, such as row 0.
    """

    first_column: int
    first_row: int
    last_column: int
    last_row: int

    @property
    def empty(self) -> bool:
        return self.last_column < self.first_column or self.last_row < self.first_row

    def names(self) -> Iterator[str]:
        """The names of all cells, in order."""
        for column in range(self.first_column, self.last_column + 1):
            for row in range(self.first_row, self.last_row + 1):
                yield f"{column_name(column)}{row}"

    def split(self) -> tuple[Block, str | None]:
        """The cells before the first one that a workbook cannot have, and the name of that."""
        if self.empty:
            return self, None
        first = f"{column_name(self.first_column)}"
        if not 1 <= self.first_column <= MOST_COLUMNS or not 1 <= self.first_row <= MOST_ROWS:
            return Block(1, 1, 0, 0), f"{first}{self.first_row}"
        if self.last_row > MOST_ROWS:
            column = self.first_column
            return Block(column, self.first_row, column, MOST_ROWS), f"{first}{MOST_ROWS + 1}"
        if self.last_column > MOST_COLUMNS:
            end = f"{column_name(MOST_COLUMNS + 1)}{self.first_row}"
            return Block(self.first_column, self.first_row, MOST_COLUMNS, self.last_row), end
        return self, None


def resolved(position: str, sheet: str, scorer: Scorer) -> str:
    """The position with the item's ``answer_sheet``, if the scorer uses that."""
    if scorer == "reference" and position and sheet and "!" not in position:
        return f"{sheet}!{position}"
    return position


def parts(position: str, scorer: Scorer) -> Iterator[Part]:
    """The ranges of a position.

    Raises:
        ValueError: the public scorer meets a part with two exclamation marks.
    """
    quotes = _QUOTES[scorer]
    for piece in position.split(","):
        if scorer == "reference":
            piece = piece.strip()
            if not piece:
                continue
        sheet = None
        if "!" in piece:
            sheet, piece = piece.split("!", 1 if scorer == "reference" else -1)
            sheet = (sheet.strip() if scorer == "reference" else sheet).strip(quotes)
        yield Part(sheet, (piece.strip() if scorer == "reference" else piece).strip(quotes))


def block(cells: str, scorer: Scorer) -> Block | None:
    """The block of a range; None for the name of a cell.

    Raises:
        ValueError: there are two colons, or a row number is missing.
    """
    if ":" not in cells:
        return None
    start, end = cells.split(":")
    (left, top), (right, bottom) = _corner(start, scorer), _corner(end, scorer)
    return Block(left, top, right, bottom)


def cell_names(cells: str, scorer: Scorer = "public") -> Iterator[str]:
    """The names of the cells of a range, column by column; raises ValueError as :func:`block`."""
    found = block(cells, scorer)
    if found is None:
        yield cells
    else:
        yield from found.names()


def column_name(number: int) -> str:
    """A column's letters; none for a number below 1."""
    letters = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _corner(text: str, scorer: Scorer) -> tuple[int, int]:
    digits = "".join(c for c in text if c.isdigit())
    letters = (c for c in text if (c.isalpha() if scorer == "reference" else not c.isdigit()))
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    return column, int(digits)
