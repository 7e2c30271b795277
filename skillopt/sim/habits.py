"""What a habit of the simulated model is: how it does one kind of task, and the rule that mends it.

A test instrument, not a language model: a habit knows no task and no answer, and does better only
if its rule is in a text that is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from harnesses.protocols.base import Conversation, Reply

_NEGATION = re.compile(
    r"\b(not|never|avoid|stop|refrain|no longer|instead of|rather than|unlike|cannot|nor)\b|n't\b"
)
_REJECTED_BEFORE = re.compile(r"\b(wrong|incorrect|mistake) (is )?to\b|\bforbidden\b")
_REJECTED_AFTER = re.compile(
    r"\b(is|are|be) (\w+ ){0,2}(wrong|incorrect|forbidden|mistakes?|errors?)\b|\btoo (high|low"
    r"|large)\b"
    r"|\b(over|under)stat\w+|\binflat\w+|\bdistort|\b(is|are) (not|never) (used|valid|right"
    r"|meant)\b"
)
_AFFIRMING = re.compile(
    r"\b(do not|don't|never|if you) (forget|ignore|overlook|miss|fail)\b|no matter (whether|how|if)"
)
_SENTENCE = re.compile(r"[;:.(]\s*(?=\D)")
_CLAUSE = re.compile(
    r"(?:[;:.(]|, (?!or ))\s*(?=\D)"
    r"|\s(?:but|and then|so that|so|because|since|while|although|though)\s"
)
_OPEN = re.compile(
    r"(?<!or )\bwhether|\bsuppos(e|ing)\b|\bask (the|for|which|what|who|someone|first|them)\b"
    r"|check (how|if)\b|\b(is|are) ambiguous|\bdecide\b|find out|look at\b|\bdepends?\b"
    r"|pay attention"
    r"|\bif\b[^,;]*\bwere\b|may be either|up to the\b|no assumption|\bconsider\b|\?(\s|$)|\bunclear"
    r"|\bunknown\b|\bmight\b|\bconfirm\b|(that|this) (is|was) (wrong|outdated)|not follow (it|that)"
    r"|\b(used|supposed) to\b|no longer|\b(was|were) (taken|read|counted|treated|written|left)\b"
)
"""What leaves a question open, says what would be if, or quotes what does not hold."""


@dataclass(frozen=True)
class Statement:
    """Recognises that a line states a rule, whatever its wording.

    It knows words and negation, no sense: what it takes for the rule may say something else in a
    way that it does not know.

    Args:
        topics: patterns that must all occur in the line.
        point: pattern of what the rule demands; a negation in the same clause reverses it.
        against: pattern of what the rule forbids; a line that demands it states no such rule, and
            one that forbids it does.
        elsewhere: pattern of lines about something else.
    """

    topics: tuple[str, ...]
    point: str
    against: str = ""
    elsewhere: str = ""

    def stated(self, text: str) -> bool:
        """Whether a line or bullet of ``text`` states it, without negating it."""
        return any(self._stated(line) for line in bullets(text))

    def _stated(self, line: str) -> bool:
        line = _AFFIRMING.sub("", line.lower())
        if not all(re.search(topic, line) for topic in self.topics):
            return False
        if (self.elsewhere and re.search(self.elsewhere, line)) or _OPEN.search(line):
            return False
        votes = [*_votes(line, self.point, 1), *(_votes(line, self.against, -1))]
        return bool(votes) and min(votes) > 0


def _votes(line: str, pattern: str, vote: int) -> Iterator[int]:
    """For each place where a pattern occurs its vote, or the contrary where it is negated."""
    for match in re.finditer(pattern, line) if pattern else ():
        before = [each.end() for each in _CLAUSE.finditer(line, 0, match.start())]
        after = _SENTENCE.search(line, match.end())
        start, end = before[-1] if before else 0, after.start() if after else len(line)
        negated = (
            _NEGATION.search(line, start, match.start())
            or _REJECTED_BEFORE.search(line, start, match.start())
            or _REJECTED_AFTER.search(line, match.start(), end)
        )
        yield -vote if negated else vote


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
