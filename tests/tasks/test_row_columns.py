"""Which columns of a row are what, column by column, and the fields of its task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import BaseImage
from skillopt.tasks.benchmarks.answers import TAGGED
from skillopt.tasks.columns import (
    ANSWERS,
    PROMPTS,
    Row,
    RowOptions,
    answer_columns,
    is_row,
    prompt_columns,
    read,
    split_of,
)
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.rows import make_tasks, row_files, row_options

PAIR = {"prompt": "p", "answer": "a"}


def rows_of(folder: Path, *rows: Any, name: str = "set.jsonl", **options: Any) -> list[Row]:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(read([folder / name], RowOptions(**options)))


def one(folder: Path, row: Mapping[str, Any], **options: Any) -> Row:
    (found,) = rows_of(folder, row, **options)
    return found


CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]
ASKED = CHAT[:1]


@pytest.mark.parametrize(
    ("row", "options", "prompts", "answers"),
    [
        ({name: "x" for name in PROMPTS + ANSWERS if name != "input"}, {}, ["prompt"], ["answer"]),
        ({"prompt": "", "question": "q", "answer": "", "answers": "a"}, {}, ["question"],
         ["answers"]),
        ({"prompt": None, "question": "", "answer": None, "ideal": ""}, {}, ["prompt"], ["answer"]),
        # What some model said is no answer beside an empty one.
        ({"text": "t", "answer": "", "output": "o", "completion": "c", "response": "r"}, {},
         ["text"], ["answer"]),
        ({"text": "t", "answer": "", "output": "o", "label": "l"}, {}, ["text"], ["label"]),
        ({"text": "t", "output": "", "label": "l"}, {}, ["text"], ["label"]),
        ({"text": "t", "output": "o", "label": "l"}, {}, ["text"], ["output"]),
        ({"context": "c", "passage": "d", "question": "q", "label": 0}, {}, ["context", "question"],
         ["label"]),
        ({"context": "", "passage": "d", "question": "q", "label": 0}, {}, ["passage", "question"],
         ["label"]),
        ({"instruction": "i", "input": "j", "output": "o"}, {}, ["instruction", "input"],
         ["output"]),
        ({"instruction": "i", "input": "", "output": "o"}, {}, ["instruction"], ["output"]),
        ({"messages": CHAT}, {}, ["messages"], ["messages"]),
        ({"messages": CHAT, "answer": "a"}, {}, ["messages"], ["answer"]),
        ({"messages": ASKED, "ideal": "a"}, {}, ["messages"], ["ideal"]),
        ({"input": ASKED, "ideal": "a", "prompt": ASKED}, {}, ["input"], ["ideal"]),
        ({"prompt": ASKED, "ideal": "a"}, {}, ["prompt"], ["ideal"]),
        ({"messages": [], "prompt": "p", "ideal": "a"}, {}, ["prompt"], ["ideal"]),
        ({"messages": ["m"], "query": "p", "ideal": "a"}, {}, ["query"], ["ideal"]),
        # By name, or in a text with braces.
        ({"x": 1, "y": 2}, {"prompt": "x", "answer": "y"}, ["x"], ["y"]),
        ({"x": 1, "y": 2}, {"prompt": "{x}, {y}?", "answer": "{y}"}, ["x", "y"], ["y"]),
        ({"{x}": 1, "x": 2}, {"prompt": "{x}", "answer": "x"}, ["{x}"], ["x"]),
        ({"x": 1, "y": 2}, {"prompt": "x", "answer": "y {} {x}"}, ["x"], ["x"]),
    ],
)  # fmt: skip
def test_which_columns_are_prompt_and_answer(
    row: dict[str, Any], options: dict[str, Any], prompts: list[str], answers: list[str]
) -> None:
    given = RowOptions(**options)
    assert prompt_columns("here", row, given) == prompts
    assert answer_columns("here", row, given) == answers


@pytest.mark.parametrize(
    ("row", "options", "prompt", "expected"),
    [
        ({"context": "c", "question": "q", "answer": 3}, {}, "c\n\nq", 3),
        ({"messages": CHAT}, {}, "q", "r"),
        ({"messages": CHAT, "answer": "a"}, {}, "q", "a"),
        ({"messages": [*ASKED, *CHAT]}, {}, "q\n\nq", "r"),
        ({"messages": ASKED, "answer": "a"}, {}, "q", "a"),
        ({"prompt": [{"text": "a"}, "b"], "answer": "x"}, {}, "a\nb", "x"),
        ({"prompt": ["a", 3], "answer": "x"}, {}, '["a", 3]', "x"),
        ({"prompt": {"\u00e4": 1}, "answer": "x"}, {}, '{"\u00e4": 1}', "x"),
        ({"prompt": 3, "answer": "x"}, {}, "3", "x"),
        ({"x": 1, "y": None}, {"prompt": "{x}-{y}!", "answer": "{x}{x}"}, "1-!", "11"),
        ({"prompt": "p", "answer": {"text": ["a", "b"], "start": [1]}}, {}, "p", ["a", "b"]),
        ({"prompt": "p", "answer": {"text": "a"}}, {"scorer": "json"}, "p", {"text": "a"}),
        ({"prompt": "p", "answer": "x #### 3 "}, {"answer_pattern": "#### (.+)"}, "p", "3"),
        ({"prompt": "p", "answer": "x 34"}, {"answer_pattern": r"\d+"}, "p", "34"),
        ({"prompt": "p", "answer": [1, 2]}, {"answer_pattern": "1, 2"}, "p", "1, 2"),
        ({"prompt": "p", "answer": '{"a": 1}'}, {"scorer": "json"}, "p", {"a": 1}),
        ({"prompt": "p", "answer": "[1]"}, {"scorer": "json_schema"}, "p", [1]),
        ({"prompt": "p", "answer": "[1]"}, {"scorer": "exact"}, "p", "[1]"),
        ({"prompt": "p", "answer": "1"}, {"scorer": "json"}, "p", "1"),
        ({"prompt": "p", "answer": "{a"}, {"scorer": "json"}, "p", "{a"),
        ({"prompt": "p", "answer": []}, {"scorer": "json"}, "p", []),
        ({"prompt": "p", "answer": ["", "b"]}, {}, "p", ["", "b"]),
        ({"prompt": "p", "answer": 0}, {}, "p", 0),
        ({"prompt": "p", "answer": False}, {}, "p", False),
    ],
)  # fmt: skip
def test_prompt_and_expected_answer(
    row: dict[str, Any], options: dict[str, Any], prompt: str, expected: Any, tmp_path: Path
) -> None:
    found = one(tmp_path, row, **options)
    assert (found.prompt, found.expected) == (prompt, expected)
    assert type(found.expected) is type(expected)


CHOICE = {"prompt": "p\n", "answer": "A"}


@pytest.mark.parametrize(
    ("choices", "options", "found"),
    [
        ({"choices": ["x", 2]}, {}, {"A": "x", "B": "2"}),
        ({"options": ["x"]}, {}, {"A": "x"}),
        ({"choices": ["x"], "options": ["y"]}, {}, {"A": "x"}),
        ({"choices": {"A": "x", "Z": 3}}, {}, {"A": "x", "Z": "3"}),
        ({"choices": {"label": [1, "A"], "text": ["x", "y"]}}, {}, {"1": "x", "A": "y"}),
        ({"choices": {"label": "l", "A": "x"}}, {}, {"label": "l", "A": "x"}),
        ({"choices": ["x"] * 26}, {}, {chr(65 + n): "x" for n in range(26)}),
        ({"choices": ["x"] * 27}, {}, "a list of at most 26 texts"),
        ({"choices": "xy"}, {}, "a list of at most 26 texts"),
        ({"choices": []}, {}, "has no choices in a column"),
        ({"choices": {"label": ["A"], "text": []}}, {}, "as many labels as texts"),
        ({"choices": ["x"]}, {"scorer_options": {"choices": {"A": "b"}}}, {}),
        ({"choices": ["x"]}, {"scorer": "exact"}, {}),
    ],
)
def test_choices(
    choices: dict[str, Any], options: dict[str, Any], found: Any, tmp_path: Path
) -> None:
    given = {"scorer": "choice"} | options
    if isinstance(found, str):
        with pytest.raises(TaskError, match=found):
            one(tmp_path, CHOICE | choices, **given)
    else:
        row = one(tmp_path, CHOICE | choices, **given)
        assert row.choices == found
        lines = "\n".join(f"{label}. {text}" for label, text in found.items())
        assert row.prompt == (f"p\n\n{lines}" if found else "p\n")


@pytest.mark.parametrize(
    ("row", "options", "name", "split", "family"),
    [
        ({}, {}, "set-1", None, ""),
        ({"id": "Own Id"}, {}, "set-own-id", None, ""),
        ({"id": 7}, {}, "set-7", None, ""),
        ({"id": "x" * 80}, {}, "set-" + "x" * 80, None, ""),
        ({"id": "x" * 81}, {}, "set-" + "x" * 80 + "-ce9a3ad7", None, ""),
        ({"id": "\u00e4x"}, {}, "set-x-314938c4", None, ""),
        ({"id": 2.5}, {}, "set-1", None, ""),
        ({"id": 0}, {}, "set-0", None, ""),
        ({"id": " "}, {}, "set-1", None, ""),
        ({"id": None}, {}, "set-1", None, ""),
        ({"id": "x", "key": "k"}, {"id": "key"}, "k", None, ""),
        ({"key": ""}, {"id": "key"}, "1", None, ""),
        ({"split": "Train"}, {}, "set-1", "train", ""),
        ({"split": "dev"}, {}, "set-1", "val", ""),
        ({"split": "other"}, {}, "set-1", None, ""),
        ({"split": 3}, {}, "set-1", None, ""),
        ({"split": "x", "part": "TEST"}, {"split": "part"}, "set-1", "test", ""),
        ({"kind": "k"}, {"family": "kind"}, "set-1", None, "k"),
        ({"kind": 3}, {"family": "kind"}, "set-1", None, "3"),
    ],
)
def test_name_split_and_family_of_a_row(
    row: dict[str, Any],
    options: dict[str, Any],
    name: str,
    split: str | None,
    family: str,
    tmp_path: Path,
) -> None:
    found = one(tmp_path, PAIR | row, **options)
    assert (found.name, found.split, found.family) == (name, split, family)
    assert found.values == PAIR | row and found.place.endswith("line 1")


def test_the_name_of_a_file_says_its_split_before_its_rows_do(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, PAIR | {"split": "val"}, name="train-1.jsonl")
    assert row.split == "train"
    (row,) = rows_of(tmp_path, PAIR | {"split": "val"}, name="train.jsonl", split="split")
    assert row.split == "val"


def test_rows_of_several_files_are_named_after_them(tmp_path: Path) -> None:
    for name in ("a.jsonl", "B c.jsonl"):
        (tmp_path / name).write_text(json.dumps(PAIR | {"key": "k"}) + "\n")
    files = [tmp_path / "a.jsonl", tmp_path / "B c.jsonl"]
    assert [row.name for row in read(files, RowOptions())] == ["a-1", "b-c-1"]
    assert [row.name for row in read(files, RowOptions(id="key"))] == ["a-k", "b-c-k"]
    with pytest.raises(TaskError, match=r"line 1: gives the task 'a-1', as .*line 1 does; name"):
        list(read([files[0], files[0]], RowOptions()))


@pytest.mark.parametrize(
    ("row", "options", "left_out"),
    [
        ({"prompt": " "}, {}, True),
        ({"answer": ""}, {}, True),
        ({"answer": " "}, {}, True),
        ({"answer": None}, {}, True),
        ({"answer": float("nan")}, {}, True),
        ({"answer": []}, {}, True),
        ({"answer": ["", None]}, {}, True),
        ({"answer": []}, {"scorer": "json"}, False),
        ({"answer": ""}, {"scorer": "json"}, True),
        ({"answer": None}, {"scorer": "json"}, True),
        ({"answer": 0}, {}, False),
    ],
)
def test_rows_without_a_prompt_or_an_answer(
    row: dict[str, Any], options: dict[str, Any], left_out: bool, tmp_path: Path
) -> None:
    found = rows_of(tmp_path, PAIR | row, PAIR, exclude_empty=True, **options)
    assert [each.name for each in found] == (["set-2"] if left_out else ["set-1", "set-2"])
    if left_out:
        what = "prompt" if "prompt" in row else "answer"
        with pytest.raises(TaskError, match=f"line 1: has no {what}; set tasks.options.exclude_em"):
            one(tmp_path, PAIR | row, **options)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("3", 3), ("[]", []), ('""', ""), ("{x", "line 2: the answer is not JSON: Expecting"),
        (" ", "line 2: has no answer"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.csv", "a.TSV"])
def test_the_cells_of_a_table_are_json_if_the_answer_is(
    cell: str, expected: Any, name: str, tmp_path: Path
) -> None:
    between = "\t" if name == "a.TSV" else ","
    quoted = '"' + cell.replace('"', '""') + '"'
    (tmp_path / name).write_text(f"prompt{between}answer\np{between}{quoted}\n")
    options = RowOptions(scorer="json")
    if isinstance(expected, str):
        with pytest.raises(TaskError, match=expected or "line 2: has no answer"):
            list(read([tmp_path / name], options))
    else:
        assert [row.expected for row in read([tmp_path / name], options)] == [expected]


def test_the_options_of_rows_are_known_and_checked() -> None:
    assert RowOptions().model_dump() == {
        "prompt": "", "answer": "", "answer_pattern": "", "scorer": "normalised",
        "scorer_options": {}, "id": "", "split": "", "family": "", "exclude_empty": False,
    }  # fmt: skip
    with pytest.raises(TaskError, match=r"tasks\.options\.x: Extra"):
        row_options({"x": 1})
    with pytest.raises(TaskError, match=r"answer_pattern: .*is no regular expression"):
        row_options({"answer_pattern": "("})


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.jsonl", "train"), ("TRAIN-0.csv", "train"), ("training.json", "train"),
        ("val.json", "val"), ("valid.json", "val"), ("dev.json", "val"), ("selection.json", "val"),
        ("validation-1.json", "val"), ("test.x.json", None), ("testing.json", "test"),
        ("tests.json", None), ("a-train.json", None),
    ],
)  # fmt: skip
def test_the_split_that_a_file_is_named_after(name: str, split: str | None) -> None:
    assert split_of(Path(name)) == split


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (PAIR, True), ({"text": 1, "test": 2}, True), ({"prompt": "p"}, False),
        ({"answer": "a"}, False), ([PAIR], False), ({}, False),
    ],
)  # fmt: skip
def test_what_is_a_row(values: Any, found: bool) -> None:
    assert is_row(values) is found


def test_files_of_rows(tmp_path: Path) -> None:
    for name in (
        "train.jsonl",
        "test.csv",
        "notes.jsonl",
        "val.txt",
        "sub/train.json",
        "a/b/x.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dev.json").mkdir()

    def found(source: str) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in row_files(f"{tmp_path}/{source}")]

    assert found("") == ["test.csv", "train.jsonl"]
    assert found("notes.jsonl") == ["notes.jsonl"] and found("val.txt") == []
    assert found("*") == ["notes.jsonl", "test.csv", "train.jsonl"]
    assert found("**/*.json") == ["a/b/x.json", "sub/train.json"]
    assert found("nothing") == [] and found("nothing.jsonl") == []


def a_row(expected: Any = "a", prompt: str = "p", **changes: Any) -> Row:
    base: dict[str, Any] = {
        "name": "n", "place": "f: line 1", "family": "fam", "split": None, "choices": {},
        "values": {},
    }  # fmt: skip
    return Row(**{**base, "expected": expected, "prompt": prompt, **changes})


@pytest.mark.parametrize(
    ("prompt", "options", "instruction"),
    [
        ("p\n", {}, f"p\n\n{TAGGED}"),
        ("p <answer> ", {}, "p <answer> "),
        ("p\n", {"scorer": "json"}, "p\n"),
        ("p\n", {"scorer": "exact", "scorer_options": {"take": "whole"}}, "p\n"),
        ("p\n", {"scorer": "json", "scorer_options": {"take": "tagged"}}, f"p\n\n{TAGGED}"),
    ],
)
def test_an_answer_in_tags_is_asked_for_if_it_is_looked_for(
    prompt: str, options: dict[str, Any], instruction: str, tmp_path: Path
) -> None:
    (task,) = make_tasks([a_row(prompt=prompt)], RowOptions(**options), tmp_path)
    assert task.instruction == instruction
    assert (task.name, task.family, task.question) == ("n", "fam", True)


def test_what_decides_the_digest_of_a_row(tmp_path: Path) -> None:
    def digest(row: Row, **options: Any) -> str:
        (task,) = make_tasks([row], RowOptions(**options), tmp_path, BaseImage("b"))
        return task.digest

    first = digest(a_row())
    assert digest(a_row(name="m", family="x", place="y")) == first
    others = [
        digest(a_row("b")),
        digest(a_row(prompt="q")),
        digest(a_row(), scorer="exact"),
        digest(a_row(), scorer="exact", scorer_options={"blanks": "kept"}),
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize(
    ("expected", "answers"),
    [
        ("a", ("a",)), (3, ("3",)), (["a", ["b", 3]], ("a", "b", "3")),
        ({"\u00e4": 1}, ('{"\u00e4": 1}',)),
        ([{"a": 1}, None], ('{"a": 1}',)),
    ],
)  # fmt: skip
def test_which_texts_no_edit_may_contain(
    expected: Any, answers: tuple[str, ...], tmp_path: Path
) -> None:
    (task,) = make_tasks([a_row(expected)], RowOptions(scorer="json"), tmp_path)
    assert task.answers == answers


LABELLED = {"A": "one", "B": "two", "C": "two", "2": "three"}


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("B", "B"), ("one", "A"), ("three", "2"), (0, "A"), (1, "B"), (2, "2"), ("2", "2"),
        (3, "2"), (4, None), (-1, None), (True, None), ("two", None), ("four", None),
    ],
)  # fmt: skip
def test_the_right_choice_by_label_text_or_position(
    said: Any, label: str | None, tmp_path: Path
) -> None:
    row, options = a_row(said, choices=LABELLED), RowOptions(scorer="choice")
    if label is None:
        with pytest.raises(TaskError, match=r"f: line 1: the answer .* is none of the choices"):
            make_tasks([row], options, tmp_path)
    else:
        (task,) = make_tasks([row], options, tmp_path)
        assert task.answers == (label,)


@pytest.mark.parametrize(
    ("expected", "options", "said"),
    [
        ("ten", {"scorer": "numeric"}, "f: line 2: .*'ten' is not a number; tasks.options.answer"),
        (["1", "ten"], {"scorer": "numeric"}, None),
        (["ten", "1"], {"scorer": "numeric"}, "f: line 2: .*'ten' is not a number"),
        ({"type": "x"}, {"scorer": "json_schema"}, "f: line 2: .*is not valid"),
        ({"a": 1}, {"scorer": "exact"}, "f: line 2: .*must be a text or a number"),
        ("x", {"scorer": "nothing"}, "tasks.options.scorer: 'nothing' is not one of"),
        ("x", {"scorer": "exact", "scorer_options": {"x": 1}}, "tasks.options.scorer: x"),
    ],
)  # fmt: skip
def test_answers_that_a_scorer_cannot_use_are_named_by_their_row(
    expected: Any, options: dict[str, Any], said: str | None, tmp_path: Path
) -> None:
    rows = [a_row("1" if options["scorer"] != "json_schema" else {}, name="m")]
    rows += [a_row(expected, place="f: line 2")]
    if said is None:
        assert len(make_tasks(rows, RowOptions(**options), tmp_path)) == 2
    else:
        with pytest.raises(TaskError, match=said):
            make_tasks(rows, RowOptions(**options), tmp_path)
