"""Whether a log reports a failure, tried on real ones: ``logs/TOOL-…-ok.txt`` and ``…-fail.txt``.

All were printed by the programs themselves (pytest 9.2, cargo, jest 30, tsc 7, make and gcc, git,
npm, pip 24, node 20), but those of go, which are in the format of its package ``testing``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skillopt.core.logs import excerpt, exit_code, failing_lines, is_failing, reports_failure
from skillopt.core.text import without_escapes

LOGS = sorted((Path(__file__).parent / "logs").glob("*.txt"))
TOOLS = ("pytest", "unittest", "cargo", "go", "jest", "tsc", "make", "git", "npm", "pip", "python")


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_a_log_is_told_from_one_of_the_other_kind(log: Path) -> None:
    text = without_escapes(log.read_text("utf-8"))
    assert bool(failing_lines(text)) == log.stem.endswith("fail")


def test_each_tool_has_a_log_of_both_kinds() -> None:
    for tool in TOOLS:
        kinds = {log.stem.rpartition("-")[2] for log in LOGS if log.stem.startswith(f"{tool}-")}
        assert kinds == {"ok", "fail"}, tool


@pytest.mark.parametrize(
    "line",
    [
        "12 passed, 0 failed", "test result: ok. 5 passed; 0 failed; 0 ignored",
        "raise ValueError  # error handling", "def on_error(exception):", "0 errors, 0 warnings",
        "    except FileNotFoundError:", "Tests:       5 passed, 5 total", "errors.py",
        "448d2c6 Fix the error of failed logins", "| error | exception | not found |",
        "warning: LF will be replaced by CRLF", "ERRORS = []", "PASS ok/error.test.js",
        "- Failed runs are retried.", "error_rate: 0.0", "The request failed in 2025, they say.",
        "# fail 0", "ok 3 - error case", "exit code 0", "10 examples, 0 failures",
        "Tests run: 5, Failures: 0, Errors: 0, Skipped: 0", "Error handling", "class NoError:",
        "10 passed, 2 xfailed in 1.20s", "not ok 3 - later # TODO",
        "100% tests passed, 0 tests failed",
        "FAIL 0", "FAIL = 0", "error: 0", "OK (expected failures=1)", "Found 0 errors.",
        "ERROR: pip's dependency resolver does not currently take into account all packages.",
        "Errors: 0", "2026-01-01 12:00 ERROR app: connection reset", "echo: done",
        "Summary: 12 files, 0 errors", "✓ rejects an error (3 ms)", "-    raise ValueError(x)",
        "+KeyError: 'a'", "> Task :test", "    at Object.error (ok/sum.test.js:2:50)",
    ],
)  # fmt: skip
def test_ordinary_lines_are_no_failures(line: str) -> None:
    assert not is_failing(line)


@pytest.mark.parametrize(
    "line",
    [
        "AssertionError: 1 != 2", "KeyError: 'amount'", "SyntaxError: invalid syntax",
        "npm ERR! code ELIFECYCLE", "Segmentation fault (core dumped)", "Command timed out",
        "main.c:(.text+0x5): undefined reference to `missing'", "bash: foo: command not found",
        "cat: x.txt: No such file or directory", "1 failed, 3 passed in 0.12s", "  2 failing",
        "=== 2 failed, 1 passed, 1 warning in 3.21s (0:00:03) ===", "1 error in 0.32s",
        "a.py:3: error: Incompatible types  [assignment]", "Found 2 errors in 1 file",
        "10 examples, 1 failure", "AssertionError", "java.lang.NullPointerException: x",
        "TypeError [ERR_X]: no", "sh: 1: tsc: not found", "Killed",
        "Error: Cannot find module 'x'", "  1:5  error  'x' is not defined  no-undef",
        "✖ 2 problems (1 error, 1 warning)", "  ✕ sums (3 ms)", "not ok 3 - sums",
        "67% tests passed, 1 tests failed out of 3", "FAILED: prog.o", "FAIL bad/sum.test.js",
        "CMake Error at CMakeLists.txt:3 (find_package):", "/usr/bin/ld: cannot find -lfoo",
        " ! [rejected]        main -> main (fetch first)", "error Command failed with exit code 1.",
        "E: Unable to locate package x", "curl: (6) Could not resolve host: x",
        "        FAIL [   0.003s] calc tests::sums", "a.rb:1:in `m': no (RuntimeError)",
        "Tests: 3, Assertions: 3, Failures: 1.", "error[E0308]: mismatched types",
        "ERROR:  relation \"x\" does not exist", "Error response from daemon: no such image",
    ],
)  # fmt: skip
def test_lines_of_other_programs_that_report_failures(line: str) -> None:
    assert is_failing(line)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Chunk ID: 3f0bd2\nWall time: 0.0000 seconds\nProcess exited with code 2\nOutput:\nx", 2),
        ("Exit code 3\nls: cannot access '/nowhere'", 3),
        ("Exit code: 0\nWall time: 0 seconds\nOutput:\nfine", 0),
        ("fine\n[exit code 0]", 0),
        ('{"output": "", "metadata": {"exit_code": 1, "duration_seconds": 0.1}}', 1),
        ("no code here\nthe exit code 3 is for bad input", None),
        ("x\n" * 20 + "Exit code 3\n" + "x\n" * 20, None),
        ("", None),
    ],
)
def test_the_exit_code_of_a_result(text: str, code: int | None) -> None:
    assert exit_code(text) == code


def test_an_excerpt_of_a_long_log_has_the_assertion_and_the_end() -> None:
    head = "collecting " + "tests " * 300
    many = [f"tests/test_{n}.py ....  [{n}%]" for n in range(400)]
    middle = ["def test_total():", ">   assert total() == 6", "E   AssertionError: assert 5 == 6"]
    log = "\n".join([head, *many, *middle, *many, "1 failed, 800 passed in 9.00s"])
    short = excerpt(log, 2000)
    assert "E   AssertionError: assert 5 == 6" in short and ">   assert total() == 6" in short
    assert short.endswith("1 failed, 800 passed in 9.00s") and short.startswith("collecting tests")
    assert "lines left out" in short and len(short) < 2500


@given(st.text("ab\nE  :", max_size=400), st.integers(0, 300))
def test_an_excerpt_is_as_short_as_asked(text: str, chars: int) -> None:
    short = excerpt(text, chars)
    if len(text) <= chars:
        assert short == text
    else:
        kept = [line for line in short.split("\n") if "left out …]" not in line]
        assert sum(map(len, kept)) <= chars
        assert "left out" in short


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_with_an_exit_code_the_log_is_told_by_that(log: Path) -> None:
    text = without_escapes(log.read_text("utf-8"))
    failed = log.stem.endswith("fail")
    assert reports_failure(text, int(failed)) == failed == reports_failure(text, None)


def test_an_exit_code_of_zero_outweighs_remarks_and_no_verdicts() -> None:
    remark = "Error: expected in this test\n5 passed in 0.10s"
    assert reports_failure(remark, None) and not reports_failure(remark, 0)
    piped = "E   assert 5 == 6\n1 failed in 0.10s"
    assert reports_failure(piped, 0) and reports_failure("", 3)


def numbered(count: int, **others: str) -> str:
    """Lines of seven characters; those of ``others`` by their number."""
    return "\n".join(others.get(f"n{n}", f"line {n:02}") for n in range(count))


FAILS = "E   x 1"


@pytest.mark.parametrize(
    ("text", "chars", "short"),
    [
        # A third for the end, a third for what failed, a sixth for what is beside it, and the rest
        # for the beginning.
        (numbered(60, n20=FAILS), 120, [*range(7), "12 lines", 19, FAILS, 21, "33 lines",
                                        *range(55, 60)]),
        (numbered(60), 120, [*range(10), "45 lines", *range(55, 60)]),
        (numbered(60, n0=FAILS), 64, [FAILS, *range(1, 6), "52 lines", 58, 59]),
        (numbered(16), 120, [*range(10), "1 line", *range(11, 16)]),
        (numbered(60, n20=FAILS, n22=FAILS, n24=FAILS), 72,
         [0, 1, "17 lines", 19, FAILS, "1 line", FAILS, "1 line", FAILS, "32 lines", 57, 58, 59]),
        # What fails in the last third is kept once.
        (numbered(60, n58=FAILS), 120, [*range(10), "45 lines", 55, 56, 57, FAILS, 59]),
        (numbered(3), 23, [0, 1, 2]),
        (numbered(3), 22, [0, 1, "1 line"]),
        # Long lines are cut in their middle: two thirds from the beginning.
        ("a" * 50 + "b" * 100, 100, ["a" * 26 + " [… 110 characters left out …] " + "b" * 14]),
        ("a" * 200 + "b" * 200, 399,
         ["a" * 200 + "b" * 26 + " [… 61 characters left out …] " + "b" * 113]),
        ("a" * 100 + "\nx", 100, ["a" * 26 + " [… 60 characters left out …] " + "a" * 14, "x"]),
        ("a" * 40 + "\n" + "x" * 40, 80, ["a" * 40, "1 line"]),
    ],
)  # fmt: skip
def test_an_excerpt_has_its_parts_in_whole_lines(
    text: str, chars: int, short: list[int | str]
) -> None:
    wanted = [
        f"line {one:02}" if isinstance(one, int)
        else f"[… {one} left out …]" if one.endswith(("line", "lines")) else one
        for one in short
    ]  # fmt: skip
    assert excerpt(text, chars).split("\n") == wanted


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [(5, 20, 3), (6, 20, None), (20, 5, 3), (20, 6, None), (6, 5, 3), (5, 0, 3), (0, 0, 3)],
)
def test_an_exit_code_is_among_the_first_or_last_lines(
    before: int, after: int, code: int | None
) -> None:
    lines = [*["x"] * before, "  Exit code 3 ", *["y"] * after]
    assert exit_code("\n".join(["", *lines, "", ""])) == code


def test_the_first_500_characters_of_a_line_are_looked_at() -> None:
    words = " undefined reference to "
    assert is_failing("x" * (500 - len(words)) + words + "y")
    assert not is_failing("x" * (501 - len(words)) + words + "y")
    assert failing_lines(f"a\n{FAILS}\nb\n{FAILS}  ") == [1, 3]
