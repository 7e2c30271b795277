"""What a gate is: the only door into the best skill. It decides; measuring and recording are the
caller's.

A gate of your own is a class with the method of :class:`Gate`, named by import path in
``gate.kind`` or given as ``Plugins(gate=…)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, Protocol

from skillopt.core.metric import Metric, Scorer
from skillopt.core.types import GateDecision, Reward, Rollout, Task

Side = Literal["candidate", "current"]
Measure = Callable[[Side, Sequence[Task], int], Sequence[Rollout]]
"""Runs one side on some tasks and returns their rollouts in the same order, all of them scored.
The number is the repetition, from 0; the same one is never run twice. May raise."""


@dataclass(frozen=True)
class Trial:
    """What a gate has to judge.

    Args:
        tasks: the selection split, at least one.
        known: every reward of the current skill on the split so far, by task name; at least one for
            each task. The place of a reward is the number of its repetition.
        measure: runs more rollouts.
        tried: the same of the candidate, if it was judged before: tasks may be missing.
        before: the same of the skills that were current before, oldest first.
        ties: whether a candidate that scores the same is accepted, as it is wanted for another
            reason: it is shorter.
        raced: how many of the candidate's first outcomes on a task decided that it is judged, and
            not another candidate of its step: these are better than it is.
    """

    tasks: Sequence[Task]
    known: Mapping[str, Sequence[Reward]]
    measure: Measure
    ties: bool = False
    tried: Mapping[str, Sequence[Reward]] = field(default_factory=dict)
    before: Sequence[Mapping[str, Sequence[Reward]]] = ()
    raced: Mapping[str, int] = field(default_factory=dict)


class Gate(Protocol):
    """Decides whether a candidate becomes the current skill."""

    def decide(self, trial: Trial) -> GateDecision:
        """Decide, with as many rollouts as needed. Deterministic: the same rewards lead to the same
        decision, and to the same rollouts in the same order."""


def score_of(reward: Reward, metric: Metric, mix: float) -> Fraction:
    """A reward as :class:`skillopt.core.metric.Scorer` counts it."""
    return Scorer(metric, mix).score(reward)


def mean_score(rewards: Iterable[Reward], metric: Metric = "hard", mix: float = 0.5) -> float:
    """The mean of some rewards, at least one, as :func:`score_of` counts them."""
    return Scorer(metric, mix).mean(rewards)
