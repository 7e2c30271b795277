"""A ``devcontainer.json``, key by key: what its container gets, and what is left out or noted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.tasks.devcontainer import Devcontainer, read_devcontainer
from skillopt.tasks.tables import TaskError


def project(folder: Path, text: str = "{}", name: str = ".devcontainer/devcontainer.json") -> Path:
    file = folder / "My Page" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def read(folder: Path, **values: Any) -> Devcontainer:
    return read_devcontainer(project(folder, json.dumps({"image": "a:1", **values}, indent=1)))


def test_a_container_of_an_image_has_its_defaults(tmp_path: Path) -> None:
    file = project(tmp_path, '\ufeff// said\n{"image": "a:1",}')
    root = tmp_path / "My Page"
    assert read_devcontainer(file) == Devcontainer(
        file=file, project=root, image="a:1", dockerfile=None, context=None, args={}, target="",
        workdir="/workspaces/My-Page", env={}, commands=[], notes=(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        (".devcontainer/devcontainer.json", "My Page"),
        (".devcontainer/one/devcontainer.json", "My Page"),
        (".devcontainer/one/two/devcontainer.json", "two"),
        ("devcontainer.json", "My Page"),
        ("sub/devcontainer.json", "sub"),
    ],
)
def test_a_project_is_the_folder_around_its_file(name: str, inside: str, tmp_path: Path) -> None:
    found = read_devcontainer(project(tmp_path, '{"image": "a"}', name))
    assert found.project.name == inside


@pytest.mark.parametrize(
    ("build", "found"),
    [
        ({"build": {"dockerfile": "D"}}, ("D", ".", {}, "")),
        ({"build": {"dockerfile": "D", "context": ".."}}, ("D", "..", {}, "")),
        ({"dockerFile": "D", "context": ".."}, ("D", "..", {}, "")),
        ({"dockerFile": "none", "build": {"dockerfile": "D"}}, ("D", ".", {}, "")),
        ({"build": {"dockerfile": "D", "args": {"A": 1, "B": True}, "target": "t"}},
         ("D", ".", {"A": "1", "B": "true"}, "t")),
        ({"build": {"dockerfile": "D", "args": {"A": "${containerEnv:X}", "B": "x"}}},
         ("D", ".", {"B": "x"}, "")),
    ],
)  # fmt: skip
def test_what_a_container_is_built_from(
    build: dict[str, Any], found: tuple[str, str, dict[str, str], str], tmp_path: Path
) -> None:
    here = project(tmp_path).parent
    (here / "D").touch()
    made = read(tmp_path, **build)
    dockerfile, context, args, target = found
    assert made.image == "" and made.dockerfile == here / dockerfile
    assert made.context == (here / context).resolve() and made.args == args
    assert made.target == target
    assert len(made.notes) == len(build.get("build", {}).get("args", {})) - len(args)


def test_a_build_that_is_not_known_is_noted_or_refused(tmp_path: Path) -> None:
    (project(tmp_path).parent / "D").touch()
    build: dict[str, Any] = {"dockerfile": "D", "cacheFrom": "x", "options": ["--a"]}
    (note,) = read(tmp_path, build=build).notes
    assert ": build.options: has no effect" in note
    for spoiled, said in (
        ({"dockerfile": "."}, "build.dockerfile: .*there is none; correct the path"),
        ({"dockerfile": "D", "context": "D"}, "build.context: .*there is none"),
        ({"dockerfile": "../../D"}, "build.dockerfile: '../../D' leads out of"),
        ({"dockerfile": "D", "target": 5}, "build.target: must be a text, got 5"),
        ({"dockerfile": "D", "args": []}, r"build.args: must be a mapping, got \[\]"),
        ({"dockerfile": "${localEnv:D}"}, "build.dockerfile: .*has a variable without a value"),
    ):
        with pytest.raises(TaskError, match=said):
            read(tmp_path, build=spoiled)


@pytest.mark.parametrize(
    ("place", "workdir"),
    [
        (None, "/workspaces/My-Page"), ("/w", "/w"), ("/w/x.y/", "/w/x.y"),
        ("/w/${localWorkspaceFolderBasename}", None), ("/w/${containerWorkspaceFolder}x",
                                                       "/w//workspaces/My-Pagex"),
        ("w", None), ("/", None), ("/w/..", None), ("/./w", None), ("/w x", None),
    ],
)  # fmt: skip
def test_where_the_project_lies(place: str | None, workdir: str | None, tmp_path: Path) -> None:
    values = {} if place is None else {"workspaceFolder": place}
    if workdir is None or "//" in workdir:
        with pytest.raises(TaskError, match=r"workspaceFolder: .*is not an absolute path below /"):
            read(tmp_path, **values)
    else:
        assert read(tmp_path, **values).workdir == workdir


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("x", "x"), (5, "5"), (1.5, "1.5"), (True, "true"), (False, "false"), (None, None),
        ([1], None), ("${localEnv:HOME}", None), ("${env:HOME}", None),
        ("${localEnv:HOME:x}", "x"), ("${env:HOME:}", ""), ("a ${localEnv:A:b} c", "a b c"),
        ("${containerEnv:PATH}:/x", "${PATH}:/x"), ("${containerEnv:P:d}", "${P:-d}"),
        ("${localWorkspaceFolderBasename}", "My Page"), ("${containerWorkspaceFolder}", "/w/y"),
        ("${containerWorkspaceFolderBasename}", "y"), ("${localWorkspaceFolder}", None),
        ("${devcontainerId}", None), ("$HOME", "$HOME"), ("", ""),
        ("${localEnv:A:b} ${localEnv:C}", None),
    ],
)  # fmt: skip
def test_a_variable_has_its_value_or_is_left_out(
    value: Any, found: str | None, tmp_path: Path
) -> None:
    for key in ("containerEnv", "remoteEnv"):
        made = read(tmp_path, workspaceFolder="/w/y", **{key: {"A": value, "B": "b"}})
        assert made.env == ({"B": "b"} if found is None else {"A": found, "B": "b"})
        (*noted,) = made.notes
        assert len(noted) == (found is None)
        assert all(f": {key}.A: is left out" in note for note in noted)


def test_the_later_variables_win(tmp_path: Path) -> None:
    made = read(tmp_path, containerEnv={"A": "1", "B": "1"}, remoteEnv={"B": "2"})
    assert made.env == {"A": "1", "B": "2"}
    for env, said in (({"A B": "1"}, "A B"), ({"A": "1\n2"}, "A"), ({"A\n": "1"}, "A")):
        with pytest.raises(TaskError, match=rf"containerEnv\.{said}\s*: no variable can have it"):
            read(tmp_path, containerEnv=env)


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("make it", [("/bin/sh", "-c", "make it")]),
        (["make", "it"], [("make", "it")]),
        ([], []), ("", []), (None, []), ({}, []),
        ({"a": "one", "b": ["two", "x"], "c": []}, [("/bin/sh", "-c", "one"), ("two", "x")]),
        ("cd ${containerWorkspaceFolder} ${localWorkspaceFolder} ${localEnv:A} ${localEnv:A:b}",
         [("/bin/sh", "-c", "cd /w/y /w/y  b")]),
        (["${containerEnv:A}", "${HOME}"], [("${A}", "${HOME}")]),
    ],
)  # fmt: skip
def test_commands_are_run_by_a_shell_or_as_words(
    command: Any, found: list[Any], tmp_path: Path
) -> None:
    assert read(tmp_path, workspaceFolder="/w/y", onCreateCommand=command).commands == found


def test_commands_have_their_order(tmp_path: Path) -> None:
    given = {"postCreateCommand": ["c"], "onCreateCommand": ["a"], "updateContentCommand": ["b"]}
    assert read(tmp_path, **given).commands == [("a",), ("b",), ("c",)]
    for broken in (5, [5], {"a": 5}, {"a": {"b": "c"}}, [["a"]]):
        with pytest.raises(TaskError, match="postCreateCommand: must be a text or a list of words"):
            read(tmp_path, postCreateCommand=broken)


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ({"name": "x", "customizations": {}, "init": True, "remoteEnv": {}}, []),
        ({"odd": 1}, ["odd: is not known, and has no effect"]),
        ({"mounts": [], "remoteUser": "x"},
         ["mounts: has no effect: a sandbox has its own mounts and rights",
          "remoteUser: has no effect: agents have the sandbox's user"]),
        ({"features": {}, "dockerComposeFile": ""}, []),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_noted(
    values: dict[str, Any], notes: list[str], tmp_path: Path
) -> None:
    found = read(tmp_path, **values)
    assert [note.partition(": ")[2] for note in found.notes] == notes
    lines = [int(note.split(":")[1]) for note in found.notes]
    assert lines == [3 + n for n in range(len(notes))], "the image is in the second line"


def test_a_file_has_a_size_and_a_form(tmp_path: Path) -> None:
    text = '{"image": "a:1"}'
    file = project(tmp_path, text.ljust(1_000_000))
    with pytest.MonkeyPatch.context() as patched:  # So many blanks take a while to be read.
        patched.setattr("json5.loads", lambda text, **options: json.loads(text))
        assert read_devcontainer(file).image == "a:1"
    for spoiled, said in (
        (text.ljust(1_000_001), r"devcontainer\.json: has more than 1 MB"),
        ("5", r"json:1: must be a mapping, not int"),
        ('{"image": "a:1"', r"json:1.*\(JSON with comments\)"),
        ('{\n"image": "-"}', r"json:2: image: '-' is not the name of an image"),
        ('{\n\n"features": {"a": 1, "b": 2}}', r"json:3: features: a, b are not installed here"),
        ('{"dockerComposeFile": "c"}', r"json:1: dockerComposeFile: several containers"),
        ('{"build": {}}', r"json:1: image: is missing; add it, or build\.dockerfile"),
    ):
        file.write_text(spoiled)
        with pytest.raises(TaskError, match=said):
            read_devcontainer(file)
    file.unlink()
    with pytest.raises(TaskError, match="cannot be read"):
        read_devcontainer(file)
