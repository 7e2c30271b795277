"""Tries mutants, each in a process of its own with the tests that run its line.

A worker loads a copy of the project and the tests of a module once, then forks for each mutant. In
the fork the code of the functions that the mutant changes is exchanged, which takes no time. What
that cannot show (a changed constant, a class) is tried in a new process, with the mutant written
into the copy; so is what that may not notice (a function that was called when its module was
imported, a program that a test starts), if asked for.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import _lru_cache_wrapper
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from benchmarks.mutants.covering import PACKAGES
from benchmarks.mutants.operators import Mutant

_OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:pytest_cov")
_COPIED = (*PACKAGES, "tests", "benchmarks", "configs", "dockerfiles", "docs", "pyproject.toml")
_COPIED_TOO = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "LICENSE")
_LONGEST_S = 25.0
"""How long the tests of one mutant may take together, as measured; quick ones go first."""
_FUNCTION = 1
"""``CO_OPTIMIZED``: a function's code, not that of a class or a module."""


@dataclass(frozen=True)
class Tried:
    """What came of a mutant.

    Args:
        mutant: which one.
        outcome: ``killed``, ``survived``, ``timeout``, or ``no test`` if none runs its line.
        tests: how many of them were chosen.
    """

    mutant: Mutant
    outcome: str
    tests: int = 0


def copy_of_project(folder: Path) -> Path:
    """A copy that mutants can be written into."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "mutants")
    for name in (*_COPIED, *_COPIED_TOO):
        source = Path(name)
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored, symlinks=True)
        else:
            shutil.copy(source, folder / name)
    return folder


class Worker:
    """Tries the mutants of one module, one after another.

    Args:
        copy: the worker's own copy of the project, which becomes its folder.
        module: the module's path in it.
        tests: by line, the tests that run it, quick ones first.
        seconds: how long each test takes.
        sure: try each survivor once more in a new process.
    """

    def __init__(
        self,
        copy: Path,
        module: Path,
        tests: dict[int, list[str]],
        seconds: dict[str, float],
        sure: bool = False,
    ) -> None:
        self._sure = sure
        self._copy, self._module, self._tests, self._seconds = copy, module, tests, seconds
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        os.environ["PYTHONPATH"] = str(copy)
        self._original = module.read_text()
        self._code = compile(self._original, str(copy / module), "exec", dont_inherit=True)
        chosen = {test for line in tests for test in self._chosen(line)}
        files = sorted({test.partition("::")[0] for test in chosen})
        with _silent():
            pytest.main(["--collect-only", "-qq", *_OPTIONS, *files])
        gc.unfreeze()  # What is frozen is not listed.
        self._functions: dict[tuple[str, int], list[FunctionType]] = {}
        for one in gc.get_objects():
            if isinstance(one, FunctionType) and one.__code__.co_filename == str(copy / module):
                key = one.__code__.co_qualname, one.__code__.co_firstlineno
                self._functions.setdefault(key, []).append(one)
        remembering = (one for one in gc.get_objects() if isinstance(one, _lru_cache_wrapper))
        self._caches = [
            one for one in remembering if str(one.__module__).startswith((*PACKAGES, "tests"))
        ]
        gc.collect()
        gc.freeze()

    def _chosen(self, line: int) -> list[str]:
        chosen: list[str] = []
        whole = 0.0
        for test in self._tests.get(line, ()):
            whole += self._seconds.get(test, 0.0)
            if chosen and whole > _LONGEST_S:
                break
            chosen.append(test)
        return chosen

    def tried(self, mutant: Mutant) -> Tried | None:
        """What comes of a mutant; None if it is none."""
        source = mutant.source(self._original)
        if source is None:
            return None
        tests = self._chosen(mutant.line)
        if not tests:
            return Tried(mutant, "no test")
        longest = 4 + 4 * sum(self._seconds.get(test, 0.0) for test in tests)
        outcome = "survived"
        changes = self._changes(source)
        if changes:
            outcome = _outcome(lambda: self._exchange_and_run(changes, tests), longest)
        if outcome == "survived" and (self._sure or not changes):
            with self._written(source):
                outcome = _outcome(lambda: self._run_anew(tests), longest + 10)
        return Tried(mutant, outcome, len(tests))

    def _changes(self, source: str) -> list[tuple[FunctionType, CodeType]]:
        """Which functions get which code; none if that is not all that the mutant changes."""
        mutated = compile(source, str(self._copy / self._module), "exec", dont_inherit=True)
        pairs = list(_changed(self._code, mutated))
        found = []
        for old, new in pairs:
            functions = self._functions.get((old.co_qualname, old.co_firstlineno), [])
            if old.co_flags & _FUNCTION == 0 or not functions:
                return []
            if old.co_freevars != new.co_freevars:
                return []
            found += [(function, new) for function in functions]
        return found

    def _exchange_and_run(
        self, changes: Sequence[tuple[FunctionType, CodeType]], tests: Sequence[str]
    ) -> int:
        for cache in self._caches:  # What was found while the tests were loaded is of the original.
            cache.cache_clear()
        for function, code in changes:
            function.__code__ = code
        return self._run(tests)

    def _run(self, tests: Sequence[str]) -> int:
        scratch = self._copy / ".scratch"
        return int(pytest.main([*_OPTIONS, f"--basetemp={scratch}", *tests]))

    def _run_anew(self, tests: Sequence[str]) -> int:
        scratch = self._copy / ".scratch"
        program = [sys.executable, "-m", "pytest", *_OPTIONS, f"--basetemp={scratch}", *tests]
        os.execv(sys.executable, program)

    @contextlib.contextmanager
    def _written(self, source: str) -> Iterator[None]:
        """Compiled files are told by the second they were written in: they must go."""
        compiled = self._module.parent / "__pycache__"

        def write(text: str) -> None:
            self._module.write_text(text)
            for path in compiled.glob(f"{self._module.stem}.*.pyc"):
                path.unlink()

        write(source)
        try:
            yield
        finally:
            write(self._original)


def _changed(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    """The outermost pairs of functions, classes and modules that differ in more than what is
    within them."""
    if old == new:
        return
    inner = [
        [const for const in code.co_consts if isinstance(const, CodeType)] for code in (old, new)
    ]
    alike = len(inner[0]) == len(inner[1]) and all(
        a.co_qualname == b.co_qualname for a, b in zip(*inner, strict=True)
    )
    if old.co_flags & _FUNCTION or not alike or _shell(old) != _shell(new):
        yield old, new
        return
    for a, b in zip(*inner, strict=True):
        yield from _changed(a, b)


def _shell(code: CodeType) -> tuple[object, ...]:
    rest = tuple(repr(const) for const in code.co_consts if not isinstance(const, CodeType))
    return code.co_code, rest, code.co_names, code.co_varnames


def _outcome(run: Callable[[], int], longest_s: float) -> str:
    """What pytest says in a fork that is ended, with all that it started, after some time."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.setsid()
            _hush()
            code = run()
        finally:
            os._exit(code)
    end, status = time.monotonic() + longest_s, None
    pause = 0.005
    while time.monotonic() < end:
        done, found = os.waitpid(child, os.WNOHANG)
        if done:
            status = found
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
        return "timeout"
    return "survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"


def _hush() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    kept = os.dup(1), os.dup(2)
    _hush()
    try:
        yield
    finally:
        for descriptor, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)


def share(
    job: tuple[Path, Path, dict[int, list[str]], dict[str, float], bool, list[Mutant]],
) -> dict[str, Any]:
    """What comes of some mutants of a module, by name, as JSON has it; for a process of its own."""
    copy, module, tests, seconds, sure, mutants = job
    worker = Worker(copy, module, tests, seconds, sure)
    found = {}
    for mutant in mutants:
        tried = worker.tried(mutant)
        found[mutant.name] = asdict(tried) if tried else None
    return found
