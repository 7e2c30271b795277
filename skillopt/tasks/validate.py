"""Checks tasks for their authors, without running anything: whether they can be read, what they
need, and which are alike. :mod:`skillopt.tasks.solving` runs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import JsonValue

from skillopt.config.schema import TasksConfig
from skillopt.core.types import BaseImage, Split, Task
from skillopt.tasks.evals.reading import eval_options, read_evals
from skillopt.tasks.harbor import (
    SPLITS,
    Scored,
    TaskError,
    has_splits,
    has_tests,
    read_task,
    task_folders,
)
from skillopt.tasks.likeness import alike
from skillopt.tasks.needs import phrases
from skillopt.tasks.rows import row_files
from skillopt.tasks.sources import equal_across, files_of_evals, groups_of_equal, load_splits

WITH_JUDGE = Scored(judge=True)
"""Whether there is a judge is up to the config."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with a task. ``message`` describes it, names its place and what to do."""

    task: str
    """Its name; empty if it is about the whole set."""
    message: str
    warning: bool = False
    """Whether the task can be used all the same."""


@dataclass(frozen=True)
class Found:
    """A task folder of a set.

    Args:
        name, folder: of the task.
        split: in which it is; None in a flat folder.
        task: as it was read; None if it cannot be.
        problem: why not.
    """

    name: str
    folder: Path
    split: Split | None
    task: Task | None
    problem: Problem | None = None


@dataclass(frozen=True)
class Similar:
    """Tasks that are alike.

    Args:
        names: their names, sorted.
        equal: whether all their files are the same, byte for byte.
        likeness: from 0 to 1, of the least alike pair that makes them one group.
        splits: in which each of them is, in the same order; None in a flat folder.
    """

    names: tuple[str, ...]
    equal: bool
    likeness: float
    splits: tuple[Split | None, ...]


@dataclass(frozen=True)
class TaskSet:
    """What is found in a folder of tasks, or in that of a single one."""

    folder: Path
    found: tuple[Found, ...]
    problems: tuple[Problem, ...]
    own: BaseImage | None = None
    """The image of those without an environment."""

    @property
    def tasks(self) -> list[Task]:
        """Those that can be read."""
        return [found.task for found in self.found if found.task is not None]

    @property
    def splits(self) -> dict[Split, list[Task]]:
        """Those that can be read, by split; empty for a flat folder."""
        splits: dict[Split, list[Task]] = {}
        for found in self.found:
            if found.split is not None and found.task is not None:
                splits.setdefault(found.split, []).append(found.task)
        return splits

    @property
    def notes(self) -> list[Problem]:
        """What the authors of valid tasks should know of how they are read, besides what they
        need; each as a warning."""
        own = self.own.notes if self.own else ()
        return [
            *(Problem("", note, warning=True) for note in own),
            *self._noted(),
            *self._in_words(),
        ]

    def _in_words(self) -> list[Problem]:
        return [
            Problem(
                task.name,
                "what it expects in words counts only if the config names a judge"
                if has_tests(task)
                else "what it expects is in words: it can be run if the config names a judge",
                warning=True,
            )
            for task in self.tasks
            if task.expectations or task.expected_output
        ]

    def _noted(self) -> list[Problem]:
        return [
            Problem(task.name, note, warning=True)
            for task in self.tasks
            for note in task.notes
            if note not in set(phrases(task.needs))
        ]

    @cached_property
    def similar(self) -> list[Similar]:
        """Groups of tasks that are equal, and of those that are the same but for numbers and a few
        names."""
        equal = [tuple(sorted(t.name for t in group)) for group in groups_of_equal(self.tasks)]
        near = alike(self.tasks)
        return [
            *(Similar(names, True, 1.0, self._splits_of(names)) for names in equal),
            *(Similar(g.names, False, g.likeness, self._splits_of(g.names)) for g in near),
        ]

    def _splits_of(self, names: Sequence[str]) -> tuple[Split | None, ...]:
        places = {found.name: found.split for found in self.found}
        return tuple(places[name] for name in names)


def examine(folder: Path, own: BaseImage | None = None) -> TaskSet:
    """Read one task folder, a flat folder of them, or one with split folders.

    Every task is checked, also after a bad one.

    Args:
        folder: of the task or tasks.
        own: the image of tasks without an environment of their own.

    Raises:
        TaskError: there is no such folder, there are no tasks in it, or only some of the three
            split folders.
    """
    if not folder.is_dir():
        raise TaskError(f"{folder}: no such folder")
    folder = folder.resolve()  # So that the folder "." has a name.
    found = [_read(path, split, own) for split, path in _places(folder)]
    problems = [one.problem for one in found if one.problem is not None]
    return _checked(folder, found, [*problems, *_twice(found)], own)


def examine_source(
    source: str,
    made: Path,
    options: Mapping[str, JsonValue] | None = None,
    own: BaseImage | None = None,
) -> TaskSet:
    """Read tasks: eval files, files of prompts with answers, or folders as :func:`examine` does.

    Args:
        source: as ``tasks.source``.
        made: folder below which the tasks of files are written.
        options: ``tasks.options`` of files.
        own: the image of tasks without an environment of their own.

    Raises:
        TaskError: as :func:`examine`, or a file cannot be read.
    """
    folder = Path(source)
    if evals := files_of_evals(source):
        eval_options(options or {})
        return _from_evals(folder, evals, made, own)
    if row_files(source):
        config = TasksConfig(source=source, options=dict(options or {}), duplicates="allow")
        splits = load_splits(config, 0, made)
        tasks = [(split, task) for split in SPLITS for task in splits[split]]
        return _checked(
            folder, [Found(task.name, task.folder, s, task) for s, task in tasks], [], own
        )
    if options:
        raise TaskError(f"{source}: a folder of tasks has no options")
    if not folder.exists():
        raise TaskError(f"{source}: no such folder or file")
    return examine(folder, own)


def _checked(
    folder: Path, found: Sequence[Found], problems: Sequence[Problem], own: BaseImage | None
) -> TaskSet:
    leaks = equal_across(TaskSet(folder, tuple(found), ()).splits)
    leaking = [Problem("", f"{folder}: {leaks}")] if leaks else []
    return TaskSet(folder, tuple(found), (*problems, *leaking), own)


def validate(folder: Path) -> list[Problem]:
    """The problems of the tasks in a folder; none if all can be used. Raises as :func:`examine`."""
    return list(examine(folder).problems)


def _from_evals(folder: Path, files: Sequence[Path], made: Path, own: BaseImage | None) -> TaskSet:
    tasks, unusable = read_evals(files, made, scored=WITH_JUDGE, own=own)
    bad = [Problem(name, f"{name}: {why}") for name, why in unusable.items()]
    found = [Found(task.name, task.folder, None, task) for task in tasks]
    found += [Found(problem.task, folder, None, None, problem) for problem in bad]
    return TaskSet(folder, tuple(found), tuple(bad), own)


def _places(folder: Path) -> Iterator[tuple[Split | None, Path]]:
    if _is_task(folder):
        yield None, folder
    elif not has_splits(folder):
        yield from ((None, path) for path in task_folders(folder))
    else:
        there = [split for split in SPLITS if (folder / split).is_dir()]
        yield from ((split, path) for split in there for path in task_folders(folder / split))


def _is_task(folder: Path) -> bool:
    """Whether a folder is meant to be one task, even if a file is missing."""
    parts = sum((folder / name).is_dir() for name in ("environment", "tests", "solution"))
    named = any((folder / name).is_file() for name in ("task.toml", "instruction.md"))
    return named or parts > 1


def _read(path: Path, split: Split | None, own: BaseImage | None) -> Found:
    try:
        return Found(path.name, path, split, read_task(path, scored=WITH_JUDGE, own=own))
    except TaskError as error:
        return Found(path.name, path, split, None, Problem(path.name, str(error)))


def _twice(found: Sequence[Found]) -> Iterator[Problem]:
    seen: dict[str, Path] = {}
    for one in found:
        if one.name in seen:
            said = f"{one.folder}: same name as {seen[one.name]}; rename one of them"
            yield Problem(one.name, said)
        seen.setdefault(one.name, one.folder)
