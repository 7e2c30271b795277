"""Tasks of rows and of eval files as folders, to the byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import Split, Task
from skillopt.tasks.columns import Row, RowOptions
from skillopt.tasks.importing import write_folders
from skillopt.tasks.rows import make_tasks
from tests.helpers.values import a_task


def questions(*names: str, expected: Any = "4", family: str = "", **options: Any) -> list[Task]:
    rows = [Row(name, "f: line 1", "2+2?", expected, family, None, {}, {}) for name in names]
    return make_tasks(rows, RowOptions(**options), Path())


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("given", "metadata", "answer"),
    [
        ({"scorer": "exact", "scorer_options": {"take": "whole"}},
         'scorer = "exact"\nscorer_options = { "take" = "whole" }\n', '"4"\n'),
        ({"scorer": "json", "family": "sums", "expected": [{"\u00e4": 1}]},
         'category = "sums"\nscorer = "json"\n', '[\n {\n  "\u00e4": 1\n }\n]\n'),
    ],
)  # fmt: skip
def test_the_folder_of_a_question(
    given: dict[str, Any], metadata: str, answer: str, tmp_path: Path
) -> None:
    (task,) = questions("t", **given)
    splits: dict[Split | None, list[Task]] = {None: [task]}
    assert write_folders(splits, tmp_path / "out") == 1
    found = files_of(tmp_path / "out")
    assert found["t/task.toml"] == f'schema_version = "1.4"\n\n[metadata]\n{metadata}'
    assert found["t/tests/answer.json"] == answer
    assert found["t/instruction.md"] == task.instruction + "\n" and len(found) == 3


def test_tasks_lie_in_the_folders_of_their_splits(tmp_path: Path) -> None:
    (tmp_path / "own" / "tests").mkdir(parents=True)
    (tmp_path / "own" / "tests" / "test.sh").write_text("x")
    copied = replace(a_task("own"), folder=tmp_path / "own")
    train, val = questions("a", "b"), [*questions("c"), copied]
    splits: dict[Split, list[Task]] = {"train": train, "val": val, "test": []}
    assert write_folders(splits, tmp_path / "out") == 4
    found = files_of(tmp_path / "out")
    assert {name.rpartition("/")[0] for name in found} == {
        "train/a", "train/a/tests", "train/b", "train/b/tests", "val/c", "val/c/tests",
        "val/own/tests",
    }  # fmt: skip
    assert found["val/own/tests/test.sh"] == "x" and not (tmp_path / "out" / "test").exists()
