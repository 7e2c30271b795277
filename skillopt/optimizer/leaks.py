"""The leak guard keeps what belongs to single tasks out of the skill, and answers out of prompts.

A skill that contains its tasks' answers scores well and helps nobody. Whether a change is good is
for the gate to decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skillopt.core.skill import Skill
from skillopt.core.types import Task
from skillopt.optimizer.render import clip
from skillopt.tasks.literals import Literals, literals_of
from skillopt.tasks.wording import (
    SHINGLE,
    Span,
    date,
    distinctive,
    fold,
    key,
    keys,
    plain_spans,
    shingles,
    token_spans,
    word_spans,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.int64]

WITHHELD = "[expected answer withheld]"
AROUND = 400
"""Characters around a change that are checked too."""
FEW = 5
"""Dates and counts that a task can expect before they are taken for rows of its data."""
SHOWN = 60
"""Characters of a literal in a reason."""
_REASONS = (
    "it copies the expected answer of a task",
    "it names a single task",
    "it names a file of a single task",
    "it copies a long literal of a single task",
)
# Values such as 42 are withheld only after words like these: they are in every text otherwise.
_EXPECTS = re.compile(
    r"\b(?:expect(?:ed|s|ing)?|should(?: have)? be(?:en)?|must be|wanted|correct|answer)\b"
    r"(?:[ \t]+(?:answer|value|result|is|was|to be|of))*[\s:=`'\"*(\[$€£+-]{0,6}"
)
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")
_ESCAPE = re.compile(r"\\(?=[^\w\s])")


@dataclass(frozen=True, eq=False)
class LeakGuard:
    """Knows what belongs to single tasks. Built by :func:`leak_guard`."""

    owned: tuple[Hashes, ...]
    """Sorted hashes of what only one task has, in the order of the reasons."""
    expected: Mapping[str, tuple[frozenset[str], frozenset[str]]]
    """Answers and small expected values by the task's digest."""

    def refusal(self, before: Skill, after: Skill) -> str:
        """Why a change is refused for copying from a single task; "" if it is not.

        Args:
            before: what it already contains is no reason.
            after: its description, body, text files and file names are checked.
        """
        known, parts = _parts(before), _parts(after)
        changed = (_changed(known.get(name, ""), text) for name, text in parts.items())
        found = [hit for text in changed for hit in self._hits(_readable(text))]
        if not found:
            return ""
        old = {name for text in known.values() for name, _, _ in _all_spans(_readable(text))}
        new = [(kind, text) for kind, name, text in found if name not in old]
        kind, text = min(new, key=lambda hit: hit[0], default=(0, ""))
        shown = " ".join(text.split())
        return f"{_REASONS[kind]} ('{shown[:SHOWN]}')" if text else ""

    def redact(self, task: Task, text: str) -> str:
        """A verifier's feedback with the task's own expected answers replaced by a note.

        Values that the agent was given stay readable, since they are no secret.
        """
        answers, small = self._expected(task)
        own = {each for value in answers for each in keys(value)}
        few = {each for value in small for each in keys(value)}
        folded = fold(text)
        after_words = {match.end() for match in _EXPECTS.finditer(folded)}
        pieces, end = [], 0
        for start, stop in _places(folded, own, few, after_words):
            pieces += [text[end:start], WITHHELD]
            end = stop
        return "".join([*pieces, text[end:]])

    def answers(self, task: Task, tokens: int) -> str:
        """A task's expected answers, one per line, at most ``tokens``; "" if none is known."""
        answers, small = self._expected(task)
        return clip("\n".join(sorted(answers) or sorted(small)), tokens)

    def _expected(self, task: Task) -> tuple[frozenset[str], frozenset[str]]:
        if task.digest in self.expected:
            return self.expected[task.digest]
        literals = literals_of(task)
        return literals.answers, literals.small

    def _hits(self, text: str) -> Iterator[tuple[int, str, str]]:
        """Kind, key and wording of each literal in a text, by kind and then from the longest."""
        folded = fold(text)
        found = word_spans(folded)
        runs = [span for size in range(SHINGLE, 0, -1) for span in _runs(found, size)]
        names = token_spans(folded)
        sentences = _shingle_spans(folded)
        for kind, spans in enumerate((runs + sentences, names, names + runs, runs + sentences)):
            for index in _members(self.owned[kind], [name for name, _, _ in spans]):
                name, start, end = spans[index]
                yield kind, name, text[start:end]


def leak_guard(tasks: Iterable[Task]) -> LeakGuard:
    """The guard over all tasks of a run. Takes a tenth of a second for 200 kB of dense text.

    Args:
        tasks: those of every split. What two or more of them have in common, such as the name of
            a column, is a convention of their domain and belongs to none of them.
    """
    kinds: list[list[Hashes]] = [[], [], [], []]
    given: list[Hashes] = []
    expected = {}
    for task in tasks:
        own = literals_of(task)
        expected[task.digest] = own.answers, own.small
        for hashes, literals in zip(kinds, _by_kind(own), strict=True):
            hashes.append(_hashes(literals))
        given.append(_hashes(own.given))
    answers, names, files, texts = (_owned(hashes) for hashes in kinds)
    # A value that another task hands out is no secret of its domain.
    return LeakGuard((_without(answers, given), names, files, texts), expected)


def _by_kind(own: Literals) -> tuple[Iterable[str], ...]:
    told = {value for value in own.answers if distinctive(value)}
    # A few dates and counts are answers; many are rows of hidden data, which the example in a rule
    # may match by chance.
    rows = {value for value in told if date(value) or re.fullmatch(r"\d{3}", value)}
    told -= rows if len(rows) > FEW else set()
    answers = {each for value in told | own.sure for each in keys(value)}
    # A file name with a space is not a token, so it is searched for as a run of words.
    files = {key(name) if " " in name else name for name in own.files}
    return answers, own.names, files, own.texts


def _hashes(literals: Iterable[str]) -> Hashes:
    """64 bits each: the literals of a thousand tasks would not fit into memory as texts."""
    import numpy as np

    return np.fromiter(map(hash, literals), dtype=np.int64)


def _owned(hashes: Sequence[Hashes]) -> Hashes:
    """The hashes that only one task has, sorted."""
    import numpy as np

    every = np.concatenate(hashes) if hashes else np.empty(0, dtype=np.int64)
    values, counts = np.unique(every, return_counts=True)
    owned: Hashes = values[counts == 1]
    return owned


def _without(owned: Hashes, given: Sequence[Hashes]) -> Hashes:
    import numpy as np

    rest: Hashes = np.setdiff1d(owned, np.concatenate(given)) if given else owned
    return rest


def _members(owned: Hashes, names: Sequence[str]) -> list[int]:
    """Which of ``names`` are owned."""
    import numpy as np

    if not len(owned) or not names:
        return []
    wanted = _hashes(names)
    places = np.searchsorted(owned, wanted)
    places[places == len(owned)] = 0
    return [int(index) for index in np.flatnonzero(owned[places] == wanted)]


def _parts(skill: Skill) -> dict[str, str]:
    """The texts of a skill by their place; a binary file has none but its name."""
    texts = {"description": skill.description, "body": skill.body}
    for name, data in sorted(skill.files.items()):
        texts[f"name {name}"] = name
        try:
            texts[f"file {name}"] = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
    return texts


def _changed(before: str, after: str) -> str:
    """The new part of a text, with enough around it to contain a literal that is partly new."""
    if before == after:
        return ""
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    first = max(after.rfind(" ", 0, max(start - AROUND, 0)), 0)
    last = after.find(" ", len(after) - end + AROUND)
    return after[first : last if last >= 0 else len(after)]


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their start."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _readable(text: str) -> str:
    """A text as its reader sees it: without Markdown's escapes and invisible characters."""
    return _ESCAPE.sub("", _INVISIBLE.sub("", text))


def _runs(spans: Sequence[Span], size: int) -> list[Span]:
    """Every run of ``size`` words, joined."""
    if size == 1:
        return list(spans)
    names = [name for name, _, _ in spans]
    joined = map(" ".join, zip(*(names[i:] for i in range(size)), strict=False))
    return [(name, spans[i][1], spans[i + size - 1][2]) for i, name in enumerate(joined)]


def _shingle_spans(folded: str) -> list[Span]:
    spans = plain_spans(folded)
    wanted = shingles([name for name, _, _ in spans])
    return [span for span in _runs(spans, SHINGLE) if span[0] in wanted]


def _all_spans(text: str) -> list[Span]:
    folded = fold(text)
    found = word_spans(folded)
    runs = [span for size in range(1, SHINGLE + 1) for span in _runs(found, size)]
    return runs + token_spans(folded) + _shingle_spans(folded)


def _places(
    folded: str, own: set[str], few: set[str], after_words: set[int]
) -> list[tuple[int, int]]:
    """Positions of expected values, in order and without overlaps; the longest at each place."""
    found = word_spans(folded)
    hits = [
        (start, end)
        for size in range(1, SHINGLE + 1)
        for name, start, end in _runs(found, size)
        if name in own or (start in after_words and name in few)
    ]
    hits += [(start, end) for name, start, end in _shingle_spans(folded) if name in own]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(hits):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged
