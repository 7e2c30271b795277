"""The schedules give the numbers of the reference and stay between their ends."""

from __future__ import annotations

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
