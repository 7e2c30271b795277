"""What a habit of the simulated model is: how it does one kind of task, and the rule that mends it.

A test instrument, not a language model: a habit knows no task and no answer, and does better only
if its rule is in a text that is passed in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from harnesses.protocols.base import Conversation, Reply

_NEGATION = re.compile(r"\b(not|never|avoid|stop|refrain|no longer|instead of|rather than)\b|n't\b")
_AFFIRMING = re.compile(r"\b(do not|don't|never) (forget|ignore|overlook|miss|fail)\b")
_CLAUSE = re.compile(r"[;:.,(]\s| but | and then ")


@dataclass(frozen=True)
class Statement:
    """Recognises that a line states something, whatever its wording."""

    topics: tuple[str, ...]
    """Patterns that must all occur in the line."""
    point: str
    """Pattern of what the rule demands; a negation before it in the same clause reverses it."""

    def stated(self, text: str) -> bool:
        """Whether a line or bullet of ``text`` states it, without negating it."""
        return any(self._stated(line) for line in bullets(text))

    def _stated(self, line: str) -> bool:
        line = _AFFIRMING.sub("", line.lower())
        if not all(re.search(topic, line) for topic in self.topics):
            return False
        for match in re.finditer(self.point, line):
            clause = _CLAUSE.split(line[: match.start()])[-1]
            if not _NEGATION.search(clause):
                return True
        return False


@dataclass(frozen=True)
class Seen:
    """What a habit acts on.

    Args:
        conversation: all that the model is shown.
        index: position of the task's message in it.
        instruction: the task's text.
        shell: name of the shell tool; None if there is none.
        knows: whether the habit's rule has been read.
    """

    conversation: Conversation
    index: int
    instruction: str
    shell: str | None
    knows: bool


class Habit(Protocol):
    """How the model does one kind of task.

    ``topics`` are words that such a task shares with a skill's description; ``complaint`` matches
    the verifier's feedback on a run that lacked the rule; ``rule`` is the rule as a good optimizer
    would write it.
    """

    @property
    def family(self) -> str: ...
    @property
    def topics(self) -> frozenset[str]: ...
    @property
    def complaint(self) -> re.Pattern[str]: ...
    @property
    def rule(self) -> str: ...

    def recognises(self, instruction: str) -> bool:
        """Whether an instruction asks for this kind of task."""

    def rule_present(self, text: str) -> bool:
        """Whether a line of ``text`` states the rule."""


class Acting(Habit, Protocol):
    """A habit that decides on each turn of its own."""

    def turn(self, seen: Seen) -> Reply:
        """The model's next turn."""


def bullets(text: str) -> list[str]:
    """The lines of a Markdown text, with wrapped bullets and paragraphs joined to one line."""
    joined: list[str] = []
    fresh = True
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or fresh or re.match(r"([-*+]|\d+[.)]|#+|\|)\s?", stripped):
            joined.append(stripped)
        else:
            joined[-1] += " " + stripped
        fresh = not stripped or stripped.startswith("#")
    return [line for line in joined if line]
