"""Reads task folders in Harbor's format into :class:`skillopt.core.types.Task`.

What the format may ask for is in :mod:`skillopt.tasks.features`. Runs nothing and writes nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from skillopt.core.files import digest_of
from skillopt.core.types import BaseImage, Split, Task, TaskNeeds, Triggers
from skillopt.tasks.compose import Compose, ComposeError, read_compose
from skillopt.tasks.dockerfile import final_workdir
from skillopt.tasks.features import (
    artifacts_outside,
    image_name,
    notes_on,
    refuse_unsupported,
    root_user,
)
from skillopt.tasks.needs import Needs, needs_of, phrases, places_of
from skillopt.tasks.questions import is_question, question_judge
from skillopt.tasks.tables import Table, check_text, read_text, read_toml
from skillopt.tasks.tables import TaskError as TaskError

SPLITS: tuple[Split, ...] = get_args(Split)
DEFAULT_WORKDIR = "/app"
"""Used if an image has no working directory of its own."""

_SHOWN = 3
_TRIGGERS = frozenset({"opened", "not_opened", "no_others_opened"})
_OWN_SKILLS = re.compile(rb"\.(claude|agents|codex|opencode)/skills?\b")


@dataclass(frozen=True)
class Scored:
    """What besides the tests of tasks can score them.

    Args:
        verifier: whether a verifier of the user's own does. Tasks then need no tests, and without
            an environment their workspaces are empty at first.
        judge: whether a model judges expectations in words. Tasks that have some need no tests
            either.
    """

    verifier: bool = False
    judge: bool = False

    def without_tests(self, metadata: Table) -> bool:
        """Whether a task needs no tests, by ``metadata`` of its ``task.toml``: also if it only asks
        which skills are opened."""
        if {"expectations", "expected_output"} & set(metadata.values):
            return self.verifier or self.judge
        return self.verifier or bool(_TRIGGERS & set(metadata.values))


TESTS_ONLY = Scored()
"""Nothing but the tests of tasks."""


def has_tests(task: Task) -> bool:
    """Whether a task has tests of its own in its folder."""
    return task.question or (task.folder / "tests" / "test.sh").is_file()


def only_triggers(task: Task) -> bool:
    """Whether a task asks nothing but which skills are opened: it has no tests and nothing in words
    by which its result could be judged."""
    if task.triggers is None or task.verify is not None or has_tests(task):
        return False
    return not (task.expectations or task.expected_output)


def read_task(folder: Path, *, scored: Scored = TESTS_ONLY, own: BaseImage | None = None) -> Task:
    """Read and check one task folder.

    Args:
        folder: of the task.
        scored: what besides its tests can score it.
        own: the image of a task without an environment, which can then have ``tests/test.sh``.

    Raises:
        TaskError: a file is missing, a key has a wrong type, a link leaves the folder, or the
            task uses a feature that is not supported.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise TaskError(f"{folder}: no such folder")
    digest = folder_digest(folder)
    table = read_toml(folder / "task.toml")
    refuse_unsupported(folder, table)
    environment, metadata = table.table("environment"), table.table("metadata")
    agent, verifier = table.table("agent"), table.table("verifier")
    compose = _compose(folder)
    base = _base(folder, environment, compose, scored.without_tests(metadata), own)
    verifier_image = image_name(verifier.table("environment")) or None
    own_image = has_own_image(folder, verifier_image)
    places = () if base.question else places_of(folder, base.workdir or DEFAULT_WORKDIR)
    _check_artifacts(table, base.workdir, own_image)
    needs = replace(
        _needs(folder, root_user(agent, compose.user), root_user(verifier)),
        places=() if own_image else places,
        reach=_reach(places, base.workdir, own_image),
    )
    return Task(
        name=folder.name,
        folder=folder,
        instruction=_instruction(folder / "instruction.md"),
        family=metadata.get("category", str, ""),
        workdir=base.workdir or DEFAULT_WORKDIR,
        workdir_known=bool(base.workdir) or base.question or base.empty,
        root=bool(needs.root),
        verifier_root=bool(needs.verifier_root),
        # In a working directory that only the image knows, any path may be: Environments.settled.
        handover=bool(places and base.workdir) and not own_image,
        agent_timeout_s=agent.positive("timeout_sec", 600.0),
        verifier_timeout_s=verifier.positive("timeout_sec", 600.0),
        memory_mb=environment.megabytes("memory_mb", "memory", 2048),
        cpus=environment.positive("cpus", 1.0),
        disk_mb=environment.megabytes("storage_mb", "storage", 10240),
        build_timeout_s=environment.positive("build_timeout_sec", 0.0)
        if "build_timeout_sec" in environment.values
        else None,
        docker_image=base.image,
        base=base.own,
        verifier_image=verifier_image,
        env=tuple(sorted({**dict(compose.env), **dict(environment.env())}.items())),
        verifier_env=verifier.env(),
        solution_env=table.table("solution").env(),
        untrusted_programs=metadata.get("untrusted_programs", bool, False),
        digest=digest_of([digest, base.own.name]) if base.own else digest,
        follow_ups=_texts(metadata, "follow_ups", "one for each further turn"),
        answer_file=_answer_file(metadata),
        expectations=_texts(metadata, "expectations", "one for each statement"),
        expected_output=metadata.get("expected_output", str, ""),
        triggers=_triggers(metadata),
        question=base.question,
        verify=question_judge(folder, metadata) if base.question else None,
        workspace=_empty if base.empty else None,
        needs=needs,
        notes=(
            *phrases(replace(needs, hosts=(), solution_hosts=(), services=())),
            *compose.notes,
            *notes_on(table),
        ),
    )


@dataclass(frozen=True)
class _Base:
    """What a task's first workspace comes from.

    Args:
        image: the image's name; None if it is built or there is none.
        workdir: the working directory; empty if only the image knows it.
        question: whether the task is a question alone.
        empty: whether the workspace is empty at first.
        own: the image of ``tasks.environment``, if it is this task's.
    """

    image: str | None
    workdir: str
    question: bool
    empty: bool
    own: BaseImage | None = None


def _base(
    folder: Path, environment: Table, compose: Compose, judged: bool, own: BaseImage | None
) -> _Base:
    """What a task starts from; raises TaskError if a file that it needs is missing."""
    image = image_name(environment) or compose.image or None
    dockerfile = folder / "environment" / "Dockerfile"
    bare = image is None and not dockerfile.parent.exists()
    question = bare and is_question(folder)
    empty = bare and judged and not question
    given = question or empty or (bare and own is not None)
    if image is None and not dockerfile.is_file() and not given:
        raise TaskError(
            f"{dockerfile}: missing; add it, or set environment.docker_image, or "
            "tasks.environment in the config for all tasks"
        )
    if not question and not judged and not (folder / "tests" / "test.sh").is_file():
        raise TaskError(f"{folder / 'tests' / 'test.sh'}: missing; it writes the reward")
    workdir = _workdir(folder, environment, compose, dockerfile if image is None else None)
    if own is not None and bare:
        return _Base(own.name, workdir or own.workdir, question, False, own)
    return _Base(image, workdir, question, empty)


def _needs(folder: Path, user: str | None, verifier_user: str | None) -> TaskNeeds:
    """What the scripts of a task need, the places at which its tests look left out.

    Args:
        folder: of the task.
        user, verifier_user: why ``task.toml`` makes the agent and the verifier root, empty if it
            makes them another user; None if it does not say.
    """
    solution, tests = needs_of(folder / "solution"), needs_of(folder / "tests")
    return TaskNeeds(
        root=_root(user, solution),
        verifier_root=_root(verifier_user, tests),
        hosts=tests.hosts,
        solution_hosts=solution.hosts,
        services=tuple(sorted({*solution.services, *tests.services})),
        own_skills=own_skills(folder),
    )


def _check_artifacts(table: Table, workdir: str, own_image: bool) -> None:
    """Refuse results outside of the working directory, which tests in another image do not get."""
    outside = list(artifacts_outside(table, workdir or DEFAULT_WORKDIR))
    if outside and own_image:
        raise table.error(
            "artifacts",
            f"{outside[0]!r} is outside of the working directory, which is all that tests with an "
            "image of their own get",
        )


def _empty(workspace: Path) -> None:
    """Write the first workspace of a task that has no environment."""


def read_tasks(
    folder: Path, *, scored: Scored = TESTS_ONLY, own: BaseImage | None = None
) -> list[Task]:
    """Every task in a flat folder of task folders, or in its ``train``, ``val`` and ``test``.

    Args:
        folder: of the set.
        scored, own: as for :func:`read_task`.

    Returns:
        The tasks sorted by name.

    Raises:
        TaskError: as :func:`read_task`; there is no task; or two tasks have the same name.
    """
    splits = read_splits(folder, scored=scored, own=own)
    if splits is None:
        return _read_flat(folder, scored, own)
    return sorted((task for tasks in splits.values() for task in tasks), key=lambda t: t.name)


def read_splits(
    folder: Path, *, scored: Scored = TESTS_ONLY, own: BaseImage | None = None
) -> dict[Split, list[Task]] | None:
    """The tasks by split if the folder has split folders, None if it is flat.

    Args:
        folder: of the set.
        scored, own: as for :func:`read_task`.

    Raises:
        TaskError: as :func:`read_tasks`; or train or val does not exist.
    """
    if not has_splits(folder):
        return None
    tasks: dict[Split, list[Task]] = {
        split: _read_flat(folder / split, scored, own) if (folder / split).is_dir() else []
        for split in SPLITS
    }
    seen: dict[str, Path] = {}
    for task in (task for split in SPLITS for task in tasks[split]):
        if task.name in seen:
            raise TaskError(f"{task.folder}: same name as {seen[task.name]}; rename one of them")
        seen[task.name] = task.folder
    return tasks


def has_splits(folder: Path) -> bool:
    """Whether a set has split folders, and is not flat.

    Raises:
        TaskError: only some of the split folders exist, and not just the test split is missing.
    """
    there = [split for split in SPLITS if (folder / split).is_dir()]
    # Also if none is there, of which then all are tasks.
    if all((folder / split / "task.toml").exists() for split in there):
        return False
    lacking = [split for split in SPLITS if split not in there]
    if lacking and lacking != ["test"]:
        missing = ", ".join(lacking)
        raise TaskError(f"{folder}: has {', '.join(there)} but not {missing}; add what is missing")
    return True


def task_folders(folder: Path) -> list[Path]:
    """The task folders directly in ``folder``, sorted; files and dot folders are skipped.

    Raises:
        TaskError: there is no such folder or no task folder in it.
    """
    if not folder.is_dir():
        raise TaskError(f"{folder}: no such folder")
    found = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    if not found:
        raise TaskError(f"{folder}: no task folders in it")
    return sorted(found)


def folder_digest(folder: Path) -> str:
    """SHA-256 in hexadecimal over the names and bytes of every file below ``folder``.

    Raises:
        TaskError: a link leaves the folder, or something is neither a file nor a folder.
    """
    total = hashlib.sha256()
    for path in _files(folder):
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
        # Each part with its length, so that no two folders give the same sequence of bytes.
        for part in (os.fsencode(path.relative_to(folder)), content):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def _read_flat(folder: Path, scored: Scored, own: BaseImage | None) -> list[Task]:
    return [read_task(path, scored=scored, own=own) for path in task_folders(folder)]


def _compose(folder: Path) -> Compose:
    file = _compose_file(folder)
    try:
        return read_compose(file) if file.is_file() else Compose()
    except ComposeError as error:
        raise TaskError(str(error)) from error


def _compose_file(folder: Path) -> Path:
    return folder / "environment" / "docker-compose.yaml"


def _root(said: str | None, needs: Needs) -> str:
    """Why a container's user is root; empty if it is not."""
    return needs.root if said is None else said


def _reach(places: Sequence[str], workdir: str, own_image: bool) -> str:
    """What tests get that look at places outside of the working directory; empty without such."""
    if not places:
        return ""
    shown = ", ".join(places[:_SHOWN])
    if own_image:
        return f"its tests get the working directory alone in their own image, but look at {shown}"
    what = f"the verifier gets the agent's whole container: its tests look at {shown}"
    return what if workdir else f"{what} (unless that is in the image's working directory)"


def has_own_image(folder: Path, image: str | None) -> bool:
    """Whether a task's tests run in an image of their own, which the agent's container is not.

    Args:
        folder: of the task.
        image: that ``task.toml`` names for the verifier.
    """
    return image is not None or (folder / "tests" / "Dockerfile").is_file()


def own_skills(folder: Path) -> bool:
    """Whether the environment of a task puts skills where agents look for them."""
    files = sorted((folder / "environment").glob("**/Dockerfile"))
    texts = [file.read_bytes() for file in files if file.is_file()]
    names = [os.fsencode(path) for path in (folder / "environment").glob("**/skills")]
    return any(_OWN_SKILLS.search(text) for text in (*texts, *names))


def _workdir(folder: Path, environment: Table, compose: Compose, dockerfile: Path | None) -> str:
    """The working directory, as far as the files tell; empty if the image has to be asked."""
    place, said = environment.get("workdir", str, ""), environment.place("workdir")
    if not place and compose.workdir:
        place, said = compose.workdir, f"{_compose_file(folder)}: services.main.working_dir"
    if place:
        if not re.fullmatch(r"(/[\w.@+-]+)+/?", place) or {".", ".."} & set(place.split("/")):
            raise TaskError(f"{said}: {place!r} is not an absolute path below /")
    elif dockerfile is not None and dockerfile.is_file():
        place = final_workdir(read_text(dockerfile)) or ""
    return place.rstrip("/")


def _texts(metadata: Table, key: str, each: str) -> tuple[str, ...]:
    found = metadata.get(key, list, [])
    if not all(isinstance(text, str) and text.strip() for text in found):
        raise metadata.error(key, f"must be a list of strings, {each}")
    return tuple(text.strip() for text in found)


def _answer_file(metadata: Table) -> str:
    """The relative path of the file that gets the answer; empty if there is none."""
    name = metadata.get("answer_file", str, "")
    if name and not re.fullmatch(r"[\w@+-][\w.@+-]*", name):
        raise metadata.error("answer_file", f"{name!r} must be the name of a file, without folders")
    return name


def _triggers(metadata: Table) -> Triggers | None:
    if not _TRIGGERS & set(metadata.values):
        return None
    return Triggers(
        _texts(metadata, "opened", "the names of skills"),
        _texts(metadata, "not_opened", "the names of skills"),
        metadata.get("no_others_opened", bool, False),
    )


def _instruction(file: Path) -> str:
    text = check_text(read_text(file), str(file)).strip()
    if not text:
        raise TaskError(f"{file}: empty; write what the agent is to do")
    return text


def _files(folder: Path) -> Iterator[Path]:
    """Files and links of a task in a fixed order; refuses devices and links that leave the task."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            if not path.resolve().is_relative_to(folder):
                raise TaskError(f"{path}: a link that leads out of the task; copy the file instead")
            yield path
        elif path.is_file():
            yield path
        elif not stat.S_ISDIR(path.lstat().st_mode):
            raise TaskError(f"{path}: neither a file nor a folder; remove it")
