"""The relay joins an agent's network to one Unix socket of the host, and to nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sandboxes.base import ImageMissingError, Sandbox, SandboxError
from sandboxes.docker import ENGINE_LABEL, DockerEngine
from sandboxes.relay import RELAY_PORT, Relay

pytestmark = pytest.mark.engine
MakeSandbox = Callable[..., Sandbox]
GET = ["curl", "-sS", "--max-time", "5", f"http://127.0.0.1:{RELAY_PORT}/"]


def test_only_the_socket_is_reached(
    engine: DockerEngine, docker: MakeSandbox, relay_image: str, gateway: Path
) -> None:
    with Relay(engine, {RELAY_PORT: gateway}) as relay:
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


def test_a_flood_of_connections_leaves_the_relay_running(
    engine: DockerEngine, docker: MakeSandbox, relay_image: str, gateway: Path
) -> None:
    with Relay(engine, {RELAY_PORT: gateway}) as relay:
        sandbox = docker(network=relay.network)
        assert sandbox.run(["python3", "-c", FLOOD], deadline_s=30).exit_code == 0
        relay.check()
        patient = ["curl", "-sS", "--max-time", "20", GET[-1]]
        assert sandbox.run(patient, deadline_s=30).stdout == b"hello"
        sandbox.stop()
        again = docker(network=relay.network)
        assert again.run(GET, deadline_s=10).stdout == b"hello"


def test_one_relay_serves_sandbox_after_sandbox(
    engine: DockerEngine, docker: MakeSandbox, relay_image: str, gateway: Path
) -> None:
    with Relay(engine, {RELAY_PORT: gateway}) as relay:
        for _ in range(2):
            sandbox = docker(network=relay.network)
            sandbox.run(["bash", "-c", "kill -9 -1"], deadline_s=10)
            assert sandbox.run(GET, deadline_s=10).stdout == b"hello"
            sandbox.stop()


def test_a_dead_relay_is_an_engine_failure(
    engine: DockerEngine, docker: MakeSandbox, relay_image: str, gateway: Path
) -> None:
    with Relay(engine, {RELAY_PORT: gateway}) as relay:
        engine.api.kill(relay.network.removeprefix("container:"))
        with pytest.raises(SandboxError, match="relay has ended"):
            relay.check()
        with pytest.raises(SandboxError):
            docker(network=relay.network)


def test_missing_image(engine: DockerEngine, gateway: Path) -> None:
    relay = Relay(engine, {RELAY_PORT: gateway}, image="skillopt/none:1")
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
