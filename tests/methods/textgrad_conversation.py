"""One conversation for TextGrad's package and for ours: the same replies to the same questions.

Only the standard library is used: the package runs in an environment of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

BODY = "# Rules"
BATCH, EPOCHS = 2, 2
REWRITES = (
    "<IMPROVED_VARIABLE>\n# Rules\n- rule 0\n</IMPROVED_VARIABLE>",
    "<IMPROVED_VARIABLE># Rules</IMPROVED_VARIABLE>",
    "I think this is better: <IMPROVED_VARIABLE>\n# Rules\n- rule 1\n</IMPROVED_VARIABLE>",
    "# Rules\n- rule 2",
)
"""Improves, is worse and undone, is as good and kept, has no tags."""
RECORDS = ("response", "skill", "update")


@dataclass
class Conversation:
    """The optimizer's side. A criticism has a name of its own, so that a prompt shows which earlier
    ones it was given.

    Attributes:
        step: the present step's calls, as they come.
    """

    left: list[str] = field(default_factory=lambda: list(REWRITES))
    said: list[str] = field(default_factory=list)
    step: dict[str, Any] = field(default_factory=dict)

    def begin(self) -> dict[str, Any]:
        """Begin a step; its calls are put into the mapping that is returned."""
        self.step = {kind: [] for kind in RECORDS}
        return self.step

    def answer(self, prompt: str) -> str:
        """The reply to a prompt of either program, system prompt included."""
        given = sorted(name for name in self.said if f"[{name}]" in prompt)
        if "<IMPROVED_VARIABLE>" in prompt:
            self.step["update"].append([given, _shown(prompt)])
            return self.left.pop(0)
        kind = "skill" if any(name.startswith("response") for name in given) else "response"
        (task,) = set(re.findall(r"train-\d", prompt))
        name = f"{kind} on {task} #{sum(one.startswith(f'{kind} on {task} ') for one in self.said)}"
        self.said.append(name)
        self.step[kind].append([task, given])
        return f"[{name}] It lacks a rule."


def _shown(prompt: str) -> list[str]:
    """The rules that a prompt shows."""
    return sorted(set(re.findall(r"- rule \d", prompt)))


def in_order(step: dict[str, Any]) -> dict[str, Any]:
    """A step without the order of tasks, which no call depends on: theirs comes from sets."""
    return {kind: sorted(found) if isinstance(found, list) else found
            for kind, found in step.items()}  # fmt: skip
