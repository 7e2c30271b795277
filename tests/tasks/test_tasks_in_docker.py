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
