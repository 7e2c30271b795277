"""What the scorers of several benchmarks share: finding the answer in a reply, normal forms."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from skillopt.tasks.questions import SHOWN

TAGGED = "Put the answer, and nothing else, between <answer> and </answer>."
"""The sentence by which instructions ask for an answer."""
_OPENING = "<answer>"
_TAG = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def last_tagged(reply: str) -> str:
    """The text of the last complete tag, else the last line that is not empty."""
    found = _TAG.findall(reply)
    return str(found[-1]).strip() if found else last_line(reply)


def has_tag(reply: str) -> bool:
    """Whether a reply has the opening of a tag."""
    return _OPENING in reply.lower()


def not_expected(answer: str) -> str:
    """The beginning of the feedback on a wrong answer."""
    return f"The answer was {answer[:SHOWN]!r}, which is not the expected one"


def first_tagged(reply: str) -> str:
    """The text of the first complete tag; of a tag that is never closed, the last line that is not
    empty; empty without any."""
    if "<answer>" not in reply.lower():
        return ""
    found = _TAG.search(reply)
    return found[1].strip() if found else last_line(reply)


def last_line(reply: str) -> str:
    """The last line that is not empty."""
    return next((line.strip() for line in reversed(reply.splitlines()) if line.strip()), "")


def squad_form(text: str) -> str:
    """SQuAD's normal form: lower case, without ASCII punctuation, articles and double blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def word_f1(given: Sequence[str], right: Sequence[str]) -> float:
    """The harmonic mean of the words' precision and recall; 1 if both are empty."""
    if not given and not right:
        return 1.0
    common = sum((Counter(given) & Counter(right)).values())
    return 2 * common / (len(given) + len(right)) if common else 0.0
