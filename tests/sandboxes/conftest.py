"""Sandboxes of both kinds, made with one call, and the images they need."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from harnesses.agents.toolchains import image_specs
from sandboxes.base import Sandbox, SandboxSpec
from sandboxes.copied import Copied
from sandboxes.docker import DockerEngine
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.images import AGENT_BASE_IMAGE, RELAY_IMAGE, build
from sandboxes.local import local_sandbox

MakeSandbox = Callable[..., Sandbox]
KINDS = ("docker", "copied", "shell")
SINGLE = ("single", "copied_single")


@pytest.fixture(scope="session")
def image(engine: DockerEngine) -> str:
    """The agent base image, built when it is not there."""
    specs = {spec.tag: spec for spec in image_specs(())}
    build(engine, specs[AGENT_BASE_IMAGE])
    return AGENT_BASE_IMAGE


@pytest.fixture(scope="session")
def relay_image(engine: DockerEngine) -> str:
    specs = {spec.tag: spec for spec in image_specs(())}
    build(engine, specs[RELAY_IMAGE])
    return RELAY_IMAGE


@pytest.fixture
def docker(engine: DockerEngine, image: str) -> Iterator[MakeSandbox]:
    """Starts a container sandbox; takes the fields of SandboxSpec. Stopped after the test."""
    with ExitStack() as stack:

        def make(**fields: Any) -> Sandbox:
            return stack.enter_context(
                DockerSandbox(engine, SandboxSpec(**{"image": image, **fields}))
            )

        yield make


@pytest.fixture(scope="session")
def copied_files(engine: DockerEngine) -> Iterator[Copied]:
    """The way to move files that needs nothing of this machine."""
    with closing(Copied(engine)) as files:
        yield files


@pytest.fixture
def copied(engine: DockerEngine, image: str, copied_files: Copied) -> Iterator[MakeSandbox]:
    """Container sandboxes of an engine that is not shown this machine's files."""
    with ExitStack() as stack:

        def make(**fields: Any) -> Sandbox:
            spec = SandboxSpec(**{"image": image, **fields})
            return stack.enter_context(DockerSandbox(engine, spec, lambda: copied_files))

        yield make


@pytest.fixture
def copied_single(copied: MakeSandbox) -> MakeSandbox:
    """The same for a single command."""
    return partial(copied, single_command=True)


@pytest.fixture
def local() -> Iterator[MakeSandbox]:
    """The same with local sandboxes."""
    with ExitStack() as stack:

        def make(**fields: Any) -> Sandbox:
            return stack.enter_context(local_sandbox(SandboxSpec(image="", **fields)))

        yield make


@pytest.fixture
def shell(docker: MakeSandbox) -> MakeSandbox:
    """Container sandboxes whose commands are run by one shell."""
    return partial(docker, one_shell=True)


@pytest.fixture
def single(docker: MakeSandbox) -> MakeSandbox:
    """Container sandboxes for a single command."""
    return partial(docker, single_command=True)


@pytest.fixture(params=[*(pytest.param(n, marks=pytest.mark.engine) for n in KINDS), "local"])
def make(request: pytest.FixtureRequest) -> MakeSandbox:
    """Either kind: for what every sandbox must do."""
    made: MakeSandbox = request.getfixturevalue(request.param)
    return made


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.engine), "local"])
def make_here(request: pytest.FixtureRequest) -> MakeSandbox:
    """Those whose mounts are folders of this machine, not copies."""
    made: MakeSandbox = request.getfixturevalue(request.param)
    return made


@pytest.fixture(
    params=[*(pytest.param(n, marks=pytest.mark.engine) for n in (*KINDS, *SINGLE)), "local"]
)
def make_once(request: pytest.FixtureRequest) -> MakeSandbox:
    """Every kind, those for a single command too: for what a command must find."""
    made: MakeSandbox = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def writable(tmp_path: Path) -> Path:
    """A host folder that the agent's user can write."""
    from sandboxes.mounts import agent_ids, prepare_writable

    folder = tmp_path / "writable"
    folder.mkdir()
    prepare_writable(folder, *agent_ids())
    return folder


class Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\nhello")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "gateway").mkdir(mode=0o700)
    path = tmp_path / "gateway" / "socket"
    with socketserver.ThreadingUnixStreamServer(str(path), Answer) as server:
        path.chmod(0o666)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield path
        server.shutdown()
        thread.join()
