"""The tasks of a run by split: generated, split already, or split here by seed."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from skillopt.config.schema import TasksConfig
from skillopt.core.types import Split, Task
from skillopt.tasks.harbor import SPLITS, read_splits, read_tasks
from skillopt.tasks.quickstart import generator as quickstart
from skillopt.tasks.words import generator as words

GENERATED: dict[str, Callable[[Path, int], None]] = {
    "quickstart": quickstart.generate,
    "words": words.generate,
}
"""Task sets that this project makes itself, by what a config calls them."""


def load_splits(config: TasksConfig, seed: int, made: Path) -> dict[Split, tuple[Task, ...]]:
    """The tasks that a config names.

    Args:
        config: source and, for a flat folder, the proportions.
        seed: of the split of a flat folder.
        made: folder below which generated task sets are put, once each.

    Raises:
        TaskError: there is no such folder, or a task in it cannot be used.
    """
    source = Path(config.source)
    if config.source in GENERATED:
        source = generated(config.source, made / f"{config.source}-{config.seed}", config.seed)
    splits = read_splits(source)
    if splits is None:
        return _split(read_tasks(source), config.split, seed)
    return {split: tuple(splits[split]) for split in SPLITS}


def generated(name: str, folder: Path, seed: int) -> Path:
    """Make a task set anew in ``folder``, so that its tasks are those of this version."""
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    GENERATED[name](fresh, seed)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder


def _split(
    tasks: Sequence[Task], proportions: tuple[int, int, int], seed: int
) -> dict[Split, tuple[Task, ...]]:
    """Shuffle by seed and cut; train and val are rounded down, test takes the rest."""
    shuffled = sorted(tasks, key=lambda task: task.name)
    random.Random(f"split/{seed}").shuffle(shuffled)
    whole = sum(proportions)
    train = len(shuffled) * proportions[0] // whole
    val = len(shuffled) * proportions[1] // whole
    return {
        "train": tuple(shuffled[:train]),
        "val": tuple(shuffled[train : train + val]),
        "test": tuple(shuffled[train + val :]),
    }
