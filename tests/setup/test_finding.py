"""What ``init`` finds: skills where agents read them, the project's language, tests and container,
programs, keys and logins. All of it is anybody's, and none of it is run or followed far."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skillopt.setup.project import look_at
from skillopt.setup.services import look_around
from skillopt.setup.skills import MOST, agents_of, find_skills

TEXT = "---\nname: x\ndescription: y\n---\n# X\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without anything, and an environment without keys."""
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "ANTHROPIC_API_KEY",
                 "OPENAI_API_KEY", "MINIMAX_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN",
                 "CODEX_ACCESS_TOKEN"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def put(folder: Path, *names: str, text: str = TEXT) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("place", "agents"),
    [
        (".claude/skills/x", ("claude-code", "opencode")),
        (".agents/skills/x", ("codex", "opencode")),
        (".codex/skills/x", ("codex",)),
        (".opencode/skills/x", ("opencode",)),
        ("skills/x", ()),
        (".claude-plugin/skills/x", ()),
        ("plugins/p/skills/x", ()),
        ("plugins/team/p/skills/x", ()),
        (".", ()),
    ],
)
def test_skills_of_a_project(here: Path, home: Path, place: str, agents: tuple[str, ...]) -> None:
    put(here / place, "SKILL.md")
    (found,) = find_skills(here)
    assert (found.path, found.origin, found.agents) == (here / place, "project", agents)
    if agents:
        assert agents_of(found.path, here) == agents


@pytest.mark.parametrize(
    ("place", "origin", "agent"),
    [
        (".claude/skills/x", "home", "claude-code"),
        (".codex/skills/x", "home", "codex"),
        (".agents/skills/x", "home", "codex"),
        (".config/opencode/skills/x", "home", "opencode"),
        (".claude/plugins/cache/market/p/1.0/skills/x", "plugin", "claude-code"),
        (".claude/plugins/marketplaces/m/skills/x", "plugin", "claude-code"),
        (".codex/plugins/cache/m/p/1.0/skills/x", "plugin", "codex"),
    ],
)
def test_skills_of_a_home(here: Path, home: Path, place: str, origin: str, agent: str) -> None:
    put(home / place, "SKILL.md")
    (found,) = find_skills(here)
    assert (found.path, found.origin, found.agents[0]) == (home / place, origin, agent)


def test_an_agents_own_folder_may_be_elsewhere(
    here: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "elsewhere"))
    put(tmp_path / "elsewhere/skills/x", "SKILL.md")
    assert [found.path for found in find_skills(here)] == [tmp_path / "elsewhere/skills/x"]


def test_a_skill_counts_once_and_the_projects_comes_first(here: Path, home: Path) -> None:
    put(home / ".claude/skills/b", "SKILL.md")
    put(here / "skills/a", "SKILL.md")
    for agent in (".claude", ".agents"):
        (here / agent / "skills").mkdir(parents=True)
        (here / agent / "skills/a").symlink_to("../../skills/a")
    found = find_skills(here)
    assert [one.origin for one in found] == ["project", "home"]
    assert found[0].name == "a"


def test_odd_things_in_folders_of_skills(here: Path, home: Path) -> None:
    skills = here / ".claude/skills"
    put(skills / "good\nname \x1b[31m", "SKILL.md")
    put(skills, "file", "node_modules/x/SKILL.md")
    (skills / "empty").mkdir()
    (skills / "broken").symlink_to("nowhere")
    (skills / "round").symlink_to("round")
    (skills / "folder/SKILL.md").mkdir(parents=True)
    os.mkfifo(skills / "pipe")
    (here / "plugins").symlink_to("/")
    (home / ".claude/plugins").mkdir(parents=True)
    (home / ".claude/plugins/up").symlink_to("..")
    assert [one.name for one in find_skills(here)] == ["good\nname \x1b[31m"]


def test_no_more_than_some_are_found(here: Path, home: Path) -> None:
    for number in range(MOST + 1):
        put(here / f"skills/s{number:04d}", "SKILL.md")
    assert len(find_skills(here)) == MOST


@pytest.mark.parametrize(
    ("files", "languages", "command"),
    [
        ({}, (), ""),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, ("Python",), "python -m pytest"),
        ({"setup.py": "", "tests/test_a.py": ""}, ("Python",), "python -m pytest"),
        ({"requirements.txt": "", "tox.ini": ""}, ("Python",), "tox"),
        ({"pyproject.toml": "not [ toml"}, ("Python",), ""),
        ({"package.json": '{"scripts": {"test": "jest"}}'}, ("Node",), "npm test"),
        ({"package.json": '{"scripts": {"test": "x"}}', "pnpm-lock.yaml": ""}, ("Node",),
         "pnpm test"),
        ({"package.json": '{"scripts": {"test": "echo \\"Error: no test specified\\""}}'},
         ("Node",), ""),
        ({"package.json": "[]"}, ("Node",), ""),
        ({"package.json": "[" * 100_000}, ("Node",), ""),
        ({"go.mod": "module x"}, ("Go",), "go test ./..."),
        ({"Cargo.toml": ""}, ("Rust",), "cargo test"),
        ({"pom.xml": ""}, ("Java",), "mvn -q test"),
        ({"build.gradle.kts": ""}, ("Java",), "./gradlew test"),
        ({"Gemfile": ""}, ("Ruby",), "bundle exec rake test"),
        ({"CMakeLists.txt": ""}, ("C or C++",), "ctest"),
        ({"Makefile": "all:\n\ntest: all\n\tgo test\n", "go.mod": ""}, ("Go",), "make test"),
        ({"Makefile": "test := 1\n", "go.mod": ""}, ("Go",), "go test ./..."),
        ({"package.json": "{}", "pyproject.toml": ""}, ("Python", "Node"), ""),
    ],
)  # fmt: skip
def test_language_and_tests(
    here: Path, files: dict[str, str], languages: tuple[str, ...], command: str
) -> None:
    for name, text in files.items():
        put(here, name, text=text)
    found = look_at(here)
    assert (found.languages, found.test_command) == (languages, command)


@pytest.mark.parametrize(
    ("files", "environments"),
    [
        (["Dockerfile"], ["Dockerfile"]),
        ([".devcontainer/devcontainer.json", "Dockerfile"],
         [".devcontainer/devcontainer.json", "Dockerfile"]),
        ([".devcontainer.json"], [".devcontainer.json"]),
        ([".devcontainer/a/devcontainer.json", ".devcontainer/b/devcontainer.json"],
         [".devcontainer/a/devcontainer.json", ".devcontainer/b/devcontainer.json"]),
        (["Containerfile", "docker/Dockerfile"], ["Containerfile", "docker/Dockerfile"]),
    ],
)  # fmt: skip
def test_containers(here: Path, files: list[str], environments: list[str]) -> None:
    put(here, *files, text='{"image": "a:1"}')
    found = look_at(here).environments
    assert [str(one.path) for one in found] == environments
    assert not any(one.problem for one in found)


def test_a_container_that_cannot_be_used_says_why(here: Path) -> None:
    put(here, ".devcontainer.json", text='{"image": "a",\n"features": {"x": {}}}')
    (found,) = look_at(here).environments
    assert f"{here / '.devcontainer.json'}:2: features: x are not installed here" in found.problem


@pytest.mark.parametrize("file", ["tasks/a/task.toml", "tasks/train/a/task.toml"])
def test_folders_of_tasks(here: Path, file: str) -> None:
    put(here, file)
    put(here, "evals/notes.txt")
    assert look_at(here).tasks == (Path("tasks"),)


def test_a_repository(here: Path) -> None:
    assert not look_at(here).history
    (here / ".git").mkdir()
    assert look_at(here).history


def test_programs_keys_and_logins_are_seen_and_not_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert vars(look_around()) == {"agents": (), "keys": (), "logins": ()}
    put(tmp_path / "bin", "claude", text="#!/bin/sh\n")
    (tmp_path / "bin/claude").chmod(0o755)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-4711")
    monkeypatch.setenv("ANTHROPIC_API_KEY", " ")
    (home / ".codex").mkdir()
    (home / ".codex/auth.json").symlink_to("/nowhere")  # To open it would fail.
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "secret-4711")
    found = look_around()
    assert (found.agents, found.keys) == (("claude-code",), ("OPENAI_API_KEY",))
    assert found.logins == ("codex", "claude-code")
    assert "4711" not in repr(found)
    assert [one.name for one in found.services] == ["openai"]
