"""What the specification objects to, what a change makes worse, and what an agent does not load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harnesses.agents.registry import CLI_AGENTS
from skillopt.core.skill import Layout, Skill, SkillError, read_skill
from skillopt.core.skill_rules import (
    check_loaded,
    check_names,
    made_worse,
    not_loaded,
    not_offered,
    objections,
)


def read(tmp_path: Path, text: str) -> Skill:
    file = tmp_path / "a-skill.md"
    file.write_bytes(text.encode())
    return read_skill(file)


def test_what_was_there_is_not_made_worse(tmp_path: Path) -> None:
    long = "d" * 1300
    skill = read(tmp_path, f"---\nname: A B\ndescription: {long}\nx: 1\nx: 2\n---\n# A \x0c\n")
    assert len(objections(skill)) >= 5
    assert made_worse(skill, replace(skill, body="# A \x0c\n\nmore")) == ()
    assert made_worse(skill, replace(skill, description=long[:1200])) == ()
    (longer,) = made_worse(skill, replace(skill, description=long + "d"))
    assert "1301" in longer
    (more,) = made_worse(skill, replace(skill, body="# A \x0c\x0c"))
    assert "U+000C (2)" in more
    assert made_worse(skill, replace(skill, description="a --- b"))


def test_a_change_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    skill = read(tmp_path, "---\nname: &a x\ndescription: *a\n---\n# A\n")
    with pytest.raises(SkillError, match="alias"):
        made_worse(skill, replace(skill, description="other"))


@pytest.mark.parametrize(
    ("text", "agents"),
    [
        ("---\nname: a\ndescription: d\n---\n", ""),
        ("# Plain\n", "codex opencode"),
        ("---\nname: a\n---\n# A\n", "codex opencode"),
        ("---\nname: a\ndescription: 5\n---\n# A\n", "opencode"),
        ("---\ndescription: d\n---\n", "opencode"),
        ("\ufeff---\nname: a\ndescription: d\n---\n", "codex"),
        ("---\nname: " + 65 * "n" + "\ndescription: d\n---\n", "codex"),
        ("---\nname: a\ndescription: d\ndescription: e\n---\n", "codex opencode"),
        ("---\nname: a\ndescription: d\nx: d\nx: e\n---\n", "opencode"),
        ("---\nname: a\ndescription: d\nmetadata: x\n---\n", "codex"),
        # At the number, and what is no fault.
        ("---\nname: " + 64 * "n" + "\ndescription: d\n---\n", ""),
        ("---\nname: a\ndescription: d\nmetadata:\n---\n", ""),
        ("---\nname: a\ndescription: d\nmetadata: {x: 1}\n---\n", ""),
        ("---\nname: a\ndescription: d\nmetadata: [x]\n---\n", "codex"),
        ("---\nname: a\ndescription: '5'\n---\n", ""),
        ("---\nname: true\ndescription: d\n---\n", "opencode"),
        ("---\nname: 'true'\ndescription: d\n---\n", ""),
        # The last of several faults, and empty values.
        ("---\nname: a\ndescription: d\nx: d\nx: e\nmetadata: y\n---\n", "codex opencode"),
        ("---\nx: d\nx: e\nname: a\nname: b\ndescription: d\n---\n", "codex opencode"),
        ("---\nname: a\ndescription: ' '\n---\n# A\n", "codex opencode"),
        ("---\nname: ' '\ndescription: d\n---\n", "opencode"),
        ("---\n---\n# A\n", "codex opencode"),
    ],
)
def test_agents_that_do_not_load_a_skill_are_named(tmp_path: Path, text: str, agents: str) -> None:
    skill = read(tmp_path, text)
    refusing = [agent for agent in CLI_AGENTS if not_loaded(skill, agent)]
    assert sorted(refusing) == agents.split()
    assert not not_loaded(skill, "direct")
    for agent in refusing:
        with pytest.raises(SkillError, match=f"{agent} does not load this skill: .*instructions"):
            check_loaded(skill, agent)
        check_loaded(skill, agent, "instructions")


def test_a_skill_for_the_user_only_is_not_offered(tmp_path: Path) -> None:
    text = "---\nname: a\ndescription: d\ndisable-model-invocation: {}\n---\n"
    assert not_offered(read(tmp_path, text.format("true")), "claude-code")
    assert not not_offered(read(tmp_path, text.format("true")), "codex")
    assert not not_offered(read(tmp_path, text.format("'true'")), "claude-code")


def test_two_skills_of_a_name_or_folder_are_refused() -> None:
    one, other = Skill("one", "d", ""), Skill("other", "d", "")
    check_names([one, other], Skill("third", "d", ""))
    same_folder = replace(other, layout=replace(other.layout, folder="one"))
    with pytest.raises(SkillError, match="two skills are named 'one'"):
        check_names([one, same_folder])
    with pytest.raises(SkillError, match="named 'one' like the skill itself"):
        check_names([other, one], one)


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        # A number alone grows, shrinks or stays.
        ({"description": "d" * 1025}, {"description": "d" * 1026}, ["1026"]),
        ({"description": "d" * 1026}, {"description": "d" * 1025}, []),
        ({"description": "d" * 1025}, {"description": "e" * 1025}, []),
        ({"description": "d" * 1024}, {"description": "d" * 1025}, ["1025"]),
        ({"body": "a\x0c"}, {"body": "a\x0cb"}, []),
        ({"body": "a\x0c\x0c"}, {"body": "a\x0c"}, []),
        ({"body": "a\x0c"}, {"body": "a\x0c\x0c"}, ["U+000C (2)"]),
        ({"body": "a"}, {"body": "a\x0c"}, ["U+000C (1)"]),
        # Another objection of the same kind, beside what was there.
        ({"body": "a\x0c"}, {"body": "a\x0b"}, ["U+000B (1)"]),
        ({"body": "a\x0c"}, {"body": "a\x0c\x0b\x0c"}, ["U+000B (1)", "U+000C (2)"]),
        ({"body": "a\x0c\x0b"}, {"body": "a"}, []),
        ({"body": "a"}, {"body": "a\tb\nc"}, []),
    ],
)
def test_a_change_makes_worse_what_there_is_more_of(
    before: dict[str, str], after: dict[str, str], worse: list[str]
) -> None:
    plain = Skill("a-skill", "Use it.", "# A")
    found = made_worse(replace(plain, **before), replace(plain, **after))  # type: ignore[arg-type]
    assert len(found) == len(worse)
    assert all(part in text for part, text in zip(worse, found, strict=True))


def _named(name: str, folder: str = "") -> Skill:
    return Skill(name, "d", "", layout=Layout(folder=folder))


@pytest.mark.parametrize(
    ("beside", "skill", "same"),
    [
        ([], None, ""),
        ([("a", "")], None, ""),
        ([("a", "b"), ("c", "d")], ("e", "f"), ""),
        # Any two of them, by the name or the folder of either.
        ([("a", ""), ("b", ""), ("b", "")], None, "two skills are named 'b'"),
        ([("a", ""), ("b", ""), ("a", "")], None, "two skills are named 'a'"),
        ([("b", ""), ("c", ""), ("a", "c")], None, "two skills are named 'c'"),
        ([("b", ""), ("x", "c"), ("c", "")], None, "two skills are named 'c'"),
        ([("x", "c"), ("y", "c")], None, "two skills are named 'c'"),
        # And each of them with the skill itself.
        ([("a", ""), ("b", "")], ("a", ""), "named 'a' like the skill itself"),
        ([("a", ""), ("b", "")], ("b", ""), "named 'b' like the skill itself"),
        ([("a", ""), ("b", "c")], ("c", ""), "named 'c' like the skill itself"),
        ([("c", "")], ("x", "c"), "named 'c' like the skill itself"),
        ([("y", "c")], ("x", "c"), "named 'c' like the skill itself"),
    ],
)
def test_each_pair_of_skills_must_differ_in_name_and_folder(
    beside: list[tuple[str, str]], skill: tuple[str, str] | None, same: str
) -> None:
    given = [_named(*each) for each in beside], _named(*skill) if skill else None
    if same:
        with pytest.raises(SkillError, match=same):
            check_names(*given)
    else:
        check_names(*given)
