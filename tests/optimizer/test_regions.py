"""Protected regions: added, replaced and removed without a trace, and last in the body."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillopt.core.skill import Skill, canonical_body
from skillopt.core.types import Edit
from skillopt.optimizer.edits import NOTE_CHARS, apply_edits
from skillopt.optimizer.regions import (
    GUIDANCE,
    REMINDERS,
    has_marker,
    protected_regions,
    region,
    with_region,
)
from tests.helpers.cells import examples

BODY = "# Rules\n\n- one\n- two"


def test_a_region_stands_last_and_its_content_comes_back() -> None:
    body = with_region(BODY, GUIDANCE, "\nBroad advice.\n")
    assert body == (
        f"{BODY}\n\n<!-- protected:guidance -->\nBroad advice.\n<!-- /protected:guidance -->"
    )
    assert region(body, GUIDANCE) == "Broad advice." and region(BODY, GUIDANCE) == ""
    assert with_region(body, GUIDANCE, "Other.").count("protected:guidance") == 2
    both = with_region(body, REMINDERS, "- look")
    assert both.index(REMINDERS) < both.index(GUIDANCE)
    assert with_region(both, REMINDERS, "") == body
    assert with_region("", GUIDANCE, "x").startswith("<!-- protected")


@pytest.mark.parametrize(
    "content", ["<!-- protected:x -->", "<!-- /protected:guidance -->", "```\nopen", "<!-- open"]
)
def test_content_that_would_break_out_is_refused(content: str) -> None:
    with pytest.raises(ValueError, match="guidance: "):
        with_region(BODY, GUIDANCE, content)


@pytest.mark.parametrize("body", ["```\nopen", "a\n\n<!-- open", "a\n\n<!-- protected:x -->\nopen"])
def test_a_region_is_not_put_into_a_block_that_is_open(body: str) -> None:
    with pytest.raises(ValueError, match="guidance: "):
        with_region(body, GUIDANCE, "x")


def test_a_region_on_one_line_has_content_too() -> None:
    body = "a\n\n<!-- protected:guidance -->Keep<!-- /protected:guidance -->\n\nb"
    assert region(body, GUIDANCE) == "Keep"
    assert with_region(body, GUIDANCE, "") == "a\n\nb"


@pytest.mark.parametrize("before", ["", "a\n", "a\n\n", "a\n\n\n\n", "- a\n  ", "a "])
@pytest.mark.parametrize("after", ["", "\n\nb", "\nb"])
def test_reminders_leave_no_trace_beside_guidance_that_stands_anyhow(
    before: str, after: str
) -> None:
    body = before + with_region("", GUIDANCE, "G.") + after
    made = with_region(body, REMINDERS, "- r")
    assert region(made, REMINDERS) == "- r" and region(made, GUIDANCE) == "G."
    assert with_region(made, REMINDERS, "") == body


texts = st.text(st.sampled_from("ab-#\n `*"), max_size=30).filter(lambda t: not has_marker(t))


@given(texts, texts, texts)
def test_a_region_leaves_no_trace(body: str, first: str, second: str) -> None:
    body = canonical_body(body)
    try:
        made = with_region(with_region(body, GUIDANCE, first), GUIDANCE, second)
    except ValueError:
        return
    assert region(made, GUIDANCE) == canonical_body(second) or not canonical_body(second)
    assert with_region(made, GUIDANCE, "") == body


def _open(name: str) -> str:
    return f"<!-- protected:{name} -->"


def _close(name: str) -> str:
    return f"<!-- /protected:{name} -->"


@pytest.mark.parametrize(
    ("body", "regions", "content"),
    [
        ("plain", [], ""),
        ([_open("a"), "x", _close("a"), "y"], [(0, 3)], "x"),
        # Only its own name closes a region, and nothing opens another one in it.
        ([_open("a"), "x", _close("b"), "y", _close("a"), "z"], [(0, 5)], f"x\n{_close('b')}\ny"),
        ([_open("a"), _open("b"), "x", _close("b"), _close("a")], [(0, 5)], None),
        ([_open("a"), _open("a"), "x", _close("a"), "y"], [(0, 4)], None),
        # Each counts, not the first alone, and of those of a name the first.
        ([_open("a"), "x", _close("a"), "y", _open("b"), "z", _close("b")], [(0, 3), (4, 7)], "x"),
        ([_open("b"), "x", _close("b"), "y", _open("a"), "z", _close("a")], [(0, 3), (4, 7)], "z"),
        ([_open("a"), "x", _close("a"), _open("a"), "y", _close("a")], [(0, 3), (3, 6)], "x"),
        # One that is never closed extends to the end, and has no content of its own.
        (["x", _open("a"), "y", "z"], [(1, 4)], ""),
        ([_open("a"), "x", _close("b"), "y"], [(0, 4)], ""),
        # A closing marker alone is a region too.
        (["x", _close("a"), "y"], [(1, 2)], ""),
        ([_close("a"), _open("a"), "x", _close("a")], [(0, 1), (1, 4)], "x"),
        ([_open("a"), "x", _close("a"), _close("a")], [(0, 3), (3, 4)], "x"),
    ],
)
def test_which_lines_are_protected(
    body: str | list[str], regions: list[tuple[int, int]], content: str | None
) -> None:
    lines = [body] if isinstance(body, str) else body
    text = "\n".join(lines)
    found = [text[start:end] for start, end in protected_regions(text)]
    assert found == ["\n".join(lines[start:end]) for start, end in regions]
    if content is not None:
        assert region(text, "a") == content


def test_what_is_appended_stands_before_the_regions_at_the_end() -> None:
    for body in (BODY, "# Rules", ""):
        guided = with_region(with_region(body, GUIDANCE, "G."), REMINDERS, "- r")
        skill, (outcome,) = apply_edits(Skill("a", "b", guided), [Edit("append", "", "- three")], 1)
        assert outcome.applied, outcome.reason
        plain = with_region(with_region(skill.body, GUIDANCE, ""), REMINDERS, "")
        assert (
            plain == apply_edits(Skill("a", "b", body), [Edit("append", "", "- three")], 1)[0].body
        )
        assert skill.body.endswith("<!-- /protected:guidance -->")


def noted(content: str, body: str = BODY, **more: str) -> tuple[Skill, str]:
    edit = Edit("note", "", content, **more)  # type: ignore[arg-type]
    skill, (outcome,) = apply_edits(Skill("a", "b", body), [edit], 1, files=True)
    return skill, outcome.reason


def test_notes_become_reminders_in_a_region_of_their_own() -> None:
    skill, reason = noted("Sort by date.")
    assert not reason
    assert region(skill.body, REMINDERS) == "## Reminders\n\n- Sort by date."
    again, reason = noted("- Look twice.", skill.body)
    assert region(again.body, REMINDERS) == "## Reminders\n\n- Sort by date.\n- Look twice."
    assert with_region(again.body, REMINDERS, "") == BODY


@pytest.mark.parametrize("text", ["**Always** look.", "2.5 mm is the limit.", "Use `-x`, *not* -y"])
def test_only_the_bullet_is_taken_off_a_note(text: str) -> None:
    for content in (text, f"- {text}", f"* {text}\n"):
        assert region(noted(content)[0].body, REMINDERS).endswith(f"\n\n- {text}")


def test_a_note_stands_apart_from_what_else_is_in_the_region() -> None:
    body = with_region(BODY, REMINDERS, "<div>\nMine.\n</div>")
    made = region(noted("Look.", body)[0].body, REMINDERS)
    assert made == "<div>\nMine.\n</div>\n\n- Look."


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("- ", "one line"),
        ("# Heading", "plain text"),
        ("```sh", "plain text"),
        ("- - nested", "plain text"),
        ("<div>", "plain text"),
        ("two\u2028lines", "one line"),
        ("two\nlines", "one line"),
        ("x" * (NOTE_CHARS + 1), "one line"),
        ("- One.", "already says"),
        ("<!-- protected:x -->", "markers"),
        ("", "empty"),
    ],
)
def test_notes_that_are_refused(content: str, reason: str) -> None:
    skill, why = noted(content)
    assert reason in why and skill.body == BODY
    assert "not for files" in noted("fine", file="references/x.md")[1]


pieces = st.sampled_from(
    [
        "- item", "text", "<!-- protected:own -->", "<!-- /protected:own -->", "```", "# H",
        "<!-- protected:guidance -->", "<!-- /protected:guidance -->", "| a | b |",
    ]
)  # fmt: skip


@settings(max_examples=examples(200))
@given(st.lists(pieces, max_size=8).map("\n\n".join), st.lists(st.text(max_size=40), max_size=3))
def test_notes_leave_all_other_regions_as_they_are(body: str, notes: list[str]) -> None:
    old = Skill("a", "b", body)
    edits = [Edit("note", "", note) for note in notes]
    new, outcomes = apply_edits(old, edits, None)
    before, after = canonical_body(body), new.body
    kept = [before[a:b] for a, b in protected_regions(before)]
    now = [after[a:b] for a, b in protected_regions(after)]
    assert [text for text in now if f"protected:{REMINDERS}" not in text] == kept
    assert any(outcome.applied for outcome in outcomes) == (new != old)
