"""A habit that answers a question in one reply."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from harnesses.protocols.base import Reply
from skillopt.sim.habits import Seen, Statement

Answer = Callable[[Seen], str]
"""The answer to what is seen; "" if the habit cannot tell."""


@dataclass(frozen=True)
class Answering:
    """How the model answers one kind of question; implements :class:`skillopt.sim.habits.Acting`.

    Args:
        words: pattern of the instruction.
        answer: the answer, by what is seen.
    """

    family: str
    words: str
    topics: frozenset[str]
    answer: Answer
    statement: Statement
    complaint: re.Pattern[str]
    rule: str
    before: Callable[[Seen], Reply | None] = lambda seen: None
    """A turn that comes before the answer, if one is needed."""

    def recognises(self, instruction: str) -> bool:
        return re.search(self.words, instruction) is not None

    def rule_present(self, text: str) -> bool:
        return self.statement.stated(text)

    def turn(self, seen: Seen) -> Reply:
        if (first := self.before(seen)) is not None:
            return first
        found = self.answer(seen)
        return Reply(f"<answer>{found}</answer>" if found else "I cannot tell.")
