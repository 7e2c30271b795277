"""Judged tasks in the real agents: a judge sees the work, and nothing of the skill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skillopt import evaluate
from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.packed import open_file
from skillopt.core.skill import read_skill
from skillopt.tasks.quickstart.generator import generate
from tests.helpers.lab import SKILL

pytestmark = pytest.mark.engine
WORDS = ["The file `result.csv` exists.", "The answer does not contain 'sorry'."]


@pytest.mark.parametrize("harness", ["codex", "claude-code"])
def test_the_work_is_judged_and_the_skill_is_not_seen(harness: str, tmp_path: Path) -> None:
    generate(tmp_path / "all", 7)
    source = sorted((tmp_path / "all" / "val").glob("logs-*"))[0]
    task = tmp_path / "tasks" / "train" / source.name
    task.parent.mkdir(parents=True)
    source.rename(task)
    (tmp_path / "all" / "test").rename(tmp_path / "tasks" / "val")
    toml = (task / "task.toml").read_text()
    named = next(
        line for line in (task / "instruction.md").read_text().split("`") if ".csv" in line
    )
    words = [WORDS[0].replace("result.csv", named), WORDS[1]]
    assert "[metadata]" in toml
    text = toml.replace("[metadata]", f"[metadata]\nexpectations = {json.dumps(words)}")
    (task / "task.toml").write_text(text)
    folder = tmp_path / "house-rules"
    folder.mkdir()
    (folder / "SKILL.md").write_text(f"{SKILL}- In logs, convert all times to UTC first.\n")
    config = tmp_path / "c.yaml"
    config.write_text(
        f"name: judged\nruns: {tmp_path}/runs\ntasks: {{source: {tmp_path}/tasks}}\n"
        f"skill: {{init: {folder}}}\nharness: {{name: {harness}}}\n"
        "target: {upstream: sim, name: sim-1}\noptimizer: {upstream: sim, name: sim-1}\n"
        "judge: {upstream: sim, name: sim-judge, when: always}\nupstreams: {sim: {kind: sim}}\n"
    )
    skills = {"house-rules": read_skill(folder)}
    (row,) = evaluate(load_config(config, Config), skills, split="train")
    (rollout,) = row.rollouts
    assert rollout.skill_activated and rollout.judgement is not None
    assert [one.met for one in rollout.judgement.expectations] == [True, True], rollout.judgement
    assert rollout.judgement.expectations[0].quote == named
    with open_file(rollout.folder, "judge/wire.jsonl") as file:
        wire = file.read().decode()
    assert named in wire and "house-rules" not in wire and "convert all times" not in wire
