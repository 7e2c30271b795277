"""Reads task folders in Harbor's format into :class:`skillopt.core.types.Task`.

Keys that Harbor adds later are ignored, but what would change a task's meaning and is not supported
is refused. Runs nothing and writes nothing.
"""

from __future__ import annotations

import hashlib
import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from skillopt.core.errors import SkillOptError
from skillopt.core.types import Split, Task
from skillopt.tasks.dockerfile import final_workdir
from skillopt.tasks.questions import is_question

T = TypeVar("T")

SPLITS: tuple[Split, ...] = get_args(Split)
DEFAULT_WORKDIR = "/app"
"""Used if an image's own working directory cannot be known without pulling it."""

_UNITS = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}


class TaskError(SkillOptError):
    """A task cannot be used. The message names the file, the key and what to do."""


def read_task(folder: Path, *, judged: bool = False) -> Task:
    """Read and check one task folder.

    Args:
        folder: of the task.
        judged: whether a verifier of the user's own judges its result. It then needs no tests,
            and without an environment its workspace is empty at first.

    Raises:
        TaskError: a file is missing, a key has a wrong type, a link leaves the folder, or the
            task uses a feature that is not supported.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        raise TaskError(f"{folder}: no such folder")
    digest = folder_digest(folder)
    table = _Table(folder / "task.toml", "", _toml(folder / "task.toml"))
    _refuse_unsupported(folder, table)
    environment = table.table("environment")
    image = environment.get("docker_image", str, "") or None
    dockerfile = folder / "environment" / "Dockerfile"
    question = image is None and not dockerfile.parent.exists() and is_question(folder)
    empty = judged and image is None and not dockerfile.parent.exists() and not question
    if image is None and not dockerfile.is_file() and not question and not empty:
        raise TaskError(f"{dockerfile}: missing; add it, or set environment.docker_image")
    if not question and not judged and not (folder / "tests" / "test.sh").is_file():
        raise TaskError(f"{folder / 'tests' / 'test.sh'}: missing; it writes the reward")
    workdir = environment.get("workdir", str, "")
    if not workdir and dockerfile.is_file() and image is None:
        workdir = final_workdir(_text(dockerfile)) or ""
    return Task(
        name=folder.name,
        folder=folder,
        instruction=_instruction(folder / "instruction.md"),
        family=table.table("metadata").get("category", str, ""),
        workdir=_absolute(workdir or DEFAULT_WORKDIR, environment),
        agent_timeout_s=table.table("agent").positive("timeout_sec", 600.0),
        verifier_timeout_s=table.table("verifier").positive("timeout_sec", 600.0),
        memory_mb=environment.megabytes("memory_mb", "memory", 2048),
        cpus=environment.positive("cpus", 1.0),
        disk_mb=environment.megabytes("storage_mb", "storage", 10240),
        docker_image=image,
        env=_env(environment),
        verifier_env=_env(table.table("verifier")),
        untrusted_programs=table.table("metadata").get("untrusted_programs", bool, False),
        digest=digest,
        follow_ups=_follow_ups(table.table("metadata")),
        question=question,
        workspace=_empty if empty else None,
    )


def _empty(workspace: Path) -> None:
    """Write the first workspace of a task that has no environment."""


def read_tasks(folder: Path, *, judged: bool = False) -> list[Task]:
    """Every task in a flat folder of task folders, or in its ``train``, ``val`` and ``test``.

    Args:
        folder: of the set.
        judged: as for :func:`read_task`.

    Returns:
        The tasks sorted by name.

    Raises:
        TaskError: as :func:`read_task`; there is no task; or two tasks have the same name.
    """
    splits = read_splits(folder, judged=judged)
    if splits is None:
        return _read_flat(folder, judged)
    return sorted((task for tasks in splits.values() for task in tasks), key=lambda t: t.name)


def read_splits(folder: Path, *, judged: bool = False) -> dict[Split, list[Task]] | None:
    """The tasks by split if the folder has split folders, None if it is flat.

    Args:
        folder: of the set.
        judged: as for :func:`read_task`.

    Raises:
        TaskError: as :func:`read_tasks`; or only some of the three split folders exist.
    """
    there = [split for split in SPLITS if (folder / split).is_dir()]
    if not there or all((folder / split / "task.toml").exists() for split in there):
        return None
    if len(there) < len(SPLITS):
        missing = ", ".join(split for split in SPLITS if split not in there)
        raise TaskError(f"{folder}: has {', '.join(there)} but not {missing}; add what is missing")
    tasks: dict[Split, list[Task]] = {split: _read_flat(folder / split, judged) for split in SPLITS}
    seen: dict[str, Path] = {}
    for task in (task for split in SPLITS for task in tasks[split]):
        if task.name in seen:
            raise TaskError(f"{task.folder}: same name as {seen[task.name]}; rename one of them")
        seen[task.name] = task.folder
    return tasks


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
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        # Each part with its length, so that no two folders give the same sequence of bytes.
        for part in (path.relative_to(folder).as_posix().encode(), content):
            total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def _read_flat(folder: Path, judged: bool) -> list[Task]:
    return [read_task(path, judged=judged) for path in task_folders(folder)]


@dataclass(frozen=True)
class _Table:
    """A table of task.toml that knows its name, for error messages."""

    file: Path
    name: str
    values: dict[str, Any]

    def error(self, key: str, problem: str) -> TaskError:
        return TaskError(f"{self.file}: {self.name}{key}: {problem}")

    def get(self, key: str, kind: type[T], default: T) -> T:
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise self.error(key, f"expected {kind.__name__}, got {value!r}")
        return value

    def table(self, key: str) -> _Table:
        return _Table(self.file, f"{self.name}{key}.", self.get(key, dict, {}))

    def positive(self, key: str, default: float) -> float:
        value = self.values.get(key, default)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 < value < float("inf"):
            raise self.error(key, f"expected a number above 0, got {value!r}")
        return float(value)

    def megabytes(self, key: str, old_key: str, default: int) -> int:
        """``memory_mb = 2048`` or the older ``memory = "2G"``."""
        if key in self.values or old_key not in self.values:
            return int(self.positive(key, default))
        text = self.get(old_key, str, "")
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT])i?B?", text.strip(), re.IGNORECASE)
        if not match or float(match[1]) == 0:
            raise self.error(old_key, f'expected a size such as "2G", got {text!r}')
        return max(1, int(float(match[1]) * _UNITS[match[2].upper()]))


def _refuse_unsupported(folder: Path, table: _Table) -> None:
    version = table.values.get("schema_version", table.values.get("version", "1.0"))
    if not isinstance(version, str) or not re.match(r"1(\.|$)", version):
        raise table.error("schema_version", f'{version!r} is not supported; "1.0" to "1.x" are')
    for path, advice in (
        ("steps", "multi-step tasks are not supported; make each step a task of its own"),
        ("environment/docker-compose.yaml", "use a single environment/Dockerfile"),
        ("tests/Dockerfile", "the verifier runs in the task's own image; install its tools there"),
    ):
        if (folder / path).exists():
            raise TaskError(f"{folder / path}: not supported: {advice}")
    environment, verifier = table.table("environment"), table.table("verifier")
    for where, key, allowed in (
        (table, "steps", None),
        (verifier, "environment_mode", "shared"),
        (verifier, "environment", None),
        (environment, "mcp_servers", None),
        (environment, "skills_dir", None),
        (environment, "healthcheck", None),
        (environment, "gpus", None),
        (environment, "allowed_hosts", None),
    ):
        value = where.values.get(key)
        if value and value != allowed:
            raise where.error(key, f"not supported ({value!r}); remove it or leave this task out")
    for owner in (table.table("agent"), verifier):
        # Any other user name is mapped to the sandbox's ordinary user.
        if owner.values.get("user") in ("root", "0", 0):
            raise owner.error("user", "root is not supported: everything runs as an ordinary user")
    mode = environment.get("network_mode", str, "public")
    if mode not in ("public", "no-network"):
        raise environment.error("network_mode", f"{mode!r} is not supported: agents run offline")


def _env(owner: _Table) -> tuple[tuple[str, str], ...]:
    env = owner.table("env")
    for key in env.values:
        if "${" in env.get(key, str, ""):
            raise env.error(key, "taking values from the host's environment is not supported")
    return tuple(sorted(env.values.items()))


def _absolute(workdir: str, environment: _Table) -> str:
    if not re.fullmatch(r"(/[\w.@+-]+)+/?", workdir) or ".." in workdir.split("/"):
        raise environment.error("workdir", f"{workdir!r} is not an absolute path below /")
    return workdir.rstrip("/")


def _follow_ups(metadata: _Table) -> tuple[str, ...]:
    found = metadata.get("follow_ups", list, [])
    if not all(isinstance(text, str) and text.strip() for text in found):
        raise metadata.error("follow_ups", "must be a list of strings, one for each further turn")
    return tuple(text.strip() for text in found)


def _instruction(file: Path) -> str:
    text = _text(file).strip()
    if not text:
        raise TaskError(f"{file}: empty; write what the agent is to do")
    return text


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(file))
    except tomllib.TOMLDecodeError as error:
        raise TaskError(f"{file}: not valid TOML: {error}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TaskError(f"{file}: missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{file}: cannot be read as UTF-8 text: {error}") from error


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
