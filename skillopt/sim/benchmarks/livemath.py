"""Questions with options about a list of numbers: the first that holds, or with the rule the
strongest one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from skillopt.sim.benchmarks.answering import Answering
from skillopt.sim.habits import Seen, Statement

_MEMBER = re.compile(r"(\d+) is (not )?(\w+)")
_OPTION = re.compile(r"^([A-G])\. (.*)$", re.MULTILINE)
_CLAIM = re.compile(r"(Some|Every|No) (even |odd )?\w+ number is (\w+)\.")
_STRENGTH = {"Some": 0, "No": 1, "Every": 1}
_PARITY: dict[str, Callable[[int], bool]] = {
    "even": lambda number: number % 2 == 0,
    "odd": lambda number: number % 2 == 1,
    "": lambda number: True,
}


def answer(seen: Seen) -> str:
    """The label of an option that holds for the listed numbers."""
    facts = {int(n): no == "" for n, no, _ in _MEMBER.findall(seen.instruction)}
    holding: list[tuple[int, int, str]] = []
    for label, text in _OPTION.findall(seen.instruction):
        claim = _CLAIM.fullmatch(text.strip())
        if claim is None:
            continue
        told = [facts[n] for n in facts if _PARITY[(claim[2] or "").strip()](n)]
        holds = {"Some": any(told), "Every": all(told), "No": not any(told)}[claim[1]]
        if holds and told:
            # Of two claims that hold, one about more numbers says more.
            holding.append((_STRENGTH[claim[1]], len(told), label))
    if not holding:
        return ""
    weakest, strongest = min(holding), max(holding)
    return (strongest if seen.knows else weakest)[2]


OPTIONS = Answering(
    family="livemath",
    words=r"^Which option is right\?",
    topics=frozenset({"mathematics", "theorem", "option", "choice"}),
    answer=answer,
    statement=Statement((r"option|choice|statement",), r"\bstrongest"),
    complaint=re.compile(r"^Option [A-G] is not the right one"),
    rule="Choose the strongest option that holds, not a weaker one that also holds.",
)
