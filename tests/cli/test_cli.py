"""The command line as a user meets it, by output and exit code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from skillopt.cli import COMMANDS
from tests.helpers.command_line import SKILLOPT, skillopt, skillopt_process, small_options
from tests.helpers.small import with_rollouts

ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_rollouts(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    done = skillopt("train", "quickstart/local", *small_options(folder))
    assert done.returncode == 0, done.stderr
    assert ESCAPE not in done.stdout + done.stderr
    assert "initial skill: 0.500 on the selection split" in done.stderr
    assert re.search(r"step \d: accept, \d edits, score 1\.000", done.stderr)
    assert "+- " in done.stdout and "selection score 0.500 -> 1.000" in done.stdout
    return folder / "runs" / "quickstart-local"


@pytest.mark.parametrize("command", [[], *[[name] for name in COMMANDS], ["tasks", "validate"]])
def test_help(command: list[str]) -> None:
    done = skillopt(*command, "--help")
    assert done.returncode == 0 and "Usage: " in done.stdout


@pytest.mark.slow
def test_a_process_of_its_own_says_the_same_and_has_the_same_exit_code(run: Path) -> None:
    for argv in (["show", run], ["eval", "none"]):
        inside, outside = skillopt(*argv), skillopt_process(*argv)
        assert outside.returncode == inside.returncode
        assert (outside.stdout, outside.stderr) == (inside.stdout, inside.stderr)
    assert outside.returncode == 2 and "--config" in outside.stderr


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = "{'openai', 'anthropic', 'docker', 'numpy', 'uvicorn', 'rich', 'httpx2'}"
    code = (
        "import sys, skillopt.cli\n"
        "try:\n    skillopt.cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


@pytest.mark.slow
def test_show_and_its_json(run: Path) -> None:
    shown = skillopt("show", run)
    assert shown.returncode == 0 and "accept" in shown.stdout and "+- " in shown.stdout
    data = json.loads(skillopt("show", run, "--json").stdout)
    assert data["summary"]["done"] and data["history"][0]["step"] == 1
    edits = json.loads(skillopt("show", run, "--step", "1", "--json").stdout)
    assert any(edit["applied"] for edit in edits)
    assert "why: " in skillopt("show", run, "--step", "1").stdout


def test_show_of_what_is_no_run_says_so(tmp_path: Path) -> None:
    done = skillopt("show", tmp_path)
    assert done.returncode == 2 and f"{tmp_path}: not a run: it has no events.jsonl" in re.sub(
        r"\s+", " ", done.stderr
    )


@pytest.mark.slow
def test_eval_takes_runs_files_folders_and_none(run: Path, folder: Path) -> None:
    skills = ("none", run / "skills" / "skill_v0000.md", run / "best_skill" / "house-rules", run)
    options = ["--config", "quickstart/local", *small_options(folder)]
    done = skillopt("eval", *skills, *options, "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["skill"] for row in rows] == [
        "none", "skill_v0000", "house-rules", "quickstart-local",
    ]  # fmt: skip
    assert rows[0]["skill_activated"] is None and rows[3]["skill_activated"] == 1.0
    assert rows[2]["score"] == rows[3]["score"]
    assert rows[3]["gain"]["value"] == rows[3]["score"]["value"] - rows[0]["score"]["value"]
    assert rows[3]["fixed"] and not rows[3]["broken"]
    assert set(rows[3]["families"]) == {"logs", "reconcile"}
    twice = json.loads(
        skillopt(
            "eval", "none", run, *options, "--model", "sim-2", "--replicates", "2", "--json"
        ).stdout
    )
    assert [row["model"] for row in twice] == ["sim-2", "sim-2"]
    assert [len(row["tasks"]) for row in twice] == [4, 4]
    on = twice[1]["by_task"]
    assert len(on) == 2 and {one["runs"] for one in on.values()} == {2}
    (gained,) = [one for one in on.values() if one["gain"] == 1]
    assert gained["family"] in ("logs", "reconcile") and gained["solved"] == 1
    assert gained["interval"]["low"] < gained["interval"]["value"] == 1
    assert {one["interval"] for one in rows[3]["by_task"].values()} == {None}
    assert 0 <= twice[1]["score"]["low"] <= twice[1]["score"]["value"]
    wrong = skillopt("eval", "none", *options, "--model", "nowhere:x")
    assert wrong.returncode == 2 and "'nowhere' is not in upstreams (sim)" in wrong.stderr
    table = skillopt("eval", *skills, *options)
    assert "by family" in table.stdout and "fixed 1: " in table.stdout
    assert "quickstart-local" in table.stdout and "[" in table.stdout
    assert "by task in" not in table.stdout
    tasks = skillopt("eval", "none", run, *options, "--replicates", "2", "--tasks").stdout
    lines = tasks.partition("by task in direct with sim-1")[2].split("\n")
    (line,) = [line for line in lines if "100 %, +100" in line]
    assert line.split()[0] == rows[3]["fixed"][0] and " 0 %" in line


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "no-such-config"], "no-such-config: no such file"),
        (["train", "quickstart/local", "--set", "train.epoch=1"], "did you mean 'epochs'?"),
        (["train", "quickstart/local", "--set", "oops"], "must be KEY=VALUE"),
        (["train", "quickstart/local", "--set", "skill.init=no/skill"], "no/skill: no such"),
        (["train", "quickstart/local", "--set", "tasks.source=no/tasks"], "no/tasks"),
        (["eval", "no/skill", "--config", "quickstart/local"], "no/skill: no such"),
        (["eval", "none"], "--config"),
        (["images", "remove"], "name images, or give --all"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
    ids=str,
)
def test_unusable_input_is_named_and_exits_with_2(argv: list[str], message: str) -> None:
    done = skillopt(*argv)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_engine_that_is_down_is_named_with_advice(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/docker.sock")
    done = skillopt("train", "quickstart/codex", *small_options(folder))
    assert done.returncode == 3
    assert "no container engine answers at unix:///no/such/docker.sock" in done.stderr
    checks = skillopt("doctor", "--json")
    assert checks.returncode == 1
    bad = [check for check in json.loads(checks.stdout) if not check["ok"]]
    assert [check["name"] for check in bad] == ["Docker engine"] and bad[0]["advice"]
    cleaned = skillopt("clean", "--dry-run", "--json")
    assert cleaned.returncode == 0 and isinstance(json.loads(cleaned.stdout), list)


@pytest.mark.engine
def test_doctor_starts_the_real_clis() -> None:
    done = skillopt("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0
    assert any(name.startswith("codex ") for name in checks)
    assert any(name.startswith("claude-code ") for name in checks)


@pytest.mark.engine
def test_images_are_listed() -> None:
    tags = [tag for image in json.loads(skillopt("images", "list", "--json").stdout)
            for tag in image["tags"]]  # fmt: skip
    assert {"skillopt/agent-base:1", "skillopt/relay:2"} <= set(tags)


@pytest.mark.slow
def test_tasks_are_made_listed_and_checked(tmp_path: Path) -> None:
    made = tmp_path / "chores"
    assert skillopt("tasks", "make", made).returncode == 0
    assert skillopt("tasks", "make", made).returncode == 2
    assert len(json.loads(skillopt("tasks", "list", made, "--json").stdout)) == 60
    assert "all tasks are valid" in skillopt("tasks", "validate", made).stdout
    solved = skillopt("tasks", "validate", made / "val" / "logs-05", "--solve", "--local")
    assert solved.returncode == 0, solved.stdout + solved.stderr
    broken = made / "val" / "logs-05" / "task.toml"
    broken.write_text(broken.read_text().replace("timeout_sec = 180.0", 'timeout_sec = "long"'))
    done = skillopt("tasks", "validate", made)
    assert done.returncode == 1
    assert f"{broken}: agent.timeout_sec: expected a number above 0" in done.stdout


@pytest.mark.slow
def test_on_a_terminal_there_is_a_live_panel(folder: Path, run: Path) -> None:
    options = [*small_options(folder), "--set", "name=live"]
    command = [*SKILLOPT[1:], "train", "quickstart/local", *options]
    terminal = pexpect.spawn(sys.executable, command, dimensions=(30, 100), timeout=60)
    terminal.expect("epoch 1/2 step 1/2")
    terminal.expect("rollouts [0-9]+ done")
    terminal.expect("selection score")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
