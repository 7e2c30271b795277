"""Plain Markdown files, in the shape of the reference's trained skills, are skills as they are:
read, evaluated, trained, and written with nothing touched but what an edit changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt import evaluate, train
from skillopt.core.skill import SkillError, read_skill, skill_problems
from skillopt.core.skill_rules import not_loaded
from skillopt.rollouts.prepare import prepared_skill
from tests.helpers.small import small_config

PLAIN = sorted((Path(__file__).parents[1] / "helpers" / "plain_skills").glob("*.md"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


def test_there_are_six() -> None:
    assert len(PLAIN) == 6


@pytest.mark.slow
@pytest.mark.parametrize("file", PLAIN, ids=lambda file: file.stem)
def test_a_plain_file_is_read_evaluated_and_trained_as_it_is(file: Path, folder: Path) -> None:
    skill = read_skill(file)
    assert skill.text.encode() == file.read_bytes()
    assert skill.name == file.stem and skill.description and not skill.extra
    assert any("front matter" in problem for problem in skill_problems(skill))
    short = {"train.epochs": 1, "final.test": False, "skill.init": str(file)}
    config = small_config(folder, name=file.stem, **short)
    (row,) = evaluate(config, [file], split="val")
    result = train(config)
    assert result.initial.text.encode() == file.read_bytes()
    assert result.summary["initial_score"] == pytest.approx(row.score.value)
    assert result.summary["best_score"] > result.summary["initial_score"]
    best = result.folder / "best_skill" / file.stem / "SKILL.md"
    assert best.read_bytes() == result.best.text.encode()
    lines = iter(best.read_bytes().splitlines(keepends=True))
    kept = file.read_bytes().splitlines(keepends=True)
    assert all(line in lines for line in kept[:-1]), "a line has changed that no edit touches"
    assert b"---\nname:" not in best.read_bytes()


def test_a_plain_file_gets_its_name_from_the_config(folder: Path) -> None:
    config = small_config(folder, **{"skill.init": str(PLAIN[0]), "skill.name": "my-answers"})
    skill = prepared_skill(config)
    assert skill is not None and (skill.name, skill.folder) == ("my-answers", "my-answers")


@pytest.mark.parametrize(("agent", "loads"), [("codex", False), ("claude-code", True)])
def test_an_agent_that_does_not_load_it_is_named(folder: Path, agent: str, loads: bool) -> None:
    settings = {"skill.init": str(PLAIN[0]), "harness.name": agent, "sandbox.kind": "docker"}
    config = small_config(folder, **settings)
    if loads:
        assert prepared_skill(config) is not None
        return
    with pytest.raises(SkillError, match=f"{agent} does not load this skill: it has no front"):
        prepared_skill(config)
    with pytest.raises(SkillError, match=f"{agent} does not load this skill"):
        evaluate(config, [PLAIN[0]], split="val")  # Before anything is started.
    as_instructions = small_config(folder, **settings, **{"harness.mount": "instructions"})
    skill = prepared_skill(as_instructions)
    assert skill is not None and not_loaded(skill, agent)
