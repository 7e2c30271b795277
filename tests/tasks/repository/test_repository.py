"""Commits of a repository that become tasks, and those that do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from skillopt.cli import main
from skillopt.tasks.harbor import TaskError, folder_digest
from skillopt.tasks.repository import making
from skillopt.tasks.repository.dependencies import node_needs, python_needs
from skillopt.tasks.repository.history import History
from skillopt.tasks.repository.kinds import KINDS, find_kind
from skillopt.tasks.repository.making import Settings, Site, compared, make_tasks
from tests.helpers.cells import ALL_CELLS
from tests.tasks.repository.projects import MESSAGE, SAMPLES, make_repository

RUN_TESTS = Path(making.__file__).parent / "inside" / "run_tests.py"
IN_CI = ("python", "make")


@pytest.mark.engine
@pytest.mark.timeout(900)  # Tools are installed once.
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in IN_CI or ALL_CELLS else pytest.mark.skip("test-all"))
        for kind in SAMPLES
    ],
)
def test_a_commit_with_its_tests_becomes_a_task(kind: str, tmp_path: Path) -> None:
    sample, out = SAMPLES[kind], tmp_path / "tasks"
    repository = make_repository(tmp_path / "project", sample)
    done = CliRunner().invoke(main, ["tasks", "from-repo", str(repository), str(out), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["kind"], told["tasks"]) == (kind, 1)
    found = {one["subject"]: one for one in told["commits"]}
    # Without the new function no test of a package in Go can be built.
    assert found["Multiply"]["tests"] == (2 if kind == "go" else 1)
    why = {subject: one["why"] for subject, one in found.items() if one["task"] is None}
    assert why.pop("Test it now and then") in FLAKY
    assert set(why.values()) == {"changes no tests", "changes no code"}
    folder = out / found["Multiply"]["task"]
    assert [path.name for path in out.iterdir()] == [folder.name]
    instruction = (folder / "instruction.md").read_text()
    assert "It is needed for areas." in instruction and f"- `{sample.name}`" in instruction
    assert "Signed-off-by" not in instruction
    workspace = folder / "environment" / "files"
    assert not [path for path in workspace.rglob("*") if path.name == ".git"]
    assert sample.mul not in (workspace / sample.code).read_text()
    assert (workspace / sample.test).exists() == (sample.test in sample.first)
    solved = CliRunner().invoke(main, ["tasks", "validate", str(folder), "--solve", "--json"])
    checked = json.loads(solved.stdout)
    assert [one["solved"] for one in checked["tasks"]] == [True]
    assert [p for p in checked["problems"] if not p["warning"]] == []


# Three runs before and three after: that such a test fails in all of the first has a chance of 1 in
# 8,000, so the commit becomes no task. That it is called flaky has one of 1 in 4.
FLAKY = {"its tests are flaky", "no test fails before it and passes after it"}


@pytest.mark.parametrize(
    ("before", "after", "fixed", "kept", "flaky"),
    [
        ([{"a": False}], [{"a": True}], ["a"], [], ()),
        ([{}], [{"a": True}], ["a"], [], ()),
        ([{"a": True}], [{"a": True}], [], ["a"], ()),
        ([{"a": False}], [{"a": False}], [], [], ()),
        ([{"a": True}], [{"a": False}], [], [], ()),
        ([{"a": True}], [{}], [], [], ()),
        ([{"a": False}, {"a": True}], [{"a": True}] * 2, [], [], ("a",)),
        ([{"a": False}, {}], [{"a": True}] * 2, [], [], ("a",)),
        ([{"a": False}] * 2, [{"a": True}, {"a": False}], [], [], ("a",)),
        ([{"a": False}] * 2, [{"a": True}, {}], [], [], ("a",)),
    ],
)
def test_tests_count_that_always_end_alike(
    before: Sequence[dict[str, bool]], after: Sequence[dict[str, bool]], fixed: list[str],
    kept: list[str], flaky: tuple[str, ...],
) -> None:  # fmt: skip
    assert compared(before, after) == (fixed, kept, flaky)


def test_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    history = History(make_repository(tmp_path / "project", SAMPLES["make"]))
    commits = list(history.commits("HEAD", 10))
    assert [commit.subject for commit in commits] == [
        "Test it now and then", "Write notes", "Leave a blank line", "Multiply",
    ]  # fmt: skip
    assert commits[-1].message == MESSAGE.partition("\n\nSigned")[0]
    assert {change.path for change in history.changes(commits[-1])} == {"calc.sh", "tests/run.sh"}
    assert history.lines(commits[-1]) == 3
    assert len(list(history.commits("HEAD", 2))) == 2
    history.write(commits[-1].parent, Path("files"))  # Where it is called from.
    bare = tmp_path / "bare"
    subprocess.run(["git", "clone", "-q", "--bare", tmp_path / "project", bare], check=True)
    History(bare).write(commits[-1].parent, tmp_path / "again")
    assert (tmp_path / "again" / "tests" / "run.sh").is_file()
    names = {p.relative_to(tmp_path / "files").as_posix() for p in (tmp_path / "files").rglob("*")}
    assert names == {"Makefile", "calc.sh", "tests", "tests/run.sh"}


def test_messages_may_have_any_character(tmp_path: Path) -> None:
    project = make_repository(tmp_path / "project", SAMPLES["make"])
    _git(project, "commit", "-q", "--allow-empty", "--cleanup=verbatim", "-m", "A \x1e b\n\n\x1e")
    first = next(History(project).commits("HEAD", 10))
    assert first.subject == "A \x1e b" and len(first.parent) == 40


def test_nothing_that_the_settings_name_is_run(tmp_path: Path) -> None:
    project = make_repository(tmp_path / "project", SAMPLES["make"])
    (project / ".git" / "info").mkdir(exist_ok=True)
    (project / ".git" / "info" / "attributes").write_text("* filter=own\n")
    program = f"touch {tmp_path / 'run'}; cat"
    for key in ("filter.own.smudge", "filter.own.process", "gpg.program", "core.pager"):
        _git(project, "config", key, program)
    _git(project, "config", "log.showSignature", "true")
    history = History(project)
    commits = list(history.commits("HEAD", 10))
    history.write(commits[-1].id, tmp_path / "files")
    assert (tmp_path / "files" / "calc.sh").read_text().count("mul") == 1
    assert not (tmp_path / "run").exists()


def test_names_that_are_no_text_are_said_or_kept(tmp_path: Path) -> None:
    project = make_repository(tmp_path / "project", SAMPLES["make"])
    odd = os.fsdecode(b"odd-\xff.txt")
    (project / odd).write_text("x")
    _git(project, "add", "-A")
    _git(project, "commit", "-qm", "Odd")
    history = History(project)
    assert [change.path for change in history.changes(next(history.commits("HEAD", 1)))] == [odd]
    history.write("HEAD", tmp_path / "files")
    before = folder_digest(tmp_path / "files")
    (tmp_path / "files" / odd).rename(tmp_path / "files" / os.fsdecode(b"odd-\xfe.txt"))
    assert folder_digest(tmp_path / "files") != before


@pytest.mark.parametrize("name", ["odd-\udcff.sh", "two\nlines.sh"])
def test_a_commit_of_names_that_are_no_line_of_text_is_passed_over(
    name: str, tmp_path: Path
) -> None:
    project = make_repository(tmp_path / "project", SAMPLES["make"])
    for file in (name, "tests/run.sh"):
        with (project / file).open("a") as opened:
            opened.write("true\n")
    _git(project, "add", "-A")
    _git(project, "commit", "-qm", "Odd")
    history = History(project)
    (tmp_path / "out").mkdir()
    settings = Settings(find_kind(history.names("HEAD")))
    (made,) = make_tasks(
        history, list(history.commits("HEAD", 1)), settings, tmp_path / "out", cast("Site", None)
    )
    assert made.folder is None and "not UTF-8 text of one line" in made.why


def _git(folder: Path, *argv: str) -> None:
    user = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    subprocess.run(["git", *user, *argv], cwd=folder, check=True)


def test_links_that_lead_out_are_left_out(tmp_path: Path) -> None:
    project = make_repository(tmp_path / "project", SAMPLES["make"])
    (project / "out").symlink_to("/etc/passwd")
    (project / "in").symlink_to("calc.sh")
    for argv in (["add", "--all"], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qmx"]):
        subprocess.run(["git", *argv], cwd=project, check=True)
    History(project).write("HEAD", tmp_path / "files")
    assert (tmp_path / "files" / "in").is_symlink()
    assert not (tmp_path / "files" / "out").is_symlink()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["{empty}", "out"], "not a git repository"),
        (["{project}", "out", "--ref", "nope"], "nope"),
        (["{project}", "out", "--kind", "cobol"], "--kind cobol: is none of python, node"),
        (["{project}", "{empty}"], "already exists; name another folder"),
        (["nowhere", "out"], "does not exist"),
        (["{project}", "out", "--commits", "0"], "0 is not in the range"),
        (["{project}/tests", "out"], "is inside of the repository"),
        (["{project}", "out", "--ref", "--output=x"], "--ref --output=x: is no reference"),
        (["{project}", "out", "--ref", "{orphan}"], "git fetch --unshallow"),
        (["{project}", "out", "--test", "sh 'x"], "--test sh 'x: No closing quotation"),
        (["{bare}", "out"], "has no commit HEAD"),
    ],
)
def test_wrong_input_is_named(
    argv: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    project = make_repository(tmp_path / "project", SAMPLES["make"])
    (tmp_path / "empty").mkdir()
    subprocess.run(["git", "init", "-q", "--bare", "bare"], check=True)
    root = subprocess.run(
        ["git", "rev-list", "--max-parents=0", "HEAD"], cwd=project, capture_output=True, check=True
    )
    places = {
        "{project}": str(project), "{empty}": str(tmp_path / "empty"), "{bare}": "bare",
        "{project}/tests": str(project / "tests"), "{orphan}": root.stdout.decode().strip(),
    }  # fmt: skip
    done = CliRunner().invoke(main, ["tasks", "from-repo", *(places.get(a, a) for a in argv)])
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["setup.py", "Makefile"], "python"), (["package.json", "Makefile"], "node"),
        (["go.mod"], "go"), (["Cargo.toml"], "rust"), (["GNUmakefile", "x.c"], "make"),
    ],
)  # fmt: skip
def test_the_kind_of_a_project(names: list[str], kind: str) -> None:
    assert find_kind(names).name == kind


def test_a_project_of_no_known_kind() -> None:
    with pytest.raises(TaskError, match=r"pyproject.toml.*use --kind"):
        find_kind(["README.md"])


@pytest.mark.parametrize(
    ("kind", "path", "test", "code"),
    [
        ("python", "src/calc.py", False, True), ("python", "tests/data/x.json", True, False),
        ("python", "pkg/test_calc.py", True, False), ("python", "contest.py", False, True),
        ("python", "conftest.py", True, False), ("python", "README.md", False, False),
        ("node", "lib/latest.js", False, True), ("node", "lib/a.test.ts", True, False),
        ("node", "__tests__/a.js", True, False), ("node", "test/a.js", True, False),
        ("go", "calc_test.go", True, False), ("go", "test.go", False, True),
        ("rust", "tests/a.rs", True, False), ("rust", "src/tests.rs", False, True),
        ("make", "tests/run.sh", True, False), ("make", "test-all.sh", True, False),
        ("make", "src/a.c", False, True),
    ],
)  # fmt: skip
def test_what_is_a_test_and_what_is_code(kind: str, path: str, test: bool, code: bool) -> None:
    (found,) = [each for each in KINDS if each.name == kind]
    assert (found.is_test(path), found.is_code(path)) == (test, code)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, ["pytest"]),
        (
            {
                "pyproject.toml": '[project]\ndependencies = ["attrs>=1", "Six"]\n'
                '[project.optional-dependencies]\ntest = ["freezegun"]\ndocs = ["sphinx"]\n'
                '[dependency-groups]\ndev = ["hypothesis", {include-group = "x"}]\n'
            },
            ["pytest", "attrs>=1", "Six", "freezegun", "hypothesis"],
        ),
        (
            {
                "setup.cfg": "[options]\ninstall_requires =\n  attrs\n[options.extras_require]\n"
                "tests =\n  mock\n"
            },
            ["pytest", "attrs", "mock"],
        ),
        ({"setup.py": "setup(install_requires=['a', \"b[x]>2\"])"}, ["pytest", "a", "b[x]>2"]),
        ({"requirements.txt": "-r other.txt\n# no\n./here\npytest==8.0\n"}, ["pytest==8.0"]),
        ({"dev-requirements.txt": "mock\n"}, ["pytest", "mock"]),
        ({"pyproject.toml": 'project = "x"\n[dependency-groups]\ntest = "pytest"\n'}, ["pytest"]),
        ({"pyproject.toml": "[project]\ndependencies = 5\n"}, ["pytest"]),
    ],
)
def test_what_python_tests_need(files: dict[str, str], wanted: list[str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert python_needs(tmp_path)["requirements.txt"].split() == wanted


def test_what_node_tests_need(tmp_path: Path) -> None:
    content = {"devDependencies": {"mocha": "1"}, "scripts": {"postinstall": "rm -rf /"}}
    (tmp_path / "package.json").write_text(json.dumps(content))
    found = json.loads(node_needs(tmp_path)["package.json"])
    assert found == {"name": "project", "version": "0.0.0", "devDependencies": {"mocha": "1"}}
    (tmp_path / "package.json").write_text("{")
    with pytest.raises(TaskError, match=r"package.json: cannot be read"):
        node_needs(tmp_path)


@pytest.mark.parametrize("content", ["[]", '{"dependencies": []}', '{"devDependencies": "x"}'])
def test_a_package_json_of_another_shape(content: str, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text(content)
    (tmp_path / "go.mod").write_bytes(b"\xff")
    (kind,) = [each for each in KINDS if each.name == "node"]
    assert kind.plan(tmp_path, ["a.test.js"]).command[0] == "node"
    assert "x" not in json.loads(node_needs(tmp_path)["package.json"]).get("devDependencies", {})
    (go,) = [each for each in KINDS if each.name == "go"]
    with pytest.raises(TaskError, match=r"go.mod: cannot be read as UTF-8"):
        go.needs(tmp_path)


JUNIT = (
    '<testsuites><testsuite><testcase classname="tests.test_a" name="test_b"/>'
    '<testcase classname="tests.test_a" name="test_c"><failure message="x"/></testcase>'
    '<testcase classname="" name="tests.test_d"><error/></testcase>'
    '<testcase classname="tests.test_a" name="test_e"><skipped/></testcase>'
    "</testsuite></testsuites>"
)
JEST = json.dumps(
    {
        "testResults": [
            {
                "assertionResults": [
                    {"fullName": "a b", "status": "passed"},
                    {"fullName": "a c", "status": "failed"},
                    {"fullName": "a d", "status": "pending"},
                ]
            }
        ]
    }
)
MOCHA = json.dumps(
    {"passes": [{"fullTitle": "a b"}], "failures": [{"fullTitle": "a c"}], "pending": []}
)
TAP = """TAP version 13
# Subtest: a
    # Subtest: b
    ok 1 - b
    # Subtest: c
    not ok 2 - c
    # Subtest: d
    ok 3 - d # SKIP later
    1..3
not ok 1 - a
# Subtest: e
ok 2 - e
"""
GO = "\n".join(
    json.dumps(event)
    for event in (
        {"Action": "run", "Package": "p", "Test": "TestA"},
        {"Action": "pass", "Package": "p", "Test": "TestA"},
        {"Action": "fail", "Package": "p", "Test": "TestB"},
        {"Action": "skip", "Package": "p", "Test": "TestC"},
        {"Action": "fail", "Package": "p"},
    )
)
CARGO = """running 2 tests
test a ... ok
test m::b ... FAILED
test c ... ignored
test d - should panic ... ok
"""


@pytest.mark.parametrize(
    ("report", "out", "file", "code", "found"),
    [
        (
            "junit", "", JUNIT, 1,
            {"tests.test_a::test_b": 1, "tests.test_a::test_c": 0, "tests.test_d": 0},
        ),
        ("junit", "", '<!DOCTYPE x [<!ENTITY a "b">]><x/>', 1, {}),
        ("junit", "", "<", 1, {}),
        ("jest", "", JEST, 1, {"a b": 1, "a c": 0}),
        ("jest", "", "[]", 1, {}),
        ("mocha", f"noise\n{MOCHA}", "", 1, {"a b": 1, "a c": 0}),
        ("mocha", "no json", "", 1, {}),
        ("tap", TAP, "", 1, {"a > b": 1, "a > c": 0, "a": 0, "e": 1}),
        ("go", f"not json\n{GO}", "", 1, {"p.TestA": 1, "p.TestB": 0}),
        ("cargo", CARGO, "", 101, {"a": 1, "m::b": 0, "d": 1}),
        ("code", "", "", 0, {"all tests": 1}),
        ("code", "", "", 2, {"all tests": 0}),
    ],
)  # fmt: skip
def test_reports_are_read(
    report: str, out: str, file: str, code: int, found: dict[str, int], tmp_path: Path
) -> None:
    (tmp_path / "out").write_text(out)
    (tmp_path / "in").write_text(file)
    script = f'cat {tmp_path}/out; cp {tmp_path}/in "$1"; exit {code}'
    reward = run(tmp_path, ["sh", "-c", script, "-", "{report}"], report)
    assert reward == {"reward": 0, **found}


def run(tmp_path: Path, command: list[str], report: str, **more: Any) -> dict[str, float]:
    """Run the program of the verifier on an empty workspace."""
    tests, workspace, logs = (tmp_path / name for name in ("tests", "workspace", "logs"))
    for folder in (tests, workspace, logs):
        folder.mkdir(exist_ok=True)
    given = {
        "command": command, "report": report, "timeout_s": 20, "env": {"PATH": os.defpath},
        "settings": "conftest\\.py", "fail_to_pass": [], "pass_to_pass": [], **more,
    }  # fmt: skip
    (tests / "tests.json").write_text(json.dumps(given))
    (tests / "run_tests.py").write_text(RUN_TESTS.read_text())
    env = {"PATH": os.environ["PATH"], "VERIFIER_LOGS": str(logs)}
    argv = [sys.executable, "-I", str(tests / "run_tests.py")]
    subprocess.run(argv, cwd=workspace, env=env, check=True)
    found: dict[str, float] = json.loads((logs / "reward.json").read_text())
    return found


@pytest.mark.parametrize(
    ("fixed", "kept", "reward", "said"),
    [
        (["a"], [], 1, ""), (["a"], ["d"], 1, ""), (["m::b"], [], 0, "failed: m::b"),
        (["a"], ["m::b"], 0, "failed: m::b"), (["x"], ["a"], 0, "did not run: x"),
    ],
)  # fmt: skip
def test_all_that_must_pass_must_pass(
    fixed: list[str], kept: list[str], reward: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text(CARGO)
    wanted = {"fail_to_pass": fixed, "pass_to_pass": kept}
    found = run(tmp_path, ["cat", str(tmp_path / "out")], "cargo", **wanted)
    assert found["reward"] == reward
    assert said in (tmp_path / "logs" / "feedback.txt").read_text()


def test_what_an_agent_left_in_the_place_of_tests_is_replaced(tmp_path: Path) -> None:
    files, workspace = tmp_path / "tests" / "files", tmp_path / "workspace"
    (files / "tests" / "deep").mkdir(parents=True)
    (files / "tests" / "test_a.py").write_text("theirs")
    (files / "tests" / "deep" / "test_b.py").write_text("theirs")
    outside = tmp_path / "outside"
    outside.mkdir()
    (workspace / "tests" / "test_a.py").mkdir(parents=True)
    (workspace / "tests" / "deep").symlink_to(outside)
    (workspace / "tests" / "conftest.py").write_text("import os; os._exit(0)")
    (workspace / "own.py").write_text("kept")
    assert run(tmp_path, ["true"], "code") == {"reward": 0, "all tests": 1}
    assert (workspace / "tests" / "test_a.py").read_text() == "theirs"
    assert (workspace / "tests" / "deep" / "test_b.py").read_text() == "theirs"
    assert not [*outside.iterdir()] and not (workspace / "tests" / "conftest.py").exists()
    assert (workspace / "own.py").read_text() == "kept"


@pytest.mark.slow
def test_tests_that_do_not_end(tmp_path: Path) -> None:
    assert run(tmp_path, ["sleep", "60"], "code", timeout_s=1) == {"reward": 0, "all tests": 0}
    assert "killed, as after 1 s" in (tmp_path / "logs" / "feedback.txt").read_text()
