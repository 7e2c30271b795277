"""Statistics, prices and progress: the numbers that people read."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from harnesses.base import Status, Usage
from harnesses.gateway.plan_windows import PlanWindow
from skillopt.cli.progress import Progress, clock
from skillopt.config.loading import ConfigError
from skillopt.config.prices import cost_text, load_prices, money
from skillopt.core.resources import resource
from skillopt.core.text import printable
from skillopt.evaluation.stats import Estimate, percent, points, rate
from skillopt.run.events import EvaluationStarted, RolloutFinished, RolloutStarted
from skillopt.run.records import PlanUsed, Replied
from tests.helpers.values import a_rollout


def test_nothing_that_is_shown_steers_the_terminal() -> None:
    assert printable("a\x1b[2J\x07b\r\u202e\n\tc") == "a\ufffd[2J\ufffdb\ufffd\ufffd\n\tc"


def test_numbers_as_people_read_them() -> None:
    assert percent(rate(5, 20)) == "25 % [9, 49]"
    assert percent(rate(1, 1)) == "100 %"
    assert points(Estimate(0.5, 0.25, 0.75)) == "+50 [+25, +75]"
    assert points(Estimate(-0.5)) == "-50"
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


def test_what_a_plan_pays_is_neither_free_nor_unknown() -> None:
    paid, key = Usage(1, 10, 0, 5, 0.0, included=True), Usage(1, 10, 0, 5, 0.25)
    assert cost_text(paid) == "included in a plan" and cost_text(key) == "$0.25"
    assert cost_text(Usage.total([paid, key])) == cost_text(key + paid) == "$0.25 and a plan"
    assert cost_text(paid + Usage(cost_usd=None)) == "cost unknown"
    assert cost_text(Usage()) == "$0.00"


def test_progress_shows_the_windows_of_plans() -> None:
    progress, paid = Progress(), Usage(1, 900, 0, 100, 0.0, included=True)
    progress.update(RolloutStarted("t"))
    rollout = a_rollout().model_copy(update={"usage": paid})
    progress.update(RolloutFinished(rollout, stored=False))
    windows = (PlanWindow("five_hour", 0.42), PlanWindow("seven_day", 0.1))
    progress.update(PlanUsed(service="claude", windows=windows))
    text = progress.text()
    assert "1k tokens, included in a plan" in text
    assert "plan of claude: five hours 42% used, week 10% used" in text
