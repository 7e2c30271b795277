"""Tokenizes texts so that different spellings of one value match, and finds distinctive values.

Knows neither tasks nor skills. Positions always refer to the text as it was given.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import accumulate, compress

from skillopt.tasks.conventions import is_known, word_set

SHINGLE = 8
"""Length of a run of words that two texts do not share by chance; also the longest key in words."""
EDGES = ".@+/#-"
PUNCTUATION = "".join(c for c in map(chr, range(33, 127)) if not c.isalnum()) + "’‘“”„«»…•·–—"


# Vocabulary of forms and of prose, even if data have it with a capital letter.
_COMMON_WORDS = word_set(
    "about above accept account accounts action active actual again all also always amount amounts"
    " and another answer april are area array ascending august author average balance bank base"
    " because before begin below best between black blank blue body book both business but button"
    " call case category cause change check city class clean clear client close code color colour"
    " column columns comment common company complete condition contact content copy correct cost"
    " count country create critical currency current customer customers daily data date day days"
    " dear debit december default delete department detail details device different direct done"
    " down draft each east email employee employees empty end english entry error errors even event"
    " every exact example expense expenses extra fail failure false february field figure figures"
    " file files final find finish first float folder for format found friday from full general"
    " good grand green group half head header hello high hold hour hours however ignore important"
    " income index info input integer internal into invalid invoice invoices issue item items"
    " january july june just keep kind know label large last late later least leave left length"
    " less letter level like line lines list local long lower mail main make manager many march"
    " match maximum mean median medium message middle minimum minor mode monday money month months"
    " more most much must name names near need negative never new next nobody none normal north not"
    " note notes november null number numbers object october off office often okay old once only"
    " open order orders other others output over overdue owner page paid part partial path pattern"
    " payment payments people percent period person phone place plain please positive present"
    " previous price primary priority problem process product products program progress project"
    " purchase quarter query question queue quick quiet range rate rather read ready real reason"
    " receipt record records reference refund regular remark remove report request result results"
    " return review right role round row rows rule sale sales same sample saturday save schema"
    " score script second select send sent september serial series service sheet short show simple"
    " since single size skill small some sort source south staff standard start state status step"
    " still stock stop street string style subject such sum summary sunday supplier sure system"
    " table target task tasks team test tests text than thank thanks that the their them then there"
    " these they thing this those three thursday time times title today together total totals"
    " travel true tuesday two type types under unit unknown unpaid until update upper urgent usage"
    " use user users valid value values vendor version very wait want was website wednesday week"
    " weekly weight well were west what when where which while white whole will with within without"
    " word words work worker world write wrong year years yellow yes yesterday you your zero"
)
_ORDINARY_ENDING = re.compile(r"(ed|ing|ions?|[ai]ble|ly|ments?|ness|ity|ive|ous|ful)$")
# Numbers that people use as examples, and well-known codes, ports, modes and sizes.
_CONVENTIONS = word_set(
    "365 366 401 403 404 409 422 429 502 503 504 443 644 755 777 999 9999 123 1234 12345 123456"
    " 1234567 12345678 123456789 1234.5 1234.56 12345.67 3.14 3.1415 3.14159 31536000 0.001"
    " 99.9 99.99 0.999 126 134 137 139 141 143 3306 5432 6379 8443 27017"
)
_STANDARDS = re.compile(
    r"(utf|iso|rfc|sha|md|cp|windows|ieee|python|https?|base|u?int|float|din|en|x)[-_.]?\d"
)
_ECMA = re.compile(r"es(20)?\d\d")
_YEAR_OR_DAY = re.compile(r"(19|20)\d\d((0[1-9]|1[0-2])([0-2]\d|3[01]))?")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_ID = re.compile(r"[^\W\d_]{1,8}[-_#/]?\d{4,}[^\W\d_]?|\d{4,}[-_]?[^\W\d_]{1,3}")
_MAX_DIGITS = 40
_ENOUGH = 4
"""Significant digits that tell a number with decimals."""
_MANY_DECIMALS = 5
LONG_CODE = 16
"""Characters from which on a code is often shortened, such as a hash."""
_CODE_START = 7
"""Characters of a code that tell it: Git shortens its own to as many."""
_CONSTANTS = (
    math.pi, 2 * math.pi, math.pi / 2, math.pi / 180, 180 / math.pi, math.e, 1 / math.e,
    math.sqrt(2), math.sqrt(0.5), math.sqrt(3), math.sqrt(5), math.log(2), math.log(10),
    (1 + math.sqrt(5)) / 2, 1.482602, 0.674490, 1.959964, 1.644854, 2.575829, 9.80665, 273.15,
    101.325, 8.314463, 6.02214076, 6.62607015, 1.380649, 1.602176634, 2.99792458, 299.792458,
    0.577216, 96.48533, 1.054572, 8.854188, 6371.0088, 86164.0905, 1.609344, 2.54, 0.453592,
)  # fmt: skip
"""Constants of mathematics, statistics and physics, and units in others, without their powers."""
_KNOWN_CONSTANTS = frozenset(
    str(short)
    for constant in _CONSTANTS
    for places in range(1, 7)
    for short in (round(constant, places), math.floor(constant * 10**places) / 10**places)
)
_NEAR_POWERS = frozenset(2**n + d for n in range(65) for d in (-1, 0, 1))
_MAYBE_LONG = re.compile(r"\d\D*\d|@")

_WORD = re.compile(
    r"[^\W\d_]++(?!\d)"
    r"|(?=\d)(?:"
    r"(?<![\d.])\d{1,3}(?:[,'’_\xa0]\d{3})+(?:\.\d+)?(?!\d|[.,]\d)"  # 1,234.50
    r"|(?<![\d.])\d{1,3}(?:\.\d{3})+,\d+(?!\d|[.,]\d)"  # 1.234,50
    r"|(?<![\d.,])\d+,\d{1,2}(?!\d|[.,]\d)"  # 1234,50
    r"|(?<![\d.])\d+\.\d+(?!\d|\.\d)"  # 1234.50, but no part of 10.0.3.17
    r"|[^\W_]+)"
    r"|[^\W\d_]++(?=\d+\.\d|\d{1,3},\d{3})"  # EUR of EUR1234.50
    r"|[^\W_]+"
)
_COARSE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?|[\w.@][\w.@+/#-]*")
_ISO_T = re.compile(r"(?<=\d)t(?=\d\d:\d\d)")
_DATE = re.compile(r"(?:(\d{4})[-/.])?(\d\d?)[-/.](\d\d?)(?:[-/.](\d{4}))?")

Span = tuple[str, int, int]
"""A word in its normal form, with its start and end in the text."""


def fold(text: str) -> str:
    """A text with one case, width and kind of dash, and the same length as before."""
    folded = text.lower() if text.isascii() else text.translate(_FOLDING)
    return _ISO_T.sub(" ", folded)


def words(folded: str) -> list[str]:
    """The words and numbers of a folded text; ``1,234.50`` and ``-1234.5`` are one number."""
    return [w if w.isalnum() else _number(w) for w in _WORD.findall(folded)]


def word_spans(folded: str) -> list[Span]:
    """:func:`words`, each with its position."""
    found = ((match.group(), *match.span()) for match in _WORD.finditer(folded))
    return [(w if w.isalnum() else _number(w), start, end) for w, start, end in found]


def tokens(folded: str) -> set[str]:
    """File names, paths, identifiers, addresses and words, with the punctuation inside them."""
    return set(_COARSE.findall(folded))


def token_spans(folded: str) -> list[Span]:
    """:func:`tokens` and the parts of those with slashes, each with its position."""
    found: list[Span] = []
    for match in _COARSE.finditer(folded):
        start, word = match.start(), match.group().rstrip(EDGES)
        found.append((word, start, start + len(word)))
        for part in word.split("/") if "/" in word else ():
            found.append((part.rstrip(EDGES), start, start + len(part)))
            start += len(part) + 1
    return [each for each in found if each[0]]


def plain_words(folded: str) -> list[str]:
    """Words as a reader sees them, without the punctuation around them."""
    return [plain for raw in folded.split() if (plain := raw.strip(PUNCTUATION))]


def plain_spans(folded: str) -> list[Span]:
    """:func:`plain_words`, each with its position."""
    found: list[Span] = []
    for match in re.finditer(r"\S+", folded):
        plain = match.group().strip(PUNCTUATION)
        if plain:
            start = match.start() + match.group().index(plain)
            found.append((plain, start, start + len(plain)))
    return found


def shingles(plain: Sequence[str]) -> set[str]:
    """Every run of :data:`SHINGLE` plain words, joined. Runs of numbers and codes are left out."""
    lettered = list(accumulate((word[0].isalpha() for word in plain), initial=0))
    wanted = (b - a > SHINGLE // 2 for a, b in zip(lettered, lettered[SHINGLE:], strict=False))
    runs = zip(*(plain[i:] for i in range(SHINGLE)), strict=False)
    return set(map(" ".join, compress(runs, wanted)))


def key(value: str) -> str:
    """What spellings of a value have in common: its first words, joined; "" if it has none."""
    return " ".join(words(fold(value))[:SHINGLE])


def keys(value: str) -> frozenset[str]:
    """Keys of a value. A long one also has its shingles, so that a part of it is found too."""
    plain = plain_words(fold(value))
    found = shingles(plain) if len(plain) > SHINGLE else set()
    return frozenset(found or {key(value)} - {""})


def is_common(word: str) -> bool:
    """Whether a word in lower case is part of the common vocabulary."""
    return word in _COMMON_WORDS


def is_ordinary(word: str) -> bool:
    """Whether a word in lower case is one of forms and prose, or ends like many of these."""
    return is_common(word) or _ORDINARY_ENDING.search(word) is not None


def distinctive(value: str) -> bool:
    """Whether a value in ordinary text can hardly come from anywhere else.

    Numbers need three significant digits and identifiers five characters: ``12`` and ``Q3`` are
    everywhere. A word needs the capital letter of a name and must not be part of the vocabulary of
    forms (``Pending``), as most single words in data are. Any other text needs five words.
    """
    found = words(fold(value))
    if any(telling(word) for word in found):
        return True
    # A whole date: ``2026-03-04``, but not the month ``2026-03``.
    if len(found) >= 3 and sum(len(word) for word in found if word.isdecimal()) >= 8:
        return True
    return sum(not word.isdecimal() for word in found) >= 5 or _is_name(value)


def telling(word: str) -> bool:
    """Whether one of :func:`words` is distinctive on its own."""
    if _is_number(word):
        return significant(word) >= 3 and not _conventional(word)
    if word.isalpha() or _STANDARDS.match(word) or is_known(word):
        return False
    return len(word) >= 5 and sum(c.isdigit() for c in word) >= 2


def significant(number: str) -> int:
    """Significant digits of a number in its normal form."""
    digits = number.replace(".", "").lstrip("0")
    return len(digits if "." in number else digits.rstrip("0"))


def shortened(word: str) -> Iterator[str]:
    """One of :func:`words` as people shorten it where enough is left to tell what it was.

    Of a number fewer decimals, rounded or cut; of a long code its beginning, as :func:`code_start`
    has it.
    """
    if start := code_start(word) if len(word) >= LONG_CODE else "":
        yield start
    whole, dot, decimals = word.partition(".")
    if not (dot and whole.isdecimal() and decimals.isdecimal()) or len(word) > _MAX_DIGITS:
        return
    # What differs in its only decimals may be another number.
    for places in range(1 if len(decimals) >= _MANY_DECIMALS else 2, len(decimals)):
        cut = f"{whole}.{decimals[:places]}"
        for short in {cut, str(Decimal(word).quantize(Decimal(1).scaleb(-places)))}:
            if significant(short) >= _ENOUGH and not _conventional(short):
                yield _number(short)


def code_start(word: str) -> str:
    """The mark of the beginning of a code, by which a shortened one is found; "" if it is none."""
    start = word[:_CODE_START]
    letters = sum(map(str.isalpha, start))
    return f"{start}…" if len(start) == _CODE_START and 0 < letters < _CODE_START else ""


def glued(value: str) -> str:
    """A code without the signs between its groups; "" if it is no code of several groups."""
    if any(map(str.isspace, value)):
        return ""
    found = words(fold(value))
    joined = "".join(found)
    digits = sum(map(str.isdigit, joined))
    is_code = 1 < len(found) <= SHINGLE and len(joined) >= 8 and 2 <= digits < len(joined)
    return joined if is_code and joined.isalnum() else ""


def figure(word: str) -> bool:
    """Whether one of :func:`words` is a number with decimals that nobody writes by chance."""
    return "." in word and significant(word) >= _ENOUGH and not _conventional(word)


def long_literal(token: str) -> str:
    """The key of one of :func:`tokens` if no text contains it by chance, else "".

    Such a token is ten characters with digits, an identifier with four digits, a number with five
    significant ones, a date with a time, or a mail address.
    """
    if not _MAYBE_LONG.search(token):
        return ""
    token = token.strip(EDGES)
    if _is_number(token):
        number = token if token.isalnum() else _number(token)
        return number if significant(number) >= 5 and not _conventional(number) else ""
    found = words(token)[:SHINGLE]
    size = len("".join(found))
    if size < 5 or _STANDARDS.match(token) or _ECMA.fullmatch(token) or is_known(token):
        return ""
    if _MAIL.fullmatch(token):
        return " ".join(found)
    digits = sum(map(str.isdigit, token))
    if digits < 2:
        return ""
    if all(map(_is_number, found)):
        # Dates have eight digits, with a time twelve: dates alone occur in every example.
        return " ".join(found) if digits > 8 else ""
    return " ".join(found) if size >= 10 or _ID.fullmatch(token) else ""


def date(text: str) -> tuple[str, str, str] | None:
    """A numeric date as year and two sorted numbers, since either may be the month."""
    match = _DATE.fullmatch(text) if 8 <= len(text) <= 10 else None
    if not match or bool(match[1]) == bool(match[4]):
        return None
    first, second = sorted((match[2].zfill(2), match[3].zfill(2)))
    return match[1] or match[4], first, second


def _is_name(value: str) -> bool:
    parts = plain_words(value)
    proper = [
        len(part) >= 4
        and part[0].isupper()
        and part.isalpha()
        and not is_common(part.lower())
        and not _ORDINARY_ENDING.search(part.lower())
        for part in parts
    ]
    if len(parts) == 1:
        return proper[0] and len(parts[0]) >= 5 and not is_known(parts[0].lower())
    # The first of several words may have its capital from the start of a sentence; not all may.
    return any(proper[1:]) or (any(proper) and all(part[0].isupper() for part in parts))


def _is_number(word: str) -> bool:
    return word.isdecimal() or word.replace(".", "", 1).isdecimal()


def _conventional(number: str) -> bool:
    if number in _CONVENTIONS or number in _KNOWN_CONSTANTS or len(number) > _MAX_DIGITS:
        return True
    if "." in number:
        return False
    # Years, dates in one word, powers of two and their neighbours: 127, 1024, 65535.
    return int(number) in _NEAR_POWERS or _YEAR_OR_DAY.fullmatch(number) is not None


def _number(text: str) -> str:
    """The normal form of a number: without separators and superfluous zeros."""
    comma = text.rfind(",")
    if comma > text.rfind(".") and ("." in text or len(text) - comma != 4):
        text = text.replace(".", "").replace(",", ".")
    if not text.replace(".", "", 1).isdecimal():
        text = re.sub(r"[^\d.]", "", text)
    whole, _, fraction = text.partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


class _Folding(dict[int, str]):
    """How single characters are folded, computed when first needed."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        folded = unicodedata.normalize("NFKC", char).casefold()
        if char in "\xa0\u2009\u202f":
            # The spaces that group digits stay apart from those between words.
            folded = "\xa0"
        elif unicodedata.category(char) == "Pd" or char == "\u2212":
            folded = "-"
        self[code] = folded if len(folded) == 1 else char
        return self[code]


_FOLDING = _Folding()
