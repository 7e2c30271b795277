"""Writes tasks of eval files and of rows as task folders, for those who want to edit them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from skillopt.core.types import Split, Task
from skillopt.tasks.answers import Judge, spoken
from skillopt.tasks.evals.case import toml
from skillopt.tasks.generated import whole_folder
from skillopt.tasks.harbor import TaskError


def write_folders(
    splits: Mapping[Split, Sequence[Task]] | Mapping[Split | None, Sequence[Task]], target: Path
) -> int:
    """Write tasks as folders that ``tasks.source`` reads, all of them or none.

    Args:
        splits: the tasks; those of None lie in ``target`` itself, others in a folder of the split.
        target: which must not exist.

    Returns:
        How many were written.

    Raises:
        TaskError: the folder exists, or a task is an object of a user's own source.
        OSError: it cannot be written.
    """
    if not any(splits.values()):
        return 0
    count = 0
    with whole_folder(target) as fresh:
        for split, tasks in splits.items():
            for task in tasks:
                _write(task, fresh / (split or "") / task.name)
                count += 1
    return count


def _write(task: Task, folder: Path) -> None:
    if task.folder.is_dir():
        shutil.copytree(task.folder, folder)
        return
    if not isinstance(task.verify, Judge):
        raise TaskError(f"task {task.name}: comes from a source of your own, and has no folder")
    name, options, expected = spoken(task.verify)
    metadata = {"category": task.family, "scorer": name, "scorer_options": dict(options)}
    lines = [f"{key} = {toml(value)}" for key, value in metadata.items() if value]
    (folder / "tests").mkdir(parents=True)
    (folder / "instruction.md").write_text(task.instruction + "\n", "utf-8")
    (folder / "task.toml").write_text(
        "\n".join(['schema_version = "1.4"', "", "[metadata]", *lines, ""]), "utf-8"
    )
    answer = json.dumps(expected, ensure_ascii=False, indent=1)
    (folder / "tests" / "answer.json").write_text(answer + "\n", "utf-8")
