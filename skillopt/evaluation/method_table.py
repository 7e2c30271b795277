"""Methods side by side: the runs of each, such as with different seeds, put together.

The runs of a method are those that differ in nothing but their seed. Differences between methods
are tested twice: over tasks, with the mean of each task over a method's runs, and over runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from skillopt.core.types import RolloutRow
from skillopt.evaluation.claim import Claim, Verdict, claim, means_of, scorer_of
from skillopt.evaluation.comparable import UNTRAINED, differences, method_of, seed_of, setup_of
from skillopt.evaluation.run_table import FinishedRun, RunRow, rows_of
from skillopt.evaluation.stats import (
    Estimate,
    RunScores,
    all_or_nothing_runs,
    difference_of_runs,
    mean_of_runs,
    percent,
    points,
)


@dataclass(frozen=True)
class MethodRow:
    """The runs of one method.

    Args:
        method: its kind; with the name of its first run if another method here has the same.
        runs, seeds: which.
        score: the mean score of the runs' best skills on the test split.
        over_start, over_none: the gain over the skills that they started from and over no skill;
            None for the latter if that was not scored in all of them.
        scores: of each run.

    The intervals are over runs. There is none for a single run of a method that other seeds may
    change, none of the score if all have the same skill, and none of a gain of a skill over itself.
    """

    method: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    score: Estimate
    over_start: Estimate
    over_none: Estimate | None
    scores: tuple[float, ...]

    @property
    def words(self) -> str:
        """In one line."""
        each = ", ".join(
            f"{100 * score:.0f} with seed {seed}"
            for score, seed in zip(self.scores, self.seeds, strict=True)
        )
        return f"{self.method}: {percent(self.score)} over {len(self.runs)} runs: {each}"

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {**asdict(self), "words": self.words}


@dataclass(frozen=True)
class MethodPair:
    """Two methods, the later against the earlier one.

    Args:
        method, other: which.
        over_tasks: paired by task, each task's mean over the runs of a method.
        over_runs: with the run as the unit; None if one of them was trained once only, so that the
            difference is one between two runs.
    """

    method: str
    other: str
    over_tasks: Claim
    over_runs: Estimate | None

    @property
    def verdict(self) -> Verdict:
        """``confirmed`` or ``contradicted`` if tasks and runs both say so."""
        if self.over_runs is None or self.over_runs.sign == self.over_tasks.gain.sign:
            return self.over_tasks.verdict
        return "not confirmed"

    @property
    def words(self) -> str:
        """In one line."""
        found = f"{self.method} against {self.other}: {self.verdict}: "
        found += f"{points(self.over_tasks.gain)} points over tasks"
        if self.over_tasks.gain.low is not None:
            found += f" (exact p = {self.over_tasks.p:.2g})"
        if self.over_runs is None:
            return f"{found}; of single runs, so it says nothing about other seeds"
        return f"{found}, {points(self.over_runs)} over runs"

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "method": self.method,
            "other": self.other,
            "verdict": self.verdict,
            "over_tasks": self.over_tasks.to_json(),
            "over_runs": asdict(self.over_runs) if self.over_runs else None,
            "words": self.words,
        }


@dataclass(frozen=True)
class MethodRuns:
    """A method with its runs."""

    name: str
    kind: str
    runs: tuple[FinishedRun, ...]

    @property
    def known(self) -> bool:
        """Whether the runs show what other seeds would give. A copy of a run, which has its seed
        and its skill, does not."""
        distinct = {(seed_of(run.created), run.state.best) for run in self.runs}
        return len(distinct) > 1 or self.kind in UNTRAINED

    def scores_of(self, role: str) -> RunScores | None:
        """The scores of one skill of each run: ``best``, ``initial`` or ``none``; None if one of
        the runs has no such."""
        found = [self._rows(run, role) for run in self.runs]
        if not all(found):
            return None
        runs = [one.scores(rows) for one, rows in zip(self.runs, found, strict=True)]
        counts = [*self.runs[0].weights.values()]
        whole = sum(counts)
        values = tuple(
            sum(v * w for v, w in zip(means_of(scores), counts, strict=True)) / whole
            for scores in runs
        )
        trials = min(all_or_nothing_runs(runs[0], counts), sum(map(len, runs[0])))
        different = {frozenset(row.key for row in rows) for rows in found}
        return RunScores(values, trials, len(different))

    def _rows(self, run: FinishedRun, role: str) -> list[RolloutRow]:
        return run.best if role == "best" else run.rows(role)

    def by_task(self) -> list[list[float]]:
        """The best skills' scores on each task, those of all runs together."""
        return self.runs[0].scores([row for run in self.runs for row in run.best])

    @property
    def trials(self) -> float:
        """How many trials of all or nothing these are: runs with the same skill share theirs."""
        distinct = {frozenset(row.key for row in run.best): run.best for run in self.runs}
        scores = self.runs[0].scores([row for rows in distinct.values() for row in rows])
        return all_or_nothing_runs(scores, [*self.runs[0].weights.values()])


def methods_of(runs: Sequence[FinishedRun]) -> list[MethodRuns]:
    """The methods of some runs, in the order of their first ones."""
    groups: list[list[FinishedRun]] = []
    for run in runs:
        setup = setup_of(run.created)
        known = (group for group in groups if setup_of(group[0].created) == setup)
        group = next(known, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    kinds = [method_of(group[0].created) for group in groups]
    return [
        MethodRuns(
            kind if kinds.count(kind) == 1 else f"{kind} ({group[0].name})", kind, tuple(group)
        )
        for kind, group in zip(kinds, groups, strict=True)
    ]


def method_rows(methods: Sequence[MethodRuns]) -> list[MethodRow]:
    """One row for each method."""
    return [_row(method) for method in methods]


def _row(method: MethodRuns) -> MethodRow:
    best, start, none = (method.scores_of(role) for role in ("best", "initial", "none"))
    assert best is not None and start is not None, "checked when the runs were read"
    return MethodRow(
        method=method.name,
        runs=tuple(run.name for run in method.runs),
        seeds=tuple(seed_of(run.created) for run in method.runs),
        score=mean_of_runs(best),
        over_start=_gain(method, "initial", start, best),
        over_none=_gain(method, "none", none, best) if none else None,
        scores=best.values,
    )


def _gain(method: MethodRuns, role: str, before: RunScores, after: RunScores) -> Estimate:
    same = all(run.rows(role) == run.best for run in method.runs)
    if same or not method.known:
        return Estimate(after.mean - before.mean)
    return difference_of_runs(before, after)


def method_pairs(methods: Sequence[MethodRuns]) -> list[MethodPair]:
    """Every method against each earlier one; those against the first one come first."""
    return [_pair(first, second) for first, second in combinations(methods, 2)]


def _pair(first: MethodRuns, second: MethodRuns) -> MethodPair:
    counts = [*first.runs[0].weights.values()]
    old, new = first.scores_of("best"), second.scores_of("best")
    assert old is not None and new is not None, "checked when the runs were read"
    over_runs = difference_of_runs(old, new) if first.known and second.known else None
    trials = min(first.trials, second.trials)
    tasks = claim(first.by_task(), second.by_task(), counts, "test", trials)
    return MethodPair(second.name, first.name, tasks, over_runs)


@dataclass(frozen=True)
class Comparison:
    """Finished runs and their methods side by side.

    Args:
        about: what they have in common, in words.
        rows: the runs.
        methods, pairs: their methods, and the differences of these.
        unlike: what methods differ in besides the method, in words.
        failed: why a run is missing, by its name.
    """

    about: str
    rows: Sequence[RunRow]
    methods: Sequence[MethodRow]
    pairs: Sequence[MethodPair]
    unlike: Sequence[str]
    failed: Mapping[str, str]

    @classmethod
    def of(cls, runs: Sequence[FinishedRun], failed: Mapping[str, str]) -> Comparison:
        """Of runs from :func:`~skillopt.evaluation.run_table.read_finished`; there may be none."""
        methods = methods_of(runs)
        told = differences({method.name: method.runs[0].created for method in methods})
        about = _about(runs[0]) if runs else "no run is finished"
        pairs = method_pairs(methods)
        return cls(about, rows_of(runs), method_rows(methods), pairs, told, failed)

    @property
    def remarks(self) -> list[str]:
        """What a reader of the scores must know besides."""
        return [*self.unlike, *(f"{name} is not finished: {w}" for name, w in self.failed.items())]

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "about": self.about,
            "runs": [row.to_json() for row in self.rows],
            "methods": [row.to_json() for row in self.methods],
            "pairs": [pair.to_json() for pair in self.pairs],
            "unlike": list(self.unlike),
            "failed": dict(self.failed),
        }


def _about(run: FinishedRun) -> str:
    config, tasks = run.created.config, len(run.weights)
    word = scorer_of(run.state).word
    return (
        f"{config['harness']['name']} with {config['target']['name']}: {word} on {tasks} different "
        "test tasks, the same for all"
    )
