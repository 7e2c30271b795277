"""What the state keeps of races, compressions, single edits and removals; and a run's summary."""

from __future__ import annotations

from typing import Any

import pytest

from harnesses.base import Status, Usage
from sandboxes.owner import Owner
from skillopt.core.types import (
    Edit,
    EditOutcome,
    Finding,
    GateDecision,
    Patch,
    RejectedEdit,
    RolloutRow,
)
from skillopt.run import state as states
from skillopt.run.records import (
    FORMAT,
    AnyRecord,
    BaselineDone,
    CompressionDone,
    CreditDone,
    EpochDone,
    MethodDone,
    Noted,
    RacedCandidate,
    RaceDone,
    Remarked,
    RemovalDone,
    RolloutRan,
    RolloutsAsked,
    RunChanged,
    RunCreated,
    RunDone,
    RunStarted,
    StageStarted,
    StepDone,
)
from skillopt.run.state import OVER_BUDGET, UNTRIED, Change, State, fold

ONE, TWO, THREE, FOUR = (Edit("append", content=f"- rule {n}") for n in range(1, 5))
BASELINE = BaselineDone(skill="s0", score=0.5, rollouts=[])


def row(task: str, key: str, reward: float = 0.0) -> RolloutRow:
    return RolloutRow(
        key=key, task=task, family="", status=Status.COMPLETED, hard=float(reward == 1),
        soft=reward, skill_activated=None, feedback="", message="", usage=Usage(),
    )  # fmt: skip


def gate(accepted: bool, before: float = 0.5, after: float = 0.75, **more: Any) -> GateDecision:
    values: dict[str, Any] = {
        "accepted": accepted, "score_before": before, "score_after": after, "upper_bound": after,
        "total": 4, "reason": "compared", "rollouts": (),
    }  # fmt: skip
    return GateDecision(**values | more)


def step(number: int, *edits: Edit, accepted: bool | None = True, **more: Any) -> StepDone:
    """A step that has applied some edits, with the gate's decision; None for no candidate."""
    judged = accepted is not None
    values: dict[str, Any] = {
        "step": number, "epoch": 1, "action": "accept", "row": {"step": number}, "rollouts": [],
        "patches": [Patch(edits)], "report": [EditOutcome(edit, True) for edit in edits],
        "candidate": f"s{number}" if judged else None,
        "gate": gate(bool(accepted)) if judged else None, "rejected": None,
    }  # fmt: skip
    return StepDone(**values | more)


def credit(number: int, **more: Any) -> CreditDone:
    values: dict[str, Any] = {
        "step": number, "epoch": 1, "action": "accept", "verdicts": [], "gains": {},
        "rollouts": {}, "candidate": None, "gate": None, "remembered": [], "row": {"asked": 1},
    }  # fmt: skip
    return CreditDone(**values | more)


def removal(**more: Any) -> RemovalDone:
    values: dict[str, Any] = {
        "step": 1, "epoch": 1, "of_step": 1, "number": 0, "edit": ONE, "action": "accept",
        "candidate": "short", "gate": gate(True, 0.75, 0.75), "rejected": None, "row": {"n": 1},
    }  # fmt: skip
    return RemovalDone(**values | more)


def memory(number: int, *edits: Edit) -> RejectedEdit:
    return RejectedEdit(number, edits, 0.5, 0.25, ())


def test_a_change_is_kept_until_it_is_known_which_edit_carried_it() -> None:
    state = fold([BASELINE, step(1, ONE, TWO)])
    change = Change(1, "s0", "s1", (ONE, TWO), gate(True))
    assert state.unsettled == change and state.changes == [change]
    assert state.gains == {(1, 0): 0.125, (1, 1): 0.125}
    for ends in (credit(1), removal(), epoch()):
        assert fold([BASELINE, step(1, ONE, TWO), ends]).unsettled is None
    second = fold([BASELINE, step(1, ONE), step(2, TWO)])
    assert second.unsettled == Change(2, "s1", "s2", (TWO,), gate(True))
    assert [one.step for one in second.changes] == [1, 2]


@pytest.mark.parametrize(
    "done",
    [
        step(1, accepted=True), step(1, ONE, accepted=None),
        step(1, ONE, candidate=None), step(1, ONE, gate=None),
        step(1, report=[EditOutcome(ONE, False, "no")]),
    ],
)  # fmt: skip
def test_without_edits_or_a_decision_there_is_no_change(done: StepDone) -> None:
    state = fold([BASELINE, done])
    assert state.unsettled is None and state.changes == [] and state.gains == {}


def test_a_rejected_change_is_unsettled_and_has_no_gains() -> None:
    state = fold([BASELINE, step(1, ONE, accepted=False)])
    assert state.unsettled is not None and state.changes == [] and state.gains == {}
    assert state.current == "s0" and state.last_accepted == 0


def test_measured_gains_replace_the_estimates_of_an_accepted_change() -> None:
    state = fold([BASELINE, step(1, ONE, TWO), credit(1, gains={1: 0.4})])
    assert state.gains == {(1, 0): 0.125, (1, 1): 0.4}
    rejected = fold([BASELINE, step(1, ONE, accepted=False), credit(1, gains={0: 0.4})])
    assert rejected.gains == {}
    assert fold([BASELINE, step(1, accepted=None), credit(1, gains={0: 0.4})]).gains == {}


def test_edits_that_did_no_harm_are_a_change_of_their_own() -> None:
    again = credit(
        1, edits=[TWO], candidate="s1b", gate=gate(True, 0.5, 0.625, rollouts=(row("a", "k3"),)),
        remembered=[memory(1, ONE)], rollouts={"s1": [row("a", "k1", 1.0), row("b", "k2")]},
    )  # fmt: skip
    first = step(1, ONE, TWO, accepted=False, rejected=memory(1, ONE, TWO))
    state = fold([BASELINE, first, again])
    assert state.memory == (memory(1, ONE),), "in place of the rejected edits"
    assert (state.current, state.best, state.best_score) == ("s1b", "s1b", 0.625)
    assert state.changes == [Change(1, "s0", "s1b", (TWO,), again.gate or gate(True))]
    assert state.gains == {(1, 0): 0.125} and state.unsettled is None
    assert state.spent_on == {"gate": 0, "credit": 3}
    told = state.tried[-1]
    assert told.what == "step 1 without its harmful edits" and told.edits == (TWO,)
    assert (told.before, told.after, told.reason) == (0.5, 0.625, "compared")
    assert [*state.rewards_of("s1")] == ["a", "b"]
    assert state.history[-1]["credit"] == {"asked": 1, "current_score": 0.625, "best_score": 0.625}
    assert state.last_accepted == 1


def test_a_judgement_of_single_edits_may_end_without_a_decision() -> None:
    first = step(1, ONE, accepted=False, rejected=memory(1, ONE))
    state = fold([BASELINE, first, credit(1)])
    assert state.memory == (memory(1, ONE),) and len(state.tried) == 1
    assert state.current == "s0" and state.spent_on == {"gate": 0, "credit": 0}
    more = credit(1, remembered=[memory(1, ONE), memory(1, TWO)])
    earlier = step(0, THREE, accepted=False, rejected=memory(0, THREE))
    assert fold([BASELINE, earlier, first, more]).memory == (
        memory(0, THREE), memory(1, ONE), memory(1, TWO),
    )  # fmt: skip


def test_a_removal_is_told_and_kept_in_the_history() -> None:
    out = Edit("delete", target="- rule 1")
    state = fold([
        BASELINE, step(1, ONE),
        removal(removal=out, gate=gate(True, 0.75, 0.8, rollouts=(row("a", "k1"),))),
        removal(number=1, gate=None, candidate=None, action="skip", skipped="it is gone"),
    ])  # fmt: skip
    assert (state.current, state.best_score) == ("short", 0.8)
    assert [one.number for one in state.removals] == [0, 1]
    assert [told.what for told in state.tried] == ["step 1", "taking out an edit of step 1"]
    assert state.tried[-1].edits == (out,) and state.spent_on["prune"] == 1
    found = state.history[-1]["removals"]
    assert [one["best_score"] for one in found] == [0.8, 0.8] and found[0]["n"] == 1
    assert state.last_accepted == 1 and len(state.history) == 1


def test_a_removal_that_cannot_be_made_is_no_decision() -> None:
    state = fold([BASELINE, step(1, ONE), removal(removal=None)])
    assert [told.what for told in state.tried] == ["step 1"]
    kept = fold([BASELINE, step(1, ONE), removal(gate=gate(False, 0.7, 0.5))])
    assert (kept.current, kept.best, kept.best_score) == ("s1", "s1", 0.7)


def compression(accepted: bool, after: float, wanted: bool, at: int = 1) -> CompressionDone:
    return CompressionDone(
        step=at, epoch=1, action="accept", wanted=wanted, tokens=(9, 5), candidate="short",
        gate=gate(accepted, 0.5, after), rejected=None, row={"tokens": [9, 5]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("accepted", "after", "wanted", "current", "best"),
    [
        (True, 0.5, True, "short", "short"), (True, 0.5, False, "short", "s0"),
        (True, 0.75, False, "short", "short"), (True, 0.4, True, "short", "s0"),
        (False, 0.5, True, "s0", "s0"),
    ],
)  # fmt: skip
def test_the_shorter_of_two_equally_good_skills_is_best_if_that_is_wanted(
    accepted: bool, after: float, wanted: bool, current: str, best: str
) -> None:
    state = fold([BASELINE, compression(accepted, after, wanted)])
    assert (state.current, state.best, state.compressed) == (current, best, 1)
    told = state.tried[-1]
    assert (told.what, told.edits, told.step) == ("compression", (), 1)
    assert state.history == []
    state.apply(step(1, ONE))
    state.apply(step(2, TWO))
    assert state.history[0]["compression"]["tokens"] == [9, 5]
    assert state.history[0]["compression"]["current_score"] == (after if accepted else 0.5)
    assert "compression" not in state.history[1] and state.compression == {}


def test_without_a_candidate_a_compression_changes_nothing() -> None:
    record = compression(True, 0.5, True).model_copy(
        update={"gate": None, "candidate": None, "skipped": "short enough"}
    )
    state = fold([BASELINE, record])
    assert state.current == state.best == "s0" and state.tried[-1].reason == "short enough"


def racer(skill: str, gain: float, *rows: RolloutRow, edit: Edit = ONE, tasks: int = 2) -> Any:
    names = [f"t{number}" for number in range(tasks)]
    return RacedCandidate(
        skill=skill, edits=[edit], tasks=names, gain=gain, ended="behind", rollouts=[*rows]
    )


def race(*candidates: RacedCandidate, winner: int = 1, at: int = 1) -> RaceDone:
    return RaceDone(step=at, epoch=1, winner=winner, candidates=[*candidates], row={"of": 3})


def test_what_a_race_has_measured_counts_for_the_winner_and_its_losers() -> None:
    ran = race(
        racer("a", 1.0, row("t0", "k1", 1.0), row("t1", "k2")),
        racer("b", 2.0, row("t0", "k3", 1.0), row("t0", "k4"), row("t1", "k5"), row("x", "k6")),
        racer("c", 0.0, edit=TWO),
    )
    assert [(n, one.skill) for n, one in ran.losers] == [(1, "a"), (3, "c")]
    state = fold([BASELINE, ran])
    assert state.spent_on == {"race": 6} and [*state.rewards_of("a")] == ["t0", "t1"]
    assert state.raced("b", 1) == {"t0": 2, "t1": 1}
    assert state.raced("a", 1) == state.raced("b", 2) == State().raced("b", 1) == {}
    state.apply(step(1, THREE))
    assert state.race is None and state.raced("b", 1) == {}
    assert state.history[-1]["race"] == {"of": 3}
    lost, other, judged = state.tried
    assert (lost.what, lost.action, lost.edits) == ("candidate 1 of step 1", "lost", (ONE,))
    assert lost.reason == "+1.00 tasks on 2, behind" and other.what == "candidate 3 of step 1"
    assert judged.what == "step 1"
    assert state.untried == (ONE,), "one that was ahead may be good, and another not"
    state.apply(step(2, FOUR))
    assert "race" not in state.history[-1]


@pytest.mark.parametrize(
    ("reports", "proposed", "untried"),
    [
        ([[(ONE, "")]], [(ONE, TWO)], [TWO]),
        ([[(ONE, OVER_BUDGET)]], [(ONE,)], [ONE]),
        ([[(ONE, "in a protected region")]], [(ONE,)], []),
        # A later proposal replaces the same one, and comes last.
        ([[(ONE, "")], [(ONE, "")]], [(ONE, TWO, THREE), (ONE, TWO)], [THREE, TWO]),
        # What is tried now is untried no more.
        ([[(ONE, "")], [(TWO, "")]], [(ONE, TWO, THREE), (TWO,)], [THREE]),
    ],
)
def test_what_is_left_untried(reports: Any, proposed: Any, untried: list[Edit]) -> None:
    steps = [
        step(
            number, patches=[Patch(edits)],
            report=[EditOutcome(edit, not reason, reason) for edit, reason in report],
        )
        for number, (report, edits) in enumerate(zip(reports, proposed, strict=True), 1)
    ]  # fmt: skip
    assert [*fold([BASELINE, *steps]).untried] == untried


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Edit("append", content="a  b"), Edit("replace", target="x", content="a\nb "), True),
        (Edit("append", content="a"), Edit("append", content="b"), False),
        (Edit("append", content="a"), Edit("append", content="a", file="x.md"), False),
        (Edit("delete", target="a"), Edit("delete", target="b"), False),
        (Edit("delete", target="a"), Edit("delete", target="a", reason="other"), True),
    ],
)
def test_two_proposals_are_the_same_wherever_they_are_put(
    one: Edit, other: Edit, same: bool
) -> None:
    first = step(1, patches=[Patch((one,))], report=[EditOutcome(THREE, True)])
    second = step(2, patches=[Patch(())], report=[EditOutcome(other, True)])
    assert fold([BASELINE, first, second]).untried == (() if same else (one,))


def test_the_oldest_proposals_are_dropped() -> None:
    edits = tuple(Edit("append", content=f"- {number}") for number in range(UNTRIED + 1))
    done = step(1, patches=[Patch(edits)], report=[EditOutcome(ONE, True)])
    assert fold([BASELINE, done]).untried == edits[1:]


def test_the_edits_that_the_memory_has_are_those_that_were_judged() -> None:
    done = step(1, ONE, TWO, accepted=False, rejected=memory(1, TWO))
    state = fold([BASELINE, done])
    assert state.tried[-1].edits == (TWO,) and state.memory == (memory(1, TWO),)
    bare = step(1, ONE, accepted=False, rejected=memory(1))
    assert fold([BASELINE, bare]).tried[-1].edits == (ONE,)


def test_a_step_knows_its_failures_and_their_types() -> None:
    parts = [
        Patch((), source="failure", findings=(Finding("a", 1),)),
        Patch((), source="success", findings=(Finding("habit", 2),)),
        Patch((), source="failure", findings=(Finding("b", 3),)),
        Patch((ONE,)),
    ]
    rows = [row("a", "k1", 1.0), row("b", "k2", 0.9), row("c", "k3")]
    state = fold([BASELINE, step(2, ONE, patches=parts, rollouts=rows)])
    assert state.findings == {2: (Finding("a", 1), Finding("b", 3))}
    assert state.failures_of == {2: 2}
    none = fold([BASELINE, step(1, ONE, patches=[])])
    assert none.findings == {} and none.failures_of == {1: 0}


@pytest.mark.parametrize(
    ("hard", "soft", "failed"),
    [(1.0, 1.0, 0), (0.0, 0.0, 1), (0.0, 0.9, 1), (1.0, 0.5, 0), (0.0, 1.0, 1)],
)
def test_a_failed_rollout_is_one_that_is_not_solved(hard: float, soft: float, failed: int) -> None:
    """Whatever its share."""
    one = row("a", "k1").model_copy(update={"hard": hard, "soft": soft})
    assert fold([BASELINE, step(1, ONE, rollouts=[one])]).failures_of == {1: failed}


def epoch(**more: Any) -> EpochDone:
    values: dict[str, Any] = {
        "epoch": 1, "step": 1, "pairs": {}, "action": "reject", "candidate": "slow",
        "gate": gate(False, 0.6, 0.5), "rejected": memory(1, FOUR), "notes": "n", "row": {"x": 1},
    }  # fmt: skip
    return EpochDone(**values | more)


def test_a_slow_update_is_told_with_the_edits_that_were_rejected() -> None:
    state = fold([BASELINE, step(1, ONE), epoch()])
    told = state.tried[-1]
    assert (told.what, told.edits, told.action) == ("slow update after step 1", (FOUR,), "reject")
    assert state.memory == (memory(1, FOUR),) and state.epoch_skills == ["s1"]
    assert state.history[-1]["epoch_end"] == {"x": 1, "current_score": 0.6, "best_score": 0.6}
    taken = fold([BASELINE, step(1, ONE), epoch(gate=gate(True, 0.6, 0.9), rejected=None)])
    assert (taken.current, taken.epoch_skills) == ("slow", ["slow"]) and taken.tried[-1].edits == ()


def created(**config: Any) -> RunCreated:
    return RunCreated(
        format=FORMAT, name="r", config=config, fingerprint={"seed": "1"}, splits={},
        forked_from="old",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({}, None), ({"skill": {"max_tokens": 50}}, 50),
        ({"skill": {"max_tokens": 50, "compress": None}}, None), ({"skill": {}}, None),
    ],
)  # fmt: skip
def test_a_run_of_an_earlier_version_keeps_its_limit(config: Any, limit: int | None) -> None:
    assert fold([created(**config)]).earlier_limit == limit


def failed(key: str) -> RolloutRan:
    return RolloutRan(
        stage="s", key=key, task="t", status=Status.INFRA_ERROR, usage=Usage(), seconds=1.0
    )


def test_what_has_changed_is_what_the_run_is_now_and_its_failures_are_forgotten() -> None:
    changed = RunChanged(config={"a": 2}, fingerprint={"f": "2"}, splits={"val": []}, changes={})
    state = fold([created(a=1), failed("k"), changed])
    assert state.created is not None and state.failures == {}
    assert (state.created.config, state.created.fingerprint) == ({"a": 2}, {"f": "2"})
    assert state.created.splits == {"val": []} and state.created.name == "r"
    assert fold([changed]).created is None


def asked(*keys: str) -> RolloutsAsked:
    return RolloutsAsked(stage="s", keys=[*keys])


@pytest.mark.parametrize(
    ("records", "so_far", "settled"),
    [
        ([], 0, 0), ([asked("a", "b")], 2, 0), ([asked("a"), BASELINE], 1, 1),
        ([asked("a"), BASELINE, asked("b")], 2, 1),
        ([asked("a"), BASELINE, asked("b"), step(1, ONE)], 2, 2),
        ([BASELINE, step(1, ONE), asked("b"), credit(1)], 1, 1),
        ([BASELINE, step(1, ONE), asked("b"), removal()], 1, 1),
        ([BASELINE, step(1, ONE), asked("b"), epoch()], 1, 1),
        ([BASELINE, asked("b"), race(racer("b", 1.0), winner=0)], 1, 0),
        ([BASELINE, asked("b"), compression(True, 0.5, True)], 1, 0),
    ],
)  # fmt: skip
def test_what_was_asked_for_counts_when_nothing_is_half_done(
    records: list[AnyRecord], so_far: int, settled: int
) -> None:
    state = fold(records)
    assert (state.asked_so_far, state.asked) == (so_far, settled)


def test_a_remark_is_replaced_or_withdrawn_by_its_id() -> None:
    def remark(id: str, text: str, **more: Any) -> Remarked:
        return Remarked(id=id, about="k", text=text, since=1, **more)

    state = fold([remark("a", "1"), remark("b", "2"), remark("a", "3")])
    assert [one.text for one in state.remarks.values()] == ["2", "3"]
    state.apply(remark("b", "", withdrawn=True))
    state.apply(remark("none", "", withdrawn=True))
    assert [one.text for one in state.remarks.values()] == ["3"]


def test_notes_and_the_last_stage_are_kept() -> None:
    state = fold([Noted(text="a"), StageStarted(stage="gate", total=1, step=2), Noted(text="b")])
    assert [note.text for note in state.notes_of_run] == ["a", "b"]
    assert state.stage is not None and (state.stage.stage, state.stage.step) == ("gate", 2)


@pytest.mark.parametrize(("dead", "doing"), [(True, "killed"), (False, "running")])
def test_a_run_whose_process_is_dead_was_killed(
    monkeypatch: pytest.MonkeyPatch, dead: bool, doing: str
) -> None:
    monkeypatch.setattr(states, "is_dead", lambda owner: dead)
    started = RunStarted(
        name="r", pid=1, host="h", owner=str(Owner("m", "b", 1, "0")), epochs=1, steps=1, rollouts=1
    )
    assert fold([started]).doing == doing
    assert fold([started.model_copy(update={"owner": ""})]).doing == "running"


def test_a_summary_says_what_a_run_is_and_has() -> None:
    config = {
        "method": {"kind": "gepa"}, "harness": {"name": "codex"}, "target": {"name": "m"},
        "optimizer": {"name": "o"},
    }  # fmt: skip
    state = fold([created(**config), asked("a"), BASELINE, step(1, ONE)])
    summary = state.summary
    assert (summary["format"], summary["name"], summary["forked_from"]) == (FORMAT, "r", "old")
    assert (summary["method"], summary["harness"]) == ("gepa", "codex")
    assert (summary["target"], summary["optimizer"]) == ("m", "o")
    assert (summary["steps"], summary["accepted"], summary["rollouts_asked"]) == (1, 1, 1)
    scores = summary["initial_score"], summary["current_score"], summary["best_score"]
    assert scores == (0.5, 0.75, 0.75)
    assert (summary["initial_skill"], summary["best_skill"]) == ("s0", "s1")
    assert (summary["test"], summary["claim"], summary["no_claim"]) == ({}, None, "")
    done = RunDone(
        reason="all steps", final_selection=0.75, test={"best": {}}, claim={"words": "w"},
        no_claim="why",
    )  # fmt: skip
    state.apply(done)
    summary = state.summary
    assert (summary["stopped"], summary["done"], summary["test"]) == (
        "all steps",
        True,
        {"best": {}},
    )
    assert (summary["claim"], summary["no_claim"]) == ({"words": "w"}, "why")


def test_a_summary_of_nothing_has_nothing() -> None:
    summary = State().summary
    assert (summary["name"], summary["method"], summary["harness"]) == ("", "skillopt", "")
    assert (summary["initial_score"], summary["current_score"], summary["best_score"]) == (
        None,
    ) * 3
    assert (summary["forked_from"], summary["done"], summary["state"]) == (
        None,
        False,
        "not started",
    )
    zero = fold([BaselineDone(skill="s", score=0.0, rollouts=[])]).summary
    assert (zero["current_score"], zero["best_score"]) == (0.0, 0.0)


def test_a_methods_skill_that_is_the_current_one_is_no_new_one() -> None:
    chosen = MethodDone(skill="s0", score=None, asked=0, budget=None, reason="done")
    state = fold([BASELINE, chosen])
    assert state.accepted == [] and state.best_with(0.9) == "s0"
    assert (state.current_score, state.best_score) == (0.5, 0.5)
