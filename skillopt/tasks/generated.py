"""Task sets that this project makes, written as folders like any other task set."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from skillopt.core.types import Split, Task
from skillopt.tasks.harbor import SPLITS, TaskError, folder_digest, read_splits


def generated(
    generate: Callable[[Path, int], None], folder: Path, seed: int
) -> dict[Split, tuple[Task, ...]]:
    """The tasks of a generator, as this version makes them.

    Other processes may be running tasks from the same folder, so a folder that is up to date is
    not touched.

    Args:
        generate: writes ``train``, ``val`` and ``test`` into a folder, from a seed.
        folder: where the tasks are written; kept for the next time.
        seed: the generator's.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        generate(fresh, seed)
        put(fresh, folder, folder_digest(fresh))
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    splits = read_splits(folder)
    assert splits is not None, "a generator writes split folders"
    return {split: tuple(splits[split]) for split in SPLITS}


def put(fresh: Path, folder: Path, digest: str) -> None:
    """Move a folder to its place, unless it is there already: other processes may be using it.

    Args:
        fresh: the new folder, beside its place or in a folder there.
        folder: its place. What is there and is something else, such as a damaged copy, is removed.
        digest: of the new folder, by :func:`skillopt.tasks.harbor.folder_digest`.

    Raises:
        OSError: it cannot be moved.
    """
    if _digest(folder) == digest:
        return
    shutil.rmtree(folder, ignore_errors=True)
    try:
        fresh.rename(folder)
    except OSError:
        if _digest(folder) != digest:  # Else another process was faster.
            raise


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder that becomes ``target`` at the end of the block: nobody ever sees a part of it.

    Args:
        target: which must not exist.

    Raises:
        TaskError: it exists.
        OSError: it cannot be written.
    """
    if os.path.lexists(target):
        raise TaskError(f"{target}: already exists; name another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
        fresh = Path(name) / target.name
        yield fresh
        fresh.rename(target)


def _digest(folder: Path) -> str:
    try:
        return folder_digest(folder) if folder.is_dir() else ""
    except TaskError:
        return ""
