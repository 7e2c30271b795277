"""A skill's block in a file of instructions, in whatever line ends and among others."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.core.skill import Layout, Skill
from skillopt.deploy.blocks import block_of, find_block, same_block, with_block, without_block
from skillopt.deploy.places import DeployError

WHERE = Path("/home/me/AGENTS.md")
BEGIN, END = "<!-- skillopt:geo begin -->", "<!-- skillopt:geo end -->"
BLOCK = f"{BEGIN}\nnew\n{END}"


def test_a_block_has_the_description_that_the_skill_states() -> None:
    assert block_of(Skill("geo", "Use it.", "# Geo")) == f"{BEGIN}\nUse it.\n\n# Geo\n{END}"
    plain = Skill("geo", "Geo", "# Geo", layout=Layout("# Geo\n"))
    assert block_of(plain) == f"{BEGIN}\n# Geo\n{END}"


@pytest.mark.parametrize(
    ("description", "body", "mark"),
    [
        ("d", f"a {END} b", END),
        ("d", "<!--skillopt:other begin-->", "<!--skillopt:other begin-->"),
        ("see <!-- skillopt:x  end -->", "b", "<!-- skillopt:x  end -->"),
        ("d", "<!-- skillopt:x middle -->", ""),
        ("d", "skillopt:x begin", ""),
    ],
)
def test_a_skill_that_contains_a_mark_is_refused(description: str, body: str, mark: str) -> None:
    skill = Skill("geo", description, body)
    if not mark:
        assert body in block_of(skill)
        return
    with pytest.raises(DeployError, match=r"^geo: its text contains") as caught:
        block_of(skill)
    assert repr(mark) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("text", None),
        (BLOCK, BLOCK),
        (f"above\n{BLOCK}\nbelow", BLOCK),
        ("a <!--skillopt:geo begin-->x<!--  skillopt:geo\tend  --> b",
         "<!--skillopt:geo begin-->x<!--  skillopt:geo\tend  -->"),
        (BLOCK.replace(":geo", ":geo-2"), None),
        (BLOCK.replace(":geo", ":my.geo"), None),
        (f"{BLOCK.replace(':geo', ':other')}\n{BLOCK}", BLOCK),
    ],
)  # fmt: skip
def test_the_block_of_a_skill_is_found(text: str, found: str | None) -> None:
    block = find_block(text, "geo", WHERE)
    if found is None:
        assert block is None
    else:
        assert block is not None and block.text == found
        assert text[block.start : block.end] == found


def test_a_name_is_no_pattern() -> None:
    text = BLOCK.replace(":geo", ":g.o")
    assert find_block(text, "g.o", WHERE) and not find_block(text, "gxo", WHERE)
    assert find_block(BLOCK, "g.o", WHERE) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"a\nb\r\n{BEGIN}\n", "AGENTS.md:3: 1 marks 'skillopt:geo begin' and 0 marks"),
        (f"{END}\n", "AGENTS.md:1: 0 marks 'skillopt:geo begin' and 1 marks 'skillopt:geo end'"),
        (f"{END}\n{BEGIN}\n", "AGENTS.md:2: 1 marks 'skillopt:geo begin' and 1 marks"),
        (f"{BLOCK}\n{BLOCK}\n", "AGENTS.md:4: 2 marks 'skillopt:geo begin' and 2 marks"),
        (f"{BLOCK}\n{END}\n", "AGENTS.md:1: 1 marks 'skillopt:geo begin' and 2 marks"),
        (f"{BEGIN}\n{BLOCK}\n", "AGENTS.md:2: 2 marks 'skillopt:geo begin' and 1 marks"),
        (f"\r{END}\r{END}", "AGENTS.md:3: 0 marks 'skillopt:geo begin' and 2 marks"),
    ],
)
def test_marks_that_do_not_fit_are_named_with_their_line(text: str, said: str) -> None:
    with pytest.raises(DeployError) as caught:
        find_block(text, "geo", WHERE)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a\nb", "a\r\nb", True), ("a\nb", "a\rb", True), ("a \nb\t", "a\nb", True),
        ("\na\n", "a", True), ("a\n\nb", "a\nb", False), (" a\n  b", "a\n b", False),
        ("a\nb", "a\nc", False), ("a", "a\nb", False), ("", "", True),
    ],
)  # fmt: skip
def test_line_ends_and_spaces_after_lines_make_no_other_block(
    one: str, other: str, same: bool
) -> None:
    assert same_block(one, other) is same


@pytest.mark.parametrize(
    ("text", "after", "gap"),
    [
        ("", f"{BLOCK}\n", ""),
        ("\ufeff", f"\ufeff{BLOCK}\n", ""),
        ("a\n", f"a\n\n{BLOCK}\n", "\n"),
        ("a", f"a\n\n{BLOCK}\n", "\n\n"),
        ("a\r\nb\r\n", f"a\r\nb\r\n\n{BLOCK}\n".replace("\n", "\r\n").replace("\r\r", "\r"), "\n"),
        ("a\r", f"a\n\n{BLOCK}\n".replace("\n", "\r"), "\n"),
        # The line end that is there most often.
        ("a\r\nb\nc\r\n", "a\r\nb\nc\r\n" + f"\n{BLOCK}\n".replace("\n", "\r\n"), "\n"),
        ("a\nb\r\nc\n", f"a\nb\r\nc\n\n{BLOCK}\n", "\n"),
        ("a\r\nb\nc\n", f"a\r\nb\nc\n\n{BLOCK}\n", "\n"),
        ("a\nb\rc\r", "a\nb\rc\r" + f"\n{BLOCK}\n".replace("\n", "\r"), "\n"),
        # One that is there is replaced in its place.
        (f"a\n{BLOCK.replace('new', 'old')} b\n", f"a\n{BLOCK} b\n", ""),
    ],
)  # fmt: skip
def test_a_block_comes_at_the_end_or_in_place_of_the_old_one(
    text: str, after: str, gap: str
) -> None:
    assert with_block(text, "geo", BLOCK, WHERE) == (after, gap)


@pytest.mark.parametrize(
    ("text", "gap", "after"),
    [
        (f"a\n\n{BLOCK}\n", "\n", "a\n"),
        (f"a\n\n{BLOCK}\n", "\n\n", "a"),
        (f"a\n\n{BLOCK}\n", "", "a\n\n"),
        (f"a\r\n\r\n{BLOCK}\r\n", "\n", "a\r\n"),
        (f"a\r\r{BLOCK}", "\n", "a\r"),
        (BLOCK, "", ""),
        # What was written below it since stays apart.
        (f"a\n\n{BLOCK}\nb\n", "\n", "a\n\nb\n"),
        (f"a\n\n{BLOCK}\n\nb\n", "\n", "a\n\nb\n"),
        (f"a\n\n{BLOCK} b\n", "\n", "a\n\n b\n"),
        # So does what was taken away above it.
        (f"a\n{BLOCK}\n", "\n\n", "a\n"),
        (f"a{BLOCK}\n", "\n", "a"),
    ],
)
def test_a_block_goes_with_the_gap_that_it_brought(text: str, gap: str, after: str) -> None:
    block = find_block(text, "geo", WHERE)
    assert block is not None
    assert without_block(text, block, gap) == after


@pytest.mark.parametrize("text", ["", "\ufeff", "a", "a\n", "a\r\n\r\nb", "a\rb\r", "a\n \n"])
def test_a_block_that_comes_and_goes_leaves_the_text_as_it_was(text: str) -> None:
    made, gap = with_block(text, "geo", BLOCK, WHERE)
    block = find_block(made, "geo", WHERE)
    assert block is not None and without_block(made, block, gap) == text
