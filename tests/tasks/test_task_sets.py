"""What is found in a folder of tasks or in a file of them: tasks, problems, notes, likenesses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import BaseImage, Split
from skillopt.tasks import validate as module
from skillopt.tasks.harbor import SPLITS, TaskError
from skillopt.tasks.likeness import Alike
from skillopt.tasks.validate import Found, Problem, Similar, TaskSet, examine, examine_source
from tests.helpers.values import a_task

FILES = {
    "task.toml": "", "instruction.md": "Do it.\n", "tests/test.sh": "true\n",
    "environment/Dockerfile": "FROM skillopt/agent-base:1\nWORKDIR /app\n",
}  # fmt: skip


def a_folder(folder: Path, *without: str, **files: str) -> Path:
    changed = {name.replace("__", "/"): text for name, text in files.items()}
    for name, text in {**FILES, **changed}.items():
        if name not in without:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    return folder


def seen(found: TaskSet) -> list[tuple[str, str | None, bool]]:
    return [(one.name, one.split, one.task is not None) for one in found.found]


def test_a_flat_folder_has_all_its_tasks_also_bad_ones(tmp_path: Path) -> None:
    a_folder(tmp_path / "a")
    a_folder(tmp_path / "b", "instruction.md")
    a_folder(tmp_path / "c", **{"instruction.md": "Other."})
    found = examine(tmp_path)
    assert seen(found) == [("a", None, True), ("b", None, False), ("c", None, True)]
    (problem,) = found.problems
    assert problem.task == "b" and "instruction.md" in problem.message and not problem.warning
    assert found.found[1].problem == problem and found.found[1].folder == tmp_path / "b"
    assert found.found[0].problem is None and found.splits == {} and found.folder == tmp_path
    assert [task.name for task in found.tasks] == ["a", "c"] and module.validate(tmp_path) == [
        problem
    ]
    with pytest.raises(TaskError, match="none: no such folder"):
        examine(tmp_path / "none")


def test_splits_are_read_by_their_folders(tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("val", "b"), ("val", "a")):
        a_folder(tmp_path / split / name, **{"instruction.md": f"{split} {name}"})
    a_folder(tmp_path / "val" / "c", "instruction.md")
    found = examine(tmp_path)
    assert seen(found) == [
        ("a", "train", True), ("a", "val", True), ("b", "val", True), ("c", "val", False),
    ]  # fmt: skip
    names = {split: [task.name for task in tasks] for split, tasks in found.splits.items()}
    assert names == {"train": ["a"], "val": ["a", "b"]}
    bad, twice = found.problems
    assert bad.task == "c" and twice == Problem(
        "a", f"{tmp_path / 'val/a'}: same name as {tmp_path / 'train/a'}; rename one of them"
    )


def test_an_equal_task_in_two_splits_leaks(tmp_path: Path) -> None:
    for split in ("train", "val"):
        a_folder(tmp_path / split / f"of-{split}")
    (problem,) = examine(tmp_path).problems
    assert problem.task == "" and problem.message.startswith(f"{tmp_path}: ")
    assert "of-train" in problem.message and "of-val" in problem.message


@pytest.mark.parametrize(
    ("parts", "single"),
    [
        (("task.toml",), True), (("instruction.md",), True),
        (("environment/", "tests/"), True), (("tests/", "solution/"), True),
        (("environment/", "solution/"), True),
        (("tests/",), False), (("environment/",), False), (("solution/",), False),
        (("other/", "tests"), False),
    ],
)  # fmt: skip
def test_a_folder_is_a_task_by_its_parts(
    parts: tuple[str, ...], single: bool, tmp_path: Path
) -> None:
    for part in parts:
        path = tmp_path / "set" / part
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if part.endswith("/") else path.touch()
    if single:
        assert seen(examine(tmp_path / "set")) == [("set", None, False)]
    else:
        assert all(name != "set" for name, _, _ in seen(examine(tmp_path / "set")))


WORDS = "what it expects in words counts only if the config names a judge"
ONLY_WORDS = "what it expects is in words: it can be run if the config names a judge"


def test_authors_are_told_how_tasks_are_read(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test.sh").touch()
    tested, plain = replace(a_task("tested"), folder=tmp_path), a_task("plain")
    tasks = [
        replace(tested, expectations=("so",)), replace(plain, expected_output="so"), a_task("none"),
        replace(a_task("noted"), notes=("has no effect",)),
    ]  # fmt: skip
    found = TaskSet(
        tmp_path,
        tuple(Found(task.name, tmp_path, None, task) for task in tasks),
        (),
        BaseImage("image", notes=("of the image",)),
    )
    assert found.notes == [
        Problem("", "of the image", warning=True),
        Problem("noted", "has no effect", warning=True),
        Problem("tested", WORDS, warning=True),
        Problem("plain", ONLY_WORDS, warning=True),
    ]
    assert replace(found, own=None).notes == found.notes[1:]


def test_what_a_task_needs_is_no_note(tmp_path: Path) -> None:
    toml = '[agent]\nuser = "root"\n[environment]\ngpus = 0\nskills_dir = "x"\n'
    folder = a_folder(tmp_path / "a", **{"task.toml": toml})
    (task,) = examine(folder).tasks
    needed = examine(folder).notes
    assert task.needs.root and all(note.message not in task.needs.root for note in needed)
    assert {note.message for note in needed} < set(task.notes) or not needed


def test_likenesses_have_the_splits_of_their_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: dict[str, Split | None] = {"b": "train", "a": "val", "c": "test", "d": None}
    tasks = {
        name: replace(a_task(name), digest="same" if name in "ab" else name) for name in "abcd"
    }
    found = TaskSet(
        tmp_path,
        tuple(Found(name, tmp_path, places[name], tasks[name]) for name in ("b", "a", "c", "d")),
        (),
    )
    monkeypatch.setattr(module, "groups_of_equal", lambda tasks: [[tasks[0], tasks[1]]])
    monkeypatch.setattr(module, "alike", lambda tasks: [Alike(("c", "d"), 0.9)])
    assert found.similar == [
        Similar(("a", "b"), True, 1.0, ("val", "train")),
        Similar(("c", "d"), False, 0.9, ("test", None)),
    ]


def test_a_source_is_examined_by_its_kind(tmp_path: Path) -> None:
    made = tmp_path / "made"
    folder = a_folder(tmp_path / "a")
    assert seen(examine_source(str(folder), made)) == [("a", None, True)]
    with pytest.raises(TaskError, match="a: a folder of tasks has no options"):
        examine_source(str(folder), made, {"x": 1})
    with pytest.raises(TaskError, match="none: no such folder or file"):
        examine_source(str(tmp_path / "none"), made)


def test_rows_are_examined_as_a_run_would_read_them(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    asked = [{"prompt": f"What is {n}?", "answer": str(n)} for n in (*range(10), 3)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in asked))
    found = examine_source(str(rows), tmp_path / "made", {"scorer": "exact"})
    assert len(found.found) == 11 and {one.split for one in found.found} == {"train", "val", "test"}
    assert all(one.task is not None and one.name == one.task.name for one in found.found)
    places = [one.split for one in found.found if one.split is not None]
    assert len(places) == 11 and places == sorted(places, key=SPLITS.index)
    assert found.folder == rows


CASES: dict[str, Any] = {
    "skill_name": "lots",
    "evals": [
        {"id": 1, "prompt": "Sum it.", "expectations": ["It is so."], "files": []},
        {"id": 2, "prompt": "Sum it again.", "expectations": [], "files": []},
    ],
}


def test_eval_files_are_examined_case_by_case(tmp_path: Path) -> None:
    (tmp_path / "lots" / "evals").mkdir(parents=True)
    file = tmp_path / "lots" / "evals" / "evals.json"
    file.write_text(json.dumps(CASES))
    found = examine_source(str(file), tmp_path / "made")
    (good,) = [one for one in found.found if one.task is not None]
    (bad,) = [one for one in found.found if one.task is None]
    assert good.split is None and bad.split is None and good.problem is None
    assert bad.folder == file and bad.problem == found.problems[0]
    assert bad.problem is not None and bad.problem.message.startswith(f"{bad.name}: ")
    assert len(found.problems) == 1 and not bad.problem.warning
    with pytest.raises(TaskError):
        examine_source(str(file), tmp_path / "made", {"odd": 1})


def test_tasks_without_an_environment_have_the_given_one(tmp_path: Path) -> None:
    a_folder(tmp_path / "a", "environment/Dockerfile")
    assert seen(examine(tmp_path / "a")) == [("a", None, False)]
    own = BaseImage("own:1", notes=("noted",))
    checks: list[Callable[[], TaskSet]] = [
        lambda: examine(tmp_path / "a", own),
        lambda: examine_source(str(tmp_path / "a"), tmp_path / "made", own=own),
    ]
    for check in checks:
        found = check()
        assert seen(found) == [("a", None, True)] and found.own == own
        assert found.tasks[0].base == own
