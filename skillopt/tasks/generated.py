"""Task sets that this project generates, written as folders like any other task set."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
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
        if _digest(folder) != folder_digest(fresh):
            shutil.rmtree(folder, ignore_errors=True)
            try:
                fresh.rename(folder)
            except OSError:
                if _digest(folder) != folder_digest(fresh):  # Else another process was faster.
                    raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    splits = read_splits(folder)
    assert splits is not None, "a generator writes split folders"
    return {split: tuple(splits[split]) for split in SPLITS}


def _digest(folder: Path) -> str:
    try:
        return folder_digest(folder) if folder.is_dir() else ""
    except TaskError:
        return ""
