"""The split fits the number of tasks: none is wasted, and few of them choose."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillopt.core.types import Task
from skillopt.gates.power import visible_gain
from skillopt.setup.sizes import LEAST, MANY, fitting_split, fitting_training
from skillopt.tasks.sources import cut, hold_out, split_tasks


def tasks(count: int) -> list[Task]:
    return [Task(name=f"t{n:04d}", instruction="x", digest=str(n)) for n in range(count)]


@given(count=st.integers(LEAST, 400), seed=st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_no_task_is_wasted_and_the_same_are_chosen_again(count: int, seed: int) -> None:
    every, proportions = tasks(count), fitting_split(count)
    splits = split_tasks(every, proportions, seed)
    assert splits == split_tasks(every[::-1], proportions, seed)
    held = hold_out(splits, 1 / 3, seed)
    for found in (splits, held):
        names = [task.name for split in found.values() for task in split]
        assert sorted(names) == [task.name for task in every]
        assert found["train"] and found["val"]
    assert tuple(len(found) for found in splits.values()) == cut(count, proportions)
    # A test split has enough tasks to confirm something, or there is none.
    assert len(held["test"]) == 0 or visible_gain(len(held["test"])) is not None


@given(count=st.integers(LEAST, MANY))
def test_of_few_tasks_most_choose(count: int) -> None:
    train, val, test = cut(count, fitting_split(count))
    assert (val >= train, test) == (True, 0)
    shows = visible_gain(val) is not None
    assert shows == (count > 6)  # Six can show a gain, and one has to be learnt from.


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(2, (1, 1, 0)), (3, (1, 2, 0)), (7, (1, 6, 0)), (8, (2, 6, 0)), (10, (4, 6, 0)),
     (30, (12, 18, 0)), (100, (40, 60, 0)), (200, (80, 60, 60))],
)  # fmt: skip
def test_some_numbers(count: int, sizes: tuple[int, int, int]) -> None:
    assert cut(count, fitting_split(count)) == sizes


@given(st.integers(1, 500))
def test_every_training_task_is_in_a_batch(train: int) -> None:
    found = fitting_training(train)
    assert 1 <= found["minibatch"] <= found["batch_size"] <= max(40, train)
    assert found["batch_size"] <= train


@pytest.mark.parametrize(
    ("proportions", "sizes"),
    [((2, 1, 7), (2, 1, 7)), ((1, 1, 0), (5, 5, 0)), ((1, 2, 0), (3, 7, 0)), ((1, 1, 1), (3, 3, 4)),
     ((1, 0, 0), (10, 0, 0))],
)  # fmt: skip
def test_what_is_left_over_goes_to_the_last_split_that_has_a_share(
    proportions: tuple[int, int, int], sizes: tuple[int, int, int]
) -> None:
    assert cut(10, proportions) == sizes
