"""What the scripted optimizer decides, whoever asks: it knows neither side's prompts or formats.

:mod:`benchmarks.reference.dialects` reads a prompt into an :class:`Asked` and writes the reply.
"""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.reference.rules import HARMFUL, KINDS, USELESS, Kind

Stage = Literal["failures", "successes", "merge", "rank", "repair", "guidance", "notes"]

RULES_PER_REFLECTION = 1
HARM, IDLE = 0.2, 0.25
"""Shares of reflections on failures that also propose a harmful or a useless rule."""
NOTES = "Rules on the form of an answer help; general advice does not."
_ADVICE = "Check the form of the answer once more before giving it."


@dataclass(frozen=True)
class Edit:
    """An edit, under the names that both sides share."""

    op: str
    content: str
    target: str = ""
    support: int = 1
    source: str = "failure"


@dataclass(frozen=True)
class Asked:
    """What a prompt shows: the skill, what was rejected, and the runs or edits it is about."""

    stage: Stage
    skill: str
    memory: str = ""
    questions: Mapping[str, Kind] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    budget: int = 4


def proposals(asked: Asked, seed: int) -> list[Edit]:
    """Edits for a reflection, good and bad, the same whenever the same is shown."""
    known = [rule for rule in _rules() if rule in asked.skill]
    rng = random.Random(f"{seed}/{asked.stage}/{sorted(asked.questions)}/{sorted(known)}")
    failed = asked.stage == "failures"
    edits = [Edit("append", f"- {rule}") for rule in _missing(asked)] if failed else []
    edits = edits[:RULES_PER_REFLECTION] + (_removals(asked) if failed else [])
    for share, rules in ((HARM, HARMFUL), (IDLE, USELESS)):
        new = [r for r in rules if r not in asked.skill and r not in asked.memory]
        if rng.random() < (share if failed else share / 2) and new:
            edits.append(Edit("append", f"- {rng.choice(new)}"))
    rng.shuffle(edits)
    return edits[: asked.budget]


def merged(edits: Sequence[Edit]) -> list[tuple[Edit, list[int]]]:
    """Edits that say the same made one, with the numbers from 0 of those that it stands for."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for number, edit in enumerate(edits):
        groups.setdefault((edit.op, edit.target, edit.content), []).append(number)
    found = []
    for (op, target, content), numbers in groups.items():
        sources = {edits[n].source for n in numbers}
        source = "failure" if "failure" in sources else "success"
        support = sum(edits[n].support for n in numbers)
        found.append((Edit(op, content, target, support, source), numbers))
    return found


def ranked(edits: Sequence[Edit]) -> list[int]:
    """Numbers of the edits from 0: the widest support first, ties in an arbitrary fixed order."""
    return sorted(
        range(len(edits)), key=lambda n: (-edits[n].support, zlib.crc32(edits[n].content.encode()))
    )


def guidance(asked: Asked) -> str:
    """The slow update's block: a rule that is still missing, and a piece of general advice."""
    return "\n".join(f"- {line}" for line in [*_missing(asked)[:1], _ADVICE])


def _missing(asked: Asked) -> list[str]:
    """Rules that the questions need and the skill lacks, those of most questions first."""
    counts = Counter(kind.name for kind in asked.questions.values())
    missing = [k for k in KINDS if counts[k.name] and k.rule and k.rule not in asked.skill]
    return [k.rule for k in sorted(missing, key=lambda k: (-counts[k.name], k.name))]


def _removals(asked: Asked) -> list[Edit]:
    """Takes harmful rules out again where questions fail although their rule is there."""
    puzzling = any(kind.rule in asked.skill for kind in asked.questions.values())
    lines = [f"- {rule}" for rule in HARMFUL if f"- {rule}" in asked.skill]
    return [Edit("delete", "", line) for line in lines] if puzzling else []


def _rules() -> Iterable[str]:
    return [*(kind.rule for kind in KINDS if kind.rule), *HARMFUL, *USELESS]
