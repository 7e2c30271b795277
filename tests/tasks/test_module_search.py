"""Where the Pythons of a verifier look for modules: the file that says so, loaded with search paths
and callers of the test's own."""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skillopt.tasks.surroundings import INSIDE

FILE = INSIDE / "python" / "sitecustomize.py"
CODE = compile(FILE.read_bytes(), str(FILE), "exec")


@dataclass
class Started:
    """A Python that has read the file.

    Args:
        path: where it looks for modules.
        finders: of modules, in their order.
        own: what the file defines.
    """

    path: list[str]
    finders: list[Any]
    own: dict[str, Any]

    @property
    def places(self) -> list[str]:
        """Where modules are looked for last."""
        found: list[str] = self.own["_Last"].places
        return found


Start = Callable[..., Started]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a Python in the folder ``work``, with paths relative to a folder around it."""
    for name in ("work/sub", "worked", "other/deep", "installed", "judged/in"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("work/sub")
    (tmp_path / "work" / "agents_own.py").touch()
    (tmp_path / "work" / "sub" / "below.py").touch()
    monkeypatch.chdir(tmp_path / "work")

    def begin(
        path: Sequence[str] = (), argv: Sequence[str] | None = ("-c",), judged: str = "",
        safe: bool | None = None,
    ) -> Started:  # fmt: skip
        finders = [SimpleNamespace(name="others")]
        places = [str(tmp_path / one) if one not in ("", ".") else one for one in path]
        own: dict[str, Any] = {"__name__": "sitecustomize", "__file__": str(FILE)}
        flags = SimpleNamespace() if safe is None else SimpleNamespace(safe_path=safe)
        # ``judged`` is no variable of the process that starts the tests.
        env = {"JUDGED_WORKDIR": str(tmp_path / judged)} if judged else {}
        with monkeypatch.context() as patched:
            patched.setattr(sys, "path", places)
            patched.setattr(sys, "meta_path", finders)
            patched.setattr(sys, "flags", flags)
            if argv is None:
                patched.delattr(sys, "argv")
            else:
                patched.setattr(sys, "argv", [str(one) for one in argv])
            patched.setattr(os, "environ", env)
            exec(CODE, own)
        return Started(places, finders, own)

    return begin


@pytest.mark.parametrize(
    ("entry", "kept", "placed"),
    [
        ("installed", True, False),
        ("worked", True, False),
        ("other", True, False),
        ("", False, False),
        (".", False, True),
        ("work", False, False),
        ("work/sub", False, True),
        ("link", False, True),
        ("judged", False, True),
        ("judged/in", False, True),
        ("missing", True, False),
    ],
)
def test_the_agents_folders_are_no_places_to_look_in_first(
    entry: str, kept: bool, placed: bool, start: Start, tmp_path: Path
) -> None:
    found = start(["other/deep", entry, "installed"], judged="judged")
    full = str(tmp_path / entry) if entry not in ("", ".") else entry
    between = [full] if kept else []
    assert found.path == [str(tmp_path / "other/deep"), *between, str(tmp_path / "installed")]
    assert found.places == [str(tmp_path / "work"), *([full] if placed else [])]


def test_several_of_the_agents_folders_are_looked_in_last_in_their_order(
    start: Start, tmp_path: Path
) -> None:
    found = start(["judged/in", "installed", "work/sub", "judged"], judged="judged")
    assert found.path == [str(tmp_path / "installed")]
    assert found.places[1:] == [str(tmp_path / one) for one in ("judged/in", "work/sub", "judged")]


def test_without_a_judged_folder_only_the_working_directory_is_the_agents(
    start: Start, tmp_path: Path
) -> None:
    found = start(["judged", "work/sub"])
    assert found.path == [str(tmp_path / "judged")]


def test_a_root_that_is_judged_is_all_the_agents(start: Start) -> None:
    assert start(["installed"], judged="/").path == []


@pytest.mark.parametrize(
    ("argv", "asks"),
    [
        (("-c",), True), (("-m", "x"), True), (("-", "x"), True), (("",), True), (None, True),
        ((), True), (("script.py",), False), (("x", "-c"), False),
    ],
)  # fmt: skip
def test_a_program_without_a_file_looks_in_the_working_directory_last(
    argv: Sequence[str] | None, asks: bool, start: Start, tmp_path: Path
) -> None:
    found = start(["installed"], argv)
    first, last = found.own["_First"], found.own["_Last"]
    others = [one for one in found.finders if one not in (first, last)]
    assert found.finders == [*([first] if asks else []), *others, last]
    assert found.places == ([str(tmp_path / "work")] if asks else [])
    assert found.path == [str(tmp_path / "installed")]


def test_what_was_put_in_front_since_is_set_apart_at_the_first_import(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = start(["installed"])
    found.path.insert(0, "")
    found.path.insert(1, str(tmp_path / "work" / "sub"))
    with monkeypatch.context() as patched:
        patched.setattr(sys, "path", found.path)
        patched.setattr(sys, "meta_path", found.finders)
        assert found.own["_First"].find_spec("anything") is None
    assert found.path == [str(tmp_path / "installed")]
    assert found.places == [str(tmp_path / "work"), str(tmp_path / "work" / "sub")]
    assert found.own["_First"] not in found.finders and len(found.finders) == 2


@pytest.mark.parametrize(
    ("argv", "safe", "beside"),
    [
        (("other/run.py",), True, "other"),
        (("other/link.py",), True, "other/deep"),
        (("other/run.py",), False, None),
        (("other/run.py",), None, None),
        (("other/missing.py",), True, None),
        (("-c",), True, None),
    ],
)
def test_a_script_finds_what_lies_beside_it(
    argv: Sequence[str], safe: bool | None, beside: str | None, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "other" / "run.py").touch()
    (tmp_path / "other" / "deep" / "real.py").touch()
    (tmp_path / "other" / "link.py").symlink_to("deep/real.py")
    given = [tmp_path / one if one.endswith(".py") else one for one in argv]
    found = start(["installed"], given, safe=safe)
    first = [str(tmp_path / beside)] if beside else []
    assert found.path == [*first, str(tmp_path / "installed")]


def asked(found: Started, file: str, name: str, module: str = "agents_own", **given: Any) -> Any:
    """What the last finder says to an import in a file, by way of Python's own machinery."""
    inner: dict[str, Any] = {"__name__": "x", "finder": found.own["_Last"].find_spec, **given}
    through = "<frozen importlib._bootstrap>"
    exec(compile(f"def ask():\n    return finder({module!r})", through, "exec"), inner)
    also: dict[str, Any] = {"__name__": "importlib.util", "ask": inner["ask"]}
    exec(compile("def again():\n    return ask()", "/lib/importlib/util.py", "exec"), also)
    outer: dict[str, Any] = {"__name__": name, "again": also["again"]}
    exec(compile("spec = again()", file, "exec"), outer)
    return outer["spec"]


@pytest.mark.parametrize(
    ("file", "name", "meant"),
    [
        ("{tests}/test_a.py", "test_a", True),
        ("{work}/agents_own.py", "agents_own", True),
        ("<string>", "__main__", True),
        ("{installed}/package.py", "package", False),
        ("{installed}/deep/package.py", "package", False),
        ("{installed}-not/package.py", "package", True),
        ("{python}/sitecustomize.py", "sitecustomize", True),
        ("<frozen runpy>", "frozen", False),
        # What imports what a user names.
        ("<frozen runpy>", "runpy", True),
        ("{installed}/unittest/loader.py", "unittest.loader", True),
        ("{installed}/pkgutil.py", "pkgutil", True),
        ("{installed}/doctest.py", "doctest", True),
        ("{installed}/pydoc.py", "pydoc", True),
        ("{installed}/other.py", "unittest", False),
    ],
)
def test_the_agents_modules_are_found_for_those_who_mean_them(
    file: str, name: str, meant: bool, start: Start, tmp_path: Path
) -> None:
    found = start(["installed", str(FILE.parent), "gone"])
    places = {one: str(tmp_path / one) for one in ("installed", "work", "tests")}
    spec = asked(found, file.format(python=FILE.parent, **places), name)
    assert (spec is not None) is meant
    if meant:
        assert spec.origin == str(tmp_path / "work" / "agents_own.py")
    # What is not there is not found for anybody.
    assert asked(found, file.format(python=FILE.parent, **places), name, "no_such") is None


def test_a_folder_that_is_not_there_has_no_installed_packages(start: Start, tmp_path: Path) -> None:
    found = start(["gone"])
    assert asked(found, str(tmp_path / "gone" / "a.py"), "a") is not None


@pytest.mark.parametrize(
    ("name", "path", "found"),
    [
        ("agents_own", None, True),
        ("agents_own", ["{work}"], False),
        ("agents_own", [], False),
        ("below", None, True),
        *(
            (name, None, False)
            for name in ("_pytest", "coverage", "hypothesis", "nose2", "nox", "pip", "pluggy",
                         "pytest", "tox")
        ),
    ],
)  # fmt: skip
def test_what_judges_is_never_the_agents_nor_is_what_lies_in_a_package(
    name: str, path: list[str] | None, found: bool, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "work" / f"{name}.py").touch()
    began = start(["work/sub", "installed"])
    last = began.own["_Last"]
    places = None if path is None else [one.format(work=tmp_path / "work") for one in path]
    spec = last.find_spec(name, places)
    assert (spec is not None) is found
    if spec is not None:
        assert isinstance(spec, importlib.machinery.ModuleSpec)
