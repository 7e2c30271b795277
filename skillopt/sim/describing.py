"""The simulated optimizer's descriptions: by the words of the requests that were decided wrongly.

A test instrument. The simulated agent decides by shared words (:mod:`skillopt.sim.target`), so what
is written here can be better or worse, and what it learns holds for other requests only as far as
they use the same words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence, Set

from skillopt.optimizer import replies
from skillopt.sim.shown import Shown

ADDED, REMOVED = 30, 5
"""The most words that one description gains and loses."""
_LETTERS = 3
_COMMON = frozenset({
    "about", "after", "again", "all", "also", "and", "another", "any", "are", "back", "because",
    "been", "before", "being", "between", "both", "can", "could", "did", "does", "done", "down",
    "each", "every", "few", "file", "files", "first", "for", "from", "get", "give", "got", "had",
    "has", "have", "help", "her", "here", "him", "his", "how", "into", "its", "just", "know",
    "let", "like", "look", "made", "make", "many", "may", "more", "most", "much", "must", "need",
    "new", "not", "off", "old", "one", "only", "other", "our", "out", "over", "own", "per",
    "please", "put", "same", "say", "says", "see", "she", "should", "show", "some", "such",
    "take", "tell", "than", "that", "the", "their", "them", "then", "there", "these", "they",
    "thing", "this", "those", "through", "time", "too", "two", "used", "user", "uses", "using",
    "want", "wants", "was", "way", "well", "were", "what", "when", "where", "which", "while",
    "who", "why", "will", "with", "work", "would", "write", "yet", "you", "your",
})  # fmt: skip


def content_words(text: str) -> set[str]:
    """The words of a text that say what it is about, without endings of the plural."""
    found = re.findall(rf"[a-z]{{{_LETTERS},}}", text.lower())
    return {_singular(word) for word in found if word not in _COMMON}


def _singular(word: str) -> str:
    for plural, end in (("ies", "y"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("ss", "ss")):
        if word.endswith(plural) and len(word) > len(plural) + 1:
            return word.removesuffix(plural) + end
    return word.removesuffix("s")


def described(shown: Shown) -> replies.Description:
    """The description with the words of requests that it missed, and without those of requests
    that it wrongly won."""
    old = re.search(r"^description: (.*)$", shown.skill, re.MULTILINE)
    text = old[1].strip().strip("'\"") if old else ""
    missed, won, right = _requests(shown)
    return replies.Description(
        reasoning=f"{len(missed)} missed, {len(won)} wrongly won.",
        description=improved(text, missed, won, right, content_words(shown.memory)) or text,
    )


def improved(
    text: str,
    missed: Sequence[str],
    won: Sequence[str],
    right: Sequence[str] = (),
    tried: Set[str] = frozenset(),
) -> str:
    """A description that fits some requests better.

    Args:
        text: the description so far.
        missed, won, right: requests that it missed, wrongly won and rightly won.
        tried: words that were rejected before, which come last.
    """
    wanted = Counter(word for request in [*missed, *right] for word in content_words(request))
    unwanted = Counter(word for request in won for word in content_words(request))
    known = content_words(text)
    lost = {word for request in missed for word in content_words(request)}
    better = [word for word in lost - known if wanted[word] > unwanted[word]]
    better.sort(key=lambda word: (word in tried, -wanted[word], word))
    worse = [word for word, n in unwanted.most_common() if word in known and n > wanted[word]]
    kept = _without(text, set(worse[:REMOVED]))
    if better:
        kept = f"{kept.rstrip('.')}. Also for: {', '.join(better[:ADDED])}.".lstrip(". ")
    return kept


def _requests(shown: Shown) -> tuple[list[str], list[str], list[str]]:
    """The requests that were missed, wrongly won, and rightly won."""
    missed, won, right = [], [], []
    for entry in shown.entries:
        if entry.section != "Requests" or entry.block is None:
            continue
        if "not open" in entry.label:
            missed.append(entry.block)
        elif "is not for this" in entry.label:
            won.append(entry.block)
        elif "this skill" in entry.label:
            right.append(entry.block)
    return missed, won, right


def _without(text: str, words: set[str]) -> str:
    """A text without some words, and without the commas and joints that they leave."""
    kept = " ".join(
        part
        for part in text.split()
        if not ({_singular(word) for word in re.findall(r"[a-z]+", part.lower())} & words)
    )
    return re.sub(r"(?:\b(?:and|or)\b[\s,]*)+(?=[.,]|$)", "", kept).replace(" ,", ",").strip(" ,")
