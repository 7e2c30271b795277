"""Edits are taken out again, as exactly as they were made, or not at all and with the reason."""

from __future__ import annotations

import pytest

from skillopt.core.skill import Skill
from skillopt.core.types import Edit
from skillopt.optimizer.undo import undo, with_edits, with_some

BODY = "# Rules\n\nRead first.\n\n1. one\n2. two"
SKILL = Skill("mine", "Use it.", BODY, files={"notes.md": b"# Notes\n\nkeep\n"})
EDITS = (
    Edit("append", content="- alpha"),
    Edit("append", content="- beta"),
    Edit("insert_after", target="one", content="1. between"),
    Edit("replace", target="Read first.", content="Read every file first, all of it."),
    Edit("set_description", content="Use it for whatever has to do with rules."),
    Edit("append", content="## More\n\ntext\n\n- gamma"),
    Edit("append", content="- delta", file="notes.md"),
)


@pytest.mark.parametrize("number", range(len(EDITS)))
def test_a_skill_without_an_edit_is_as_if_it_had_never_been_made(number: int) -> None:
    undone = undo(with_edits(SKILL, EDITS), SKILL, EDITS, number)
    assert not undone.problem and undone.edit is not None
    others = [edit for other, edit in enumerate(EDITS) if other != number]
    assert undone.skill.digest == with_edits(SKILL, others).digest


@pytest.mark.parametrize("number", range(len(EDITS)))
def test_the_last_edit_alone_leads_back_to_the_skill_before(number: int) -> None:
    undone = undo(with_edits(SKILL, EDITS[number:][:1]), SKILL, EDITS[number:][:1], 0)
    assert undone.skill.digest == SKILL.digest


@pytest.mark.parametrize(
    ("body", "edit"),
    [
        # What was added repeats lines that were there, at its start or at its end.
        ("# Rules\n\n- a", Edit("append", content="- b\n- a")),
        ("# Rules\n\n- a", Edit("append", content="- a\n- b")),
        ("# Rules\n\n- a\n- b\n- a", Edit("append", content="- c\n- a")),
        ("# Rules\n\n- a\n- z", Edit("insert_after", target="- a", content="- b\n- a")),
        ("# Rules\n\n- a\n- z", Edit("insert_after", target="- a", content="- a\n- b")),
        ("# Rules\n\n- a\n- z", Edit("replace", target="- a", content="- a\n- b\n- a")),
        ("- a", Edit("append", content="- b\n- a")),
    ],
)
def test_an_edit_that_repeats_lines_is_taken_out_whole(body: str, edit: Edit) -> None:
    before = Skill("mine", "Use it.", body)
    skill = with_edits(before, [edit])
    assert skill.body != body
    undone = undo(skill, before, [edit], 0)
    assert not undone.problem and undone.skill.body == body


def test_what_a_later_change_concerns_is_left_alone() -> None:
    first = (Edit("append", content="Always test."), Edit("set_description", content="A" * 80))
    skill = with_edits(SKILL, first)
    later = Edit("replace", target="Always test.", content="Always test. Then test again.")
    changed = with_edits(skill, [later, Edit("set_description", content="B" * 90)])
    for number in (0, 1):
        undone = undo(changed, SKILL, first, number)
        assert undone.skill == changed and "later change concerns the same" in undone.problem


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (Edit("delete", target="Read first."), "would not shorten"),
        (Edit("replace", target="Read first.", content="Read."), "would not shorten"),
        (Edit("note", content="mind the tests"), "protected region"),
    ],
)
def test_what_cannot_be_taken_out_is_said(edit: Edit, problem: str) -> None:
    skill = with_edits(SKILL, [edit])
    assert skill.digest != SKILL.digest
    undone = undo(skill, SKILL, [edit], 0)
    assert problem in undone.problem and undone.skill == skill


def test_an_edit_that_needs_another_one_is_left_out_with_it() -> None:
    edits = (
        Edit("append", content="- alpha"),
        Edit("insert_after", target="- alpha", content="- after alpha"),
        Edit("append", content="- beta"),
    )
    skill, there = with_some(SKILL, edits, [1, 2])
    assert there == (2,) and "alpha" not in skill.body
