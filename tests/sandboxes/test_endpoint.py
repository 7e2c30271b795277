"""The engine that is used is the one that Docker's own command would use, however it is reached."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from queue import Empty
from threading import Thread

import pytest
import trustme

from sandboxes.base import EngineUnavailableError, SandboxError, SandboxSpec
from sandboxes.docker import RELAY_IMAGE, DockerEngine
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.endpoint import engine_endpoint, root_cause
from tests.helpers.forwarding import forwarded
from tests.helpers.own_sshd import SSH, SSHD, OwnSshd, own_sshd


@pytest.fixture
def add_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Adds a Docker context, as `docker context create` does; gives the folder of its files."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)

    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text("{}")

    def add(name: str, host: str) -> Path:
        digest = sha256(name.encode()).hexdigest()
        meta = tmp_path / "docker/contexts/meta" / digest / "meta.json"
        meta.parent.mkdir(parents=True)
        endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
        meta.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))
        folder = tmp_path / "docker/contexts/tls" / digest / "docker"
        folder.mkdir(parents=True)
        return folder

    return add


@pytest.mark.parametrize(
    ("variables", "current", "host"),
    [
        ({}, "", "unix:///var/run/docker.sock"),
        ({}, "one", "unix:///one.sock"),
        ({"DOCKER_CONTEXT": "two"}, "one", "unix:///two.sock"),
        ({"DOCKER_HOST": "tcp://three:2375", "DOCKER_CONTEXT": "two"}, "one", "tcp://three:2375"),
        ({"DOCKER_CONTEXT": "default"}, "one", "unix:///var/run/docker.sock"),
    ],
)
def test_the_engine_is_the_one_that_docker_would_use(
    variables: dict[str, str],
    current: str,
    host: str,
    add_context: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_context("one", "unix:///one.sock")
    add_context("two", "unix:///two.sock")
    if current:
        (tmp_path / "docker/config.json").write_text(json.dumps({"currentContext": current}))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert engine_endpoint().host == host


def test_a_context_that_is_not_there_is_named(
    add_context: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_context("one", "unix:///one.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(EngineUnavailableError, match=r"context 'far' \(DOCKER_CONTEXT\)"):
        engine_endpoint()


def chained(*errors: Exception) -> Exception:
    for later, earlier in pairwise(errors):
        later.__context__ = earlier
    return errors[0]


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        (
            (RuntimeError("wrapped"), ConnectionRefusedError(111, "Connection refused")),
            "Connection refused",
        ),
        ((RuntimeError("no answer"), Empty()), "no answer"),
        ((OSError(2, "gone"), Empty()), "gone"),
        ((RuntimeError("closing"), SandboxError("20 of 20 failed")), "closing"),
        ((KeyError(),), "KeyError"),
    ],
)
def test_the_cause_is_what_says_most_of_the_connection(
    errors: tuple[Exception, ...], words: str
) -> None:
    assert root_cause(chained(*errors)) == words


def test_a_current_context_that_is_not_there_is_not_another_one(
    add_context: Callable[[str, str], Path], tmp_path: Path
) -> None:
    add_context("one", "unix:///one.sock")
    (tmp_path / "docker/config.json").write_text('{"currentContext": "far"}')
    with pytest.raises(EngineUnavailableError, match=r"current Docker context .*'far'"):
        engine_endpoint()


@pytest.mark.parametrize("text", ["[]", '{"auths": {"a": 5}}', '{"proxies": 3}'])
def test_a_config_of_dockers_that_cannot_be_used_is_named(
    text: str, add_context: Callable[[str, str], Path], tmp_path: Path
) -> None:
    (tmp_path / "docker/config.json").write_text(text)
    with pytest.raises(EngineUnavailableError, match=r"docker/config\.json' cannot be used"):
        DockerEngine("tcp://127.0.0.1:1", patience_s=5)


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[Callable[[Path], int]]:
    """Writes a client's certificates into a folder; gives the port of an engine that wants them."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    with forwarded("/var/run/docker.sock", server) as port:

        def write(folder: Path) -> int:
            client = authority.issue_cert("client.test")
            authority.cert_pem.write_to_path(str(folder / "ca.pem"))
            client.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
            client.private_key_pem.write_to_path(str(folder / "key.pem"))
            return port

        yield write


def run_echo(engine: DockerEngine) -> bytes:
    with DockerSandbox(engine, SandboxSpec(RELAY_IMAGE, "/")) as sandbox:
        return sandbox.run(["echo", "works"], deadline_s=20).stdout


@pytest.mark.engine
@pytest.mark.parametrize("given_by", ["variables", "context"])
def test_an_engine_over_tls_runs_sandboxes(
    given_by: str,
    certified: Callable[[Path], int],
    add_context: Callable[[str, str], Path],
    relay_image: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if given_by == "variables":
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{certified(tmp_path)}")
        monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    else:
        port = certified(tmp_path)
        folder = add_context("far", f"tcp://127.0.0.1:{port}")
        for name in ("ca.pem", "cert.pem", "key.pem"):
            (tmp_path / name).rename(folder / name)
        monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with DockerEngine() as engine:
        assert run_echo(engine) == b"works\n"


@pytest.mark.engine
def test_an_engine_over_tls_that_another_authority_vouches_for_is_refused(
    certified: Callable[[Path], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = certified(tmp_path)
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with pytest.raises(EngineUnavailableError, match=r"(?i)certificate verify failed"):
        DockerEngine(patience_s=5)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, "<html>hello</html>", "answers, but not as an engine does"),
        (200, "[]", "answers, but not as an engine does"),
        (200, "null", "answers, but not as an engine does"),
        (200, "{}", "answers, but not as an engine does"),
        (200, '{"ApiVersion": 3}', "answers, but not as an engine does"),
        (403, '{"message": "a plugin denies it"}', r"answers 403 a plugin denies it\)"),
        (502, "x" * 10_000, r"answers 502 x{200}\)"),
    ],
)
def test_a_server_that_is_no_engine_is_said_to_be_none(
    status: int, body: str, message: str
) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(EngineUnavailableError, match=message):
            DockerEngine(f"tcp://127.0.0.1:{server.server_port}", patience_s=5)
        server.shutdown()


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnSshd]:
    """A machine that ssh knows as ``far``: this one."""
    if os.getuid() != 0 or SSHD is None or SSH is None:
        pytest.skip("starts an ssh server: needs root and OpenSSH")
    with own_sshd(tmp_path) as server:
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        yield server


@pytest.mark.engine
def test_an_engine_by_ssh_runs_sandboxes_and_is_found_again(far: OwnSshd, relay_image: str) -> None:
    with DockerEngine("ssh://far/var/run/docker.sock") as engine:
        assert run_echo(engine) == b"works\n"
        far.kill()
        with pytest.raises(EngineUnavailableError, match="ssh://far/var/run"):
            run_echo(engine)
        far.start()
        assert run_echo(engine) == b"works\n"


@pytest.mark.parametrize(
    ("key", "address", "message"),
    [
        ("stranger", "ssh://far", r"ssh://far \(.*Permission denied"),
        ("mine", "ssh://far:1", r"port 1: Connection refused"),
        ("mine", "ssh://far/no.sock", r"no container engine answers at ssh://far/no\.sock"),
        ("mine", "ssh://not-known.invalid", r"Could not resolve hostname.*docker -H ssh://"),
    ],
)
def test_an_ssh_that_does_not_get_there_is_explained(
    far: OwnSshd, key: str, address: str, message: str
) -> None:
    far.accept(key)
    with pytest.raises(EngineUnavailableError, match=message):
        DockerEngine(address)


@pytest.mark.parametrize(
    "address",
    ["ssh://", "ssh://me:secret@far", "ssh://-oProxyCommand=x", "ssh://far:abc", "ssh://a%00@b"],
)
def test_an_address_that_is_none_never_reaches_ssh(address: str) -> None:
    with pytest.raises(EngineUnavailableError, match="is not an address as ssh://user@host"):
        DockerEngine(address)


def test_without_ssh_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailableError, match="this machine has no ssh"):
        DockerEngine("ssh://me@far")
