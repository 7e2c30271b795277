"""Which edits are measured on which tasks, and what follows from it."""

from __future__ import annotations

import math

import pytest

from skillopt.core.types import GateDecision
from skillopt.gates.credit import Probe, affordable, kept_edits, plan_probe, removal_order
from skillopt.gates.credit import wants_credit as wanted
from skillopt.gates.fresh import FreshGate
from skillopt.gates.search import GateSearch
from skillopt.gates.simulation import Setting, cell


def decision(fixed: str, broken: str, *, accepted: bool = False) -> GateDecision:
    return GateDecision(
        accepted=accepted,
        score_before=0.5,
        score_after=0.5,
        upper_bound=0.5,
        total=9,
        fixed=tuple(fixed),
        broken=tuple(broken),
        reason="",
        rollouts=(),
    )


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (5, Probe()),
        (6, Probe(((0, 1), (2,)), ("x", "a"))),
        (8, Probe(((0,), (1,), (2,)), ("x", "a"))),
        (12, Probe(((0,), (1,), (2,)), ("x", "a", "b"))),
        (99, Probe(((0,), (1,), (2,)), ("x", "a", "b"))),
        (-3, Probe()),
    ],
)
def test_edits_are_left_out_alone_or_by_halves_as_far_as_the_budget_goes(
    budget: int, expected: Probe
) -> None:
    assert plan_probe(decision("ab", "x"), 3, budget) == expected


def test_one_task_is_enough_if_no_more_has_changed() -> None:
    assert plan_probe(decision("a", ""), 2, 3) == Probe(((0,), (1,)), ("a",))
    assert plan_probe(decision("", ""), 2, 99) == Probe()


def test_credit_is_wanted_of_rejected_and_narrow_changes_of_several_edits() -> None:
    assert wanted(decision("a", "x"), 2) and wanted(decision("a", "", accepted=True), 2)
    assert not wanted(decision("ab", "", accepted=True), 2)
    assert not wanted(decision("a", "x"), 1) and not wanted(decision("", ""), 4)


def test_edits_without_which_the_score_is_higher_did_harm() -> None:
    assert kept_edits(4, 0.5, {(0,): 0.0, (1,): 0.75, (2,): 0.5, (3,): 0.25}) == [0, 2, 3]
    assert kept_edits(4, 0.5, {(0, 1): 1.0, (2, 3): 0.0}) == [2, 3]
    assert kept_edits(2, 0.0, {(0,): 1.0, (1,): 1.0}) == []


def test_the_least_tried_and_then_the_least_useful_edit_is_tried_first() -> None:
    gains = {"a": 0.3, "b": 0.1, "c": 0.1, "d": -0.1}
    assert removal_order(gains, {"d": 1}) == ["b", "c", "a", "d"]


def test_a_share_is_never_passed_before_a_trial() -> None:
    assert affordable(10, 0, 0.5, 20) and not affordable(10, 1, 0.5, 20)
    assert not affordable(1, 0, 0.0, 1000)


@pytest.mark.slow
def test_removals_take_out_ballast_and_keep_the_gain() -> None:
    def found(prune: float) -> tuple[float, float, float]:
        search = GateSearch(FreshGate(), prune=prune)
        each = [cell("", search, Setting(tasks=17, pool=p), range(60)) for p in ("A", "B", "C")]
        gain, error = math.fsum(one.gain for one in each), math.hypot(*(one.error for one in each))
        return gain, error, math.fsum(one.useless + one.harmful for one in each)

    (plain, error, ballast), (pruned, _, less) = found(0), found(0.25)
    assert less < 0.85 * ballast
    assert pruned > plain - 2 * error


@pytest.mark.slow
def test_credit_gains_with_bundles() -> None:
    def gain(credit: float) -> float:
        search = GateSearch(FreshGate(), credit=credit)
        settings = [Setting(tasks=40, pool=p, steps=12, bundle=4) for p in ("A", "B", "C")]
        return math.fsum(cell("", search, one, range(40)).gain for one in settings)

    assert gain(0.5) > gain(0)


@pytest.mark.parametrize(
    ("broken", "fixed", "accepted", "edits", "found"),
    [
        # A win by one task is narrow, by two is none; any rejection is worth knowing.
        ("", "a", True, 2, True),
        ("", "ab", True, 2, False),
        ("", "ab", False, 2, True),
        ("x", "ab", True, 2, True),
        ("x", "abc", True, 2, False),
        ("x", "abc", False, 2, True),
        ("xy", "a", True, 2, True),
        ("xyz", "a", True, 2, True),
        ("x", "", False, 2, True),
        ("", "a", True, 1, False),
        ("", "a", False, 1, False),
        ("", "", False, 2, False),
        ("", "", True, 2, False),
        ("", "a", True, 5, True),
    ],
)
def test_each_arm_of_what_is_worth_knowing(
    broken: str, fixed: str, accepted: bool, edits: int, found: bool
) -> None:
    assert wanted(decision(fixed, broken, accepted=accepted), edits) is found


@pytest.mark.parametrize(
    ("bundle", "without", "kept"),
    [
        (0.5, 0.5, True), (0.5, 0.5 + 1e-12, True), (0.5, 0.51, False), (0.5, 0.0, True),
        (0.0, 0.0, True), (1.0, 1.0, True),
    ],
)  # fmt: skip
def test_an_edit_did_harm_if_the_score_is_higher_without_it(
    bundle: float, without: float, kept: bool
) -> None:
    assert kept_edits(1, bundle, {(0,): without}) == ([0] if kept else [])
