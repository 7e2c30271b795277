"""What every module of tests keeps to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.documents import ROOT

MODULES = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """The modules of tests that one imports, also within functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}:{node.lineno}: give the whole path"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_test_imports_from_another_test() -> None:
    """What more than one module of tests needs belongs into tests/helpers."""
    found = {
        f"{name_of(path)}: {name}"
        for path in MODULES
        for name in imported(path)
        if name.startswith("tests.")
        if any(part.startswith("test_") or part == "conftest" for part in name.split("."))
    }
    assert not found
