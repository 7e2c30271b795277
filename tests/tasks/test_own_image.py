"""``tasks.environment``: what is read of Dockerfiles, devcontainer.json and names of images, what
a build is given, and which tasks start from it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sandboxes.base import SandboxError
from sandboxes.errors import BackendError
from sandboxes.local_backend import LocalBackend
from skillopt.config.schema import TasksConfig
from skillopt.core.types import Task
from skillopt.rollouts.prepare import prepare
from skillopt.tasks.devcontainer import find_devcontainer, read_devcontainer
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import TaskError, read_task
from skillopt.tasks.own_image import own_image
from skillopt.tasks.sources import load_splits
from skillopt.tasks.validate import examine
from tests.helpers.small import small_config
from tests.helpers.tasks import make_task, question


def devcontainer(project: Path, text: str, place: str = ".devcontainer/devcontainer.json") -> Path:
    file = project / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_comments_commas_and_all_that_a_container_is_made_from(tmp_path: Path) -> None:
    file = devcontainer(
        tmp_path / "my project",
        """// For format details, see https://aka.ms/devcontainer.json.
{
    "name": "it", /* and "so" on */
    "build": {"dockerfile": "Dockerfile", "context": "..", "target": "dev",
              "args": {"VARIANT": "3.12", "JOBS": 2, "HOST": "${localEnv:HOST}",
              "HOME": "${containerEnv:HOME}"}},
    "containerEnv": {"MODE": "dev", "QUIET": true},
    "remoteEnv": {"PATH": "${containerEnv:PATH}:/opt/x", "WHERE": "${containerWorkspaceFolder}/a",
                  "TOKEN": "${localEnv:TOKEN}", "TZ": "${localEnv:TZ:UTC}", "UNSET": null},
    "onCreateCommand": "cd ${containerWorkspaceFolder} && echo $HOME",
    "updateContentCommand": ["make", "deps"],
    "postCreateCommand": {"one": "echo 1", "two": ["echo", "2"]},
    "customizations": {"vscode": {}},
}
""",
    )
    (file.parent / "Dockerfile").write_text("FROM a AS dev\n")
    found = read_devcontainer(file)
    assert (found.dockerfile, found.context) == (file.parent / "Dockerfile", file.parents[1])
    assert (found.args, found.target) == ({"VARIANT": "3.12", "JOBS": "2"}, "dev")
    assert found.workdir == "/workspaces/my-project"
    assert found.env == {
        "MODE": "dev",
        "QUIET": "true",
        "PATH": "${PATH}:/opt/x",
        "WHERE": "/workspaces/my-project/a",
        "TZ": "UTC",
    }
    assert found.commands == [
        ("/bin/sh", "-c", "cd /workspaces/my-project && echo $HOME"),
        ("make", "deps"),
        ("/bin/sh", "-c", "echo 1"),
        ("echo", "2"),
    ]
    left_out = "is left out: it takes its value from this machine"
    assert found.notes == (
        f"{file}:5: build.args.HOST: {left_out}",
        f"{file}:6: build.args.HOME: is left out: it takes its value from the container",
        f"{file}:9: remoteEnv.TOKEN: {left_out}",
        f"{file}:9: remoteEnv.UNSET: {left_out}",
    )


def test_nothing_of_this_machines_environment_enters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "sk-secret-4711")
    text = json.dumps(
        {
            "image": "a:1",
            "remoteEnv": {"API_KEY": "${localEnv:API_KEY}", "OTHER": "${env:API_KEY:none}"},
            "postCreateCommand": "echo '${localEnv:API_KEY}'",
        }
    )
    own = own_image(str(devcontainer(tmp_path / "p", text)), "quickstart", tmp_path / "runs/tasks")
    assert own.folder is not None
    dockerfile = (own.folder / "Dockerfile").read_text()
    assert "4711" not in dockerfile
    assert 'ENV OTHER="none"' in dockerfile


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("features", {"ghcr.io/devcontainers/features/node:1": {}}, "features/node:1 are not inst"),
        ("dockerComposeFile", "compose.yaml", "several containers are not supported"),
        ("image", "", "is missing; add it, or build.dockerfile"),
        ("image", 5, "must be a text, got 5"),
        ("image", "not an image", "is not the name of an image"),
        ("image", "a:${localEnv:TAG}", "has a variable without a value here; write it out"),
        ("image", "a:${templateOption:tag}", "has a variable without a value here"),
        ("build", "Dockerfile", "must be a mapping"),
        ("build", {"dockerfile": "none"}, "there is none; correct the path"),
        ("build", {"dockerfile": "../../../etc/passwd"}, "leads out of"),
        ("build", {"dockerfile": "devcontainer.json", "context": "../.."}, "leads out of"),
        ("workspaceFolder", "here", "is not an absolute path below /"),
        ("workspaceFolder", "/a/../etc", "is not an absolute path below /"),
        ("containerEnv", ["A=1"], "must be a mapping"),
        ("containerEnv", {"A B": "1"}, "no variable can have it"),
        ("containerEnv", {"A": "1\nRUN rm -rf /"}, "no variable can have it"),
        ("postCreateCommand", 5, "must be a text or a list of words"),
        ("onCreateCommand", {"a": {"b": "c"}}, "must be a text or a list of words"),
    ],
)
def test_what_is_refused_names_file_line_and_key(
    tmp_path: Path, key: str, value: object, said: str
) -> None:
    values = {"image": "a:1"} if key != "build" else {}
    file = devcontainer(tmp_path / "p", json.dumps(values | {key: value}, indent=1))
    with pytest.raises(TaskError, match=rf"{file}:\d+: {key}") as error:
        read_devcontainer(file)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1"),
        ("{", ":1"),
        ("[]", ":1: must be a mapping, not list"),
        ('{\n"image": "a", "image": "b"}', "[Dd]uplicate"),
        ("[" * 100_000, "JSON with comments"),
        ('{"image": "' + "a" * 1_100_000 + '"}', "has more than 1 MB"),
        (b"\xff\xfe{}", "cannot be read as UTF-8"),
    ],
)
def test_broken_files(tmp_path: Path, text: str | bytes, said: str) -> None:
    file = devcontainer(tmp_path / "p", "")
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(TaskError, match=said) as error:
        read_devcontainer(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    "key",
    ["initializeCommand", "postStartCommand", "mounts", "runArgs", "privileged", "remoteUser",
     "forwardPorts", "secrets", "hostRequirements", "fromTomorrow"],
)  # fmt: skip
def test_what_has_no_effect_is_noted_with_its_line(tmp_path: Path, key: str) -> None:
    file = devcontainer(tmp_path / "p", '{"image": "a:1",\n"' + key + '": "x"}')
    (note,) = read_devcontainer(file).notes
    assert note.startswith(f"{file}:2: {key}: ")


def test_where_a_project_has_it(tmp_path: Path) -> None:
    assert find_devcontainer(tmp_path) is None
    one = devcontainer(tmp_path, "{}", ".devcontainer/one/devcontainer.json")
    assert find_devcontainer(tmp_path) == one
    assert read_devcontainer_project(one) == tmp_path
    devcontainer(tmp_path, "{}", ".devcontainer/two/devcontainer.json")
    assert find_devcontainer(tmp_path) is None
    hidden = devcontainer(tmp_path, "{}", ".devcontainer.json")
    assert find_devcontainer(tmp_path) == hidden
    usual = devcontainer(tmp_path, "{}")
    assert find_devcontainer(tmp_path) == usual


def read_devcontainer_project(file: Path) -> Path:
    file.write_text('{"image": "a:1"}')
    return read_devcontainer(file).project


def project(folder: Path) -> Path:
    """A project with secrets, skills, eval files and a run in it."""
    for name, text in {
        "src/app.py": "print(1)\n",
        "Makefile": "all:\n",
        ".env": "KEY=4711\n",
        ".git/config": "4711\n",
        "node_modules/x/index.js": "4711\n",
        ".claude/settings.json": "4711\n",
        "skills/mine/SKILL.md": "4711\n",
        "skills/mine/scripts/run.sh": "4711\n",
        "skills/mine/evals/evals.json": "4711\n",
        "checks/evals/evals.json": '{"evals": []}\n',
        "checks/evals/files/in.txt": "4711\n",
        "runs/store/x": "4711\n",
        "train.yaml": "name: x\ntasks: {}\nskill: {}\ntarget: {}\n",
        "again.yml": "# Again\nbase: train.yaml\nname: y\nworkers: 2\n",
        "ci.yaml": "name: CI\njobs: {}\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "inside").symlink_to("src/app.py")
    (folder / "outside").symlink_to("/etc/passwd")
    return folder


def files_of(folder: Path) -> set[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return {*found}


def test_the_container_has_the_project_without_what_scores_its_tasks(tmp_path: Path) -> None:
    here = project(tmp_path / "p")
    devcontainer(here, '{"image": "a:1", "postCreateCommand": "make"}')
    own = own_image(str(here), str(here / "checks"), here / "runs/tasks")
    assert own.folder is not None
    assert files_of(own.folder / ".skillopt-project") == {
        "src/app.py", "Makefile", "ci.yaml", "inside", ".devcontainer/devcontainer.json",
    }  # fmt: skip
    assert (own.folder / "Dockerfile").read_text() == (
        "FROM a:1\nUSER root\nWORKDIR /workspaces/p\n"
        "COPY .skillopt-project/ /workspaces/p/\n"
        'RUN ["/bin/sh", "-c", "make"]\n'
    )
    assert own.workdir == "/workspaces/p"


def test_a_dockerfile_that_copies_all_gets_its_context_without_them(tmp_path: Path) -> None:
    here = project(tmp_path / "p")
    (here / "Dockerfile").write_text("FROM a\nWORKDIR /src\nCOPY . .\n")
    (here / ".dockerignore").write_text(".git\n.env\nnode_modules\n")
    own = own_image(str(here / "Dockerfile"), str(here / "checks"), here / "runs/tasks")
    assert own.folder is not None
    assert own.workdir == "/src"
    assert files_of(own.folder) == {
        "src/app.py", "Makefile", "ci.yaml", "inside", "Dockerfile", ".claude/settings.json",
    }  # fmt: skip


def test_a_dockerfile_that_copies_nothing_does_not_change_with_its_folder(tmp_path: Path) -> None:
    here = project(tmp_path / "p")
    file = here / "tools.Dockerfile"
    file.write_text("FROM a AS b\nRUN true\nFROM c\nCOPY --from=b /x /x\n")
    first = own_image(str(file), "quickstart", tmp_path / "runs/tasks")
    (here / "new.txt").write_text("new")
    assert own_image(str(file), "quickstart", tmp_path / "runs/tasks") == first
    assert (first.folder is not None and files_of(first.folder)) == {"Dockerfile"}
    assert first.workdir == ""
    file.write_text("FROM d\n")
    assert own_image(str(file), "quickstart", tmp_path / "runs/tasks").name != first.name


def test_arguments_and_stages_of_a_build(tmp_path: Path) -> None:
    build = {"dockerfile": "D", "target": "dev", "args": {"V": 'a "b" $HOME', "W": "2", "X": "3"}}
    file = devcontainer(tmp_path / "p", json.dumps({"build": build}))
    (file.parent / "D").write_text("ARG V=1\nFROM a:$V AS dev\nARG V\nARG W=1\nFROM b\n")
    own = own_image(str(file), "quickstart", tmp_path / "runs/tasks")
    assert own.folder is not None
    text = (own.folder / "Dockerfile").read_text()
    value = '"a \\"b\\" \\$HOME"'
    assert text.startswith(
        f'ARG V={value}\nFROM a:$V AS dev\nARG V={value}\nARG W="2"\nUSER root\n'
    )
    assert own.notes == (f"{file}: build.args.X: {file.parent / 'D'} has no such ARG",)
    file.write_text(json.dumps({"build": build | {"target": "prod"}}))
    with pytest.raises(TaskError, match=r"build.target: .*/D has no stage 'prod'"):
        own_image(str(file), "quickstart", tmp_path / "runs/tasks")
    file.write_text(json.dumps({"build": {"dockerfile": "D", "target": "1"}}))
    own = own_image(str(file), "quickstart", tmp_path / "runs/tasks")
    assert own.folder is not None
    assert "\nFROM b\nUSER root\n" in (own.folder / "Dockerfile").read_text()


@pytest.mark.parametrize(
    "name", ["python:3.12", "ghcr.io/a/b:1", "localhost:5000/a/b", "a@sha256:" + "0" * 64]
)
def test_the_name_of_an_image(tmp_path: Path, name: str) -> None:
    own = own_image(name, "quickstart", tmp_path)
    assert (own.name, own.folder, own.workdir) == (name, None, "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nothing", "no such file or folder"),
        ("Dockerfile.dev", "no such file or folder"),
        ("tools/devcontainer.json", "no such file or folder"),
        ("an image", "not the name of an image"),
        ("Upper/Case", "not the name of an image"),
        (".", "has neither a devcontainer.json nor a Dockerfile"),
    ],
)
def test_what_is_no_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskError, match=said):
        own_image(name, "quickstart", tmp_path / "runs/tasks")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n# just\nhello world\n", ":3: is no Dockerfile: it begins with 'hello'"),
        ("# nothing\n", ":1: has no FROM"),
        ("ARG A=1\n", ":1: has no FROM"),
        ("FROM\n", ":1: has no FROM"),
        ("FROM a\n" + "#" * 1_000_001, "is no Dockerfile: more than 1 MB"),
    ],
)
def test_what_is_no_dockerfile(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "Dockerfile").write_text(text)
    with pytest.raises(TaskError, match=said):
        own_image(str(tmp_path / "Dockerfile"), "quickstart", tmp_path / "runs/tasks")


@pytest.mark.parametrize("ignored", [b"\xff\xfe", b"[", b"**[a", b"\\", b"!", b"/", b"..", b"a\0b"])
def test_odd_lines_of_what_is_ignored(tmp_path: Path, ignored: bytes) -> None:
    here = project(tmp_path / "p")
    (here / "Dockerfile").write_text("FROM a\nCOPY . .\n")
    (here / ".dockerignore").write_bytes(ignored + b"\nnode_modules\n")
    own = own_image(str(here), "quickstart", here / "runs/tasks")
    assert own.folder is not None
    assert not any(name.startswith("node_modules") for name in files_of(own.folder))


@pytest.mark.parametrize("workdir", ["", "WORKDIR /\n", "WORKDIR $HERE\n"])
def test_a_working_directory_that_only_the_image_knows(tmp_path: Path, workdir: str) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM a\n{workdir}")
    assert own_image(str(tmp_path), "quickstart", tmp_path / "runs/tasks").workdir == ""


def test_a_project_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skillopt.tasks.own_image.MAX_FILES", 1)
    here = project(tmp_path / "p")
    devcontainer(here, '{"image": "a:1"}')
    with pytest.raises(TaskError, match=r"(?s)more than 1 files .*\.dockerignore"):
        own_image(str(here), "quickstart", tmp_path / "runs/tasks")


def evals(folder: Path) -> Path:
    assertion = {"type": "file_contains", "path": "out.txt", "contains": "done"}
    cases = [
        {"id": n, "prompt": f"Do {n}.", "expected_output": "", "assertions": [assertion]}
        for n in range(3)
    ]
    cases[0]["files"] = ["in.txt"]
    folder.mkdir()
    (folder / "in.txt").write_text("in")
    (folder / "evals.json").write_text(json.dumps({"skill_name": "s", "evals": cases}))
    return folder


def loaded(source: Path, environment: str, made: Path) -> list[Task]:
    config = TasksConfig(source=str(source), environment=environment, split=(1, 1, 0))
    return [task for tasks in load_splits(config, 7, made).values() for task in tasks]


def test_eval_files_start_from_it(tmp_path: Path) -> None:
    source, made = evals(tmp_path / "evals"), tmp_path / "runs/tasks"
    plain = loaded(source, "", made)
    own = loaded(source, "python:3.12", made)
    assert {task.base and task.base.name for task in own} == {"python:3.12"}
    assert {task.digest for task in plain}.isdisjoint(task.digest for task in own)
    first = next(task for task in own if task.name.endswith("-0"))
    text = (first.folder / "environment" / "Dockerfile").read_text()
    assert text.startswith("FROM python:3.12\nUSER root\nCOPY files /.skillopt-files/\nRUN ")
    (tmp_path / "Dockerfile").write_text("FROM a\nWORKDIR /src\n")
    own = loaded(source, str(tmp_path / "Dockerfile"), made)
    first = next(task for task in own if task.name.endswith("-0"))
    assert first.workdir == "/src"
    assert (first.folder / "environment" / "Dockerfile").read_text() == (
        f"FROM {first.base and first.base.name}\nWORKDIR /src\nCOPY files /src/\n"
    )


def test_folders_without_an_environment_and_questions_start_from_it(tmp_path: Path) -> None:
    folder, made = tmp_path / "tasks", tmp_path / "runs/tasks"
    with_own = make_task(folder / "a", "echo 1 > $REWARD_FILE\n")
    bare = make_task(folder / "b", "echo 1 > $REWARD_FILE\n")
    (bare / "environment" / "Dockerfile").unlink()
    (bare / "environment").rmdir()
    question(folder / "c")
    with pytest.raises(TaskError, match=r"environment/Dockerfile: missing; .* tasks.environment"):
        loaded(folder, "", made)
    found = {task.name: task for task in loaded(folder, "python:3.12", made)}
    assert {name: task.docker_image for name, task in found.items()} == {
        "a": None, "b": "python:3.12", "c": "python:3.12",
    }  # fmt: skip
    assert found["a"].digest == read_task(with_own).digest
    assert found["c"].digest != read_task(folder / "c").digest
    assert not found["b"].workdir_known
    other = {task.name: task for task in loaded(folder, "python:3.13", made)}
    assert [other[name].digest == found[name].digest for name in "abc"] == [True, False, False]


def test_tasks_of_a_source_start_from_it_unless_they_name_an_image(tmp_path: Path) -> None:
    def empty(workspace: Path) -> None:
        """An empty workspace."""

    task = Task(name="a", instruction="x", digest="1", workspace=empty)
    image = replace(task, name="b", digest="2", docker_image="own:1")
    config = TasksConfig(source="given", environment="python:3.12")
    splits = load_splits(config, 7, tmp_path, {"train": [task], "val": [image]})
    assert [splits[s][0].docker_image for s in ("train", "val")] == ["python:3.12", "own:1"]
    plain = load_splits(TasksConfig(source="given"), 7, tmp_path, {"train": [task]})
    assert plain["train"][0].docker_image is None


def test_local_sandboxes_run_no_images(tmp_path: Path) -> None:
    config = small_config(tmp_path, **{"tasks.environment": "python:3.12"})
    with pytest.raises(BackendError, match="'local' sandboxes run no images"):
        prepare(config)
    (tmp_path / "Dockerfile").write_text("FROM a\n")
    (task, *_) = loaded(evals(tmp_path / "e"), str(tmp_path / "Dockerfile"), tmp_path / "made/t")
    with pytest.raises(SandboxError, match="needs a container image of its own"):
        Environments(LocalBackend()).image(task)


def test_validate_reads_tasks_with_it_and_notes_what_has_no_effect(tmp_path: Path) -> None:
    task = make_task(tmp_path / "t" / "a", "true\n")
    (task / "environment" / "Dockerfile").unlink()
    (task / "environment").rmdir()
    assert examine(tmp_path / "t").problems
    file = devcontainer(tmp_path / "p", '{"image": "a:1",\n"mounts": []}')
    found = examine(tmp_path / "t", own_image(str(file), str(tmp_path / "t"), tmp_path / "r/t"))
    assert not found.problems
    assert [note.message.partition(": ")[0] for note in found.notes] == [f"{file}:2"]


def test_what_is_written_for_a_build_is_written_once(tmp_path: Path) -> None:
    here = project(tmp_path / "p")
    devcontainer(here, '{"image": "a:1"}')
    made = tmp_path / "runs/tasks"
    first = own_image(str(here), "quickstart", made)
    assert first.folder is not None
    before = first.folder.stat().st_ino
    assert own_image(str(here), "quickstart", made) == first
    assert first.folder.stat().st_ino == before
    assert os.listdir(made) == [first.folder.name]
