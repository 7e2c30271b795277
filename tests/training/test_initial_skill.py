"""What training starts from: empty, drafted, installed, given; and what a skill may become."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt import train
from skillopt.config.inputs import initial_skill, read_skill_or_run
from skillopt.config.loading import ConfigError
from skillopt.config.schema import SkillConfig
from skillopt.core.skill import Skill, SkillError, read_skill, write_skill
from skillopt.core.text import estimate_tokens
from skillopt.report.view import read_run
from skillopt.training.plan import token_limit
from skillopt.training.prepared import plan_training
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


def long_skill(tmp_path: Path) -> Skill:
    chatter = "\n\n".join(
        f"Paragraph {n} says nothing that a run needs to know." for n in range(60)
    )
    skill = Skill("mine", "Use it for office chores.", f"# Mine\n\n{chatter}\n\n- Look first.")
    write_skill(skill, tmp_path / "mine")
    return skill


def test_a_limit_below_the_skill_is_refused_unless_it_may_be_shortened(
    folder: Path, tmp_path: Path
) -> None:
    tokens = estimate_tokens(long_skill(tmp_path).text)
    settings = {"skill.init": str(tmp_path / "mine"), "skill.max_tokens": 300}
    with pytest.raises(ConfigError) as caught:
        plan_training(small_config(folder, name="long", **settings))
    assert f"about {tokens} tokens" in str(caught.value)
    assert "skill.compress: true" in str(caught.value)
    allowed = plan_training(small_config(folder, **settings, **{"skill.compress": True}))
    assert "step 1 begins by shortening it" in allowed.length
    default = plan_training(small_config(folder, **{"skill.init": str(tmp_path / "mine")}))
    assert (default.skill_tokens, default.max_tokens) == (tokens, 2000)
    assert "nothing has to be shortened" in default.length


@pytest.mark.parametrize(("tokens", "limit"), [(100, 2000), (1600, 2000), (1604, 2005)])
def test_the_default_limit_leaves_room_for_a_quarter_more(tokens: int, limit: int) -> None:
    skill = Skill("mine", "d", "")
    skill = replace(skill, body="x" * (4 * tokens - len(skill.text) - 2))
    assert estimate_tokens(skill.text) == tokens
    assert token_limit(SkillConfig(init="mine"), skill) == limit
    assert token_limit(SkillConfig(init="mine", max_tokens=3000), skill) == 3000


@pytest.mark.slow
def test_a_long_skill_is_compressed_as_a_change_of_its_own(folder: Path, tmp_path: Path) -> None:
    skill = long_skill(tmp_path)
    settings = {
        "skill.init": str(tmp_path / "mine"),
        "skill.max_tokens": 300,
        "skill.compress": True,
    }
    notes: list[str] = []
    result = train(
        small_config(folder, name="long", **settings),
        listeners=[lambda event: notes.append(getattr(event, "text", ""))],
    )
    assert any("longer than skill.max_tokens" in note for note in notes)
    assert estimate_tokens(skill.text) > 300 >= estimate_tokens(result.best.text)
    assert result.summary["best_score"] > result.summary["initial_score"]
    short = result.history[0]["compression"]
    assert short["action"] == "accept" and short["tokens_before"] > 300 >= short["tokens_after"]
    assert [row["step"] for row in result.history if "compression" in row] == [1]
    assert (result.folder / "steps/step_0001/compression_candidate_skill.md").is_file()
    entries = {entry["name"]: entry for entry in read_run(result.folder).to_json()["entries"]}
    shown = entries["compression before step 1"]
    assert shown["length"] == [short["tokens_before"], short["tokens_after"]] and shown["diff"]
    again = train(small_config(folder, name="long", **settings))
    assert again.history == result.history


@pytest.mark.slow
def test_a_long_skill_keeps_all_of_its_text_by_default(folder: Path, tmp_path: Path) -> None:
    skill = long_skill(tmp_path)
    result = train(small_config(folder, name="kept", **{"skill.init": str(tmp_path / "mine")}))
    assert result.summary["best_score"] > result.summary["initial_score"]
    assert set(skill.body.split("\n")) <= set(result.best.body.split("\n"))
    assert not any("compression" in row for row in result.history)


@pytest.mark.slow
def test_edits_that_do_not_fit_are_refused_and_then_room_is_made(
    folder: Path, tmp_path: Path
) -> None:
    skill = long_skill(tmp_path)
    limit = estimate_tokens(skill.text) + 3
    settings = {"skill.init": str(tmp_path / "mine"), "skill.max_tokens": limit}
    result = train(small_config(folder, name="room", **settings))
    first = result.history[0]
    assert first["edits_too_long"] and "compression" not in first
    rows = [row for row in result.history if "compression" in row]
    assert rows[0]["step"] == 2
    assert all(row["compression"]["tokens_before"] <= limit for row in rows)
    assert estimate_tokens(result.best.text) <= limit
    assert result.summary["best_score"] > result.summary["initial_score"]


@pytest.mark.slow
def test_a_run_of_an_earlier_version_keeps_its_limit_each_time(
    folder: Path, tmp_path: Path
) -> None:
    skill = long_skill(tmp_path)
    settings = {"skill.init": str(tmp_path / "mine"), "final.test": False}
    limited = {"skill.max_tokens": estimate_tokens(skill.text) - 1, "skill.compress": True}
    log = train(small_config(folder, name="limit", **settings, **limited)).folder / "events.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    del lines[0]["config"]["skill"]["compress"]
    stopped = next(n for n, line in enumerate(lines) if line["kind"] == "step_done") + 1
    log.write_text("".join(json.dumps(line) + "\n" for line in lines[:stopped]))
    config = small_config(folder, name="limit", **settings)
    assert plan_training(config).max_tokens == limited["skill.max_tokens"]
    assert train(config).done
    assert train(config).done  # What has changed is recorded, and the limit is still that.


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on_with_what_it_read(
    folder: Path, tmp_path: Path
) -> None:
    """It read values as texts, rewrote the front matter, and its limit was 2,000."""
    mine = tmp_path / "mine"
    mine.mkdir()
    canonical = "---\nname: mine\ndescription: Use it for chores.\nversion: '1.0'\n---\n\n# Mine\n"
    (mine / "SKILL.md").write_text(canonical)
    settings = {"skill.init": str(mine), "train.epochs": 1, "final.test": False}
    config = small_config(folder, name="earlier", **settings)
    first = train(config)
    log = first.folder / "events.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    del lines[0]["config"]["skill"]["compress"]
    lines[0]["config"]["skill"]["max_tokens"] = 2000
    for line in lines:
        line.pop("layout", None)
    stopped = next(n for n, line in enumerate(lines) if line["kind"] == "step_done") + 1
    log.write_text("".join(json.dumps(line) + "\n" for line in lines[:stopped]))
    (mine / "SKILL.md").write_text(
        "---\n# ours\ndescription: Use it\n  for chores.\nname: mine\nversion: 1.0\n---\n# Mine\n"
    )
    (mine / ".hidden").write_text("not read before")
    again = train(config)
    assert again.done and again.initial.text == canonical
    assert again.history[0]["step"] == 1 and again.best.digest == first.best.digest
