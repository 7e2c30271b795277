"""What the optimizer is told of earlier steps, apart from rejections."""

from __future__ import annotations

import pytest

from skillopt.core.types import Edit, EditOutcome, Finding, GateDecision, RejectedEdit, Tried
from skillopt.optimizer.edits import ALREADY_THERE
from skillopt.optimizer.memory import (
    FINDINGS,
    counted,
    rejection,
    render_findings,
    render_kept,
    render_refused,
    render_tried,
    render_untried,
)


def refused(text: str, reason: str) -> EditOutcome:
    return EditOutcome(Edit("append", content=text), applied=False, reason=reason)


def test_each_refusal_is_told_once_and_the_newest_first() -> None:
    tried = [
        Tried("step 1", 1, "skip", "", refused=(refused("old", "too long"),)),
        Tried("step 2", 2, "skip", "", refused=(refused("known", ALREADY_THERE),)),
        Tried("step 3", 3, "skip", "", refused=(refused("a", "b"), refused("old", "too long"))),
    ]
    assert render_refused(tried) == "append: 'a' — b\nappend: 'old' — too long"
    assert render_refused(tried[1:2]) == ""


def test_only_what_was_accepted_is_kept_and_the_newest_is_first() -> None:
    edits = (Edit("append", content="x"),)
    tried = [
        Tried("step 1", 1, "accept", "won", edits, before=0.25, after=0.5),
        Tried("step 2", 2, "reject", "lost", edits, before=0.5, after=0.0),
        Tried("step 3", 3, "accept", "won", before=0.5, after=0.0),
        Tried("step 4", 4, "lost", "behind"),
    ]
    assert render_kept(tried).split("\n") == [
        "step 3: 0.500 → 0.000, accepted",
        "step 1: 0.250 → 0.500, accepted",
        "  append: 'x'",
    ]


@pytest.mark.parametrize(
    ("action", "before", "after", "told"),
    [
        ("accept", 0.25, 0.5, "step 1: 0.250 → 0.500, accepted"),
        # A score of nothing is a score; one that is not known is none.
        ("accept", 0.0, 0.5, "step 1: 0.000 → 0.500, accepted"),
        ("reject", 0.0, 0.0, "step 1: 0.000 → 0.000, rejected: why"),
        ("reject", 0.5, 0.0, "step 1: 0.500 → 0.000, rejected: why"),
        ("reject", 0.5, None, "step 1: rejected: why"),
        ("reject", None, 0.5, "step 1: rejected: why"),
        ("skip", None, None, "step 1: skip: why"),
        ("lost", None, None, "step 1: lost: why"),
    ],
)
def test_a_decision_is_told_with_the_scores_that_are_known(
    action: str, before: float | None, after: float | None, told: str
) -> None:
    assert render_tried(Tried("step 1", 1, action, "why", before=before, after=after)) == told


@pytest.mark.parametrize(
    ("score_after", "bound", "told"), [(0.0, 0.0, 0.0), (0.4, 0.4, 0.4), (None, 0.6, 0.6)]
)
def test_what_is_remembered_of_a_rejection_is_what_it_could_reach(
    score_after: float | None, bound: float, told: float
) -> None:
    decision = GateDecision(
        accepted=False, score_before=0.5, score_after=score_after, upper_bound=bound, total=8,
        broken=("a",), fixed=("b",), rollouts=(), reason="", undecided=True,
    )  # fmt: skip
    found = rejection(3, [Edit("append", content="x")], decision)
    assert found == RejectedEdit(
        3, (Edit("append", content="x"),), 0.5, told, ("a",), 0, 8, undecided=True
    )


def test_proposals_that_help_the_most_runs_come_first_and_equal_ones_in_their_order() -> None:
    edits = [
        Edit("append", content="a", runs=("1",)),
        Edit("append", content="b"),
        Edit("delete", "c", file="d.md", runs=("1", "2")),
        Edit("append", content="e", runs=("3",)),
    ]
    assert render_untried(edits).split("\n") == [
        "delete in d.md at 'c' (would have helped 2 runs)",
        "append: 'a' (would have helped 1 run)",
        "append: 'e' (would have helped 1 run)",
        "append: 'b'",
    ]


@pytest.mark.parametrize(
    ("runs", "of"),
    [(None, ""), ({1: 9}, ""), ({2: 0}, ""), ({2: 1}, " of 1 failed run"),
     ({2: 9}, " of 9 failed runs")],
)  # fmt: skip
def test_the_most_frequent_findings_of_each_step_are_told(
    runs: dict[int, int] | None, of: str
) -> None:
    many = [Finding(f"f{n}", n) for n in range(FINDINGS + 1)]
    told = render_findings({1: [Finding("old", 1)], 2: many}, runs).split("\n")
    shown = "; ".join(f"f{n} ({n})" for n in range(FINDINGS, 0, -1))
    assert told[0] == f"step 2{of}: {shown}" and told[1].endswith("old (1)")


def test_findings_of_the_same_name_are_counted_together() -> None:
    found = counted([Finding("b", 1), Finding("Off_by one", 2), Finding("off by  ONE", 3)])
    assert found == (Finding("Off_by one", 5), Finding("b", 1))
