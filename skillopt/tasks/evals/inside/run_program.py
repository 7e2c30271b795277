"""Runs the program in an answer against one of its cases, in the verifier's sandbox.

Called with the case's number. The program runs as another user, who can read neither the cases nor
this file. Runs alone, with any Python from 3.8.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

FENCE = re.compile(
    r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)\n?^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE
)
SHOWN = 300
OUTPUT_MB = 16


def main(number: int) -> None:
    """Exit with 0 if the program does what the case says."""
    given = json.loads((Path(__file__).parent / "cases.json").read_text("utf-8"))
    case = given["cases"][number]
    try:
        answer = Path("answer.txt").read_bytes().decode("utf-8", "replace")
    except OSError:
        sys.exit("there is no answer")
    blocks = FENCE.findall(answer)
    program = blocks[-1][1] if blocks else answer
    folder = Path(tempfile.mkdtemp())
    try:
        problem = problem_of(case, program, given, folder)
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)
    if problem:
        sys.exit(problem)


def problem_of(case: dict[str, Any], program: str, given: dict[str, Any], folder: Path) -> str:
    """What is wrong with a program; empty if nothing."""
    # A program that ends before its tests do does not know what to print.
    passed = uuid.uuid4().hex
    if case["tests"]:
        program += "\n\n" + case["tests"] + "\n" + given["print"].replace("{}", passed) + "\n"
    file = folder / ("program" + given["suffix"])
    file.write_text(program, "utf-8")
    folder.chmod(0o755)
    code, out, err = run([*given["command"], str(file)], case["input"], given["timeout_s"], folder)
    if code is None:
        return f"took more than {given['timeout_s']} s"
    if code:
        return "ended with " + str(code) + ": " + " ".join(err.split())[-SHOWN:]
    said = out.split()
    if case["tests"]:
        return "" if said and said[-1] == passed else "ended before its tests did"
    return "" if lines(out) == lines(case["output"]) else "printed " + repr(out[:SHOWN])


def run(argv: list[str], text: str, seconds: int, folder: Path) -> tuple[int | None, str, str]:
    """Run a command; its code, None if it took too long, and what it printed."""
    runner = os.environ.get("UNTRUSTED", "env")
    limits = f'ulimit -f {OUTPUT_MB * 1024}; exec "$@"'
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, \
            tempfile.TemporaryFile() as err:  # fmt: skip
        stdin.write(text.encode())
        stdin.seek(0)
        env = {
            name: os.environ[name] for name in ("PATH", "UNTRUSTED_FOLDER") if name in os.environ
        }
        argv = [runner, "timeout", "-s", "KILL", str(seconds), "bash", "-c", limits, "-", *argv]
        code = subprocess.call(argv, stdin=stdin, stdout=out, stderr=err, env=env, cwd=str(folder))
        out.seek(0)
        err.seek(0)
        texts = [f.read(OUTPUT_MB << 20).decode("utf-8", "replace") for f in (out, err)]
    return (None if code in (124, 137, -9) else code), texts[0], texts[1]


def lines(text: str) -> list[str]:
    """The lines of an output, without blanks at their ends and empty lines at its end."""
    found = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while found and not found[-1]:
        found.pop()
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]))
