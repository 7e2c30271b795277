"""What a store holds, by kind and age, and what of it can go by rule."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sandboxes.trees import entries_below
from skillopt.core.errors import FormatError
from skillopt.core.types import Rollout
from skillopt.rollouts.catalogue import Filter, finished, keys_of_run
from skillopt.rollouts.store import RolloutStore
from skillopt.run.journal import LOG

_DAY_S = 86400.0
AGES = {"less than a day": 1, "1 to 7 days": 7, "7 to 30 days": 30}
"""The ages by which rollouts are counted, with the days at which each ends."""
OLDER, DAMAGED = "more than 30 days", "damaged"


@dataclass
class Amount:
    """A number of rollouts, and the bytes of their files."""

    rollouts: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one more."""
        self.rollouts += 1
        self.bytes += size


Amounts = dict[str, Amount]


@dataclass
class Contents:
    """What a store holds.

    Args:
        scored: its finished rollouts.
        unused: those of them that no run refers to.
        failed: the last attempts at rollouts that failed for infrastructure.
        tasks, skills, statuses, ages: the finished ones, each by one property; skills by their
            digest, ``none`` for runs without one.
    """

    scored: Amount = field(default_factory=Amount)
    unused: Amount = field(default_factory=Amount)
    failed: Amount = field(default_factory=Amount)
    tasks: Amounts = field(default_factory=dict)
    skills: Amounts = field(default_factory=dict)
    statuses: Amounts = field(default_factory=dict)
    ages: Amounts = field(default_factory=dict)


def contents(store: RolloutStore) -> Contents:
    """Count what a store holds, with one look at every rollout."""
    found, used = Contents(), used_keys(store)
    for folder in store.folders():
        size = size_of(folder)
        found.scored.add(size)
        if folder.name not in used:
            found.unused.add(size)
        try:
            rollout = Rollout.read(folder)
        except (FormatError, OSError):
            found.statuses.setdefault(DAMAGED, Amount()).add(size)
            continue
        for amounts, name in (
            (found.tasks, rollout.task.name),
            (found.skills, rollout.identity.get("skill") or "none"),
            (found.statuses, rollout.status.value),
            (found.ages, _age(rollout)),
        ):
            amounts.setdefault(name, Amount()).add(size)
    for folder in store.failures():
        found.failed.add(size_of(folder))
    return found


def prunable(store: RolloutStore, wanted: Filter, *, failed: bool, used: bool) -> Iterator[Path]:
    """The folders of rollouts that can go.

    Args:
        store: to look into.
        wanted: which rollouts are meant.
        failed: look at the last attempts that failed for infrastructure, not at finished rollouts.
        used: also those that a run refers to.
    """
    kept = frozenset() if used else used_keys(store)
    for folder in store.failures() if failed else store.folders():
        if folder.name in kept:
            continue
        try:
            takes = wanted.takes(Rollout.read(folder))
        except (FormatError, OSError):
            continue  # 'skillopt store verify' names it, and 'forget KEY' removes it.
        if takes:
            yield folder


def used_keys(store: RolloutStore) -> frozenset[str]:
    """The keys that the runs beside a store refer to."""
    logs = store.root.parent.glob(f"*/{LOG}")
    return frozenset().union(*(keys_of_run(log.parent) for log in logs))


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder."""
    files = (e for e in entries_below(folder) if e.is_file(follow_symlinks=False))
    return sum(file.stat(follow_symlinks=False).st_size for file in files)


def largest(amounts: Amounts, most: int) -> Iterable[tuple[str, Amount]]:
    """The names with the most bytes, and ``others`` for the rest."""
    ranked = sorted(amounts.items(), key=lambda one: (-one[1].bytes, one[0]))
    yield from ranked[:most]
    if rest := ranked[most:]:
        yield (
            f"{len(rest)} others",
            Amount(sum(one.rollouts for _, one in rest), sum(one.bytes for _, one in rest)),
        )


def _age(rollout: Rollout) -> str:
    days = (time.time() - finished(rollout)) / _DAY_S
    return next((name for name, end in AGES.items() if days < end), OLDER)
