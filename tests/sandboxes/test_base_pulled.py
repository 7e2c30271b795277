"""A base system that is pulled from a registry: what machines without debootstrap depend on."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from docker import APIClient

from sandboxes.base_image import OWN_BASE, PUBLIC_BASE, ensure_base
from sandboxes.docker import DockerEngine
from tests.helpers.cells import ALL_CELLS
from tests.helpers.own_engine import OwnEngine, own_engine

REGISTRY = shutil.which("docker-registry")
ADDRESS = "127.0.0.1:5000"
CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:5000"}}
"""
pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(not ALL_CELLS, reason="for `make test-all`"),
    pytest.mark.skipif(
        os.getuid() != 0 or REGISTRY is None, reason="needs root and Debian's docker-registry"
    ),
]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[OwnEngine]:
    """An engine without images, whose registry for public ones is on its loopback."""
    mirror = ["--registry-mirror", f"http://{ADDRESS}"]
    with own_engine(OWN_BASE, arguments=mirror) as engine:
        assert engine._process is not None
        inside = ["nsenter", "-t", str(engine._process.pid), "-n"]
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
        (tmp_path / "registry.yml").write_text(CONFIG.format(folder=tmp_path / "registry"))
        command = [*inside, str(REGISTRY), "serve", str(tmp_path / "registry.yml")]
        with (tmp_path / "log").open("wb") as log:
            registry = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _publish(APIClient(engine.host))
            yield engine
        finally:
            registry.kill()
            registry.wait()


def _publish(api: APIClient) -> None:
    """Have the registry offer the project's own base as the public one, and nobody else have it."""
    name = f"{ADDRESS}/library/{PUBLIC_BASE.split(':')[0]}"
    api.tag(OWN_BASE, name, PUBLIC_BASE.split(":")[1])
    end = time.monotonic() + 60
    while "rror" in (said := str(api.push(name, PUBLIC_BASE.split(":")[1]))):
        assert time.monotonic() < end, said
        time.sleep(0.5)
    for image in api.images():
        api.remove_image(image["Id"], force=True)


def test_the_public_base_is_pulled(fresh: OwnEngine) -> None:
    lines: list[str] = []
    with closing(DockerEngine(fresh.host)) as engine:
        assert ensure_base(engine, PUBLIC_BASE, log=lines.append) == PUBLIC_BASE
        assert engine.inspect_image(PUBLIC_BASE) is not None
    assert lines == [f"pulling {PUBLIC_BASE}"]
