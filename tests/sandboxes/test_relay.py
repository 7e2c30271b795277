"""The relay joins an agent's network to one Unix socket of the host, and to nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandboxes import multiplex
from sandboxes.base import ImageMissingError, Sandbox, SandboxError
from sandboxes.docker import ENGINE_LABEL, KIND_LABEL, RELAY_KIND, DockerEngine
from sandboxes.relay import RELAY_PORT, Relay
from sandboxes.stdio_relay import StdioRelay

pytestmark = pytest.mark.engine
KINDS = pytest.mark.parametrize("kind", [Relay, StdioRelay])
MakeSandbox = Callable[..., Sandbox]
GET = ["curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{RELAY_PORT}/"]


@KINDS
def test_only_the_socket_is_reached(
    kind: type[Relay], engine: DockerEngine, docker: MakeSandbox, relay_image: str, gateway: Path
) -> None:
    with kind(engine, {RELAY_PORT: gateway}) as relay:
        sandbox = docker(network=relay.network)
        assert sandbox.run(GET, deadline_s=10).stdout == b"hello"
        many = "for n in $(seq 40); do " + " ".join(GET) + " & done; wait"
        assert sandbox.run(["bash", "-c", many], deadline_s=20).stdout == b"hello" * 40
        assert sandbox.run(["ls", "/gateway"], deadline_s=10).exit_code == 2
        out = ["bash", "-c", "exec 3<>/dev/tcp/1.1.1.1/80"]
        assert b"unreachable" in sandbox.run(out, deadline_s=10).stderr
        relay.check()


FLOOD = f"""
import socket, time
held = []
for _ in range(1000):
    held.append(one := socket.socket())
    one.setblocking(False)
    one.connect_ex(("127.0.0.1", {RELAY_PORT}))
time.sleep(4)
"""


@KINDS
def test_a_flood_of_connections_leaves_the_relay_running(
    kind: type[Relay], engine: DockerEngine, docker: MakeSandbox, relay_image: str, gateway: Path
) -> None:
    with kind(engine, {RELAY_PORT: gateway}) as relay:
        sandbox = docker(network=relay.network)
        assert sandbox.run(["python3", "-c", FLOOD], deadline_s=30).exit_code == 0
        relay.check()
        patient = ["curl", "-sS", "--max-time", "20", GET[-1]]
        assert sandbox.run(patient, deadline_s=30).stdout == b"hello"
        sandbox.stop()
        again = docker(network=relay.network)
        assert again.run(GET, deadline_s=10).stdout == b"hello"


@KINDS
def test_one_relay_serves_sandbox_after_sandbox(
    kind: type[Relay], engine: DockerEngine, docker: MakeSandbox, relay_image: str, gateway: Path
) -> None:
    with kind(engine, {RELAY_PORT: gateway}) as relay:
        for _ in range(2):
            sandbox = docker(network=relay.network)
            sandbox.run(["bash", "-c", "kill -9 -1"], deadline_s=10)
            assert sandbox.run(GET, deadline_s=10).stdout == b"hello"
            sandbox.stop()


@KINDS
def test_a_dead_relay_is_an_engine_failure(
    kind: type[Relay], engine: DockerEngine, docker: MakeSandbox, relay_image: str, gateway: Path
) -> None:
    with kind(engine, {RELAY_PORT: gateway}) as relay:
        engine.api.kill(relay.network.removeprefix("container:"))
        with pytest.raises(SandboxError, match="relay has ended"):
            relay.check()
        with pytest.raises(SandboxError):
            docker(network=relay.network)


@KINDS
def test_missing_image(kind: type[Relay], engine: DockerEngine, gateway: Path) -> None:
    relay = kind(engine, {RELAY_PORT: gateway}, image="skillopt/none:1")
    with pytest.raises(ImageMissingError, match="skillopt/none:1"):
        relay.start()


def test_one_that_never_listens_is_not_waited_for(
    relay_image: str, gateway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.relay._FORWARD", "sleep infinity")
    with DockerEngine(patience_s=2) as engine:
        with pytest.raises(SandboxError, match="did not deliver the output within 2 s"):
            Relay(engine, {RELAY_PORT: gateway}).start()
        mine = {"label": f"{ENGINE_LABEL}={engine.id}"}
        assert engine.api.containers(all=True, filters=mine) == []


def test_an_image_without_the_relays_program_is_named(
    engine: DockerEngine, relay_image: str, gateway: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplex, "__file__", "/dev/null")  # A program that ends at once.
    with pytest.raises(SandboxError, match="the relay does not listen: its stream has ended"):
        StdioRelay(engine, {RELAY_PORT: gateway}).start()
    mine = {"label": [f"{ENGINE_LABEL}={engine.id}", f"{KIND_LABEL}={RELAY_KIND}"]}
    assert engine.api.containers(all=True, filters=mine) == []


CLIENT = """
import sys
from pathlib import Path
from sandboxes.docker import DockerEngine
from sandboxes.stdio_relay import StdioRelay
with DockerEngine() as engine, StdioRelay(engine, {8377: Path(sys.argv[1])}) as relay:
    print(relay.network.removeprefix("container:"), flush=True)
    sys.stdin.read()
"""


def test_a_relay_is_gone_when_its_process_was_killed(
    engine: DockerEngine, relay_image: str, gateway: Path
) -> None:
    argv = [sys.executable, "-c", CLIENT, str(gateway)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        container = client.stdout.readline().strip()
        assert engine.started(container)
        client.kill()
        client.wait()
    end = time.monotonic() + 1
    while running := engine.started(container):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert not running
    engine.remove(container)
