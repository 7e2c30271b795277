"""The program that runs a project's tests: how each runner's report is read, what is put back."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skillopt.tasks.repository.inside import run_tests
from skillopt.tasks.repository.inside.run_tests import READERS

JUNIT = (
    '<testsuites><testsuite><testcase classname="a.b" name="one"/>'
    '<testcase classname="a.b" name="two"><failure>x</failure></testcase>'
    '<testcase name="three"><error/></testcase><testcase classname="a" name="four"><skipped/>'
    '</testcase><testcase classname="c" name="five"><system-out/></testcase></testsuite>'
    "</testsuites>"
)
JEST = {
    "testResults": [
        {
            "assertionResults": [
                {"fullName": "a b", "status": "passed"},
                {"fullName": "a c", "status": "failed"},
                {"fullName": "a d", "status": "pending"},
            ]
        },
        {"assertionResults": [{"status": "passed"}]},
        {},
    ]
}
MOCHA = {
    "passes": [{"fullTitle": "a"}, {"fullTitle": "b"}],
    "failures": [{"fullTitle": "b"}, {"fullTitle": "c"}],
}
TAP = """\
# Subtest: math
    # Subtest: adds
    ok 1 - adds
    # Subtest: deeper
        # Subtest: less
        not ok 1 - less
    not ok 2 - deeper
    ok 3 - later # SKIP no time
    ok 4 - todo # TODO
    1..4
ok 1 - math
# Subtest: one
    # Subtest: two
        # Subtest: three
            # Subtest: four
            ok 1 - four
# Subtest: alone
not ok 2 - alone # odd
ok 3 - some/file.test.mjs
ok 4 - what.js says
"""
GO = [
    {"Action": "run", "Package": "p", "Test": "TestA"},
    {"Action": "pass", "Package": "p", "Test": "TestA"},
    {"Action": "fail", "Package": "p", "Test": "TestB"},
    {"Action": "skip", "Package": "p", "Test": "TestC"},
    {"Action": "pass", "Package": "p"},
    {"Action": "pass", "Test": "TestD"},
]
CARGO = """\
running 4 tests
test a::one ... ok
test a::two ... FAILED
test a::three - should panic ... ok
test a::four ... ignored
   test a::five ... ok
test result: FAILED. 2 passed
"""


@pytest.mark.parametrize(
    ("reader", "out", "report", "code", "found"),
    [
        ("junit", "", JUNIT, 0, {"a.b::one": 1, "a.b::two": 0, "three": 0, "c::five": 1}),
        ("junit", "", f"<!DOCTYPE x>{JUNIT}", 0, {}),
        ("junit", "", "<testsuites>", 0, {}),
        ("junit", JUNIT, "", 0, {}),
        ("jest", "", json.dumps(JEST), 0, {"a b": 1, "a c": 0, "": 1}),
        ("jest", "", "[1]", 0, {}),
        ("jest", "", "{", 0, {}),
        ("mocha", f"warned\n{json.dumps(MOCHA)}", "", 0, {"a": 1, "b": 0, "c": 0}),
        ("mocha", json.dumps(MOCHA), "", 0, {"a": 1, "b": 0, "c": 0}),
        ("mocha", "no JSON", "", 0, {}),
        (
            "tap",
            TAP,
            "",
            0,
            {
                "math > adds": 1,
                "math > deeper > less": 0,
                "math > deeper": 0,
                "math": 1,
                "alone # odd": 0,
                "what.js says": 1,
                "one > two > three > four": 1,
            },
        ),
        ("go", "\n".join(map(json.dumps, GO)), "", 0, {"p.TestA": 1, "p.TestB": 0, ".TestD": 1}),
        ("go", "FAIL\n[1]\n", "", 0, {}),
        ("cargo", CARGO, "", 0, {"a::one": 1, "a::two": 0, "a::three": 1}),
        ("code", "", "", 0, {"all tests": 1}),
        ("code", "", "", 1, {"all tests": 0}),
    ],
)
def test_each_runners_report_is_read(
    reader: str, out: str, report: str, code: int, found: dict[str, int]
) -> None:
    assert READERS[reader](out, report, code) == {name: bool(v) for name, v in found.items()}


def test_a_report_that_is_too_deep_is_none() -> None:
    assert READERS["jest"]("", "[" * 200_000, 0) == {}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the workspace, the tests and the logs."""
    for name in ("workspace", "tests/files", "logs"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(run_tests, "WORKSPACE", tmp_path / "workspace")
    monkeypatch.setattr(run_tests, "TESTS", tmp_path / "tests")
    monkeypatch.setattr(run_tests, "LOGS", tmp_path / "logs")
    monkeypatch.delenv("UNTRUSTED", raising=False)
    return tmp_path


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_tests_are_put_back_and_settings_of_the_agents_removed(place: Path) -> None:
    workspace, files = place / "workspace", place / "tests" / "files"
    put(files, tests__a_dot_py="ours", tests__b_dot_py="ours", deep__er__c_dot_py="ours",
        linked__d_dot_py="ours", over__e_dot_py="ours", conftest_dot_py="ours")  # fmt: skip
    put(workspace, tests__a_dot_py="theirs", sub__conftest_dot_py="theirs", deep="a file",
        conftest_dot_py="theirs", sub__myconftest_dot_py="kept", kept="kept")  # fmt: skip
    (workspace / "tests" / "b.py").mkdir()
    (workspace / "tests" / "b.py" / "x").touch()
    (place / "outside").mkdir()
    (workspace / "linked").symlink_to(place / "outside")
    (workspace / "over").mkdir()
    (place / "target").write_text("untouched")
    (workspace / "over" / "e.py").symlink_to(place / "target")
    put(place, hard="untouched", nothing="")
    put(files, hard_dot_py="ours", dangling_dot_py="ours")
    (workspace / "hard.py").hardlink_to(place / "hard")
    (workspace / "dangling.py").symlink_to(place / "made")
    run_tests.settle(r"conftest\.py")
    found = {str(p.relative_to(workspace)): p for p in workspace.rglob("*") if p.is_file()}
    assert {name: file.read_text() for name, file in found.items()} == {
        "tests/a.py": "ours", "tests/b.py": "ours", "deep/er/c.py": "ours", "linked/d.py": "ours",
        "over/e.py": "ours", "conftest.py": "ours", "sub/myconftest.py": "kept", "kept": "kept",
        "hard.py": "ours", "dangling.py": "ours",
    }  # fmt: skip
    assert not list((place / "outside").iterdir())
    assert (place / "target").read_text() == (place / "hard").read_text() == "untouched"
    assert not (place / "made").exists()
    assert not any(path.is_symlink() for path in workspace.rglob("*"))


def given(**values: Any) -> dict[str, Any]:
    return {
        "settings": "never", "fail_to_pass": [], "pass_to_pass": [], "report": "code",
        "command": ["true"], "env": {}, "timeout_s": 5, **values,
    }  # fmt: skip


def verdict(place: Path, found: dict[str, bool], said: str, **values: Any) -> tuple[Any, str]:
    """What is written of how tests ended."""
    (place / "tests" / "tests.json").write_text(json.dumps(given(**values)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(run_tests, "run", lambda given: (found, said))
        run_tests.main()
    logs = place / "logs"
    return json.loads((logs / "reward.json").read_text()), (logs / "feedback.txt").read_text()


FOUND = {"a": True, "b": True, "c": False}


@pytest.mark.parametrize(
    ("fixed", "kept", "reward", "counts", "said"),
    [
        (["a"], ["b"], 1.0, (2, 2, 1), ""),
        (["a"], [], 1.0, (1, 1, 1), ""),
        ([], ["b"], 1.0, (1, 1, 0), ""),
        (["a", "c"], ["b"], 0.0, (3, 2, 1), "failed: c\nprinted"),
        (["a"], ["b", "z"], 0.0, (3, 2, 1), "did not run: z\nprinted"),
        (["z"], ["c"], 0.0, (2, 0, 0), "did not run: z\nfailed: c\nprinted"),
    ],
)
def test_the_reward_is_that_all_that_must_pass_do(
    fixed: list[str],
    kept: list[str],
    reward: float,
    counts: tuple[int, int, int],
    said: str,
    place: Path,
) -> None:
    told, feedback = verdict(place, FOUND, "printed", fail_to_pass=fixed, pass_to_pass=kept)
    assert told == {
        "reward": reward, "tests": counts[0], "tests_passed": counts[1], "fixed": counts[2],
    }  # fmt: skip
    assert feedback == said


@pytest.mark.parametrize(("bad", "more"), [(20, ""), (21, "and 1 more\n"), (25, "and 5 more\n")])
def test_of_many_failures_some_are_named_and_the_end_of_the_output(
    bad: int, more: str, place: Path
) -> None:
    names = [f"t{n}" for n in range(bad)]
    _, feedback = verdict(place, {}, "x" * 1999 + "yz", fail_to_pass=names)
    shown = "".join(f"did not run: t{n}\n" for n in range(20))
    assert feedback == shown + more + "x" * 1998 + "yz"


def test_without_a_wish_each_tests_ending_is_told(place: Path) -> None:
    told, feedback = verdict(place, FOUND, "printed")
    assert told == {"a": 1.0, "b": 1.0, "c": 0.0, "reward": 0.0} and feedback == "printed"


def test_tests_run_on_a_copy_with_an_environment_of_their_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    put(place / "workspace", file="x")
    script = 'echo "$1"; pwd; env; ls; touch made; echo why >&2; echo reported > "$2"; exit 3'
    command = ["sh", "-c", script, "-", "{project}/a", "{report}"]
    env = {"OWN": "{project}", "REPORT": "{report}"}
    found, said = run_tests.run(given(command=command, env=env))
    assert found == {"all tests": False}
    lines = said.splitlines()
    project = lines[1]
    assert lines[0] == f"{project}/a" and f"OWN={project}" in lines and "file" in lines
    assert f"HOME={Path(project).parent}" in lines and "LANG=C.UTF-8" in lines
    assert f"REPORT={Path(project).parent}/report" in lines
    assert "SECRET=x" not in lines and lines[-1] == "why", "a report is not shown"
    assert not Path(project).exists() and os.listdir(place / "workspace") == ["file"]


@pytest.mark.parametrize(
    ("script", "passed", "said"),
    [
        ("true", True, ""),
        ("kill -9 $$", False, "killed, as after 5 s"),
        ("printf 'x%.0s' $(seq 2500)", True, "x" * 2000),
    ],
)
def test_how_the_tests_ended(script: str, passed: bool, said: str, place: Path) -> None:
    assert run_tests.run(given(command=["sh", "-c", script])) == ({"all tests": passed}, said)


def test_what_the_tests_are_run_with(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = list[tuple[list[str], dict[str, Any]]]()

    def call(argv: list[str], **options: Any) -> int:
        called.append((argv, options))
        options["stdout"].write(b" out\n")
        return 0

    opened = list[list[str]]()
    monkeypatch.setattr(subprocess, "call", call)
    monkeypatch.setattr(subprocess, "check_call", opened.append)
    monkeypatch.setenv("UNTRUSTED", "/opt/run")
    monkeypatch.setenv("UNTRUSTED_FOLDER", "/skillopt/untrusted")
    monkeypatch.delenv("LANG", raising=False)
    told = given(command=["make", "{project}"], env={"A": "{report}"}, timeout_s=7)
    assert run_tests.run(told) == ({"all tests": True}, "out")
    ((argv, options),) = called
    home = Path(options["cwd"]).parent
    assert opened == [["chmod", "-R", "a+rwX", str(home)]]
    assert argv == [
        "/opt/run", "timeout", "-s", "KILL", "7", "env", f"A={home}/report", f"HOME={home}", "bash",
        "-c", 'ulimit -f 65536; exec "$@"', "-", "make", f"{home}/project",
    ]  # fmt: skip
    assert options["env"] == {
        "PATH": os.environ["PATH"], "UNTRUSTED_FOLDER": "/skillopt/untrusted",
    }  # fmt: skip


def test_so_much_of_an_output_is_read() -> None:
    asked = list[int]()

    def read(size: int) -> bytes:
        asked.append(size)
        return b"a\xff"

    file = SimpleNamespace(seek=asked.append, read=read)
    assert run_tests.text_of(file) == "a\ufffd" and asked == [0, 64 * 1024 * 1024]


@pytest.mark.parametrize(("code", "killed"), [(-9, True), (137, True), (1, False), (124, False)])
def test_tests_that_were_killed_are_told_from_others(
    code: int, killed: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "check_call", lambda argv: 0)
    monkeypatch.setattr(subprocess, "call", lambda argv, **options: code)
    _, said = run_tests.run(given())
    assert said == ("killed, as after 5 s" if killed else "")
