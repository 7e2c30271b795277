"""What ``tasks.environment`` makes of a Dockerfile or a folder, rule by rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import BaseImage
from skillopt.tasks import own_image as module
from skillopt.tasks.dockerfile import Copy, SimpleDockerfile, final_workdir, read_simple
from skillopt.tasks.harbor import TaskError, folder_digest
from skillopt.tasks.own_image import looks_like_path, own_image


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def built(folder: Path, text: str = "FROM a\nCOPY . .\n", source: str = "quickstart") -> BaseImage:
    write(folder, Dockerfile=text)
    return own_image(str(folder / "Dockerfile"), source, folder.parent / "runs" / "tasks")


def files_of(own: BaseImage, below: str = "") -> set[str]:
    assert own.folder is not None
    root = own.folder / below
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir()}


@pytest.mark.parametrize(
    ("text", "is_path"),
    [
        ("./a", True), ("../a", True), ("/a", True), ("~/a", True), ("a/Dockerfile", True),
        ("dockerfile.dev", True), ("my.Dockerfile", True), ("a/b.json", True), ("a/B.JSON", True),
        ("a.json/b", False), ("a/b", False), ("dockerfiles/b:1", False), ("json", False),
    ],
)  # fmt: skip
def test_what_is_meant_to_be_a_path(text: str, is_path: bool) -> None:
    assert looks_like_path(text) is is_path


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("a", True), ("a:1", True), ("a/b/c:x.y-z", True), ("host:5000/a", True),
        ("host:5000/a:1", True), ("a:1@sha256:" + "0" * 64, True), ("9a", True), ("a_b.c-d", True),
        ("a@sha256:" + "0" * 63, False), ("A", False), ("a:", False), ("a b", False), ("a/", False),
        ("-a", False), ("a:1:2:3", False),
    ],
)  # fmt: skip
def test_names_of_images(name: str, allowed: bool, tmp_path: Path) -> None:
    if allowed:
        assert own_image(name, "quickstart", tmp_path / "runs/tasks") == BaseImage(name)
    else:
        with pytest.raises(TaskError, match="not the name of an image; name a devcontainer"):
            own_image(name, "quickstart", tmp_path / "runs/tasks")


@pytest.mark.parametrize(
    ("text", "copied"),
    [
        ("FROM a\nCOPY . .\n", True),
        ("FROM a\n  copy x y\n", True),
        ("FROM a\nADD x y\n", True),
        ("FROM a\nRUN --mount=type=bind,target=/x make\n", True),
        ("FROM a AS b\nCOPY --from=b x y\n", False),
        ("FROM a AS b\nCOPY --from=b x y\nCOPY x y\n", True),
        ("FROM a AS b\nCOPY x y\nCOPY --from=b x y\n", True),
        ("FROM a\nRUN --mount=type=bind,--from=b make\n", False),
        ("FROM a\nRUN echo COPY x\n", False),
        ("FROM a\n# COPY x y\n", False),
        ("FROM a\nCOPYING x\n", False),
    ],
)
def test_a_context_is_copied_if_the_dockerfile_takes_from_it(
    text: str, copied: bool, tmp_path: Path
) -> None:
    own = built(write(tmp_path / "p", x="1"), text)
    assert files_of(own) == ({"Dockerfile", "x"} if copied else {"Dockerfile"})


def test_an_image_is_named_by_the_content_of_its_build(tmp_path: Path) -> None:
    own = built(write(tmp_path / "p", x="1"), "FROM a\nWORKDIR /w\nCOPY . .\n")
    assert own.folder is not None
    digest = folder_digest(own.folder)
    assert own == BaseImage(
        f"skillopt/task:{digest[:12]}",
        tmp_path / "runs" / "tasks" / f"environment-{digest[:16]}",
        "/w",
        (),
        str(tmp_path / "p" / "Dockerfile"),
    )
    assert (own.folder / "Dockerfile").read_text() == "FROM a\nWORKDIR /w\nCOPY . .\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# FROM a\n\nARG A\nFROM $A\n", 0), ("from a\n", 0), ("arg A=1\n  FROM a\n", 0),
        ("RUN x\nFROM a\n", 1), ("\nRUN x\nFROM a\n", 2), ("ARG A\nRUN x\n", 1), ("FROM \n", 1),
        ("ARG FROM\n", 1), ("", 1),
    ],
)  # fmt: skip
def test_what_a_dockerfile_begins_with(text: str, line: int, tmp_path: Path) -> None:
    if line:
        with pytest.raises(TaskError, match=rf"Dockerfile:{line}: "):
            built(tmp_path / "p", text)
    else:
        built(tmp_path / "p", text)


def test_a_dockerfile_of_exactly_the_limit(tmp_path: Path) -> None:
    text = "FROM a\n"
    built(tmp_path / "p", text + "#" * (1_000_000 - len(text)))
    with pytest.raises(TaskError, match="more than 1 MB"):
        built(tmp_path / "p", text + "#" * (1_000_001 - len(text)))


BUILD = "FROM a AS One\n\nRUN 1\nFROM b as two\nRUN 2\nFROM c\nRUN 3\n"


def staged(tmp_path: Path, build: dict[str, Any], dockerfile: str = BUILD) -> BaseImage:
    write(
        tmp_path / "p",
        **{".devcontainer__D": dockerfile},
        **{".devcontainer__devcontainer.json": json.dumps({"build": {"dockerfile": "D"} | build})},
    )
    return own_image(str(tmp_path / "p"), "quickstart", tmp_path / "runs/tasks")


def head(own: BaseImage) -> str:
    assert own.folder is not None
    return (own.folder / "Dockerfile").read_text().partition("\nUSER root\n")[0]


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("one", "FROM a AS One\n\nRUN 1"),
        ("0", "FROM a AS One\n\nRUN 1"),
        ("TWO", "FROM a AS One\n\nRUN 1\nFROM b as two\nRUN 2"),
        ("1", "FROM a AS One\n\nRUN 1\nFROM b as two\nRUN 2"),
        ("2", BUILD.rstrip()),
        ("", BUILD.rstrip()),
        ("3", None),
        ("c", None),
        ("-1", None),
    ],
)
def test_a_stage_of_a_build(target: str, text: str | None, tmp_path: Path) -> None:
    if text is None:
        with pytest.raises(TaskError, match=f"build.target: .* has no stage '{target}'"):
            staged(tmp_path, {"target": target})
    else:
        assert head(staged(tmp_path, {"target": target} if target else {})) == text


@pytest.mark.parametrize(
    ("line", "value", "given"),
    [
        ("ARG A", "x", 'ARG A="x"'),
        ("ARG A=old", "x", 'ARG A="x"'),
        ("  arg  A=old y", "x", '  arg  A="x"'),
        ("ARG AB", "x", None),
        ("ARG BA=A", "x", None),
        ("ARG A", 'a"b\\c', 'ARG A="a\\"b\\\\c"'),
        ("ARG A", "a $HOME", 'ARG A="a \\$HOME"'),
        ("ARG A", "$", 'ARG A="\\$"'),
    ],
)
def test_an_argument_of_a_build(line: str, value: str, given: str | None, tmp_path: Path) -> None:
    own = staged(tmp_path, {"args": {"A": value}}, f"FROM a\n{line}\nRUN x\n")
    assert head(own) == f"FROM a\n{given or line}\nRUN x"
    file = tmp_path / "p" / ".devcontainer"
    note = f"{file / 'devcontainer.json'}: build.args.A: {file / 'D'} has no such ARG"
    assert own.notes == (() if given else (note,))


def test_a_devcontainer_that_takes_from_its_context_gets_both(tmp_path: Path) -> None:
    write(tmp_path / "p", a="1", **{".devcontainer__b": "2", "sub__c": "3"})
    own = staged(tmp_path, {}, "FROM a\nCOPY b /\n")
    project = {f".skillopt-project/{name}" for name in ("a", "sub/c")}
    inside = {"b", "D", "devcontainer.json"}
    assert files_of(own) == {
        "Dockerfile", *inside, *project, *(f".skillopt-project/.devcontainer/{n}" for n in inside)
    }  # fmt: skip
    assert files_of(staged(tmp_path, {}, "FROM a\n")) == {
        "Dockerfile", *project, *(f".skillopt-project/.devcontainer/{n}" for n in inside)
    }  # fmt: skip
    assert own.workdir == "/workspaces/p" and own.file.endswith("devcontainer.json")


@pytest.mark.parametrize(
    ("config", "left_out"),
    [
        ("name: x\ntasks: {}\nskill: {}\n", True),
        ("name: x\ntasks: {}\nother: {}\n", False),
        ("name: x\n  tasks: {}\nskill: {}\n", False),
        ("base: a.yaml\nname: x\nworkers: 1\n", True),
        ("#\n" * 9_990 + "name: x\ntasks: {}\nskill: {}\n", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.txt"])
def test_configs_are_not_copied(config: str, left_out: bool, name: str, tmp_path: Path) -> None:
    own = built(write(tmp_path / "p", **{name: config}))
    assert (name in files_of(own)) is not (left_out and name != "a.txt")


def test_a_link_to_a_config_is_a_link(tmp_path: Path) -> None:
    folder = write(tmp_path / "p", **{"real.txt": "name: x\ntasks: {}\nskill: {}\n"})
    (folder / "link.yaml").symlink_to("real.txt")
    assert files_of(built(folder)) == {"Dockerfile", "real.txt", "link.yaml"}


def test_links_that_stay_inside_are_copied_as_links(tmp_path: Path) -> None:
    folder = write(tmp_path / "p", **{"sub__a": "1"})
    for name, target in {
        "to-a": "sub/a", "sub/to-self": "../sub/a", "absolute": str(folder / "sub/a"),
        "out": "../other", "dangling": "sub/none",
    }.items():  # fmt: skip
        (folder / name).symlink_to(target)
    own = built(folder)
    assert files_of(own) == {"Dockerfile", "sub/a", "to-a", "sub/to-self", "dangling"}
    assert own.folder is not None and (own.folder / "sub/to-self").readlink() == Path("../sub/a")


@pytest.mark.parametrize(
    ("source", "copied"),
    [
        ("quickstart", {"a", "set/one/task.toml", "set/one/x", "e/evals/evals.json", "e/evals/in",
                        "e/b", "tasks.jsonl"}),
        ("set", {"a", "e/evals/evals.json", "e/evals/in", "e/b", "tasks.jsonl"}),
        ("tasks.jsonl", {"a", "set/one/task.toml", "set/one/x", "e/evals/evals.json",
                         "e/evals/in", "e/b"}),
        # Of a folder of a skill, that of its eval files.
        ("e", {"a", "set/one/task.toml", "set/one/x", "e/b", "tasks.jsonl"}),
        ("*/evals/evals.json", {"a", "set/one/task.toml", "set/one/x", "e/b", "tasks.jsonl"}),
        ("**/x", {"a", "set/one/task.toml", "e/evals/evals.json", "e/evals/in", "e/b",
                  "tasks.jsonl"}),
        # A source that holds all of it hides none of it.
        (".", {"a", "set/one/task.toml", "set/one/x", "e/evals/evals.json", "e/evals/in", "e/b",
               "tasks.jsonl"}),
    ],
)  # fmt: skip
def test_what_scores_the_tasks_is_not_copied(
    source: str, copied: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(
        tmp_path / "p",
        a="1",
        **{"set__one__task.toml": "", "set__one__x": "", "tasks.jsonl": ""},
        **{"e__evals__evals.json": '{"evals": []}', "e__evals__in": "", "e__b": ""},
    )
    monkeypatch.chdir(folder)
    assert files_of(built(folder, source=source)) == {"Dockerfile", *copied}


def test_a_skill_is_not_copied_unless_it_is_the_whole_folder(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "p",
        **{"SKILL.md": "x", "a": "1", "s__SKILL.md": "x", "s__deep__b": "1", "t__deep__c": "1"},
    )
    assert files_of(built(folder)) == {"Dockerfile", "SKILL.md", "a", "t/deep/c"}


@pytest.mark.parametrize(
    ("limit", "value", "refused"),
    [("MAX_FILES", 2, True), ("MAX_FILES", 3, False), ("MAX_BYTES", 18, True),
     ("MAX_BYTES", 19, False)],
)  # fmt: skip
def test_a_context_may_have_exactly_the_limit(
    limit: str, value: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, value)
    folder = write(tmp_path / "p", a="12", b="3")  # And the Dockerfile of 16 bytes.
    (folder / "link").symlink_to("a")
    if refused:
        with pytest.raises(TaskError, match=r"p: has more than .* files or .* MB; leave out"):
            built(folder)
    else:
        assert files_of(built(folder)) == {"Dockerfile", "a", "b", "link"}


def test_a_folder_with_both_is_its_devcontainer(tmp_path: Path) -> None:
    folder = write(tmp_path / "p", Dockerfile="FROM a\n")
    own = own_image(str(folder), "quickstart", tmp_path / "runs/tasks")
    assert own.file == str(folder / "Dockerfile")
    write(folder, **{".devcontainer.json": '{"image": "b:1"}'})
    own = own_image(str(folder), "quickstart", tmp_path / "runs/tasks")
    assert own.file == str(folder / ".devcontainer.json") and head(own) == "FROM b:1"


@pytest.mark.parametrize(
    ("lines", "workdir"),
    [
        ("WORKDIR /a\n", "/a"), ("workdir /a/../b\n", "/b"), ("WORKDIR /a\nWORKDIR b\n", "/a/b"),
        ("WORKDIR b\n", None), ("WORKDIR b\nWORKDIR /a\n", "/a"), ("WORKDIR\n", None),
        ("WORKDIR /a\nWORKDIR $B\n", None), ("WORKDIR $B\nWORKDIR c\n", None),
        ("WORKDIR /a b\n", None), ("WORKDIR /a\\\n", None), ("WORKDIR '/a'\n", None),
        ("WORKDIR [/a]\n", None), ('WORKDIR "/a"\n', None), ("RUN a <<EOF\nWORKDIR /a\n", None),
        ("WORKDIR /a\nRUN x <<-'E'\n", None), ("WORKDIR /a\nRUN $((1<<2))\n", None),
        ("WORKDIR /a\nRUN a << b\n", "/a"), ("WORKDIR /a\nFROM b\n", None),
        ("WORKDIR /a\nFROM b\nWORKDIR c\n", None), ("RUN WORKDIR /a\n", None),
    ],
)  # fmt: skip
def test_the_last_working_directory(lines: str, workdir: str | None) -> None:
    assert final_workdir(f"FROM a\n{lines}") == workdir


@pytest.mark.parametrize(
    ("lines", "copies"),
    [
        ("COPY a b", (Copy(("a",), "/app/b", False),)),
        ("COPY a b/", (Copy(("a",), "/app/b", True),)),
        ("COPY a .", (Copy(("a",), "/app", True),)),
        ("COPY a b/.", (Copy(("a",), "/app/b", True),)),
        ("COPY a b c", (Copy(("a", "b"), "/app/c", True),)),
        ("COPY a /app", (Copy(("a",), "/app", False),)),
        ("COPY a /app/b\n\n# x\nCOPY c d", (Copy(("a",), "/app/b", False),
                                             Copy(("c",), "/app/d", False))),
        ("WORKDIR b\nCOPY a c\nWORKDIR /app", (Copy(("a",), "/app/b/c", False),)),
        ("COPY a ../app/b", (Copy(("a",), "/app/b", False),)),
        ("COPY a/../b c", (Copy(("a/../b",), "/app/c", False),)),
        ("COPY a/../../b c", None),
        ("COPY a ../b", None),
        ("COPY a", None),
        ("COPY", None),
        ("WORKDIR", None),
        ("WORKDIR a b", None),
        ("FROM b", None),
        ("COPY a? b", None),
        ("COPY a[1] b", None),
        ("COPY 'a' b", None),
        ("# escape=`", None),
        ("# a note = this", ()),
        ("# note", ()),
        ("COPY a --b", None),
        ("COPY a b--c", (Copy(("a",), "/app/b--c", False),)),
    ],
)  # fmt: skip
def test_what_a_simple_dockerfile_copies(lines: str, copies: tuple[Copy, ...] | None) -> None:
    found = read_simple(f"FROM a:1\nWORKDIR /app\n{lines}\n", "/app")
    if copies is None:
        assert found is None
    else:
        assert found is not None and (found.image, found.copies) == ("a:1", copies)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a", SimpleDockerfile("a", "/", ())),
        ("FROM a\nWORKDIR b", SimpleDockerfile("a", "/b", ())),
        ("#first\n# second\n\nFROM a\n  #third #\n", SimpleDockerfile("a", "/", ())),
        ("WORKDIR /b\nFROM a", None),
        ("COPY a /app/b\nFROM a", None),
        ("FROM", None),
        ("FROM a AS b", None),
        ("", None),
    ],
)
def test_the_parts_of_a_simple_dockerfile(text: str, found: SimpleDockerfile | None) -> None:
    assert read_simple(text, "/app") == found
