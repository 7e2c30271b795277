"""The main path on Podman, by its interface as Docker's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harnesses.agents import codex
from sandboxes.base import Limits, SandboxSpec
from sandboxes.docker_backend import DockerBackend
from sandboxes.images import AGENT_BASE_IMAGE, RELAY_IMAGE
from skillopt import train
from tests.helpers.cells import ALL_CELLS
from tests.helpers.own_podman import PODMAN, own_podman
from tests.helpers.small import small_config

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not ALL_CELLS, reason="for `make test-all`"),
    pytest.mark.skipif(os.getuid() != 0 or PODMAN is None, reason="needs root and Podman"),
]


@pytest.fixture(scope="module")
def podman() -> Iterator[str]:
    with own_podman([RELAY_IMAGE, AGENT_BASE_IMAGE, codex.toolchain().image]) as host:
        yield host


def test_doctor_finds_nothing_wrong(podman: str) -> None:
    with closing(DockerBackend(podman)) as backend:
        found = {check.name: check for check in backend.examine()}
    assert all(check.ok for check in found.values()), found
    assert found["kind of engine"].detail == "Podman"


def test_a_kill_for_memory_is_told(podman: str) -> None:
    spec = SandboxSpec(RELAY_IMAGE, "/", limits=Limits(memory_mb=64), single_command=True)
    with closing(DockerBackend(podman)) as backend, backend.sandbox(spec) as box:
        result = box.run(["sh", "-c", "tail /dev/zero; exit 3"], deadline_s=20)
    assert (result.exit_code, result.limit) == (3, "memory")


@pytest.mark.parametrize("files", ["mounts", "copy"])
@pytest.mark.parametrize("harness", ["direct", "codex"])
def test_training_improves_the_skill(
    harness: str, files: str, podman: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", podman)
    changes = {"train.epochs": 1, "workers": 2, "sandbox.options": {"files": files}}
    done = train(small_config(tmp_path, harness, **changes))
    assert done.best.body != done.initial.body
