"""Tasks in Docker: solutions, an image of a task's own, and a hostile script in a verifier."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandboxes.docker_backend import DockerBackend
from sandboxes.images import remove_image
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import VerifierSite
from skillopt.tasks.solving import try_task

pytestmark = pytest.mark.engine


def test_quickstart_tasks_can_be_solved_in_docker(
    tasks: list[Path], backend: DockerBackend
) -> None:
    environments = Environments(backend)
    for task in (read_task(path) for path in tasks if path.name.endswith("-01")):
        assert try_task(task, environments, VerifierSite(backend.sandbox)).problems == ()


def test_a_task_with_an_image_of_its_own(tmp_path: Path, backend: DockerBackend) -> None:
    folder = tmp_path / "own-image"
    context = folder / "environment"
    for name in ("environment", "solution", "tests"):
        (folder / name).mkdir(parents=True)
    (folder / "task.toml").write_text("[environment]\nmemory_mb = 512\nstorage_mb = 100\n")
    (folder / "instruction.md").write_text("Copy the seed.")
    (context / "seed.txt").write_text("seed")
    (context / "Dockerfile").write_text(
        "FROM skillopt/agent-base:1\nUSER root\nWORKDIR /work\nCOPY seed.txt .\nRUN mkdir -p a/b\n"
    )
    (folder / "solution" / "solve.sh").write_text("cp seed.txt a/b/result.txt")
    (folder / "tests" / "test.sh").write_text(
        "grep -q seed a/b/result.txt && echo 1 > /logs/verifier/reward.txt || "
        "echo 0 > /logs/verifier/reward.txt"
    )
    built = read_task(folder)
    assert built.workdir == "/work"
    environments = Environments(backend)
    again = tmp_path / "again"
    image = environments.prepare(built, again)
    try:
        assert image.startswith("skillopt/task:")
        assert (again / "seed.txt").read_text() == "seed"
        assert try_task(built, environments, VerifierSite(backend.sandbox)).problems == ()
    finally:
        remove_image(backend.engine, image)


@pytest.mark.parametrize(
    ("dockerfile", "files"),
    [
        # Nothing of its own has to be built, but the image that it starts from has files there.
        ("FROM {base}\nWORKDIR /app\nCOPY two /app/two\n", {"one": "1", "two": "new"}),
        ("FROM {base}\nUSER root\nRUN mv /app /real && ln -s /real /app\nWORKDIR /app\n",
         {"one": "1", "two": "2"}),
        ("FROM {base}\nUSER nobody\nENTRYPOINT [\"/bin/false\"]\nWORKDIR /app\n",
         {"one": "1", "two": "2"}),
    ],
    ids=["below the task's own files", "by a link", "whatever it starts with"],
)  # fmt: skip
def test_files_of_the_image_in_the_working_directory(
    dockerfile: str, files: dict[str, str], tmp_path: Path, backend: DockerBackend
) -> None:
    base = "skillopt/task:base-with-files"
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "Dockerfile").write_text(
        "FROM skillopt/agent-base:1\nUSER root\nRUN mkdir /app && cd /app "
        "&& printf 1 > one && printf 2 > two && chmod 600 one\n"
    )
    tests = "cmp one copy && r=1; echo ${r:-0} > /logs/verifier/reward.txt\n"
    for name, text in {
        "task.toml": "",
        "instruction.md": "Copy one.",
        "environment/Dockerfile": dockerfile.format(base=base),
        "environment/two": "new",
        "solution/solve.sh": "cp one copy\n",
        "tests/test.sh": tests,
    }.items():
        (tmp_path / "task" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "task" / name).write_text(text)
    environments, task = Environments(backend), read_task(tmp_path / "task")
    made = {backend.image(base, tmp_path / "base")}
    try:
        made.add(environments.prepare(task, tmp_path / "workspace"))
        found = {path.name: path.read_text() for path in (tmp_path / "workspace").iterdir()}
        assert found == files
        assert try_task(task, environments, VerifierSite(backend.sandbox)).problems == ()
    finally:
        for image in sorted(made, key=base.__eq__):
            remove_image(backend.engine, image)
