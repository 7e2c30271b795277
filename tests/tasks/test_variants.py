"""In which other forms a secret value is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.tasks.variants import MAX_DATES, MAX_FIGURES, codes, rows, variants
from skillopt.tasks.wording import (
    code_start,
    figure,
    glued,
    shortened,
    word_spans,
)


def found(*secret: str) -> set[str]:
    """The variants of values."""
    return {*variants(secret, [], [])}


@pytest.mark.parametrize(
    ("word", "shorter"),
    [
        # Of many decimals any that leave four digits, of few only those that leave two decimals.
        ("5.28359", {"5.283", "5.284", "5.2835", "5.2836"}),
        ("471.91634", {"471.9", "471.91", "471.92", "471.916", "471.9163"}),
        ("4781.9163", {"4781.91", "4781.92", "4781.916"}),
        ("27.035", {"27.03", "27.04"}), ("4781.91", set()), ("4781", set()), ("2.7352", {"2.735"}),
        # Not what everybody writes.
        ("3.14159", set()),
        # A code by its beginning, if it is long.
        ("4be1c93f7a25d806", {"4be1c93…"}), ("4be1c93f7a25d80", set()),
        ("abcdefghijklmnop", set()), ("1234567890123456", set()),
    ],
)  # fmt: skip
def test_what_people_shorten(word: str, shorter: set[str]) -> None:
    assert set(shortened(word)) == shorter


def test_the_beginning_of_a_code() -> None:
    assert code_start("4be1c93f") == code_start("4be1c93") == "4be1c93…"
    assert code_start("4be1c9") == code_start("abcdefgh") == code_start("12345678") == ""


@pytest.mark.parametrize(
    ("value", "joined"),
    [
        ("HDQH-XFUC-8S3B", "hdqhxfuc8s3b"), ("SN-77120", ""), ("SN-771204", "sn771204"),
        ("HDQH XFUC 8S3B", ""), ("HDQH-XFUC-MKES", ""), ("1234-5678", ""), ("hdqhxfuc8s3b", ""),
    ],
)  # fmt: skip
def test_codes_in_groups(value: str, joined: str) -> None:
    assert glued(value) == joined


def test_codes_that_are_not_quoted() -> None:
    assert set(codes("x = 0xC0DE20 + 0xffffff00 + 0xC0DE2")) == {"0xc0de20"}
    assert set(codes("K=HDQH-XFUC-8S3B; x-HDQH-XFUC-8S3B A-B 2026-03-04")) == {
        "hdqh xfuc 8s3b", "hdqhxfuc8s3b",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "tells"), [("0.1847", True), ("0.185", False), ("1847", False), ("1.4826", False)]
)
def test_figures(word: str, tells: bool) -> None:
    assert figure(word) is tells


def test_dates_as_people_write_them() -> None:
    spelled = found("2026-08-07")
    assert spelled >= {"7 august 2026", "aug 7 2026", "07 08 2026", "8 7 2026"}
    days = [f"2026-08-{day:02}" for day in range(10, 11 + MAX_DATES)]
    assert "10 august 2026" in found(*days[:MAX_DATES]) and "10 august 2026" not in found(*days)


def test_counts_that_follow_each_other(tmp_path: Path) -> None:
    text = "193, 284 (not 5) and then 347; or 508"
    assert [name for name, *_ in rows(word_spans(text))] == ["193 284 347", "284 347 508"]
    (tmp_path / "a.json").write_text("[193, 284, 1, 347, 10, 20, 30, 40, 50]")
    (tmp_path / "b.json").write_text(str([*range(100, 101 + MAX_FIGURES, 1), 193, 284, 347]))
    (tmp_path / "c.json").write_text("[110, 120, 130, 140]")
    files = sorted(tmp_path.iterdir())
    assert set(variants([], [], files[:1])) == {"193 284 347"}
    assert not set(variants([], [], files[1:]))
    assert set(variants([], [("193 284 347", True), ("12 284 347", False)], [])) == {"193 284 347"}


@pytest.mark.parametrize(
    ("value", "compared", "keys"),
    [
        ("QVZ1", True, {"qvz1"}), ("QVZ1", False, set()), ("Qvz1", True, set()),
        ("QVZW", True, {"qvzw"}), ("QVZ", True, set()), ("JSON", True, set()),
        ("clip,45.150,Grimbeak,paid", False, {"45.15", "grimbeak"}), ("a,45.150", False, set()),
        ("UTF8", True, set()), ("The quvzo is dark.", False, set()),
        ("The quvzo wears dark feathers.", False, {"the quvzo wears dark feathers"}),
        # Parts of five words with an unusual one, or of eight.
        ("see [who the quvzo calls at dusk] f(x)", True, {"who the quvzo calls at dusk"}),
        ("the quvzo calls (at dusk)", True, set()), ("a table that has rows in it", True, set()),
        ("a table of rows and columns in it", True, {"a table of rows and columns in it"}),
    ],
)  # fmt: skip
def test_marks_and_sentences(value: str, compared: bool, keys: set[str]) -> None:
    assert set(variants([], [(value, compared)], [])) == keys


@pytest.mark.parametrize(
    ("line", "own"),
    [
        ("QUAGGA frame=1 late=34", True), ("QUAGGA frame late", False),
        ("FAIL frame=1 late=34", False), ("", False),
    ],
)  # fmt: skip
def test_lines_that_a_program_has_to_write(line: str, own: bool, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{line}\n")
    assert bool(set(variants([], [], [tmp_path / "a.txt"]))) is own
