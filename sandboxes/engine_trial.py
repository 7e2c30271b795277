"""A trial of what a rollout needs of a Docker engine: folders and sockets of this machine that the
agent's user can use inside a container. An engine that only answers may still lack them."""

from __future__ import annotations

import platform
import secrets
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from sandboxes.backend import Check
from sandboxes.base import Limits, Mount, SandboxError, SandboxSpec
from sandboxes.docker import DockerEngine
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.images import RELAY_IMAGE
from sandboxes.owner import scratch_dir

NAME = "mounted folders"

_PLACE = "/trial"
_SCRIPT = f"""\
umask 077
cat {_PLACE}/given && cat {_PLACE}/given > {_PLACE}/made || exit 1
cat {_PLACE}/given | socat -u - UNIX-CONNECT:{_PLACE}/socket || exit 2
"""
_STEPS = {
    1: "an agent cannot read and write a folder of this machine",
    2: "a container cannot reach a socket of this machine, as the gateway's",
}
_TIME_S = 30.0
_SOCKET_S = 5.0


def try_mounts(engine: DockerEngine) -> Check:
    """Write into a mounted folder as the agent, read it back as this user, and send through a
    socket. The relay's image must be there.

    Returns:
        The check; if it is not ``ok``, with what the engine tells of the likely cause as advice.
    """
    token = secrets.token_hex(8)
    try:
        with TemporaryDirectory(dir=scratch_dir(), prefix="trial-") as folder:
            problem = _trial(engine, Path(folder), token)
    except (SandboxError, OSError) as error:
        problem = str(error)
    if not problem:
        return Check(NAME, True, "an agent can write them, and reach a socket in them")
    return Check(NAME, False, problem, likely_cause(engine))


def _trial(engine: DockerEngine, folder: Path, token: str) -> str:
    """What does not work; empty if everything does."""
    (folder / "given").write_text(token)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o666)
        server.listen()
        spec = SandboxSpec(
            RELAY_IMAGE,
            "/",
            (Mount(str(folder), _PLACE, read_only=False),),
            limits=Limits(memory_mb=64, pids=32, disk_mb=1),
            single_command=True,
        )
        with DockerSandbox(engine, spec) as box:
            result = box.run(["bash", "-c", _SCRIPT], deadline_s=_TIME_S)
        if result.exit_code != 0:
            step = _STEPS.get(result.exit_code or 0, "a command in a container did not end well")
            return f"{step}: {result.stderr.decode(errors='replace').strip()[-300:]}"
        if (folder / "made").read_text() != token:
            return "a file that an agent wrote is another one on this machine"
        server.settimeout(_SOCKET_S)
        with server.accept()[0] as client:
            client.settimeout(_SOCKET_S)
            if client.recv(100).decode() != token:
                return _STEPS[2]
    return ""


def likely_cause(engine: DockerEngine) -> str:
    """Advice by what the engine tells of itself."""
    options = " ".join(engine.info.get("SecurityOptions") or ())
    if not engine.host.startswith(("unix:", "npipe:")):
        return f"{engine.host} seems to be another machine; use an engine of this one (DOCKER_HOST)"
    if "name=userns" in options:
        return (
            "the engine maps the users of containers to others (userns-remap), who cannot use your "
            "files; remove 'userns-remap' from its daemon.json, or use another engine (DOCKER_HOST)"
        )
    if "name=rootless" in options:
        return (
            "the engine is rootless and maps the users of containers to others, who cannot use "
            "your files; use one that runs as root (DOCKER_HOST)"
        )
    if "name=selinux" in options:
        return "SELinux forbids it; start the engine without 'selinux-enabled' in its daemon.json"
    if engine.info.get("Name") != platform.node():
        return (
            f"the engine runs on {engine.info.get('OperatingSystem')} ({engine.info.get('Name')}), "
            f"perhaps in a virtual machine; share {scratch_dir()} with it"
        )
    return f"see that containers may use {scratch_dir()}: its file system, rights and policies"
