"""What is a task's own, as read from its folder, however odd the folder is."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.tasks.contents import MAX_BYTES
from skillopt.tasks.harbor import read_task
from skillopt.tasks.literals import Literals, literals_of
from skillopt.tasks.wording import (
    distinctive,
    fold,
    key,
    long_literal,
    plain_spans,
    token_spans,
    word_spans,
    words,
)
from tests.helpers.tasks import a_book, literals_in
from tests.helpers.values import a_task

Read = Callable[..., Literals]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The literals of a task with the given files."""
    return partial(literals_in, tmp_path)


def test_values_of_data_files_that_are_not_given_are_answers(read: Read) -> None:
    found = read(
        {
            "tests/data.json": json.dumps({"sum": 3945.44, "who": ["Greta Lindqvist", True, None]}),
            "tests/more.jsonl": '{"code": "kRx9Qa2"}\n{"n": 70412}\n',
            "tests/table.tsv": "a\tb\n88.125\tpaid\n",
            "solution/out.csv": 'who,sum\n"Moreau, Anne","1,234,567.80"\n',
            "solution/report.md": "# Sums\n\n| Total | 58832.01 |\n\nAll in all 9921.75 came in.\n",
            "solution/book.xlsx": a_book(["Total", 771.25]),
            "tests/verify.py": "EXPECTED = 31337.5\n",
            "solution/solve.sh": "echo 41414.25\n",
        }
    )
    assert found.answers == {
        "3945.44", "Greta Lindqvist", "kRx9Qa2", "70412", "88.125", "Moreau, Anne",
        "1,234,567.80", "58832.01", "9921.75", "All in all 9921.75 came in.", "771.25", "31337.5",
        "41414.25",
    }  # fmt: skip
    assert {"paid", "Total"} <= found.small


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("environment/a.txt", "The sum is EUR 3,945.44."),
        ("environment/a.csv", "x,y\n1,3945.440\n"),
        ("environment/a.json", "[[1,-3945.44,2]]"),
        ("environment/deep/a.xlsx", a_book(["EUR 3,945.44"])),
    ],
)
def test_what_the_agent_is_given_is_no_answer(read: Read, place: str, content: str | bytes) -> None:
    hidden = {"tests/data.json": "[3945.44, 58832.01]"}
    assert read({**hidden, place: content}).answers == {"58832.01"}
    assert read(hidden, instruction="It should be 3945.44, or 58,832.01?").answers == set()


def test_a_date_is_given_in_any_order(read: Read) -> None:
    dates = {"tests/d.json": '["2026-03-04", "2026-12-24"]', "environment/a.csv": "04/03/2026,1\n"}
    assert read(dates).answers == {"2026-12-24"}


def test_answers_that_the_author_declares(read: Read) -> None:
    toml = '[metadata]\nanswer = "Rumpelstilz"\nanswers = [42, "yes"]\nexpected = {a = "quince"}\n'
    found = read({"task.toml": toml})
    assert found.answers == {"Rumpelstilz", "42", "quince"}
    assert found.secret == {"Rumpelstilz", "quince"}
    assert found.small == {"yes"}


def test_names_and_files(read: Read) -> None:
    found = read(
        {
            "task.toml": '[task]\nname = "acme/Reconcile"\n',
            "environment/Dockerfile": "FROM x",
            "environment/files/Ledger-2025.xlsx": b"",
            "environment/files/README.md": "",
            "environment/files/notes": "",
            "environment/files/Book of May.csv": "",
        },
        "Read `in/uploads.LOG`, run `python3 stock_last.py data.csv` with `json.loads`; `1234.50`.",
        "Reconcile",
    )
    # One word alone ("uploads.log") may be anybody's.
    assert found.files == {"ledger-2025.xlsx", "book of may.csv", "stock_last.py"}
    assert found.names == {"acme/reconcile"}
    assert read({}, name="Logs-05").names >= {"logs-05"}


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("INV-00123", "inv 00123"),
        ("0096261B", "0096261b"),
        ("Jane.Roe@example.org", "jane roe example org"),
        ("2026-01-14T21:07:52+00:00", "2026 01 14 21 07 52"),
        ("-8646.70", "8646.7"),
        ("a6f1b2c3-77d4", "a6f1b2c3 77d4"),
    ],
)
def test_long_literals(read: Read, text: str, literal: str) -> None:
    assert literal in read({"environment/a.log": f"seen {text} twice\n"}).texts
    assert literal in read({}, f"Look for {text}, please.").texts


@pytest.mark.parametrize(
    "text",
    ["04/03/2026", "2026-01-14", "20260114", "ISO-8859-1", "windows-1252", "python3.11", "65536",
     "100000", "schema-v2.json", "10:45", "e-mail", "internationalisation", "12,50"],
)  # fmt: skip
def test_what_is_everybodys_is_no_long_literal(read: Read, text: str) -> None:
    assert not read({"environment/a.log": f"{text}\n"}).texts


def test_eight_words_in_a_row(read: Read) -> None:
    found = read({}, "Please move **the** seven green crates\nto the `northern` warehouse.")
    assert "please move the seven green crates to the" in found.texts
    assert "the seven green crates to the northern warehouse" in found.texts
    assert not read({}, "1 22 333 4444 5 6 7 eight nine").texts


@pytest.mark.parametrize("value", ["217", "3.25", "0.0125", "kRx9Qa2", "Tolstoy", "2026-03-04",
    "Greta Lindqvist", "Brightwater Ltd", "the crates went to the north"])  # fmt: skip
def test_distinctive_values(value: str) -> None:
    assert distinctive(value)


@pytest.mark.parametrize("value", ["", "…", "12", "1200", "4.5", "Q3", "2026", "2026-03", "404",
    "1024", "1,234.50", "paid", "Pending", "Not found", "In progress", "In Progress", "true",
    "Row 12", "utf-8", "Delivered", "9" * 5000])  # fmt: skip
def test_values_that_any_text_may_have(value: str) -> None:
    assert not distinctive(value)


@pytest.mark.parametrize(
    "text",
    ["3945.44", "3,945.44", "3.945,44", "3945,44", "-3945.440", "(3945.44)", "EUR3945.44",
     "3945.44EUR", "$3,945.44", "３９４５.４４", "3\u202f945.44", "3'945.44", "total=3945.44;"],
)  # fmt: skip
def test_one_number_has_one_form(text: str) -> None:
    assert "3945.44" in words(fold(text))


@pytest.mark.parametrize("text", ["13945.44", "3945.445", "3945.4", "3945.44.1", "1.3945.44"])
def test_parts_of_numbers_are_other_numbers(text: str) -> None:
    assert "3945.44" not in words(fold(text))


def test_strange_folders_have_no_literals(read: Read, tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 30_000_000)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "loop").symlink_to(tmp_path)
    found = read(
        {
            "task.toml": "not = = toml",
            "tests/huge.txt": "98765.43\n" * (MAX_BYTES // 9 + 1),
            "tests/binary.txt": b"98765.43\xff\xfe",
            "tests/zeros.csv": "98765.43\0",
            "tests/deep.json": "[" * 100_000,
            "tests/bomb.xlsx": bomb.getvalue(),
            "tests/broken.xlsx": a_book(["98765.43"])[:-30],
            "tests/no.xlsx": b"PK",
        }
    )
    assert not found.answers
    assert literals_of(a_task()).answers == set()


def test_the_quickstarts_answers_are_not_in_what_it_gives(tasks: list[Path]) -> None:
    ledger = literals_of(read_task(next(t for t in tasks if t.name.startswith("ledger"))))
    # The amounts are given as text; their sums are not.
    assert 4 <= len(ledger.answers) <= 12
    assert all("." in answer or answer.isdecimal() for answer in ledger.answers)


@given(st.text() | st.text(alphabet="1,.'’-_ T:eİß\u202f/@a9"))
def test_places_are_those_of_the_text_as_given(text: str) -> None:
    folded = fold(text)
    assert len(folded) == len(text)
    assert [word for word, _, _ in word_spans(folded)] == words(folded)
    for spans in (word_spans(folded), token_spans(folded), plain_spans(folded)):
        assert all(0 <= start < end <= len(text) for _, start, end in spans)
    assert isinstance(distinctive(text), bool) and isinstance(long_literal(folded), str)


@given(st.integers(0, 10**12), st.integers(0, 99))
def test_grouping_and_zeros_do_not_matter(whole: int, cents: int) -> None:
    plain, grouped = f"{whole}.{cents:02}", f"{whole:,}.{cents:02}0"
    assert key(plain) == key(grouped) == key(f"-{plain}")


@given(st.binary(max_size=300))
def test_no_content_is_too_strange(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("odd")
    for part in ("environment", "tests"):
        (folder / part).mkdir()
        for suffix in ("json", "csv", "xlsx", "md", "jsonl"):
            (folder / part / f"a.{suffix}").write_bytes(data)
    (folder / "task.toml").write_bytes(data)
    assert literals_of(replace(a_task(), folder=folder)).names == {"task-1"}


def test_no_book_is_too_broken(read: Read) -> None:
    whole = zipfile.ZipFile(io.BytesIO(a_book([1, "two", 98765.43])))
    contents = {name: whole.read(name) for name in whole.namelist()}
    for broken in contents:
        for put in (None, b"", b"<a/>", contents[broken].replace(b'"', b'"9999999999', 3)):
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for name, data in contents.items():
                    new = put if name == broken else data
                    if new is not None:
                        archive.writestr(name, new)
            assert read({"tests/a.xlsx": buffer.getvalue()}).answers <= {"98765.43"}
