"""Sandboxes without a network share a network namespace in turn, and find it as if it were new."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandboxes.base import Sandbox, SandboxError, SandboxSpec
from sandboxes.docker import ENGINE_LABEL, KIND_LABEL, DockerEngine
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.namespaces import NAMESPACE_KIND, Namespaces
from sandboxes.relay import RELAY_PORT, Relay

MakeSandbox = Callable[..., Sandbox]

LEAVE = """
import os, socket, time
inner = socket.create_server(("127.0.0.1", 9000))
client = socket.create_connection(("127.0.0.1", 9000))
server, _ = inner.accept()
server.close(); client.recv(1); client.close(); inner.close()  # Leaves port 9000 in TIME_WAIT.
if os.fork() == 0:
    os.setsid()
    held = [socket.create_server(("0.0.0.0", 9001)), socket.create_server(("127.0.0.1", 9002))]
    held.append(socket.create_server(("::", 9003), family=socket.AF_INET6))
    one = socket.socket(socket.AF_UNIX); one.bind("\\0left"); one.listen()
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); datagrams.bind(("", 9004))
    held.append(socket.create_connection(("127.0.0.1", 9002)))
    print("left", flush=True)
    time.sleep(100)
time.sleep(0.5)
"""
FIND = """
import socket
for name in ("tcp", "tcp6", "udp", "udp6", "unix", "raw", "packet"):
    print(name, open(f"/proc/net/{name}").read().splitlines()[1:])
for port in range(9000, 9005):
    socket.socket().bind(("127.0.0.1", port))
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).bind(("127.0.0.1", port))
    print(port, "free")
try:
    socket.socket(socket.AF_UNIX).connect("\\0left")
except ConnectionRefusedError:
    print("nobody")
"""
CLEAN = [
    "tcp []", "tcp6 []", "udp []", "udp6 []", "unix []", "raw []", "packet []",
    *(f"{port} free" for port in range(9000, 9005)), "nobody",
]  # fmt: skip


def said(sandbox: Sandbox, program: str) -> list[str]:
    result = sandbox.run(["python3", "-c", program], deadline_s=20)
    assert result.exit_code == 0, result.stderr
    return result.stdout.decode().splitlines()


def namespace(sandbox: Sandbox) -> str:
    return said(sandbox, "import os; print(os.readlink('/proc/self/ns/net'))")[0]


def keepers(engine: DockerEngine) -> list[str]:
    mine = [f"{ENGINE_LABEL}={engine.id}", f"{KIND_LABEL}={NAMESPACE_KIND}"]
    return [str(found["Id"]) for found in engine.api.containers(filters={"label": mine})]


@pytest.mark.engine
@pytest.mark.parametrize("single_command", [False, True])
def test_nothing_is_left_for_the_next(image: str, single_command: bool) -> None:
    spec = SandboxSpec(image=image, single_command=single_command)
    with DockerEngine() as engine:
        with DockerSandbox(engine, spec) as first:
            assert said(first, LEAVE)[-1:] == ["left"]
        with DockerSandbox(engine, spec) as second:
            assert said(second, FIND) == CLEAN
        assert len(keepers(engine)) == 1


@pytest.mark.engine
def test_nothing_is_left_in_the_network_of_a_relay(
    image: str, relay_image: str, gateway: Path
) -> None:
    with DockerEngine() as engine, Relay(engine, {RELAY_PORT: gateway}) as relay:
        spec = SandboxSpec(image=image, network=relay.network)
        found = []
        for _ in range(2):
            with DockerSandbox(engine, spec) as box:
                found.append(said(box, FIND))
            with DockerSandbox(engine, spec) as box:
                assert said(box, LEAVE)[-1:] == ["left"]
    # The relay has sockets itself, before and after.
    assert found[0] == found[1] and found[0][-6:] == CLEAN[-6:]


@pytest.mark.engine
def test_one_after_another_they_share_one_and_at_the_same_time_none(image: str) -> None:
    spec = SandboxSpec(image=image)
    with DockerEngine() as engine:
        found = []
        for _ in range(2):
            with DockerSandbox(engine, spec) as one, DockerSandbox(engine, spec) as other:
                found.append({namespace(one), namespace(other)})
        assert found[0] == found[1] and len(found[0]) == 2
        with ThreadPoolExecutor(4) as pool:
            boxes = [DockerSandbox(engine, spec) for _ in range(4)]
            list(pool.map(DockerSandbox.start, boxes))
            assert len(set(map(namespace, boxes))) == 4
            list(pool.map(DockerSandbox.stop, boxes))
        assert len(keepers(engine)) == 4


@pytest.mark.engine
@pytest.mark.parametrize("how", ["kill", "restart", "remove"])
def test_one_that_is_not_what_it_was_is_made_anew(image: str, how: str) -> None:
    spec = SandboxSpec(image=image)
    with DockerEngine() as engine:
        with DockerSandbox(engine, spec) as first:
            assert said(first, LEAVE)[-1:] == ["left"]
        [keeper] = keepers(engine)
        if how == "remove":
            engine.api.remove_container(keeper, force=True)
        else:
            getattr(engine.api, how)(keeper)
        with DockerSandbox(engine, spec) as second:
            assert said(second, FIND) == CLEAN
        assert keepers(engine) != [keeper] and len(keepers(engine)) == 1
    with DockerEngine() as other:
        mine = {"label": f"{ENGINE_LABEL}={engine.id}"}
        assert other.api.containers(all=True, filters=mine) == []


@pytest.mark.engine
def test_a_sandbox_that_cannot_be_made_gives_it_back(image: str) -> None:
    with DockerEngine() as engine:
        for _ in range(3):
            with pytest.raises(SandboxError):
                DockerSandbox(engine, SandboxSpec(image="skillopt/none:1")).start()
        assert len(keepers(engine)) == 1


@pytest.mark.engine
def test_without_the_image_each_sandbox_makes_its_own(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandboxes.docker.RELAY_IMAGE", "skillopt/none:1")
    with DockerEngine() as engine, DockerSandbox(engine, SandboxSpec(image=image)) as box:
        assert said(box, FIND) == CLEAN and keepers(engine) == []


@pytest.mark.engine
def test_a_namespace_whose_sandbox_cannot_be_removed_is_not_lent_again(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with DockerEngine() as engine:
        box = DockerSandbox(engine, SandboxSpec(image=image))
        box.start()
        before = namespace(box)
        remove = DockerEngine.remove

        def fail(engine: DockerEngine, container: str) -> None:
            raise SandboxError("the engine does not answer")

        monkeypatch.setattr(DockerEngine, "remove", fail)
        with pytest.raises(SandboxError, match="does not answer"):
            box.stop()
        box.stop()
        monkeypatch.setattr(DockerEngine, "remove", remove)
        with DockerSandbox(engine, SandboxSpec(image=image)) as other:
            assert namespace(other) != before


def test_the_pool_makes_what_it_lacks_and_removes_what_is_dead() -> None:
    removed: list[str] = []
    made, running = iter("abc"), {"a": "1", "b": "1", "c": "1"}
    pool = Namespaces(lambda: next(made), lambda name: running[name], removed.append)
    first, second = pool.take(), pool.take()
    assert (first.network, second.network) == ("container:a", "container:b")
    pool.give_back(first)
    pool.give_back(second)
    running |= {"a": "", "b": "2"}
    assert pool.take().container == "c" and removed == ["a", "b"]


@pytest.mark.parametrize(
    ("then", "now", "again"),
    [("1", "1", True), ("1", "2", False), ("1", "", False), ("", "1", False), ("", "", False)],
)
def test_a_namespace_is_lent_again_if_its_container_has_run_all_the_time(
    then: str, now: str, again: bool
) -> None:
    removed: list[str] = []
    made, running = iter("ab"), {"a": then, "b": "9"}
    pool = Namespaces(lambda: next(made), lambda name: running[name], removed.append)
    kept = pool.take()
    assert kept.started == then
    running["a"] = now
    pool.give_back(kept)
    assert pool.take().container == ("a" if again else "b")
    assert removed == ([] if again else ["a"])
