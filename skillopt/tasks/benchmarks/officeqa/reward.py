"""OfficeQA's public reward, which decides as ``reward.py`` of databricks/officeqa at 7b9a3c1 does.

The prediction is one short line with as many numbers as the gold, each within a relative tolerance.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

LONGEST = 250
"""Characters of a direct answer."""
_FINAL = re.compile(r"<FINAL_ANSWER>\s*(.*?)\s*</FINAL_ANSWER>", re.DOTALL | re.IGNORECASE)
_UNABLE = "unable to determine"
_CURRENCY = "$£€¥₹¢₩₽"
_SIGNS = re.compile(f"[{_CURRENCY}]")
_ACCOUNTING = re.compile(
    rf"\(\s*([{_CURRENCY}])?\s*(\d{{1,3}}(?:,\d{{3}})*(?:\.\d+)?|\d+(?:\.\d+)?)\s*\)"
)
_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)")
_NUMBER = re.compile(r"-?\d+\.?\d*%?")
_ITEM = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?%?")
_LIST = re.compile(r"\[([^\[\]]+)\]")
_UNIT_WORDS = re.compile(r"\b(?:(?:trillion|billion|million|thousand|hundred)s?|percent(?:age)?)\b")
_UNITS = {
    "trillion": re.compile(r"\btrillions?\b"),
    "billion": re.compile(r"\b(?:billions?|b)\b"),
    "million": re.compile(r"\b(?:millions?|m)\b"),
    "thousand": re.compile(r"\b(?:thousands?|k)\b"),
}
_MARKUP = re.compile(r"<[^>]*>")
_AROUND = 20
"""Characters before and after a number in which its unit is looked for."""


@dataclass(frozen=True)
class Number:
    """A number in a text, with the unit that is named near it."""

    value: float
    unit: str | None = None

    @property
    def is_year(self) -> bool:
        return 1900 <= self.value <= 2100 and self.value == int(self.value)

    def matches(self, other: Number, tolerance: float) -> bool:
        """Whether another number is close to this one, which is the expected one. A unit that only
        one of them has is no difference, and nothing but zero is close to zero."""
        if None not in (self.unit, other.unit) and self.unit != other.unit:
            return False
        if self.value == 0:
            return other.value == 0
        return abs(self.value - other.value) / abs(self.value) <= tolerance


def reward(gold: str, reply: str, tolerance: float = 0.0) -> bool:
    """Whether a reply is right.

    Args:
        gold: the expected answer.
        reply: the answer; if it has FINAL_ANSWER tags, what is in the last ones.
        tolerance: largest relative error of a number, in [0, 1].
    """
    tagged = _FINAL.findall(reply)
    given = (str(tagged[-1]) if tagged else reply).strip()
    lines = [line for line in given.splitlines() if line.strip()]
    if not gold or len(lines) != 1 or len(given) > LONGEST or not 0 <= tolerance <= 1:
        return False
    if _UNABLE in given.lower():
        return False
    expected = numbers(gold)
    if not expected:
        return not numbers(given) and _text_form(gold) == _text_form(given)
    return not _MARKUP.search(given) and _numbers_match(gold, given, expected, tolerance)


def numbers(text: str) -> list[Number]:
    """The numbers in a text, in order."""
    plain = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), _signed(_spaced(text)))
    found = []
    for match in _NUMBER.finditer(plain):
        around = plain[max(0, match.start() - _AROUND) : match.end() + _AROUND].lower()
        unit = next((name for name, words in _UNITS.items() if words.search(around)), None)
        found.append(Number(float(match[0].rstrip("%")), unit))
    return found


def _numbers_match(gold: str, given: str, expected: Sequence[Number], tolerance: float) -> bool:
    """Whether a line has the gold's numbers: those of a bracketed list in their order, others
    anywhere and with the gold's words."""
    found = _without_years(gold, expected, numbers(given))
    if not _is_number_list(gold, expected):
        return (
            len(found) == len(expected)
            and _words_overlap(gold, given)
            and all(any(e.matches(one, tolerance) for one in found) for e in expected)
        )
    if _segmented(
        given, len(expected), lambda n, value: expected[n].matches(Number(value), tolerance)
    ):
        return True
    return len(found) == len(expected) and all(
        one.matches(other, tolerance) for one, other in zip(expected, found, strict=True)
    )


def _without_years(
    gold: str, expected: Sequence[Number], found: Sequence[Number]
) -> Sequence[Number]:
    """Numbers without those that look like a year, which an answer may mention, unless the gold
    may be about a year itself."""
    about_years = any(number.is_year for number in expected)
    if about_years or (len(expected) == 1 and _has_words(gold)):
        return found
    return [number for number in found if not number.is_year]


def _is_number_list(gold: str, expected: Sequence[Number]) -> bool:
    """Whether the gold is a bracketed list of numbers and nothing else."""
    return _list_body(gold) is not None and _segmented(
        gold, len(expected), lambda n, value: value == expected[n].value
    )


def _segmented(text: str, count: int, fits: Callable[[int, float], bool]) -> bool:
    """Whether a text can be read as a list of ``count`` numbers, at least two, that all fit. A
    comma may separate numbers or thousands: ``8,152,260`` can be 8 and 152,260.

    Args:
        text: the text; if it has one bracketed list, that is read.
        count: of the numbers.
        fits: whether a number may be at a place of the list.
    """
    if count < 2:
        return False
    chunks = (_list_body(text) or _spaced(text)).split(",")

    @cache
    def fitting(start: int, place: int) -> bool:
        """Whether the chunks from ``start`` on can be the numbers from ``place`` on."""
        if place == count:
            return start == len(chunks)
        for end in range(start + 1, len(chunks) + 1):
            value = _item(",".join(chunks[start:end]))
            if value is not None and fits(place, value) and fitting(end, place + 1):
                return True
        return False

    return fitting(0, 0)


def _item(text: str) -> float | None:
    """A number of a list; None if the text is not one."""
    text = text.strip()
    if re.search(r"\s,|,\s", text):
        return None
    text = _signed(_spaced(text))
    return float(text.rstrip("%").replace(",", "")) if _ITEM.fullmatch(text) else None


def _list_body(text: str) -> str | None:
    """What is in the only brackets of a text, unless there are digits outside of them."""
    text = _spaced(text)
    found = [*_LIST.finditer(text)]
    if len(found) != 1:
        return None
    outside = text[: found[0].start()] + text[found[0].end() :]
    return None if re.search(r"\d", outside) else found[0][1]


def _words_overlap(gold: str, given: str) -> bool:
    """Whether the words of the gold are in those of the answer, or the other way round; also if the
    gold has none."""
    if not _has_words(gold):
        return True
    return _has_words(given) and (_words(gold) in _words(given) or _words(given) in _words(gold))


def _has_words(text: str) -> bool:
    return len(_words(text)) >= 2


def _words(text: str) -> str:
    """What is left of a text without numbers, units and punctuation."""
    text = _NUMBER.sub("", _spaced(text).lower()).replace(",", "")
    text = re.sub(r"\b%\b", "", _UNIT_WORDS.sub("", text))
    return _spaced(re.sub(r"[^\w\s]", " ", text))


def _text_form(text: str) -> str:
    """An answer in words without case, quotes around it, and what is in parentheses."""
    text = text.strip().lower().strip('"').strip("'")
    return _spaced(re.sub(r"\([^)]*\)", "", text))


def _spaced(text: str) -> str:
    return " ".join(text.replace("\u2212", "-").split())


def _signed(text: str) -> str:
    """Accounting parentheses as a minus, unless a year is in them; without currency signs."""

    def minus(match: re.Match[str]) -> str:
        year = match[1] is None and Number(float(match[2].replace(",", ""))).is_year
        return match[0] if year else f"-{match[2]}"

    return _SIGNS.sub("", _ACCOUNTING.sub(minus, text))
