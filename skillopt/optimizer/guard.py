"""The leak guard: keeps what belongs to single tasks out of the skill, and answers from the prompt.

A skill that carries answers of its training tasks scores well and helps nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from skillopt.optimizer.files import editable_files
from skillopt.optimizer.render import clip
from skillopt.skill import Skill
from skillopt.tasks.owned import Literals, Words, literals_of, words_of
from skillopt.types import Task

WITHHELD = "[expected answer withheld]"
SHOWN = 60
"""Characters of a literal in a reason."""
_REASONS = {
    "answer": "it copies the expected answer of a task",
    "name": "it names a single task",
    "file": "it names a file of a single task",
    "text": "it copies a long literal of a single task",
}


@dataclass(frozen=True)
class LeakGuard:
    """Knows what is a single task's own. Built by :func:`leak_guard`."""

    owned: Mapping[Words, str]
    """Literals that occur in one task only, with their kind."""
    hidden: Mapping[str, Mapping[Words, str]]
    """Of each task, by digest: the expected answers, with the text they stand for. What is found
    in the tests of other tasks too is no answer, unless it is said to be one."""
    lengths: tuple[int, ...]

    def refusal(self, before: Skill, after: Skill) -> str:
        """Why a change copies something of a single task; empty when it does not.

        What stands in the skill already is no reason.
        """
        new = self._found(after)
        if new:
            known = self._found(before)
            new = {words: text for words, text in new.items() if words not in known}
        for kind, reason in _REASONS.items():
            texts = [text for words, text in new.items() if self.owned[words] == kind]
            if texts:
                return f"{reason} ({max(texts, key=len)[:SHOWN]!r})"
        return ""

    def redact(self, task: Task, text: str) -> str:
        """A verifier's feedback without the task's expected answers."""
        own = self.hidden.get(task.digest, {})
        lengths = tuple(sorted({len(words) for words in own}, reverse=True))
        spans = list(_matches(text, own, lengths))
        for start, end, _ in reversed(spans):
            text = text[:start] + WITHHELD + text[end:]
        return text

    def answers(self, task: Task, tokens: int) -> str:
        """A task's expected answers as text of at most ``tokens``; empty where there are none."""
        return clip("\n".join(sorted(self.hidden.get(task.digest, {}).values())), tokens)

    def _found(self, skill: Skill) -> dict[Words, str]:
        """The owned literals that a skill contains, as they stand there."""
        parts = [skill.description, skill.body, *editable_files(skill).values()]
        return {
            words: part[start:end]
            for part in parts
            for start, end, words in _matches(part, self.owned, self.lengths)
        }


def leak_guard(tasks: Iterable[Task]) -> LeakGuard:
    """The guard over all tasks of a run.

    Args:
        tasks: of every split. What two or more of them have in common, such as the name of a
            column, is a convention of the domain and nobody's own.
    """
    known = {task.digest: literals_of(task) for task in tasks}
    seen: Counter[str] = Counter(w for own in known.values() for w in own.vocabulary)
    shared: Counter[Words] = Counter()
    for own in known.values():
        shared.update(set(own.names) | own.files | own.answers.keys() | own.texts)
    owned: dict[Words, str] = {}
    for own in known.values():
        for words, kind in _kinds(own):
            others = seen[words[0]] - (words[0] in own.vocabulary) if len(words) == 1 else 0
            if shared[words] == 1 and not others:
                owned.setdefault(words, kind)
    hidden = {
        digest: {w: t for w, t in own.answers.items() if w in own.sure or owned.get(w) == "answer"}
        for digest, own in known.items()
    }
    lengths = tuple(sorted({len(words) for words in owned}, reverse=True))
    return LeakGuard(owned, hidden, lengths)


def _kinds(own: Literals) -> Iterator[tuple[Words, str]]:
    """A task's literals with their kind; the worst first."""
    for kind, literals in (
        ("answer", own.answers),
        ("name", own.names),
        ("file", own.files),
        ("text", own.texts),
    ):
        for words in literals:
            if words:
                yield words, kind


def _matches(
    text: str, literals: Mapping[Words, str], lengths: tuple[int, ...]
) -> Iterator[tuple[int, int, Words]]:
    """Where literals stand in a text, the longest at each place; without overlaps."""
    words = words_of(text)
    just_forms = tuple(form for form, _, _ in words)
    index = 0
    while index < len(words):
        for length in lengths:
            part = just_forms[index : index + length]
            if part in literals:
                yield words[index][1], words[index + len(part) - 1][2], part
                index += len(part) - 1
                break
        index += 1
