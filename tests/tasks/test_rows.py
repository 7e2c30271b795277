"""Prompts with answers: which columns of a file are what, in the forms that public sets have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.core.types import Task
from skillopt.tasks.benchmarks.answers import TAGGED
from skillopt.tasks.harbor import TaskError
from tests.tasks.rows import splits_of, write

GSM8K = {"question": "How many?", "answer": "She has 3 left.\n#### 1,003"}
ALPACA = {"instruction": "Translate it.", "input": "chat", "output": "cat"}
ALPACA_ALONE = {"instruction": "Name a colour.", "input": "", "output": "red"}
SQUAD = {
    "id": "56be", "title": "Ghent", "context": "Ghent has a tower.", "question": "What has it?",
    "answers": {"text": ["a tower", "tower"], "answer_start": [10, 12]},
}  # fmt: skip
ARC = {
    "id": "Mercury_7", "question": "Which is wet?", "answerKey": "2",
    "choices": {"text": ["sand", "rain"], "label": ["1", "2"]},
}  # fmt: skip
MMLU = {"question": "Which is wet?", "choices": ["sand", "rain"], "answer": 1, "subject": "water"}
AGIEVAL = {
    "passage": "It rained.", "question": "What fell?", "options": ["(A)sand", "(B)rain"],
    "label": "B", "answer": None,
}  # fmt: skip
FINE_TUNING = {
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "2+2?"}]},
        {"role": "assistant", "content": "4"},
    ]
}
OPENAI_EVALS = {"input": [{"role": "user", "content": "2+2?"}], "ideal": ["4", "four"]}
BBH = {"input": "True and False is", "target": "False"}


def one(tmp_path: Path, row: dict[str, Any], **options: Any) -> Task:
    """The task of a single row."""
    splits = splits_of(write(tmp_path / "rows.jsonl", [row]), tmp_path, **options)
    (task,) = [task for tasks in splits.values() for task in tasks]
    return task


def score(task: Task, answer: str) -> float:
    assert task.verify is not None
    return task.verify(task, Path(), answer).hard


@pytest.mark.parametrize(
    ("row", "options", "prompt", "right", "wrong"),
    [
        (
            GSM8K, {"scorer": "numeric", "answer_pattern": "#### (.+)"}, "How many?", "1003", "3",
        ),
        (ALPACA, {}, "Translate it.\n\nchat", "Cat", "dog"),
        (ALPACA_ALONE, {}, "Name a colour.", "red", "blue"),
        (SQUAD, {"scorer": "f1"}, "Ghent has a tower.\n\nWhat has it?", "tower", "a"),
        (
            ARC, {"scorer": "choice", "answer": "answerKey"},
            "Which is wet?\n\n1. sand\n2. rain", "2", "1",
        ),
        (
            MMLU, {"scorer": "choice", "family": "subject"},
            "Which is wet?\n\nA. sand\nB. rain", "B", "A",
        ),
        (
            {**MMLU, "answer": "rain"}, {"scorer": "choice"},
            "Which is wet?\n\nA. sand\nB. rain", "rain", "sand",
        ),
        (
            AGIEVAL, {"scorer": "choice"},
            "It rained.\n\nWhat fell?\n\nA. (A)sand\nB. (B)rain", "B", "A",
        ),
        (FINE_TUNING, {}, "Be short.\n\n2+2?", "4", "5"),
        (OPENAI_EVALS, {}, "2+2?", "four", "five"),
        (BBH, {"scorer": "exact"}, "True and False is", "False", "True"),
        (
            {"a": 3, "b": 4, "sum": 7},
            {"prompt": "{a} and {b}?", "answer": "sum", "scorer": "numeric"},
            "3 and 4?", "7.0", "8",
        ),
        (
            {"q": "?", "one": "x", "two": "y"}, {"prompt": "q", "answer": "{one}-{two}"},
            "?", "x-y", "x y z",
        ),
        ({"prompt": "List", "answer": {"a": [1]}}, {"scorer": "json"}, "List", '{"a":[1]}', "{}"),
        ({"prompt": "One digit", "answer": r"\d"}, {"scorer": "regex"}, "One digit", "4", "four"),
        ({"prompt": "?", "answer": "yes", "split": "other"}, {}, "?", "yes", "no"),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)  # fmt: skip
def test_the_forms_of_public_sets(
    row: dict[str, Any], options: dict[str, Any], prompt: str, right: str, wrong: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    task = one(tmp_path, row, **options)
    wanted = "" if options.get("scorer") in ("json", "json_schema") else f"\n\n{TAGGED}"
    assert task.question and task.instruction == f"{prompt}{wanted}"
    assert (score(task, right), score(task, wrong)) == (1, 0)
    assert task.answers
    assert task.family == str(row.get(options.get("family", ""), ""))


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"])
def test_every_kind_of_file(suffix: str, tmp_path: Path) -> None:
    rows = [{"id": f"Row {n}", "prompt": f"{n}, and?\n", "answer": str(n + 1)} for n in range(10)]
    splits = splits_of(write(tmp_path / f"x{suffix}", rows), tmp_path, scorer="numeric")
    assert {name: len(tasks) for name, tasks in splits.items()} == {"train": 2, "val": 1, "test": 7}
    tasks = sorted((t for each in splits.values() for t in each), key=lambda task: task.name)
    assert [task.name for task in tasks] == [f"x-row-{n}" for n in range(10)]
    assert [score(task, str(n + 1)) for n, task in enumerate(tasks)] == [1.0] * 10


def test_an_object_with_one_list_of_rows(tmp_path: Path) -> None:
    (tmp_path / "bbh.json").write_text(json.dumps({"canary": "x", "examples": [BBH, BBH, BBH]}))
    assert sum(map(len, splits_of(tmp_path / "bbh.json", tmp_path).values())) == 3


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (("train.jsonl", "val.jsonl", "test.jsonl"), (6, 6, 6)),
        (("train-00000-of-1.jsonl", "validation.json", "test.csv"), (6, 6, 6)),
        (("train.jsonl", "test.jsonl"), (4, 2, 6)),  # A part of train selects.
        (("test.jsonl",), (1, 0, 5)),  # One split is none.
    ],
)
def test_files_that_are_named_after_splits(
    names: tuple[str, ...], counts: tuple[int, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name in names:
        write(folder / name, [{"prompt": f"{name} {n}", "answer": "a"} for n in range(6)])
    (folder / "notes.jsonl").write_text("not read\n")
    found = splits_of(folder, tmp_path)
    assert tuple(len(found[split]) for split in ("train", "val", "test")) == counts
    assert found == splits_of(folder, tmp_path)


def test_a_column_that_names_the_split(tmp_path: Path) -> None:
    names = ["train", "Dev", "test", "validation", "train"]
    rows = [{"prompt": f"p{n}", "answer": "a", "split": s} for n, s in enumerate(names)]
    found = splits_of(write(tmp_path / "rows.csv", rows), tmp_path)
    assert [len(found[split]) for split in ("train", "val", "test")] == [2, 2, 1]


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"x": 1, "answer": "a"}, {}, r"line 1: no column is known to be the prompt.* x, answer"),
        ({"prompt": "a", "y": 2}, {}, "line 1: no column is known to be the answer"),
        ({"prompt": " ", "answer": "a"}, {}, "line 1: has no prompt; set .*exclude_empty"),
        ({"prompt": "a", "answer": ""}, {}, "line 1: has no answer"),
        ({"prompt": "a", "answer": None}, {}, "line 1: has no answer"),
        ({"prompt": "a", "answer": "b"}, {"prompt": "q"}, "has no column 'q'; it has prompt, answ"),
        ({"prompt": "a", "answer": "b"}, {"prompt": "{q}!"}, "has no column 'q'"),
        ({"prompt": "a", "answer": "b"}, {"id": "n"}, "has no column 'n'"),
        ({"prompt": "a", "answer": "b"}, {"answer_pattern": r"\d"}, "finds nothing"),
        ({"prompt": "a", "answer": "b"}, {"answer_pattern": "("}, "is no regular expression"),
        ({"prompt": "a", "answer": "b"}, {"scorer": "nope"}, "'nope' is not one of exact"),
        ({"prompt": "a", "answer": "b"}, {"scorer": "numeric"}, "not a number; .*answer_pattern"),
        ({"prompt": "a", "answer": "("}, {"scorer": "regex"}, "line 1: the pattern '.' is not va"),
        ({"prompt": "a", "answer": {"type": "x"}}, {"scorer": "json_schema"}, "1: .*not valid"),
        ({"prompt": "a", "answer": "b", "split": "x"}, {"split": "split"}, "'x' is no split"),
        (MMLU, {"scorer": "choice", "answer": "subject"}, "'water' is none of the choices"),
        ({"prompt": "a", "answer": "b"}, {"scorer": "choice"}, "line 1: has no choices"),
        ({"prompt": "a", "answer": "b"}, {"promt": "x"}, "options.promt: .*options of rows: pro"),
        ({"prompt": "a", "answer": "b"}, {"scorer": "command:"}, "is followed by a command"),
        ({"prompt": "a", "answer": "b"}, {"scorer": "program", "scorer_options": {"x": 1}}, "opti"),
        ({"prompt": "a", "answer": 3}, {"scorer": "program"}, "line 1: the tests must be code"),
        (
            {"prompt": "a", "answer": [{"in": 1}]},
            {"scorer": "program", "scorer_options": {"by": "output"}}, "objects with 'input' and",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    row: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TaskError, match=message):
        one(tmp_path, row, **options)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"prompt": "a", "answer": "b"}\n\n{"prompt"\n', "line 3: not valid JSON"),
        ("x.jsonl", b"[1]\n", "line 1: is no object"),
        ("x.jsonl", b"\n", "has no rows"),
        ("x.jsonl", b"\xff\xfe", "cannot be read"),
        ("x.jsonl", b"[" * 100_000, "line 1: not valid JSON"),
        ("x.csv", b'prompt,answer\n"a,b\n', "line 1: unexpected end"),
        ("x.csv", b"prompt,answer\na\n", "line 2: has not as many cells"),
        ("x.csv", b"prompt,answer\na,b,c\n", "line 2: has not as many cells"),
        ("x.csv", b"prompt,answer\n", "has no rows"),
        ("x.parquet", b"PAR1", "x.parquet: "),
        ("x.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        ("x.json", b'{"prompts": [{"q": 1}]}', "none of the known eval files"),
        (
            "x.jsonl", b'{"id": 1, "prompt": "a", "answer": "b"}\n' * 2,
            "line 2: gives the task 'x-1', as .*line 1 does",
        ),
    ],
)  # fmt: skip
def test_a_broken_file(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=message):
        splits_of(tmp_path / name, tmp_path)


def test_rows_without_an_answer_are_left_out_if_wanted(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "answer": answer} for n, answer in enumerate(["a", "", "b"])]
    file = write(tmp_path / "rows.jsonl", rows)
    found = splits_of(file, tmp_path, exclude_empty=True)
    assert {t.name for tasks in found.values() for t in tasks} == {"rows-1", "rows-3"}


def test_an_answer_in_tags_is_asked_for_once(tmp_path: Path) -> None:
    row = {"prompt": "In <answer> tags: 2+2?", "answer": "4"}
    assert one(tmp_path, row).instruction == row["prompt"]
    row["prompt"] = "2+2?"
    assert one(tmp_path, row, scorer_options={"take": "whole"}).instruction == "2+2?"
    assert one(tmp_path, row, scorer="command: cat").instruction == "2+2?"


def test_what_decides_a_score_is_in_the_digest(tmp_path: Path) -> None:
    row = {"prompt": "a", "answer": "1"}
    digests = [
        one(tmp_path, row).digest,
        one(tmp_path, row, scorer="numeric").digest,
        one(tmp_path, row, scorer="numeric", scorer_options={"absolute": 1}).digest,
        one(tmp_path, {**row, "answer": "2"}).digest,
        one(tmp_path, {**row, "prompt": "b"}).digest,
        one(tmp_path, row, scorer="command: cat").digest,
    ]
    assert len(set(digests)) == len(digests)
    assert one(tmp_path, {**row, "comment": "x"}).digest == digests[0]


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_any_text_is_read_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    rows = [{"prompt": f"p{prompt}", "answer": f"a{answer}"} for prompt, answer in pairs]
    splits = splits_of(write(folder / "rows.jsonl", rows), folder, scorer="exact")
    tasks = {task.name: task for each in splits.values() for task in each}
    for number, row in enumerate(rows, start=1):
        task = tasks[f"rows-{number}"]
        assert task.instruction == f"{row['prompt'].rstrip()}\n\n{TAGGED}" or (
            "<answer>" in row["prompt"]
        )
        assert task.answers == (row["answer"],)
