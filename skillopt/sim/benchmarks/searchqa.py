"""Questions about search results: the sentence that fits; with the rule, only what is new in it."""

from __future__ import annotations

import re

from skillopt.sim.benchmarks.answering import Answering
from skillopt.sim.habits import Seen, Statement

_QUESTION = re.compile(r"^Question: (.*)$", re.MULTILINE)
_NAMES = re.compile(r"[A-Z][\w'-]*(?: [A-Z][\w'-]*)*|\d[\d,.]*\d|\d")


def answer(seen: Seen) -> str:
    """The sentence with the most words of the question; with the rule, what is new in it."""
    asked = _QUESTION.search(seen.instruction)
    if asked is None:
        return ""
    text = seen.instruction.partition("Search results:")[2]
    wanted = _words(asked[1])
    sentences = re.split(r"\[(?:DOC|TLE|PAR)\]|(?<=\.)\s+", text)
    best = max(sentences, key=lambda sentence: len(wanted & _words(sentence)), default="").strip()
    if not seen.knows:
        return best
    known = asked[1].lower()
    new = (name for name in _NAMES.findall(best) if name.lower() not in known)
    # The first word of a sentence has a capital whatever it is.
    return next((name for name in new if not (best.startswith(name) and " " not in name)), best)


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"[a-z0-9]+", text.lower()) if len(word) > 2}


SNIPPETS = Answering(
    family="searchqa",
    words=r"(?m)^Search results:",
    topics=frozenset({"question", "search", "answer"}),
    answer=answer,
    statement=Statement(
        (r"answer",), r"\bonly the (name|number)|without (its|the|a) (whole )?sentence|\bbare name"
    ),
    complaint=re.compile(r"has the expected answer and more words around it"),
    rule="The answer is short: only the name or number that was asked for, without its sentence.",
)
