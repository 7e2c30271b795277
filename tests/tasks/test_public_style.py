"""Tasks in the style of public sets, in real containers: solved by their solutions alone."""

from __future__ import annotations

import json
import socket
from contextlib import closing
from pathlib import Path

import pytest

from sandboxes.base import SandboxError
from sandboxes.docker_backend import DockerBackend
from sandboxes.images import remove_image
from skillopt.config.network import Network, access_to
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import verifier_site
from skillopt.tasks.solving import try_task
from skillopt.tasks.validate import validate
from tests.helpers.command_line import skillopt
from tests.helpers.public_style import REWARD, TASKS, WITH_NETWORK, write_task

pytestmark = pytest.mark.engine


def reachable(*hosts: str) -> None:
    """Skip the test where the public registries cannot be reached."""
    for host in hosts:
        try:
            socket.create_connection((host, 443 if host == "pypi.org" else 80), 10).close()
        except OSError as error:
            pytest.skip(f"{host} cannot be reached: {error}")


@pytest.mark.parametrize("step", ["sleep 60", "while :; do echo on; sleep 0.1; done"])
def test_an_image_that_takes_too_long_to_build(
    step: str, tmp_path: Path, backend: DockerBackend
) -> None:
    folder = write_task(tmp_path, "path-of-the-image")
    (folder / "task.toml").write_text("[environment]\nbuild_timeout_sec = 2\n")
    dockerfile = f"FROM skillopt/agent-base:1\nWORKDIR /app\nRUN {step}\n"
    (folder / "environment" / "Dockerfile").write_text(dockerfile)
    with pytest.raises(SandboxError, match="took longer than 2 s; raise env"):
        Environments(backend).image(read_task(folder))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in WITH_NETWORK else n for n in TASKS]
)
def test_its_solution_solves_it_and_nothing_else(
    name: str, tmp_path: Path, backend: DockerBackend
) -> None:
    if name in WITH_NETWORK:
        reachable("deb.debian.org", "pypi.org")
    folder, environments = write_task(tmp_path, name), Environments(backend)
    task = read_task(folder)
    assert validate(folder) == []
    network: Network = ("registries",) if name in WITH_NETWORK else "none"
    with closing(backend.outlet(access_to(network, recorded=True), None)) as outlet:
        try:
            assert try_task(task, environments, verifier_site(backend, outlet)).problems == ()
        finally:
            image = environments.image(task)
            for made in {image, environments.verifier_image(task, image)}:
                if made.startswith("skillopt/task:"):
                    remove_image(backend.engine, made)
    left = backend.engine.api.images(filters={"reference": "skillopt/handed"})
    assert not [image for image in left if name[:20] in str(image["RepoTags"])]


@pytest.mark.timeout(300)
def test_each_task_of_a_set_is_tried_whatever_becomes_of_the_others(tmp_path: Path) -> None:
    write_task(tmp_path, "state-outside-of-the-working-directory")
    hung = write_task(tmp_path, "root-by-key")
    (hung / "task.toml").write_text('[agent]\nuser = "root"\ntimeout_sec = 3\n')
    (hung / "tests" / "test.sh").write_text(f"test -e /etc/thing\n{REWARD}")
    (hung / "solution" / "solve.sh").write_text("echo why >&2\nsleep 100\n")
    gone = write_task(tmp_path, "an-image-that-cannot-be-had")
    (gone / "environment" / "Dockerfile").unlink()
    lacks = write_task(tmp_path, "path-of-the-image")
    (lacks / "tests" / "test.sh").write_text(f"no-such-tool || test -e answer.txt\n{REWARD}")
    done = skillopt("tasks", "validate", str(tmp_path), "--repeat", "2", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    tasks = {task["task"]: task for task in report["tasks"]}
    assert {name: task["solved"] for name, task in tasks.items()} == {
        "an-image-that-cannot-be-had": None,
        "path-of-the-image": True,
        "root-by-key": False,
        "state-outside-of-the-working-directory": True,
    }
    said = {problem["task"]: problem["message"] for problem in report["problems"]}
    assert set(said) == {"an-image-that-cannot-be-had", "root-by-key"}
    assert "cannot be tried" in said["an-image-that-cannot-be-had"]
    assert "docker load" in said["an-image-that-cannot-be-had"]
    assert "debootstrap" not in done.stdout
    assert "was stopped after 3 s" in said["root-by-key"] and "why" in said["root-by-key"]
    assert tasks["path-of-the-image"]["missing_programs"] == {"tests": ["no-such-tool"]}
