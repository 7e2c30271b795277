"""The tables of a ``task.toml``: kinds of values, sizes, variables, and the texts of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from skillopt.tasks.tables import (
    Table,
    TaskError,
    check_text,
    checked_options,
    read_text,
    read_toml,
)

FILE = Path("task.toml")


def table(**values: Any) -> Table:
    return Table(FILE, "part.", values)


@pytest.mark.parametrize(
    ("value", "kind", "default", "found"),
    [
        ("x", str, "", "x"), (None, str, "d", "d"), (3, int, 0, 3), (0, int, 7, 0),
        (True, bool, False, True), (False, bool, True, False), ([1], list, [], [1]),
        ({}, dict, {"a": 1}, {}), ("", str, "d", ""),
    ],
)  # fmt: skip
def test_a_value_of_its_kind(value: Any, kind: type[Any], default: Any, found: Any) -> None:
    assert table(key=value).get("key", kind, default) == found
    assert table().get("key", kind, default) == default


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (3, str, "task.toml: part.key: expected str, got 3"),
        ("x", int, "task.toml: part.key: expected int, got 'x'"),
        (True, int, "task.toml: part.key: expected int, got True"),
        (1, bool, "task.toml: part.key: expected bool, got 1"),
        ({}, list, r"task.toml: part.key: expected list, got \{\}"),
    ],
)
def test_a_value_of_another_kind_is_named(value: Any, kind: type[Any], said: str) -> None:
    with pytest.raises(TaskError, match=f"^{said}$"):
        table(key=value).get("key", kind, kind())


def test_tables_in_tables_know_their_names() -> None:
    inner = table(a={"b": {"c": 1}}).table("a").table("b")
    assert inner.values == {"c": 1} and inner.place("c") == "task.toml: part.a.b.c"
    assert str(inner.error("c", "no")) == "task.toml: part.a.b.c: no"
    assert table().table("a").values == {}


@pytest.mark.parametrize("value", [0, -1, 0.0, float("inf"), float("nan"), True, "3", None, [1]])
def test_what_is_no_number_above_0(value: Any) -> None:
    with pytest.raises(TaskError, match=r"^task.toml: part.key: expected a number above 0, got "):
        table(key=value).positive("key", 1.0)


@pytest.mark.parametrize(("value", "found"), [(0.001, 0.001), (3, 3.0), (1e9, 1e9)])
def test_numbers_above_0(value: float, found: float) -> None:
    assert table(key=value).positive("key", 1.0) == found
    assert isinstance(table(key=value).positive("key", 1.0), float)
    assert table().positive("key", 7) == 7.0


@pytest.mark.parametrize(
    ("values", "megabytes"),
    [
        ({}, 77),
        ({"size_mb": 512}, 512),
        ({"size_mb": 0.5}, 1),
        ({"size_mb": 1.5, "size": "9G"}, 2),
        ({"size": "2G"}, 2048),
        ({"size": "1.5g"}, 1536),
        ({"size": " 512 MB "}, 512),
        ({"size": "3MiB"}, 3),
        ({"size": "1T"}, 1048576),
        ({"size": "2048K"}, 2),
        ({"size": "1K"}, 1),
        ({"size": "0.5M"}, 1),
        ({"size": "2.9M"}, 2),
    ],
)
def test_sizes(values: dict[str, Any], megabytes: int) -> None:
    assert table(**values).megabytes("size_mb", "size", 77) == megabytes


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"size_mb": 0}, "size_mb"), ({"size_mb": "2G"}, "size_mb"), ({"size": "0G"}, "size"),
        ({"size": "0.0M"}, "size"), ({"size": "2"}, "size"), ({"size": "2P"}, "size"),
        ({"size": ""}, "size"), ({"size": "-1G"}, "size"), ({"size": 2}, "size"),
        ({"size": "1.G"}, "size"),
    ],
)  # fmt: skip
def test_what_is_no_size(values: dict[str, Any], key: str) -> None:
    with pytest.raises(TaskError, match=rf"^task.toml: part\.{key}: expected "):
        table(**values).megabytes("size_mb", "size", 77)


def test_variables_are_sorted_and_have_their_defaults() -> None:
    env = {"B": "2", "A": "${X:-one}", "C": "$X", "D": "a${Y:-}b"}
    assert table(env=env).env() == (("A", "one"), ("B", "2"), ("C", "$X"), ("D", "ab"))
    assert table().env() == ()


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"A": "${X}"}, "part.env.A: taking values from the host's environment is not supported"),
        ({"A=B": "x"}, "part.env.A=B: no variable can have this name or value"),
        ({"A": "x\0"}, "part.env.A: no variable can have this name or value"),
        ({"A": 3}, "part.env.A: expected str, got 3"),
        (3, "part.env: expected dict, got 3"),
    ],
)
def test_variables_that_cannot_be(env: Any, said: str) -> None:
    with pytest.raises(TaskError) as error:
        table(env=env).env()
    assert str(error.value).startswith(f"task.toml: {said}")


def test_texts_of_files(tmp_path: Path) -> None:
    file = tmp_path / "task.toml"
    with pytest.raises(TaskError, match=r"task\.toml: missing$"):
        read_text(file)
    file.write_bytes(b"\xff")
    with pytest.raises(TaskError, match=r"task\.toml: cannot be read as UTF-8 text: "):
        read_toml(file)
    with pytest.raises(TaskError, match="cannot be read as UTF-8 text: "):
        read_text(tmp_path)
    file.write_text("a = \n")
    with pytest.raises(TaskError, match=r"task\.toml: not valid TOML: "):
        read_toml(file)
    file.write_text("a = '\u00e4'\n")
    assert read_toml(file) == Table(file, "", {"a": "\u00e4"})
    assert check_text("a", "here") == "a"
    with pytest.raises(TaskError, match=r"^here: has a zero byte, which no program can be given"):
        check_text("a\0", "here")


class Some(BaseModel):
    model_config = ConfigDict(extra="forbid")

    one: int = 1
    two: list[int] = []


class Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


def test_options_in_their_model() -> None:
    assert checked_options(Some, {"one": 3}, "here.", "it") == Some(one=3)
    with pytest.raises(TaskError, match=r"^here\.x: Extra inputs .*; options of it: one, two$"):
        checked_options(Some, {"x": 3}, "here.", "it")
    with pytest.raises(TaskError, match=r"^here\.two\.1: Input should be a valid integer"):
        checked_options(Some, {"two": [1, "x"]}, "here.", "it")
    with pytest.raises(TaskError, match=r"^here\.x: Extra inputs .*; options of it: none$"):
        checked_options(Nothing, {"x": 3}, "here.", "it")
