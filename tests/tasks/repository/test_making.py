"""A commit becomes a task or not, with a history and outcomes of the test's own; how each kind of
project runs its tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandboxes.base import EngineUnavailableError, SandboxError
from skillopt.core.types import Reward, Task
from skillopt.tasks.harbor import TaskError, read_task
from skillopt.tasks.judging import Attempt
from skillopt.tasks.repository import making
from skillopt.tasks.repository.history import Commit
from skillopt.tasks.repository.kinds import KINDS
from skillopt.tasks.repository.making import Made, Settings, Site, dockerfile, make_tasks
from skillopt.tasks.warm import Start
from tests.helpers.values import a_task

PYTHON = next(kind for kind in KINDS if kind.name == "python")
COMMIT = Commit(id="c" * 40, parent="p" * 40, message="Add mul()\n\nIt is new.")
BEFORE = {"a.py": "old", "gone.py": "x", "tests/test_a.py": "old test", "tox.ini": "[x]"}
AFTER = {
    "a.py": "new", "b.py": "b", "tests/test_a.py": "new test", "tests/data.txt": "d",
    "tox.ini": "[y]", "README.md": "r",
}  # fmt: skip
CHANGES = {"a.py": False, "b.py": False, "gone.py": True, "tests/test_a.py": False}


@dataclass
class FakeHistory:
    changed: dict[str, bool] = field(default_factory=lambda: dict(CHANGES))
    count: int = 10
    more: dict[str, str] = field(default_factory=dict)
    """Files that the commit has besides; what begins with an arrow is a link."""

    def changes(self, commit: Commit) -> list[Any]:
        return [SimpleNamespace(path=path, gone=gone) for path, gone in self.changed.items()]

    def lines(self, commit: Commit) -> int:
        return self.count

    def write(self, id: str, folder: Path) -> None:
        files = BEFORE if id == COMMIT.parent else AFTER | self.more
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                (folder / name).symlink_to(text[2:])
            else:
                (folder / name).write_text(text)


@dataclass
class FakeSite:
    """Gives how tests end with a commit's work, then without it."""

    answers: list[Any]
    seen: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)

    @property
    def environments(self) -> Any:
        return SimpleNamespace(settled=lambda task: task)

    def outcomes(self, task: Task, times: int, work: Callable[[Path], None]) -> Any:
        folder = task.folder / "environment" / "files"
        work(folder)
        files = {
            str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()
        }
        self.seen.append((times, files))
        self.tasks.append(task)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def runs(*found: dict[str, bool], said: str = "") -> tuple[list[dict[str, bool]], str]:
    return (list(found) * 3)[:3], said


GOOD = [runs({"t1": True, "t2": True}), runs({"t1": False, "t2": True})]


def made(
    folder: Path, site: FakeSite, history: FakeHistory | None = None, commit: Commit = COMMIT,
    **settings: Any,
) -> Made:  # fmt: skip
    folder.mkdir(exist_ok=True)
    (one,) = make_tasks(
        cast(Any, history or FakeHistory()), [commit], Settings(PYTHON, **settings), folder,
        cast(Any, site),
    )  # fmt: skip
    assert not [path for path in folder.iterdir() if path.name.startswith(".making")]
    return one


def test_a_commit_with_its_tests_is_a_task(tmp_path: Path) -> None:
    site = FakeSite(list(GOOD))
    found = made(tmp_path / "out", site, timeout_s=7)
    folder = tmp_path / "out" / "add-mul-cccccccc"
    assert found == Made(COMMIT, folder, tests=1)
    task = read_task(folder)
    assert task.untrusted_programs and task.verifier_timeout_s == 74.0
    assert task.instruction.splitlines() == [
        "Add mul()", "", "It is new.", "",
        "These tests must pass; those that are new are not in the project yet:", "", "- `t1`", "",
        "Tests that pass now must still pass.",
    ]  # fmt: skip
    given = json.loads((folder / "tests" / "tests.json").read_text())
    plan = PYTHON.plan(folder, ["tests/test_a.py"])
    written = (folder / "tests" / "tests.json").read_text()
    assert written == json.dumps(given, indent=1) + "\n"  # Its digest is that of the task.
    assert given == {
        "command": list(plan.command), "report": "junit", "timeout_s": 7, "env": dict(PYTHON.env),
        "settings": PYTHON.settings.pattern, "fail_to_pass": ["t1"], "pass_to_pass": ["t2"],
    }  # fmt: skip
    tests = folder / "tests" / "files"
    assert {str(p.relative_to(tests)): p.read_text() for p in tests.rglob("*") if p.is_file()} == {
        "tests/test_a.py": "new test", "tests/data.txt": "d", "tox.ini": "[y]",
    }  # fmt: skip
    solution = folder / "solution"
    assert (solution / "removed.txt").read_text() == "gone.py\n"
    assert {p.name: p.read_text() for p in (solution / "files").iterdir()} == {
        "a.py": "new", "b.py": "b",
    }  # fmt: skip
    assert (folder / "tests" / "run_tests.py").read_text() == making._INSIDE.read_text()
    # The tests were run on the commit's code, and then without it.
    assert site.seen[0] == (3, {"a.py": "new", "b.py": "b", "tests/test_a.py": "old test",
                                          "tox.ini": "[x]"})  # fmt: skip
    assert site.seen[1][0] == 3 and "commit" in (folder / "task.toml").read_text()


def test_a_command_of_the_users_own_runs_all_tests(tmp_path: Path) -> None:
    made(tmp_path / "out", FakeSite([runs({"all tests": True}), runs({"all tests": False})]),
         test=("sh", "run.sh"))  # fmt: skip
    (folder,) = (tmp_path / "out").iterdir()
    given = json.loads((folder / "tests" / "tests.json").read_text())
    assert (given["command"], given["report"]) == (["sh", "run.sh"], "code")
    assert "Tests that pass now" not in (folder / "instruction.md").read_text()
    assert given["timeout_s"] == 300


@pytest.mark.parametrize(
    ("answers", "why", "flaky"),
    [
        ([runs({}, said="no  module\n")], "its tests do not run: no module", ()),
        ([runs({"t": False}, said="x" * 400)], f"its tests fail with it too: {'x' * 300}", ()),
        ([runs({"t": True}), runs({"t": True})],
         "no test fails before it and passes after it", ()),
        ([runs({"t": True}, {"t": False}), runs({"t": False})], "its tests are flaky", ("t",)),
        ([TaskError("it does not run")], "cannot be tried: it does not run", ()),
        ([SandboxError("no image")], "cannot be tried: no image", ()),
    ],
)  # fmt: skip
def test_why_a_commit_is_no_task(
    answers: list[Any], why: str, flaky: tuple[str, ...], tmp_path: Path
) -> None:
    found = made(tmp_path / "out", FakeSite(answers))
    assert (found.folder, found.why, found.flaky) == (None, why, flaky)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("changed", "lines", "why"),
    [
        ({"a.py": False}, 1, "changes no tests"),
        ({"a.py": False, "tests/test_a.py": True}, 1, "changes no tests"),
        ({"tests/test_a.py": False}, 1, "changes no code"),
        ({"tests/test_a.py": False, "README.md": False}, 1, "changes no code"),
        ({**CHANGES, "b\n.py": False}, 1, "changes a file whose name is not UTF-8"),
        ({**CHANGES, "b\udcff.py": False}, 1, "changes a file whose name is not UTF-8"),
        (CHANGES, 1500 + 1, f"changes more than {30} files or "),
        ({**CHANGES, **{f"{n}.py": False for n in range(30 - 3)}}, 1,
         f"changes more than {30} files or {1500} lines"),
    ],
)  # fmt: skip
def test_what_a_commit_changes_decides_first(
    changed: dict[str, bool], lines: int, why: str, tmp_path: Path
) -> None:
    site = FakeSite(list(GOOD))
    found = made(tmp_path / "out", site, FakeHistory(changed, lines))
    assert found.folder is None and found.why.startswith(why) and not site.seen
    most = {**CHANGES, **{f"{n}.py": False for n in range(30 - 4)}}
    assert made(tmp_path / "out", site, FakeHistory(most, 1500)).folder is not None


def test_without_an_engine_nothing_goes_on(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError):
        made(tmp_path / "out", FakeSite([EngineUnavailableError("no engine")]))


def test_twenty_of_the_tests_are_named(tmp_path: Path) -> None:
    for count, more in ((20, False), (22, True)):
        names = {f"t{n:02} `x`": True for n in range(count)}
        failing = dict.fromkeys(names, False)
        found = made(tmp_path / str(count), FakeSite([runs(names), runs(failing)]))
        assert found.folder is not None and found.tests == count
        lines = (found.folder / "instruction.md").read_text().splitlines()
        assert lines[6] == "- `t00 x`" and sum(line.startswith("- `") for line in lines) == 20
        assert ("- and 2 more" in lines) is more


@pytest.mark.parametrize(("base", "needs"), [(Settings(PYTHON).base, True), ("own:1", False)])
def test_the_dockerfile_installs_what_is_needed(base: str, needs: bool) -> None:
    lines = dockerfile(Settings(PYTHON, base=base, setup=("make tools",)), needs).splitlines()
    assert lines[0] == f"FROM {base}" and lines[-2:] == ["WORKDIR /app", "COPY files /app/"]
    assert any("apt-get install" in line and "python3-venv" in line for line in lines) is needs
    assert ("COPY needs /opt/needs/" in lines) is needs and "RUN make tools" in lines
    assert (f"RUN {PYTHON.install[0]}" in lines) is needs
    assert sum(line.startswith("ENV ") for line in lines) == len(PYTHON.env)
    assert "{project}" not in "\n".join(lines)


def plan(kind: str, files: Sequence[str], folder: Path) -> tuple[tuple[str, ...], str]:
    found = next(one for one in KINDS if one.name == kind).plan(folder, files)
    return found.command, found.report


@pytest.mark.parametrize(
    ("kind", "project", "files", "end", "report"),
    [
        ("python", {}, ["tests/test_a.py", "b_test.py", "tests/data.py", "conftest.py"],
         ("junit_family=xunit2", "tests/test_a.py", "b_test.py"), "junit"),
        ("node", {"devDependencies": {"vitest": "1"}}, ["a.test.ts", "x.snap"],
         ("--outputFile={report}", "a.test.ts"), "jest"),
        ("node", {"dependencies": {"jest": "1"}, "devDependencies": {"mocha": "1"}}, ["a.mjs"],
         ("--json", "--outputFile={report}", "a.mjs"), "jest"),
        ("node", {"devDependencies": {"mocha": "1"}}, ["a.cjs"], ("json", "a.cjs"), "mocha"),
        ("node", {}, ["a.jsx", "b.css"], ("--test-reporter=tap", "a.jsx"), "tap"),
        ("go", {}, ["a_test.go", "x/y/b_test.go", "x/y/c_test.go"],
         ("-count=1", ".", "./x/y"), "go"),
        ("rust", {}, ["tests/a.rs", "tests/data/b.rs", "tests/c.txt"],
         ("--no-fail-fast", "--test", "a"), "cargo"),
        ("make", "all:\n\ncheck: all\n", [], ("-s", "check"), "code"),
        ("make", "tests :\ncheck:\n test:\n", [], ("-s", "check"), "code"),
        ("make", "check:\ntest:\n", [], ("-s", "test"), "code"),
    ],
)  # fmt: skip
def test_how_each_kind_runs_its_tests(
    kind: str, project: Any, files: list[str], end: tuple[str, ...], report: str, tmp_path: Path
) -> None:
    if kind == "make":
        (tmp_path / "GNUmakefile").write_text(project)
    else:
        (tmp_path / "package.json").write_text(json.dumps(project))
    command, read_as = plan(kind, files, tmp_path)
    assert command[-len(end) :] == end and read_as == report


def test_a_makefile_needs_a_target(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("all:\n")
    with pytest.raises(TaskError, match="has no target test, check or tests"):
        plan("make", [], tmp_path)


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ("Add mul()", "add-mul"),
        ("a" * 60, "a" * 60),
        ("a" * 61, "a" * 60),
        ("a" * 59 + " b", "a" * 59),
        ("a" * 58 + " b", "a" * 58 + "-b"),
        ("\u00e4", "unnamed"),
    ],
)
def test_a_task_is_named_after_the_subject_of_its_commit(
    subject: str, name: str, tmp_path: Path
) -> None:
    commit = Commit(id="0123456789" * 4, parent=COMMIT.parent, message=f"{subject}\n\nMore.")
    found = made(tmp_path / "out", FakeSite(list(GOOD)), commit=commit)
    assert found.folder == tmp_path / "out" / f"{name}-01234567"


def test_links_are_neither_tests_nor_a_solution(tmp_path: Path) -> None:
    more = {"linked.py": "->a.py", "tests/linked.py": "->../a.py", "conftest.py": "own"}
    changed = {**CHANGES, "linked.py": False, "conftest.py": False}
    site = FakeSite(list(GOOD))
    found = made(tmp_path / "out", site, FakeHistory(changed, more=more))
    assert found.folder is not None
    tests = found.folder / "tests" / "files"
    assert {str(p.relative_to(tests)) for p in tests.rglob("*") if not p.is_dir()} == {
        "tests/test_a.py", "tests/data.txt", "tox.ini", "conftest.py",
    }  # fmt: skip
    assert {p.name for p in (found.folder / "solution" / "files").iterdir()} == {"a.py", "b.py"}
    assert {*site.seen[0][1]} == {"a.py", "b.py", "tests/test_a.py", "tox.ini"}


def test_what_cannot_be_read_of_a_commit_is_named_without_a_folder_of_ours(tmp_path: Path) -> None:
    history = FakeHistory(more={"pyproject.toml": "= x"})
    found = made(tmp_path / "out", FakeSite([]), history)
    assert found.folder is None
    assert found.why.startswith("cannot be tried: pyproject.toml: not valid TOML: ")


@dataclass
class Images:
    """Environments that prepare workspaces with one file."""

    prepared: list[Path] = field(default_factory=list)

    def prepare(self, task: Task, workspace: Path) -> str:
        workspace.mkdir()
        (workspace / "given").touch()
        self.prepared.append(workspace)
        return "image:1"

    def verifier_image(self, task: Task, image: str) -> str:
        return f"tests of {image}"


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ([{"reward": 0.0, "a": 1.0, "b": 0.0}] * 2, [{"a": True, "b": False}] * 2),
        ([{"a": 1.0}, {"a": 0.5, "reward": 1.0}], [{"a": True}, {"a": False}]),
        # Tests that do not run are asked once.
        ([{"reward": 0.0}], [{}, {}]),
        ([{"a": 1.0}, {}], [{}, {}]),
    ],
)
def test_how_each_test_ends(
    metrics: list[dict[str, float]], found: list[dict[str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[set[str], Start, bool]]()

    def ran(task: Task, workspace: Path, site: Any, start: Start, folder: Path) -> Attempt:
        names = {path.name for path in workspace.iterdir()}
        asked.append((names, start, site is verifiers and folder.is_dir()))
        return Attempt(Reward(0.0, metrics[len(asked) - 1], f"said {len(asked)}"))

    monkeypatch.setattr(making, "run_tests", ran)
    images, verifiers = Images(), cast(Any, object())
    site = Site(cast(Any, images), verifiers)
    outcomes = site.outcomes(a_task(), 2, lambda workspace: (workspace / "work").touch())
    assert outcomes == (found, f"said {len(metrics)}")
    start = Start("tests of image:1")
    assert asked == [({"given", "work"}, start, True)] * len(metrics)
    assert len({*images.prepared}) == len(metrics)
    assert not any(workspace.exists() for workspace in images.prepared)


def test_tests_that_give_no_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "run_tests", lambda *_: Attempt(None, "it was stopped"))
    site = Site(cast(Any, Images()), cast(Any, None))
    with pytest.raises(TaskError, match=r"^its tests cannot be run: it was stopped$"):
        site.outcomes(a_task(), 2, lambda workspace: None)
