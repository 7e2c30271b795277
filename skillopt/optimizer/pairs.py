"""Pairs of rollouts: one training task under the skills of two epochs' ends, for the optimizer.

Slow update and meta skill both learn from them. Running the pairs is the trainer's.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from skillopt.core.metric import Scorer
from skillopt.core.text import estimate_tokens
from skillopt.core.types import Rollout
from skillopt.optimizer.briefing import Briefing
from skillopt.optimizer.render import View, clip, fenced
from skillopt.optimizer.steps import ShownStep, render_steps

PAIR_SHARE = 2 / 3
"""Budget of a pair in a prompt, as a share of that of one rollout."""
SHOWN_PAIRS = 8
"""The most pairs of one kind of change in a prompt."""
_CHANGED = re.compile(
    r"^((?:got: )?[-dlbcps][-rwxsStT]{9}[.+@]? .*?)[A-Z][a-z]{2} [ \d]\d +[\d:]{4,5}(?= )"
)
_TOOK = re.compile(r"\bin \d+\.\d+ ?m?s(econds)?\b")
_COMPARED_LINES = 4_000
"""Lines of a run that are compared; more would take seconds."""

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


def changed(pairs: Sequence[Pair]) -> bool:
    """Whether any pair shows more than that its task was solved both times."""
    return any(pair.change != "stable" for pair in pairs)


def shown_pairs(pairs: Sequence[Pair], briefing: Briefing, share: float) -> dict[str, object]:
    """The pairs as variables of a template: regressions first, stable tasks as a number only.

    Pairs of the same change whose feedback is the same but for numbers are one, with their count.
    What is not shown is named by its feedback.

    Args:
        pairs: the compared rollouts, all scored.
        briefing: the epoch end's; decides what the optimizer may see of a rollout.
        share: of the usual budget, less than 1 if a longer prompt was refused.
    """
    tokens = round(briefing.trajectory_tokens * PAIR_SHARE * share)
    titles: dict[Change, str] = {
        "regressed": "Got worse",
        "still failing": "Still failing",
        "improved": "Got better",
    }
    groups = []
    for change, title in titles.items():
        alike: dict[str, list[tuple[View, View]]] = {}
        for pair in pairs:
            if pair.change == change:
                views = briefing.view(pair.before), briefing.view(pair.after)
                alike.setdefault(_kind_of(views, change), []).append(views)
        ordered = sorted(alike.values(), key=len, reverse=True)
        groups.append(
            {
                "title": title,
                "count": sum(map(len, ordered)),
                "pairs": [_shown(views, tokens, change) for views in ordered[:SHOWN_PAIRS]],
                "left_out": [_missed(views) for views in ordered[SHOWN_PAIRS:]],
            }
        )
    return {"groups": groups, "stable": sum(pair.change == "stable" for pair in pairs)}


def _kind_of(views: tuple[View, View], change: Change) -> str:
    """What pairs that are shown as one have in common: the feedback on the run that failed."""
    before, after = views
    said = before.feedback if change == "improved" else after.feedback
    if not said:
        return before.task  # Nothing tells these runs apart but their tasks.
    return re.sub(r"['\"`].*?['\"`]|\d+", "#", said)


def _missed(views: Sequence[tuple[View, View]]) -> str:
    said = views[0][1].feedback or views[0][0].feedback or "no feedback"
    line = " ".join(clip(said.split("\n")[0], 40).split())
    return f"{len(views)} × {line}" if len(views) > 1 else line


def _shown(views: Sequence[tuple[View, View]], tokens: int, change: Change) -> dict[str, object]:
    """One pair: the task once, both outcomes, and what was done: where the outcome has changed,
    only what differs, and else the second run."""
    before, after = views[0]
    room = tokens * 7 // 12
    done = _steps(after, room) if change == "still failing" else _difference(before, after, room)
    return {
        "alike": len(views),
        "task": clip(before.task, tokens // 6),
        "before": before.outcome(tokens // 8),
        "after": after.outcome(tokens // 8),
        "difference": done,
    }


def _steps(view: View, tokens: int) -> str:
    steps = render_steps(view.steps, tokens)
    return f"Steps of the second run:\n\n{fenced(steps)}" if steps else "No steps were recorded."


def _difference(before: View, after: View, tokens: int) -> str:
    """What the second run did otherwise, as changed lines if the two are alike and else as the
    steps of both."""
    old, new = _lines(before.steps), _lines(after.steps)
    old += ["[final answer]", *before.answer.split("\n")]
    new += ["[final answer]", *after.answer.split("\n")]
    known = {_untimed(line): line for line in old}
    new = [known.get(_untimed(line), line) for line in new]
    if old == new:
        return "Both runs did and said the same."
    if len(old) + len(new) <= _COMPARED_LINES:
        changes = list(difflib.unified_diff(old, new, n=2, lineterm=""))[2:]
        text = "\n".join(line for line in changes if not line.startswith("@@ "))
        if estimate_tokens(text) <= tokens:
            return f"Lines of the first run (-) and of the second (+):\n\n{fenced(text)}"
    own = [step for step in after.steps if step.text() not in {s.text() for s in before.steps}]
    half = tokens // 2
    first = render_steps(before.steps, half) or "none"
    second = render_steps(own, half) or "none but those of the first"
    return (
        f"Steps of the first run:\n\n{fenced(first)}\n\nOf the second those that differ:\n\n"
        f"{fenced(second)}"
    )


def _untimed(line: str) -> str:
    """A line of ``ls -l`` without its time of change, and of a test runner without how long it
    took: no two runs have the same."""
    return _TOOK.sub("#", _CHANGED.sub(r"\1#", line))


def _lines(steps: Sequence[ShownStep]) -> list[str]:
    """The steps without their numbers, line by line."""
    return [line for step in steps for line in step.text().split("\n")]
