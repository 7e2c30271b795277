"""A generated SearchQA-like item set, as the reference reads it and as Harbor tasks for us.

Same questions, passages, answers and scoring in both forms: SQuAD normalisation, exact match as
the reward and token F1 beside it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.reference.rules import DIGITS, KINDS, gold, kind_of

PLACES = (
    "Korrin", "Velde", "Talvik", "Norrin", "Ostrava", "Brask", "Ilmen", "Sarn", "Dovre", "Pellin",
    "Marek", "Ruda", "Halden", "Tosk", "Venn", "Lorne", "Aster", "Quill", "Fenwick", "Garde",
)  # fmt: skip
_FIRST = ("Mira", "Anton", "Edda", "Joris", "Lena", "Pavel", "Runa", "Tomas", "Vera", "Silas")
_LAST = (
    "Orlin",
    "Hask",
    "Dremmel",
    "Kestrel",
    "Voss",
    "Ansel",
    "Brandt",
    "Corvin",
    "Mott",
    "Yates",
)
_COUNTRIES = ("Vesland", "Ostmark", "Thule", "Carland", "Nordia")
_BUILDINGS = ("bridge", "mill", "library", "canal", "theatre", "harbour")
_WORKS = ("organ", "clock", "altar", "fountain", "mural", "bell")
_OWNERS = ("guild", "museum", "abbey", "school", "brewery", "ferry")
_THINGS = ("barges", "barrels", "lanterns", "horses", "maps", "looms")
_HOUSES = ("observatory", "mint", "arsenal", "chapel", "market", "archive")
_TITLES = ("Glass Orchard", "Salt Road", "Silver Weir", "Quiet Bells", "Long Furrow", "Red Gate")
_SUBTITLES = ("A Chronicle", "Notes of a Traveller", "Twelve Winters", "An Account in Letters")
_DOCUMENTS = 6


@dataclass(frozen=True)
class Item:
    """One item, with the field names of the reference's SearchQA format."""

    id: str
    question: str
    context: str
    answers: list[str]


def make_items(seed: int, sizes: Mapping[str, int]) -> dict[str, list[Item]]:
    """The items of each split; every kind of question has the same share in each.

    Args:
        seed: of everything that is drawn.
        sizes: items by split.
    """
    rng = random.Random(seed)
    pairs = {kind.name: _pairs(kind.name, rng) for kind in KINDS}
    splits = {}
    for split, size in sizes.items():
        kinds = [KINDS[n % len(KINDS)].name for n in range(size)]
        rng.shuffle(kinds)
        drawn = [_question(kind, next(pairs[kind]), rng) for kind in kinds]
        splits[split] = [
            _item(f"{split}-{number:03d}", question, fact, rng)
            for number, (question, fact) in enumerate(drawn, start=1)
        ]
    return splits


def _pairs(kind: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Subjects of one kind, each once, so that no two questions are the same."""
    things = {
        "year": _BUILDINGS, "person": _WORKS, "count": _OWNERS, "title": _LAST, "town": _HOUSES,
    }[kind]  # fmt: skip
    pairs = [(place, thing) for place in PLACES for thing in things]
    rng.shuffle(pairs)
    return iter(pairs)


def _question(kind: str, subject: tuple[str, str], rng: random.Random) -> tuple[str, str]:
    """A question and the sentence that answers it."""
    place, thing = subject
    match kind:
        case "year":
            return (
                f"In which year was the {place} {thing} opened?",
                f"The {place} {thing} was opened in '{rng.randint(10, 99)}.",
            )
        case "person":
            return (
                f"Who made the {place} {thing}?",
                f"The {place} {thing} was made by {rng.choice(_FIRST)} {rng.choice(_LAST)}.",
            )
        case "count":
            counted = rng.choice(_THINGS)
            return (
                f"How many {counted} does the {place} {thing} keep?",
                f"The {place} {thing} keeps {rng.choice(list(DIGITS))} {counted}.",
            )
        case "title":
            return (
                f"What is the history of {place} by {thing} called?",
                f"The history of {place} by {thing} is called "
                f"{rng.choice(_TITLES)}: {rng.choice(_SUBTITLES)}.",
            )
        case _:
            town = f"{rng.choice(PLACES)}by"
            return (
                f"In which town does the {place} {thing} stand?",
                f"The {place} {thing} stands in {town}, a town of {rng.choice(_COUNTRIES)}.",
            )


def _item(name: str, question: str, fact: str, rng: random.Random) -> Item:
    documents = [fact]
    while len(documents) < _DOCUMENTS:
        kind = rng.choice(KINDS).name
        subject = (rng.choice(PLACES), rng.choice(("tower", "garden", "gate", "cellar")))
        other = _question(kind, subject, rng)[1]
        if other not in documents:
            documents.append(other)
    rng.shuffle(documents)
    head = f"All dates in these passages are of the {rng.randint(13, 19)}th century."
    context = " ".join(f"[DOC] {text}" for text in [head, *documents])
    return Item(name, question, context, [gold(question, context)])


def write_reference(folder: Path, splits: Mapping[str, Sequence[Item]]) -> None:
    """``SPLIT/items.json`` for each split, as the reference's ``split_dir`` wants them."""
    for split, items in splits.items():
        (folder / split).mkdir(parents=True)
        text = json.dumps([asdict(item) for item in items], indent=1)
        (folder / split / "items.json").write_text(text + "\n", encoding="utf-8")


def write_harbor(folder: Path, splits: Mapping[str, Sequence[Item]]) -> None:
    """The same items as task folders: the answer is written to ``answer.txt``."""
    verify = (Path(__file__).parent / "verify.py").read_text("utf-8")
    own = {"environment/Dockerfile": _DOCKERFILE, "tests/test.sh": _TEST, "tests/verify.py": verify}
    _write(folder, splits, _INSTRUCTION, lambda item: own)


def write_questions(folder: Path, splits: Mapping[str, Sequence[Item]]) -> None:
    """The same items as questions, whose answer is the reply, as it is in the reference."""
    _write(folder, splits, _QUESTION, lambda item: {"tests/answer.txt": item.answers[0] + "\n"})


def _write(
    folder: Path,
    splits: Mapping[str, Sequence[Item]],
    instruction: str,
    own: Callable[[Item], Mapping[str, str]],
) -> None:
    for split, items in splits.items():
        for item in items:
            kind = kind_of(item.question)
            data = {"answers": item.answers, "hint": kind.hint if kind else ""}
            files = {
                "task.toml": _TASK.format(id=item.id, kind=kind.name if kind else ""),
                "instruction.md": instruction.format(**asdict(item)),
                "tests/data.json": json.dumps(data) + "\n",
                **own(item),
            }
            for name, text in files.items():
                path = folder / split / item.id / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")


_TASK = """\
schema_version = "1.4"

[task]
name = "searchqa/{id}"

[metadata]
category = "{kind}"

[agent]
timeout_sec = 180.0

[verifier]
timeout_sec = 60.0

[environment]
workdir = "/app"
network_mode = "no-network"
"""

_INSTRUCTION = """\
Answer the question from the context. Write the answer, and nothing else, into `answer.txt`.

## Question

{question}

## Context

{context}
"""

_QUESTION = _INSTRUCTION.replace(
    "Write the answer, and nothing else, into `answer.txt`.",
    "Reply with `<answer>ANSWER</answer>`.",
)

_DOCKERFILE = "FROM python:3.11-slim\nWORKDIR /app\n"

_TEST = """\
#!/bin/bash
exec python3 -I "$(dirname "$0")/verify.py" "${VERIFIER_LOGS:-/logs/verifier}"
"""
