"""What the loop knows after each record: which skill is current, which is best, since when."""

from __future__ import annotations

from typing import Any

import pytest

from harnesses.base import Status, Usage
from skillopt.config.schema import NoAcceptConfig
from skillopt.core.types import Edit, GateDecision, RolloutRow
from skillopt.run.records import (
    BaselineDone,
    BatchDone,
    EpochDone,
    MethodDone,
    RemovalDone,
    RolloutRan,
    RunDone,
    RunStarted,
    RunStopped,
    StageStarted,
    StepDone,
)
from skillopt.run.spending import Spent
from skillopt.run.state import State, fold
from skillopt.run.stop import make_stop


def baseline(score: float = 0.5) -> BaselineDone:
    return BaselineDone(skill="s0", score=score, rollouts=[row("a", "k0", score)])


def row(task: str, key: str, reward: float = 0.0) -> RolloutRow:
    return RolloutRow(
        key=key,
        task=task,
        family="",
        status=Status.COMPLETED,
        hard=float(reward == 1),
        soft=reward,
        skill_activated=None,
        feedback="",
        message="",
        usage=Usage(),
    )


def decision(
    accepted: bool,
    before: float,
    after: float | None,
    gain: float | None = None,
    remeasured: tuple[RolloutRow, ...] = (),
) -> GateDecision:
    return GateDecision(
        accepted=accepted,
        score_before=before,
        score_after=after,
        upper_bound=after if after is not None else 1.0,
        total=4,
        reason="because",
        rollouts=(),
        remeasured=remeasured,
        gain=gain,
    )


def step(number: int, candidate: str | None = None, gate: GateDecision | None = None) -> StepDone:
    return StepDone(
        step=number,
        epoch=1,
        action="accepted" if gate and gate.accepted else "rejected",
        row={"step": number},
        rollouts=[],
        patches=[],
        report=[],
        candidate=candidate,
        gate=gate,
        rejected=None,
    )


@pytest.mark.parametrize(
    ("steps", "last", "current", "best", "best_score"),
    [
        ([(False, 0.5, 0.25)], 0, "s0", "s0", 0.5),
        ([(True, 0.5, 0.75)], 1, "s1", "s1", 0.75),
        ([(True, 0.5, 0.75), (False, 0.75, 0.5)], 1, "s1", "s1", 0.75),
        # The second one counts, as the first did.
        ([(True, 0.5, 0.75), (True, 0.75, 1.0)], 2, "s2", "s2", 1.0),
        ([(True, 0.5, 0.75), (False, 0.75, 0.5), (True, 0.75, 1.0)], 3, "s3", "s3", 1.0),
        # Measured again, the current skill is worth less: the best one is, too.
        ([(True, 0.5, 0.75), (False, 0.6, None)], 1, "s1", "s1", 0.6),
        # Accepted with the same score, or with less: current, and not best.
        ([(True, 0.5, 0.5)], 1, "s1", "s0", 0.5),
        ([(True, 0.5, 0.4)], 1, "s1", "s0", 0.5),
        # A current skill that is not the best does not change the best one's score.
        ([(True, 0.5, 0.4), (False, 0.3, 0.2)], 1, "s1", "s0", 0.5),
        ([(True, 0.5, 0.4), (True, 0.4, 0.45)], 2, "s2", "s0", 0.5),
        ([(True, 0.5, 0.4), (True, 0.4, 0.6)], 2, "s2", "s2", 0.6),
    ],
)
def test_what_is_current_and_best_after_some_steps(
    steps: list[tuple[bool, float, float | None]],
    last: int,
    current: str,
    best: str,
    best_score: float,
) -> None:
    state = fold([
        baseline(),
        *(step(n, f"s{n}", decision(*judged)) for n, judged in enumerate(steps, 1)),
    ])  # fmt: skip
    assert (state.last_accepted, state.current, state.best) == (last, current, best)
    assert state.best_score == best_score
    taken = [f"s{n}" for n, judged in enumerate(steps, 1) if judged[0]]
    assert state.accepted == taken and state.lineage == ["s0", *taken][:-1]
    assert len(state.history) == state.steps == len(steps)
    assert state.history[-1]["best_score"] == best_score


@pytest.mark.parametrize(
    ("accepted_at", "now", "stops"),
    [
        ([], 1, False), ([], 2, True), ([1], 2, False), ([1], 3, True),
        ([1, 3], 4, False), ([1, 3], 5, True), ([1, 2, 4], 5, False),
    ],
)  # fmt: skip
def test_patience_begins_anew_with_each_accepted_change(
    accepted_at: list[int], now: int, stops: bool
) -> None:
    records = [step(n, f"s{n}", decision(n in accepted_at, 0.5, 0.5)) for n in range(1, now + 1)]
    stop = make_stop([NoAcceptConfig(kind="no_accept", steps=2)])
    assert bool(stop(fold([baseline(), *records]), Spent())) is stops


@pytest.mark.parametrize(("gain", "best"), [(0.1, "s1"), (0.0, "s0"), (-0.1, "s0"), (None, "s1")])
def test_the_gates_own_estimate_says_whether_a_candidate_is_best(
    gain: float | None, best: str
) -> None:
    state = fold([baseline(), step(1, "s1", decision(True, 0.5, 0.75, gain))])
    assert (state.current, state.best) == ("s1", best)


def test_an_estimate_against_a_skill_that_is_not_the_best_is_no_estimate_against_the_best() -> None:
    """The scores decide then."""
    worse = step(1, "s1", decision(True, 0.5, 0.4))
    state = fold([baseline(), worse, step(2, "s2", decision(True, 0.4, 0.45, gain=0.3))])
    assert (state.current, state.best, state.best_score) == ("s2", "s0", 0.5)
    state = fold([baseline(), worse, step(2, "s2", decision(True, 0.4, 0.6, gain=-0.3))])
    assert (state.current, state.best, state.best_score) == ("s2", "s2", 0.6)


def test_a_step_without_a_candidate_changes_no_score() -> None:
    state = fold([baseline(), step(1), step(2, "s2")])
    assert (state.current, state.best_score, state.steps) == ("s0", 0.5, 2)
    assert state.accepted == [] and state.spent_on == {"gate": 0}


def test_a_rollout_that_is_known_counts_once_and_the_first_time() -> None:
    again = (row("a", "k0", 1.0), row("a", "k1", 0.25), row("b", "k2", 1.0))
    state = fold([baseline(), step(1, "s1", decision(False, 0.5, None, remeasured=again))])
    soft = {task: [reward.soft for reward in found] for task, found in state.rewards.items()}
    assert soft == {"a": [0.5, 0.25], "b": [1.0]}
    assert state.rewards_of("nobody") == {}
    assert state.spent_on == {"gate": 3}


def removal(gate: GateDecision, ending: str = "", at: int = 1) -> RemovalDone:
    return RemovalDone(
        step=at, epoch=1, of_step=1, number=0, edit=Edit("append", content="x"), action="accepted",
        ending=ending, candidate="short", gate=gate, rejected=None, row={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "gate", "current", "best"),
    [
        # What is taken out of the best skill leaves the best one, also with the same score.
        ([(True, 0.5, 0.75)], (True, 0.75, 0.75), "short", "short"),
        ([(True, 0.5, 0.75)], (False, 0.75, 0.5), "s1", "s1"),
        # What is taken out of another one does not make it the best.
        ([(True, 0.5, 0.4)], (True, 0.4, 0.4), "short", "s0"),
        # After steps that were rejected, too.
        ([(True, 0.5, 0.75), (False, 0.75, 0.5)], (True, 0.75, 0.75), "short", "short"),
    ],
)
def test_a_removal_keeps_the_best_skill_the_best(
    steps: list[tuple[bool, float, float]],
    gate: tuple[bool, float, float],
    current: str,
    best: str,
) -> None:
    made = [step(n, f"s{n}", decision(*one)) for n, one in enumerate(steps, 1)]
    state = fold([baseline(), *made, removal(decision(*gate), at=len(steps))])
    assert (state.current, state.best) == (current, best)
    assert state.last_accepted == 1, "a removal is no accepted edit: patience goes on"


@pytest.mark.parametrize(
    ("endings", "at", "steps", "found"),
    [
        ([], 1, 1, ""), (["patience"], 1, 1, "patience"), (["patience"], 1, 2, ""),
        (["patience", ""], 1, 1, ""), (["", "all steps"], 1, 1, "all steps"),
    ],
)  # fmt: skip
def test_why_training_ends_is_what_the_last_removal_says(
    endings: list[str], at: int, steps: int, found: str
) -> None:
    state = fold([baseline(), step(1), *(removal(decision(False, 0.5, 0.5), e) for e in endings)])
    state.steps = steps
    assert state.ending == found


@pytest.mark.parametrize(
    ("final", "best", "score"), [(0.4, "s0", 0.5), (0.5, "s0", 0.5), (0.6, "s1", 0.6)]
)
def test_the_final_evaluation_may_make_the_current_skill_the_best(
    final: float, best: str, score: float
) -> None:
    done = RunDone(reason="all steps are done", final_selection=final, test={}, test_rollouts={})
    state = fold([baseline(), step(1, "s1", decision(True, 0.5, 0.5)), done])
    assert (state.best, state.best_score, state.doing) == (best, score, "done")


@pytest.mark.parametrize(
    ("score", "final", "expected"), [(0.4, 0.3, 0.3), (None, 0.3, 0.3), (0.4, None, 0.4)]
)
def test_a_methods_result_stands_also_if_it_scores_less(
    score: float | None, final: float | None, expected: float
) -> None:
    chosen = MethodDone(skill="own", score=score, asked=7, budget=None, reason="done")
    records: list[Any] = [baseline(), chosen]
    if final is not None:
        records.append(RunDone(reason="", final_selection=final, test={}, test_rollouts={}))
    state = fold(records)
    assert (state.current, state.best, state.asked) == ("own", "own", 7)
    assert (state.current_score, state.best_score) == (expected, expected)
    assert state.accepted == ["own"]


def ran(key: str, status: Status, stage: str = "rollout") -> RolloutRan:
    return RolloutRan(stage=stage, key=key, task="t", status=status, usage=Usage(), seconds=1.0)


FAILED = Status.INFRA_ERROR


@pytest.mark.parametrize(
    ("runs", "failures"),
    [
        ([("a", FAILED)], ["a"]),
        ([("a", FAILED), ("a", Status.COMPLETED)], []),
        ([("a", FAILED), ("a", Status.CANCELLED)], ["a"]),
        ([("a", Status.COMPLETED), ("a", FAILED)], ["a"]),
        ([("a", FAILED), ("b", FAILED), ("a", Status.AGENT_TIMEOUT)], ["b"]),
        ([("b", FAILED), ("a", FAILED), ("b", FAILED)], ["a", "b"]),
    ],
)
def test_a_failure_lasts_until_its_rollout_succeeds(
    runs: list[tuple[str, Status]], failures: list[str]
) -> None:
    assert [*fold([ran(*run) for run in runs]).failures] == failures


def test_rollouts_that_were_run_ahead_are_unused_until_a_batch_has_them() -> None:
    records = [ran("a", Status.COMPLETED, "ahead"), ran("b", Status.COMPLETED, "ahead"),
               ran("c", Status.COMPLETED), ran("d", FAILED, "ahead")]  # fmt: skip
    state = fold(records)
    assert state.unused == {"a", "b"} and state.summary["unused_rollouts"] == 2
    state.apply(BatchDone(step=1, part=0, keys=["a", "c"]))
    assert state.unused == {"b"}
    state.apply(BatchDone(step=1, part=1, keys=["b"]))
    assert "unused_rollouts" not in state.summary


def epoch(number: int, notes: str, row: dict[str, Any]) -> EpochDone:
    return EpochDone(
        epoch=number, step=number, pairs={}, action="off", candidate=None, gate=None,
        rejected=None, notes=notes, row=row,
    )  # fmt: skip


def test_each_epochs_end_keeps_its_skill_and_its_notes() -> None:
    state = fold([
        baseline(), step(1, "s1", decision(True, 0.5, 0.75)), epoch(1, "first", {}),
        step(2, "s2", decision(True, 0.75, 1.0)), epoch(2, "second", {"action": "off"}),
    ])  # fmt: skip
    assert (state.epochs, state.epoch_skills, state.notes) == (2, ["s1", "s2"], "second")
    assert "epoch_end" not in state.history[0]
    assert state.history[1]["epoch_end"]["current_score"] == 1.0
    assert state.tried[-1].what == "step 2", "an epoch's end that is off has tried nothing"


def begun() -> RunStarted:
    return RunStarted(name="r", pid=1, host="h", epochs=1, steps=1, rollouts=1)


@pytest.mark.parametrize(
    ("records", "doing"),
    [
        ([], "not started"),
        ([begun()], "running"),
        ([begun(), RunStopped(reason="limits.usd")], "stopped"),
        ([begun(), RunStopped(reason="limits.usd"), begun()], "running"),
        (
            [begun(), RunDone(reason="", final_selection=0.5, test={}, test_rollouts={})],
            "done",
        ),
    ],
)
def test_what_a_run_is_doing(records: list[Any], doing: str) -> None:
    state = fold(records)
    assert state.doing == state.summary["state"] == doing
    assert state.summary["done"] is (doing == "done")
    assert state.summary["current_score"] is None or doing == "done"


def test_a_run_that_is_done_was_not_stopped_for_what_it_was_stopped_for_before() -> None:
    done = RunDone(reason="all steps are done", final_selection=0.5, test={}, test_rollouts={})
    state = fold([begun(), RunStopped(reason="limits.usd"), done])
    assert (state.stopped, state.doing) == ("", "done")
    assert state.summary["stopped"] == "all steps are done"
    assert fold([begun(), RunStopped(reason="limits.usd")]).summary["stopped"] == "limits.usd"


def test_pairs_stay_begun_when_another_stage_begins() -> None:
    state = State()
    assert not state.paired
    for stage, paired in [("rollout", False), ("pairs", True), ("slow", True)]:
        state.apply(StageStarted(stage=stage, total=1))
        assert state.paired is paired
