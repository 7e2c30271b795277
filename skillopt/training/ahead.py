"""The next step's batch in advance, while the optimizer and the gate work on this one.

It runs with the current skill. If the gate accepts a candidate, it was for nothing: that is counted
and bounded (``train.ahead``). The results are the same with and without it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from skillopt.training.context import Training
from skillopt.training.steps import StepPlan, plan_steps


def next_batch_ahead(training: Training, plan: StepPlan) -> AbstractContextManager[None]:
    """Run tasks of the next step in a ``with`` block, as far as workers are idle.

    Args:
        training: the run.
        plan: the step that is not finished, whose own batch is.
    """
    share, train = training.config.train.ahead, training.config.train
    steps = plan_steps(training.splits["train"], train, training.config.seed)
    following = steps[plan.step : plan.step + 1]
    if not share or not following:
        return nullcontext()
    ran = sum(done.rollouts for done in steps[: plan.step])
    most = max(0, int(share * ran) - len(training.state.unused))
    tasks = [task for part in following[0].parts for task in part]
    return training.runner.ahead(tasks[:most], training.current)
