"""Writes the task set ``words``: 120 nouns of four kinds, as questions that ask for the kind.

Language models of any size know the kinds; a skill has to teach how to answer.
"""

from __future__ import annotations

import random
from pathlib import Path

from skillopt.config.schema import TasksConfig
from skillopt.core.types import Split, Task
from skillopt.tasks.generated import generated

KINDS = {
    "animal": (
        "dog cat horse cow sheep goat pig rabbit lion tiger bear wolf fox deer elephant giraffe "
        "zebra monkey kangaroo otter beaver squirrel eagle owl penguin duck frog snake whale shark"
    ),
    "food": (
        "bread cheese rice pasta soup pizza salad butter honey sugar apple banana orange grape "
        "lemon carrot potato onion tomato bean cake cookie pie chocolate sandwich sausage omelette "
        "pancake noodle yogurt"
    ),
    "vehicle": (
        "car truck bus train plane boat ship bicycle motorcycle helicopter tractor van taxi tram "
        "ferry submarine scooter rocket yacht canoe ambulance limousine jeep bulldozer kayak "
        "glider wagon minivan airplane locomotive"
    ),
    "clothing": (
        "shirt coat hat shoe sock glove scarf dress skirt sweater jacket jeans trousers belt tie "
        "boot sandal cap suit vest blouse hoodie pajamas raincoat slipper mitten cardigan shorts "
        "robe apron"
    ),
}
"""Thirty words of each kind."""
SIZES: dict[Split, int] = {"train": 6, "val": 10, "test": 14}
"""Words of each kind in a split."""

_TASK = """\
schema_version = "1.4"

[metadata]
category = "{kind}"

[agent]
timeout_sec = 120.0
"""


def source(config: TasksConfig, folder: Path) -> dict[Split, tuple[Task, ...]]:
    """The words, written below ``folder``. A :data:`skillopt.tasks.sources.TaskSource`."""
    return generated(generate, folder / f"words-{config.seed}", config.seed)


def generate(target: Path, seed: int) -> None:
    """Write the tasks to ``target``, which must not exist; the same seed gives the same bytes."""
    for split, words in deal(seed).items():
        for number, (word, kind) in enumerate(words, start=1):
            folder = target / split / f"{split}-{number:03}"
            (folder / "tests").mkdir(parents=True)
            (folder / "task.toml").write_text(_TASK.format(kind=kind), "utf-8")
            (folder / "instruction.md").write_text(f"Input: {word}\nOutput:\n", "utf-8")
            (folder / "tests" / "answer.txt").write_text(f"{kind}\n", "utf-8")


def deal(seed: int) -> dict[Split, list[tuple[str, str]]]:
    """The words of each split with their kinds, in random order."""
    rng = random.Random(f"words/{seed}")
    dealt: dict[Split, list[tuple[str, str]]] = {split: [] for split in SIZES}
    for kind, text in KINDS.items():
        words = text.split()
        rng.shuffle(words)
        start = 0
        for split, size in SIZES.items():
            dealt[split] += [(word, kind) for word in words[start : start + size]]
            start += size
    for words_of_split in dealt.values():
        rng.shuffle(words_of_split)
    return dealt
