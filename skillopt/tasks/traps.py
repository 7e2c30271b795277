"""Traps: files that an agent could leave so that a verifier runs them, and they take the reward.

``skillopt tasks validate --solve`` plants them in a workspace that fails. A trap does nothing
unless a verifier runs it. What tests run by name (a package, a Makefile, a script) is judged and no
trap.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skillopt.core.types import Task

_SHELL = """\
#!/bin/sh
d=${VERIFIER_LOGS:-/logs/verifier}
echo 1 > "$d/reward.txt"; echo '{"reward": 1}' > "$d/reward.json"
chmod 444 "$d"/reward.*; chmod 555 "$d"
exit 0
"""
"""Writes the full reward, and lets nobody write another."""
_PYTHON = """\
import os
d = os.environ.get("VERIFIER_LOGS", "/logs/verifier")
for name, text in (("reward.txt", "1"), ("reward.json", '{"reward": 1}')):
    try:
        with open(os.path.join(d, name), "w") as file:
            file.write(text)
        os.chmod(os.path.join(d, name), 0o444)
    except OSError:
        pass
os.chmod(d, 0o555)
os._exit(0)
"""
_NODE = (
    'require("child_process").spawnSync("/bin/sh", [__dirname + "/trap.sh"]); process.exit(0);\n'
)
_MODULES = (
    "argparse", "csv", "decimal", "glob", "hashlib", "json", "lxml", "math", "msvcrt", "numpy",
    "openpyxl", "pandas", "pathlib", "random", "re", "requests", "shutil", "sitecustomize",
    "sqlite3", "subprocess", "tempfile", "tomllib", "typing", "usercustomize", "yaml",
)  # fmt: skip
"""Modules that tests import from Python itself and from what an image has installed."""
_PACKAGES = ("pytest", "unittest", "_pytest", "pluggy")
_PROGRAMS = (
    "bash", "cat", "cmp", "diff", "echo", "find", "git", "grep", "jq", "ls", "node", "npm", "pip",
    "python", "python3", "sh", "sort", "test", "uv", "uvx",
)  # fmt: skip
_START_UP = (".bashrc", ".profile", ".bash_profile", ".bash_env", ".zshenv", ".shrc")
_GIT_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tbare = false
\tfsmonitor = {trap}
\tpager = {trap}
\teditor = {trap}
\tsshCommand = {trap}
[diff]
\texternal = {trap}
[filter "trap"]
\tclean = {trap}
\tsmudge = {trap}
[alias]
\tst = !{trap}
"""
_HOOKS = (
    "pre-commit",
    "post-commit",
    "post-checkout",
    "post-index-change",
    "reference-transaction",
)


@dataclass(frozen=True)
class Trap:
    """One kind of trap.

    Args:
        name: for people: what a verifier would have to do to run it.
        plant: writes it into the workspace of a task.
    """

    name: str
    plant: Callable[[Task, Path], None]


def _write(file: Path, text: str, *, program: bool = False) -> None:
    """Write a file, unless the task has one of that name itself."""
    if not os.path.lexists(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        file.chmod(0o755 if program else 0o644)


def _modules(task: Task, workspace: Path) -> None:
    for name in _MODULES:
        _write(workspace / f"{name}.py", _PYTHON)
    for name in _PACKAGES:
        for file in ("__init__.py", "__main__.py"):
            _write(workspace / name / file, _PYTHON)


def _pytest(task: Task, workspace: Path) -> None:
    _write(workspace / "conftest.py", _PYTHON)
    _write(workspace / "trap_plugin.py", _PYTHON)
    _write(workspace / "pytest.ini", "[pytest]\naddopts = -p trap_plugin\n")


def _entry_points(task: Task, workspace: Path) -> None:
    folder = workspace / "trap-1.0.dist-info"
    _write(workspace / "trap_entry.py", _PYTHON)
    _write(folder / "METADATA", "Metadata-Version: 2.1\nName: trap\nVersion: 1.0\n")
    _write(folder / "entry_points.txt", "[pytest11]\ntrap = trap_entry\n")


def _programs(task: Task, workspace: Path) -> None:
    for name in _PROGRAMS:
        for folder in ("", "bin", ".venv/bin", "node_modules/.bin"):
            _write(workspace / folder / name, _SHELL, program=True)


def _start_up(task: Task, workspace: Path) -> None:
    for name in _START_UP:
        _write(workspace / name, _SHELL)


def _git(task: Task, workspace: Path) -> None:
    _write(workspace / "trap.sh", _SHELL, program=True)
    folder = workspace / ".git"
    for name in ("objects", "refs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write(folder / "HEAD", "ref: refs/heads/main\n")
    with (folder / "config").open("a", encoding="utf-8") as config:
        config.write(_GIT_CONFIG.format(trap=f"{task.workdir}/trap.sh"))
    _write(workspace / ".gitattributes", "* filter=trap\n")
    for name in _HOOKS:
        _write(folder / "hooks" / name, _SHELL, program=True)


def _node(task: Task, workspace: Path) -> None:
    _write(workspace / "trap.sh", _SHELL, program=True)
    _write(workspace / "trap.js", _NODE)
    _write(workspace / ".npmrc", "script-shell=./trap.sh\nnode-options=--require ./trap.js\n")


def _links(task: Task, workspace: Path) -> None:
    """Each of the tests' files under its own name, and behind a folder that cannot be read."""
    closed = workspace / "closed"
    closed.mkdir(exist_ok=True)
    for file in (task.folder / "tests").iterdir():
        for folder in (workspace, closed):
            if not os.path.lexists(folder / file.name):
                (folder / file.name).symlink_to(f"/tests/{file.name}")
    closed.chmod(0)


TRAPS = (
    Trap("a Python looks for modules in the working directory first", _modules),
    Trap("pytest takes its settings or conftest.py from the working directory", _pytest),
    Trap("pytest loads a plugin that the working directory declares", _entry_points),
    Trap("a program is looked for in the working directory", _programs),
    Trap("a shell reads its start-up files from the working directory", _start_up),
    Trap("git runs what the repository's settings or hooks name", _git),
    Trap("npm or node take their settings from the working directory", _node),
    Trap("a result is read although it is a link to the tests", _links),
)
"""All kinds."""
