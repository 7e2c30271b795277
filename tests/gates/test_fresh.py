"""The project's gate: deterministic, whatever the number of workers, and no repetition twice."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.config.schema import GateConfig, Metric
from skillopt.core.types import GateDecision, Reward, Rollout, Task
from skillopt.gates import make_gate
from skillopt.gates.base import Side, Trial
from skillopt.gates.fresh import FreshGate
from tests.helpers.values import a_rollout, a_task

TENTHS = st.integers(0, 10).map(lambda n: n / 10)
GATE = FreshGate()


@dataclass
class Bench:
    """Outcomes drawn by chance, but always the same ones for a side, task and repetition."""

    chances: Mapping[Side, Mapping[str, float]]
    seed: int = 0
    asked: list[tuple[Side, str, int]] = field(default_factory=list)
    calls: int = 0

    def outcome(self, side: Side, name: str, repetition: int) -> float:
        drawn = random.Random(f"{self.seed}/{side}/{name}/{repetition}").random()
        return float(drawn < self.chances[side][name])

    def measure(self, side: Side, tasks: Sequence[Task], repetition: int) -> list[Rollout]:
        self.calls += 1
        self.asked += [(side, task.name, repetition) for task in tasks]
        return [a_rollout(t, self.outcome(side, t.name, repetition)) for t in tasks]


def bench(current: Sequence[float], candidate: Sequence[float], seed: int = 0) -> Bench:
    names = [f"t{number:03}" for number in range(len(current))]
    sides: dict[Side, dict[str, float]] = {
        "current": dict(zip(names, current, strict=True)),
        "candidate": dict(zip(names, candidate, strict=True)),
    }
    return Bench(sides, seed)


def decide(
    made: Bench,
    known: Mapping[str, Sequence[float]] | None = None,
    *,
    gate: FreshGate = GATE,
    ties: bool = False,
    tried: Mapping[str, Sequence[float]] | None = None,
    before: Sequence[Mapping[str, Sequence[float]]] = (),
) -> GateDecision:
    tasks = [a_task(name) for name in made.chances["current"]]
    if known is None:
        known = {task.name: [made.outcome("current", task.name, 0)] for task in tasks}
    trial = Trial(
        tasks, _rewards(known), made.measure, ties, _rewards(tried or {}), [*map(_rewards, before)]
    )
    return gate.decide(trial)


def _rewards(values: Mapping[str, Sequence[float]]) -> dict[str, list[Reward]]:
    return {name: [Reward(value) for value in found] for name, found in values.items()}


PAIRS = st.lists(st.tuples(TENTHS, TENTHS), min_size=1, max_size=30)


@given(PAIRS, st.integers(0, 99), st.booleans(), st.booleans())
def test_decides_the_same_again_and_asks_for_each_repetition_once(
    pairs: list[tuple[float, float]], seed: int, ties: bool, later: bool
) -> None:
    current, candidate = zip(*pairs, strict=True)
    first, second = bench(current, candidate, seed), bench(current, candidate, seed)
    before = [{name: [0.0] for name in first.chances["current"]}] if later else []
    one, other = (decide(made, ties=ties, before=before) for made in (first, second))
    assert one == other
    assert first.asked == second.asked
    assert len(set(first.asked)) == len(first.asked)
    for side, known in (("current", 1), ("candidate", 0)):
        for name in first.chances["current"]:
            numbers = [n for s, task, n in first.asked if (s, task) == (side, name)]
            assert numbers == [*range(known, known + len(numbers))]
    assert len(one.rollouts) + len(one.remeasured) == len(first.asked)
    assert (one.score_after is None) == (one.evaluated < one.total)
    assert not one.accepted or (one.gain is not None and (one.gain > 0 or ties))


@given(PAIRS, st.integers(0, 99), st.data())
def test_a_better_outcome_of_the_candidate_never_turns_an_acceptance(
    pairs: list[tuple[float, float]], seed: int, data: st.DataObject
) -> None:
    current, candidate = zip(*pairs, strict=True)
    made = bench(current, candidate, seed)
    gate = FreshGate(rounds=0)  # A repetition is another draw.
    better = bench(current, candidate, seed)
    name = data.draw(st.sampled_from(sorted(made.chances["current"])))
    outcome = better.outcome
    better.outcome = lambda side, task, n: (  # type: ignore[method-assign]
        1.0 if (side, task) == ("candidate", name) else outcome(side, task, n)
    )
    if decide(made, gate=gate).accepted:
        assert decide(better, gate=gate).accepted


def test_a_lucky_win_is_shrunk_to_what_was_known_before() -> None:
    names = [f"t{n:03}" for n in range(20)]
    before = [{name: [float(n < 8)] * 2 for n, name in enumerate(names)}]
    # It won with 16 of 20, and solves 10 when run again; the candidate solves 13.
    made = bench([float(n < 10) for n in range(20)], [float(n < 13) for n in range(20)])
    known = {name: [float(n < 16)] for n, name in enumerate(names)}
    decision = decide(made, known, before=before)
    assert decision.accepted
    assert {task for side, task, _ in made.asked if side == "current"} == set(names[8:16])


def test_the_tasks_on_which_both_agree_are_not_repeated() -> None:
    made = bench([0.0] * 10 + [1.0] * 10, [0.0] * 8 + [1.0] * 2 + [1.0] * 10)
    known = {name: [chance] * 2 for name, chance in made.chances["current"].items()}
    decision = decide(made, known)
    assert decision.accepted
    repeated = {task for _, task, number in made.asked if number}
    assert repeated <= {"t008", "t009"}


def test_an_undecided_candidate_returns_with_what_is_known_of_it() -> None:
    made = bench([0.5] * 20, [0.5] * 20, seed=3)
    found = next(
        (seed, one)
        for seed in range(200)
        if (one := decide(bench([0.5] * 20, [0.5] * 20, seed))).undecided
    )
    seed, first = found
    made = bench([0.5] * 20, [0.5] * 20, seed)
    again = decide(made)
    assert again == first
    known: dict[str, list[float]] = {}
    for name in made.chances["current"]:
        known[name] = [made.outcome("current", name, 0)]
    tried: dict[str, list[float]] = {}
    for side, name, number in made.asked:
        (known if side == "current" else tried).setdefault(name, []).append(
            made.outcome(side, name, number)
        )
    made.asked.clear()
    later = decide(made, known, tried=tried)
    assert all(number >= len(tried[name]) for side, name, number in made.asked if side != "current")
    assert later.score_after is not None


def test_few_calls_whatever_the_number_of_tasks() -> None:
    calls = []
    for count in (40, 400):
        made = bench([0.5] * count, [0.7] * count)
        decide(made)
        calls.append(made.calls)
    assert max(calls) <= 12


def test_a_candidate_that_changes_nothing_ends_after_what_the_current_skill_fails() -> None:
    made = bench([0.0] * 4 + [1.0] * 12, [0.0] * 4 + [1.0] * 12)
    known = {name: [chance] * 2 for name, chance in made.chances["current"].items()}
    decision = decide(made, known)
    assert (decision.accepted, decision.evaluated, decision.undecided) == (False, 4, False)
    assert "cannot exceed" in decision.reason


@pytest.mark.parametrize(("ties", "accepted"), [(False, False), (True, True)])
def test_the_same_score_is_enough_if_the_trial_says_so(ties: bool, accepted: bool) -> None:
    made = bench([0.0, 1.0], [0.0, 1.0])
    known = {name: [chance] * 2 for name, chance in made.chances["current"].items()}
    assert decide(made, known, ties=ties).accepted is accepted


@pytest.mark.parametrize(("metric", "accepted"), [("hard", False), ("soft", True), ("mixed", True)])
def test_the_metric_decides(metric: Metric, accepted: bool) -> None:
    tasks = [a_task(f"t{n}") for n in range(12)]
    rewards: dict[Side, float] = {"current": 0.2, "candidate": 0.8}

    def measure(side: Side, part: Sequence[Task], repetition: int) -> list[Rollout]:
        return [a_rollout(task, rewards[side]) for task in part]

    gate = make_gate(GateConfig(kind="fresh", metric=metric))
    known = {task.name: [Reward(0.2)] for task in tasks}
    assert gate.decide(Trial(tasks, known, measure)).accepted is accepted


def test_a_long_lineage_is_no_recursion() -> None:
    made = bench([1.0] * 2, [1.0] * 2)
    before = [{"t000": [1.0], "t001": [1.0]}] * 3000
    assert not decide(made, before=before).accepted
