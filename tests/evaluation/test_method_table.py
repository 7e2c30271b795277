"""Several runs of a method: the run is the unit, and what runs share is one sample."""

from __future__ import annotations

import random
from contextlib import nullcontext
from dataclasses import replace

import pytest

from skillopt.evaluation.comparable import check_comparable, differences, setup_of
from skillopt.evaluation.method_table import Comparison, methods_of
from skillopt.evaluation.run_table import FinishedRun, read_finished
from skillopt.evaluation.stats import Estimate, RunScores, difference_of_runs, mean_of_runs
from skillopt.run.folder import RunError
from skillopt.run.records import FORMAT, RunCreated
from tests.helpers import scientific as scipy
from tests.helpers.tiny import Tiny, tiny

__all__ = ["tiny"]

SPREAD, OTHER = (0.2, 0.5, 0.9), (0.6, 0.9, 0.4, 0.8)


def scores(*values: float, trials: float = 1000, different: int | None = None) -> RunScores:
    return RunScores(values, trials, len(values) if different is None else different)


def ends(found: Estimate) -> tuple[float, float]:
    assert found.low is not None and found.high is not None
    return found.low, found.high


@pytest.mark.parametrize(
    ("old", "new", "alike"),
    [
        ({}, {"metric": "hard", "mix": 0.5}, True),
        ({"metric": "hard", "mix": 0.2}, {"metric": "hard", "mix": 0.8}, True),
        ({"metric": "mixed", "mix": 0.2}, {"metric": "mixed", "mix": 0.8}, False),
        ({}, {"metric": "soft"}, False),
    ],
)
def test_scores_of_the_same_metric_are_comparable(
    old: dict[str, object], new: dict[str, object], alike: bool
) -> None:
    first, other = (
        RunCreated(format=FORMAT, name="r", config={"seed": 1, "gate": gate}, fingerprint={},
                   splits={})
        for gate in (old, new)
    )  # fmt: skip
    with nullcontext() if alike else pytest.raises(RunError, match="other metrics"):
        check_comparable(first, other, ("a", "b"))


def test_the_mean_has_students_interval() -> None:
    middle = sum(SPREAD) / 3
    error = (sum((v - middle) ** 2 for v in SPREAD) / 2 / 3) ** 0.5
    low, high = scipy.stats.t.interval(0.95, 2, middle, error)
    assert ends(mean_of_runs(scores(*SPREAD))) == pytest.approx((max(low, 0), min(high, 1)))
    assert mean_of_runs(scores(0.5)) == Estimate(0.5)
    assert mean_of_runs(scores(0.5, 0.5, different=1)) == Estimate(0.5)


def test_the_difference_has_welchs_interval() -> None:
    expected = scipy.stats.ttest_ind(OTHER, SPREAD, equal_var=False).confidence_interval()
    found = ends(difference_of_runs(scores(*SPREAD), scores(*OTHER)))
    assert found == pytest.approx((expected.low, expected.high), rel=1e-6)


def test_runs_that_agree_are_not_taken_for_sure() -> None:
    low, high = ends(mean_of_runs(scores(1.0, 1.0, 1.0, trials=20)))
    assert 0.9 < low < 0.98 and high == 1
    few, many = (ends(mean_of_runs(scores(0.5, 0.5, trials=n))) for n in (20, 200))
    assert few[0] < many[0] and few[1] > many[1]


def test_a_skill_that_no_seed_changes_has_only_chance() -> None:
    one = difference_of_runs(scores(0.25, trials=20), scores(*OTHER, trials=20))
    three = difference_of_runs(
        scores(0.25, 0.25, 0.25, trials=20, different=1), scores(*OTHER, trials=20)
    )
    assert one == three


@pytest.mark.parametrize("spread", [0.0, 0.1])
@pytest.mark.parametrize("rate", [0.3, 0.7, 0.98])
def test_intervals_over_runs_hold(rate: float, spread: float) -> None:
    """Runs whose skills differ by ``spread`` in their true rate, on 20 tasks."""
    rng, held, held_gain, rounds = random.Random(7), 0, 0, 400

    def one_run() -> float:
        true = min(1.0, max(0.0, rng.gauss(rate, spread)))
        return sum(rng.random() < true for _ in range(20)) / 20

    truth = sum(min(1.0, max(0.0, rng.gauss(rate, spread))) for _ in range(20_000)) / 20_000
    for _ in range(rounds):
        first, second = (scores(*(one_run() for _ in range(3)), trials=20) for _ in range(2))
        low, high = ends(mean_of_runs(first))
        held += low <= truth <= high
        held_gain += difference_of_runs(first, second).sign == 0
    assert held / rounds >= 0.93 and held_gain / rounds >= 0.93


@pytest.mark.parametrize(
    ("key", "alike"),
    [
        ("seed", True),
        ("optimizer.service.seed", True),
        ("target.sampling.seed", True),
        ("runner.seeds", False),
        ("target.name", False),
    ],
)
def test_runs_of_a_method_differ_in_seeds_alone(key: str, alike: bool) -> None:
    one, other = (
        RunCreated(name="a", config={}, splits={}, fingerprint={"agent": "direct", key: value})
        for value in (1, 2)
    )
    assert (setup_of(one) == setup_of(other)) is alike
    told = differences({"a": one, "b": other})
    assert told == ([] if alike else [f"{key} differs: 1 for a; 2 for b"])


def trained(tiny: Tiny, name: str, seed: int = 1, **settings: object) -> FinishedRun:
    tiny.write(name=name, seed=seed, **settings)
    assert tiny.train().returncode == 0
    return read_finished([tiny.run])[0]


@pytest.mark.slow
def test_runs_with_the_same_skill_are_one_sample(tiny: Tiny) -> None:
    runs = [trained(tiny, f"run-{seed}", seed, method={"kind": "none"}) for seed in (1, 2)]
    loops = [trained(tiny, f"loop-{seed}", seed, method={"kind": "skillopt"}) for seed in (1, 2)]
    none, _ = methods_of([*runs, *loops])
    found = none.scores_of("best")
    assert found is not None and (found.different, found.trials) == (1, 3)
    assert none.trials == 3
    compared = Comparison.of([*runs, *loops], {})
    assert [(row.method, row.seeds) for row in compared.methods] == [
        ("none", (1, 2)), ("skillopt", (1, 2)),
    ]  # fmt: skip
    assert compared.methods[0].over_start == Estimate(0.0)
    assert compared.methods[1].score.value == pytest.approx(2 / 3)
    (pair,) = compared.pairs
    assert pair.over_runs is not None
    assert pair.over_runs.value == pytest.approx(pair.over_tasks.gain.value)


@pytest.mark.slow
def test_a_copy_of_a_run_says_nothing_of_other_seeds(tiny: Tiny) -> None:
    none = trained(tiny, "none", method={"kind": "none"})
    loop = trained(tiny, "loop", method={"kind": "skillopt"})
    (pair,) = Comparison.of([none, loop, replace(loop, name="copy")], {}).pairs
    assert pair.over_runs is None and "says nothing about other seeds" in pair.words


@pytest.mark.slow
def test_single_trainings_say_nothing_of_other_seeds(tiny: Tiny) -> None:
    none = trained(tiny, "none", method={"kind": "none"})
    loop = trained(tiny, "loop", method={"kind": "skillopt"})
    short = trained(tiny, "short", train__epochs=1)
    compared = Comparison.of([none, loop, short], {})
    assert [row.method for row in compared.methods] == [
        "none", "skillopt (loop)", "skillopt (short)",
    ]  # fmt: skip
    assert [(pair.method, pair.other) for pair in compared.pairs] == [
        ("skillopt (loop)", "none"),
        ("skillopt (short)", "none"),
        ("skillopt (short)", "skillopt (loop)"),
    ]
    assert all(pair.over_runs is None for pair in compared.pairs)
    assert compared.methods[1].over_start.low is None
