"""How a number of tasks is best used: which are trained on, and which choose and test."""

from __future__ import annotations

from skillopt.config.schema import TrainConfig
from skillopt.gates.power import visible_gain
from skillopt.tasks.sources import cut

LEAST = 2
"""The fewest tasks that can be trained with: one to learn from, one to choose by."""
MANY = 100
"""More tasks than these have a test split of their own; of fewer, ``final.held_out`` takes some of
the selection tasks, if these are enough to confirm anything."""
_USUAL = (2, 3, 0)
_STEPS = 2
"""Steps in an epoch of few tasks: one would look at all of them at once."""


def fitting_split(tasks: int) -> tuple[int, int, int]:
    """The proportions of ``tasks.split`` for a number of tasks, at least :data:`LEAST`.

    With few tasks, most are selection tasks: what they can show is the bottleneck, and a skill can
    learn from few failures. They get as many as can show any gain, if there are so many. None is
    left over.
    """
    if tasks > MANY:
        return (4, 3, 3)
    if tasks <= LEAST:
        return (1, 1, 0)
    shows = next(number for number in range(1, MANY) if visible_gain(number) is not None)
    too_few = cut(tasks, _USUAL)[1] < shows < tasks
    return (tasks - shows, shows, 0) if too_few else _USUAL


def fitting_training(train: int) -> dict[str, int]:
    """Values of ``train`` for a number of training tasks."""
    usual = TrainConfig()
    steps = _STEPS if train >= 2 * usual.minibatch // _STEPS else 1
    batch = min(usual.batch_size, -(-train // steps))
    return {"epochs": usual.epochs, "batch_size": batch, "minibatch": min(usual.minibatch, batch)}
