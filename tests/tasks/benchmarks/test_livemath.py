"""LiveMath's scorers and shuffle against the public code's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import named_task
from skillopt.tasks.benchmarks.livemath.benchmark import merged, shuffled
from skillopt.tasks.benchmarks.livemath.score import Choice, Judge, chosen, plain
from tests.helpers.parity import parity


@parity("livemath")
def test_parity(row: dict[str, Any]) -> None:
    reply, gold = row["input"]["reply"], row["gold"]["label"]
    choices = tuple(Choice(c["label"], c["text"]) for c in row["input"]["choices"])
    label = chosen(reply, choices)
    assert label == row["expected"]["label"]
    reward = Judge(choices, gold, "reference")(named_task("t"), Path(), reply)
    assert (reward.hard, reward.soft) == (row["expected"]["hard"], row["expected"]["soft"])
    other = chosen(reply, choices, "public")
    assert other == row["public"]["label"]
    assert (other == plain(gold)) == bool(row["public"]["correct"])


@parity("livemath-shuffle")
def test_the_order_of_options(row: dict[str, Any]) -> None:
    expected, item = row["expected"], row["input"]["row"]
    choices, right = merged(item["mcq"])
    assert right is not None
    assert [vars(choice) for choice in choices] == expected["merged"]
    id = f"{item['month']}:{item['no']}"
    shown, label = shuffled(id, choices, right.label, row["input"]["seed"])
    assert [vars(choice) for choice in shown] == expected["shown"]
    assert label == expected["correct"]["label"]


@pytest.mark.parametrize("seed", range(3))
def test_the_right_option_is_not_always_the_first(seed: int) -> None:
    choices = [Choice(label, label) for label in "ABCDE"]
    labels = [shuffled(f"202511:{n}", choices, "A", seed)[1] for n in range(50)]
    assert max(labels.count(label) for label in "ABCDE") < 25
