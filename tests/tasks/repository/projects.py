"""Small repositories of every kind, each with the same history."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

PACKAGE = '{"name": "calc", "version": "1.0.0", "type": "commonjs"}\n'
NODE_TEST = (
    "const test = require('node:test'); const assert = require('node:assert');\n"
    "const calc = require('../calc.js');\n"
)


@dataclass(frozen=True)
class Sample:
    """A project of one kind.

    Args:
        first: its files at first.
        code, test: the file with code and the test file of the commit that becomes a task.
        mul: what is added to the code by that commit.
        test_mul: that test file.
        flaky: a test file whose test fails once in twenty times.
        name: of the test, as the task names it.
    """

    first: dict[str, str]
    code: str
    mul: str
    test: str
    test_mul: str
    flaky: str
    name: str


SAMPLES = {
    "python": Sample(
        first={
            "pyproject.toml": '[project]\nname = "calc"\nversion = "1"\n',
            "src/calc/__init__.py": "def add(a, b):\n    return a + b\n",
            "tests/test_add.py": "from calc import add\n\ndef test_add():\n"
            "    assert add(1, 2) == 3\n",
        },
        code="src/calc/__init__.py",
        mul="def mul(a, b):\n    return a * b\n",
        test="tests/test_mul.py",
        test_mul="from calc import mul\n\ndef test_mul():\n    assert mul(2, 3) == 6\n",
        flaky="import uuid\nfrom calc import mul\n\ndef test_flaky():\n"
        "    assert mul(1, 1) and uuid.uuid4().int % 20\n",
        name="tests.test_mul::test_mul",
    ),
    "node": Sample(
        first={
            "package.json": PACKAGE,
            "calc.js": "exports.add = (a, b) => a + b;\n",
            "test/add.test.js": f"{NODE_TEST}test('adds', () => "
            "assert.equal(calc.add(1, 2), 3));\n",
        },
        code="calc.js",
        mul="exports.mul = (a, b) => a * b;\n",
        test="test/mul.test.js",
        test_mul=f"{NODE_TEST}test('multiplies', () => assert.equal(calc.mul(2, 3), 6));\n",
        flaky=f"{NODE_TEST}test('is flaky', () => "
        "assert.ok(calc.mul(1, 1) && Math.random() < 0.95));\n",
        name="multiplies",
    ),
    "go": Sample(
        first={
            "go.mod": "module example.com/calc\n\ngo 1.19\n",
            "calc.go": "package calc\n\nfunc Add(a, b int) int { return a + b }\n",
            "calc_test.go": 'package calc\n\nimport "testing"\n\nfunc TestAdd(t *testing.T) {\n'
            "\tif Add(1, 2) != 3 {\n\t\tt.Fatal()\n\t}\n}\n",
        },
        code="calc.go",
        mul="\nfunc Mul(a, b int) int { return a * b }\n",
        test="mul_test.go",
        test_mul='package calc\n\nimport "testing"\n\nfunc TestMul(t *testing.T) {\n'
        "\tif Mul(2, 3) != 6 {\n\t\tt.Fatal()\n\t}\n}\n",
        flaky='package calc\n\nimport (\n\t"testing"\n\t"time"\n)\n\n'
        "func TestFlaky(t *testing.T) {\n"
        "\tif time.Now().Nanosecond()/1000%20 < Mul(1, 1) {\n\t\tt.Fatal()\n\t}\n}\n",
        name="example.com/calc.TestMul",
    ),
    "rust": Sample(
        first={
            "Cargo.toml": '[package]\nname = "calc"\nversion = "0.1.0"\nedition = "2021"\n',
            "src/lib.rs": "pub fn add(a: i64, b: i64) -> i64 { a + b }\n",
            "tests/add.rs": "#[test]\nfn adds() { assert_eq!(calc::add(1, 2), 3); }\n",
        },
        code="src/lib.rs",
        mul="pub fn mul(a: i64, b: i64) -> i64 { a * b }\n",
        test="tests/mul.rs",
        test_mul="#[test]\nfn multiplies() { assert_eq!(calc::mul(2, 3), 6); }\n",
        flaky="#[test]\nfn is_flaky() {\n    let now = std::time::SystemTime::now();\n"
        "    let passed = now.duration_since(std::time::UNIX_EPOCH).unwrap().subsec_micros();\n"
        "    assert!(calc::mul(1, passed as i64 % 20) > 0);\n}\n",
        name="multiplies",
    ),
    "make": Sample(
        first={
            "Makefile": "test: tests/run.sh\n\tsh tests/run.sh\n",
            "calc.sh": "add() { echo $(($1 + $2)); }\n",
            "tests/run.sh": '. ./calc.sh\n[ "$(add 1 2)" = 3 ]\n',
        },
        code="calc.sh",
        mul="mul() { echo $(($1 * $2)); }\n",
        test="tests/run.sh",
        test_mul='. ./calc.sh\n[ "$(add 1 2)" = 3 ] && [ "$(mul 2 3)" = 6 ]\n',
        flaky='. ./calc.sh\n[ "$(mul 1 $(($(od -An -N1 -tu1 /dev/urandom) % 20)))" != 0 ]\n',
        name="all tests",
    ),
}


def make_repository(folder: Path, sample: Sample) -> Path:
    """A repository whose commits are, newest first: a flaky one, one without tests, one of tests
    alone, and one that becomes a task."""
    folder.mkdir()
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _commit(folder, sample.first, "Begin")
    code = sample.first[sample.code] + sample.mul
    _commit(folder, {sample.code: code, sample.test: sample.test_mul}, MESSAGE)
    _commit(folder, {sample.test: f"{sample.test_mul}\n"}, "Leave a blank line")
    _commit(folder, {"notes.txt": "Multiplies too.\n"}, "Write notes")
    comment = {".py": "# ", ".sh": "# "}.get(Path(sample.code).suffix, "// ")
    flaky = str(Path(sample.test).with_name(Path(sample.test).name.replace("mul", "flaky")))
    new = {sample.code: f"{code}{comment}done\n", flaky: sample.flaky}
    _commit(folder, new, "Test it now and then")
    return folder


MESSAGE = "Multiply\n\nIt is needed for areas.\n\nSigned-off-by: A <a@example.com>"


def _commit(folder: Path, files: dict[str, str], message: str) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", message)


def _git(folder: Path, *argv: str) -> None:
    who = {f"GIT_{role}_{what}": "a@example.com" for role in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")}  # fmt: skip
    env = {"PATH": os.environ["PATH"], "HOME": os.devnull, **who}
    subprocess.run(["git", *argv], cwd=folder, env=env, check=True, capture_output=True)
