"""The folders of this machine that a task lets agents read: whether they can, and what is in them.

They are mounted and not copied, so that many rollouts share a large one.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from pathlib import Path, PurePosixPath

from harnesses.agents.cli_agent import HOME
from harnesses.agents.toolchains import MOUNTS
from sandboxes.backend import Traits
from sandboxes.errors import BackendError
from sandboxes.trees import entries_below
from skillopt.core.files import digest_of
from skillopt.core.types import Task
from skillopt.tasks.harbor import TaskError, folder_digest

TAKEN = (HOME, MOUNTS, "/dev", "/proc", "/sys")
"""Places in a sandbox that have another use."""


def with_folders(task: Task) -> Task:
    """A task whose folders are absolute, and whose digest covers what is in them.

    Raises:
        TaskError: a folder is not there or cannot be read by agents, or its place in the sandbox
            cannot be used.
    """
    if not task.folders:
        return task
    for place in task.folders:
        if problem := _problem(place, task.workdir):
            raise TaskError(f"task {task.name}: folders: {place}: {problem}")
    for one, other in combinations(task.folders, 2):
        if _overlap(one, other):
            raise TaskError(f"task {task.name}: folders: one of {one} and {other} is in the other")
    folders = {place: Path(folder).resolve() for place, folder in task.folders.items()}
    task = replace(task, folders=folders)
    return replace(task, digest=digest_of([task.digest, contents(task)]))


def contents(task: Task) -> dict[str, str]:
    """The digests of a task's folders by their places.

    Raises:
        TaskError: a folder cannot be read.
    """
    return {place: _digest(folder) for place, folder in sorted(task.folders.items())}


def check_folders(task: Task, backend: Traits) -> None:
    """Check that the sandboxes of a backend can have a task's folders without a way to change them.
    Direct chat answers questions without a sandbox.

    Raises:
        BackendError: they cannot.
    """
    if task.folders and not task.question and not backend.isolated:
        raise BackendError(
            f"sandbox.kind: task {task.name} has folders that agents can read and not change "
            f"({', '.join(task.folders)}), and {backend.name!r} sandboxes cannot give such: set "
            "sandbox.kind to docker"
        )


@lru_cache(maxsize=64)
def _digest(folder: Path) -> str:
    """The digest of a folder, read once in this process: it may be large."""
    if not folder.is_dir():
        raise TaskError(f"{folder}: no such folder, and a task has it in its folders")
    try:
        for path in (folder, *(Path(entry.path) for entry in entries_below(folder))):
            if not path.is_symlink() and not _readable(path):
                raise TaskError(f"{path}: agents cannot read it; try: chmod -R a+rX {folder}")
        return folder_digest(folder)
    except OSError as error:
        raise TaskError(f"{folder}: {error}") from error


def _readable(path: Path) -> bool:
    """Whether agents can read a file or folder: those of root are another user."""
    wanted = 0o5 if path.is_dir() else 0o4
    mode = path.stat().st_mode
    return mode & wanted == wanted if os.getuid() == 0 else os.access(path, os.R_OK)


def _problem(place: str, workdir: str) -> str:
    """What is wrong with a path in the sandbox; empty if nothing is."""
    if not place.startswith("/") or os.path.normpath(place) != place or place.startswith("//"):
        return "the path in the sandbox is not an absolute one like /corpus"
    for taken in (workdir, *TAKEN):
        if _overlap(place, taken):
            return f"{taken} in the sandbox has another use; choose a place like /corpus"
    return ""


def _overlap(one: str, other: str) -> bool:
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)
