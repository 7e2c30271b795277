"""Rows of files as they are, and what is wrong with them by its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.harbor import TaskError
from skillopt.tasks.records import json_value, listed, needed, read_rows


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ([1, 2], [1, 2]),
        ({"a": 1}, [{"a": 1}]),
        ({"a": [{"b": 1}]}, [{"b": 1}]),
        ({"a": [{"b": 1}], "c": []}, [{"b": 1}]),
        ({"a": [1]}, [{"a": [1]}]),
        ({"a": [{"b": 1}, 1]}, [{"a": [{"b": 1}, 1]}]),
        ({"a": [{"b": 1}], "c": [{"d": 1}]}, [{"a": [{"b": 1}], "c": [{"d": 1}]}]),
        ({"a": []}, [{"a": []}]),
        ("text", ["text"]),
        ([], []),
    ],
)
def test_the_rows_in_a_json_file(content: Any, rows: list[Any]) -> None:
    assert listed(content) == rows


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1}', ""),
        ('{"a": "\\ud83d\\ude00"}', ""),
        ('{"a": "\\ud83d"}', r"'\ud83d' is half of a character; write the whole one"),
        ('{"a": "\\uDE00"}', r"'\ude00' is half of a character; write the whole one"),
        ('{"a": "\\\\ud83d"}', ""),
        ('{"a": 1, "b": 1, "a": 2}', "the key 'a' is there twice"),
        ('{"x": {"b": 1, "b": 1}}', "the key 'b' is there twice"),
        ("[" * 200_000, "it is nested too deeply"),
        ("{", "Expecting property name"),
    ],
)
def test_json_of_which_something_would_be_lost_is_refused(text: str, problem: str) -> None:
    if problem:
        with pytest.raises(ValueError) as error:
            json_value(text)
        assert str(error.value).startswith(problem)
    else:
        json_value(text)


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("a.jsonl", '{"a": 1}\n\n  \n{"a": 2}', [("line 1", {"a": 1}), ("line 4", {"a": 2})]),
        ("a.json", '[{"a": 1}, {"a": 2}]', [("row 1", {"a": 1}), ("row 2", {"a": 2})]),
        ("a.json", "\ufeff[1]", [("row 1", 1)]),
        ("a.csv", 'a,b\n1,"x\ny"\n2,z\n', [("line 3", {"a": "1", "b": "x\ny"}),
                                           ("line 4", {"a": "2", "b": "z"})]),
        ("a.csv", "a,,\n1,2,3\n", [("line 2", {"a": "1", "": "3"})]),
        ("a.tsv", "a\tb\n1\t2,3\n", [("line 2", {"a": "1", "b": "2,3"})]),
        ("A.TSV", "a\tb\n1\t2,3\n", [("line 2", {"a": "1", "b": "2,3"})]),
        ("A.CSV", "\ufeffa\n1\n", [("line 2", {"a": "1"})]),
        ("A.JSON", "3", [("row 1", 3)]),
        ("a.txt", "\ufeff3\n", [("line 1", 3)]),
        ("a.csv", "", []),
        ("a.csv", "a,b\n", []),
        ("a.csv", "a\n" + "x" * 200_000 + "\n", [("line 2", {"a": "x" * 200_000})]),
        ("a.json", "[]", []),
    ],
)  # fmt: skip
def test_each_row_has_its_place(
    name: str, text: str, rows: list[tuple[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    expected = [(f"{tmp_path / name}: {place}", row) for place, row in rows]
    assert list(read_rows(tmp_path / name)) == expected


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.jsonl", '{"a": 1}\n{', "line 2: not valid JSON"),
        ("a.csv", "a,b,a\n1,2,3\n", "the column 'a' is there twice; rename one of them"),
        ("a.csv", "a,b\n1\n", "line 2: has not as many cells as the first line"),
        ("a.csv", "a,b\n1,2,3\n", "line 2: has not as many cells as the first line"),
        ("a.csv", 'a,b\n1,"x\n', "line 1: unexpected end of data"),
        ("a.jsonl", "version https://git-lfs.github.com/spec/v1\noid x\n", "a pointer of Git LFS"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    name: str, text: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TaskError, match=problem) as error:
        list(read_rows(tmp_path / name))
    assert str(error.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"\xff\xfe", "cannot be read: byte 0xff is not UTF-8; save the file as UTF-8"),
        ("a.jsonl", b"3\n\x80", "cannot be read: byte 0x80 is not UTF-8"),
        ("a.csv", b"a\n\x0f\xe4\n", "cannot be read: byte 0xe4 is not UTF-8"),
        ("a.json", b"\xe4", "cannot be read: byte 0xe4 is not UTF-8"),
        ("a.json", None, "cannot be read: "),
    ],
)
def test_a_file_that_is_no_text_is_named_with_its_byte(
    name: str, content: bytes | None, said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError) as error:
        list(read_rows(tmp_path / name))
    assert str(error.value).startswith(f"{tmp_path / name}: {said}")


def test_what_is_not_installed_is_named() -> None:
    assert needed("json").loads("3") == 3
    with pytest.raises(TaskError, match=r"^these tasks need no_such: pip install 'skillopt-harne"):
        needed("no_such.part")


def test_rows_of_parquet_are_counted(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"a": [1, 2]}), file)
    assert list(read_rows(file)) == [(f"{file}: row 1", {"a": 1}), (f"{file}: row 2", {"a": 2})]
    file.write_bytes(b"no table")
    with pytest.raises(TaskError, match=r"a\.parquet"):
        list(read_rows(file))
