"""Checks tasks for their authors: whether they can be read and solved, and whether doing nothing
fails."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from sandboxes.base import Limits, Mount, SandboxFactory, SandboxSpec
from sandboxes.owner import scratch_dir
from skillopt.core.types import Reward, Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import (
    SPLITS,
    TaskError,
    read_splits,
    read_task,
    read_tasks,
    task_folders,
)
from skillopt.tasks.sources import equal_across, equal_within
from skillopt.tasks.verifier import VerifierError, verify

SOLUTION = "/solution"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a task. ``message`` describes it, names its place and what to do."""

    task: str
    message: str


def validate(folder: Path) -> list[Problem]:
    """The problems of one task folder, a flat folder of them, or one with split folders.

    Every task is checked, also after a bad one; an empty list means that all can be used.

    Raises:
        TaskError: there is no such folder.
    """
    if not folder.is_dir():
        raise TaskError(f"{folder}: no such folder")
    try:
        found = _found(folder)
        problems = [problem for path in found for problem in _problems(path)]
        if not problems and found != [folder]:
            read_tasks(folder)  # Raises if the tasks do not form a set.
            splits = read_splits(folder) or {}
            if leaks := equal_across(splits):
                problems.append(Problem("", f"{folder}: {leaks}"))
    except TaskError as error:
        return [Problem("", str(error))]
    return problems


def alike(folder: Path) -> list[str]:
    """The names of tasks with the same content that may be in the same split, a line for each group
    of them.

    Raises:
        TaskError: a task cannot be used.
    """
    if (folder / "task.toml").exists():
        return []
    splits = read_splits(folder) or {"train": read_tasks(folder)}
    return [line for tasks in splits.values() for line in equal_within(tasks)]


def solve(task: Task, environments: Environments, sandbox_factory: SandboxFactory) -> list[Problem]:
    """Run the task's solution, which must get the full reward, and an empty run, which must not.

    Args:
        task: with ``solution/solve.sh``; it runs in the working directory.
        environments: provides its image and workspaces.
        sandbox_factory: makes the sandboxes of solution and verifier.

    Raises:
        SandboxError: a sandbox failed, which says nothing about the task.
    """
    if task.question:
        return []  # Its answer is its solution.
    if not (task.folder / "solution" / "solve.sh").is_file():
        return [Problem(task.name, f"{task.folder / 'solution' / 'solve.sh'}: missing")]
    problems = []
    for solved in (True, False):
        with tempfile.TemporaryDirectory(dir=scratch_dir()) as name:
            try:
                reward = _attempt(task, environments, sandbox_factory, Path(name), solved)
            except (VerifierError, TaskError) as error:
                problems.append(Problem(task.name, str(error)))
                continue
        if solved and not reward.hard:
            problem = f"its solution gets {reward.soft:g}, not 1: {reward.feedback[:500]}"
            problems.append(Problem(task.name, problem))
        elif not solved and reward.hard:
            problems.append(Problem(task.name, "an empty run gets the full reward"))
    return problems


def _attempt(
    task: Task,
    environments: Environments,
    sandbox_factory: SandboxFactory,
    scratch: Path,
    solved: bool,
) -> Reward:
    workspace = scratch / "workspace"
    image = environments.prepare(task, workspace)
    if solved:
        mounts = (
            Mount(str(workspace), task.workdir, read_only=False),
            Mount(str(task.folder / "solution"), SOLUTION),
        )
        limits = Limits(memory_mb=task.memory_mb, cpus=task.cpus, disk_mb=task.disk_mb)
        with sandbox_factory(
            SandboxSpec(image, task.workdir, mounts, dict(task.env), limits)
        ) as box:
            argv = ["bash", f"{box.path(SOLUTION)}/solve.sh"]
            result = box.run(argv, deadline_s=task.agent_timeout_s)
        if result.exit_code != 0:
            how = "hung" if result.timed_out else f"ended with exit code {result.exit_code}"
            said = result.stderr.decode("utf-8", "replace").strip()[-500:]
            raise TaskError(f"{task.folder / 'solution' / 'solve.sh'}: {how}: {said}")
    return verify(task, workspace, sandbox_factory, image, scratch)


def _found(folder: Path) -> list[Path]:
    if (folder / "task.toml").exists():
        return [folder]
    splits = [folder / split for split in SPLITS if (folder / split).is_dir()]
    return [path for place in splits or [folder] for path in task_folders(place)]


def _problems(path: Path) -> list[Problem]:
    try:
        read_task(path)
    except TaskError as error:
        return [Problem(path.name, str(error))]
    return []
