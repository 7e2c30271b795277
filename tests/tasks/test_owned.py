"""What is read from a task's folder as its own; strange files have nothing and break nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest

from skillopt.tasks.owned import MAX_BYTES, forms, literals_of
from skillopt.types import Task
from tests.optimizer.making import a_task


@pytest.fixture
def task(tmp_path: Path) -> Task:
    for part in ("environment", "tests", "solution"):
        (tmp_path / part).mkdir()
    return replace(a_task("barrels-01", "Count the barrels in `in.csv`."), folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,234.50", ("1234.5",)),
        ("-1234.5", ("1234.5",)),
        ("$1,234", ("1234",)),
        ("007", ("7",)),
        ("**Bold** `code`, (x)", ("bold", "code", "x")),
        ("a-b_c.txt.", ("a-b_c.txt",)),
        ("12 %", ("12", "%")),
        ("", ()),
    ],
)
def test_words_have_one_form(text: str, expected: tuple[str, ...]) -> None:
    assert forms(text) == expected


def test_answers_are_what_the_agent_is_not_given(task: Task, tmp_path: Path) -> None:
    (tmp_path / "environment" / "in.csv").write_text("id,town\n44871,Lyon West\n")
    (tmp_path / "tests" / "out.csv").write_text("id,town\n44871,Lyon West\n93312,Ghent East\n")
    (tmp_path / "tests" / "check.py").write_text("SECRET = 'codeword55'\n")
    (tmp_path / "solution" / "note.txt").write_text("the long final sentence\n2024\n12\nyes\n")
    (tmp_path / "solution" / "answer.txt").write_text("photosynthesis\n")
    (tmp_path / "tests" / "how.json").write_text('{"style": "parentheses", "who": "Pelham"}')
    book = openpyxl.Workbook()
    book.active.append(["Total", 77123.25])  # type: ignore[union-attr]
    book.save(tmp_path / "solution" / "out.xlsx")
    found = literals_of(task)
    assert set(found.answers.values()) == {
        "93312", "Ghent East", "the long final sentence", "77123.25", "Total", "Pelham",
        "photosynthesis",
    }  # fmt: skip
    assert found.sure == {("photosynthesis",)}


def test_strange_files_break_nothing(task: Task, tmp_path: Path) -> None:
    rng = random.Random(3)
    book = openpyxl.Workbook()
    book.save(tmp_path / "good.xlsx")
    good = (tmp_path / "good.xlsx").read_bytes()
    for number in range(40):
        damaged = bytearray(good)
        for _ in range(30):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "tests" / f"damaged-{number}.xlsx").write_bytes(damaged)
    (tmp_path / "tests" / "deep.json").write_text("[" * 100_000)
    (tmp_path / "tests" / "broken.json").write_text("{")
    (tmp_path / "tests" / "binary.txt").write_bytes(b"\xff\x00\xfe")
    (tmp_path / "tests" / "nul.csv").write_bytes(b"a\x00b,c\n")
    (tmp_path / "tests" / "huge.txt").write_bytes(b"huge secret word\n" * (MAX_BYTES // 16))
    (tmp_path / "tests" / "link.txt").symlink_to("/etc/passwd")
    (tmp_path / "task.toml").write_text("not toml [")
    assert literals_of(task).answers == {}
