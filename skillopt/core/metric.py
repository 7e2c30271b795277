"""From a reward to a score, and from two scores to better, worse or the same: one way for gate,
optimizer, tables and claims, as ``gate.metric`` says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from skillopt.core.types import Reward

Metric = Literal["hard", "soft", "mixed"]
Change = Literal["better", "worse", "same"]

NEARLY_FULL = Fraction(9, 10)
"""The score from which a rollout counts as a success: what it still lacks is no failure."""


@dataclass(frozen=True)
class Scorer:
    """How rewards are counted.

    Args:
        metric: which reward counts.
        mix: weight of the soft reward if the metric is ``mixed``; the hard one has the rest.
    """

    metric: Metric = "hard"
    mix: float = 0.5

    def score(self, reward: Reward) -> Fraction:
        """A reward as a score in [0, 1]: exact, so that sums do not depend on their order and a tie
        is a tie. A reward of 0.1 means one tenth, not the nearest binary fraction."""
        match self.metric:
            case "hard":
                return _exact(reward.hard)
            case "soft":
                return _exact(reward.soft)
        weight = _exact(self.mix)
        return weight * _exact(reward.soft) + (1 - weight) * _exact(reward.hard)

    def mean(self, rewards: Iterable[Reward]) -> float:
        """The mean score of some rewards, at least one."""
        scores = [self.score(reward) for reward in rewards]
        return float(sum(scores, Fraction()) / len(scores))

    def succeeds(self, reward: Reward) -> bool:
        """Whether a rollout counts as a success, for those who learn from it: it is solved, or by
        a metric of degrees has nearly the full score."""
        return self.score(reward) >= NEARLY_FULL

    def change(self, before: Reward, after: Reward) -> Change:
        """What became of a task."""
        old, new = self.score(before), self.score(after)
        return "same" if old == new else "better" if new > old else "worse"

    @property
    def word(self) -> str:
        """What a score is called in tables: ``solved``, ``soft score`` or ``mixed score``."""
        return "solved" if self.metric == "hard" else f"{self.metric} score"


@lru_cache(maxsize=4096)
def _exact(share: float) -> Fraction:
    """A share as the fraction that it stands for. A run has few different ones."""
    return Fraction(share).limit_denominator(1_000_000)
