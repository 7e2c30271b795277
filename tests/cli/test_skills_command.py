"""``skills check`` and ``package --strict``: errors name agents, objections are warnings."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from skillopt.core.skill import read_skill
from tests.helpers.command_line import skillopt

ODD = "---\nname: CI Logs\ndescription: 'It''s # here'  # why\nversion: 1.0\n---\n# Logs\n"


def folder(tmp_path: Path, text: str = ODD) -> Path:
    made = tmp_path / "ci-logs"
    (made / ".git").mkdir(parents=True)
    (made / "SKILL.md").write_text(text)
    (made / "run").write_bytes(b"\x7fELF")
    (made / "run").chmod(0o755)
    (made / "again").symlink_to("run")
    return made


def test_objections_are_warnings_and_with_strict_errors(tmp_path: Path) -> None:
    made = folder(tmp_path)
    done = skillopt("skills", "check", str(made))
    assert done.returncode == 0
    assert f"{made}: warning: Skill name 'CI Logs' must be lowercase" in done.stdout
    assert f"{made}: left out: .git/" in done.stdout
    strict = skillopt("skills", "check", str(made), "--strict")
    assert strict.returncode == 1 and "error: Skill name" in strict.stdout


def test_what_an_agent_does_not_load_is_an_error(tmp_path: Path) -> None:
    made = folder(tmp_path, "# Plain\n")
    done = skillopt("skills", "check", str(made), "--json")
    assert done.returncode == 1
    (told,) = json.loads(done.stdout)
    assert [error.split()[0] for error in told["errors"]] == ["codex", "opencode"]
    assert skillopt("skills", "check", str(made), "--agent", "claude-code").returncode == 0
    broken = folder(tmp_path / "broken", "---\ndescription: two: three\n---\n")
    both = skillopt("skills", "check", str(broken), str(made), "--agent", "claude-code")
    assert both.returncode == 1 and "in quotes" in both.stdout and str(made) in both.stdout
    assert "Traceback" not in both.stderr


def test_a_package_keeps_the_skill_and_strict_refuses_it(tmp_path: Path) -> None:
    made, archive = folder(tmp_path), tmp_path / "packed.skill"
    (made / ".env").write_text("KEY=secret\n")
    done = skillopt("package", str(made), "--archive", str(archive))
    assert done.returncode == 0 and "warning: Skill name" in done.stderr
    assert "left out: .git/" in done.stderr and "with hidden files: .env" in done.stderr
    with zipfile.ZipFile(archive) as packed:
        text = packed.read("ci-logs/SKILL.md").decode()
        modes = {info.filename: info.external_attr >> 16 for info in packed.infolist()}
    head, rest = ODD.removesuffix("---\n# Logs\n"), "---\n# Logs\n"
    assert text.startswith(head) and text.endswith(rest) and "skillopt-digest" in text
    assert modes["ci-logs/run"] == 0o755 and modes["ci-logs/again"] == 0o120777
    strict = skillopt("package", str(made), "--archive", str(tmp_path / "x"), "--strict")
    assert strict.returncode == 2 and "must be lowercase" in strict.stderr
    plugin = tmp_path / "plugin"
    assert skillopt("package", str(made), "--plugin", str(plugin)).returncode == 0
    assert read_skill(plugin / "skills" / "ci-logs").name == "CI Logs"
    assert json.loads((plugin / ".claude-plugin/plugin.json").read_text())["name"] == "ci-logs"


def test_what_an_agent_would_not_load_is_not_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, home = folder(tmp_path, "# Plain\n"), tmp_path / "home"
    for name, below in {"XDG_STATE_HOME": "s", "CODEX_HOME": "c", "CLAUDE_CONFIG_DIR": "d"}.items():
        monkeypatch.setenv(name, str(home / below))
    refused = skillopt("deploy", str(made), "--to", "codex", "--yes", "--no-proof")
    assert refused.returncode == 2 and "codex does not load this skill" in refused.stderr
    assert not home.exists()
    done = skillopt("deploy", str(made), "--to", "claude-code", "--yes", "--no-proof")
    assert done.returncode == 0 and "left out: .git/" in done.stderr
    deployed = home / "d" / "skills" / "ci-logs"
    assert (deployed / "SKILL.md").read_text() == "# Plain\n"
    assert (deployed / "again").readlink() == Path("run")
    assert (deployed / "run").stat().st_mode & 0o777 == 0o755
