"""Which words and names anybody may use, whoever's task has them."""

from __future__ import annotations

import pytest

from skillopt.tasks.conventions import (
    DATA_TYPES,
    FILE_TYPES,
    PROGRAM_TYPES,
    is_known,
    is_usual,
    word_set,
)


@pytest.mark.parametrize(
    ("name", "usual"),
    [
        # What tools fix, and known words.
        ("package-lock.json", True),
        ("requirements.txt", True),
        ("ledger", True),
        ("schema.sql", True),
        ("ledger.csv", True),
        ("ledger.book", True),
        ("quvzo", False),
        ("quvzo.csv", False),
        ("ledger-quvzo", False),
        ("quvzo_report.csv", False),
        # Of two words one says nothing, or they are prose.
        ("requirements-dev.txt", True),
        ("ledger_report.csv", True),
        ("report_ledger", True),
        ("ledger_book", False),
        ("ledger_book.csv", False),
        ("ledger-book.csv", False),
        ("ledger-book", True),
        ("ledger book", True),
        # Of three words, none helps.
        ("ledger_book_report.csv", False),
        ("ledger-book-report", True),
        ("ledger-book_report", False),
        # A digit is a count, several are a task's own.
        ("report1.csv", True),
        ("ledger_2.csv", True),
        ("1.csv", True),
        ("ledger_report_3.csv", True),
        ("ledger_book_3.csv", False),
        ("report12.csv", False),
        ("12", False),
        ("ledger-12", False),
    ],
)
def test_names_that_one_could_come_upon(name: str, usual: bool) -> None:
    assert is_usual(name) is usual


@pytest.mark.parametrize(
    ("word", "known"), [("ledger", True), ("Ledger", False), ("quvzo", False), ("", False)]
)
def test_words_that_are_known(word: str, known: bool) -> None:
    assert is_known(word) is known


def test_what_the_lists_say_of_themselves_is_no_part_of_them() -> None:
    assert not is_known("#") and not is_known("2026).")


def test_endings_of_files() -> None:
    assert word_set(" a b\n b ") == {"a", "b"}
    assert not DATA_TYPES & PROGRAM_TYPES and FILE_TYPES >= DATA_TYPES | PROGRAM_TYPES
    assert {"csv", "py"} <= FILE_TYPES and "csv" not in PROGRAM_TYPES
