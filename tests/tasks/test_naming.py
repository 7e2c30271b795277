"""Which names a task has made up, and that they are the same in any casing."""

from __future__ import annotations

import time

import pytest

from skillopt.tasks.naming import (
    Reach,
    compounds,
    defined,
    form,
    forms,
    name_spans,
    own_paths,
    own_proper,
    path_ends,
    path_spans,
    people,
    pieces,
    quoted_names,
    reach,
    reaches,
)

CODED, JOINED, SPOKEN = Reach


@pytest.mark.parametrize(
    "name", ["quvzo_book", "quvzoBook", "QuvzoBook", "QUVZO_BOOK", "quvzo-book", "quvzo__book"]
)
def test_a_name_has_one_form_in_any_casing(name: str) -> None:
    assert form(name) == "quvzobook"
    assert [each for each, *_ in name_spans(f"see {name}.")] == ["quvzobook"]


@pytest.mark.parametrize(
    ("name", "program", "data"),
    [
        # One word, or short, or with a part that says nothing.
        ("quvzobook", None, None), ("quvzo_1", None, None), ("quvz_ab", None, None),
        ("read_file", None, None), ("readFile", None, None), ("time_out", None, None),
        # Two known words; with an unusual one they reach further.
        ("carry_ledger", CODED, CODED), ("CarryLedger", CODED, CODED),
        ("quvzo_ledger", JOINED, SPOKEN), ("quvzo_book", JOINED, JOINED),
        # More words, of which grammar makes sentences that prose may have.
        ("carry_ledger_remainder", CODED, SPOKEN), ("carry-ledger-remainder", JOINED, SPOKEN),
        ("carry_quvzo_remainder", SPOKEN, SPOKEN), ("carry_the_remainder", CODED, CODED),
        ("carry_quvzo_to_book", JOINED, JOINED), ("carry_ledger_remainder_down", SPOKEN, SPOKEN),
        # A test's name is the name of what it tests.
        ("test_carry_ledger", CODED, CODED), ("test_carry", None, None),
        # Codes with several numbers, but not those of tools.
        ("quvzo_01_46", SPOKEN, SPOKEN), ("libx264abc", None, None), ("quvzo-01-46", None, None),
    ],
)  # fmt: skip
def test_how_far_a_name_is_its_tasks_own(
    name: str, program: Reach | None, data: Reach | None
) -> None:
    assert reach(name) is program
    assert reach(name, data=True) is data


def test_the_farthest_reach_of_a_name_counts() -> None:
    assert reaches(["quvzoBook"], []) == {"quvzobook": JOINED}
    assert reaches(["quvzoLedger"], ["quvzo_ledger"]) == {"quvzoledger": SPOKEN}
    assert reaches(["carry_quvzo_over"], ["x"]) == {"carryquvzoover": JOINED}
    assert reaches(["test_carry_ledger"], ["read_file"]) == {
        "testcarryledger": CODED, "carryledger": CODED,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a carry_ledger", CODED), ("a carryLedger", CODED), ("a `carry-ledger`", CODED),
        ("a 'carry-ledger'", CODED), ("a carry-ledger", JOINED), ("a carry\u2013ledger", JOINED),
        ("a carryledger", JOINED), ("a Carryledger", JOINED), ("a `carryledger`", JOINED),
    ],
)  # fmt: skip
def test_how_a_name_is_written(text: str, written: Reach) -> None:
    found = [(each, kind) for each, kind, start, end in name_spans(text)]
    assert found == [("carryledger", written)]
    start, end = name_spans(text)[0][2:]
    assert text[start:end].lower().startswith("carry")


def test_a_tests_name_is_found_without_its_prefix() -> None:
    assert [each for each, *_ in name_spans("test_carry_ledger")] == [
        "testcarryledger", "carryledger",
    ]  # fmt: skip


def test_compounds_and_their_forms() -> None:
    text = "a_b carry-ledger plain carryLedger /x/quvzo_book.csv"
    assert list(compounds(text)) == ["a_b", "carry-ledger", "carryLedger", "quvzo_book"]
    assert forms(pieces(text)) == {"ab", "carryledger", "quvzobook"}


@pytest.mark.parametrize(
    ("program", "names"),
    [
        ("def carry_over(a_b=1):", {"carry_over"}), ("class QuvzBook:", {"QuvzBook"}),
        ("func (l *Ledger) CarryOver(n int)", {"CarryOver"}), ("func CarryOver(n", {"CarryOver"}),
        ("fun carryOver() = 1", {"carryOver"}), ("int carryOver(int n)", {"carryOver"}),
        ("carry_over = 1", {"carry_over"}), ("  carry_over: int = 1", {"carry_over"}),
        ("carry_over := 1", {"carry_over"}), ("export CARRY_OVER=1", {"CARRY_OVER"}),
        # What is called, given or overridden is someone else's.
        ("carry_over(1)", set()), ("f(carry_over=1)", set()), ("override fun carryOver()", set()),
        ("@Override public void carryOver()", set()), ("x = carry_over", set()),
        ("def carry():", set()),
    ],
)  # fmt: skip
def test_names_that_a_program_defines(program: str, names: set[str]) -> None:
    assert set(defined(program)) == names


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/srv/quvz/carry-ledgers", "quvz/carry-ledgers"),
        ("/srv/Quvz/carry_ledgers.csv", "quvz/carry_ledgers.csv"),
        ("/srv/quvz/ledgers", None), ("/srv/carry-ledgers", None), ("quvz/x/carry-ledgers", None),
        ("/etc/quvz/carry-ledgers", None), ("/srv/quvz/test-ledgers", None),
        ("/srv/quvz/package-lock.json", None), ("//srv/carry-ledgers", None),
    ],
)  # fmt: skip
def test_paths_that_a_task_has_made_up(path: str, own: str | None) -> None:
    assert own_paths(pieces(f"in {path}, or")) == ({own} if own else set())
    if own:
        assert own in path_ends({path.lower()})
        assert own in {name for name, _, _ in path_spans(f"see {path}.")}


def test_proper_names() -> None:
    assert own_proper("At Cascade Regional Quvzology Lab now") == {"cascade regional quvzology lab"}
    assert own_proper("At Regional Quvzology Lab, Read Every Single Line") == set()
    assert people("by Odalys Threnody and Quick Threnody") == {"odalys threnody"}
    assert quoted_names('See "The Grimbeak Report" of Quvzos and “Quvzo”.') == {"grimbeak", "quvzo"}


@pytest.mark.parametrize("text", ["func (", "a/", "a_", "Aaa ", '"A', "x = ", " ", "abcde : a"])
def test_no_text_takes_long(text: str) -> None:
    long, begun = text * 20_000, time.process_time()
    for find in (defined, name_spans, path_spans, own_proper, quoted_names, pieces):
        list(find(long))
    assert time.process_time() - begun < 3
