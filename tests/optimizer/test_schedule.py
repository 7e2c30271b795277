"""The schedules give the numbers of the reference and stay between their ends."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.config.schema import Schedule
from skillopt.optimizer.schedule import edit_budget


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        ("cosine", 4, [4, 3, 2, 2]),
        ("cosine", 8, [4, 4, 3, 3, 3, 2, 2, 2]),
        ("cosine", 1, [2]),
        ("linear", 4, [4, 3, 3, 2]),
        ("constant", 3, [4, 4, 4]),
        ("autonomous", 2, [None, None]),
        ("none", 1, [None]),
    ],
)
def test_known_values(schedule: Schedule, steps: int, expected: list[int]) -> None:
    assert [edit_budget(schedule, t, steps, 4, 2) for t in range(1, steps + 1)] == expected


@given(
    st.sampled_from(["linear", "cosine"]),
    st.integers(1, 60),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_course(schedule: Schedule, steps: int, start: int, end: int) -> None:
    course = [edit_budget(schedule, t, steps, start, end) for t in range(1, steps + 1)]
    assert course == sorted(course, reverse=start >= end)
    assert course[-1] == end
    assert all(min(start, end) <= budget <= max(start, end) for budget in course)


@pytest.mark.parametrize(
    ("start", "end", "total"), [(5, 0, 10), (1, 0, 10), (7, 2, 10), (3, 0, 30), (9, 4, 70)]
)
def test_a_half_is_a_half_though_its_binary_fraction_is_less(
    start: int, end: int, total: int
) -> None:
    for step in range(1, total + 1):
        exact = end + (start - end) * (1 - Fraction(step, total))
        budget = edit_budget("linear", step, total, start, end)
        assert budget == math.floor(exact + Fraction(1, 2)), step
