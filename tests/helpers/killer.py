"""Starts runs in processes of their own and kills them, to see that they end as if nobody had."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from sandboxes.docker import OWNER_LABEL, DockerEngine
from skillopt.core.files import to_json
from skillopt.run.journal import LOG, read_records
from skillopt.run.records import EpochDone, MethodDone, Replied, RolloutRan, RunStarted, StepDone
from tests.helpers.small import untimed

# Children are forked from a process that has imported all this: they are at work at once.
PRELOADED = [
    "tests.helpers.killer", "tests.helpers.small", "skillopt.training.start",
    "skillopt.sim.optimizer", "skillopt.sim.plain", "skillopt.sim.target", "openai",
    "numpy", "uvicorn", "starlette.applications", "openpyxl", "skills_ref.validator",
]  # fmt: skip


@dataclass
class Killer:
    """Starts training in processes of their own, and kills them."""

    work: Callable[[str], None]
    tasks: Path

    def __post_init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)

    def folder(self, parent: Path, name: str) -> Path:
        folder = parent / name
        folder.mkdir()
        (folder / "small").symlink_to(self.tasks)
        return folder

    def start(self, folder: Path) -> BaseProcess:
        process = self._context.Process(target=self.work, args=(str(folder),))
        process.start()
        return process

    def finish(self, folder: Path) -> float:
        """Let a run go on to its end; the seconds that this took."""
        started = time.monotonic()
        process = self.start(folder)
        process.join(100)
        assert process.exitcode == 0
        return time.monotonic() - started

    def kill_after(self, folder: Path, seconds: float) -> BaseProcess:
        """Start a run and kill it, unless it has ended by then."""
        process = self.start(folder)
        process.join(seconds)
        process.kill()
        process.join()
        return process


def result_of(folder: Path) -> tuple[bytes, str]:
    """What must be the same: the best skill, and the history but for its times."""
    (run,) = (path for path in (folder / "runs").iterdir() if (path / LOG).is_file())
    history = json.loads((run / "history.json").read_text())
    return (run / "best_skill.md").read_bytes(), to_json(untimed(history))


def records_of(folder: Path) -> list[Any]:
    (log,) = (folder / "runs").glob(f"*/{LOG}")
    return read_records(log.parent)


def starts_of(folder: Path) -> int:
    """How often the run there has begun and come so far as to record it."""
    if not any((folder / "runs").glob(f"*/{LOG}")):
        return 0
    return sum(isinstance(record, RunStarted) for record in records_of(folder))


def nothing_twice(folder: Path) -> None:
    """No step, epoch or reply is recorded twice, and no rollout was paid for twice."""
    records = records_of(folder)
    steps = [record.step for record in records if isinstance(record, StepDone)]
    epochs = [record.epoch for record in records if isinstance(record, EpochDone)]
    assert sum(isinstance(record, MethodDone) for record in records) <= 1
    replies = Counter(record.id for record in records if isinstance(record, Replied))
    rollouts = Counter(record.key for record in records if isinstance(record, RolloutRan))
    assert steps == sorted(set(steps)) and epochs == sorted(set(epochs))
    assert not [key for key, times in (replies + rollouts).items() if times > 1]
    stored = {path.name for path in (folder / "runs" / "store").glob("??/*")}
    assert rollouts.keys() <= stored


def killed_at_random(killer: Killer, parent: Path, kills: int, seed: int) -> None:
    """Kill runs at random instants, up to five times each, until so many kills are done. Each ends
    in the bytes of an undisturbed one.

    Args:
        killer: starts and kills them.
        parent: folder for the runs.
        kills: how many at least.
        seed: of the instants.
    """
    undisturbed = killer.folder(parent, "undisturbed")
    killer.finish(undisturbed)
    expected = result_of(undisturbed)
    # How long a run takes once the machinery is warm.
    took = killer.finish(killer.folder(parent, "warm"))
    rng = random.Random(seed)
    done = interrupted = 0
    while done < kills:
        folder = killer.folder(parent, f"chain-{done}")
        for _ in range(5):
            begun = starts_of(folder)
            if killer.kill_after(folder, rng.uniform(0.05, took * 0.6)).exitcode == 0:
                took *= 0.8  # The machine has less to do than before.
                break
            done += 1
            if starts_of(folder) > begun:
                interrupted += 1
            else:
                took *= 1.05
        killer.finish(folder)
        assert result_of(folder) == expected
        nothing_twice(folder)
    # Not all kills before the first record, and not all after the last.
    assert interrupted >= done * 0.4, interrupted


def killed_in_docker(
    killer: Killer, parent: Path, kills: int, seed: int, engine: DockerEngine
) -> None:
    """Kill one run in containers at random instants. It ends in the bytes of an undisturbed one,
    and of what the dead processes started nothing is left.

    Args:
        killer, parent, kills, seed: as for :func:`killed_at_random`.
        engine: where the containers are.
    """
    undisturbed = killer.folder(parent, "undisturbed")
    took = killer.finish(undisturbed)
    folder = killer.folder(parent, "killed")
    rng = random.Random(seed)
    dead = [killer.kill_after(folder, rng.uniform(0.1, 0.35) * took).pid for _ in range(kills)]
    assert starts_of(folder) > 0
    killer.finish(folder)
    assert result_of(folder) == result_of(undisturbed)
    nothing_twice(folder)
    left = engine.api.containers(all=True, filters={"label": OWNER_LABEL})
    owners = [container["Labels"][OWNER_LABEL] for container in left]
    assert not [owner for owner in owners if any(f"-{pid}-" in owner for pid in dead)]
