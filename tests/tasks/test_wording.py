"""How values are spelled, and which of them can hardly come from anywhere else."""

from __future__ import annotations

import pytest

from skillopt.tasks.wording import (
    SHINGLE,
    date,
    distinctive,
    fold,
    key,
    keys,
    long_literal,
    plain_spans,
    plain_words,
    shingles,
    significant,
    telling,
    token_spans,
    word_spans,
    words,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,234.50", "1234.5"), ("1.234,50", "1234.5"), ("1234,50", "1234.5"), ("1234,5", "1234.5"),
        ("1,234", "1234"), ("1,234,567", "1234567"), ("1'234", "1234"), ("1\xa0234.00", "1234"),
        ("12,345.6", "12345.6"), ("1.50", "1.5"), ("0.50", "0.5"), ("00.5", "0.5"), ("10.00", "10"),
        ("10.0.3.17", "10 0 3 17"), ("a1b2", "a1b2"), ("EUR1234.50", "EUR 1234.5"),
        ("12,345,6", "12 345 6"), ("1,23", "1.23"), ("3.1415", "3.1415"), ("Q3", "Q3"),
        ("é2", "é2"),
    ],
)  # fmt: skip
def test_numbers_have_one_form(text: str, found: str) -> None:
    assert " ".join(words(text)) == found
    assert [text[a:b] for _, a, b in word_spans(text)] and [
        w for w, *_ in word_spans(text)
    ] == words(text)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ABC", "abc"), ("ÄB", "äb"), ("ＡＢ", "ab"), ("a–b—c−d", "a-b-c-d"),
        ("1\u202f0", "1\xa00"),
        ("2026-03-04T10:20", "2026-03-04 10:20"), ("T10:20", "t10:20"), ("ß", "ß"), ("ﬁ", "ﬁ"),
        ("\u2009\xa0", "\xa0\xa0"), ("at5", "at5"),
    ],
)  # fmt: skip
def test_texts_are_folded_to_the_same_length(text: str, folded: str) -> None:
    assert fold(text) == folded and len(folded) == len(text)


def test_tokens_have_their_places_with_the_parts_of_paths() -> None:
    text = "see a/bc.txt, and x@y.z. on 2026-03-04 10:20:30"
    found = token_spans(text)
    assert [word for word, *_ in found] == [
        "see", "a/bc.txt", "a", "bc.txt", "and", "x@y.z", "on", "2026-03-04 10:20:30",
    ]  # fmt: skip
    assert all(text[start:end] == word for word, start, end in found)


def test_plain_words_have_their_places() -> None:
    text = '("Hello"), ... it\'s  -x-'
    assert plain_words(text) == [word for word, *_ in plain_spans(text)]
    assert all(text[start:end] == word for word, start, end in plain_spans(text))
    assert plain_words(text)[0] == "Hello" and len(plain_words(text)) == 3


def test_shingles_are_runs_of_words_with_letters() -> None:
    letters = [f"w{chr(97 + n)}" for n in range(SHINGLE + 1)]
    assert shingles(letters) == {" ".join(letters[:SHINGLE]), " ".join(letters[1:])}
    assert shingles(letters[: SHINGLE - 1]) == set()
    for lettered in range(SHINGLE + 1):
        run = ["a"] * lettered + ["1"] * (SHINGLE - lettered)
        assert bool(shingles(run)) is (lettered > SHINGLE // 2)


def test_a_long_value_is_found_by_its_parts() -> None:
    short = " ".join("abcdefgh"[: SHINGLE // 2])
    assert keys(short) == {key(short)} == {short}
    exact = " ".join(f"w{chr(97 + n)}" for n in range(SHINGLE))
    assert keys(exact) == {exact}
    assert len(keys(exact + " more words")) == 3
    assert keys("...") == frozenset() and key("...") == ""
    assert keys("1 " * (SHINGLE + 2)) == {key("1 " * SHINGLE)}


@pytest.mark.parametrize(
    ("number", "digits"),
    [
        ("0", 0),
        ("100", 1),
        ("120", 2),
        ("1.5", 2),
        ("1.50", 3),
        ("0.05", 1),
        ("10.5", 3),
        ("007", 1),
    ],
)
def test_significant_digits(number: str, digits: int) -> None:
    assert significant(number) == digits


@pytest.mark.parametrize(
    ("word", "tells"),
    [
        ("127", False), ("129", False), ("128", False), ("1000", False), ("131", True),
        ("130", False),
        ("1.31", True), ("1.3", False), ("3.14", False), ("2026", False), ("1899", True),
        ("20260304", False), ("20261304", True), ("20260332", True), ("hello", False),
        ("ab12", False), ("abc12", True), ("abcd1", False), ("sha256", False), ("utf8x9", False),
        ("9" * 40, True), ("9" * 41, False), ("65535", False), ("65537", False), ("65538", True),
    ],
)  # fmt: skip
def test_words_that_tell(word: str, tells: bool) -> None:
    assert telling(word) is tells


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("12", False), ("Q3", False), ("4711", True), ("2026-03-04", True), ("2026-03", False),
        ("one two three four five", True), ("one two three four", False), ("1 2 3 4 5", False),
        ("Zanzibar", True), ("zanzibar", False), ("Pending", False), ("Total", False),
        ("Xyz", False), ("Zork", False),
        ("Zorko", True), ("the Zork", True), ("the Zor", False),
        ("Zorkon", True), ("Zorkon1", False), ("the Zorkon", True),
        ("Zorkon said", False), ("Zorkon Quux", True), ("", False), ("Zorkoning", False),
    ],
)  # fmt: skip
def test_values_that_can_hardly_come_from_anywhere_else(value: str, found: bool) -> None:
    assert distinctive(value) is found


@pytest.mark.parametrize(
    ("token", "found"),
    [
        ("12346", "12346"), ("12345", ""), ("1234", ""), ("12345.67", ""),
        ("54321.5", "54321.5"), ("65536", ""),
        ("543210000", "54321" + "0000"), ("a@b.example", "a b example"), ("ab1234", "ab1234"),
        ("ab123", ""), ("ab-1234", "ab 1234"), ("abcdefghi1", ""), ("abcdefgh12", "abcdefgh12"),
        ("abcdefg12", ""), ("2026-03-04", ""), ("2026-03-04 10:20", "2026 03 04 10 20"),
        ("sha256-123456", ""), ("es2020", ""), ("word", ""), ("1234ab", "1234ab"),
        ("1234abcd", ""), ("abcdefghi1234", "abcdefghi1234"), ("a1b2", ""), ("x-12345-y", ""),
    ],
)  # fmt: skip
def test_tokens_that_no_text_contains_by_chance(token: str, found: str) -> None:
    assert long_literal(token) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2026-03-04", ("2026", "03", "04")), ("4.3.2026", ("2026", "03", "04")),
        ("04/03/2026", ("2026", "03", "04")), ("2026-3-4", ("2026", "03", "04")),
        ("12.11.2026", ("2026", "11", "12")), ("2026-11-12", ("2026", "11", "12")),
        ("3.4.26", None), ("2026-03", None), ("2026-03-04-2027", None), ("03-04", None),
        ("2026-003-04", None),
    ],
)  # fmt: skip
def test_dates_are_read_in_either_order(text: str, found: tuple[str, str, str] | None) -> None:
    assert date(text) == found
