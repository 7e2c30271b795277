"""LiveMathematicianBench as published, and its tasks."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from skillopt.core.types import Task
from skillopt.tasks.benchmarks.base import Benchmark, Home, Item, Kept, Options, Row
from skillopt.tasks.benchmarks.files import items, texts
from skillopt.tasks.benchmarks.livemath.score import Choice, Judge, Scorer, plain

HOME = Home(
    url="https://huggingface.co/datasets/LiveMathematicianBench/LiveMathematicianBench",
    get="data/MONTH/qa_MONTH_final.json of 202511, 202512, 202601 and 202602",
    size="1.1 MB for 177 rows",
    terms="no licence is stated there; the paper is CC BY-NC-ND, so do not pass rows on",
)
LABELS = "ABCDEFG"


class LiveMathOptions(Options):
    """``tasks.options`` of LiveMath."""

    shuffle_seed: int = 42
    """Seed of the order of an item's options, as in the reference's evaluation. In training the
    reference shuffles anew in each batch; here an item stays the same task."""
    theorem: bool = False
    """Whether the prompt shows the theorem, which gives the answer away."""
    sketch: bool = False
    """Whether the prompt shows the sketch of its proof."""
    scorer: Scorer = "reference"
    """``public`` is the benchmark's own evaluation, whose prompt asks for ``\\\\boxed{X}``."""


def read(download: Path) -> Iterator[Item]:
    """The rows of ``qa_MONTH_final.json``; an id is ``MONTH:NO``."""
    return items(download, ("month", "no", "mcq"), _item, (".json",))


def _item(row: Row) -> Item | None:
    choices, right = merged(row["mcq"])
    if right is None or len(choices) < 2:
        return None
    return Item(
        f"{row['month']}:{row['no']}",
        {
            "question": row["mcq"]["question"],
            "choices": [{"label": c.label, "text": c.text} for c in choices],
            "right": right.label,
            "theorem": row.get("theorem", ""),
            "sketch": row.get("sketch", ""),
            "types": texts(row.get("theorem_type")),
        },
    )


def merged(mcq: dict[str, Any]) -> tuple[list[Choice], Choice | None]:
    """All options in the order of their labels, and the right one: the published ``choices`` are
    only the wrong ones."""
    given = [
        Choice(plain(str(c.get("label", ""))), str(c.get("text", "")).strip())
        for c in mcq.get("choices") or ()
    ]
    correct = mcq.get("correct_choice") or {}
    label, text = plain(str(correct.get("label", ""))), str(correct.get("text") or "").strip()
    known = next((choice for choice in given if choice.label == label), None)
    if known is None and label and text:
        known = Choice(label, text)
        given.append(known)
    given = [choice for choice in given if choice.text]
    places = {label: place for place, label in enumerate(LABELS)}
    return sorted(given, key=lambda choice: places.get(choice.label, len(LABELS))), known


def shuffled(
    id: str, choices: Sequence[Choice], right: str, seed: int
) -> tuple[tuple[Choice, ...], str]:
    """The options in an order of their own for each item, with new labels; and the right label.

    The order is the reference's: Random seeded by 16 hexadecimal digits of a digest of seed and id.
    """
    digest = hashlib.sha256(f"{seed}:{id}".encode()).hexdigest()
    order = list(choices)
    random.Random(int(digest[:16], 16)).shuffle(order)
    place = next(number for number, choice in enumerate(order) if choice.label == right)
    shown = tuple(Choice(LABELS[n], choice.text) for n, choice in enumerate(order))
    return shown, LABELS[place]


def task(item: Kept, options: LiveMathOptions) -> Task:
    """One call with the question and its options."""
    row = item.row
    published = [Choice(c["label"], c["text"]) for c in row["choices"]]
    choices, right = shuffled(item.id, published, row["right"], options.shuffle_seed)
    form = "\\boxed{X}" if options.scorer == "public" else "<answer>X</answer>"
    parts = [
        "Which option is right? Compare all of them: their quantifiers, hypotheses and equality "
        f"cases. End with {form}, where X is the label of one option.",
        f"Question: {row['question']}",
        "\n".join(f"{choice.label}. {choice.text}" for choice in choices),
    ]
    parts += [f"Theorem: {row['theorem']}"] if options.theorem and row["theorem"] else []
    parts += [f"Sketch of the proof: {row['sketch']}"] if options.sketch and row["sketch"] else []
    return Task(
        name=item.id,
        instruction="\n\n".join(parts) + "\n",
        digest="",
        family=row["types"][0] if row["types"] else "",
        question=True,
        agent_timeout_s=300.0,
        answers=(next(choice.text for choice in choices if choice.label == right),),
        verify=Judge(choices, right, options.scorer),
    )


BENCHMARK = Benchmark(
    name="livemath",
    title="LiveMathematicianBench",
    home=HOME,
    read=read,
    task=task,
    options=LiveMathOptions,
)
