"""What a container sandbox keeps an untrusted agent from, and what becomes of one that tries."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sandboxes.base import (
    EngineUnavailableError,
    ImageMissingError,
    Limits,
    Mount,
    Sandbox,
    SandboxError,
    SandboxSpec,
)
from sandboxes.docker import ENGINE_LABEL, KIND_LABEL, DockerEngine
from sandboxes.docker_sandbox import DockerSandbox

pytestmark = pytest.mark.engine
MakeSandbox = Callable[..., Sandbox]


def shell(sandbox: Sandbox, script: str, deadline_s: float = 20) -> str:
    result = sandbox.run(["bash", "-c", script], deadline_s=deadline_s)
    return (result.stdout + result.stderr).decode()


def labels(engine: DockerEngine) -> list[str]:
    """The labels of an engine's sandboxes."""
    return [f"{ENGINE_LABEL}={engine.id}", f"{KIND_LABEL}=sandbox"]


def test_no_route_out_and_no_name_resolution(docker: MakeSandbox) -> None:
    sandbox = docker()
    script = "ls /sys/class/net; cat /proc/net/route | tail -n +2"
    assert shell(sandbox, script).split() == ["lo"]
    assert "Network is unreachable" in shell(sandbox, "exec 3<>/dev/tcp/1.1.1.1/80")
    lookup = "import socket; socket.getaddrinfo('deb.debian.org', 80)"
    assert "gaierror" in shell(sandbox, f'python3 -c "{lookup}"')


def test_ordinary_user_without_capabilities(docker: MakeSandbox) -> None:
    sandbox = docker()
    assert shell(sandbox, "id -u").strip() not in ("0", "65534")
    status = dict(
        line.split(":\t") for line in shell(sandbox, "cat /proc/self/status").splitlines()
    )
    capabilities = {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert capabilities == {"0" * 16}
    assert status["NoNewPrivs"].strip() == "1" and status["Seccomp"].strip() == "2"
    script = "find / -xdev -name '*docker.sock' -o -xdev -name 'containerd.sock' 2>/dev/null"
    assert shell(sandbox, script) == ""


def test_an_agent_cannot_end_its_own_sandbox(docker: MakeSandbox) -> None:
    sandbox = docker()
    shell(sandbox, "kill -9 -1")
    shell(sandbox, "kill -TERM 1; kill -9 1")
    assert shell(sandbox, "echo here") == "here\n"


def test_read_only_mount_cannot_be_changed(docker: MakeSandbox, writable: Path) -> None:
    skill = writable / "skills" / "one"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("rule")
    for path in (skill / "SKILL.md", skill, skill.parent):
        if os.getuid() == 0:
            os.chown(path, 1000, 1000)
    mounts = (
        Mount(str(writable), "/home/agent", read_only=False),
        Mount(str(skill), "/home/agent/skills/one"),
    )
    sandbox = docker(mounts=mounts)
    script = (
        "cd skills; echo x > one/SKILL.md; rm -f one/SKILL.md; mv one two; umount one; touch ok"
    )
    answer = sandbox.run(["bash", "-c", script], deadline_s=10, cwd="/home/agent").stderr.decode()
    assert answer.count("Read-only file system") == 2
    assert (skill / "SKILL.md").read_text() == "rule" and (skill.parent / "ok").exists()


@pytest.mark.alone  # It counts the machine's processes.
def test_fork_bomb_ends_at_its_limits(docker: MakeSandbox) -> None:
    sandbox = docker(limits=Limits(pids=64, memory_mb=256))
    before = len(os.listdir("/proc"))
    began = time.monotonic()
    result = sandbox.run(["bash", "-c", "b() { b | b & b; }; b; sleep 60"], deadline_s=3)
    assert result.timed_out and time.monotonic() - began < 20
    assert len(os.listdir("/proc")) < before + 64


def test_memory_hog_ends_at_its_limit(docker: MakeSandbox) -> None:
    sandbox = docker(limits=Limits(memory_mb=128))
    result = sandbox.run(["tail", "/dev/zero"], deadline_s=20)
    assert (result.exit_code, result.limit) == (137, "memory")
    assert sandbox.run(["false"], deadline_s=10).limit is None
    files = sandbox.run(["sh", "-c", "head -c 400M /dev/zero > /tmp/x"], deadline_s=20)
    assert files.exit_code != 0


def test_files_outside_of_mounts_count_too(docker: MakeSandbox) -> None:
    sandbox = docker(limits=Limits(disk_mb=20))
    script = "cd /var/tmp; for n in $(seq 1000); do head -c 2M /dev/zero > $n; sleep 0.05; done"
    assert sandbox.run(["bash", "-c", script], deadline_s=30).limit == "disk"


def test_close_ends_commands_that_run(image: str) -> None:
    engine = DockerEngine()
    ended: list[tuple[Exception, float]] = []

    def work() -> None:
        try:
            with DockerSandbox(engine, SandboxSpec(image=image)) as sandbox:
                sandbox.run(["sleep", "60"], deadline_s=60)
        except SandboxError as error:
            ended.append((error, time.monotonic()))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    closing = time.monotonic()
    engine.close()
    for thread in threads:
        thread.join(timeout=10)
    assert len(ended) == 3
    assert all(at - closing < 5 for _, at in ended)
    with DockerEngine() as other:
        mine = {"label": f"skillopt.engine={engine.id}"}
        assert other.api.containers(all=True, filters=mine) == []
    with pytest.raises(SandboxError, match="closed"):
        DockerSandbox(engine, SandboxSpec(image=image)).start()


def test_close_while_starting_leaves_nothing(image: str) -> None:
    engine = DockerEngine()

    def work() -> None:
        with pytest.raises(SandboxError):
            while True:
                with DockerSandbox(engine, SandboxSpec(image=image)) as sandbox:
                    sandbox.run(["true"], deadline_s=10)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    engine.close()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()
    with DockerEngine() as other:
        mine = {"label": f"skillopt.engine={engine.id}"}
        assert other.api.containers(all=True, filters=mine) == []


def test_a_container_that_is_taken_away_is_an_engine_failure(
    engine: DockerEngine, docker: MakeSandbox
) -> None:
    sandbox = docker()
    [container] = engine.api.containers(filters={"label": labels(engine)})
    threading.Timer(0.7, lambda: engine.api.kill(container["Id"])).start()
    with pytest.raises(SandboxError):
        sandbox.run(["sleep", "30"], deadline_s=30)


def test_missing_image_is_named(engine: DockerEngine) -> None:
    with pytest.raises(ImageMissingError, match=r"skillopt/none:1.*skillopt images build"):
        DockerSandbox(engine, SandboxSpec(image="skillopt/none:1")).start()


def test_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EngineUnavailableError, match=r"docker\.sock.*docker\.com/engine/install"):
        DockerEngine()


def test_import_is_quick() -> None:
    script = "import sandboxes.docker, sandboxes.images, sandboxes.relay, sandboxes.reaper, sys;"
    script += "sys.exit('docker' in sys.modules or 'requests' in sys.modules)"
    top = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", script], cwd=top).returncode == 0


@pytest.mark.skipif(os.getuid() != 0, reason="stops a process of the engine's: needs root")
def test_a_container_that_the_engine_cannot_remove_holds_nothing_else_up(image: str) -> None:
    spec = SandboxSpec(image=image)
    with DockerEngine(patience_s=3) as engine:
        mine = {"label": f"{ENGINE_LABEL}={engine.id}"}
        DockerSandbox(engine, spec).start()
        (stuck,) = (
            found["Id"] for found in engine.api.containers(filters={"label": labels(engine)})
        )
        keeper = _keeper_of(stuck)
        keeper.suspend()
        try:
            began = time.monotonic()
            with pytest.raises(SandboxError, match=f"removing container {stuck[:12]}"):
                engine.remove(stuck)
            with DockerSandbox(engine, spec) as other:
                assert shell(other, "echo works") == "works\n"
            assert time.monotonic() - began < 30
        finally:
            keeper.resume()
    with DockerEngine() as engine:
        assert engine.api.containers(all=True, filters=mine) == []


def test_a_container_whose_making_was_not_answered_does_not_stay(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SandboxSpec(image=image, network="bridge")
    with DockerEngine() as engine:
        create = engine.api.create_container

        def lost(**given: object) -> None:
            monkeypatch.undo()
            create(**given)
            raise ConnectionResetError("the answer of the engine was lost")

        monkeypatch.setattr(engine.api, "create_container", lost)
        with pytest.raises(EngineUnavailableError):
            DockerSandbox(engine, spec).start()
        assert len(engine.api.containers(all=True, filters={"label": labels(engine)})) == 1
        with DockerSandbox(engine, spec):
            assert len(engine.api.containers(all=True, filters={"label": labels(engine)})) == 1


def _keeper_of(container: str) -> psutil.Process:
    """The process that a container's end is told by."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words and "containerd-shim" in words[0] and container in words:
            return process
    raise AssertionError(f"no shim of {container}")
