"""Logs of commands: whether one reports a failure, which of its lines do, and excerpts of it.

Formats are those that the programs print today; ``tests/core/logs`` has their logs, passing and
failing. A line counts only as the program writes it, at its place in the line, so that words such
as "error" in source code, names of tests and counts of zero do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_VERDICTS = (
    # Counts and verdicts of test runners.
    r"=*\s*(?:\d+ \w+, )*[1-9]\d* (?:failed|errors?)\b.* in [\d.]+ ?m?s\b.*",  # pytest
    r"(?:FAILED|ERROR) \S+.*",
    r"\S+::\S.* (?:FAILED|ERROR)\b.*",
    r"E   +\S.*",
    r"(?:FAIL|ERROR): \w+ \(.*\)",  # unittest
    r"FAILED \((?:failures|errors)=.*",
    r"test result: FAILED.*",  # cargo
    r"test \S+ \.\.\. FAILED",
    r"\s*FAIL \[ *[\d.]+s\] .*",
    r"thread '.*' .*panicked at .*",
    r"\s*--- FAIL: .*",  # go
    r"FAIL(?![:\w]|\s*=?\s*0\b).*",  # go, jest
    r"panic: .*",
    r"\S+\.go:\d+:\d+: .*",
    r"(?:Tests|Test Suites): +(?:\d+ \w+, )*[1-9]\d* failed.*",  # jest
    r"\s*[✕✗✘×] .*",
    r"\s*(?:Tests|Test Files) +[1-9]\d* failed.*",  # vitest
    r"\s*[1-9]\d* failing\b.*",  # mocha
    r"\s*not ok \d+(?!.*# (?i:todo|skip)).*",  # TAP
    r"[#ℹ] fail [1-9]\d*",  # node --test
    r".*\b\d+ examples?, [1-9]\d* failures?.*",  # rspec
    r"Failed! +- Failed: .*",  # dotnet
    r"Tests: \d+, Assertions: \d+.*, (?:Failures|Errors): [1-9].*",  # phpunit
    r"Tests run: .*(?:Failures|Errors): [1-9].*",  # junit
    r"\d+% tests passed, [1-9]\d* tests? failed.*",  # ctest
    # Compilers, linters and builds.
    r"\S+\(\d+,\d+\): error TS\d+: .*",  # tsc
    r"\S+:\d+:\d+ - error TS\d+: .*",
    r"\S+:\d+(?::\d+)?: (?:fatal )?error: .*",  # gcc, clang, mypy
    r"error\[E\d+\]: .*",  # rustc
    r".*undefined reference to .*",
    r"collect2: error: .*",
    r"\S*ld: (?:cannot find|error:) .*",
    r"make(?:\[\d+\])?: \*\*\* .*",
    r"ninja: build stopped.*",
    r"CMake Error\b.*",
    r"(?:BUILD FAILURE|BUILD FAILED|FAILURE: |FAILED: ).*",
    r"Found [1-9]\d* errors?\b.*",  # ruff, tsc, mypy
    r"✖ [1-9]\d* problems? \([1-9]\d* errors?.*",  # eslint
    r"\s*\d+:\d+\s+error\s+\S.*",
    # Package managers and version control.
    r"fatal: .*",  # git
    r"CONFLICT \(.*",
    r"\s*! \[(?:remote )?rejected\] .*",
    r"npm (?:ERR!|error\b).*",
    r"error Command failed with exit code \d+\.?",  # yarn
    r"\s*ELIFECYCLE\b.*",  # pnpm
    # Programs that ended by an exception or a signal.
    r"Traceback \(most recent call last\):.*",
    r"Exception in thread .*",
    r"\S+:\d+:in .*\((?:\w+::)*\w*Error\)",
    r".*\b(?:Segmentation fault|core dumped|Out of memory)\b.*",
    r"(?:Killed|Terminated|Aborted|Bus error)\b.*",
    r"\S+: (?:.*: )?command not found",
    r".*\b(?i:command|process|request|connection|test|operation) (?:has )?timed out\b.*",
    r"<tool_use_error>.*",
)  # fmt: skip
"""Lines that say that something has failed as a whole."""
_REMARKS = (
    r"FAIL: \S+.*",
    r"(?i:error): (?!0$|none$|null$|false$|pip's dependency resolver).*",  # git, cargo, pip, node
    r"Error \[\w+\]: .*",
    r"Error in .*",  # R
    r"Error response from daemon: .*",
    r"E: .*",  # apt
    r"curl: \(\d+\) .*",
    r"\[ERROR\] .*",  # maven
    r"go: .*\b(?:errors?|not found|cannot)\b.*",
    r".* which is not installed\.",
    r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)(?:: .*| \[\w+\]: .*|:?)",
    r"\S+:\d+: [A-Z]\w*(?:Error|Exception)",
    r"Uncaught .*",
    r"\S+: (?:.*: )?(?:No such file or directory|Permission denied|Is a directory|Not a directory"
    r"|cannot access .*|not found)",
)
"""Lines of a program that has met a failure, and may have gone on in spite of it."""
_FAILED = re.compile("|".join(f"(?:{each})" for each in _VERDICTS))
_FAILING = re.compile("|".join(f"(?:{each})" for each in (*_VERDICTS, *_REMARKS)))
_EXIT = re.compile(
    r"\[exit code (\d+)\]"  # direct chat
    r"|(?:Process exited with code|Exit code:?|Error: Exit code) (\d+)"  # Codex, Claude Code
    r"|exit status (\d+)"
    r'|.*"exit_code": ?(\d+).*'
)
_ENDS = 6
"""Lines at either end of a result among which its exit code stands."""
_LINE_CHARS = 500
"""Characters of a line that are looked at."""
_CONTEXT = 1
"""Lines beside a failing one that are kept with it."""


def exit_code(text: str) -> int | None:
    """The exit code that a tool's result gives; None if it gives none."""
    lines = text.strip("\n").split("\n")
    for line in [*lines[:_ENDS], *lines[max(_ENDS, len(lines) - _ENDS) :]]:
        if match := _EXIT.fullmatch(line.strip()[:_LINE_CHARS]):
            return int(next(group for group in match.groups() if group is not None))
    return None


def failing_lines(text: str) -> list[int]:
    """The numbers, from 0, of the lines that report a failure."""
    return [number for number, line in enumerate(text.split("\n")) if is_failing(line)]


def is_failing(line: str) -> bool:
    """Whether a line reports a failure in the form of a known program."""
    return _FAILING.fullmatch(_start_of(line)) is not None


def reports_failure(text: str, code: int | None) -> bool:
    """Whether a command has failed, by its exit code or its output.

    A pipe may hide an exit code, so a verdict in the output counts with an exit code of 0 too; but
    not a remark, as programs go on after errors that they have met and expected.

    Args:
        text: the output.
        code: the exit code; None if it is not known.
    """
    if code:
        return True
    format = _FAILING if code is None else _FAILED
    return any(format.fullmatch(_start_of(line)) for line in text.split("\n"))


def _start_of(line: str) -> str:
    return line.rstrip()[:_LINE_CHARS]


def excerpt(text: str, chars: int) -> str:
    """About ``chars`` characters of a log, in whole lines as far as they fit: its end first, then
    the lines that report failures with those beside them, then its beginning. Notes say how much
    is left out. A text that fits is returned as it is."""
    if len(text) <= chars:
        return text
    lines = text.split("\n")
    most = max(chars // 3 if len(lines) > 1 else chars - 60, 40)
    short = [_clipped(line, most) for line in lines]
    room, kept = chars, set[int]()

    def keep(numbers: Iterator[int], share: int) -> None:
        nonlocal room
        left = min(share, room)
        for number in numbers:
            if number in kept:
                continue
            left -= len(short[number]) + 1
            if left < 0:
                return
            kept.add(number)
            room -= len(short[number]) + 1

    failing = [n for n, line in enumerate(lines) if is_failing(line)]
    keep(reversed(range(len(lines))), chars // 3)
    keep(iter(failing), chars // 3)
    keep(_beside(failing, len(lines)), chars // 6)
    keep(iter(range(len(lines))), room)
    return "\n".join(_with_gaps(short, kept))


def _beside(numbers: list[int], end: int) -> Iterator[int]:
    for number in numbers:
        yield from range(max(0, number - _CONTEXT), min(end, number + _CONTEXT + 1))


def _with_gaps(lines: list[str], kept: set[int]) -> Iterator[str]:
    left = 0
    for number, line in enumerate(lines):
        if number in kept:
            if left:
                yield _gap(left)
            left = 0
            yield line
        else:
            left += 1
    if left:
        yield _gap(left)


def _gap(lines: int) -> str:
    return f"[… {lines} line{'s' * (lines > 1)} left out …]"


def _clipped(line: str, chars: int) -> str:
    if len(line) <= chars:
        return line
    head = chars * 2 // 3
    left = len(line) - chars
    return f"{line[:head]} [… {left} characters left out …] {line[len(line) - chars + head :]}"
