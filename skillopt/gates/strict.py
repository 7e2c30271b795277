"""The paper's gate: a candidate must score strictly higher than the current skill's last score."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from skillopt.config.schema import Metric
from skillopt.core.types import GateDecision, Rollout, Task
from skillopt.gates.base import Trial, score_of

SHARE = 0.5
"""Share of the tasks that are left which a block after the first has at least."""


@dataclass(frozen=True)
class StrictGate:
    """Accepts a candidate whose mean score is strictly greater than the current skill's (§3.4), or
    the same if the trial says that this is enough.

    The decision is always that of the full evaluation. Tasks run block by block, and the evaluation
    stops when the candidate would lose even with full marks on the rest. Tasks that the current
    skill fails come first, as they show fastest that a candidate changes nothing. A block has as
    many tasks as have to be lost before the evaluation can stop, and after the first at least half
    of the rest, so that there are few blocks, and all workers have something to do.

    Args:
        metric: which reward counts.
        mix: weight of the soft reward if the metric is ``mixed``.
        block: tasks per measurement, at least. Blocks do not depend on the number of workers, nor
            does what is run.
    """

    metric: Metric = "hard"
    mix: float = 0.5
    block: int = 8

    def decide(self, trial: Trial) -> GateDecision:
        """Compare one rollout per task with the current skill's latest one."""
        tasks = trial.tasks
        before = {
            task.name: score_of(trial.known[task.name][-1], self.metric, self.mix) for task in tasks
        }
        bar = sum(before.values(), Fraction())
        order = sorted(tasks, key=lambda task: before[task.name])
        done: dict[str, Rollout] = {}
        after: dict[str, Fraction] = {}
        most = Fraction(len(tasks))
        ties = trial.ties
        while len(done) < len(tasks) and (most > bar or (ties and most == bar)):
            lost = math.ceil(most - bar)  # At least so many before it can stop.
            share = SHARE if done else 0  # One that changes nothing is stopped by the first block.
            size = max(self.block, lost, math.ceil((len(tasks) - len(done)) * share))
            new = _new_outcomes(trial, order[len(done) : len(done) + size])
            done |= new
            after |= {n: score_of(r.reward, self.metric, self.mix) for n, r in new.items()}
            most = sum(after.values(), Fraction()) + len(tasks) - len(done)
        full = len(done) == len(tasks)
        accepted = full and (most > bar or (ties and most == bar))
        return GateDecision(
            accepted=accepted,
            score_before=float(bar / len(tasks)),
            score_after=float(most / len(tasks)) if full else None,
            upper_bound=float(most / len(tasks)),
            total=len(tasks),
            broken=_names(tasks, (n for n in after if after[n] < before[n])),
            fixed=_names(tasks, (n for n in after if after[n] > before[n])),
            rollouts=tuple(done[task.name].row for task in tasks if task.name in done),
            reason=_reason(accepted, full, bar, most, len(tasks), len(done), ties),
        )


def _new_outcomes(trial: Trial, tasks: Sequence[Task]) -> dict[str, Rollout]:
    """A rollout of the candidate on each task, by name: not one by which it won a race."""
    found: dict[str, Rollout] = {}
    for number in sorted({trial.raced.get(task.name, 0) for task in tasks}):
        part = [task for task in tasks if trial.raced.get(task.name, 0) == number]
        done = trial.measure("candidate", part, number)
        found |= {task.name: rollout for task, rollout in zip(part, done, strict=True)}
    return found


def _names(tasks: Sequence[Task], chosen: Iterable[str]) -> tuple[str, ...]:
    wanted = set(chosen)
    return tuple(task.name for task in tasks if task.name in wanted)


def _reason(
    accepted: bool,
    full: bool,
    bar: Fraction,
    most: Fraction,
    total: int,
    done: int,
    ties: bool,
) -> str:
    before, after = f"{float(bar / total):.4f}", f"{float(most / total):.4f}"
    if accepted:
        return f"{after} is greater than {before}" if most > bar else f"{after} is no less"
    less = f"less than {before}" if ties else f"not greater than {before}"
    if full:
        return f"{after} is {less}"
    return f"at most {after} after {done} of {total} tasks, which is {less}"
