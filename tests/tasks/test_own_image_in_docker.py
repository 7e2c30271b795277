"""Tasks that start from an image of the user's own, built in a real engine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandboxes.base import SandboxError, SandboxSpec
from sandboxes.docker_backend import DockerBackend
from sandboxes.images import AGENT_BASE_IMAGE, image_id, remove_image
from skillopt.config.schema import TasksConfig
from skillopt.core.types import Task
from skillopt.tasks.environment import Environments
from skillopt.tasks.judging import VerifierSite, run_tests
from skillopt.tasks.sources import load_splits
from skillopt.tasks.warm import Start
from tests.helpers.tasks import question

pytestmark = pytest.mark.engine


@pytest.fixture
def images(backend: DockerBackend) -> Iterator[list[str]]:
    """Names of images that the test has made, in the order in which they can be removed."""
    found = list[str]()
    yield found
    for image in dict.fromkeys(found):
        if image != AGENT_BASE_IMAGE and image_id(backend.engine, image) is not None:
            remove_image(backend.engine, image)


def evals(folder: Path, **first: object) -> Path:
    assertion = {"type": "file_contains", "path": "out.txt", "contains": "done"}
    case = {"id": 1, "prompt": "Do.", "expected_output": "", "assertions": [assertion], **first}
    folder.mkdir()
    (folder / "in.txt").write_text("in")
    (folder / "evals.json").write_text(json.dumps({"skill_name": "s", "evals": [case]}))
    return folder


def only(source: Path, environment: str, folder: Path) -> Task:
    config = TasksConfig(source=str(source), environment=environment, split=(1, 0, 0))
    return load_splits(config, 7, folder / "runs/tasks")["train"][0]


def started(
    task: Task, backend: DockerBackend, images: list[str], workspace: Path
) -> tuple[Task, str]:
    """The task and its image, once its first workspace has been written."""
    environments = Environments(backend)
    task = environments.settled(task)
    image = environments.prepare(task, workspace)
    images += [image, *([task.base.name] if task.base and task.base.folder else [])]
    return task, image


def judged(task: Task, image: str, workspace: Path, backend: DockerBackend, folder: Path) -> float:
    folder.mkdir()
    found = run_tests(task, workspace, VerifierSite(backend.sandbox), Start(image), folder)
    assert found.reward is not None, found.problem
    return found.reward.hard


@pytest.mark.parametrize("workdir", ["WORKDIR /src\nCOPY code.py .\n", ""])
@pytest.mark.parametrize("files", [["in.txt"], []])
def test_eval_files_on_a_dockerfile(
    tmp_path: Path, backend: DockerBackend, images: list[str], workdir: str, files: list[str]
) -> None:
    (tmp_path / "code.py").write_text("code")
    text = f"FROM {AGENT_BASE_IMAGE}\nRUN echo tool > /usr/local/bin/tool\n{workdir}"
    (tmp_path / "Dockerfile").write_text(text)
    source = evals(tmp_path / "evals", files=files)
    workspace = tmp_path / "workspace"
    task = only(source, str(tmp_path / "Dockerfile"), tmp_path)
    task, image = started(task, backend, images, workspace)
    assert task.workdir == ("/src" if workdir else "/app")
    there = {path.name for path in workspace.iterdir()}
    assert there == {*files, *(["code.py"] if workdir else [])}
    with backend.sandbox(SandboxSpec(image, task.workdir)) as box:
        assert box.run(["cat", "/usr/local/bin/tool"], deadline_s=60).stdout == b"tool\n"
    assert judged(task, image, workspace, backend, tmp_path / "before") == 0.0
    (workspace / "out.txt").write_text("done")
    assert judged(task, image, workspace, backend, tmp_path / "after") == 1.0


def test_eval_files_on_an_image_that_alone_knows_its_working_directory(
    tmp_path: Path, backend: DockerBackend, images: list[str]
) -> None:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "Dockerfile").write_text(
        f"FROM {AGENT_BASE_IMAGE}\nWORKDIR /srv/app\nRUN echo 1 > own.txt\nUSER agent\n"
    )
    name = backend.image("skillopt/task:own-image-test", tmp_path / "image")
    source, workspace = evals(tmp_path / "evals", files=["in.txt"]), tmp_path / "workspace"
    task, _ = started(only(source, name, tmp_path), backend, images, workspace)
    images.append(name)
    assert task.workdir == "/srv/app"
    assert {path.name for path in workspace.iterdir()} == {"in.txt", "own.txt"}


def test_a_devcontainer_with_its_project_arguments_variables_and_commands(
    tmp_path: Path, backend: DockerBackend, images: list[str]
) -> None:
    project = tmp_path / "my project"
    (project / ".devcontainer").mkdir(parents=True)
    (project / "README").write_text("read me")
    (project / ".devcontainer" / "Dockerfile").write_text(
        f"ARG BASE=none\nFROM {AGENT_BASE_IMAGE} AS dev\nARG WORD=none\nRUN echo $WORD > /word\n"
        "FROM dev\nRUN exit 1\n"
    )
    values = {
        "build": {"dockerfile": "Dockerfile", "target": "dev", "args": {"WORD": "hello $HOME"}},
        "containerEnv": {"GREETING": 'a "b" $c \\ d'},
        "remoteEnv": {"PATH": "${containerEnv:PATH}:/opt/own"},
        "onCreateCommand": "cat README > made.txt",
        "postCreateCommand": {"one": ["sh", "-c", "printenv GREETING >> made.txt"]},
    }
    (project / ".devcontainer" / "devcontainer.json").write_text(f"// own\n{json.dumps(values)}")
    source, workspace = evals(tmp_path / "evals", files=["in.txt"]), tmp_path / "workspace"
    task, image = started(only(source, str(project), tmp_path), backend, images, workspace)
    assert task.workdir == "/workspaces/my-project"
    assert (workspace / "made.txt").read_text() == 'read mea "b" $c \\ d\n'
    assert (workspace / "in.txt").read_text() == "in"
    with backend.sandbox(SandboxSpec(image, task.workdir)) as box:
        said = box.run(["sh", "-c", "cat /word; echo $PATH; printenv GREETING"], deadline_s=60)
    word, path, greeting = said.stdout.decode().splitlines()
    assert (word, greeting) == ("hello $HOME", 'a "b" $c \\ d')
    assert path.endswith(":/opt/own")


def test_questions_and_folders_without_an_environment(
    tmp_path: Path, backend: DockerBackend, images: list[str]
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {AGENT_BASE_IMAGE}\nWORKDIR /own\nRUN touch x\n")
    question(tmp_path / "questions" / "q")
    task = only(tmp_path / "questions", str(tmp_path), tmp_path)
    image = Environments(backend).image(task)
    images.append(image)
    assert image_id(backend.engine, image) is not None
    bare = question(tmp_path / "folders" / "f")
    (bare / "tests" / "answer.txt").unlink()
    (bare / "tests" / "test.sh").write_text("test -f x && echo 1 > /logs/verifier/reward.txt\n")
    task = only(tmp_path / "folders", str(tmp_path), tmp_path)
    task, image = started(task, backend, images, tmp_path / "workspace")
    assert task.workdir == "/own"
    assert judged(task, image, tmp_path / "workspace", backend, tmp_path / "judged") == 1.0


def test_a_build_that_fails_says_which_line(
    tmp_path: Path, backend: DockerBackend, images: list[str]
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {AGENT_BASE_IMAGE}\nRUN echo why && exit 3\n")
    task = only(evals(tmp_path / "evals"), str(tmp_path), tmp_path)
    with pytest.raises(SandboxError, match=r"(?s)environment: .*/Dockerfile: .*exit 3.*why"):
        started(task, backend, images, tmp_path / "workspace")
