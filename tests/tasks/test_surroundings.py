"""What a verifier's programs find around them: where the tests lie, and what is mounted."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skillopt.core.types import Task
from skillopt.tasks.surroundings import (
    HIDDEN,
    HOME,
    INSIDE,
    LOGS,
    SCRIPTS,
    TESTS,
    UNTRUSTED,
    surround,
)
from tests.helpers.values import a_task


def a_tested(folder: Path, text: str = "true\n", **changes: Any) -> Task:
    (folder / "task" / "tests" / "deep").mkdir(parents=True)
    (folder / "task" / "tests" / "test.sh").write_text(text)
    (folder / "task" / "tests" / "deep" / "data").write_text("x")
    return replace(a_task(), folder=folder / "task", **changes)


@pytest.mark.parametrize(
    ("text", "changes", "named"),
    [
        ("true", {}, False),
        ("cat /tests/deep/data", {}, True),
        ("cat '/tests'", {}, True),
        ("cat /app/tests x/tests ./tests $X/tests ${X}/tests", {}, False),
        ("cat /tests-2 /testsuite", {}, False),
        ("true", {"env": (("TEST_DIR", "/tests"),)}, True),
        ("true", {"verifier_env": (("A", "x"), ("TEST_DIR", "/tests/deep"))}, True),
        ("true", {"env": (("A", "/test"),), "verifier_env": (("B", "s"),)}, False),
        ("true", {"solution_env": (("TEST_DIR", "/tests"),)}, False),
    ],
)
def test_tests_that_are_named_lie_there_and_others_in_a_folder_of_random_name(
    text: str, changes: dict[str, Any], named: bool, tmp_path: Path
) -> None:
    found = surround(a_tested(tmp_path, text, **changes), tmp_path / "new")
    hidden = tmp_path / "new" / "hidden"
    if named:
        assert found.tests == TESTS
        place, target = hidden, TESTS
    else:
        assert re.fullmatch(rf"{HIDDEN}/[0-9a-f]{{32}}", found.tests)
        (place,) = hidden.iterdir()
        assert place.name == found.tests.rpartition("/")[2]
        target = HIDDEN
    assert (place / "deep" / "data").read_text() == "x"
    assert (place / "test.sh").read_text() == text
    mounts = list(found.mounts(keep_home=False))
    assert (mounts[0].source, mounts[0].target, mounts[0].read_only) == (str(hidden), target, True)


def test_nobody_else_may_enter_what_is_the_verifiers(tmp_path: Path) -> None:
    found = surround(a_tested(tmp_path), tmp_path / "new")
    modes = {
        path.name: path.stat().st_mode & 0o777 for path in (found.logs, found.home, found.folder)
    }
    assert modes["logs"] == modes["home"] == 0o700
    assert (found.logs, found.home) == (tmp_path / "new" / "logs", tmp_path / "new" / "home")
    for path in (tmp_path / "new" / "hidden", *(tmp_path / "new" / "hidden").iterdir()):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("untrusted", [True, False])
@pytest.mark.parametrize("keep_home", [True, False])
def test_what_is_mounted(untrusted: bool, keep_home: bool, tmp_path: Path) -> None:
    task = a_tested(tmp_path, untrusted_programs=untrusted)
    found = surround(task, tmp_path / "new")
    mounts = {mount.target: mount for mount in found.mounts(keep_home)}
    assert {*mounts} == {HIDDEN, SCRIPTS, HOME, LOGS, *([UNTRUSTED] if untrusted else [])}
    assert mounts[SCRIPTS].source == str(INSIDE) and mounts[SCRIPTS].read_only
    assert mounts[HOME].source == str(found.home) and mounts[LOGS].source == str(found.logs)
    writable = {target for target, mount in mounts.items() if not mount.read_only}
    assert writable == {*mounts} - {HIDDEN, SCRIPTS}
    assert mounts[HOME].returned is keep_home and mounts[LOGS].returned
    assert (tmp_path / "new" / "untrusted").exists() is untrusted
    found.remove()
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize(
    ("timeout_s", "seconds"), [(0.5, 1), (1.0, 1), (3.9, 1), (4.0, 2), (600.0, 300)]
)
def test_a_program_of_the_agents_gets_half_of_the_time(
    timeout_s: float, seconds: int, tmp_path: Path
) -> None:
    task = a_tested(tmp_path, untrusted_programs=True, verifier_timeout_s=timeout_s)
    found = surround(task, tmp_path / "new")
    folder = found.folder / "untrusted"
    assert (folder / "settings").read_text() == f"/work\n{seconds}\n"
    modes = {name: (folder / name).stat().st_mode & 0o777 for name in ("hello", "control")}
    assert modes == {"hello": 0o777, "control": 0o666}
    assert folder.stat().st_mode & 0o777 == 0o755 and (folder / "control").is_fifo()


def a_box(spawned: bool, asked: list[list[str]]) -> Any:
    def spawn(argv: list[str]) -> bool:
        asked.append(argv)
        return spawned

    return cast(Any, SimpleNamespace(path=lambda target: f"/box{target}", spawn=spawn))


@pytest.mark.parametrize(
    ("untrusted", "spawned", "env"),
    [
        (False, True, {}),
        (True, True, {"UNTRUSTED": f"{SCRIPTS}/run", "UNTRUSTED_FOLDER": UNTRUSTED}),
        (True, False, {"UNTRUSTED": "env"}),
    ],
)
def test_how_programs_of_the_agents_are_run(
    untrusted: bool, spawned: bool, env: dict[str, str], tmp_path: Path
) -> None:
    asked = list[list[str]]()
    task = a_tested(tmp_path, untrusted_programs=untrusted)
    found = surround(task, tmp_path / "new").env(a_box(spawned, asked))
    assert {name: value for name, value in found.items() if "UNTRUSTED" in name} == env
    assert asked == ([["bash", f"{SCRIPTS}/serve", UNTRUSTED]] if untrusted else [])


def test_the_variables_of_the_tests(tmp_path: Path) -> None:
    task = a_tested(
        tmp_path, env=(("A", "task"), ("HOME", "/theirs"), ("B", "task")),
        verifier_env=(("B", "tests"), ("TESTS_DIR", "x"), ("VERIFIER_LOGS", "x")),
    )  # fmt: skip
    found = surround(task, tmp_path / "new")
    env = found.env(a_box(True, []))
    assert (env["A"], env["B"], env["HOME"]) == ("task", "tests", f"/box{HOME}")
    assert (env["TESTS_DIR"], env["VERIFIER_LOGS"]) == (f"/box{found.tests}", f"/box{LOGS}")
    assert env["XDG_CONFIG_HOME"] == f"/box{HOME}/.config" and env["GIT_CONFIG_COUNT"] == "2"
    assert found.argv(a_box(True, [])) == [
        "bash", f"/box{SCRIPTS}/judge", f"/box{found.tests}/test.sh",
    ]  # fmt: skip
    (tmp_path / "other").mkdir()
    own = a_tested(tmp_path / "other", verifier_env=(("HOME", "/own"),))
    assert surround(own, tmp_path / "other/new").env(a_box(True, []))["HOME"] == "/own"


@pytest.mark.parametrize(
    ("text", "hooks", "config"),
    [
        ("true", False, False),
        ("ls .git/hooks", True, False),
        ("git config core.hooksPath x", True, False),
        ("run pre-commit", True, False),
        ("x-post-merge-y commit-msg", True, False),
        ("commit-msgs reposts-commit", False, False),
        ("cat .git/config", False, True),
        ("git config --get user.name", False, True),
        ("git config user.name", False, True),
        ("git config user.name | cat", False, True),
        ("git config user.name me", False, False),
        ('["git", "config", "--list"]', False, True),
    ],
)
def test_what_of_a_repository_the_tests_judge(
    text: str, hooks: bool, config: bool, tmp_path: Path
) -> None:
    found = surround(a_tested(tmp_path, text), tmp_path / "new")
    env = found.env(a_box(True, []))
    assert (env["GIT_CONFIG_COUNT"] == "1") is hooks
    assert found.keeps_git_config() is config


def test_the_size_of_the_tests_is_rounded_up(tmp_path: Path) -> None:
    found = surround(a_tested(tmp_path, ""), tmp_path / "new")
    assert found.tests_mb == 1
    for size, megabytes in ((1024 * 1024 - 2, 1), (1024 * 1024 - 1, 2), (3 * 1024 * 1024, 4)):
        with (tmp_path / "task" / "tests" / "large").open("wb") as file:
            file.truncate(size)
        assert found.tests_mb == megabytes


def test_the_beginning_of_each_file_of_the_tests_is_read(tmp_path: Path) -> None:
    for size, named in ((1024 * 1024 - 6, True), (1024 * 1024 - 5, False)):
        folder = tmp_path / str(size)
        folder.mkdir()
        task = a_tested(folder)
        (task.folder / "tests" / "long").write_bytes(b" " * size + b"/tests")
        assert (surround(task, folder / "new").tests == TESTS) is named


def test_an_attack_on_the_verifiers_own_machinery_is_told(tmp_path: Path) -> None:
    found = surround(a_tested(tmp_path, untrusted_programs=True), tmp_path / "new")
    assert found.attacked == ""
    note = found.folder / "untrusted" / "attacked"
    note.write_bytes(b" it was \xff killed \n")
    assert found.attacked == "it was \ufffd killed"
    note.write_text("x" * 1001)
    assert found.attacked == "x" * 1000
    note.unlink()
    os.symlink("/etc/passwd", note)
    assert found.attacked == ""
