"""Finished runs side by side, whatever their method: scores on the same test tasks, differences
paired by task, and what each has cost. Everything comes from their logs; nothing is run.

:mod:`skillopt.evaluation.method_table` puts the runs of one method together.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harnesses.base import Usage
from skillopt.core.text import estimate_tokens
from skillopt.core.types import RolloutRow
from skillopt.evaluation.claim import Claim, claim, means_of, scorer_of, scores_by_task
from skillopt.evaluation.comparable import budget_of, check_comparable, method_of, seed_of
from skillopt.evaluation.stats import Estimate, all_or_nothing_runs, mean
from skillopt.run.folder import RunError
from skillopt.run.journal import read_records
from skillopt.run.records import (
    AnyRecord,
    JudgeAsked,
    Replied,
    RolloutRan,
    RolloutsAsked,
    RunCreated,
)
from skillopt.run.spending import Meter
from skillopt.run.state import SETTLING, State

FINAL = ("final", "test")
"""Stages of the final scores, which no method asks for."""


@dataclass(frozen=True)
class CostsOf:
    """What a part of a run has cost.

    Args:
        calls: of a model.
        tokens: read and written.
    """

    calls: int
    tokens: int

    @classmethod
    def of(cls, usages: Sequence[Usage]) -> CostsOf:
        """The sum of some usages."""
        total = Usage.total(usages)
        return cls(total.requests, total.prompt_tokens + total.completion_tokens)


@dataclass(frozen=True)
class Point:
    """How far a run was: its selected skill's score on the selection split.

    Args:
        asked: distinct rollouts that the method had asked for.
        score: of the skill that was the best one then.
    """

    asked: int
    score: float


@dataclass(frozen=True)
class RunRow:
    """A finished run.

    Args:
        run, method, seed: which it is.
        score: of its best skill on the test split.
        over_start: against the skill that it started from.
        over_none: against no skill; None if that was not scored (``final.arms``).
        over_first: against the best skill of the first run; None for that run itself.
        asked: distinct rollouts that the method has asked for; None if an earlier version ran it,
            which did not count them.
        budget: ``method.rollouts``.
        asked_tokens: of the agents in these, whichever run has run them; None if one of them was
            run by none of the runs here, or it is not known which they are.
        rollouts: rollouts that were run in all, for the final scores too.
        optimizer, target, judge: calls and tokens of the optimizer, of the agents' model, and of
            the judge if there is one.
        usage: all of it; its cost is None if a price is not known.
        seconds: that the run took, over all its starts.
        skill_tokens: the best skill's estimated length.
        findings: what it has that SkillOpt's own edits may not: its length, what belongs to a
            single task.
        curve: the selection score of its selected skill, by rollouts asked for; empty if these are
            not known.
    """

    run: str
    method: str
    seed: int
    score: Estimate
    over_start: Claim
    over_none: Claim | None
    over_first: Claim | None
    asked: int | None
    budget: int | None
    asked_tokens: int | None
    rollouts: int
    optimizer: CostsOf
    target: CostsOf
    judge: CostsOf
    usage: Usage
    seconds: float
    skill_tokens: int
    findings: tuple[str, ...]
    curve: tuple[Point, ...]

    @property
    def overshoot(self) -> int | None:
        """Rollouts that were asked for beyond the budget; None if it is not known how many were."""
        if self.budget is None:
            return 0
        return None if self.asked is None else max(0, self.asked - self.budget)

    @property
    def usd(self) -> float | None:
        """What it has cost; None if a price is not known."""
        return self.usage.cost_usd

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        claims = {
            name: found.to_json() if (found := getattr(self, name)) else None
            for name in ("over_start", "over_none", "over_first")
        }
        told = {key: value for key, value in asdict(self).items() if key != "usage"}
        parts = {"optimizer": self.optimizer, "target": self.target, "judge": self.judge}
        tokens = {name: part.tokens for name, part in parts.items()}
        calls = {f"{name}_calls": part.calls for name, part in parts.items()}
        more = {"overshoot": self.overshoot, "usd": self.usd, "included": self.usage.included}
        return told | claims | tokens | calls | more


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as its log has it."""

    name: str
    created: RunCreated
    state: State
    meter: Meter
    optimizer: CostsOf
    target: CostsOf
    judge: CostsOf
    curve: tuple[Point, ...] = field(repr=False)
    asked: int | None
    keys: frozenset[str] | None = field(repr=False)
    """Of the rollouts that the method asked for; None if it is not known which they are."""
    ran: Mapping[str, int] = field(repr=False)
    """Tokens of the rollouts that were run, by key."""

    def rows(self, role: str) -> list[RolloutRow]:
        """The rollouts on the test split of ``initial``, ``none`` or another arm."""
        done = self.state.done
        return done.test_rollouts.get(role, []) if done else []

    @property
    def best(self) -> list[RolloutRow]:
        """Of the best skill on the test split; it is the last one, or an earlier one."""
        return self.rows("final" if self.state.best == self.state.current else "best")

    @cached_property
    def weights(self) -> dict[str, float]:
        """How often each different test task counts: those with the same content share a rollout,
        and the first of them stands for all."""
        alike: dict[str, list[str]] = {}
        for row in self.best:
            alike.setdefault(row.key, []).append(row.task)
        return {tasks[0]: float(len(tasks)) for tasks in alike.values()}

    def scores(self, rows: Sequence[RolloutRow]) -> list[list[float]]:
        """The scores of some rollouts on the different test tasks, in their order."""
        known = scores_by_task(rows, scorer_of(self.state))
        return [known[name] for name in self.weights]

    def claim(self, before: Sequence[RolloutRow]) -> Claim:
        """What the test tasks say of the best skill against another one."""
        counts = [*self.weights.values()]
        return claim(self.scores(before), self.scores(self.best), counts, "test")


def read_finished(roots: Sequence[Path]) -> list[FinishedRun]:
    """Some finished runs whose scores can be compared; each once, in their order.

    Raises:
        RunError: one is not finished or has no scores on the test split, or they differ
            in what scores depend on besides the skill.
    """
    first: dict[Path, Path] = {}
    for root in roots:
        first.setdefault(root.resolve(), root)
    once, names = [*first.values()], [root.name for root in first]
    runs = [
        _read(root, name if names.count(name) == 1 else str(root))
        for root, name in zip(once, names, strict=True)
    ]
    for run in runs[1:]:
        check_comparable(runs[0].created, run.created, (runs[0].name, run.name))
    return runs


def compare_runs(roots: Sequence[Path]) -> list[RunRow]:
    """The rows of some finished runs, in their order.

    Raises:
        RunError: as :func:`read_finished`.
    """
    return rows_of(read_finished(roots))


def rows_of(runs: Sequence[FinishedRun]) -> list[RunRow]:
    """The rows of runs that were read."""
    ran = {key: tokens for run in runs for key, tokens in run.ran.items()}
    return [_row(run, None if run is runs[0] else runs[0], ran) for run in runs]


def to_csv(rows: Sequence[RunRow]) -> str:
    """The runs as CSV with a header: one line each; what is not known is empty."""
    flat = [_flat(row) for row in rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(flat[0]) if flat else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def _flat(row: RunRow) -> dict[str, Any]:
    """A run as a flat mapping."""
    claims = {name: getattr(row, name) for name in ("over_start", "over_none", "over_first")}
    parts = {"optimizer": row.optimizer, "target": row.target, "judge": row.judge}
    return {
        "run": row.run,
        "method": row.method,
        "seed": row.seed,
        **_interval("test", row.score),
        **{key: value for name, one in claims.items() for key, value in _claim(name, one).items()},
        "budget": row.budget,
        "rollouts_asked": row.asked,
        "overshoot": row.overshoot,
        "asked_tokens": row.asked_tokens,
        "rollouts_run": row.rollouts,
        **{f"{name}_calls": part.calls for name, part in parts.items()},
        **{f"{name}_tokens": part.tokens for name, part in parts.items()},
        "usd": row.usd,
        "seconds": row.seconds,
        "skill_tokens": row.skill_tokens,
        "findings": "; ".join(row.findings),
    }


def _claim(name: str, found: Claim | None) -> dict[str, Any]:
    ends = _interval(name, found.gain if found else None)
    return ends | {f"{name}_p": found and found.p, f"{name}_verdict": found and found.verdict}


def _interval(name: str, found: Estimate | None) -> dict[str, float | None]:
    ends = (found.value, found.low, found.high) if found else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def _row(run: FinishedRun, first: FinishedRun | None, ran: Mapping[str, int]) -> RunRow:
    scores, counts = run.scores(run.best), [*run.weights.values()]
    none, spent, keys = run.rows("none"), run.meter.total, run.keys
    return RunRow(
        run=run.name,
        method=method_of(run.created),
        seed=seed_of(run.created),
        score=mean(means_of(scores), counts, all_or_nothing_runs(scores, counts)),
        over_start=run.claim(run.rows("initial")),
        over_none=run.claim(none) if none else None,
        over_first=run.claim(first.best) if first else None,
        asked=run.asked,
        budget=budget_of(run.created),
        asked_tokens=(None if keys is None or keys - ran.keys() else sum(ran[key] for key in keys)),
        rollouts=spent.rollouts,
        optimizer=run.optimizer,
        target=run.target,
        judge=run.judge,
        usage=spent.usage,
        seconds=round(spent.seconds, 3),
        skill_tokens=estimate_tokens(run.state.skills[run.state.best].text),
        findings=tuple(run.state.chosen.findings) if run.state.chosen else (),
        curve=run.curve,
    )


def _read(root: Path, name: str) -> FinishedRun:
    records = read_records(root)
    state, meter, points = State(), Meter(), []
    for record in records:
        state.apply(record)
        meter.add(record)
        if isinstance(record, SETTLING):
            points.append(Point(state.asked_so_far, state.best_score))
    if state.created is None or state.done is None:
        raise RunError(f"{root}: is not finished; 'skillopt train' goes on with it")
    optimizer, target, judge = map(CostsOf.of, _usages(records))
    known = any(isinstance(record, RolloutsAsked) for record in records)
    found = FinishedRun(
        name,
        state.created,
        state,
        meter,
        optimizer,
        target,
        judge,
        _curve(points, records, state) if known else (),
        state.asked if known else None,
        _keys(records, state) if known else None,
        _ran(records),
    )
    if not found.best or not found.rows("initial"):
        raise RunError(
            f"{root}: has no scores on a test split; train with final.test and test tasks"
        )
    return found


def _usages(records: Sequence[AnyRecord]) -> tuple[list[Usage], list[Usage], list[Usage]]:
    """What optimizer, agents and judge have used."""
    return (
        [r.usage for r in records if isinstance(r, Replied) and not r.inherited],
        [r.usage for r in records if isinstance(r, RolloutRan)],
        [r.usage for r in records if isinstance(r, JudgeAsked)],
    )


def _keys(records: Sequence[AnyRecord], state: State) -> frozenset[str] | None:
    """Keys of the rollouts that the method asked for: all but the final scores', with the baseline
    or without it. None if neither is as many as it counted, such as with a part of the baseline."""
    if state.chosen is None:
        last = max((i for i, r in enumerate(records) if isinstance(r, SETTLING)), default=0)
        records = records[:last]
    both = (_asked(records, (*FINAL, *besides)) for besides in ((), ("baseline",)))
    return next((keys for keys in both if len(keys) == state.asked), None)


def _asked(records: Sequence[AnyRecord], besides: Collection[str]) -> frozenset[str]:
    """Keys of the rollouts that were asked for, besides those of some stages."""
    found = (r for r in records if isinstance(r, RolloutsAsked) and r.stage not in besides)
    return frozenset(key for record in found for key in record.keys)


def _ran(records: Sequence[AnyRecord]) -> dict[str, int]:
    """Tokens of the rollouts that were run, by key: of all attempts together."""
    found: Counter[str] = Counter()
    for record in records:
        if isinstance(record, RolloutRan):
            found[record.key] += record.usage.prompt_tokens + record.usage.completion_tokens
    return dict(found)


def _curve(
    points: Sequence[Point], records: Sequence[AnyRecord], state: State
) -> tuple[Point, ...]:
    """The points at which the score has changed, and the end.

    Args:
        points: the scores after each step, by all rollouts asked for.
        records: of the run.
        state: the run's at its end.
    """
    # A method that decides by itself need not have asked for the baseline.
    uncounted = len(_asked(records, FINAL)) - state.asked if state.chosen else 0
    final = Point(state.asked, state.best_score)
    moved = [Point(max(0, point.asked - uncounted), point.score) for point in points]
    kept = [p for i, p in enumerate(moved) if not i or p.score != moved[i - 1].score]
    return (*kept, final) if not kept or kept[-1] != final else tuple(kept)
