"""``skillopt init``: what it writes, asks and refuses, and that it is all or nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
import yaml

from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from tests.helpers.command_line import skillopt

pytestmark = pytest.mark.slow

TEXT = "---\nname: {name}\ndescription: Use it for notes.\n---\n# Notes\n\n- Be brief.\n"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, in a home without anything and an environment without keys."""
    for name in list(os.environ):
        if name.endswith("_API_KEY") or name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR"):
            monkeypatch.delenv(name)
    for folder in ("home", "project"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def skill(folder: Path, name: str = "notes") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(TEXT.format(name=name))
    return folder


def evals(folder: Path, count: int = 8, unchecked: int = 0) -> None:
    def case(number: int) -> dict[str, Any]:
        check = {"type": "file_exists", "path": f"note-{number}.md"}
        own = "Is short." if number < unchecked else check
        return {"id": number, "prompt": f"Write {number}.", "expected_output": "",
                "assertions": [own], "should_trigger": True}  # fmt: skip

    (folder / "evals").mkdir(parents=True)
    suite = {"skill_name": "notes", "evals": [case(number) for number in range(count)]}
    (folder / "evals/evals.json").write_text(json.dumps(suite))


def done(*argv: str) -> dict[str, Any]:
    """What ``init --json`` prints, if it succeeds."""
    ended = skillopt("init", *argv, "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def refused(*argv: str, code: int = 2) -> str:
    """What ``init`` says if it refuses; nothing is left behind."""
    before = tree(Path.cwd())
    ended = skillopt("init", *argv)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert tree(Path.cwd()) == before
    return ended.stderr


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8", "replace")
        if path.is_file()
        else ""
        for path in folder.rglob("*")
    }


def commented(text: str) -> bool:
    """Whether each key of a config has a comment above it, but for those in a commented group."""
    lines = text.splitlines()
    keys = [n for n, line in enumerate(lines) if line and not line.startswith(("#", " "))]
    return all(lines[n - 1].startswith("#") for n in keys)


def test_eval_files_beside_the_skill(here: Path) -> None:
    evals(skill(here / ".claude/skills/notes"))
    found = done()
    assert found["written"] == ["notes.yaml"]
    assert found["tasks"]["split"] == {"train": 2, "val": 6, "test": 0}
    assert found["tasks"]["smallest_gain"] == pytest.approx(0.965)
    assert (found["agent"], found["service"], found["sent_to"]) == ("claude-code", "sim", "")
    assert found["baseline"]["tokens"] == 12 * 122_000
    assert found["next"] == [
        "skillopt eval none .claude/skills/notes --config notes.yaml --split val",
        "skillopt train notes.yaml",
    ]
    config = load_config(here / "notes.yaml", Config)
    assert (config.tasks.source, config.skill.init) == (".claude/skills/notes",) * 2
    assert config.train.batch_size == 2
    assert commented((here / "notes.yaml").read_text())
    plan = skillopt("train", "notes.yaml", "--dry-run")
    assert plan.returncode == 0, plan.stderr


@pytest.mark.slow
def test_examples_are_written_if_there_are_no_tasks_and_can_be_solved(here: Path) -> None:
    skill(here / "skills/notes")
    ended = skillopt("init", "notes")
    assert ended.returncode == 0, ended.stderr
    assert "note: no tasks were found: tasks/ has two examples" in ended.stdout
    assert ended.stdout.rstrip().endswith("skillopt train notes.yaml")
    solved = skillopt("tasks", "validate", "tasks", "--solve", "--local", "--strict")
    assert solved.returncode == 0, solved.stdout
    settings = ["--set", "sandbox.kind=local", "--set", "harness.name=direct"]
    scored = skillopt(
        "eval", "none", "skills/notes", "--config", "notes.yaml", "--split", "val", *settings
    )
    assert scored.returncode == 0, scored.stderr


def test_a_repository_is_named_as_a_way_to_more_tasks(here: Path) -> None:
    skill(here / "skills/notes")
    (here / ".git").mkdir()
    (note,) = (note for note in done()["notes"] if "no tasks were found" in note)
    assert "'skillopt tasks from-repo . repository-tasks'" in note
    assert skillopt("tasks", "from-repo", "--help").returncode == 0


def test_a_folder_of_tasks_that_is_there(here: Path) -> None:
    skill(here / "skills/notes")
    done("notes", "--output", "first.yaml")
    again = done("notes")
    assert (again["written"], again["tasks"]["source"]) == (["notes.yaml"], "tasks")
    assert again["found"]["task_folders"] == ["tasks"]


def test_what_is_in_words_gets_a_judge(here: Path) -> None:
    evals(skill(here / "skills/notes"), count=10, unchecked=3)
    found = done()
    assert (found["tasks"]["count"], found["tasks"]["judged"]) == (10, True)
    assert any("sim-1 judges what skills/notes says in words" in note for note in found["notes"])
    config = load_config(here / "notes.yaml", Config)
    assert config.judge is not None and config.judge.name == "sim-1"
    assert commented((here / "notes.yaml").read_text())


def without_any_check() -> dict[str, Any]:
    return {"id": "x", "prompt": "Write.", "expected_output": "", "force_skill_invocation": True}


def test_cases_that_nothing_can_score_are_left_out_and_named(here: Path) -> None:
    evals(skill(here / "skills/notes"), count=8)
    file = here / "skills/notes/evals/evals.json"
    suite = json.loads(file.read_text())
    suite["evals"].append(without_any_check())
    file.write_text(json.dumps(suite))
    found = done()
    assert (found["tasks"]["count"], found["tasks"]["left_out"]) == (8, 1)
    assert any("1 cases of skills/notes have no check" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("key", "service", "agent", "address"),
    [
        ("ANTHROPIC_API_KEY", "anthropic", "claude-code", "https://api.anthropic.com"),
        ("OPENAI_API_KEY", "openai", "codex", "https://api.openai.com"),
        ("MINIMAX_API_KEY", "minimax", "claude-code", "https://api.minimax.io"),
    ],
)
def test_a_key_decides_the_service_and_is_not_printed(
    here: Path, monkeypatch: pytest.MonkeyPatch, key: str, service: str, agent: str, address: str
) -> None:
    monkeypatch.setenv(key, "sk-4711-secret")
    evals(skill(here / "skills/notes"))
    ended = skillopt("init")
    config = load_config(here / "notes.yaml", Config)
    assert (config.target.upstream, config.harness.name) == (service, agent)
    assert f"sent to {address}: " in ended.stdout
    assert "4711" not in ended.stdout + (here / "notes.yaml").read_text()
    training = next(line for line in ended.stdout.splitlines() if line.startswith("training: "))
    assert "$0.00" not in training and "unknown" not in training


def test_the_skills_place_decides_the_agent(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-2")
    evals(skill(here / ".agents/skills/notes"))
    found = done()
    assert (found["agent"], found["service"]) == ("codex", "openai")
    found = done("--agent", "opencode", "--service", "anthropic", "--output", "b.yaml")
    assert (found["agent"], found["service"]) == ("opencode", "anthropic")


def test_a_container_is_offered_and_used_if_it_is_named(here: Path) -> None:
    evals(skill(here / "skills/notes"))
    (here / ".devcontainer").mkdir()
    (here / ".devcontainer/devcontainer.json").write_text('{"image": "a:1",\n"mounts": []}')
    done()
    text = (here / "notes.yaml").read_text()
    assert "\n  # environment: .devcontainer/devcontainer.json\n" in text
    found = done("--environment", ".devcontainer", "--output", "b.yaml")
    assert found["environment"] == ".devcontainer"
    assert load_config(here / "b.yaml", Config).tasks.environment == ".devcontainer"
    assert any("devcontainer.json:2: mounts: has no effect" in note for note in found["notes"])
    none = done("--environment", "none", "--output", "c.yaml")
    assert none["environment"] == ""


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nothing"], "nothing: no such folder or file, and no skill of this name; found: skills"),
        (["--tasks", "nowhere"], "--tasks nowhere: no such file or folder"),
        (["--tasks", "broken.json"], "broken.json: cannot be read"),
        (["--tasks", "one"], "one: has 1 task that can be used, and training needs 2 at least"),
        (["--tasks", "empty"], "empty: no task folders in it"),
        (["--tasks", "unchecked"], "unchecked: no case in it can be scored"),
        (["--agent", "cursor"], "--agent cursor: not one of direct, codex"),
        (["--service", "gemini"], "--service gemini: not one of anthropic, openai"),
        (["--environment", "./no"], "tasks.environment: ./no: no such file or folder"),
        (["--environment", "bad.json"], "bad.json:2: features: x are not installed here"),
        (["--output", "taken.yaml"], "taken.yaml: is there already and is not touched"),
        (["--output", "dangling.yaml"], "dangling.yaml: is there already and is not touched"),
        (["--output", "."], "is a directory"),
        (["bad"], "bad"),
        (["plain.txt"], "plain.txt: is not a Markdown file"),
        (["a", "b"], "unexpected extra argument"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(here: Path, argv: list[str], said: str) -> None:
    evals(skill(here / "skills/notes"))
    evals(here / "one", count=1)
    (here / "unchecked/evals").mkdir(parents=True)
    suite = {"skill_name": "s", "evals": [without_any_check()]}
    (here / "unchecked/evals/evals.json").write_text(json.dumps(suite))
    for name, text in {
        "broken.json": "{",
        "bad.json": '{"image": "a",\n"features": {"x": {}}}',
        "taken.yaml": "mine",
        "plain.txt": "x",
        "bad/SKILL.md": "---\ndescription: two: three\n---\n",
    }.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)
    (here / "empty").mkdir()
    (here / "dangling.yaml").symlink_to("nowhere")
    assert said in " ".join(refused(*argv).split())


def test_equal_tasks_are_refused_as_a_training_does(here: Path) -> None:
    evals(skill(here / "skills/notes"))
    file = here / "skills/notes/evals/evals.json"
    suite = json.loads(file.read_text())
    for case in suite["evals"]:
        case |= {"prompt": "Write.", "assertions": suite["evals"][0]["assertions"]}
    file.write_text(json.dumps(suite))
    assert "tasks with the same content are in different splits" in refused()


def test_what_an_agent_would_not_load_is_refused_after_the_fact(here: Path) -> None:
    folder = skill(here / ".agents/skills/notes")
    (folder / "SKILL.md").write_text("# No description\n")
    assert "codex" in refused("notes")


def test_a_file_in_the_way_of_the_examples(here: Path) -> None:
    skill(here / "skills/notes")
    (here / "tasks").mkdir()
    assert "tasks: is there already, has no task that was found" in refused()
    (here / "tasks").rmdir()
    (here / "tasks").symlink_to("nowhere")
    assert "tasks: is there already" in refused()


def test_without_an_engine_it_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    evals(skill(here / "skills/notes"))
    (note,) = (note for note in done()["notes"] if "Docker engine" in note)
    assert "skillopt doctor" in note


def test_a_skill_is_not_guessed(here: Path) -> None:
    assert "no skill was found here" in refused()
    evals(skill(here / "skills/b", "b"))
    skill(here / "skills/a", "a")
    assert "which skill is to be trained? found: skills/a, skills/b" in refused()
    assert done("--yes")["skill"] == "skills/b"  # That which has eval files.
    skill(here / ".claude/skills/a", "a")
    assert "a: several skills have this name" in refused("a")


def test_the_only_skill_of_a_home_is_not_taken_unasked(here: Path, tmp_path: Path) -> None:
    skill(tmp_path / "home/.claude/skills/notes")
    assert "which skill is to be trained?" in refused()
    assert done("notes")["skill"] == str(tmp_path / "home/.claude/skills/notes")


def test_not_in_the_skills_own_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evals(skill(here / "notes"))
    for place in (here / "notes", here / "notes/evals"):
        monkeypatch.chdir(place)
        assert "is in the skill's own folder" in refused(str(here / "notes"))


@pytest.mark.parametrize(
    "name",
    ["a, b", "c: d", "e'f", 'g"h', "{i}", "[j]", "# k", "é日本", "l\nm", "%n", "o\x7fp", "-q"],
)
@pytest.mark.slow
def test_odd_names_are_written_so_that_they_are_read_back(here: Path, name: str) -> None:
    evals(skill(here / "skills" / name, "notes"))
    found = done()
    text = (here / "notes.yaml").read_text()
    assert yaml.safe_load(text)["skill"] == {"init": f"skills/{name}"}
    assert load_config(here / found["config"], Config).tasks.source == f"skills/{name}"


def test_a_name_in_other_letters(here: Path) -> None:
    evals(skill(here / "skills/x", "日本"))
    (written,) = done()["written"]
    assert load_config(here / written, Config).name == "skill"


def terminal(*argv: str) -> pexpect.spawn[str]:
    words = ["-m", "skillopt", "init", *argv]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return pexpect.spawn(sys.executable, words, env=env, encoding="utf-8", timeout=60)  # type: ignore[arg-type]


@pytest.mark.slow
def test_in_a_terminal_it_asks_for_what_is_not_on_disk(here: Path) -> None:
    evals(skill(here / "skills/b", "b"))
    evals(skill(here / "skills/a", "a"))
    (here / "Dockerfile").write_text("FROM a\n")
    asked = terminal()
    asked.expect("Which skill is to be trained")
    asked.expect(r"1  skills/a\s+2  skills/b\s+number \[1\]: ")
    asked.sendline("7")
    asked.expect("not in the range")
    asked.sendline("2")
    asked.expect("Which model service")
    asked.expect(r"number \[4\]: ")
    asked.sendline("")
    asked.expect("What do tasks without an environment start from")
    asked.expect(r"2  Dockerfile\s+number \[1\]: ")
    asked.sendline("2")
    asked.expect("skillopt train b.yaml")
    asked.expect(pexpect.EOF)
    asked.close()
    assert asked.exitstatus == 0
    config = load_config(here / "b.yaml", Config)
    assert (config.target.upstream, config.tasks.environment) == ("sim", "Dockerfile")


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv", [["--yes"], ["notes", "--service", "sim", "--environment", "none"]]
)
def test_with_flags_it_asks_nothing(here: Path, argv: list[str]) -> None:
    evals(skill(here / "skills/notes"))
    (here / "Dockerfile").write_text("FROM a\n")
    asked = terminal(*argv)
    asked.expect("skillopt train notes.yaml")
    asked.expect(pexpect.EOF)
    assert "number" not in (asked.before or "")


@pytest.mark.slow
def test_nothing_is_written_if_a_question_is_not_answered(here: Path) -> None:
    evals(skill(here / "skills/notes"))
    before = tree(here)
    asked = terminal()
    asked.expect(r"number \[4\]: ")
    asked.sendintr()
    asked.expect(pexpect.EOF)
    asked.close()
    assert asked.exitstatus in (1, 130)
    assert tree(here) == before
