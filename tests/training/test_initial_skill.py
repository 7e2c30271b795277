"""What training starts from: empty, drafted, installed, given; and what a skill may become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from skillopt import train
from skillopt.config.inputs import initial_skill, read_skill_or_run
from skillopt.core.skill import Skill, SkillError, read_skill, write_skill
from skillopt.core.text import estimate_tokens
from tests.helpers.small import small_config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("initial")


def start(folder: Path, **settings: Any) -> Skill | None:
    return initial_skill(small_config(folder, **settings))


@pytest.mark.slow
def test_empty(folder: Path) -> None:
    settings = {
        "skill.init": "empty",
        "skill.name": "mine",
        "skill.description": "Use it for office chores.",
    }
    skill = start(folder, **settings)
    assert skill == Skill("mine", "Use it for office chores.", "")
    short = {"train.epochs": 1, "final.test": False}
    result = train(small_config(folder, name="empty", **settings, **short))
    assert result.initial == skill and result.best.body
    assert result.summary["best_score"] > result.summary["initial_score"]


@pytest.mark.slow
def test_a_draft_is_written_once_and_never_again(folder: Path) -> None:
    settings = {
        "skill.init": "draft", "skill.name": "mine", "name": "draft", "final.test": False,
    }  # fmt: skip
    assert start(folder, **settings) is None
    first = train(small_config(folder, **settings, **{"limits.rollouts": 3}))
    assert first.initial.name == "mine" and "log" in first.initial.description
    result = train(small_config(folder, **settings))
    assert result.done and result.initial == first.initial


def test_an_optimizer_that_cannot_draft_is_told(folder: Path) -> None:
    config = small_config(
        folder,
        name="no-draft",
        **{"skill.init": "draft", "skill.name": "mine", "upstreams.sim.malformed": 1.0},
    )
    with pytest.raises(SkillError, match=r"skill\.init: draft: malformed reply.*start from"):
        train(config)


@pytest.mark.parametrize(
    ("harness", "place"),
    [
        ("codex", "codex-home/skills"),
        ("codex", "home/.agents/skills"),
        ("codex", "project/.agents/skills"),
        ("codex", "project/.codex/skills"),
        ("claude-code", "claude-home/skills"),
        ("claude-code", "project/.claude/skills"),
        ("opencode", "config-home/opencode/skills"),
        ("opencode", "home/.claude/skills"),
        ("opencode", "project/.opencode/skills"),
    ],
)
def test_one_that_is_installed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harness: str, place: str
) -> None:
    for name in ("home", "project", "codex-home", "claude-home", "config-home"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex-home"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude-home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    monkeypatch.chdir(tmp_path / "project")
    settings = {
        "skill.init": "installed",
        "skill.name": "mine",
        "harness.name": harness,
        "sandbox.kind": "docker",
    }
    with pytest.raises(SkillError, match=f"no skill 'mine' is installed for {harness}; looked in"):
        start(folder, **settings)
    installed = tmp_path / place / "mine"
    installed.parent.mkdir(parents=True)
    write_skill(Skill("mine", "Use it.", "# Mine"), installed)
    assert start(folder, **settings) == Skill("mine", "Use it.", "# Mine")


def test_direct_chat_has_nothing_installed(folder: Path) -> None:
    with pytest.raises(SkillError, match="direct has no directory of skills"):
        start(folder, **{"skill.init": "installed", "skill.name": "mine"})


@pytest.mark.slow
def test_a_folder_comes_through_training_whole(folder: Path, tmp_path: Path) -> None:
    files = {"references/more.md": b"# More\n", "scripts/run.py": b"#!/usr/bin/env python3\n"}
    skill = Skill("mine", "Use it for chores.", "# Mine", {"license": "MIT"}, files)
    write_skill(skill, tmp_path / "mine")
    settings = {"skill.init": str(tmp_path / "mine"), "train.epochs": 1, "final.test": False}
    result = train(small_config(folder, name="whole", **settings))
    best = read_skill(result.folder / "best_skill" / "mine")
    assert dict(best.files) == files and best.extra == {"license": "MIT"}
    assert (result.folder / "best_skill" / "mine" / "scripts" / "run.py").stat().st_mode & 0o100
    assert read_skill_or_run(result.folder) == result.best


@pytest.mark.slow
def test_a_long_skill_is_compressed_and_never_cut(folder: Path, tmp_path: Path) -> None:
    chatter = "\n\n".join(
        f"Paragraph {n} says nothing that a run needs to know." for n in range(60)
    )
    skill = Skill("mine", "Use it for office chores.", f"# Mine\n\n{chatter}\n\n- Look first.")
    write_skill(skill, tmp_path / "mine")
    settings = {"skill.init": str(tmp_path / "mine"), "skill.max_tokens": 300}
    notes: list[str] = []
    result = train(
        small_config(folder, name="long", **settings),
        listeners=[lambda event: notes.append(getattr(event, "text", ""))],
    )
    assert any("longer than skill.max_tokens" in note for note in notes)
    assert estimate_tokens(skill.text) > 300 >= estimate_tokens(result.best.text)
    assert result.summary["best_score"] > result.summary["initial_score"]
