"""What is secret in other forms: shortened, in groups, as a part of a list, as a line."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from skillopt.tasks.contents import READERS, pieces_of
from skillopt.tasks.conventions import is_known
from skillopt.tasks.wording import (
    LONG_CODE,
    SHINGLE,
    Span,
    code_start,
    date,
    distinctive,
    fold,
    glued,
    key,
    keys,
    shortened,
    significant,
    words,
)

MAX_FIGURES = 500
"""Expected values before they are taken for rows of data, of which no other forms are kept."""
MAX_DATES = 5
_HEX = re.compile(r"\b0x[0-9A-Fa-f]{6,16}\b")
_MARK = re.compile(r"([A-Z]{3,6})\d{1,3}|[A-Z]{4}")
_CODE = re.compile(r"(?<![\w-])[A-Z0-9]{3,12}(?:-[A-Z0-9]{3,12}){1,7}(?![\w-])")
_SENTENCE = re.compile(r"[A-Z\d][^(){}\[\]<>=;\\#_`$]+[.!?]\"?")
_CLAUSE = re.compile(r"[^(){}\[\]<>=:;\\#_`$]+")


def variants(
    secret: Iterable[str], programs: Iterable[tuple[str, bool]], data: Iterable[Path]
) -> Iterator[str]:
    """Keys of the other forms of what is secret, and of lines that no text has by chance.

    Args:
        secret: values as written.
        programs: the values in programs, and whether something is compared with them.
        data: the files of the tests that are no programs.
    """
    secret = list(secret)
    yield from filter(None, map(glued, secret))
    yield from _dates(secret)
    figures = {word for value in secret for word in words(fold(value)) if len(word) > 5}
    if len(figures) <= MAX_FIGURES:
        yield from (short for word in figures for short in shortened(word))
    else:
        yield from filter(None, (code_start(word) for word in figures if len(word) >= LONG_CODE))
    lines: list[str] = []
    for value, compared in programs:
        # The cells of a row, as programs write it.
        if value.count(",") >= 2:
            yield from (key(cell) for cell in map(str.strip, value.split(",")) if distinctive(cell))
        if compared:
            yield from [fold(value)] if _is_mark(value) else _rows(value.split())
        lines += [value] if _is_sentence(value) else filter(_is_clause, _CLAUSE.findall(value))
    for path in data:
        if path.suffix.lower() in READERS:
            yield from _rows(pieces_of(path))
        else:
            lines += filter(_is_odd_line, pieces_of(path))
    yield from (each for line in lines for each in keys(line))


def codes(text: str) -> Iterator[str]:
    """Keys of the codes in a text, quoted or not; of those in groups in one piece, too."""
    yield from (code.lower() for code in _HEX.findall(text) if len(set(code[2:].lower())) >= 4)
    for code in _CODE.findall(text):
        joined = glued(code)
        if sum(map(str.isalpha, joined)) >= 4:
            yield from (key(code), joined)


def _dates(values: Iterable[str]) -> Iterator[str]:
    """Dates as people write them."""
    found = [value.split("-") for value in values if date(value) and value[4:5] == "-"]
    for year, month, day in found if len(found) <= MAX_DATES else ():
        short, plain = str(int(day)), str(int(month))
        if 1 <= int(month) <= 12:
            for name in (calendar.month_name[int(month)], calendar.month_abbr[int(month)]):
                yield f"{short} {name.lower()} {year}"
                yield f"{name.lower()} {short} {year}"
        for first, second in ((day, month), (month, day), (short, plain), (plain, short)):
            yield f"{first} {second} {year}"


def rows(numbers: Sequence[Span]) -> list[Span]:
    """Three counts that follow each other, whatever is between them, joined."""
    counts = [each for each in numbers if each[0].isdecimal() and significant(each[0]) >= 2]
    return [
        (f"{one[0]} {two[0]} {three[0]}", one[1], three[2])
        for one, two, three in zip(counts, counts[1:], counts[2:], strict=False)
    ]


def _rows(values: Sequence[str]) -> Iterator[str]:
    """Those of few values, which do not count on."""
    if 3 <= len(values) <= MAX_FIGURES:
        for row, _, _ in rows([(key(value), 0, 0) for value in values]):
            first, second, third = map(int, row.split())
            if second - first != third - second:
                yield row


def _is_sentence(text: str) -> bool:
    return _SENTENCE.fullmatch(text) is not None and len(text.split()) >= 5


def _is_clause(text: str) -> bool:
    """Whether a part of a text has the words of a sentence, such as the message of a test."""
    count = len(text.split())
    return count >= SHINGLE or (count >= 5 and _is_odd_line(text))


def _is_mark(text: str) -> bool:
    """Whether a text is what a file of a made-up format begins with: ``QVZ1``."""
    match = _MARK.fullmatch(text)
    return match is not None and not any(map(is_known, map(str.lower, (text, match[1] or text))))


def _is_odd_line(line: str) -> bool:
    """Whether a line of what a program has to write has four words, of which one is unusual."""
    found = words(fold(line))
    return len(found) >= 4 and any(w.isalpha() and len(w) > 3 and not is_known(w) for w in found)
