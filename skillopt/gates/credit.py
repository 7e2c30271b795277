"""Which edits carried a change, and which can go: what to measure, and what follows from it.

A bundle of edits is judged as one. Afterwards each edit is left out, on the tasks that the bundle
changed, and compared with the bundle itself on the same tasks: not with the outcomes by which the
tasks were chosen, as some of those were chance (docs/gates.md has the figures).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

from skillopt.core.types import GateDecision

Key = TypeVar("Key", bound=Hashable)

NARROW = 1.0
"""An accepted change whose tasks gained and lost differ by at most so many won narrowly."""

LEAST = 2
"""Tasks that a probe has at least, if so many changed."""


@dataclass(frozen=True)
class Probe:
    """What is measured to tell a bundle's edits apart.

    Args:
        groups: numbers of the edits that are left out together, one group after the other; none
            if there are too few rollouts for any.
        tasks: names of the tasks on which the bundle and the bundle without each group run.
    """

    groups: tuple[tuple[int, ...], ...] = ()
    tasks: tuple[str, ...] = ()


def wants_credit(decision: GateDecision, edits: int) -> bool:
    """Whether it is worth knowing which edits carried a change: it has several, it changed
    something, and it was rejected or won narrowly."""
    narrow = len(decision.fixed) - len(decision.broken) <= NARROW
    changed = bool(decision.fixed or decision.broken)
    return edits > 1 and changed and (narrow or not decision.accepted)


def plan_probe(decision: GateDecision, edits: int, budget: float) -> Probe:
    """What to measure of a bundle.

    Each edit is left out alone if the rollouts are enough for that on at least two tasks, otherwise
    each half of the edits. Tasks that got worse and better are taken in turn.

    Args:
        decision: the gate's, on the bundle.
        edits: number of edits in it.
        budget: rollouts, at most.
    """
    pairs = zip_longest(decision.broken, decision.fixed)
    names = [name for pair in pairs for name in pair if name is not None]
    middle = (edits + 1) // 2
    single = tuple((number,) for number in range(edits))
    halves = (tuple(range(middle)), tuple(range(middle, edits)))
    for groups in (single, halves):
        count = min(len(names), int(budget) // (len(groups) + 1))
        if count >= min(LEAST, len(names)) > 0:
            return Probe(groups, tuple(names[:count]))
    return Probe()


def kept_edits(edits: int, bundle: float, without: Mapping[tuple[int, ...], float]) -> list[int]:
    """The edits that did no harm, as far as it was measured.

    Args:
        edits: number of edits in the bundle.
        bundle: its score on the probe's tasks.
        without: the scores without each group.
    """
    harmful = {n for group, score in without.items() if score > bundle + 1e-9 for n in group}
    return [number for number in range(edits) if number not in harmful]


def removal_order(gains: Mapping[Key, float], tries: Mapping[Key, int]) -> list[Key]:
    """The order in which accepted edits are tried to be taken out: those that were tried least
    often, and of these the ones with the smallest gain; of equal ones the older.

    Args:
        gains: what was measured of each edit, oldest first.
        tries: how often it was tried already.
    """
    return sorted(gains, key=lambda edit: (tries.get(edit, 0), gains[edit]))


def affordable(cost: int, spent: int, share: float, judged: int) -> bool:
    """Whether something may be measured beside the steps' own decisions.

    Args:
        cost: rollouts that it takes.
        spent: rollouts of its kind in the run so far.
        share: of ``judged`` that they may be.
        judged: rollouts of the steps' own decisions in the run so far.
    """
    return spent + cost <= share * judged


def mean_of(scores: Sequence[float]) -> float:
    """The mean of some scores, at least one."""
    return sum(scores) / len(scores)
