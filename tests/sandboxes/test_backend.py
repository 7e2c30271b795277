"""Backends: found by name or import path, checked before a run, and closed with all they made."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import pytest

from sandboxes.access import Access, HostRule
from sandboxes.base import Sandbox, SandboxError, SandboxSpec
from sandboxes.docker_backend import DockerBackend
from sandboxes.errors import BackendError
from sandboxes.local import LocalSandbox
from sandboxes.local_backend import LocalBackend
from sandboxes.owner import scratch_dir
from sandboxes.registry import BACKENDS, check_options, make_backend, traits_of
from skillopt import evaluate, train
from skillopt.config.loading import ConfigError
from skillopt.config.schema import SandboxConfig
from skillopt.core.import_path import OwnCodeError, PluginError
from skillopt.core.skill import Skill
from skillopt.rollouts.prepare import prepare
from skillopt.rollouts.slots import open_backend, sandbox_identity
from tests.helpers.small import small_config

HERE = __name__


class Audited(LocalSandbox):
    """Local processes, with a line in a log for each command."""

    def __init__(self, spec: SandboxSpec, log: Path) -> None:
        super().__init__(spec)
        self._log = log

    def run(self, argv: Any, **more: Any) -> Any:
        with self._log.open("a") as log:
            log.write(" ".join(argv).replace("\n", " ") + "\n")
        return super().run(argv, **more)


class AuditedBackend(LocalBackend):
    """A user's own backend."""

    name = "audited"
    version = "3"

    def __init__(self, log: str, strict: bool = False) -> None:
        super().__init__()
        self._log = Path(log)

    def sandbox(self, spec: SandboxSpec) -> Sandbox:
        return self.track(Audited(spec, self._log))


class NoBackend:
    """Has little of what a backend needs."""

    def sandbox(self, spec: SandboxSpec) -> Sandbox:
        return LocalSandbox(spec)

    def close(self) -> None:
        pass


def broken() -> LocalBackend:
    raise RuntimeError("no account")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            "dokcer",
            {},
            r"sandbox.kind: 'dokcer' is not one of docker, local \(did you mean 'docker",
        ),
        ("local", {"hosts": 1}, "sandbox.options: local takes no option 'hosts'; it takes none"),
        ("docker", {"hots": "x"}, "takes no option 'hots'; did you mean 'host'"),
        ("docker", {"zone": "x"}, "takes no option 'zone'; it takes: host, patience_s"),
    ],
)
def test_what_the_project_does_not_have_is_refused_with_the_nearest_name(
    kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        make_backend(kind, **options)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("Missing", {}, PluginError, "no attribute 'Missing'; give an importable 'module:name'"),
        ("broken", {}, OwnCodeError, "sandbox.kind: .*:broken: your own code raised RuntimeError"),
        ("NoBackend", {}, PluginError, "sandbox.kind: .* a backend also has clean, examine, image"),
        ("AuditedBackend", {}, PluginError, "cannot be called with nothing: missing .* 'log'"),
        ("AuditedBackend", {"lag": 1}, PluginError, "cannot be called with lag"),
    ],
)
def test_what_is_no_backend_of_the_users_is_refused_with_the_key(
    name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_backend(SandboxConfig(kind=f"{HERE}:{name}", options=options))


def test_what_is_known_of_a_backend_without_making_it() -> None:
    known = {kind: (traits_of(kind).isolated, traits_of(kind).images) for kind in BACKENDS}
    assert known == {"docker": (True, True), "local": (False, False)}
    assert all(traits_of(kind).name == kind for kind in BACKENDS)
    check_options("docker", {"host": "unix:///x", "patience_s": 5})


def test_the_names_of_backends_cost_no_import() -> None:
    code = (
        "import sys, sandboxes.registry; "
        "print([m for m in sys.modules if m.startswith(('sandboxes.', 'docker', 'psutil'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['sandboxes.errors', 'sandboxes.registry']"


def test_closing_ends_the_commands_of_local_sandboxes_and_makes_no_more() -> None:
    backend = make_backend("local")
    ended: list[BaseException] = []

    def work(box: Sandbox) -> None:
        try:
            with box:
                box.run(["sleep", "60"], deadline_s=60)
        except SandboxError as error:
            ended.append(error)

    later = backend.sandbox(SandboxSpec(""))
    worker = threading.Thread(target=work, args=(backend.sandbox(SandboxSpec("")),))
    worker.start()
    time.sleep(0.5)
    began = time.monotonic()
    backend.close()
    backend.close()
    worker.join()
    assert time.monotonic() - began < 10
    assert ["has been stopped" in str(error) for error in ended] == [True]
    with pytest.raises(SandboxError, match="has been stopped"):
        later.start()
    with pytest.raises(SandboxError, match="have been closed"):
        backend.sandbox(SandboxSpec(""))


OWN = f"{HERE}:AuditedBackend"


def test_a_run_uses_a_backend_of_the_users_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    own = {"sandbox.kind": OWN, "sandbox.options": {"log": str(log)}}
    [row] = evaluate(small_config(tmp_path, **own), ["none"], split="val")
    assert len(row.rollouts) == 2
    lines = log.read_text().splitlines()
    assert sum("test.sh" in line for line in lines) == 2 and len(lines) > 4


def test_the_version_of_an_own_backend_makes_other_rollouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"sandbox.kind": OWN, "sandbox.options": {"log": "x"}}
    prepared = prepare(small_config(tmp_path, **own))
    assert sandbox_identity(prepared.config, prepared.parts)["own"] == f"{HERE}:AuditedBackend@3"
    assert "own" not in sandbox_identity(small_config(tmp_path), {})
    task, skill = prepared.splits["val"][0], Skill("a", "b", "c")
    before = prepared.runner(print).key(task, skill)
    monkeypatch.setattr(AuditedBackend, "version", "4")
    assert prepared.runner(print).key(task, skill) != before


def test_how_files_are_moved_is_no_part_of_what_a_rollout_is(tmp_path: Path) -> None:
    docker = small_config(tmp_path, "direct")
    options = {"files": "copy", "without_limits": True}
    copied = small_config(tmp_path, "direct", **{"sandbox.options": options})
    assert sandbox_identity(docker, {}) == sandbox_identity(copied, {})
    slow = small_config(tmp_path, "direct", **{"sandbox.options": {"patience_s": 5}})
    assert sandbox_identity(docker, {}) != sandbox_identity(slow, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sandbox.kind": "lokal"}, "sandbox.kind: 'lokal' is not one of docker, local"),
        ({"sandbox.options": {"host": "x"}}, "sandbox.options: local takes no option 'host'"),
        ({"harness.name": "codex"}, "harness.name: 'codex' needs sandboxes that are isolated and"),
    ],
)
def test_a_config_that_does_not_fit_its_backend_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        small_config(tmp_path, **changes)


def test_agents_are_refused_by_an_own_backend_that_isolates_nothing_before_a_run(
    tmp_path: Path,
) -> None:
    own = {"sandbox.kind": OWN, "sandbox.options": {"log": str(tmp_path / "log")}}
    config = small_config(tmp_path, **own, **{"harness.name": "codex"})
    with pytest.raises(BackendError, match=r"^harness.name: 'codex' needs .*those of 'audited'"):
        train(config)
    direct = small_config(tmp_path, **own)
    with pytest.raises(BackendError, match=r"^harness.name: 'codex' needs .*those of 'audited'"):
        evaluate(direct, ["none"], harnesses=["codex"])
    with pytest.raises(BackendError, match=r"^harness.name: 'codex' needs .*those of 'local'"):
        evaluate(small_config(tmp_path), ["none"], harnesses=["direct", "codex"])
    assert not (tmp_path / "log").exists()


@pytest.fixture
def gateway() -> Iterator[Path]:
    """A Unix socket in a folder of its own on which each caller gets back what it sends."""
    with TemporaryDirectory(dir=scratch_dir()) as folder, socket.socket(socket.AF_UNIX) as server:
        path = Path(folder) / "gateway.sock"
        server.bind(str(path))
        path.chmod(0o666)
        server.listen()

        def answer() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(4096)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngateway")

        threading.Thread(target=answer, daemon=True).start()
        yield path
        server.shutdown(socket.SHUT_RDWR)


def ask(base_url: str) -> bytes:
    place = urlsplit(base_url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=10)
    connection.request("GET", "/")
    return connection.getresponse().read()


def test_local_processes_reach_the_gateway_by_a_port_that_is_open_once_it_is_asked_for(
    gateway: Path,
) -> None:
    with closing(LocalBackend()) as backend:
        outlet = backend.outlet(Access(), gateway)
        assert outlet.base_url == "" and outlet.env == {}
        assert outlet.connect() == "none" == outlet.connect()
        assert [ask(outlet.base_url) for _ in range(3)] == [b"gateway"] * 3
        with backend.sandbox(SandboxSpec("")) as box:
            script = "import os, urllib.request as r; print(r.urlopen(os.environ['URL']).read())"
            argv = [sys.executable, "-c", script]
            done = box.run(argv, deadline_s=20, env={"URL": outlet.base_url})
        assert b"gateway" in done.stdout
        assert list(outlet.visits()) == []
        url = outlet.base_url
        outlet.close()
        outlet.close()
        with pytest.raises(ConnectionError):
            ask(url)


def test_without_a_gateway_there_is_no_port() -> None:
    outlet = LocalBackend().outlet(Access(), None)
    assert (outlet.connect(), outlet.base_url) == ("none", "")


@pytest.mark.engine
def test_containers_reach_the_gateway_and_a_relay_that_died_is_replaced(
    backend: DockerBackend, relay_image: str, image: str, gateway: Path
) -> None:
    outlet = backend.outlet(Access(), gateway)
    try:
        script = (
            f"exec 3<>/dev/tcp/127.0.0.1/{urlsplit(outlet.base_url).port}; echo GET >&3; cat <&3"
        )

        def answer() -> bytes:
            spec = SandboxSpec(image, "/tmp", network=outlet.connect())
            with backend.sandbox(spec) as box:
                return box.run(["bash", "-c", script], deadline_s=20).stdout

        assert answer().endswith(b"gateway")
        first = outlet.connect()
        assert outlet.connect() == first
        backend.engine.api.kill(first.removeprefix("container:"))
        with pytest.raises(SandboxError, match="the relay has ended"):
            outlet.check()
        assert answer().endswith(b"gateway") and outlet.connect() != first
        outlet.check()
    finally:
        outlet.close()


@pytest.mark.engine
def test_an_outlet_without_gateway_starts_nothing_unless_it_filters(backend: DockerBackend) -> None:
    assert backend.outlet(Access(), None).connect() == "none"
    assert backend.outlet(Access(everything=True), None).connect() == "bridge"
    with closing(backend.outlet(Access((HostRule("pypi.org"),)), None)) as outlet:
        assert outlet.connect().startswith("container:")
        assert outlet.env["https_proxy"].startswith("http://127.0.0.1:")
