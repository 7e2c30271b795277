"""The project's gate: deterministic, whatever the number of workers, and no repetition twice."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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


@dataclass
class Script:
    """Outcomes as they are told, by side and task; the last one comes again."""

    outcomes: Mapping[Side, Mapping[str, Sequence[float]]]
    asked: list[tuple[Side, str, int]] = field(default_factory=list)

    def measure(self, side: Side, tasks: Sequence[Task], repetition: int) -> list[Rollout]:
        self.asked += [(side, task.name, repetition) for task in tasks]
        own = self.outcomes[side]
        return [a_rollout(t, own[t.name][min(repetition, len(own[t.name]) - 1)]) for t in tasks]


def scripted(
    known: Mapping[str, Sequence[float]],
    candidate: Mapping[str, Sequence[float]],
    later: Mapping[str, Sequence[float]] | None = None,
    *,
    gate: FreshGate = GATE,
    **options: Any,
) -> tuple[GateDecision, list[tuple[Side, str, int]]]:
    """A decision, and what was asked for.

    Args:
        known: outcomes of the current skill.
        candidate: what it has on each repetition.
        later: what the current skill has on the repetitions after those that are known.
    """
    current = {name: [*found, *(later or {}).get(name, ())] for name, found in known.items()}
    script = Script({"current": current, "candidate": candidate})
    before = [_rewards(one) for one in options.pop("before", ())]
    trial = Trial(
        [a_task(name) for name in known], _rewards(known), script.measure, before=before, **options
    )
    return gate.decide(trial), script.asked


NOW: Side = "current"
NEW: Side = "candidate"
SOFT = FreshGate("soft")


@pytest.mark.parametrize(
    ("known", "candidate", "later", "accepted", "gain", "asked"),
    [
        # Far ahead: two outcomes of the initial skill, one of the candidate, shrunk by half.
        ([0, 0], [1], [], True, 0.5, [(NEW, 0)]),
        # Of the initial skill one more is wanted; the second of two.
        ([0], [1], [0], True, 0.5, [(NOW, 1), (NEW, 0)]),
        # Close, twice: one more of the candidate each time, of the current skill up to three.
        ([0, 1], [1], [0], True, 2 / 3, [(NEW, 0), (NEW, 1), (NOW, 2), (NEW, 2)]),
        # The first repetition settles it.
        ([0, 1], [1, 0], [1], False, -1 / 9, [(NEW, 0), (NEW, 1), (NOW, 2)]),
        # Behind by more than half a standard error: no repetition.
        ([0, 1], [0], [], False, -0.25, [(NEW, 0)]),
        # Three of the current skill are enough.
        ([0, 1, 1], [1], [], True, 1 / 3, [(NEW, 0), (NEW, 1), (NEW, 2)]),
    ],
)
def test_how_often_each_skill_runs_on_one_task(
    known: list[float],
    candidate: list[float],
    later: list[float],
    accepted: bool,
    gain: float,
    asked: list[tuple[Side, int]],
) -> None:
    decision, found = scripted({"t": known}, {"t": candidate}, {"t": later})
    assert [(side, number) for side, _, number in found] == asked
    assert decision.accepted is accepted
    assert decision.gain == pytest.approx(gain)
    assert decision.cost == len(asked)
    assert decision.reason.startswith(f"estimated gain {gain:+.4f} from all outcomes, ")


@pytest.mark.parametrize(
    ("before", "known", "asked"),
    [
        # Within a quarter of what was known before, one outcome is enough; else three are wanted.
        ([[0.5, 0.5]], [0.75], []),
        ([[0.5, 0.5]], [0.25], []),
        ([[0.5, 0.5]], [0.76], [1]),
        ([[0.5, 0.5]], [0.24], [1]),
        ([[0.5, 0.5]], [0.9, 0.9], [2]),
        ([[0.5, 0.5]], [0.9, 0.9, 0.9], []),
        # Without anything before it is the initial skill: two.
        ([], [0.9], [1]),
        ([], [0.9, 0.9], []),
        # What was known two skills ago counts through the one between.
        ([[0.0, 0.0], [1.0]], [0.75], []),
        ([[0.0, 0.0], [1.0]], [0.8], [1]),
    ],
)
def test_a_current_skill_of_which_too_little_is_known_runs_again(
    before: list[list[float]], known: list[float], asked: list[int]
) -> None:
    last = known[-1]
    decision, found = scripted(
        {"t": known}, {"t": [0.0]}, {"t": [last]}, gate=SOFT, before=[{"t": one} for one in before]
    )
    first = next(n for n, (side, _, _) in enumerate(found) if side == NEW)
    assert [number for _, _, number in found[:first]] == asked
    assert decision.score_before == pytest.approx(last)


def test_an_estimate_is_shrunk_until_three_outcomes_agree() -> None:
    """By hand: (2 + 0) / 3 at first; three that agree count alone."""
    decision, asked = scripted({"t": [1.0]}, {"t": [1.0]}, {"t": [1.0]}, before=[{"t": [0.0, 0.0]}])
    assert asked == [(NOW, "t", 1), (NEW, "t", 0), (NEW, "t", 1), (NOW, "t", 2)]
    assert (decision.accepted, decision.gain, decision.undecided) == (False, 0.0, True)
    # Two skills ago nothing was known to be right: ((1 + 0) / 2 is the estimate before.
    decision, asked = scripted(
        {"t": [1.0]}, {"t": [1.0]}, {"t": [1.0]}, before=[{"t": [0.0, 0.0]}, {"t": [1.0]}]
    )
    assert asked == [(NOW, "t", 1), (NEW, "t", 0)], "they do not differ by more than a quarter"
    assert decision.gain == pytest.approx((1 + 2.5 / 3) / 2 - 2.5 / 3)
    assert not decision.accepted, "the candidate does better on no task than the current skill did"
    # Three that do not agree are shrunk.
    decision, _ = scripted({"t": [0.0, 1.0, 1.0]}, {"t": [0.0]}, before=[{"t": [0.0, 0.0]}])
    assert decision.gain == pytest.approx(0.25 - 0.5)


@pytest.mark.parametrize(
    ("candidate", "ties", "reason", "evaluated"),
    [
        # Four tasks of even chances: the first look is after two.
        ([0, 0, 1, 1], False, "ended after 2 of 4 tasks: it cannot exceed the current", 2),
        ([0, 0, 1, 1], True, "ended after 2 of 4 tasks: less than 20 % chance of exceeding", 2),
        # The second after three.
        ([0, 1, 0, 1], False, "ended after 3 of 4 tasks: it cannot exceed", 3),
        ([0, 1, 0, 1], True, "estimated gain +", 4),
        ([1, 0, 1, 1], False, "estimated gain +", 4),
    ],
)
def test_a_candidate_is_ended_at_a_look(
    candidate: list[float], ties: bool, reason: str, evaluated: int
) -> None:
    names = "abcd"
    known = {name: [0.0, 1.0] for name in names}
    new = {name: [one] for name, one in zip(names, candidate, strict=True)}
    decision, asked = scripted(known, new, {name: [0.5] for name in names}, ties=ties)
    assert decision.reason.startswith(reason), decision.reason
    assert decision.evaluated == evaluated
    if evaluated < 4:
        assert asked == [(NEW, name, 0) for name in names[:evaluated]]
        done = sum(candidate[:evaluated])
        assert decision.upper_bound == (done + 4 - evaluated) / 4
        assert (decision.score_after, decision.gain) == (None, None)
        assert not decision.accepted and not decision.undecided
        assert decision.score_before == 0.5


def test_the_tasks_that_the_current_skill_fails_come_first_and_are_a_look() -> None:
    known = {"a": [1.0, 1.0], "b": [0.0, 0.0], "c": [1.0, 1.0], "d": [1.0, 1.0]}
    decision, asked = scripted(known, {name: [0.0] for name in known})
    assert asked == [(NEW, "b", 0)] and decision.evaluated == 1
    assert decision.reason == "ended after 1 of 4 tasks: it cannot exceed the current skill's score"
    # Half is not failed.
    known = {"a": [1.0, 1.0], "b": [0.0, 1.0], "c": [1.0, 1.0], "d": [1.0, 1.0]}
    assert [name for _, name, _ in scripted(known, {n: [0.0] for n in known})[1]] == ["b", "a"]


@pytest.mark.parametrize(
    ("change", "fixed", "broken"),
    [(0.5, True, False), (0.45, False, False), (-0.5, False, True), (-0.45, False, False)],
)
def test_a_task_that_changes_by_half_is_named(change: float, fixed: bool, broken: bool) -> None:
    known = {"a": [0.5, 0.5], "b": [0.5, 0.5], "c": [0.0, 0.0]}
    new = {"a": [0.5 + change], "b": [0.5], "c": [1.0]}
    decision, _ = scripted(known, new, gate=SOFT)
    assert decision.fixed == (("a", "c") if fixed else ("c",))
    assert decision.broken == (("a",) if broken else ())
    assert decision.score_before == pytest.approx(1 / 3)
    assert decision.score_after == decision.upper_bound == pytest.approx((2 + change) / 3)


@pytest.mark.parametrize(
    ("known", "candidate", "undecided"),
    [
        ([1.0, 1.0], 0.0, False),
        ([0.0, 1.0], 0.0, True),
        ([0.0, 0.0], 1.0, False),  # It is accepted.
        # Just on both sides of a chance of 20 %: -0.84 standard errors.
        ([0.5, 0.5], 0.0, True),
        ([0.7, 0.7], 0.0, False),
    ],
)
def test_a_rejected_candidate_with_a_chance_is_undecided(
    known: list[float], candidate: float, undecided: bool
) -> None:
    decision, _ = scripted({"t": known}, {"t": [candidate]}, gate=SOFT)
    assert decision.undecided is undecided


def test_the_mixed_metric_is_half_and_half_by_default() -> None:
    decision, _ = scripted({"t": [0.4, 0.4]}, {"t": [1.0]}, gate=FreshGate("mixed"))
    assert (decision.score_before, decision.score_after) == (0.2, 1.0)


def test_a_reward_says_itself_whether_a_task_is_solved_and_words_are_of_the_whole_split() -> None:
    """Half of the points can be a pass; and all but a few none."""
    tasks = [a_task("a"), a_task("b")]

    def measure(side: Side, part: Sequence[Task], repetition: int) -> list[Rollout]:
        passed = Reward(0.5, solved=True)
        return [a_rollout(task).model_copy(update={"reward": passed}) for task in part]

    known = {task.name: [Reward(0.9, solved=False)] * 2 for task in tasks}
    decision = GATE.decide(Trial(tasks, known, measure))
    assert (decision.score_before, decision.score_after, decision.accepted) == (0.0, 1.0, True)
    assert decision.reason == "estimated gain +0.5000 from all outcomes, 1.0000 against 0.0000"


def test_a_candidate_that_is_known_to_lose_is_not_run_again() -> None:
    known = {name: [0.0, 1.0] for name in "abcd"}
    new = {name: [1.0] for name in "abcd"}
    tried = _rewards({"a": [0.0], "b": [0.0]})
    decision, asked = scripted(known, new, tried=tried)
    assert asked == [] and decision.cost == 0 and decision.evaluated == 0
    assert decision.reason.startswith("ended after 2 of 4 tasks: it cannot exceed")


@pytest.mark.parametrize(
    ("first", "ended"),
    # By hand: -0.9 and -0.7 in standard deviations of sqrt(0.3 + 2 * 0.25) are 16 % and 22 %.
    [(0.1, True), (0.3, False)],
)
def test_the_chance_is_of_the_uncertain_rest(first: float, ended: bool) -> None:
    known = {name: [0.0, 1.0] for name in "abcd"}
    new = {"a": [first], "b": [0.0], "c": [0.5], "d": [0.5]}
    decision, _ = scripted(known, new, {n: [0.5] for n in "abcd"}, gate=SOFT, ties=True)
    assert ("less than 20 % chance" in decision.reason) is ended
