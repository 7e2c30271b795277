"""The tasks of a run by split: from one of the project's sources, a user's own, or a folder.

A new source is a module with a function like :data:`TaskSource` and a line in
:mod:`skillopt.config.kinds`.
"""

from __future__ import annotations

import difflib
import itertools
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from skillopt.config.kinds import TASK_SOURCES
from skillopt.config.schema import TasksConfig
from skillopt.core.files import digest_of
from skillopt.core.import_path import PATH, call, is_ours, load, own_code
from skillopt.core.part_identity import identity_of
from skillopt.core.types import BaseImage, Split, Task
from skillopt.tasks.columns import is_row
from skillopt.tasks.drafts import DRAFT, MARKER
from skillopt.tasks.evals.reading import eval_files, eval_tasks, is_eval_file
from skillopt.tasks.folders import with_folders
from skillopt.tasks.harbor import SPLITS, TESTS_ONLY, Scored, TaskError, read_splits, read_tasks
from skillopt.tasks.own_image import own_image
from skillopt.tasks.records import read_rows
from skillopt.tasks.rows import row_files, row_tasks

TaskSource = Callable[..., Mapping[Split, Sequence[Task]]]
"""A source of tasks: called with ``config`` (:class:`TasksConfig`), ``folder`` (where it may keep
generated files) and ``tasks.options`` as keyword arguments; returns the tasks by split."""


SHOWN = 5
"""The most groups of equal tasks that a message names."""


def load_splits(
    config: TasksConfig,
    seed: int,
    made: Path,
    given: Mapping[Split, Sequence[Task]] | None = None,
    *,
    scored: Scored = TESTS_ONLY,
) -> dict[Split, tuple[Task, ...]]:
    """The tasks that a config names, without those that it excludes.

    Args:
        config: source and, for a flat folder, the proportions.
        seed: decides the split of a flat folder.
        made: folder below which generated task sets are written, once each.
        given: tasks as objects instead of the source.
        scored: what besides their tests can score them.

    Raises:
        TaskError: there is no such folder, a task in it cannot be used, an excluded task does
            not exist, or two splits have a task with the same content.
        PluginError, OwnCodeError: from a user's own source.
    """
    own = own_image(config.environment, config.source, made) if config.environment else None
    if given is not None:
        splits = _checked(given, "Plugins(tasks=…)")
    else:
        splits = _named(config, seed, made, scored, own)
    splits = _without(splits, config)
    if own is not None:
        splits = {split: tuple(_on(task, own) for task in tasks) for split, tasks in splits.items()}
    leaks = equal_across(splits)
    if leaks and config.duplicates == "refuse":
        raise TaskError(f"{config.source}: {leaks}")
    return splits


def equal_across(splits: Mapping[Split, Sequence[Task]]) -> str:
    """What to say of tasks with the same content in different splits, by which the score of a skill
    would count what it was trained on; empty if there are none."""
    placed = {task.name: split for split in SPLITS for task in splits.get(split, ())}
    found = []
    for alike in groups_of_equal(task for split in SPLITS for task in splits.get(split, ())):
        if len({placed[task.name] for task in alike}) > 1:
            found.append(", ".join(f"{task.name} of {placed[task.name]}" for task in alike))
    if not found:
        return ""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (
        f"tasks with the same content are in different splits: {'; '.join(found[:SHOWN])}{more}; "
        "leave all but one out (tasks.exclude), or set tasks.duplicates: allow"
    )


def groups_of_equal(tasks: Iterable[Task]) -> list[list[Task]]:
    """Groups of more than one task with the same content; names do not count."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.digest, []).append(task)
    return [group for group in groups.values() if len(group) > 1]


def _named(
    config: TasksConfig, seed: int, made: Path, scored: Scored, own: BaseImage | None
) -> dict[Split, tuple[Task, ...]]:
    path = TASK_SOURCES.get(config.source)
    if path is None and re.match(PATH, config.source) and not Path(config.source).exists():
        path = config.source
    if path is None:
        _refuse_drafts(Path(config.source))
        if files := files_of_evals(config.source):
            tasks = eval_tasks(config, files, made, scored=scored, own=own)
            return split_tasks(tasks, config.split, seed)
        if rows := row_files(config.source):
            tasks, splits = row_tasks(config, rows, made, own)
            return (
                with_selection(splits, config, seed)
                if splits
                else split_tasks(tasks, config.split, seed)
            )
        folder = Path(config.source)
        if not folder.is_dir():
            raise TaskError(_unknown(config.source))
        found = read_splits(folder, scored=scored, own=own)
        if found is None:
            return split_tasks(read_tasks(folder, scored=scored, own=own), config.split, seed)
        return {split: tuple(found[split]) for split in SPLITS}
    source: TaskSource = load(path, "tasks.source")
    found_splits: Mapping[Split, Sequence[Task]] = call(
        source, path, "tasks.source", config=config, folder=made, **config.options
    )
    return _checked(found_splits, f"tasks.source: {config.source}")


def _refuse_drafts(source: Path) -> None:
    if source.name == DRAFT or any((source / name).is_file() for name in (MARKER, DRAFT)):
        from skillopt.tasks.drafts.drafts import refuse_unreviewed  # It reads sessions of agents.

        refuse_unreviewed(source)


def files_of_evals(source: str) -> list[Path]:
    """The eval files that ``tasks.source`` names; none if it names JSON files of rows instead."""
    files = eval_files(source)
    if not files or files[0].suffix != ".json" or is_eval_file(files[0]):
        return files
    rows = [row for _, row in itertools.islice(read_rows(files[0]), 1)]
    return [] if rows and is_row(rows[0]) else files


def _on(task: Task, own: BaseImage) -> Task:
    """A task of a source, which starts from an image if it has no environment of its own."""
    if task.base is not None or task.docker_image or (task.folder / "environment").exists():
        return task
    known = bool(own.workdir) or task.question
    return replace(
        task,
        docker_image=own.name,
        base=own,
        workdir=own.workdir or task.workdir,
        workdir_known=known or task.workspace is not None,
        digest=digest_of([task.digest, own.name]),
    )


def _checked(found: object, where: str) -> dict[Split, tuple[Task, ...]]:
    """Check tasks that were not read from folders."""
    if not isinstance(found, Mapping) or not set(found) <= set(SPLITS):
        raise TaskError(f"{where}: must give a mapping of {', '.join(SPLITS)} to tasks")
    with own_code(where):
        splits = {split: tuple(found.get(split, ())) for split in SPLITS}
    names: set[str] = set()
    for task in (task for tasks in splits.values() for task in tasks):
        if not isinstance(task, Task):
            raise TaskError(f"{where}: {task!r} is not a skillopt.Task")
        if not task.digest or task.name in names:
            what = "is there twice" if task.name in names else "has no digest"
            raise TaskError(f"{where}: task {task.name!r} {what}")
        names.add(task.name)
    return {split: tuple(_with_parts(task) for task in tasks) for split, tasks in splits.items()}


def _with_parts(task: Task) -> Task:
    """A task whose digest covers its own functions and folders too: they may be corrected, and the
    digest that a source gives may be of the data alone."""
    parts = {
        name: identity_of(part, f"task {task.name}: {name}", versioned=True)
        for name in ("workspace", "verify", "companion")
        if (part := getattr(task, name)) is not None and not is_ours(part)
    }
    parts |= {
        f"finish {program.name}": digest_of(
            [
                identity_of(
                    program.files, f"task {task.name}: finish {program.name}", versioned=True
                ),
                program.image,
                program.timeout_s,
            ]
        )
        for program in task.finish
        if not is_ours(program.files)
    }
    task = replace(task, digest=digest_of([task.digest, parts])) if parts else task
    return with_folders(task)


def _unknown(source: str) -> str:
    close = difflib.get_close_matches(source, [*TASK_SOURCES], 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return (
        f"tasks.source: {source}: no such folder, nor one of {', '.join(TASK_SOURCES)}{hint}, nor "
        "an eval file or one of prompts with answers, nor an import path like "
        "'my_package.module:name'"
    )


def _without(
    splits: dict[Split, tuple[Task, ...]], config: TasksConfig
) -> dict[Split, tuple[Task, ...]]:
    names = {task.name for tasks in splits.values() for task in tasks}
    for name in config.exclude:
        if name not in names:
            close = difflib.get_close_matches(name, sorted(names), 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TaskError(f"tasks.exclude: {config.source} has no task {name!r}{hint}")
    left_out = set(config.exclude)
    return {
        split: tuple(task for task in tasks if task.name not in left_out)
        for split, tasks in splits.items()
    }


LEAST_HELD_OUT = 6
"""The fewest tasks, run once each, on which the exact test can confirm a gain."""


def hold_out(
    splits: Mapping[Split, tuple[Task, ...]], share: float, seed: int
) -> dict[Split, tuple[Task, ...]]:
    """Splits in which some selection tasks are the test split, if there is no other.

    Args:
        splits: the run's.
        share: of the selection tasks to keep for the end.
        seed: decides which; those with the same content stay together.

    Returns:
        The same splits if they have test tasks, or if this share is of less than
        :data:`LEAST_HELD_OUT` different tasks.
    """
    found = dict(splits)
    contents = sorted({task.digest for task in splits["val"]})
    count = int(len(contents) * share + 1e-9)
    if splits["test"] or count < LEAST_HELD_OUT:
        return found
    kept = set(random.Random(f"held out/{seed}").sample(contents, count))
    found["val"] = tuple(task for task in splits["val"] if task.digest not in kept)
    found["test"] = tuple(task for task in splits["val"] if task.digest in kept)
    return found


def with_selection(
    splits: Mapping[Split, Sequence[Task]], config: TasksConfig, seed: int
) -> dict[Split, tuple[Task, ...]]:
    """Splits in which some of the training tasks are selection tasks, by the proportions of the
    config, if there are no others."""
    found = {split: tuple(splits[split]) for split in SPLITS}
    if not found["val"]:
        train, val, _ = config.split
        parts = split_tasks(found["train"], (train, 0, val), seed)
        found["train"], found["val"] = parts["train"], parts["test"]
    return found


def cut(tasks: int, proportions: tuple[int, int, int]) -> tuple[int, int, int]:
    """How many of some tasks are in train, val and test: the first two are rounded down, and the
    last that has a proportion gets the rest."""
    whole = sum(proportions)
    train = tasks * proportions[0] // whole
    val = tasks * proportions[1] // whole if proportions[2] else tasks - train
    return train, val, tasks - train - val


def split_tasks(
    tasks: Sequence[Task], proportions: tuple[int, int, int], seed: int
) -> dict[Split, tuple[Task, ...]]:
    """Shuffle by seed and :func:`cut`."""
    shuffled = sorted(tasks, key=lambda task: task.name)
    random.Random(f"split/{seed}").shuffle(shuffled)
    train, val, _ = cut(len(shuffled), proportions)
    return {
        "train": tuple(shuffled[:train]),
        "val": tuple(shuffled[train : train + val]),
        "test": tuple(shuffled[train + val :]),
    }
