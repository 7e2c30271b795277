"""Pairs of rollouts: one training task under the skills of two epochs' ends, for the optimizer.

Slow update and meta skill both learn from them. Running the pairs is the trainer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from skillopt.core.metric import Scorer
from skillopt.core.types import Rollout
from skillopt.optimizer.briefing import Briefing

PAIR_TOKENS = 1000
"""Token budget of each rollout of a pair in a prompt."""
SHOWN_PAIRS = 8
"""The most pairs of one kind of change in a prompt."""

Change = Literal["improved", "regressed", "still failing", "stable"]


@dataclass(frozen=True)
class Pair:
    """One training task under the skill of the last epoch's end and under that of this one's."""

    before: Rollout
    after: Rollout
    scorer: Scorer = Scorer()
    """How rewards are counted."""

    @property
    def change(self) -> Change:
        """What became of the task."""
        match self.scorer.change(self.before.reward, self.after.reward):
            case "better":
                return "improved"
            case "worse":
                return "regressed"
        return "stable" if self.scorer.succeeds(self.after.reward) else "still failing"


def shown_pairs(pairs: Sequence[Pair], briefing: Briefing, share: float) -> dict[str, object]:
    """The pairs as variables of a template: regressions first, stable tasks as a number only.

    Args:
        pairs: the compared rollouts, all scored.
        briefing: the epoch end's; decides what the optimizer may see of a rollout.
        share: of :data:`PAIR_TOKENS`, less than 1 if a longer prompt was refused.
    """
    tokens = round(PAIR_TOKENS * share)
    titles: dict[Change, str] = {
        "regressed": "Got worse",
        "still failing": "Still failing",
        "improved": "Got better",
    }
    groups = []
    for change, title in titles.items():
        chosen = [pair for pair in pairs if pair.change == change][:SHOWN_PAIRS]
        shown = [
            {
                "before": briefing.show(pair.before, tokens),
                "after": briefing.show(pair.after, tokens),
            }
            for pair in chosen
        ]
        groups.append((title, shown))
    return {"groups": groups, "stable": sum(pair.change == "stable" for pair in pairs)}
