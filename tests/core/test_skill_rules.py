"""What the specification objects to, what a change makes worse, and what an agent does not load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harnesses.agents.registry import CLI_AGENTS
from skillopt.core.skill import Skill, SkillError, read_skill
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
