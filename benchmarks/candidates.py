"""Several candidates a step, and the next batch in advance: the tables of ``docs/gates.md``.
``python -m benchmarks candidates`` runs it, in about ten minutes."""

from __future__ import annotations

import heapq
import math
import random
import sys
from collections.abc import Sequence
from statistics import mean
from typing import Any

from benchmarks.gates import POOLS
from skillopt.gates.rivals import search_of
from skillopt.gates.simulation import Cell, Setting, cell

RUNS = {17: 40, 40: 20}
"""Runs of a cell by number of selection tasks."""
RULES = ("strict", "fresh")
CANDIDATES = (1, 2, 3, 5)
DIVIDED = ((1, 6), (2, 3), (3, 2), (6, 1))
"""Candidates of a step and edits of each, of six edits a step."""
STEPS = 12
"""Steps with several edits."""
SEED = 5000

Row = dict[str, Any]


def run() -> dict[str, list[Row]]:
    """All tables."""
    return {"more": more(), "divided": divided(), "ahead": ahead()}


def more() -> list[Row]:
    """One to five candidates of one edit each; and one with as many rollouts in all."""
    found = []
    for size in RUNS:
        for rule in RULES:
            for count in CANDIDATES:
                settings = [Setting(size, pool, candidates=count) for pool in POOLS]
                cells = [_cell(rule, one) for one in settings]
                row = _row(size, rule, cells) | {"candidates": count}
                if count > 1:
                    single = [Setting(size, pool) for pool in POOLS]
                    pairs = zip(single, cells, strict=True)
                    row["steps"] = round(mean(_cell(rule, s, c.rollouts).gain for s, c in pairs), 4)
                found.append(row)
                print(f"{size} tasks, {rule}, {count} candidates", file=sys.stderr, flush=True)
    return found


def divided() -> list[Row]:
    """Six edits a step, in one candidate or divided among several."""
    found = []
    for size in RUNS:
        for rule in RULES:
            for count, bundle in DIVIDED:
                settings = [Setting(size, p, STEPS, 40, bundle, count) for p in POOLS]
                cells = [_cell(rule, one) for one in settings]
                found.append(_row(size, rule, cells) | {"candidates": count, "bundle": bundle})
    return found


def _cell(rule: str, setting: Setting, budget: float | None = None) -> Cell:
    seeds = range(SEED, SEED + RUNS[setting.tasks])
    return cell(rule, search_of(rule), setting, seeds, budget)


def _row(size: int, rule: str, cells: Sequence[Cell]) -> Row:
    """The means over the pools."""
    keys = ("gain", "gate_rollouts", "rollouts", "useful", "useless", "harmful")
    means = {key: round(mean(getattr(one, key) for one in cells), 4) for key in keys}
    error = math.sqrt(math.fsum(one.error**2 for one in cells)) / len(cells)
    return {"tasks": size, "rule": rule, **means, "error": round(error, 4)}


# The time of a training, if the next batch runs in advance.

ACCEPTED = 0.25
"""Share of steps that are accepted, about as in the simulation of ``fresh``."""
BATCH, SIGMA = 40, 1.0
"""Training rollouts of a step, and the spread of the durations, which are log-normal."""
THINKING = 2.0
"""Time of the optimizer in a step, in mean durations of a rollout."""
LOOKS = (0.5, 0.75, 1.0)
"""Shares of the split after which the gate looks; most rejected candidates end at the first."""


def ahead() -> list[Row]:
    """Time and rollouts of a training with the next batch in advance, over those without."""
    found = []
    for workers in (4, 8, 16):
        for size in RUNS:
            runs = {s: [_Night(workers, size, s, n).run() for n in range(100)] for s in (0, 0.2, 1)}
            time, rollouts = (mean(one[part] for one in runs[0]) for part in (0, 1))
            for share in (0.2, 1):
                mine = runs[share]
                found.append(
                    {
                        "workers": workers,
                        "tasks": size,
                        "share": share,
                        "time": round(mean(one[0] for one in mine) / time, 3),
                        "rollouts": round(mean(one[1] for one in mine) / rollouts, 3),
                    }
                )
    return found


class _Night:
    """A training of 24 steps on some workers: when each is free again."""

    def __init__(self, workers: int, size: int, share: float, seed: int) -> None:
        self._free, self._size, self._share = [0.0] * workers, size, share
        self._rng = random.Random(seed)
        self._ran = self._batches = self._unused = 0
        self._early: list[float] = []
        """When the rollouts in advance of the present step end."""

    def run(self) -> tuple[float, int]:
        """Its time in mean durations of a rollout, and its rollouts."""
        now, early = 0.0, list[float]()
        for _ in range(24):
            now = max([self._block(now, BATCH - len(early)), *early])
            self._batches += BATCH
            self._early = []
            self._idle(now, now + THINKING)
            now += THINKING
            accepted, done = self._rng.random() < ACCEPTED, 0
            for look in LOOKS if accepted or self._rng.random() < 0.3 else LOOKS[:1]:
                end = self._block(now, math.ceil(look * self._size) - done)
                self._idle(now, end)
                now, done = end, math.ceil(look * self._size)
            self._unused += len(self._early) if accepted else 0
            early = [] if accepted else self._early
        return now, self._ran

    def _begin(self, now: float) -> float:
        """Start a rollout on the first worker that is free; its end."""
        start = max(now, self._free[0])
        end = start + self._rng.lognormvariate(-(SIGMA**2) / 2, SIGMA)
        heapq.heapreplace(self._free, end)
        self._ran += 1
        return end

    def _block(self, now: float, count: int) -> float:
        return max([now, *(self._begin(now) for _ in range(count))])

    def _idle(self, now: float, end: float) -> None:
        """Start rollouts in advance until then."""
        most = min(BATCH, int(self._share * self._batches) - self._unused)
        while len(self._early) < most and max(now, self._free[0]) < end:
            self._early.append(self._begin(now))


def document(found: dict[str, list[Row]]) -> dict[str, str]:
    """The tables of ``docs/gates.md``."""
    head = (
        "| tasks | gate | candidates |{} true gain (gate rollouts) |{} useful | useless | harmful |"
    )
    line = "| ---: | --- | ---: |{} ---: |{} ---: | ---: | ---: |"
    first = [head.format("", " by more steps |"), line.format("", " ---: |")]
    second = [head.format(" edits of each |", ""), line.format(" ---: |", "")]
    for row in found["more"]:
        steps = f" {100 * row['steps']:.1f} |" if "steps" in row else " |"
        first.append(_line(row, "", steps))
    for row in found["divided"]:
        second.append(_line(row, f" {row['bundle']} |", ""))
    third = [
        "| workers | tasks | `ahead` | time | rollouts |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in found["ahead"]:
        where = f"| {row['workers']} | {row['tasks']} | {row['share']:g} "
        third.append(f"{where}| {row['time']:.2f} | {row['rollouts']:.2f} |")
    return {"more": "\n".join(first), "divided": "\n".join(second), "ahead": "\n".join(third)}


def _line(row: Row, bundle: str, steps: str) -> str:
    gain = f"{100 * row['gain']:.1f} ± {100 * row['error']:.1f} ({row['gate_rollouts']:,.0f})"
    kinds = " | ".join(f"{row[kind]:.1f}" for kind in ("useful", "useless", "harmful"))
    head = f"| {row['tasks']} | {row['rule']} | {row['candidates']} |{bundle}"
    return f"{head} {gain} |{steps} {kinds} |"
