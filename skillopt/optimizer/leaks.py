"""The leak guard keeps what belongs to single tasks out of the skill, and answers out of prompts.

A skill that contains its tasks' answers scores well and helps nobody. Whether a change is good is
for the gate to decide.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import pairwise

from skillopt.core.skill import Skill
from skillopt.core.types import Task
from skillopt.optimizer.render import clip
from skillopt.tasks.literals import Literals, literals_of
from skillopt.tasks.naming import Reach, form, is_announced, name_spans, path_spans
from skillopt.tasks.variants import rows
from skillopt.tasks.wording import (
    SHINGLE,
    Span,
    code_start,
    date,
    fold,
    key,
    keys,
    plain_spans,
    shingles,
    token_spans,
    word_spans,
)

WITHHELD = "[expected answer withheld]"
AROUND = 400
"""Characters around a change that are checked too."""
FEW = 5
"""Dates and counts that a task can expect before they are taken for rows of its data."""
SHOWN = 60
"""Characters of a literal in a reason."""
NEAR = 40
"""Words around a question in which its answer is looked for."""
MAX_ANSWERS = 20
"""Expected values of a task that is a question; one with more is no question."""
_REASONS = (
    ("it copies the expected answer of a task", "say how it is found, or make up a value"),
    ("it names a single task", "say for which kind of task it holds"),
    ("it names a file of a single task", "describe it, or make up a name"),
    ("it uses a name of a single task", "describe it, or make up a name"),
    ("it copies a long literal of a single task", "describe its form, or make one up"),
    ("it copies a question that is kept for tests with its answer", "make up an example"),
)
_COINED, _QUESTION = 3, 5
# Values such as 42 are withheld only after words like these: they are in every text otherwise.
_EXPECTS = re.compile(
    r"\b(?:expect(?:ed|s|ing)?|should(?: have)? be(?:en)?|must be|wanted|correct|answer)\b"
    r"(?:[ \t]+(?:answer|value|result|is|was|to be|of))*[\s:=`'\"*(\[$€£+-]{0,6}"
)
_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff\u00ad]")
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3}){2,}(?!\d|[.,]\d)")
_ESCAPE = re.compile(r"\\(?=[^\w\s])")


@dataclass(frozen=True, eq=False)
class LeakGuard:
    """Knows what belongs to single tasks. Built by :func:`leak_guard`."""

    owned: tuple[array[int], ...]
    """Sorted hashes of what only one task has, in the order of the reasons."""
    coined: Mapping[Reach, array[int]]
    """Sorted hashes of the names that only one task has made up, by how far they are its own."""
    expected: Mapping[str, tuple[frozenset[str], frozenset[str]]]
    """Answers and small expected values by the task's digest."""
    shared: frozenset[str] = frozenset()
    """Keys of the values that most tasks expect: conventions, which a skill is there to teach."""
    questions: Questions = field(default_factory=lambda: Questions((), frozenset()))
    """The questions that no skill may contain with their answers."""

    def refusal(self, before: Skill, after: Skill) -> str:
        """Why a change is refused for copying from a single task; "" if it is not.

        Args:
            before: what it already contains is no reason.
            after: its description, body, text files and file names are checked.

        Returns:
            The reason, the wording that was copied, and what to write instead.
        """
        known, parts = _parts(before), _parts(after)
        changed = (_changed(known.get(name, ""), text) for name, text in parts.items())
        texts = [_readable(text) for text in changed]
        found = [hit for text in texts for hit in self._hits(text)]
        if found:
            old = {span[0] for text in known.values() for _, _, span in _found(_readable(text))}
            new = [(kind, text) for kind, name, text in found if name not in old]
            if new:
                return _refused(*min(new, key=lambda hit: hit[0]))
        asked = [each for text in texts for each in self.questions.copied(text)]
        if not asked:
            return ""
        said = {each for text in known.values() for each in self.questions.copied(_readable(text))}
        return next((_refused(_QUESTION, each) for each in asked if each not in said), "")

    def redact(self, task: Task, text: str) -> str:
        """A verifier's feedback with the task's own expected answers replaced by a note.

        Values that the agent was given stay readable, since they are no secret, and so do those
        that most tasks expect.
        """
        answers, small = self._expected(task)
        own = {each for value in answers for each in keys(value)} - self.shared
        few = {each for value in small for each in keys(value)} - self.shared
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
        for kind, reach, (name, start, end) in _found(text):
            if _is_in(self.coined[reach] if reach else self.owned[kind], name):
                yield kind, name, text[start:end]


@dataclass(frozen=True)
class Questions:
    """Questions that are kept for validation and test, and their answers.

    Args:
        asked: the words of each question that other questions do not have, and the keys of its
            answers.
        frame: words that most questions have.
    """

    asked: Sequence[tuple[tuple[str, ...], frozenset[str]]]
    frame: frozenset[str]

    def copied(self, text: str) -> Iterator[str]:
        """The words of each question that stands in a text near its answer."""
        if not self.asked:
            return
        every = [word for word, _, _ in word_spans(fold(text))]
        places = [place for place, word in enumerate(every) if word not in self.frame]
        found = [every[place] for place in places]
        starts: dict[str, list[int]] = {}
        for start, word in enumerate(found):
            starts.setdefault(word, []).append(start)
        for asked, answers in self.asked:
            for start in starts.get(asked[0], ()):
                end = start + len(asked)
                if tuple(found[start:end]) != asked:
                    continue
                near = places[start] - NEAR, places[end - 1] + NEAR
                around = f" {' '.join(every[max(near[0], 0) : near[1]])} "
                if any(f" {answer} " in around for answer in answers if answer not in asked):
                    yield " ".join(asked)


def leak_guard(tasks: Iterable[Task], held_out: Iterable[Task] = ()) -> LeakGuard:
    """The guard over all tasks of a run. Takes a tenth of a second for 200 kB of dense text.

    Args:
        tasks: those of every split. What two or more of them have anywhere in their files, such
            as the name of a column, is a convention of their domain and belongs to none of them.
        held_out: those of them that no skill may answer: of the selection and the test split.
    """
    kinds: list[array[int]] = [array("q") for _ in range(5)]
    coined = {reach: array("q") for reach in Reach}
    there: list[array[int]] = []
    expected = {}
    counts: Counter[str] = Counter()
    questions: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {}
    for task in tasks:
        own = literals_of(task)
        expected[task.digest] = own.answers, own.small
        answers = frozenset(each for value in own.answers | own.small for each in keys(value))
        counts.update(answers)
        few = answers if len(answers) <= MAX_ANSWERS else frozenset()
        questions[task.digest] = own.question, few
        mine = set(map(hash, own.anywhere))
        for hashes, literals in zip(kinds, _by_kind(own), strict=True):
            hashes.extend(map(hash, literals))
            mine.update(map(hash, literals))
        for name, far in own.coined.items():
            mine.add(hash(name))
            for reach in Reach:
                coined[reach].extend([hash(name)] if reach <= far else ())
        there.append(array("q", sorted(mine)))
    shared = _in_several(there)
    most = max(len(expected) / 2, 3)
    return LeakGuard(
        owned=tuple(_without(hashes, shared) for hashes in kinds),
        coined={reach: _without(hashes, shared) for reach, hashes in coined.items()},
        expected=expected,
        shared=frozenset(each for each, count in counts.items() if count >= most),
        questions=_questions(questions, {task.digest for task in held_out}),
    )


def _questions(
    every: Mapping[str, tuple[tuple[str, ...], frozenset[str]]], held_out: set[str]
) -> Questions:
    """What tells the held-out questions from all others."""
    counts = Counter(word for asked, _ in every.values() for word in set(asked))
    frame = frozenset(word for word, count in counts.items() if count > max(len(every) / 2, 1))
    kept = []
    for digest in sorted(held_out & every.keys()):
        asked, answers = every[digest]
        own = tuple(word for word in asked if word not in frame)[:SHINGLE]
        # What is told from the others by a number alone has no question of its own.
        if answers and any(len(word) > 2 and word.isalpha() for word in own):
            kept.append((own, answers))
    return Questions(kept, frame)


def _by_kind(own: Literals) -> tuple[frozenset[str], ...]:
    told = set(own.secret - own.words)
    # A few dates and counts are answers; many are rows of hidden data, which the example in a rule
    # may match by chance.
    rows = {value for value in told if date(value) or re.fullmatch(r"\d{3}", value)}
    told -= rows if len(rows) > FEW else set()
    answers = frozenset(each for value in told for each in keys(value)) | own.variants
    # A file name with a space is not a token, so it is searched for as a run of words.
    files = frozenset(
        key(name) if " " in name else name
        for name in own.files
        if "." in name or form(name) not in own.coined
    )
    return answers, own.names, files, own.proper, own.texts


def _in_several(there: Iterable[array[int]]) -> array[int]:
    """The hashes that more than one task has, sorted.

    64 bits each: the words of a thousand tasks would not fit into memory as texts.

    Args:
        there: those of each task, sorted, each once.
    """
    return array("q", (one for one, next_one in pairwise(merge(*there)) if one == next_one))


def _without(hashes: array[int], shared: array[int]) -> array[int]:
    """The hashes that are not among the shared ones, sorted."""
    return array("q", sorted(each for each in set(hashes) if not _has(shared, each)))


def _is_in(owned: array[int], name: str) -> bool:
    return _has(owned, hash(name))


def _has(owned: array[int], wanted: int) -> bool:
    place = bisect_left(owned, wanted)
    return place < len(owned) and owned[place] == wanted


def _refused(kind: int, text: str) -> str:
    reason, instead = _REASONS[kind]
    return f"{reason} ('{' '.join(text.split())[:SHOWN]}'): {instead}"


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
    """A text as its reader sees it: without Markdown's escapes and invisible characters, and with
    the digits of a number in one piece."""
    return _GROUPED.sub(_joined, _ESCAPE.sub("", _INVISIBLE.sub("", text)))


def _joined(number: re.Match[str]) -> str:
    return number[0].replace(" ", "\u00a0")


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


def _found(text: str) -> Iterator[tuple[int, Reach | None, Span]]:
    """What may be a single task's in a text, with the kind that it is looked for in.

    A name that a task has made up is looked for among those that reach as far.
    """
    folded = fold(text)
    found = word_spans(folded)
    runs = [span for size in range(SHINGLE, 0, -1) for span in _runs(found, size)]
    files, sentences = token_spans(folded), _shingle_spans(folded)
    names, paths = name_spans(text), path_spans(text)
    codes = [(mark, start, end) for word, start, end in found if (mark := code_start(word))]
    glued = [(name, start, end) for name, _, start, end in names]
    texts = runs + sentences + codes + glued + rows(found)
    for kind, spans in enumerate((texts, files, files + runs, paths + runs, texts)):
        yield from ((kind, None, span) for span in spans)
    for name, reach, start, end in names:
        yield _COINED, reach, (name, start, end)
    for name, start, end in runs:
        if " " in name:
            reach = Reach.CODED if is_announced(text, start) else Reach.SPOKEN
            yield _COINED, reach, (name.replace(" ", ""), start, end)


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
