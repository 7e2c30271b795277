"""The tasks of a run by split: how they are held out, compared, left out and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.config.schema import TasksConfig
from skillopt.core.files import digest_of
from skillopt.core.import_path import OwnCodeError
from skillopt.core.types import BaseImage, Split, Task
from skillopt.tasks.harbor import Scored, TaskError
from skillopt.tasks.sources import (
    equal_across,
    files_of_evals,
    groups_of_equal,
    hold_out,
    load_splits,
    with_selection,
)
from tests.helpers.tasks import make_task


def named(*names: str) -> tuple[Task, ...]:
    return tuple(Task(name=name, instruction="x", digest=f"d{name}") for name in names)


def numbered(count: int, prefix: str = "v") -> tuple[Task, ...]:
    return named(*(f"{prefix}{n}" for n in range(count)))


def splits(**given: Sequence[Task]) -> dict[Split, tuple[Task, ...]]:
    found: dict[Split, tuple[Task, ...]] = {"train": (), "val": (), "test": ()}
    found.update({split: tuple(tasks) for split, tasks in given.items()})  # type: ignore[misc]
    return found


@pytest.mark.parametrize(
    ("val", "share", "held"),
    [
        (12, 0.5, 6),
        (11, 0.5, 0),
        (13, 0.5, 6),
        (60, 0.1, 6),
        (59, 0.1, 0),
        # What a float has too little of is no task less.
        (70, 0.1, 7),
        (20, 0.3, 6),
        (12, 0.0, 0),
        (6, 1.0, 6),
    ],
)
def test_a_part_of_the_selection_tasks_is_held_out(val: int, share: float, held: int) -> None:
    given = splits(train=numbered(3, "t"), val=numbered(val))
    found = hold_out(given, share, 1)
    assert (len(found["val"]), len(found["test"])) == (val - held, held)
    assert sorted(t.name for t in found["val"] + found["test"]) == sorted(
        t.name for t in given["val"]
    )
    assert found["train"] == given["train"] and given["test"] == ()
    assert hold_out(given, share, 1) == found
    kept = [task for task in given["val"] if task in found["test"]]
    assert list(found["test"]) == kept


def test_nothing_is_held_out_beside_test_tasks() -> None:
    given = splits(val=numbered(20), test=numbered(1, "t"))
    assert hold_out(given, 0.5, 1) == given


def test_tasks_with_the_same_content_stay_together() -> None:
    tasks = [replace(task, digest=f"d{n // 2}") for n, task in enumerate(numbered(24))]
    found = hold_out(splits(val=tasks), 0.5, 3)
    assert len(found["test"]) == 12
    assert {t.digest for t in found["test"]}.isdisjoint(t.digest for t in found["val"])
    assert hold_out(splits(val=tasks), 0.5, 4) != found
    # Eleven contents have no six halves, however many tasks there are.
    assert not hold_out(splits(val=tasks[:22]), 0.5, 3)["test"]


@pytest.mark.parametrize(
    ("proportions", "train", "val"),
    [((2, 1, 7), 8, 4), ((1, 1, 1), 6, 6), ((5, 1, 0), 10, 2), ((1, 0, 1), 12, 0)],
)
def test_training_tasks_become_selection_tasks_if_there_are_none(
    proportions: tuple[int, int, int], train: int, val: int
) -> None:
    config = TasksConfig(source="x", split=proportions)
    given = splits(train=numbered(12, "t"), test=numbered(2, "e"))
    found = with_selection(given, config, 1)
    assert (len(found["train"]), len(found["val"])) == (train, val)
    assert found["test"] == given["test"]
    assert {*found["train"], *found["val"]} == {*given["train"]}
    with_own = given | {"val": numbered(1)}
    assert with_selection(with_own, config, 1) == with_own


def alike(name: str, digest: str) -> Task:
    return Task(name=name, instruction="x", digest=digest)


def test_equal_tasks_within_a_split_are_no_leak() -> None:
    a, b, c = alike("a", "1"), alike("b", "1"), alike("c", "2")
    assert groups_of_equal([a, c, b]) == [[a, b]] and groups_of_equal([a, c]) == []
    assert equal_across({"train": (a, b), "val": (c,)}) == ""
    assert equal_across({"train": (a, b, c)}) == ""
    said = equal_across({"train": (a, c), "test": (b,)})
    assert said.startswith(
        "tasks with the same content are in different splits: a of train, b of test; leave all"
    )


@pytest.mark.parametrize(("groups", "more"), [(5, ""), (6, " and 1 more"), (9, " and 4 more")])
def test_the_first_groups_of_equal_tasks_are_named(groups: int, more: str) -> None:
    train = [alike(f"t{n}", str(n)) for n in range(groups)]
    val = [alike(f"v{n}", str(n)) for n in range(groups)]
    said = equal_across({"train": train, "val": val})
    assert said.count(" of train") == 5 and f"v4 of val{more}; leave" in said


A, B, C = named("a", "b", "c")


def loaded(
    given: Any, made: Path, environment: str = "", **config: Any
) -> Mapping[Split, tuple[Task, ...]]:
    named_config = TasksConfig(source="mine", environment=environment, **config)
    return load_splits(named_config, 1, made, given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([A], "must give a mapping of train, val, test to tasks"),
        ({"dev": [A]}, "must give a mapping of train, val, test to tasks"),
        ({"train": ["a"]}, "'a' is not a skillopt.Task"),
        ({"train": [A, A]}, "task 'a' is there twice"),
        ({"train": [A], "val": [A]}, "task 'a' is there twice"),
        ({"train": [replace(A, digest="")]}, "task 'a' has no digest"),
        ({"train": [A], "val": [replace(B, digest="da")]}, "mine: tasks with the same content"),
    ],
)
def test_tasks_that_a_program_gives_are_checked(given: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=said):
        loaded(given, tmp_path)


def test_what_a_program_gives_may_be_its_own_fault(tmp_path: Path) -> None:
    with pytest.raises(OwnCodeError, match=r"Plugins\(tasks=…\)"):
        loaded({"train": 3}, tmp_path)
    assert loaded({}, tmp_path) == splits()
    assert loaded({"val": [A]}, tmp_path) == splits(val=[A])
    same = {"train": [A], "val": [replace(B, digest="da")]}
    assert len(loaded(same, tmp_path, duplicates="allow")["val"]) == 1


def judge(task: Task, workspace: Path, answer: str) -> Any:
    """A user's own verifier."""


def workspace(folder: Path) -> None:
    """A user's own workspace."""


@pytest.mark.parametrize("part", ["verify", "workspace", "companion"])
def test_the_digest_covers_a_tasks_own_functions(part: str, tmp_path: Path) -> None:
    function: Any = judge if part == "verify" else workspace
    changes: dict[str, Any] = {part: function}
    (plain,) = loaded({"train": [A]}, tmp_path)["train"]
    (own,) = loaded({"train": [replace(A, **changes)]}, tmp_path)["train"]
    assert plain.digest == "da" and own.digest != "da" and len(own.digest) == 64


@pytest.mark.parametrize(
    ("exclude", "left", "said"),
    [
        ((), ["a", "b"], ""),
        (("a",), ["b"], ""),
        (("a", "b"), [], ""),
        (("aa",), [], r"mine has no task 'aa'; did you mean 'a'\?"),
        (("xyz",), [], "mine has no task 'xyz'$"),
    ],
)
def test_tasks_are_left_out_by_name(
    exclude: tuple[str, ...], left: list[str], said: str, tmp_path: Path
) -> None:
    given = {"train": [A], "test": [B]}
    if said:
        with pytest.raises(TaskError, match=f"tasks.exclude: {said}"):
            loaded(given, tmp_path, exclude=exclude)
    else:
        found = loaded(given, tmp_path, exclude=exclude)
        assert [task.name for split in found.values() for task in split] == left


@pytest.mark.parametrize(
    ("task", "starts", "known"),
    [
        (replace(A, workspace=workspace), True, True),
        (replace(A, question=True), True, True),
        (A, True, False),
        (replace(A, docker_image="own:1"), False, True),
        (replace(A, base=BaseImage("other:1")), False, True),
    ],
)
def test_tasks_without_an_environment_start_from_the_image_of_all(
    task: Task, starts: bool, known: bool, tmp_path: Path
) -> None:
    (plain,) = loaded({"train": [task]}, tmp_path)["train"]
    (found,) = loaded({"train": [task]}, tmp_path, "all:1")["train"]
    if not starts:
        assert found == plain
        return
    assert (found.docker_image, found.base) == ("all:1", BaseImage("all:1"))
    assert found.digest == digest_of([plain.digest, "all:1"])
    assert (found.workdir, found.workdir_known) == ("/app", known)


def test_an_image_with_a_working_directory_gives_it_to_tasks(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM a\nWORKDIR /srv\n")
    given = {"train": [replace(A, folder=tmp_path / "a"), replace(B, folder=tmp_path / "b")]}
    (tmp_path / "b" / "environment").mkdir(parents=True)
    first, second = loaded(given, tmp_path / "made" / "t", str(tmp_path / "Dockerfile"))["train"]
    assert (first.workdir, first.workdir_known) == ("/srv", True)
    assert first.docker_image and second == given["train"][1]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("quickstar", r"tasks.source: quickstar: no such folder, .*did you mean 'quickstart'\?"),
        ("nowhere/at/all", "tasks.source: nowhere/at/all: no such folder, nor one of"),
        ("no_such_module:tasks", "no_such_module"),
    ],
)
def test_a_source_that_there_is_not(source: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=said):
        load_splits(TasksConfig(source=source), 1, tmp_path)


@pytest.mark.parametrize("folders", [["a", "b"], ["train/a", "val/b"]])
def test_tasks_without_tests_are_tasks_if_something_else_scores_them(
    folders: list[str], tmp_path: Path
) -> None:
    for name in folders:
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "task.toml").write_text("")
        (tmp_path / "set" / name / "instruction.md").write_text(f"Do {name}.")
    config = TasksConfig(source=str(tmp_path / "set"), split=(1, 1, 0))
    found = load_splits(config, 0, tmp_path / "made", scored=Scored(verifier=True))
    assert [len(found[split]) for split in ("train", "val", "test")] == [1, 1, 0]
    with pytest.raises(TaskError, match="missing"):
        load_splits(config, 0, tmp_path / "made")


def test_a_folder_named_like_a_path_of_a_module_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        make_task(tmp_path / "my_tasks:set" / name, f"true {name}\n")
    config = TasksConfig(source="my_tasks:set", split=(1, 1, 1))
    found = load_splits(config, 1, tmp_path / "made")
    assert [len(found[split]) for split in ("train", "val", "test")] == [1, 1, 1]


EVALS = {"skill_name": "s", "evals": [{"id": 1, "prompt": "p"}]}


@pytest.mark.parametrize(
    ("name", "content", "evals"),
    [
        ("evals.json", EVALS, True),
        ("evals.json", [{"prompt": "p", "answer": "a"}], False),
        ("evals.json", [{"other": 1}], True),
        ("evals.json", [], True),
        ("eval.yaml", [{"prompt": "p", "answer": "a"}], True),
        ("rows.jsonl", {"prompt": "p", "answer": "a"}, False),
    ],
)
def test_files_that_are_evals_or_rows(name: str, content: Any, evals: bool, tmp_path: Path) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    assert bool(files_of_evals(str(tmp_path / name))) is evals
