"""What ``train --dry-run``, ``tasks validate`` and ``doctor`` say of ``tasks.environment``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from skillopt.cli.doctor import environment
from tests.helpers.command_line import skillopt

WRONG = [
    ('{"image": "a:1",\n"features": {"x": {}}}', ":2: features: x are not installed here"),
    ('{"image": "a:1",\n"dockerComposeFile": "c"}', ":2: dockerComposeFile: several containers"),
    ('{"build": {\n\n"dockerfile": "none"}}', ":3: build.dockerfile: "),
    ('{\n"image": ', ":2"),
]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config with two eval cases, in the current folder."""
    monkeypatch.chdir(tmp_path)
    cases = [
        {"id": n, "prompt": f"Do {n}.", "expected_output": "",
         "assertions": [{"type": "file_exists", "path": f"{n}.txt"}]}
        for n in range(2)
    ]  # fmt: skip
    skill = tmp_path / "s"
    (skill / "evals").mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: s\ndescription: Do.\n---\n# S\n")
    (skill / "evals/evals.json").write_text(json.dumps({"skill_name": "s", "evals": cases}))
    file = tmp_path / "s.yaml"
    file.write_text(
        "name: s\ntasks: {source: s, split: [1, 1, 0], environment: devcontainer.json}\n"
        "skill: {init: s}\ntarget: {upstream: sim, name: sim-1}\n"
        "optimizer: {upstream: sim, name: sim-1}\nupstreams: {sim: {kind: sim}}\n"
    )
    return file


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_what_is_wrong_is_said_by_file_and_line(config: Path, text: str, said: str) -> None:
    (config.parent / "devcontainer.json").write_text(text)
    for done in (
        skillopt("train", str(config), "--dry-run"),
        skillopt("eval", "none", "--config", str(config), "--split", "val"),
        skillopt("tasks", "validate", "s", "--environment", "devcontainer.json"),
    ):
        assert done.returncode == 2
        assert f"devcontainer.json{said}" in done.stderr
    check = environment(str(config))
    assert not check.ok and f"devcontainer.json{said}" in check.detail
    assert not (config.parent / "runs" / "s").exists()


def test_what_has_no_effect_is_noted(config: Path) -> None:
    (config.parent / "devcontainer.json").write_text('{"image": "a:1",\n"mounts": ["x"]}')
    noted = "devcontainer.json:2: mounts: has no effect"
    plan = skillopt("train", str(config), "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "environment: 2 tasks start from skillopt/task:" in plan.stdout
    assert noted in plan.stdout
    valid = skillopt("tasks", "validate", "s", "--environment", "devcontainer.json")
    assert (valid.returncode, noted in valid.stdout) == (0, True)
    check = environment(str(config))
    assert check.ok and noted in check.detail


def test_a_config_without_one_and_none_at_all(config: Path) -> None:
    config.write_text(config.read_text().replace(", environment: devcontainer.json", ""))
    assert environment(str(config)).ok
    plan = skillopt("train", str(config), "--dry-run")
    assert "environment:" not in plan.stdout
    missing = environment("nowhere.yaml")
    assert not missing.ok and "nowhere.yaml: no such file" in missing.detail
