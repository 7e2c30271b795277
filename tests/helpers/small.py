"""A training run small enough for a test: two tasks a split, direct chat, local processes."""

from __future__ import annotations

import atexit
import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from filelock import FileLock

from skillopt import RunResult, train
from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.files import digest_of
from skillopt.core.resources import resource
from skillopt.tasks.quickstart.generator import generate

FAMILIES = ("logs", "reconcile")

COMMON = "SKILLOPT_TESTS_COMMON"
"""Names the folder, to child processes too, in which tests keep what is made once for all."""


@cache
def _scratch() -> Path:
    """A folder that goes with the process."""
    folder = Path(mkdtemp(prefix="so-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first of the processes that share out the tests has filled; of this process
    alone where no tests run."""
    common = Path(os.environ[COMMON]) if COMMON in os.environ else _scratch()
    folder, done = common / name, common / f"{name}.done"
    with FileLock(common / f"{name}.lock"):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


def small_set(folder: Path, families: tuple[str, ...] = FAMILIES) -> Path:
    """Of the quickstart's tasks the first of each of some families in each split."""
    for split in ("train", "val", "test"):
        for family in families:
            first = sorted((_quickstart() / split).glob(f"{family}-*"))[0]
            shutil.copytree(first, folder / "small" / split / first.name)
    return folder / "small"


@cache
def _quickstart() -> Path:
    """The whole set, made once: that takes longer than most tests."""
    return made_once("quickstart", lambda folder: generate(folder, 7))


def small_config(folder: Path, shipped: str = "local", **overrides: Any) -> Config:
    """The quickstart's config on the small set; runs go below ``folder`` too."""
    tasks = folder / "small" if (folder / "small").is_dir() else small_set(folder)
    settings = {
        "runs": str(folder / "runs"),
        "tasks.source": str(tasks),
        "train.batch_size": 2,
        "patience": 2,
        "upstreams.sim.noise": 0.0,
        "upstreams.sim.harm": 0.0,
        **overrides,
    }
    return load_config(resource("configs") / "quickstart" / f"{shipped}.yaml", Config, settings)


def trained(folder: Path, **overrides: Any) -> RunResult:
    """A run of :func:`small_config` that is done; its rollouts are in ``folder/runs/store``.

    It is trained once, and copied from then on: for tests that look at a run, or
    go on from one. What the copy is asked for again is there.
    """
    first = _trained(json.dumps(overrides, sort_keys=True))
    shutil.copytree(first / "small", folder / "small")
    shutil.copytree(first / "runs", folder / "runs")
    for path in folder.glob("runs/*/*"):
        if path.is_file() and path.parent.name != "store":
            path.write_bytes(path.read_bytes().replace(bytes(first), bytes(folder)))
    return train(small_config(folder, **overrides))


def with_rollouts(folder: Path) -> Path:
    """The folder, with a store of what a default run needs: for tests of something else."""
    first = _trained("{}")
    shutil.copytree(first / "small", folder / "small")
    shutil.copytree(first / "runs" / "store", folder / "runs" / "store")
    return folder


@cache
def _trained(overrides: str) -> Path:
    def make(folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        train(small_config(folder, **json.loads(overrides)))

    return made_once(f"trained-{digest_of(overrides)[:16]}", make)


def untimed(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without durations."""
    found = []
    for row in history:
        kept = {key: value for key, value in row.items() if key != "seconds"}
        for inner in {"epoch_end", "compression", "credit", "race"} & kept.keys():
            (kept[inner],) = untimed([kept[inner]])
        if "removals" in kept:
            kept["removals"] = untimed(kept["removals"])
        found.append(kept)
    return found
