"""What a task folder says, field by field, and what holds if it says nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import Task, Triggers
from skillopt.tasks.harbor import Scored, only_triggers, read_task, task_folders
from tests.helpers.values import a_task


def read(folder: Path, toml: str = "", **files: str) -> Task:
    folder.mkdir()
    base = {"Dockerfile": "FROM skillopt/agent-base:1\nWORKDIR /srv/app\n", "test.sh": "x"} | files
    places = {"Dockerfile": "environment/Dockerfile", "test.sh": "tests/test.sh"}
    for name, text in {"task.toml": toml, "instruction.md": "x", **base}.items():
        if text is not None:
            file = folder / places.get(name, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return read_task(folder)


@pytest.mark.parametrize(
    ("toml", "field", "value"),
    [
        ("", "untrusted_programs", False),
        ("[metadata]\nuntrusted_programs = true\n", "untrusted_programs", True),
        ("", "family", ""),
        ('[metadata]\ncategory = "logs"\n', "family", "logs"),
        ("", "agent_timeout_s", 600.0),
        ("[agent]\ntimeout_sec = 7\n", "agent_timeout_s", 7.0),
        ("", "verifier_timeout_s", 600.0),
        ("[verifier]\ntimeout_sec = 7\n", "verifier_timeout_s", 7.0),
        ("", "memory_mb", 2048),
        ("", "disk_mb", 10240),
        ("", "cpus", 1.0),
        ("", "build_timeout_s", None),
        ("[environment]\nbuild_timeout_sec = 5\n", "build_timeout_s", 5.0),
        ("", "expected_output", ""),
        ("", "workdir", "/srv/app"),
        ('[environment]\nworkdir = "/x/"\n', "workdir", "/x"),
        ("", "workdir_known", True),
        ("", "triggers", None),
        ('[metadata]\nopened = ["a"]\n', "triggers", Triggers(opened=("a",))),
        ("[metadata]\nno_others_opened = true\n", "triggers", Triggers(no_others=True)),
        ("", "answer_file", ""),
        ("", "question", False),
    ],
)
def test_each_field_and_its_default(toml: str, field: str, value: Any, tmp_path: Path) -> None:
    assert getattr(read(tmp_path / "task", toml), field) == value


def test_only_an_image_knows_the_working_directory_of_a_dockerfile_without_one(
    tmp_path: Path,
) -> None:
    task = read(tmp_path / "task", Dockerfile="FROM skillopt/agent-base:1\nRUN make\n")
    assert not task.workdir_known and task.workdir == "/app"
    (tmp_path / "empty").mkdir()
    for name, text in (("task.toml", ""), ("instruction.md", "x")):
        (tmp_path / "empty" / name).write_text(text)
    empty = read_task(tmp_path / "empty", scored=Scored(verifier=True))
    assert empty.workdir_known and empty.workspace is not None and not empty.question


@pytest.mark.parametrize(
    ("changes", "only"),
    [
        ({}, True),
        ({"triggers": None}, False),
        ({"expectations": ("It greets.",)}, False),
        ({"expected_output": "A greeting."}, False),
        ({"verify": lambda *arguments: None}, False),
        ({"question": True}, False),
    ],
)
def test_a_task_that_asks_nothing_but_openings(changes: dict[str, Any], only: bool) -> None:
    task = replace(a_task(), triggers=Triggers(opened=("a",)))
    assert only_triggers(replace(task, **changes)) is only


def test_hidden_folders_and_files_are_no_tasks(tmp_path: Path) -> None:
    for name in ("b", "a", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").touch()
    assert [folder.name for folder in task_folders(tmp_path)] == ["a", "b"]
