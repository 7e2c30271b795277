"""Traps, as they lie in a workspace: what they would do, and what of a task's own they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from skillopt.core.types import Task
from skillopt.tasks.traps import TRAPS
from tests.helpers.values import a_task


def planted(kind: str, workspace: Path, task: Task | None = None) -> dict[str, int]:
    """Plant a kind of traps; the files that are there then, with their modes."""
    workspace.mkdir(exist_ok=True)
    (trap,) = [trap for trap in TRAPS if kind in trap.name]
    trap.plant(task or a_task(), workspace)
    return {
        path.relative_to(workspace).as_posix(): path.stat().st_mode & 0o777
        for path in workspace.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_modules_that_tests_import_lie_where_python_looks_first(tmp_path: Path) -> None:
    found = planted("a Python looks", tmp_path / "w")
    assert {"json.py", "sitecustomize.py", "pytest/__init__.py", "pluggy/__main__.py"} <= {*found}
    assert set(found.values()) == {0o644} and len(found) == 25 + 2 * 4


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("pytest takes", {"conftest.py": 0o644, "trap_plugin.py": 0o644, "pytest.ini": 0o644}),
        ("pytest loads", {"trap_entry.py": 0o644, "trap-1.0.dist-info/METADATA": 0o644,
                          "trap-1.0.dist-info/entry_points.txt": 0o644}),
        ("start-up files", dict.fromkeys((".bashrc", ".profile", ".bash_profile", ".bash_env",
                                          ".zshenv", ".shrc"), 0o644)),
        ("npm or node", {"trap.sh": 0o755, "trap.js": 0o644, ".npmrc": 0o644}),
    ],
)  # fmt: skip
def test_each_kind_has_its_files(kind: str, files: dict[str, int], tmp_path: Path) -> None:
    assert planted(kind, tmp_path / "w") == files


def test_programs_lie_wherever_a_path_may_lead(tmp_path: Path) -> None:
    found = planted("a program is", tmp_path / "w")
    for folder in ("", "bin/", ".venv/bin/", "node_modules/.bin/"):
        assert found[f"{folder}python3"] == found[f"{folder}cat"] == 0o755
    assert len(found) == 4 * 20 and set(found.values()) == {0o755}


def test_a_repository_has_settings_and_hooks(tmp_path: Path) -> None:
    (tmp_path / "w" / ".git").mkdir(parents=True)
    (tmp_path / "w" / ".git" / "config").write_text("[core]\n\tbare = true\n")
    found = planted("git runs", tmp_path / "w")
    assert found["trap.sh"] == found[".git/hooks/pre-commit"] == 0o755
    assert found[".git/HEAD"] == found[".gitattributes"] == 0o644
    assert (tmp_path / "w" / ".git" / "objects").is_dir()
    assert (tmp_path / "w" / ".git" / "refs").is_dir()
    config = (tmp_path / "w" / ".git" / "config").read_text()
    assert config.startswith("[core]\n\tbare = true\n[core]\n") and "{trap}" not in config
    assert "\tfsmonitor = /work/trap.sh\n" in config and "\tst = !/work/trap.sh\n" in config
    planted("git runs", tmp_path / "w")


def test_what_a_task_has_itself_stays(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    workspace.mkdir()
    (workspace / "conftest.py").write_text("mine")
    (workspace / "pytest.ini").symlink_to("nowhere")
    planted("pytest takes", workspace)
    assert (workspace / "conftest.py").read_text() == "mine"
    assert (workspace / "pytest.ini").is_symlink() and (workspace / "trap_plugin.py").is_file()
    assert not (workspace / "nowhere").exists()


def test_the_tests_files_are_linked_under_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "task" / "tests").mkdir(parents=True)
    for name in ("a.txt", "b.txt"):
        (tmp_path / "task" / "tests" / name).touch()
    workspace = tmp_path / "w"
    workspace.mkdir()
    (workspace / "b.txt").write_text("mine")
    task = replace(a_task(), folder=tmp_path / "task")
    for _ in range(2):
        planted("a link to the tests", workspace, task)
        assert (workspace / "closed").stat().st_mode & 0o777 == 0
        (workspace / "closed").chmod(0o700)
    assert (workspace / "b.txt").read_text() == "mine"
    links = [workspace / "a.txt", workspace / "closed" / "a.txt", workspace / "closed" / "b.txt"]
    assert [os.readlink(link) for link in links] == ["/tests/a.txt", "/tests/a.txt", "/tests/b.txt"]
    assert sorted(workspace.rglob("*")) == sorted([*links, workspace / "b.txt", links[1].parent])


@pytest.mark.parametrize(
    ("kind", "name", "program"),
    [("start-up files", ".bashrc", "/bin/sh"), ("a Python looks", "json.py", sys.executable)],
)
def test_a_trap_that_is_run_takes_the_reward(
    kind: str, name: str, program: str, tmp_path: Path
) -> None:
    planted(kind, tmp_path / "w")
    logs = tmp_path / "logs"
    logs.mkdir()
    command = [program, *(["-S"] if program != "/bin/sh" else []), str(tmp_path / "w" / name)]
    done = subprocess.run(command, env={"VERIFIER_LOGS": str(logs), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0 and (logs / "reward.txt").read_text().strip() == "1"
    assert json.loads((logs / "reward.json").read_text()) == {"reward": 1}
    assert logs.stat().st_mode & 0o777 == 0o555
    logs.chmod(0o755)
