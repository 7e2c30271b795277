"""Watching skills: scores one on a few tasks after each save; tells when a deployed one drifts."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skillopt.config.schema import Config
from skillopt.core.changes import settled, watching
from skillopt.core.errors import PausedError
from skillopt.core.skill import Skill, SkillError, read_skill
from skillopt.core.types import Split, Task
from skillopt.evaluation.scoring import Row, compare
from skillopt.rollouts.runner import RolloutRunner
from skillopt.run.events import Listener
from skillopt.tasks.harbor import TaskError
from skillopt.tasks.splits import load_splits

_POLL_S = 0.05


@dataclass(frozen=True)
class Scored:
    """A version of the skill has its score; ``row.first`` is the version before."""

    skill: Skill
    row: Row


@dataclass(frozen=True)
class Unscorable:
    """A version that cannot be scored: not a valid skill, or an evaluation that failed."""

    message: str


@dataclass(frozen=True)
class Cancelled:
    """An evaluation was given up for a newer version."""

    skill: Skill


Report = Callable[[Scored | Unscorable | Cancelled], None]


def watch(
    path: Path,
    config: Config,
    report: Report,
    stop: threading.Event,
    *,
    split: Split = "val",
    count: int = 6,
    listener: Listener = lambda _: None,
) -> None:
    """Score a skill now and after each save, until told to stop.

    Saves in quick succession are one change; a new one cancels the evaluation under way.

    Args:
        path: skill folder or Markdown file.
        config: says tasks, harness and model.
        report: told of each version.
        stop: ends the watch.
        split, count: the fixed subset of tasks that versions are scored on.
        listener: told of each rollout.

    Raises:
        TaskError: the split has no tasks.
        SandboxError: no engine.
    """
    tasks = subset(config, split, count)
    changed = threading.Event()
    changed.set()
    scored = ""
    before: Row | None = None
    with watching([path], changed) as look:
        while settled(changed, stop):
            look()
            try:
                skill = read_skill(path)
            except SkillError as error:
                report(Unscorable(str(error)))
                continue
            if skill.digest == scored:
                continue
            outcome = _evaluate(skill, config, tasks, changed, stop, listener)
            if isinstance(outcome, Row):
                scored = skill.digest
                report(Scored(skill, replace(outcome, first=before)))
                before = outcome
            else:
                report(outcome)


def subset(config: Config, split: Split, count: int) -> tuple[Task, ...]:
    """The same few tasks of a split each time, by the config's seed.

    Raises:
        TaskError: the split has none.
    """
    tasks = load_splits(config.tasks, config.seed, config.runs / "tasks")[split]
    if not tasks:
        raise TaskError(f"{config.tasks.source}: the {split} split has no tasks; add some")
    chosen = random.Random(f"{config.seed}/watch").sample(range(len(tasks)), min(count, len(tasks)))
    return tuple(tasks[index] for index in sorted(chosen))


def _evaluate(
    skill: Skill,
    config: Config,
    tasks: Sequence[Task],
    changed: threading.Event,
    stop: threading.Event,
    listener: Listener,
) -> Row | Unscorable | Cancelled:
    """The skill's row, unless the files change or the watch ends before it is whole."""
    found: list[Row | Unscorable] = []
    with RolloutRunner(config, listener) as runner:

        def run() -> None:
            try:
                found.extend(compare(runner, {skill.name: skill}, tasks))
            except PausedError as error:
                found.append(Unscorable(str(error)))

        worker = threading.Thread(target=run, name="evaluation")
        worker.start()
        while worker.is_alive() and not changed.is_set() and not stop.is_set():
            time.sleep(_POLL_S)
        cut = worker.is_alive()
        if cut:
            runner.cancel()
        worker.join()
    return Cancelled(skill) if cut or not found else found[0]
