"""Watching a skill: scores it on a few tasks after each save."""

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
from skillopt.core.import_path import OwnCodeError
from skillopt.core.skill import Skill, SkillError, read_skill
from skillopt.core.types import Split, Task
from skillopt.evaluation.scoring import Row, compare
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import Prepared, prepare
from skillopt.run.events import Listener
from skillopt.run.spending import LimitReachedError

_POLL_S = 0.05


@dataclass(frozen=True)
class Scored:
    """A version of the skill has its score; ``row.first`` is the version before."""

    skill: Skill
    row: Row


@dataclass(frozen=True)
class Unscorable:
    """A version that cannot be scored: the skill is not valid, or its evaluation failed."""

    message: str


@dataclass(frozen=True)
class Cancelled:
    """An evaluation was cancelled for a newer version."""

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
    plugins: Plugins = Plugins(),
) -> None:
    """Score a skill now and after each save, until ``stop`` is set.

    Saves in quick succession count as one change. A new change cancels the running evaluation.

    Args:
        path: skill folder or Markdown file.
        config: names tasks, harness and model.
        report: called with the result of each version.
        stop: ends the watch.
        split, count: the fixed subset of tasks that versions are scored on.
        listener: receives each rollout.
        plugins: as for :func:`skillopt.train`.

    Raises:
        TaskError: the split has no tasks.
        SandboxError: there is no engine.
    """
    if not path.exists():
        raise SkillError(f"{path}: no such skill; name a skill folder or a Markdown file")
    prepared = prepare(config, plugins=plugins, needs=(split,))
    tasks = subset(prepared, split, count)
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
            outcome = _evaluate(skill, prepared, tasks, changed, stop, listener)
            if isinstance(outcome, Row):
                scored = skill.digest
                report(Scored(skill, replace(outcome, first=before)))
                before = outcome
            else:
                report(outcome)


def subset(prepared: Prepared, split: Split, count: int) -> tuple[Task, ...]:
    """The same few tasks of a split each time, by the config's seed."""
    tasks, seed = prepared.splits[split], prepared.config.seed
    chosen = random.Random(f"{seed}/watch").sample(range(len(tasks)), min(count, len(tasks)))
    return tuple(tasks[index] for index in sorted(chosen))


def _evaluate(
    skill: Skill,
    prepared: Prepared,
    tasks: Sequence[Task],
    changed: threading.Event,
    stop: threading.Event,
    listener: Listener,
) -> Row | Unscorable | Cancelled:
    """The skill's row, unless the files change or the watch ends before it is complete."""
    found: list[Row | Unscorable] = []
    with prepared.runner(listener) as runner:

        def run() -> None:
            try:
                found.extend(compare(runner, {skill.name: skill}, tasks))
            except (PausedError, LimitReachedError, SkillError) as error:
                found.append(Unscorable(str(error)))
            except OwnCodeError as error:
                found.append(Unscorable(f"{error}\n{error.traceback}"))

        worker = threading.Thread(target=run, name="evaluation")
        worker.start()
        while worker.is_alive() and not changed.is_set() and not stop.is_set():
            time.sleep(_POLL_S)
        cut = worker.is_alive()
        if cut:
            runner.cancel()
        worker.join()
    return Cancelled(skill) if cut or not found else found[0]
