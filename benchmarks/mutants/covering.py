"""Which fast tests run which lines, and how long each takes; and the coverage by branch.

Measured once for a state of the code and the tests, and kept below ``build/mutants``.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from coverage import Coverage, CoverageData

FAST = "not engine and not browser and not weights and not alone and not slow"
PACKAGES = ("skillopt", "harnesses", "sandboxes")
BUILD = Path("build/mutants")
_REMEMBERS = re.compile(r"^\s*@(functools\.)?(lru_)?cache\b", re.MULTILINE)
"""A function that remembers runs in the first test that needs it, and decides in the others too."""


def digest(paths: Iterable[Path]) -> str:
    """What some files hold, in twelve characters."""
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(f"{path}\0".encode() + path.read_bytes())
    return found.hexdigest()[:12]


class Covering:
    """What a run of the fast tests with coverage found.

    Args:
        tests: folders or files of tests.
    """

    def __init__(self, tests: Sequence[str]) -> None:
        code = [path for root in (*PACKAGES, "tests") for path in Path(root).rglob("*.py")]
        name = f"{digest(code)}-{hashlib.sha256(' '.join(tests).encode()).hexdigest()[:6]}"
        self.file, self._times = BUILD / f"{name}.coverage", BUILD / f"{name}.json"
        if not (self.file.exists() and self._times.exists()):
            self._measure(tests)
        self._data = CoverageData(str(self.file))
        self._data.read()
        found = json.loads(self._times.read_text())
        self.seconds: dict[str, float] = found["seconds"]
        self.failed: list[str] = found["failed"]
        """Tests that fail without any mutant, and so can notice none."""

    def _measure(self, tests: Sequence[str]) -> None:
        BUILD.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "COVERAGE_FILE": str(self.file),
            "TESTS_TIMING": str(self._times.resolve()),
            "PYTHONPATH": str(Path.cwd()),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.mutants.timing"]
        command += ["-m", FAST, "-n", os.environ.get("FAST_WORKERS", "3"), "--dist", "worksteal"]
        command += [f"--cov={package}" for package in PACKAGES]
        command += ["--cov-branch", "--cov-context=test", "--cov-report=", *tests]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode > 1:
            sys.exit(f"the tests cannot be run:\n{done.stdout[-3000:]}")

    def branches(self, module: Path) -> tuple[int, int]:
        """How many branches of a module the tests take, and how many there are."""
        numbers = self._coverage._analyze(str(module.resolve())).numbers
        return numbers.n_executed_branches, numbers.n_branches

    @cached_property
    def _coverage(self) -> Coverage:
        found = Coverage(data_file=str(self.file), branch=True)
        found.load()
        return found

    def tests(self, module: Path, source: str) -> dict[int, list[str]]:
        """By line of a module: the tests that run the statement there, quick ones first.

        What runs when the module is imported is seen by every test that runs any of its lines.
        """
        by_line: dict[int, set[str]] = defaultdict(set)
        failed = set(self.failed)
        for line, contexts in self._data.contexts_by_lineno(str(module.resolve())).items():
            by_line[line] = {one.rpartition("|")[0] for one in contexts if one} - failed
        whole = {test for tests in by_line.values() for test in tests}
        found = {}
        for line, (first, last) in statements(source).items():
            own = {test for at in range(first, last + 1) for test in by_line[at]}
            found[line] = self._quick_first(own or whole)
            if own and _REMEMBERS.search(source):
                found[line] += self._quick_first(whole - own)
            if not own and not self._imported(module, first, last):
                found[line] = []
        return found

    def _quick_first(self, tests: Iterable[str]) -> list[str]:
        return sorted(tests, key=lambda test: self.seconds.get(test, 0.0))

    def _imported(self, module: Path, first: int, last: int) -> bool:
        contexts = self._data.contexts_by_lineno(str(module.resolve()))
        return any("" in contexts.get(line, ()) for line in range(first, last + 1))


def statements(source: str) -> dict[int, tuple[int, int]]:
    """By line: the lines of the innermost statement that is there, without its body."""
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(ast.parse(source)):  # Outer ones come first.
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            body = getattr(node, "body", None)
            last = node.end_lineno or node.lineno
            if isinstance(body, list) and body:
                last = max(node.lineno, body[0].lineno - 1)
            for line in range(node.lineno, last + 1):
                found[line] = (node.lineno, last)
    return found
