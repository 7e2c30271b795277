"""The plan of the steps, from config and tasks alone: epochs, steps, batches, edit budgets."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from skillopt.config.schema import TrainConfig
from skillopt.core.types import Task
from skillopt.optimizer.schedule import edit_budget


@dataclass(frozen=True)
class StepPlan:
    """The plan of one step."""

    epoch: int
    step: int
    """The step's number, from 1, over all epochs."""
    budget: int | None
    parts: tuple[tuple[Task, ...], ...]
    """Batches that are run and reflected on one after the other (accumulation)."""
    ends_epoch: bool

    @property
    def rollouts(self) -> int:
        return sum(len(part) for part in self.parts)


def plan_steps(tasks: Sequence[Task], train: TrainConfig, seed: int) -> list[StepPlan]:
    """All steps of a run: ``epochs × ceil(tasks / (batch size × accumulation))``.

    Args:
        tasks: the training split, at least one.
        train: the config's section.
        seed: the run's.
    """
    groups = [
        (epoch, group)
        for epoch in range(1, train.epochs + 1)
        for group in _grouped(batches(tasks, train.batch_size, seed, epoch), train.accumulation)
    ]
    rate, total = train.learning_rate, len(groups)
    return [
        StepPlan(
            epoch=epoch,
            step=step,
            budget=edit_budget(rate.schedule, step, total, rate.start, rate.end),
            parts=parts,
            ends_epoch=step == total or groups[step][0] != epoch,
        )
        for step, (epoch, parts) in enumerate(groups, start=1)
    ]


def batches(tasks: Sequence[Task], size: int, seed: int, epoch: int) -> list[tuple[Task, ...]]:
    """One epoch's batches: every task once, shuffled by seed and epoch; the last may be smaller."""
    shuffled = list(tasks)
    random.Random(f"{seed}/epoch/{epoch}").shuffle(shuffled)
    return [tuple(shuffled[i : i + size]) for i in range(0, len(shuffled), size)]


def compared_tasks(tasks: Sequence[Task], count: int, seed: int, epoch: int) -> tuple[Task, ...]:
    """The training tasks on which the end of an epoch compares two skills."""
    chosen = random.Random(f"{seed}/pairs/{epoch}").sample(
        range(len(tasks)), min(count, len(tasks))
    )
    return tuple(tasks[index] for index in sorted(chosen))


def _grouped(parts: Sequence[tuple[Task, ...]], size: int) -> list[tuple[tuple[Task, ...], ...]]:
    return [tuple(parts[i : i + size]) for i in range(0, len(parts), size)]
