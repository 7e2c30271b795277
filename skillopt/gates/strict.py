"""The gate: the only door into the best skill. A candidate must beat the incumbent, strictly.

Decides; running the selection split and recording the decision are the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from skillopt.config.schema import Metric
from skillopt.core.types import Reward, Rollout, Task

Evaluate = Callable[[Sequence[Task]], Sequence[Rollout]]


@dataclass(frozen=True)
class GateDecision:
    """What the gate decided and why. Scores are means over the whole selection split."""

    accepted: bool
    score_before: float
    score_after: float | None
    """None when the evaluation stopped early."""
    upper_bound: float
    """The most the candidate could still score; its score when it was evaluated in full."""
    evaluated: int
    total: int
    broken: tuple[str, ...]
    """Tasks that scored lower than before, among those evaluated."""
    fixed: tuple[str, ...]
    """Tasks that scored higher than before."""
    rollouts: tuple[Rollout, ...]
    """The candidate's, in the order of the split; all of them when it was accepted."""
    reason: str


def strict_gate(
    evaluate: Evaluate,
    tasks: Sequence[Task],
    incumbent: Mapping[str, Reward],
    metric: Metric = "hard",
    block: int = 8,
    mix: float = 0.5,
) -> GateDecision:
    """Accept a candidate whose mean score is strictly greater than the incumbent's.

    The decision is always that of the full evaluation. It is reached block by block, and no
    further block is run once the candidate would lose even with full marks on all that is left.
    What the incumbent fails comes first: there a candidate that changes nothing is told fastest.

    Args:
        evaluate: runs the candidate on tasks, one rollout each, all scored; may raise.
        tasks: the selection split, at least one.
        incumbent: the rewards of the current skill by task name.
        metric: which reward counts.
        block: tasks per call of ``evaluate``. Fixed, so that what is run does not depend on the
            number of workers.
        mix: weight of the soft reward where the metric is ``mixed``.
    """
    before = {task.name: _score(incumbent[task.name], metric, mix) for task in tasks}
    bar = sum(before.values(), Fraction())
    order = sorted(tasks, key=lambda task: before[task.name])
    done: dict[str, Rollout] = {}
    after: dict[str, Fraction] = {}
    most = Fraction(len(tasks))
    while len(done) < len(tasks) and most > bar:
        part = order[len(done) : len(done) + block]
        for task, rollout in zip(part, evaluate(part), strict=True):
            done[task.name] = rollout
            after[task.name] = _score(rollout.reward, metric, mix)
        most = sum(after.values(), Fraction()) + len(tasks) - len(done)
    full = len(done) == len(tasks)
    accepted = full and most > bar
    return GateDecision(
        accepted=accepted,
        score_before=float(bar / len(tasks)),
        score_after=float(most / len(tasks)) if full else None,
        upper_bound=float(most / len(tasks)),
        evaluated=len(done),
        total=len(tasks),
        broken=_names(tasks, (n for n in after if after[n] < before[n])),
        fixed=_names(tasks, (n for n in after if after[n] > before[n])),
        rollouts=tuple(done[task.name] for task in tasks if task.name in done),
        reason=_reason(accepted, full, bar, most, len(tasks), len(done)),
    )


def mean_score(rewards: Iterable[Reward], metric: Metric = "hard", mix: float = 0.5) -> float:
    """The mean of some rewards, at least one, as the gate counts them."""
    scores = [_score(reward, metric, mix) for reward in rewards]
    return float(sum(scores, Fraction()) / len(scores))


def _score(reward: Reward, metric: Metric, mix: float) -> Fraction:
    """Exact, so that sums do not depend on their order and a tie is a tie.

    Rewards are shares of checks: 0.1 means one tenth, not the nearest binary fraction.
    """
    hard, soft = (Fraction(r).limit_denominator(1_000_000) for r in (reward.hard, reward.soft))
    match metric:
        case "hard":
            return hard
        case "soft":
            return soft
    weight = Fraction(mix).limit_denominator(1_000_000)
    return weight * soft + (1 - weight) * hard


def _names(tasks: Sequence[Task], chosen: Iterable[str]) -> tuple[str, ...]:
    wanted = set(chosen)
    return tuple(task.name for task in tasks if task.name in wanted)


def _reason(
    accepted: bool, full: bool, bar: Fraction, most: Fraction, total: int, done: int
) -> str:
    before, after = f"{float(bar / total):.4f}", f"{float(most / total):.4f}"
    if accepted:
        return f"{after} is greater than {before}"
    if full:
        return f"{after} is not greater than {before}"
    return f"at most {after} after {done} of {total} tasks, which is not greater than {before}"
