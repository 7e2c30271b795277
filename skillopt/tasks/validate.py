"""Checks tasks for their authors: whether they can be read and solved, whether doing nothing fails,
and whether the reward can be taken without work."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandboxes.base import Mount, SandboxSpec
from sandboxes.owner import scratch_dir
from sandboxes.trees import remove_tree
from skillopt.core.types import Reward, Task
from skillopt.tasks.environment import Environments, handed_image
from skillopt.tasks.harbor import (
    SPLITS,
    TaskError,
    read_splits,
    read_task,
    read_tasks,
    task_folders,
)
from skillopt.tasks.judging import VerifierSite, run_tests
from skillopt.tasks.links import clean_workspace
from skillopt.tasks.needs import needs_of
from skillopt.tasks.sources import equal_across, equal_within
from skillopt.tasks.traps import TRAPS, Trap
from skillopt.tasks.verifier import VerifierError, task_limits
from skillopt.tasks.warm import Start

SOLUTION = "/solution"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a task. ``message`` describes it, names its place and what to do."""

    task: str
    message: str
    warning: bool = False
    """Whether the task can be used all the same."""


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


def notes(folder: Path) -> list[Problem]:
    """What authors and users of valid tasks should know: how they are read, and what their tests
    need; each as a warning."""
    found = []
    for path in _found(folder):
        task = read_task(path)
        found += [Problem(task.name, note, warning=True) for note in task.notes]
        for name, what in (("tests", "tests"), ("solution", "solution")):
            if hosts := needs_of(path / name).hosts:
                reached = f"its {what} may want {', '.join(hosts)}"
                found.append(Problem(task.name, reached, warning=True))
    return found


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


def solve(task: Task, environments: Environments, site: VerifierSite) -> list[Problem]:
    """Run the task's solution, which must get the full reward; an empty run, which must not; and
    one that only leaves traps (see :mod:`skillopt.tasks.traps`), which should not.

    Args:
        task: with ``solution/solve.sh``; it runs in the working directory.
        environments: provides its image and workspaces.
        site: makes the sandboxes of solution and verifier.

    Raises:
        SandboxError: a sandbox failed, which says nothing about the task.
    """
    if task.question:
        return []  # Its answer is its solution.
    task = environments.settled(task)
    if not (task.folder / "solution" / "solve.sh").is_file():
        return [Problem(task.name, f"{task.folder / 'solution' / 'solve.sh'}: missing")]
    try:
        solved, wanted = _attempt(task, environments, site, _solution)
        empty, _ = _attempt(task, environments, site)
    except (VerifierError, TaskError) as error:
        return [Problem(task.name, str(error))]
    problems = []
    if not solved.hard:
        problem = f"its solution gets {solved.soft:g}, not 1: {solved.feedback[:500]}{wanted}"
        problems.append(Problem(task.name, problem))
    if empty.hard:
        problems.append(Problem(task.name, "an empty run gets the full reward"))
    else:
        problems += _taken(task, environments, site)
    return problems


def _taken(task: Task, environments: Environments, site: VerifierSite) -> list[Problem]:
    """A warning for each kind of trap that takes the reward."""
    if not _takes(task, environments, site, TRAPS):
        return []
    taken = [trap.name for trap in TRAPS if _takes(task, environments, site, (trap,))]
    what = "; ".join(taken) or "several traps together"
    return [
        Problem(
            task.name,
            f"a run that only leaves traps gets the full reward: {what}. See 'What a verifier must "
            "not trust' in docs/add-a-benchmark.md",
            warning=True,
        )
    ]


def _takes(
    task: Task, environments: Environments, site: VerifierSite, traps: Sequence[Trap]
) -> bool:
    def plant(task: Task, image: str, workspace: Path, site: VerifierSite, handed: str) -> None:
        for trap in traps:
            trap.plant(task, workspace)

    try:
        return bool(_attempt(task, environments, site, plant)[0].hard)
    except VerifierError:
        return False  # It broke the tests, which is scored 0.


_Work = Callable[[Task, str, Path, VerifierSite, str], None]
"""What an attempt does, from the task, its image, the workspace, the site, and the name under which
its container is to be kept for the verifier, if it is."""


def _attempt(
    task: Task, environments: Environments, site: VerifierSite, work: _Work | None = None
) -> tuple[Reward, str]:
    """The reward of a work, and what its tests wanted and did not get, for a message.

    Raises:
        VerifierError: the tests gave none.
    """
    with tempfile.TemporaryDirectory(dir=scratch_dir()) as name:
        workspace = Path(name) / "workspace"
        image = environments.prepare(task, workspace)
        handed = ""
        try:
            if work is _solution and task.handover:
                handed = handed_image(task.name)
            if work is not None:
                work(task, image, workspace, site, handed)
            clean_workspace(workspace, task.workdir, programs=True)
            verifies = environments.verifier_image(task, image)
            found = run_tests(task, workspace, site, Start(handed or verifies), Path(name))
        finally:
            if handed:
                environments.discard(handed)
            remove_tree(workspace)
    wanted = found.wanted(frozenset())
    if found.reward is None:
        raise VerifierError(f"{found.problem}{wanted}")
    return found.reward, wanted


def _solution(task: Task, image: str, workspace: Path, site: VerifierSite, handed: str) -> None:
    """Run the task's solution.

    Raises:
        TaskError: it hung or failed.
    """
    mounts = (
        Mount(str(workspace), task.workdir, read_only=False),
        Mount(str(task.folder / "solution"), SOLUTION),
    )
    limits = task_limits(task)
    env = dict(task.env) | dict(task.solution_env)
    spec = SandboxSpec(
        image,
        task.workdir,
        mounts,
        env,
        limits,
        single_command=True,
        root=task.root,
        keep_as=handed,
    )
    with site.sandbox(spec) as box:
        argv = ["bash", f"{box.path(SOLUTION)}/solve.sh"]
        result = box.run(argv, deadline_s=task.agent_timeout_s)
    if result.exit_code != 0:
        how = "hung" if result.timed_out else f"ended with exit code {result.exit_code}"
        said = result.stderr.decode("utf-8", "replace").strip()[-500:]
        raise TaskError(f"{task.folder / 'solution' / 'solve.sh'}: {how}: {said}")


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
