"""What a run's state keeps of its steps for the optimizer: decisions, proposals, findings."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from skillopt.core.types import Edit, EditOutcome, Finding, GateDecision, Patch
from skillopt.run.records import RECORD, BaselineDone, StepDone
from skillopt.run.state import State
from skillopt.training.history import decisions_of
from tests.helpers.values import SKILL

ONE, TWO, THREE, FOUR = (Edit("append", content=f"- rule {n}") for n in range(1, 5))
FAILED = Patch((ONE, TWO), "", "failure", (Finding("time zone", 2),))


def a_decision(accepted: bool) -> GateDecision:
    return GateDecision(
        accepted=accepted, score_before=0.25, score_after=0.7 if accepted else 0.2,
        upper_bound=0.7 if accepted else 0.2, total=8, reason="compared", rollouts=(),
    )  # fmt: skip


def a_step(step: int, proposed: tuple[Edit, ...], **more: Any) -> StepDone:
    fields: dict[str, Any] = {
        "step": step, "epoch": 1, "action": "accept", "row": {}, "rollouts": [],
        "patches": [FAILED, Patch(proposed)], "report": [], "candidate": None, "gate": None,
        "rejected": None,
    }  # fmt: skip
    return StepDone(**(fields | more))


def after(*steps: StepDone) -> State:
    state = State()
    state.apply(BaselineDone(skill=SKILL.digest, score=0.25, rollouts=[]))
    for step in steps:
        # As it is read from a log.
        state.apply(RECORD.validate_json(step.model_dump_json()))
    return state


def test_what_was_proposed_and_not_tried_is_kept_until_it_is() -> None:
    report = [EditOutcome(ONE, True), EditOutcome(THREE, False, "it names a file")]
    first = a_step(1, (ONE, TWO, THREE, FOUR), report=report)
    state = after(first)
    assert state.untried == (TWO, FOUR)
    assert state.tried[0].edits == (ONE,) and state.tried[0].refused == (report[1],)
    elsewhere = replace(TWO, kind="insert_after", target="# Rules")
    second = a_step(2, (elsewhere,), report=[EditOutcome(elsewhere, True)])
    assert after(first, second).untried == (FOUR,)
    over = [EditOutcome(ONE, True), EditOutcome(TWO, False, "over the budget of 1 edits")]
    state = after(a_step(1, (ONE, TWO), report=over))
    assert state.untried == (TWO,) and state.tried[0].refused == ()


def test_proposals_that_are_not_tried_do_not_pile_up() -> None:
    many = [a_step(n, (Edit("append", content=f"- {n}"),)) for n in range(1, 60)]
    untried = after(*many).untried
    assert len(untried) == 24 and untried[-1].content == "- 59"


def test_findings_are_kept_by_step() -> None:
    assert after(a_step(3, ())).findings == {3: (Finding("time zone", 2),)}
    merged = Patch((), "", "merged", (Finding("time zone", 5),))
    state = after(a_step(3, (), patches=[FAILED, FAILED, merged]))
    assert state.findings == {3: (Finding("time zone", 5),)}


def test_every_decision_is_told_with_its_edits() -> None:
    good = a_step(1, (ONE,), report=[EditOutcome(ONE, True)], candidate="c", gate=a_decision(True))
    bad = a_step(
        2, (TWO, THREE), action="reject", candidate="d", gate=a_decision(False),
        report=[EditOutcome(TWO, True), EditOutcome(THREE, False, "it names a file")],
    )  # fmt: skip
    nothing = a_step(3, (), action="skip", skipped="no edits")
    assert decisions_of(after(good, bad, nothing)) == [
        "step 1: 0.250 → 0.700, accepted\n  append: '- rule 1'",
        "step 2: 0.250 → 0.200, rejected: compared\n  append: '- rule 2'\n"
        "  not applied (it names a file): append: '- rule 3'",
        "step 3: skip: no edits",
    ]


def test_a_rewrite_is_told_by_the_suggestions_that_went_into_it() -> None:
    step = a_step(1, (ONE, TWO), candidate="c", gate=a_decision(True))
    state = after(step)
    assert state.tried[0].edits == (ONE, TWO) and state.untried == ()


def test_a_log_of_an_earlier_version_is_read() -> None:
    old = json.loads(a_step(1, (ONE,), report=[EditOutcome(ONE, True)]).model_dump_json())
    for patch in old["patches"]:
        del patch["findings"]
        for edit in patch["edits"]:
            del edit["runs"]
    old["rejected"] = {
        "step": 1, "edits": [], "score_before": 0.5, "score_after": 0.4, "broken": [],
    }  # fmt: skip
    state = State()
    state.apply(BaselineDone(skill=SKILL.digest, score=0.25, rollouts=[]))
    state.apply(RECORD.validate_python(old))
    assert state.findings == {} and state.memory[0].total == 0 and state.tried[0].edits == (ONE,)
