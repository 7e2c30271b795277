"""The paper's gate: a candidate must score strictly higher than the current skill's last score."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from skillopt.config.schema import Metric
from skillopt.core.types import GateDecision, Rollout, Task
from skillopt.gates.base import Trial, score_of


@dataclass(frozen=True)
class StrictGate:
    """Accepts a candidate whose mean score is strictly greater than the current skill's (§3.4), or
    the same if the trial says that this is enough.

    The decision is always that of the full evaluation. Tasks run block by block, and the evaluation
    stops as soon as the candidate would lose even with full marks on the rest. Tasks that the
    current skill fails come first, as they show fastest that a candidate changes nothing.

    Args:
        metric: which reward counts.
        mix: weight of the soft reward if the metric is ``mixed``.
        block: tasks per measurement. It is fixed, so that what is run does not depend on the number
            of workers.
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
            part = order[len(done) : len(done) + self.block]
            for task, rollout in zip(part, trial.measure("candidate", part, 0), strict=True):
                done[task.name] = rollout
                after[task.name] = score_of(rollout.reward, self.metric, self.mix)
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
