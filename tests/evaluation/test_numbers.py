"""Statistics, prices and progress: the numbers that people read."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap

from harnesses.base import Status, Usage
from skillopt.cli.progress import Progress, clock
from skillopt.config.loading import ConfigError
from skillopt.config.prices import load_prices, money
from skillopt.core.resources import resource
from skillopt.core.text import printable
from skillopt.evaluation.stats import (
    mean,
    paired_difference,
    percent,
    points,
    rate,
    rate_difference,
)
from skillopt.run.events import EvaluationStarted, RolloutFinished, RolloutStarted
from skillopt.run.records import Replied
from tests.helpers.values import a_rollout


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 20, 0.0, 0.161), (5, 20, 0.112, 0.469), (20, 20, 0.839, 1.0)],
)
def test_pass_rates_have_wilsons_interval(
    successes: int, trials: int, low: float, high: float
) -> None:
    found = rate(successes, trials)
    assert found.low == pytest.approx(low, abs=1e-3)
    assert found.high == pytest.approx(high, abs=1e-3)


def test_differences_on_one_task_have_newcombes_interval() -> None:
    # Newcombe 1998, table II, example (b), method 10: 9/10 against 3/10.
    found = rate_difference([1.0] * 3 + [0.0] * 7, [1.0] * 9 + [0.0])
    assert found is not None and found.value == pytest.approx(0.6)
    assert (found.low, found.high) == pytest.approx((0.1705, 0.8090), abs=1e-4)
    assert rate_difference([1.0], [0.0]) is None
    unsure = rate_difference([0.0, 0.0], [1.0, 1.0])
    assert unsure is not None and unsure.low < 0.1 and unsure.high == 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_paired_differences_lie_in_their_interval(pairs: list[tuple[float, float]]) -> None:
    found = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert found.low >= -1 and found.high <= 1


def test_means_are_reproducible_and_surer_with_more_values() -> None:
    few, many = mean([0.0, 1.0] * 5), mean([0.0, 1.0] * 50)
    assert few == mean([0.0, 1.0] * 5)
    assert many.high - many.low < few.high - few.low
    assert mean([0.5] * 4).low == 0.5


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 5.0, 1.0, 3.0]])
def test_means_have_the_bootstrap_interval_of_scipy(weights: list[float] | None) -> None:
    """Resamples are drawn part by part there, which changes nothing."""
    values = [0.0, 0.25, 1.0, 0.5, 0.1]
    counts = np.array(weights or [1.0] * 5)
    found = bootstrap(
        (values, counts),
        lambda v, w, axis: (v * w).sum(axis=axis) / w.sum(axis=axis),
        paired=True, method="percentile", n_resamples=4999, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    ours = mean(values, weights)
    assert (ours.low, ours.high) == pytest.approx((found.low, found.high), abs=1e-12)


def test_nothing_that_is_shown_steers_the_terminal() -> None:
    assert printable("a\x1b[2J\x07b\r\u202e\n\tc") == "a\ufffd[2J\ufffdb\ufffd\ufffd\n\tc"


def test_numbers_as_people_read_them() -> None:
    assert percent(rate(5, 20)) == "25 % [11, 47]"
    assert points(mean([0.5] * 4)) == "+50 [+50, +50]"
    assert (money(None), money(1234.5), clock(75)) == ("cost unknown", "$1,234.50", "1:15")


def test_an_unknown_price_is_unknown_and_stays_so_in_sums(tmp_path: Path) -> None:
    table = tmp_path / "prices.yaml"
    table.write_text(
        "date: 2026-01-02\nmodels:\n  a-*: {prompt: 1.0, cached: 0.1, completion: 10.0}\n"
    )
    prices = load_prices(table)
    assert prices.date == datetime.date(2026, 1, 2)
    usage = Usage(1, 1_000_000, 500_000, 100_000)
    assert prices.cost("a-large", usage) == pytest.approx(0.5 + 0.05 + 1.0)
    assert prices.cost("b", usage) is None
    assert (Usage(cost_usd=None) + Usage(cost_usd=1.0)).cost_usd is None
    table.write_text("date: 2026-01-02\nmodels:\n  a: {prompt: 1.0}\n")
    with pytest.raises(ConfigError, match=r"models\.a\.cached: is missing"):
        load_prices(table)
    shipped = load_prices(resource("configs") / "prices.yaml")
    assert shipped.cost("sim-1", usage) == 0.0 and shipped.cost("gpt-5.5-mini", usage) is None


def test_progress_counts_what_ran_and_what_was_stored_apart() -> None:
    progress = Progress()
    progress.update(EvaluationStarted(10))
    assert progress.seconds_left() is None
    for _ in range(8):
        progress.update(RolloutStarted("t"))
    for _ in range(7):
        assert progress.seconds_left() is None
        progress.update(RolloutFinished(a_rollout(), stored=False))
    progress.update(RolloutFinished(a_rollout(status=Status.INFRA_ERROR), stored=False))
    progress.update(RolloutFinished(a_rollout(), stored=True))
    assert (progress.done, progress.stored, progress.running, progress.failed) == (9, 1, 0, 1)
    assert progress.seconds_left() is not None
    progress.update(
        Replied(id="i", stage="reflect", step=1, about="", reply="{}", usage=Usage(cost_usd=None))
    )
    assert "cost unknown" in progress.text()
