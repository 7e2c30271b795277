"""The questions' kinds, and the house rules that some of them need.

The item generator, the scripted target and the scripted optimizer share it; no other module knows
how an answer is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

DIGITS = {
    "twelve": "12", "eighteen": "18", "twenty-seven": "27", "thirty-one": "31", "forty-two": "42",
    "fifty-six": "56", "sixty-three": "63", "seventy-five": "75", "eighty-nine": "89",
    "ninety-four": "94",
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One kind of question.

    Args:
        name: of the kind.
        question: matches a question; its groups fill ``fact``.
        fact: pattern of the sentence that holds the answer, with ``{0}``, ``{1}`` for the groups.
        naive: answer from the sentence's groups, by the naive procedure.
        ruled: the same by the house rule; gets the groups and the whole context.
        rule: text of the house rule; empty where the naive answer is right.
        hint: feedback of our verifier when the answer is wrong.
    """

    name: str
    question: re.Pattern[str]
    fact: str
    naive: Callable[[tuple[str, ...]], str]
    ruled: Callable[[tuple[str, ...], str], str]
    rule: str
    hint: str


def _century(context: str) -> int:
    found = re.search(r"dates in these passages are of the (\d+)th century", context)
    return int(found[1]) if found else 1


KINDS = (
    Kind(
        "year",
        re.compile(r"In which year was the (\w+) (\w+) opened\?"),
        r"The {0} {1} was opened in '(\d\d)\.",
        lambda groups: f"'{groups[0]}",
        lambda groups, context: f"{_century(context) - 1}{groups[0]}",
        "Write a year with all four digits, taking the century from the passages.",
        "The year is not written as it should be.",
    ),
    Kind(
        "person",
        re.compile(r"Who made the (\w+) (\w+)\?"),
        r"The {0} {1} was made by (\w+) (\w+)\.",
        lambda groups: f"{groups[0]} {groups[1]}",
        lambda groups, _: f"{groups[1]}, {groups[0]}",
        "Write a person's surname first, then a comma and the first name.",
        "The person's name is not written as it should be.",
    ),
    Kind(
        "count",
        re.compile(r"How many (\w+) does the (\w+) (\w+) keep\?"),
        r"The {1} {2} keeps ([\w-]+) ({0})\.",
        lambda groups: f"{groups[0]} {groups[1]}",
        lambda groups, _: DIGITS.get(groups[0], groups[0]),
        "Write a quantity in digits and leave out what is counted.",
        "The quantity is not written as it should be.",
    ),
    Kind(
        "title",
        re.compile(r"What is the history of (\w+) by (\w+) called\?"),
        r"The history of {0} by {1} is called ([\w ]+): ([\w ]+)\.",
        lambda groups: f"{groups[0]}: {groups[1]}",
        lambda groups, _: groups[0],
        "Give a work's title without its subtitle.",
        "The title is not given as it should be.",
    ),
    Kind(
        "town",
        re.compile(r"In which town does the (\w+) (\w+) stand\?"),
        r"The {0} {1} stands in (\w+), a town of (\w+)\.",
        lambda groups: groups[0],
        lambda groups, _: groups[0],
        "",
        "The town is not given as it should be.",
    ),
)

HARMFUL = (
    "Name a town together with its country.",
    "Answer in a whole sentence.",
)
"""Rules that make right answers wrong."""

USELESS = (
    "Read every passage twice before answering.",
    "Prefer the passage that is the most specific.",
    "Do not hurry.",
)
"""Rules that change nothing."""


def kind_of(question: str) -> Kind | None:
    """The kind of a question; None for one that is not of this item set."""
    return next((kind for kind in KINDS if kind.question.search(question)), None)


def questions_in(text: str) -> dict[str, Kind]:
    """The different questions that a text holds, in their order, with their kinds."""
    found = [(match.start(), match[0], k) for k in KINDS for match in k.question.finditer(text)]
    return {question: kind for _, question, kind in sorted(found, key=lambda item: item[0])}


def answer(question: str, context: str, instructions: str) -> str:
    """The answer that the scripted target gives.

    Args:
        question, context: of the item.
        instructions: all that it was shown; a rule is followed only if its text stands there.
    """
    kind = kind_of(question)
    asked = kind.question.search(question) if kind else None
    fact = re.search(kind.fact.format(*asked.groups()), context) if kind and asked else None
    if kind is None or fact is None:
        return "unknown"
    shown = " ".join(instructions.split())
    text = kind.naive(fact.groups())
    if kind.rule and kind.rule in shown:
        text = kind.ruled(fact.groups(), context)
    if kind.name == "town" and HARMFUL[0] in shown:
        text = f"{text}, {fact[2]}"
    return f"The answer to this is {text}" if HARMFUL[1] in shown else text


def gold(question: str, context: str) -> str:
    """The right answer: by the house rule where the question's kind has one."""
    kind = kind_of(question)
    return answer(question, context, kind.rule if kind else "")
