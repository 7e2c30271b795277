"""Edits apply exactly as reported, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillopt.core.skill import Skill, canonical_body
from skillopt.core.skill_rules import made_worse
from skillopt.core.types import Edit
from skillopt.optimizer.edits import ALREADY_THERE, NOTE_CHARS, apply_edits
from skillopt.optimizer.markdown import CODE, leaves
from skillopt.optimizer.regions import REMINDERS, protected_regions, region
from tests.helpers.cells import examples
from tests.helpers.values import SKILL

BODY = """\
# Rules

Some words
over two lines.

- one
  - inner
- two

1. first
2. second

| a | b |
|---|---|
| 1 | 2 |
| 3 | 4 |

```sh
make all
```

<!-- protected:guidance -->
Keep this.
<!-- /protected:guidance -->

## Last

The end."""


def skill(body: str = BODY) -> Skill:
    return Skill("a-skill", "Use it.", body)


def change(edit: Edit, body: str = BODY) -> str:
    """The body after one edit that must apply."""
    new, outcomes = apply_edits(skill(body), [edit], 1)
    assert outcomes[0].applied, outcomes[0].reason
    return new.body


def refusal(edit: Edit, body: str = BODY) -> str:
    """Why one edit is refused; the skill must not have changed."""
    new, outcomes = apply_edits(skill(body), [edit], 1)
    assert not outcomes[0].applied
    assert new == skill(body)
    return outcomes[0].reason


def test_append_is_a_block_of_its_own() -> None:
    assert change(Edit("append", content="More.\n")) == BODY + "\n\nMore."
    assert change(Edit("append", content="- a"), "") == "- a"


def test_append_of_a_bullet_continues_the_list() -> None:
    assert change(Edit("append", content="- b"), "# H\n\n- a") == "# H\n\n- a\n- b"
    assert change(Edit("append", content="1. b"), "# H\n\n- a") == "# H\n\n- a\n\n1. b"


@pytest.mark.parametrize(
    ("target", "content", "expected"),
    [
        ("# Rules", "New.", "# Rules\n\nNew.\n\nSome words"),
        ("Some", "New.", "over two lines.\n\nNew.\n\n- one"),
        ("- one", "- new", "  - inner\n- new\n- two"),
        ("inner", "- new", "  - inner\n  - new\n- two"),
        ("- one", "New.", "- two\n\nNew.\n\n1. first"),
        ("second", "3. third", "2. second\n3. third\n\n|"),
        ("| 1 | 2 |", "| x | y |", "| 1 | 2 |\n| x | y |\n| 3 | 4 |"),
        ("| a | b |", "| x | y |", "|---|---|\n| x | y |\n| 1 | 2 |"),
        ("| 1 | 2 |", "## New", "| 3 | 4 |\n\n## New\n\n```sh"),
        ("make all", "New.", "make all\n```\n\nNew.\n\n<!--"),
        ("over two lines.", "- zero", "lines.\n\n- zero\n- one"),
        ("The end.", "New.", "The end.\n\nNew."),
    ],
)
def test_insert_after_respects_the_block_of_its_target(
    target: str, content: str, expected: str
) -> None:
    assert expected in change(Edit("insert_after", target, content))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("words", "Some\nover"),
        ("two\n", "  - inner\n\n1. first"),
        ("1. first\n", "- two\n\n2. second"),
        ("| 1 | 2 |\n", "|---|---|\n| 3 | 4 |"),
        ("```sh\nmake all\n```\n", "| 3 | 4 |\n\n<!-- protected"),
        ("Some words\nover two lines.", "# Rules\n\n- one"),
    ],
)
def test_delete_leaves_no_empty_item_behind(target: str, expected: str) -> None:
    assert expected in change(Edit("delete", target))


@pytest.mark.parametrize("last", ["<!-- c -->", "<div>\nx\n</div>", "    code", "```\nx\n```"])
def test_append_after_any_closed_block(last: str) -> None:
    assert change(Edit("append", content="New."), f"a\n\n{last}") == f"a\n\n{last}\n\nNew."


def test_a_repetition_is_told_with_emphasis_and_without_a_bullet() -> None:
    assert refusal(Edit("append", content="- **One** x"), "**One** x") == ALREADY_THERE
    assert change(Edit("append", content="2.5 mm"), "5 mm") == "5 mm\n\n2.5 mm"


def test_replace_and_set_description() -> None:
    assert "| 1 | 5 |" in change(Edit("replace", "| 1 | 2 |", "| 1 | 5 |"))
    assert "make some" in change(Edit("replace", "make all", "make some"))
    new, _ = apply_edits(skill(), [Edit("set_description", content="Use it\nfor logs.")], 1)
    assert new.description == "Use it for logs."


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (Edit("replace", "nowhere", "x"), "not found"),
        (Edit("insert_after", "o", "x"), "more than once"),
        (Edit("insert_after", "", "x"), "target is empty"),
        (Edit("append", content=" \n "), "content is empty"),
        (Edit("append", content="- "), "content is empty"),
        (Edit("replace", "one", ""), "use delete"),
        (Edit("append", content="* One."), ALREADY_THERE),
        (Edit("replace", "one", "one"), "changes nothing"),
        (Edit("set_description", content="Use  it."), ALREADY_THERE),
        (Edit("set_description", content="x" * 1025), "1024 character limit"),
        (Edit("set_description", content="a --- b"), "'---'"),
        (Edit("append", content="a\x1b[2J"), "control characters: U+001B"),
        (Edit("append", content="a\ud800"), "control characters: U+D800"),
        (Edit("delete", "Keep this."), "protected region"),
        (Edit("insert_after", "Keep this.", "x"), "protected region"),
        (Edit("delete", "make all\n```\n\n<!-- protected:guidance -->\nKeep"), "protected region"),
        (Edit("delete", BODY[BODY.index("make") : BODY.index("## Last")]), "protected region"),
        (Edit("append", content="<!-- /protected:guidance -->"), "markers"),
        (Edit("append", content="<!--protected:mine-->x"), "markers"),
        (Edit("append", content="```\nopen"), "open"),
        (Edit("append", content="<!-- open"), "open"),
        (Edit("insert_after", "Some words", "```\nopen"), "swallow"),
        (Edit("delete", "```sh\n"), "Markdown whole"),
        (Edit("delete", "|---|---|\n"), "swallow"),
        (Edit("delete", "- one\n"), "block after"),
        (Edit("replace", "| 1 | 2 |", "# Heading"), "block after"),
        (Edit("replace", "| 1 | 2 |", "some prose"), "text into a table"),
        (Edit("replace", "two\n", "two\n\nTwo.\n"), "split the bullet list"),
        (Edit("move", "one", "x"), "unknown kind"),  # type: ignore[arg-type]
    ],
)
def test_refusals_have_reasons(edit: Edit, reason: str) -> None:
    assert reason in refusal(edit)


@pytest.mark.parametrize("body", ["```\ncode", "a\n\n~~~~ md\n```\nb\n```", "a\n\n<div>\nb"])
def test_a_block_that_was_open_is_no_reason_to_refuse_what_comes_after_it(body: str) -> None:
    assert change(Edit("append", content="- new"), body).startswith(f"{body}\n")
    reminded = change(Edit("note", content="Look."), body)
    assert reminded.startswith(f"{body}\n") and "- Look." in reminded
    again, outcomes = apply_edits(skill(reminded), [Edit("note", content="Listen.")], 1)
    assert outcomes[0].applied and again.body.count("## Reminders") == 1
    assert "block" in refusal(Edit("append", content="```\nb"), "fine")


def test_insert_after_goes_where_it_was_asked_to_in_a_block_of_code() -> None:
    body = "a\n\n- x\n\n  ```sh\n  one\n  two\n  ```\n\nb"
    assert "  one\n  new\n  two\n" in change(Edit("insert_after", "one", "new"), body)
    below = change(Edit("insert_after", "two", "Text."), body)
    assert below.index("two") < below.index("```\n\nText.")


def test_insert_after_a_paragraph_that_a_list_follows_at_once() -> None:
    made = change(Edit("insert_after", "Rules:", "Mind them."), "Rules:\n- one\n- two")
    assert made == "Rules:\n\nMind them.\n\n- one\n- two"


def test_a_region_that_is_never_closed_protects_to_the_end() -> None:
    body = "a\n\n<!-- protected:x -->\nb"
    assert "protected" in refusal(Edit("delete", "b"), body)
    assert "forge" in refusal(Edit("append", content="c"), body)


def test_markers_cannot_be_put_together_from_pieces() -> None:
    body = "a <!-- prot X\n\nb -->"
    assert "forge" in refusal(Edit("replace", "X\n\nb", "ected:x"), body.replace("prot X", "protX"))


def test_budget_counts_applied_edits_only() -> None:
    edits = [Edit("append", content="- a"), Edit("delete", "nope"), Edit("append", content="- b")]
    assert apply_edits(skill(), edits, 0)[0] == skill()
    assert [o.applied for o in apply_edits(skill(), edits, 1)[1]] == [True, False, False]
    new, outcomes = apply_edits(skill(), [*edits, Edit("append", content="- a")], 9)
    assert [o.applied for o in outcomes] == [True, False, True, False]
    assert outcomes[3].reason == ALREADY_THERE
    assert new.body.endswith("- a\n- b")


@pytest.mark.parametrize("budget", [0, 1, 2, 3, 4, 9, None])
def test_a_budget_is_of_all_applied_edits(budget: int | None) -> None:
    """Also after refused ones, and however many it is."""
    edits = [Edit("delete", "nope") if n % 3 == 1 else Edit("append", content=f"- x{n}")
             for n in range(7)]  # fmt: skip
    good = [n for n in range(7) if n % 3 != 1][:budget]
    outcomes = apply_edits(skill(), edits, budget)[1]
    assert [n for n, outcome in enumerate(outcomes) if outcome.applied] == good
    over = [n for n, outcome in enumerate(outcomes) if "over the budget of" in outcome.reason]
    assert over == [n for n in range(7) if len(good) == budget and n > max([-1, *good])]


@pytest.mark.parametrize(
    ("content", "there"),
    [
        ("- ONE", True),
        ("1) one.", True),
        ("> - one", True),
        ("*  one", True),
        ("STRASSE", True),  # As German writes it in capitals.
        ("- one\n- two", True),
        ("one  x", True),
        # One line of several is new; others look alike and are not.
        ("- one\n- three", False),
        ("- three\n- one", False),
        ("ones", False),
        (".one", False),
        ("1.one", False),
    ],
)
def test_what_is_said_already(content: str, there: bool) -> None:
    body = "- one\n- two\n- straße\n- one x"
    if there:
        assert refusal(Edit("append", content=content), body) == ALREADY_THERE
        assert refusal(Edit("insert_after", "straße", content), body) == ALREADY_THERE
    else:
        assert change(Edit("append", content=content), body) != body


_BLOCKS = st.sampled_from(
    [
        "# Heading",
        "Words here.",
        "- a\n- b\n  - c",
        "1. x\n2. y",
        "| h | i |\n|---|---|\n| 1 | 2 |",
        "```\ncode\n\n- no list\n```",
        "> quoted\n> - q",
        "<!-- protected:p -->\nfixed\n<!-- /protected:p -->",
        "<!-- protected:p -->",
        "<!-- /protected:p -->",
        "    indented",
        "~~~",
        "Setext\n---",
    ]
)
_BODIES = st.one_of(st.text(max_size=80), st.lists(_BLOCKS, max_size=6).map("\n\n".join))
_CONTENTS = st.one_of(st.text(max_size=30), _BLOCKS, st.just("- new rule"))


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, list[Edit]]:
    body = draw(_BODIES)
    edits = []
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        cut = st.just(body[start : start + draw(st.integers(0, 40))])
        kind = st.sampled_from(["append", "insert_after", "replace", "delete", "set_description"])
        edits.append(Edit(draw(kind), draw(cut), draw(_CONTENTS)))  # type: ignore[arg-type]
    return body, edits


@settings(max_examples=examples(300))
@given(cases(), st.integers(0, 3) | st.none())
def test_any_edit_on_any_markdown(case: tuple[str, list[Edit]], budget: int | None) -> None:
    body, edits = case
    old = skill(body)
    new, outcomes = apply_edits(old, edits, budget)
    assert [o.edit for o in outcomes] == edits
    applied = [o.edit for o in outcomes if o.applied]
    assert budget is None or len(applied) <= budget
    assert all(o.applied or o.reason for o in outcomes)
    if not applied:
        assert new == old
        return
    assert made_worse(old, new) == ()
    assert apply_edits(old, applied, None)[0] == new  # The report is all that happened.
    # A new description leaves the body as it is, whatever its form.
    before, after = canonical_body(body), canonical_body(new.body)
    assert [before[a:b] for a, b in protected_regions(before)] == [
        after[a:b] for a, b in protected_regions(after)
    ]
    if all(edit.kind in ("append", "insert_after", "set_description") for edit in applied):
        # Every old block is still one. Code may get lines, and an open block what follows it.
        found = iter([leaf.same for leaf in leaves(after)])
        text = [leaf for leaf in leaves(before) if leaf.kind not in CODE]
        assert all(leaf.same in found for leaf in text)
        lines = iter(after.split("\n"))
        assert all(line in lines for line in before.split("\n") if line)


def test_an_anchor_that_is_not_there_is_told_with_the_nearest_line() -> None:
    skill = replace(SKILL, body="# Rules\n\n- Read the request first, twice.\n- Write in UTC.")
    lost = Edit("insert_after", "- Read the request firstly.", "- Then plan.")
    (outcome,) = apply_edits(skill, [lost], None)[1]
    assert "the nearest line there is '- Read the request first, twice.'" in outcome.reason
    (outcome,) = apply_edits(skill, [replace(lost, target="zzz")], None)[1]
    assert outcome.reason.endswith("without the front matter")


def test_text_after_the_line_below_a_tables_header_goes_after_the_table() -> None:
    table = "| a | b |\n| --- | --- |\n| 1 | 2 |"
    skill = replace(SKILL, body=f"# Rules\n\n{table}\n\nMore.")
    made, outcomes = apply_edits(skill, [Edit("insert_after", "| --- | --- |", "New.")], None)
    assert outcomes[0].applied and made.body == f"# Rules\n\n{table}\n\nNew.\n\nMore."
    made, _ = apply_edits(skill, [Edit("insert_after", "| --- | --- |", "| 0 | 1 |")], None)
    assert "| --- | --- |\n| 0 | 1 |\n| 1 | 2 |" in made.body


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        ("x" * NOTE_CHARS, True), ("x" * (NOTE_CHARS + 1), False), ("- x", True), ("* x", True),
        ("x\ny", False), ("# x", False), ("1. x", False), ("- - x", False), ("`x` and *y*", True),
        ("> x", False), ("```\nx\n```", False),
    ],
)  # fmt: skip
def test_a_note_is_one_plain_line(text: str, noted: bool) -> None:
    made, (outcome,) = apply_edits(skill("# Rules\n\n- one"), [Edit("note", content=text)], None)
    assert outcome.applied is noted
    if noted:
        assert region(made.body, REMINDERS).count("\n- ") == 1
    else:
        assert "one line of plain text" in outcome.reason


@pytest.mark.parametrize(
    ("body", "target", "reason"),
    [
        ("- aaa", "aa", "occurs more than once"),  # Also where they overlap.
        ("- ab\n- ab", "ab", "occurs more than once"),
        ("- ab", "ab", ""),
        ("- ab", "b", ""),
        ("- ab", "  ", "target is empty"),
        ("- ab", "ac", "target not found"),
    ],
)
def test_a_target_occurs_exactly_once(body: str, target: str, reason: str) -> None:
    edit = Edit("replace", target, "new text")
    _, (outcome,) = apply_edits(skill(body), [edit], None)
    assert outcome.applied is (not reason) and reason in outcome.reason
