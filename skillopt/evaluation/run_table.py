"""Finished runs side by side, whatever their method: scores on the same test tasks, differences
paired by task, and what each has cost. Everything comes from their logs; nothing is run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harnesses.base import Usage
from skillopt.core.text import estimate_tokens
from skillopt.core.types import RolloutRow
from skillopt.evaluation.claim import Claim, claim, means_of, scorer_of, scores_by_task
from skillopt.evaluation.stats import Estimate, all_or_nothing_runs, mean
from skillopt.run.folder import RunError
from skillopt.run.journal import read_records
from skillopt.run.records import Replied, RolloutRan, RunCreated
from skillopt.run.spending import Meter
from skillopt.run.state import State, fold

SAME = {
    "splits.test": "test tasks", "config.harness.name": "agents", "config.target.name": "models",
    "config.gate.metric": "metrics",
}  # fmt: skip
"""What runs must have in common for their scores to be compared, and what it is called."""


@dataclass(frozen=True)
class RunRow:
    """A finished run.

    Args:
        run, method, seed: which it is.
        score: of its best skill on the test split.
        over_start: against the skill that it started from.
        over_none: against no skill; None if that was not scored (``final.arms``).
        over_first: against the best skill of the first run; None for that run itself.
        asked: distinct rollouts that the method has asked for.
        budget: ``method.rollouts``.
        rollouts: rollouts that were run in all, for the final scores too.
        optimizer, target: tokens of the optimizer and of the agents' model.
        usd: what they have cost; None if a price is not known.
        seconds: that the run took.
        skill_tokens: the best skill's estimated length.
        findings: what it has that SkillOpt's own edits may not.
    """

    run: str
    method: str
    seed: int
    score: Estimate
    over_start: Claim
    over_none: Claim | None
    over_first: Claim | None
    asked: int
    budget: int | None
    rollouts: int
    optimizer: int
    target: int
    usd: float | None
    seconds: float
    skill_tokens: int
    findings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        claims = {
            name: found.to_json() if (found := getattr(self, name)) else None
            for name in ("over_start", "over_none", "over_first")
        }
        return asdict(self) | claims


@dataclass(frozen=True)
class _Read:
    """A run as it was read."""

    name: str
    created: RunCreated
    state: State
    meter: Meter
    optimizer: Usage
    target: Usage

    def rows(self, role: str) -> list[RolloutRow]:
        done = self.state.done
        return done.test_rollouts.get(role, []) if done else []

    @property
    def best(self) -> list[RolloutRow]:
        """Of the best skill on the test split; it is the last one, or an earlier one."""
        return self.rows("final" if self.state.best == self.state.current else "best")


def compare_runs(roots: Sequence[Path]) -> list[RunRow]:
    """The rows of some runs, in their order.

    Raises:
        RunError: one is not finished or has no scores on the test split, or they differ
            in what scores depend on besides the skill.
    """
    runs = [_read(root) for root in roots]
    first = runs[0]
    for run in runs:
        for key, what in SAME.items():
            if _at(run.created, key) != _at(first.created, key):
                raise RunError(
                    f"{run.name} has other {what} than {first.name}: their scores cannot be "
                    "compared; train both with the same"
                )
    return [_row(run, None if run is first else first) for run in runs]


@dataclass(frozen=True)
class MethodMean:
    """Several runs of one method, such as with different seeds.

    Args:
        method: which.
        runs: how many.
        mean, least, most: of their test scores.
    """

    method: str
    runs: int
    mean: float
    least: float
    most: float

    @property
    def words(self) -> str:
        """In one line."""
        found = (self.mean, self.least, self.most)
        shown = [f"{100 * value:.0f}" for value in found]
        return f"{self.method}: {self.runs} runs, {shown[0]} % on average, {shown[1]} to {shown[2]}"


def by_method(rows: Sequence[RunRow]) -> list[MethodMean]:
    """The methods that have several runs, in the order of their first ones."""
    scores: dict[str, list[float]] = {}
    for row in rows:
        scores.setdefault(row.method, []).append(row.score.value)
    return [
        MethodMean(method, len(own), math.fsum(own) / len(own), min(own), max(own))
        for method, own in scores.items()
        if len(own) > 1
    ]


def _row(run: _Read, first: _Read | None) -> RunRow:
    scorer, none = scorer_of(run.state), run.rows("none")
    known, weights = scores_by_task(run.best, scorer), _weights(run.best)
    scores, counts = [known[name] for name in weights], [*weights.values()]
    spent, config = run.meter.total, run.created.config
    return RunRow(
        run=run.name,
        method=str(config.get("method", {}).get("kind", "skillopt")),
        seed=int(config["seed"]),
        score=mean(means_of(scores), counts, all_or_nothing_runs(scores, counts)),
        over_start=_claim(run, run.rows("initial"), run.best),
        over_none=_claim(run, none, run.best) if none else None,
        over_first=_claim(run, first.best, run.best) if first else None,
        asked=run.state.asked,
        budget=config.get("method", {}).get("rollouts"),
        rollouts=spent.rollouts,
        optimizer=run.optimizer.prompt_tokens + run.optimizer.completion_tokens,
        target=run.target.prompt_tokens + run.target.completion_tokens,
        usd=spent.usage.cost_usd,
        seconds=round(spent.seconds, 3),
        skill_tokens=estimate_tokens(run.state.skills[run.state.best].text),
        findings=tuple(run.state.chosen.findings) if run.state.chosen else (),
    )


def _claim(run: _Read, before: Sequence[RolloutRow], after: Sequence[RolloutRow]) -> Claim:
    """What the test tasks say of one skill against another."""
    scorer, weights = scorer_of(run.state), _weights(after)
    old, new = scores_by_task(before, scorer), scores_by_task(after, scorer)
    counts = [*weights.values()]
    return claim([old[n] for n in weights], [new[n] for n in weights], counts, "test")


def _weights(rows: Sequence[RolloutRow]) -> dict[str, float]:
    """How often each different task counts: those with the same content share a rollout, and the
    first of them stands for all."""
    alike: dict[str, list[str]] = {}
    for row in rows:
        alike.setdefault(row.key, []).append(row.task)
    return {tasks[0]: float(len(tasks)) for tasks in alike.values()}


def _read(root: Path) -> _Read:
    records = read_records(root)
    state, meter = fold(records), Meter()
    for record in records:
        meter.add(record)
    if state.created is None or state.done is None:
        raise RunError(f"{root}: is not finished; 'skillopt train' goes on with it")
    replies = [r.usage for r in records if isinstance(r, Replied) and not r.inherited]
    rollouts = [r.usage for r in records if isinstance(r, RolloutRan)]
    found = _Read(
        root.name, state.created, state, meter, Usage.total(replies), Usage.total(rollouts)
    )
    if not found.best or not found.rows("initial"):
        raise RunError(
            f"{root}: has no scores on a test split; train with final.test and test tasks"
        )
    return found


def _at(created: RunCreated, key: str) -> Any:
    """A value of a run's first record by its dotted key."""
    found: Any = created.model_dump(mode="json")
    for name in key.split("."):
        found = found.get(name, {})
    return found
