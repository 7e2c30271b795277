"""Races: the better candidate wins, losers end early, and the gate's sample is not the race's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import pytest

from skillopt.core.types import Reward, Rollout, Task, named_task
from skillopt.gates.base import Side, Trial
from skillopt.gates.race import (
    SHARE,
    Race,
    Run,
    deciding_first,
    most_rollouts,
    race,
    round_ends,
)
from skillopt.gates.rivals import search_of
from skillopt.gates.simulation import Setting, World, _rollout, cell
from skillopt.gates.strict import StrictGate

TASKS = [named_task(f"task-{number:02}") for number in range(24)]
HALF = {task.name: [Reward(float(n % 2))] for n, task in enumerate(TASKS)}
"""The current skill solves every second task."""


def run_race(
    chances: Sequence[float], current: dict[str, list[Reward]] = HALF, tried: object = None
) -> tuple[Race, list[Run]]:
    """A race of candidates that solve this share of the tasks, always the same ones."""
    ran: list[Run] = []

    def measure(runs: Sequence[Run]) -> list[Rollout]:
        ran.extend(runs)
        return [
            _rollout(task.name, float(hash_of(task) < chances[number])) for number, task in runs
        ]

    known = tried or [{} for _ in chances]
    return race(TASKS, current, known, measure), ran  # type: ignore[arg-type]


def hash_of(task: Task) -> float:
    """A number in [0, 1) that differs from task to task."""
    return (int(task.name[-2:]) * 7 % len(TASKS)) / len(TASKS)


@pytest.mark.parametrize("best", range(5))
def test_the_best_wins_wherever_it_stands(best: int) -> None:
    chances = [0.3, 0.4, 0.2, 0.5, 0.1]
    chances[best] = 0.95
    found, ran = run_race(chances)
    assert found.winner == best
    assert [not lane.ended for lane in found.lanes] == [n == best for n in range(5)]
    assert len(ran) == len({(n, t.name) for n, t in ran}) <= most_rollouts(len(TASKS), 5)
    for number, lane in enumerate(found.lanes):
        assert {r.task.name for r in lane.rollouts} == {t.name for n, t in ran if n == number}


def test_losers_run_on_fewer_tasks_than_the_winner() -> None:
    found, _ = run_race([0.9, 0.1, 0.6, 0.8])
    lengths = [len(lane.tasks) for lane in found.lanes]
    assert lengths[0] == math.ceil(SHARE * len(TASKS)) > lengths[1]
    assert "place 4 of 4" in found.lanes[1].ended


def test_of_equal_candidates_the_first_is_judged() -> None:
    found, _ = run_race([0.5, 0.5, 0.5])
    assert found.winner == 0


def test_hopeless_candidates_end_before_the_last_round_and_the_best_of_them_stays() -> None:
    perfect = {task.name: [Reward(1.0)] for task in TASKS}
    found, ran = run_race([0.2, 0.0, 0.0, 0.0, 0.0], perfect)
    assert found.winner == 0 and not found.lanes[0].ended
    assert all(lane.ended for lane in found.lanes[1:])
    assert len(ran) == 5 * round_ends(len(TASKS), 5)[0]


def test_what_is_known_of_a_candidate_is_not_run_again() -> None:
    solved = {task.name: [Reward(1.0)] for task in TASKS}
    found, ran = run_race([0.0, 0.5], tried=[solved, {}])
    assert found.winner == 0 and {number for number, _ in ran} == {1}
    assert found.lanes[0].rollouts == ()


def test_a_current_skill_of_which_little_is_known_can_be_raced_against() -> None:
    few = dict(list(HALF.items())[:3])
    assert run_race([0.2, 0.9, 0.4], few)[0].winner == 1


def test_the_papers_gate_takes_a_sample_of_its_own() -> None:
    """The winner was the best of several on some tasks, partly by luck: that is not counted."""
    asked: list[tuple[str, int]] = []

    def measure(side: Side, tasks: Sequence[Task], repetition: int) -> list[Rollout]:
        asked.extend((task.name, repetition) for task in tasks)
        # It was lucky in the race, and solves nothing more than the current skill.
        return [
            _rollout(t.name, 1.0 if repetition == 0 and t.name in raced else HALF[t.name][0].soft)
            for t in tasks
        ]

    raced = {task.name: 1 for task in TASKS[:6]}
    alone = StrictGate().decide(Trial(TASKS, HALF, measure))
    assert alone.accepted and {number for _, number in asked} == {0}
    asked.clear()
    decision = StrictGate().decide(Trial(TASKS, HALF, measure, raced=raced))
    assert not decision.accepted
    assert all(number == raced.get(name, 0) for name, number in asked)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["strict", "fresh"])
def test_three_candidates_gain_more_than_one_for_as_many_rollouts(rule: str) -> None:
    """With proposals of the same pool, mean over three pools: the figures of docs/gates.md."""
    ratios = []
    for pool in ("A", "B", "families"):
        search = search_of(rule)
        three = cell(rule, search, Setting(17, pool, candidates=3), range(25))
        one = cell(rule, search, Setting(17, pool), range(25), budget=three.rollouts)
        ratios.append(three.gain / one.gain)
    assert sum(ratios) / len(ratios) > 1.15, ratios


def test_one_candidate_is_as_before() -> None:
    """No rollout more: what a step proposes does not depend on there being races."""
    world = World(Setting(17, candidates=1), 3)
    assert search_of("fresh").run(world) == search_of("fresh").run(World(Setting(17), 3))
    assert most_rollouts(17, 1) == 0


@pytest.mark.parametrize(
    ("current", "order"),
    [
        # Two that fail, one that is solved; half counts as solved, and the worst come first.
        ([0, 0, 0, 1, 1], "abdce"),
        ([1, 1, 1, 0], "dabc"),
        ([0.5, 0.4, 0.6, 0], "dbac"),
        ([0.5, 0.5], "ab"),
        ([0.3, 0.2, 0.1, 0, 0.9, 0.8, 0.7], "dcgbafe"),
        ([], ""),
    ],
)
def test_the_order_of_a_race(current: list[float], order: str) -> None:
    tasks = [named_task(name) for name in "abcdefg"[: len(current)]]
    scores = {task.name: Fraction(str(one)) for task, one in zip(tasks, current, strict=True)}
    assert "".join(task.name for task in deciding_first(tasks, scores)) == order


@pytest.mark.parametrize(
    ("tasks", "candidates", "ends", "most"),
    [
        (24, 2, [6], 12), (24, 3, [3, 6], 15), (24, 4, [3, 6], 18), (24, 5, [2, 4, 6], 20),
        (7, 2, [2], 4), (1, 4, [1, 1], 4),
    ],
)  # fmt: skip
def test_rounds_are_equal_parts_of_a_quarter_of_the_split(
    tasks: int, candidates: int, ends: list[int], most: int
) -> None:
    assert SHARE == 0.25
    assert round_ends(tasks, candidates) == ends
    assert most_rollouts(tasks, candidates) == most


def test_half_of_the_candidates_go_on_and_the_others_are_told_their_place() -> None:
    """With five: three, two, one; what each is worth so far is what it solved there."""
    names = [f"t{n:02}" for n in range(24)]
    tasks = [named_task(name) for name in names]
    failed = {name: [Reward(0.0)] for name in names}
    # A known reward of 1 on as many of the first tasks as a candidate is good.
    tried = [{name: [Reward(float(i < good))] for i, name in enumerate(names)}
             for good in (3, 5, 4, 1, 2)]  # fmt: skip
    found = race(tasks, failed, tried, lambda runs: [])
    assert found.winner == 1
    # After two tasks all but one solve both, and the first three of these go on.
    assert [lane.ended for lane in found.lanes] == [
        "place 3 of 3 on 4 tasks",
        "",
        "place 2 of 2 on 6 tasks",
        "place 5 of 5 on 2 tasks",
        "place 4 of 5 on 2 tasks",
    ]
    assert [lane.gain for lane in found.lanes] == [3.0, 5.0, 4.0, 1.0, 2.0]
    assert [len(lane.tasks) for lane in found.lanes] == [4, 6, 6, 2, 2]


@pytest.mark.parametrize(
    ("before", "behind", "ended"),
    [
        # Two tasks lost of 24 that are certain, and of 24 that may come either way.
        ([1.0], 2, True), ([0.0, 1.0], 4, False), ([1.0], 0, False),
    ],
)  # fmt: skip
def test_a_candidate_without_a_chance_ends_though_its_place_would_do(
    before: list[float], behind: int, ended: bool
) -> None:
    current = {task.name: [Reward(one) for one in before] for task in TASKS}
    known = [{task.name: [Reward(1.0)] for task in TASKS} for _ in range(5)]
    for place, candidate in enumerate(known):
        for task in TASKS[: behind if place == 1 else 24 if place > 1 else 0]:
            candidate[task.name] = [Reward(0.0)]
    found = race(TASKS, current, known, lambda runs: [])
    assert found.winner == 0
    assert ("less than" in found.lanes[1].ended) is ended
    mean = sum(before) / len(before)
    assert found.lanes[0].gain == len(found.lanes[0].tasks) * (1 - mean)


def test_a_race_on_one_task_is_told_as_one() -> None:
    one = [named_task("t")]
    known = [{"t": [Reward(0.0)]}, {"t": [Reward(1.0)]}]
    found = race(one, {}, known, lambda runs: [])
    assert [lane.ended for lane in found.lanes] == ["place 2 of 2 on 1 task", ""]
