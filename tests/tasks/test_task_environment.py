"""Which Dockerfiles need no image, and what the first workspace of such a task holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harnesses.agents.registry import CLI_AGENTS, agent_kind
from sandboxes.base import SandboxError
from sandboxes.local_backend import LocalBackend
from skillopt.core.types import Task
from skillopt.tasks.dockerfile import final_workdir, read_simple
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task


@pytest.mark.parametrize(
    "text",
    [
        "FROM a:1\nWORKDIR /app\nCOPY files/ /app/",
        "# a comment\n\nfrom a:1\nworkdir /\nworkdir app\ncopy x y.txt sub/\n",
        "FROM a:1\nWORKDIR /app\nCOPY . .",
        "FROM a:1",
    ],
)
def test_simple_dockerfiles(text: str) -> None:
    simple = read_simple(text, "/app")
    assert simple is not None
    assert simple.image == "a:1"


@pytest.mark.parametrize(
    "line",
    [
        "RUN true",
        "COPY --chown=1:1 a b",
        "COPY a* /app/",
        "COPY $A /app/",
        'COPY ["a", "b"]',
        "COPY a \\\n b",
        "COPY <<EOF /app/a",
        "COPY a /etc/a",
        "COPY ../a /app/",
        "COPY a /apple/",
        "FROM b:2",
        "ENV A=1",
        "USER agent",
    ],
)
def test_dockerfiles_that_have_to_be_built(line: str) -> None:
    assert read_simple(f"FROM a:1\nWORKDIR /app\n{line}\n", "/app") is None


def test_parser_directives_and_stages_are_the_builders() -> None:
    assert read_simple("# syntax=docker/dockerfile:1\nFROM a:1", "/app") is None
    assert read_simple("FROM a:1 AS base", "/app") is None
    assert read_simple("WORKDIR /app", "/app") is None


def test_the_last_stage_decides_the_working_directory() -> None:
    assert final_workdir("FROM a\nWORKDIR /x\nFROM b\nWORKDIR /y\nWORKDIR z\n") == "/y/z"
    assert final_workdir("FROM a\nWORKDIR /x\nFROM b\n") is None


@pytest.fixture
def task(tasks: list[Path]) -> Task:
    return read_task(tasks[0])


def with_environment(task: Task, folder: Path, dockerfile: str) -> Task:
    context = folder / "task" / "environment"
    (context / "files" / "deep").mkdir(parents=True)
    (context / "files" / "a.txt").write_text("a")
    (context / "files" / "deep" / "b.sh").write_text("b")
    (context / "files" / "deep" / "b.sh").chmod(0o755)
    (context / "Dockerfile").write_text(dockerfile)
    return replace(task, folder=folder / "task", workdir="/app")


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        ("COPY files/ /app/", ["a.txt", "deep/b.sh"]),
        ("COPY files .", ["a.txt", "deep/b.sh"]),
        ("COPY files/deep sub", ["sub/b.sh"]),
        ("COPY files/a.txt /app", ["a.txt"]),
        ("COPY files/a.txt /app/new.txt", ["new.txt"]),
        ("COPY files/a.txt files/deep/b.sh in/", ["in/a.txt", "in/b.sh"]),
        ("", []),
    ],
)
def test_copied_files_become_the_workspace(
    task: Task, tmp_path: Path, copies: str, expected: list[str]
) -> None:
    task = with_environment(task, tmp_path, f"FROM x/y:1\nWORKDIR /app\n{copies}\n")
    target = tmp_path / "workspace"
    assert Environments(LocalBackend()).prepare(task, target) == "x/y:1"
    assert tree(target) == expected
    for script in target.rglob("b.sh"):
        assert script.stat().st_mode & 0o100


def test_other_tasks_need_an_engine(task: Task, tmp_path: Path) -> None:
    task = with_environment(task, tmp_path, "FROM x/y:1\nRUN make\n")
    with pytest.raises(SandboxError, match="needs a container image of its own"):
        Environments(LocalBackend()).prepare(task, tmp_path / "workspace")


def test_a_quickstart_task(task: Task, tmp_path: Path) -> None:
    target = tmp_path / "workspace"
    assert Environments(LocalBackend()).prepare(task, target) == "skillopt/agent-base:1"
    assert tree(target) == tree(task.folder / "environment" / "files")


@pytest.mark.parametrize("agent", CLI_AGENTS)
def test_skills_of_the_task_are_left_out_wherever_an_agent_looks(
    agent: str, tmp_path: Path
) -> None:
    places = agent_kind(agent).folders.project
    for name, text in {
        "task.toml": "",
        "instruction.md": "x",
        "environment/Dockerfile": "FROM skillopt/agent-base:1\nWORKDIR /app\nCOPY files /app/\n",
        "environment/files/kept.txt": "kept",
        "tests/test.sh": "x",
        **{f"environment/files/{place}/mine/SKILL.md": "x" for place in places},
    }.items():
        (tmp_path / "task" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "task" / name).write_text(text)
    target = tmp_path / "workspace"
    Environments(LocalBackend()).prepare(read_task(tmp_path / "task"), target)
    assert (target / "kept.txt").read_text() == "kept"
    assert not [place for place in places if (target / place).exists()]
