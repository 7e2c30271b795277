"""A training run small enough for a test: two tasks a split, direct chat, local processes."""

from __future__ import annotations

import atexit
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.resources import resource
from skillopt.tasks.quickstart.generator import generate

FAMILIES = ("logs", "reconcile")


def small_set(folder: Path, families: tuple[str, ...] = FAMILIES) -> Path:
    """Of the quickstart's tasks the first of each of some families in each split."""
    for split in ("train", "val", "test"):
        for family in families:
            first = sorted((_quickstart() / split).glob(f"{family}-*"))[0]
            shutil.copytree(first, folder / "small" / split / first.name)
    return folder / "small"


@cache
def _quickstart() -> Path:
    """The whole set, made once in a process: it takes longer than most tests."""
    folder = Path(mkdtemp(prefix="so-quickstart-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    generate(folder, 7)
    return folder


def small_config(folder: Path, shipped: str = "local", **overrides: Any) -> Config:
    """The quickstart's config on the small set; runs go below ``folder`` too."""
    tasks = folder / "small" if (folder / "small").is_dir() else small_set(folder)
    settings = {
        "runs": str(folder / "runs"),
        "tasks.source": str(tasks),
        "train.batch_size": 2,
        "upstreams.sim.noise": 0.0,
        "upstreams.sim.harm": 0.0,
        **overrides,
    }
    return load_config(resource("configs") / "quickstart" / f"{shipped}.yaml", Config, settings)


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without durations."""
    found = []
    for row in history:
        kept = {key: value for key, value in row.items() if key != "seconds"}
        if "epoch_end" in kept:
            (kept["epoch_end"],) = untimed([kept["epoch_end"]])
        found.append(kept)
    return found
