"""The claim that a skill is better than another one, tested once, on tasks that no choice was made
with: confirmed, not confirmed or contradicted. ``train``, ``eval`` and ``transfer`` all say it so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from skillopt.core.metric import Scorer
from skillopt.core.types import RolloutRow
from skillopt.evaluation.exact import exact_p
from skillopt.evaluation.stats import (
    Estimate,
    all_or_nothing_runs,
    paired_difference,
    points,
    visible_gain,
)
from skillopt.run.state import State

Verdict = Literal["confirmed", "not confirmed", "contradicted"]
_VERDICTS: dict[int, Verdict] = {1: "confirmed", 0: "not confirmed", -1: "contradicted"}

HELD_OUT = "held-out selection"
"""The split's name if there is no test split, and some selection tasks were kept from training."""


@dataclass(frozen=True)
class Claim:
    """What some tasks say about one skill against another.

    Args:
        verdict: ``confirmed`` or ``contradicted`` if the whole interval of the gain lies above or
            below 0, which it does only if the exact test rules 0 out too.
        gain: mean difference, paired by task.
        p: of the exact test, two-sided.
        tasks: how many different ones.
        visible: the smallest true gain that these tasks would have confirmed in 80 of 100 cases;
            None if they are too few for any.
        split: the tasks' split, if it is known.
    """

    verdict: Verdict
    gain: Estimate
    p: float
    tasks: int
    visible: float | None
    split: str = ""

    @property
    def words(self) -> str:
        """The claim in one line, as all commands and pages print it."""
        where = f"{self.tasks} {self.split} task{'' if self.tasks == 1 else 's'}"
        said = f"{self.verdict}: {points(self.gain)} points on {' '.join(where.split())}"
        if self.gain.low is not None:
            said += f" (exact p = {self.p:.2g})"
        if self.verdict != "not confirmed":
            return said
        if self.visible is None:
            return f"{said}; so few tasks cannot confirm any gain"
        return f"{said}; these tasks show gains of {100 * self.visible:.0f} points or more"

    def to_json(self) -> dict[str, Any]:
        """The claim as ``summary.json`` and ``--json`` have it."""
        return {**asdict(self), "words": self.words}


def claim(
    before: Sequence[Sequence[float]],
    after: Sequence[Sequence[float]],
    weights: Sequence[float] | None = None,
    split: str = "",
    runs: float | None = None,
) -> Claim:
    """Test one skill against another on the same tasks, in the same order.

    Args:
        before, after: the scores of each task's repetitions.
        weights: how often each task counts; by default once.
        split: the tasks' split.
        runs: how many trials of all or nothing the repetitions are at most, if some of them are the
            same stored rollout; by default all count.
    """
    old, new = (means_of(side) for side in (before, after))
    gain = gain_of(before, after, weights, runs)
    changes = [b - a for a, b in zip(old, new, strict=True)]
    return Claim(
        _VERDICTS[gain.sign],
        gain,
        exact_p(changes, weights),
        len(changes),
        visible_gain(changes, weights),
        split,
    )


def gain_of(
    before: Sequence[Sequence[float]],
    after: Sequence[Sequence[float]],
    weights: Sequence[float] | None = None,
    runs: float | None = None,
) -> Estimate:
    """The gain alone, as :func:`claim` has it, with the same arguments."""
    if runs is None:
        runs = min(all_or_nothing_runs(side, weights) for side in (before, after))
    return paired_difference(means_of(before), means_of(after), weights, runs)


def means_of(runs: Sequence[Sequence[float]]) -> list[float]:
    """The mean score of each task's repetitions."""
    return [sum(scores) / len(scores) for scores in runs]


def claim_of_run(state: State) -> dict[str, Any] | None:
    """What a run says of its best skill against the initial one, as :meth:`Claim.to_json` does.

    Runs of earlier versions did not record it; it follows from their rollouts.

    Returns:
        None if the run is not done, has kept no edit, or has no scores of held-out tasks.
    """
    done, scorer = state.done, scorer_of(state)
    if done is None or state.best == state.initial:
        return None
    if done.claim is not None:
        return done.claim
    role = "final" if state.best == state.current else "best"
    sides = [done.test_rollouts.get(name) for name in ("initial", role)]
    if not all(sides):
        return None
    before, after = (scores_by_task(rows or [], scorer) for rows in sides)
    alike: dict[str, list[str]] = {}
    for row in sides[0] or []:
        alike.setdefault(row.key, []).append(row.task)
    names = [tasks[0] for tasks in alike.values() if tasks[0] in after]
    weights = [float(len(tasks)) for tasks in alike.values() if tasks[0] in after]
    found = claim([before[n] for n in names], [after[n] for n in names], weights, "test")
    return found.to_json()


def said_of_run(state: State) -> str:
    """What a finished run says of its best skill, in one line; empty if it is not finished."""
    found = claim_of_run(state)
    if found:
        return str(found["words"])
    return state.done.no_claim if state.done else ""


def scorer_of(state: State) -> Scorer:
    """How a run counts rewards."""
    return scorer_in(state.created.config if state.created else {})


def scorer_in(config: Mapping[str, Any]) -> Scorer:
    """How a run counts rewards by its recorded config, which earlier versions wrote without
    it."""
    gate = config.get("gate", {})
    return Scorer(gate.get("metric", "hard"), gate.get("mix", 0.5))


def scores_by_task(rows: Sequence[RolloutRow], scorer: Scorer) -> Mapping[str, list[float]]:
    """The scores of some rollouts, by task."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row.task, []).append(float(scorer.score(row.reward)))
    return found
