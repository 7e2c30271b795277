"""A function in a process of its own: how it is started, and what its end is taken for."""

from __future__ import annotations

import io
import json
import resource
import signal
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from skillopt.tasks.benchmarks.limited import LimitError, limited, main
from skillopt.tasks.rewards import VerifierError


def doubled(given: Any) -> Any:
    return [given, given]


def greedy(given: Any) -> Any:
    raise MemoryError


class Started:
    """What is started, and how it ends."""

    def __init__(self, code: int = 0, out: bytes = b"[1]\n", err: bytes = b"") -> None:
        self.end = SimpleNamespace(returncode=code, stdout=out, stderr=err)
        self.argv: list[str] = []
        self.options: dict[str, Any] = {}

    def __call__(self, argv: list[str], **options: Any) -> Any:
        self.argv, self.options = argv, options
        return self.end


def starting(monkeypatch: pytest.MonkeyPatch, run: Any) -> Any:
    monkeypatch.setattr(subprocess, "run", run)
    return run


def test_a_function_is_called_by_its_name_in_a_process_without_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    started = starting(monkeypatch, Started())
    assert limited(doubled, {"a": "\u00fc"}, memory_mb=7, seconds=3) == [1]
    name = f"{__name__}:doubled"
    assert started.argv == [
        sys.executable, "-P", "-m", "skillopt.tasks.benchmarks.limited", name, "7", "3",
    ]  # fmt: skip
    options = started.options
    assert json.loads(options["input"]) == {"a": "\u00fc"}
    assert options["timeout"] == 12 and options["capture_output"] and not options["check"]
    assert options["env"]["OMP_NUM_THREADS"] == options["env"]["OPENBLAS_NUM_THREADS"] == "1"
    assert "OPENAI_API_KEY" not in options["env"]
    limited(doubled, 1)
    assert started.argv[-2:] == ["3072", "180"] and options["timeout"] < 720


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-signal.SIGXCPU, "took more than 3 s of work"),
        (75, "took more than 7 MB of memory"),
        (-signal.SIGSEGV, "took more than 7 MB of memory"),
        (-signal.SIGABRT, "took more than 7 MB of memory"),
    ],
)
def test_an_end_by_a_limit_is_told(code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    starting(monkeypatch, Started(code))
    with pytest.raises(LimitError, match=said):
        limited(doubled, 1, memory_mb=7, seconds=3)


@pytest.mark.parametrize(
    ("code", "err", "said"),
    [
        (1, b"first\nValueError: odd\xff\n\n", "doubled ended with 1: ValueError: odd\ufffd$"),
        (-9, b"", "doubled ended with -9: $"),
        (74, b"x", "ended with 74: x$"),
    ],
)
def test_any_other_end_is_a_failure(
    code: int, err: bytes, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting(monkeypatch, Started(code, err=err))
    with pytest.raises(VerifierError, match=said):
        limited(doubled, 1)


def test_a_process_that_sleeps_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: list[str], **options: Any) -> Any:
        raise subprocess.TimeoutExpired(argv, options["timeout"])

    starting(monkeypatch, run)
    with pytest.raises(LimitError, match=r"took more than 12 s$"):
        limited(doubled, 1, seconds=3)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """The limits that are set, which this process does not get."""
    found: dict[int, Any] = {}
    monkeypatch.setattr(resource, "setrlimit", found.__setitem__)
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"a": 1}'))
    return found


def test_the_process_limits_itself_and_prints_the_result(
    limits: dict[int, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(f"{__name__}:doubled", 7, 3) == 0
    assert json.loads(capsys.readouterr().out) == [{"a": 1}, {"a": 1}]
    memory = 7 * 1024 * 1024
    assert limits == {resource.RLIMIT_CPU: (3, 8), resource.RLIMIT_AS: (memory, memory)}


def test_what_takes_more_memory_ends_by_its_own_code(
    limits: dict[int, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(f"{__name__}:greedy", 7, 3) == 75
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_a_system_that_cannot_limit_runs_it_all_the_same(
    error: type[Exception], limits: dict[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(kind: int, limit: Any) -> None:
        raise error

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert main(f"{__name__}:doubled", 7, 3) == 0
