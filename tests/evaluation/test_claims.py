"""What is claimed of one skill against another, and of a finished run."""

from __future__ import annotations

from typing import Any

import pytest

from harnesses.base import Status, Usage
from skillopt.core.metric import Scorer
from skillopt.core.types import RolloutRow
from skillopt.evaluation.claim import (
    Claim,
    claim,
    claim_of_run,
    gain_of,
    said_of_run,
    scorer_of,
    scores_by_task,
)
from skillopt.evaluation.exact import exact_p
from skillopt.evaluation.stats import Estimate, paired_difference, visible_gain
from skillopt.run.records import RunCreated, RunDone
from skillopt.run.state import State


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            Claim("confirmed", Estimate(0.5, 0.2, 0.7), 0.0156, 12, 0.4, "test"),
            "confirmed: +50 [+20, +70] points on 12 test tasks (exact p = 0.016)",
        ),
        (
            Claim("contradicted", Estimate(-0.5, -0.7, -0.2), 0.0312, 12, 0.4),
            "contradicted: -50 [-70, -20] points on 12 tasks (exact p = 0.031)",
        ),
        (
            Claim("not confirmed", Estimate(0.1, -0.2, 0.4), 0.5, 12, 0.4, "test"),
            "not confirmed: +10 [-20, +40] points on 12 test tasks (exact p = 0.5); these tasks "
            "show gains of 40 points or more",
        ),
        (
            Claim("not confirmed", Estimate(1.0), 1.0, 1, None, "test"),
            "not confirmed: +100 points on 1 test task; so few tasks cannot confirm any gain",
        ),
    ],
)
def test_a_claim_in_one_line(made: Claim, words: str) -> None:
    assert made.words == words
    assert made.to_json()["words"] == words and made.to_json()["gain"]["value"] == made.gain.value


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([[0.0]] * 8, [[1.0]] * 8, "confirmed"),
        ([[1.0]] * 8, [[0.0]] * 8, "contradicted"),
        ([[0.0]] * 8, [[1.0]] * 3 + [[0.0]] * 5, "not confirmed"),
        ([[0.0, 1.0]] * 8, [[1.0, 1.0]] * 8, "confirmed"),
    ],
)
def test_a_claim_is_of_the_means_and_of_the_runs(
    before: list[list[float]], after: list[list[float]], verdict: str
) -> None:
    found = claim(before, after, split="test")
    old, new = ([sum(runs) / len(runs) for runs in side] for side in (before, after))
    changes = [b - a for a, b in zip(old, new, strict=True)]
    runs = float(sum(len(one) for one in before))
    assert found.verdict == verdict and found.split == "test" and found.tasks == 8
    assert found.gain == gain_of(before, after) == paired_difference(old, new, None, runs)
    assert (found.p, found.visible) == (exact_p(changes), visible_gain(changes))
    degrees = gain_of([[0.5]] * 8, after)
    assert degrees == paired_difference([0.5] * 8, new, None, float(sum(map(len, after))))
    assert degrees == gain_of([[0.5]] * 8, after, runs=float(sum(map(len, after))))
    weighted = claim(before, after, [2.0] + [1.0] * 7)
    assert weighted.gain == paired_difference(old, new, [2.0] + [1.0] * 7, runs * 81 / 8 / 11)


def rows(scores: dict[str, float], soft: float | None = None, alike: str = "") -> list[RolloutRow]:
    return [
        RolloutRow(
            key="same" if name in alike else name, task=name, family="", status=Status.COMPLETED,
            hard=score, soft=score if soft is None else soft, skill_activated=None, feedback="",
            message="", usage=Usage(),
        )
        for name, score in scores.items()
    ]  # fmt: skip


FAILED = dict.fromkeys("abcdefgh", 0.0)
SOLVED = dict.fromkeys("abcdefgh", 1.0)


def state(config: dict[str, Any] | None = None, **done: Any) -> State:
    """A run that is done and has kept an edit, with its test."""
    given = {"reason": "", "final_selection": 1.0, "test": {}, "test_rollouts": {}} | done
    made = State(initial="s0", current="s1", best="s1")
    made.created = RunCreated(format=1, name="r", config=config or {}, fingerprint={}, splits={})
    made.done = RunDone(**given)
    return made


def test_a_run_claims_its_best_skill_against_the_initial_one() -> None:
    tests = {"initial": rows(FAILED), "final": rows(SOLVED), "best": rows(FAILED)}
    made = state(test_rollouts=tests)
    found = claim_of_run(made)
    assert found == claim([[0.0]] * 8, [[1.0]] * 8, [1.0] * 8, "test").to_json()
    assert said_of_run(made) == found["words"]
    # The best skill is not the last one: its own rollouts count.
    made.current = "s2"
    found = claim_of_run(made)
    assert found is not None and found["verdict"] == "not confirmed"
    # What the record says is said.
    told = {"words": "told", "verdict": "confirmed"}
    assert claim_of_run(state(claim=told)) == told and said_of_run(state(claim=told)) == "told"


def test_a_run_without_an_edit_or_a_test_claims_nothing() -> None:
    tests = {"initial": rows(FAILED), "final": rows(SOLVED)}
    kept_none = state(test_rollouts={**tests, "best": rows(SOLVED)}, no_claim="no edit was kept")
    kept_none.best = "s0"
    assert claim_of_run(kept_none) is None and said_of_run(kept_none) == "no edit was kept"
    under_way = state(test_rollouts=tests)
    under_way.done = None
    assert claim_of_run(under_way) is None and said_of_run(under_way) == ""
    for missing in ("initial", "final"):
        left = {name: found for name, found in tests.items() if name != missing}
        assert claim_of_run(state(test_rollouts=left)) is None
        assert claim_of_run(state(test_rollouts=left | {missing: []})) is None


def test_tasks_of_one_rollout_count_as_one_and_others_only_if_both_have_them() -> None:
    before = rows({**FAILED, "x": 0.0}, alike="ab")
    made = state(test_rollouts={"initial": before, "final": rows(SOLVED)})
    found = claim_of_run(made)
    weights = [2.0, *[1.0] * 6]
    assert found == claim([[0.0]] * 7, [[1.0]] * 7, weights, "test").to_json()
    made.done = RunDone(reason="", final_selection=1.0, test={}, test_rollouts={
        "initial": before, "final": rows({n: s for n, s in SOLVED.items() if n != "b"}),
    })  # fmt: skip
    assert claim_of_run(made) == found, "the first of them stands for all"


@pytest.mark.parametrize(
    ("config", "scorer"),
    [
        ({}, Scorer("hard", 0.5)),
        ({"gate": {"metric": "soft"}}, Scorer("soft", 0.5)),
        ({"gate": {"metric": "mixed", "mix": 0.25}}, Scorer("mixed", 0.25)),
    ],
)
def test_a_runs_metric_is_its_configs(config: dict[str, Any], scorer: Scorer) -> None:
    assert scorer_of(state(config)) == scorer
    assert scorer_of(State()) == Scorer("hard", 0.5)
    tests = {"initial": rows(FAILED, 0.5), "final": rows(FAILED, 1.0)}
    found = claim_of_run(state(config, test_rollouts=tests))
    assert found is not None
    hard = {"hard": 0.0, "soft": 0.5, "mixed": 0.125}[scorer.metric]
    assert found["gain"]["value"] == pytest.approx(hard)


def test_scores_are_by_task_in_the_order_of_their_rollouts() -> None:
    found = scores_by_task([*rows({"a": 1.0, "b": 0.0}), *rows({"a": 0.0})], Scorer())
    assert found == {"a": [1.0, 0.0], "b": [0.0]}
