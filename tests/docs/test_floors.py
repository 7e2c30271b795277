"""The floors of docs/design.md hold, and a single import that breaks them is noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # 'make lint' looks at them too.
ROOT = Path(__file__).parents[2]
PACKAGES = ("skillopt", "harnesses", "sandboxes")
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("floors")
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.md", "*.js")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--config", "pyproject.toml", "--no-cache"],
        cwd=folder, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(folder)},
    )  # fmt: skip


def test_the_floors_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0 and "0 broken" in done.stdout, done.stdout


TYPE_ONLY = "\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from {} import {}\n"


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("skillopt/core/text.py", "\nfrom skillopt.config import prices\n", "floors of skillopt"),
        (
            "skillopt/run/state.py",
            TYPE_ONLY.format("skillopt.training.context", "Training"),
            "floors of skillopt",
        ),
        (
            "skillopt/gates/strict.py",
            TYPE_ONLY.format("skillopt.optimizer.briefing", "Briefing"),
            "floors of skillopt",
        ),
        (
            "harnesses/gateway/session.py",
            TYPE_ONLY.format("harnesses.harness", "RolloutSite"),
            "floors of harnesses",
        ),
        ("sandboxes/trees.py", "\ndef f():\n    import sandboxes.docker\n", "floors of sandboxes"),
        (
            "sandboxes/access.py",
            TYPE_ONLY.format("harnesses.base", "Request"),
            "never the other way",
        ),
    ],
)
def test_an_import_upward_is_noticed_for_types_too(
    copy: Path, file: str, line: str, broken: str
) -> None:
    target = copy / file
    before = target.read_text()
    try:
        target.write_text(before + line)
        done = lint(copy)
    finally:
        target.write_text(before)
    assert done.returncode == 1, done.stdout
    assert any(broken in row and row.endswith("BROKEN") for row in done.stdout.splitlines())
