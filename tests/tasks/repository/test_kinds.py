"""Each kind of project: its files, how its tests are run, and what they depend on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.repository.dependencies import files_named, node_needs, package, python_needs
from skillopt.tasks.repository.kinds import KINDS, Plan, find_kind
from skillopt.tasks.tables import TaskError


@pytest.mark.parametrize(
    ("names", "wanted", "kind"),
    [
        (["pyproject.toml", "package.json"], "", "python"), (["tox.ini"], "", "python"),
        (["package.json", "Makefile"], "", "node"), (["go.mod"], "", "go"),
        (["Cargo.toml", "Makefile"], "", "rust"), (["GNUmakefile"], "", "make"),
        (["package.json"], "make", "make"), ([], "go", "go"),
    ],
)  # fmt: skip
def test_the_kind_of_a_project(names: list[str], wanted: str, kind: str) -> None:
    assert find_kind(names, wanted).name == kind


@pytest.mark.parametrize(
    ("names", "wanted", "said"),
    [
        (["README.md"], "", "no file at its root says how its tests are run .*use --kind"),
        (["go.mod"], "cobol", "--kind cobol: is none of python, node, go, rust, make"),
    ],
)
def test_no_kind(names: list[str], wanted: str, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        find_kind(names, wanted)


@pytest.mark.parametrize(
    ("kind", "path", "test", "code", "setting"),
    [
        ("python", "tests/data.json", True, False, False),
        ("python", "a/test/x.py", True, False, False),
        ("python", "test_a.py", True, False, False),
        ("python", "a/b_test.py", True, False, False),
        ("python", "a/conftest.py", True, False, True),
        ("python", "contest.py", False, True, False),
        ("python", "a/latest_x.py", False, True, False),
        ("python", "a/x.pyx", False, True, False),
        ("python", "setup.cfg", False, False, True),
        ("python", "deep/x.pth", False, False, True),
        ("python", "pytest.ini.md", False, False, False),
        ("python", "conftest.py/x.md", False, False, False),
        ("python", "tests.py", False, True, False),
        ("python", "atests/x.py", False, True, False),
        ("node", "a/__tests__/x.js", True, False, False),
        ("node", "a.test.ts", True, False, False),
        ("node", "a.spec.cjs", True, False, False),
        ("node", "a.tests.ts", False, True, False),
        ("node", "jest.config.js", False, True, True),
        ("node", "a/.babelrc", False, False, True),
        ("go", "a_test.go", True, False, False),
        ("go", "a/testdata/x", True, False, False),
        ("go", "a.go", False, True, False),
        ("go", "go.work", False, False, True),
        ("rust", "tests/a.rs", True, False, False),
        ("rust", "src/a.rs", False, True, False),
        ("rust", ".cargo", False, False, True),
        ("make", "test_a.sh", True, False, False),
        ("make", "spec/a", True, False, False),
        ("make", "a.c", False, True, False),
        ("make", "sub/makefile", False, False, True),
    ],
)
def test_files_of_a_kind(kind: str, path: str, test: bool, code: bool, setting: bool) -> None:
    found = find_kind([], kind)
    assert (found.is_test(path), found.is_code(path)) == (test, code)
    assert found.is_setting(path) is setting


def plan(kind: str, project: Path, *files: str) -> Plan:
    return find_kind([], kind).plan(project, files)


def test_how_python_is_tested(tmp_path: Path) -> None:
    found = plan("python", tmp_path, "tests/data.json", "tests/test_a.py", "b_test.py", "test.py",
                 "tests/conftest.py")  # fmt: skip
    assert found.report == "junit" and found.command[:3] == ("python3", "-m", "pytest")
    assert "--junitxml={report}" in found.command and "no:cacheprovider" in found.command
    assert found.command[-2:] == ("tests/test_a.py", "b_test.py")
    assert found.command[-3] == "junit_family=xunit2"


@pytest.mark.parametrize(
    ("content", "command", "report"),
    [
        ({"devDependencies": {"vitest": "1", "jest": "1"}},
         ("vitest", "run", "--reporter=json", "--outputFile={report}"), "jest"),
        ({"dependencies": {"jest": "1", "mocha": "1"}},
         ("jest", "--ci", "--json", "--outputFile={report}"), "jest"),
        ({"devDependencies": {"mocha": "1"}}, ("mocha", "--reporter", "json"), "mocha"),
        ({}, ("node", "--test", "--test-reporter=tap"), "tap"),
        ({"dependencies": 3}, ("node", "--test", "--test-reporter=tap"), "tap"),
    ],
)  # fmt: skip
def test_how_node_is_tested(
    content: Any, command: tuple[str, ...], report: str, tmp_path: Path
) -> None:
    (tmp_path / "package.json").write_text(json.dumps(content))
    found = plan("node", tmp_path, "a.test.js", "b.spec.mts", "c.test.tsx", "data.json", "x.snap")
    assert found == Plan((*command, "a.test.js", "b.spec.mts", "c.test.tsx"), report)


@pytest.mark.parametrize(
    ("kind", "files", "end", "report"),
    [
        ("go", ["b/x_test.go", "a/b/y_test.go", "b/z_test.go"],
         ("go", "test", "-json", "-count=1", "./a/b", "./b"), "go"),
        ("go", ["x_test.go"], ("go", "test", "-json", "-count=1", "."), "go"),
        ("rust", ["tests/a.rs", "tests/common/mod.rs", "tests/b.rs"],
         ("cargo", "test", "--offline", "--no-fail-fast", "--test", "a", "--test", "b"), "cargo"),
        ("rust", ["src/lib.rs"], ("cargo", "test", "--offline", "--no-fail-fast"), "cargo"),
    ],
)  # fmt: skip
def test_how_go_and_rust_are_tested(
    kind: str, files: list[str], end: tuple[str, ...], report: str, tmp_path: Path
) -> None:
    assert plan(kind, tmp_path, *files) == Plan(end, report)


@pytest.mark.parametrize(
    ("files", "target"),
    [
        ({"Makefile": "all:\ntest: all\n"}, "test"),
        ({"makefile": "check :\n"}, "check"),
        ({"GNUmakefile": "tests:\n"}, "tests"),
        ({"Makefile": "tests:\ncheck:\ntest:\n"}, "test"),
        ({"Makefile": "all:\n", "GNUmakefile": "check:\n"}, "check"),
        ({"Makefile": " test:\nmytest:\n"}, None),
        ({}, None),
    ],
)
def test_how_a_makefile_is_tested(
    files: dict[str, str], target: str | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    if target is None:
        with pytest.raises(TaskError, match="has no target test, check or tests"):
            plan("make", tmp_path)
    else:
        assert plan("make", tmp_path) == Plan(("make", "-s", target), "code")


@pytest.mark.parametrize(
    ("files", "needs"),
    [
        ({}, ["pytest"]),
        ({"pyproject.toml": '[project]\ndependencies = ["a>=1", 3]\n'}, ["pytest", "a>=1"]),
        ({"pyproject.toml": "[project.optional-dependencies]\ntest = ['b']\ndocs = ['c']\n"
          "[dependency-groups]\ndev = ['d', {include-group = 'x'}]\n"}, ["pytest", "b", "d"]),
        ({"pyproject.toml": "project = 3\n"}, ["pytest"]),
        ({"pyproject.toml": "[project]\ndependencies = 'a'\n"}, ["pytest"]),
        ({"setup.cfg": "[options]\ninstall_requires =\n  a\n  b ; x\n[options.extras_require]\n"
          "testing = c\ndocs = d\n"}, ["pytest", "a", "b ; x", "c"]),
        ({"setup.py": "setup(install_requires=['a', x], tests_require=['b'], other=['c'])"},
         ["pytest", "a", "b"]),
        ({"setup.py": "setup(install_requires=read())"}, ["pytest"]),
        ({"setup.py": "setup(install_requires=('a',), tests_require=['b', 3])"}, ["pytest", "b"]),
        ({"setup.cfg": "[metadata]\nname = x\n"}, ["pytest"]),
        ({"setup.cfg": "[options]\ninstall_requires =\n  a ; x == '%(y)s'\n"},
         ["pytest", "a ; x == '%(y)s'"]),
        ({"setup.cfg": "[options.extras_require]\ntest = a\ntests = b\ndev = c\ndevelop = d\n"},
         ["pytest", "a", "b", "c", "d"]),
        ({"pyproject.toml": "[project]\ndependencies = ['a']\n[project.optional-dependencies]\n"
          "tests = ['b']\ntesting = 'x'\ndevelop = ['c']\n[dependency-groups]\ntest = ['d']\n"},
         ["pytest", "a", "b", "c", "d"]),
        ({"requirements.txt": "a @ https://x.org/a\nb(>1)\nC!=2\nd~=3\ne;x\nc==4\n"},
         ["pytest", "a @ https://x.org/a", "b(>1)", "c==4", "d~=3", "e;x"]),
        ({"b-requirements.txt": "x==2\n", "a-requirements.txt": "x==1\n",
          "requirements/c.txt": "y\n"}, ["pytest", "x==2", "y"]),
        ({"requirements.txt": "a==1\n# x\n-r other\n ./local\n\nB[x]\n"}, ["pytest", "a==1",
                                                                          "B[x]"]),
        ({"dev-requirements.txt": "a\n", "requirements/test.txt": "b\n", "other.txt": "c\n"},
         ["pytest", "a", "b"]),
        # The last word on a package counts, in any spelling.
        ({"requirements.txt": "PyTest<9\n", "setup.py": "setup(install_requires=['pytest>7'])"},
         ["PyTest<9"]),
    ],
)  # fmt: skip
def test_what_python_needs(files: dict[str, str], needs: list[str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = python_needs(tmp_path)
    assert {*found} == {"requirements.txt"}
    assert found["requirements.txt"].splitlines() == needs


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("pyproject.toml", b"= x", "not valid TOML"),
        ("setup.cfg", b"no section", "cannot be read"),
        ("setup.cfg", b"\xff", "cannot be read"),
        ("setup.py", b"(", "cannot be read"),
        ("setup.py", b"\0", "cannot be read"),
    ],
)
def test_what_cannot_be_read_of_python(name: str, text: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(TaskError, match=f"{name}: {said}"):
        python_needs(tmp_path)


def test_what_node_needs(tmp_path: Path) -> None:
    content = {"name": "x", "scripts": {"a": "b"}, "dependencies": {"a": "1"},
               "devDependencies": 3}  # fmt: skip
    (tmp_path / "package.json").write_text(json.dumps(content))
    assert package(tmp_path)["devDependencies"] == {}
    found = node_needs(tmp_path)
    assert {*found} == {"package.json"}
    assert json.loads(found["package.json"]) == {
        "name": "project", "version": "0.0.0", "dependencies": {"a": "1"}, "devDependencies": {},
    }  # fmt: skip
    (tmp_path / "package-lock.json").write_text("lock")
    assert node_needs(tmp_path) == {**found, "package-lock.json": "lock"}
    (tmp_path / "package.json").write_text("[]")
    assert package(tmp_path) == {}
    for text in ("{", "[" * 100_000):
        (tmp_path / "package.json").write_text(text)
        with pytest.raises(TaskError, match=r"package\.json: cannot be read"):
            package(tmp_path)


def test_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("text")
    (tmp_path / "c").mkdir()
    assert files_named("a", "b", "c")(tmp_path) == {"b": "text"}
    assert [kind.needs(tmp_path) for kind in KINDS if kind.name in ("go", "make")] == [{}, {}]
