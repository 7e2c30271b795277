"""What a split can show is what the exact test shows on simulated outcomes."""

from __future__ import annotations

import numpy as np
import pytest

from skillopt.gates.power import power, told_of_tasks, visible_gain
from tests.helpers import scientific as scipy


@pytest.mark.parametrize(
    ("tasks", "gain", "noise"), [(12, 0.6, 0.0), (40, 0.2, 0.2), (17, 0.4, 0.1)]
)
@pytest.mark.slow
def test_the_power_is_that_of_scipys_test(tasks: int, gain: float, noise: float) -> None:
    rng = np.random.default_rng(0)
    chances = [gain + noise / 2, noise / 2, 1 - gain - noise]
    found = [
        up > down and scipy.stats.binomtest(int(up), int(up + down)).pvalue <= 0.05
        for up, down, _ in rng.multinomial(tasks, chances, size=2000)
    ]
    assert power(tasks, gain, noise) == pytest.approx(np.mean(found), abs=0.04)


def test_more_tasks_show_less_and_noise_shows_more() -> None:
    gains = [visible_gain(tasks) for tasks in (8, 16, 40, 100, 400)]
    assert None not in gains
    assert gains == sorted(gains, reverse=True)  # type: ignore[type-var]
    clean, noisy = visible_gain(40), visible_gain(40, 0.2)
    assert clean is not None and noisy is not None and clean < noisy
    assert power(40, clean) >= 0.8 > power(40, clean - 0.01)


def test_fewer_than_six_tasks_show_nothing() -> None:
    assert [visible_gain(tasks) is None for tasks in (1, 5, 6)] == [True, True, False]
    assert "1 task cannot tell any gain from luck" in told_of_tasks(1)
    assert told_of_tasks(40) == (
        "selection: 40 tasks can show gains of 20 points and more (80 % power, without noise, "
        "which 'skillopt gate check' measures)"
    )
    assert "tasks.split" in told_of_tasks(9) and "tasks.split" not in told_of_tasks(10)


@pytest.mark.parametrize(
    ("tasks", "gain", "noise"),
    [
        (1, 1.0, 0.0), (6, 1.0, 0.0), (6, 0.9, 0.0), (12, 0.6, 0.0), (17, 0.4, 0.1), (21, 0.2, 0.2),
        (8, 0.8, 0.6), (9, 0.0, 0.3), (5, 0.0, 0.0), (16, 0.5, 1.0),
    ],
)  # fmt: skip
def test_the_power_is_the_sum_over_all_outcomes(tasks: int, gain: float, noise: float) -> None:
    """The two-sided exact test of scipy on each number of gained and lost tasks, weighted by how
    often it occurs. Noise is at most what the gain leaves."""
    lost = min(noise / 2, (1 - gain) / 2)
    chances = [gain + lost, lost, 1 - gain - 2 * lost]
    found = sum(
        scipy.stats.multinomial.pmf([up, down, tasks - up - down], tasks, chances)
        for up in range(tasks + 1)
        for down in range(tasks + 1 - up)
        if up > down and scipy.stats.binomtest(up, up + down).pvalue <= 0.05 + 1e-12
    )
    assert power(tasks, gain, noise) == pytest.approx(float(found), abs=1e-9)


@pytest.mark.parametrize(("tasks", "noise"), [(6, 0.0), (9, 0.1), (20, 0.0), (63, 0.2)])
def test_the_visible_gain_is_the_least_with_enough_power(tasks: int, noise: float) -> None:
    found = visible_gain(tasks, noise)
    assert found is not None and 0 < found <= 1
    assert power(tasks, found, noise) >= 0.8
    assert power(tasks, round(found - 0.005, 3), noise) < 0.8
