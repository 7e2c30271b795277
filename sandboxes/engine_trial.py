"""Trials of what a rollout needs of a Docker engine: folders of this machine that the agent's user
can use inside a container, mounted or copied, and a way to a socket of this machine. An engine that
only answers may still lack them."""

from __future__ import annotations

import platform
import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from sandboxes.backend import Check
from sandboxes.base import (
    EngineUnavailableError,
    ImageMissingError,
    Limits,
    Mount,
    SandboxError,
    SandboxSpec,
)
from sandboxes.docker import DockerEngine
from sandboxes.docker_sandbox import DockerSandbox
from sandboxes.files import Files, Mounted
from sandboxes.images import RELAY_IMAGE
from sandboxes.owner import scratch_dir
from sandboxes.relay import RELAY_PORT
from sandboxes.stdio_relay import StdioRelay

MOUNTS, COPIES, LIMITS = "mounted folders", "copied folders", "limits of sandboxes"

_PLACE = "/trial"
_SCRIPT = f"""\
umask 077
cat {_PLACE}/given && cat {_PLACE}/given > {_PLACE}/made || exit 1
"""
_SOCKET = f"cat {_PLACE}/given | socat -u - UNIX-CONNECT:{_PLACE}/socket || exit 2\n"
_PORT = f"cat {_PLACE}/given > /dev/tcp/127.0.0.1/{RELAY_PORT} || exit 2\n"
_STEPS = {
    1: "an agent cannot read and write a folder of this machine",
    2: "a container cannot reach a socket of this machine, as the gateway's",
}
_UNSEEN = ("bind source path does not exist", "no such file or directory")
"""What engines say of a folder that they do not find."""
_TIME_S = 30.0
_SOCKET_S = 5.0
_KEPT = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "processor time"}
"""What an engine reports of the limits that its kernel lets it set."""


def try_mounts(engine: DockerEngine, image: str = RELAY_IMAGE) -> Check:
    """Write into a mounted folder as the agent, read it back as this user, and send through a
    socket, if the image is the relay's, which has what that needs.

    Returns:
        The check; if it is not ``ok``, with what the engine tells of the likely cause as advice.

    Raises:
        EngineUnavailableError: the engine does not answer any more.
        ImageMissingError: it does not have the image.
    """
    script = _SCRIPT + (_SOCKET if image == RELAY_IMAGE else "")

    def trial(folder: Path, token: str) -> str:
        mount = Mount(str(folder), _PLACE, read_only=False)
        try:
            return _trial(engine, Mounted(engine), image, mount, script, token)
        except SandboxError as error:
            if any(sign in str(error) for sign in _UNSEEN):
                return "this engine does not see this machine's files"
            raise

    done = "an agent can write them, and reach a socket in them"
    return _tried(MOUNTS, trial, done, likely_cause(engine))


def try_copies(engine: DockerEngine, files: Files) -> Check:
    """The same with a folder that is copied, and a relay that needs no socket in a container. The
    relay's image must be there."""

    def trial(folder: Path, token: str) -> str:
        mount = Mount(str(folder), _PLACE, read_only=False)
        with StdioRelay(engine, {RELAY_PORT: folder / "socket"}) as relay:
            script, network = _SCRIPT + _PORT, relay.network
            return _trial(engine, files, RELAY_IMAGE, mount, script, token, network)

    done = "an agent can write them, and reach the gateway"
    advice = "see what the engine logs; `skillopt images build` renews its images"
    return _tried(COPIES, trial, done, advice)


def missing_limits(engine: DockerEngine) -> list[str]:
    """What the engine says that it does not limit, in words."""
    return [what for key, what in _KEPT.items() if engine.info.get(key) is False]


def limits_advice(engine: DockerEngine) -> str:
    """What to do about limits that are not kept."""
    old = str(engine.info.get("CgroupVersion") or "") == "1"
    rootless = "name=rootless" in security_options(engine)
    way = "boot the engine's machine with cgroup v2, or use an engine that runs as root"
    other = "let the engine's kernel and cgroups set them"
    return (
        f"{way if rootless and old else other} (DOCKER_HOST); or, if what agents run may use all "
        "of that machine, set sandbox.options: {without_limits: true}"
    )


def security_options(engine: DockerEngine) -> str:
    """The engine's report of how it isolates, in one line."""
    return " ".join(engine.info.get("SecurityOptions") or ())


def _tried(name: str, trial: Callable[[Path, str], str], done: str, advice: str) -> Check:
    try:
        with TemporaryDirectory(dir=scratch_dir(), prefix="trial-") as folder:
            problem = trial(Path(folder), secrets.token_hex(8))
    except (EngineUnavailableError, ImageMissingError):
        raise
    except (SandboxError, OSError) as error:
        problem = str(error)
    return Check(name, False, problem, advice) if problem else Check(name, True, done)


def _trial(
    engine: DockerEngine,
    files: Files,
    image: str,
    mount: Mount,
    script: str,
    token: str,
    network: str = "none",
) -> str:
    """What does not work; empty if everything does."""
    folder = Path(mount.source)
    (folder / "given").write_text(token)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        (folder / "socket").chmod(0o666)
        server.listen()
        spec = SandboxSpec(
            image,
            "/",
            (mount,),
            limits=Limits(memory_mb=64, pids=32, disk_mb=1),
            network=network,
            single_command=True,
        )
        with DockerSandbox(engine, spec, lambda: files) as box:
            shell = "bash" if image == RELAY_IMAGE else "sh"
            result = box.run([shell, "-c", script], deadline_s=_TIME_S)
        if result.exit_code != 0:
            step = _STEPS.get(result.exit_code or 0, "a command in a container did not end well")
            return f"{step}: {result.stderr.decode(errors='replace').strip()[-300:]}"
        if (folder / "made").read_text() != token:
            return "a file that an agent wrote is another one on this machine"
        if script == _SCRIPT:
            return ""
        server.settimeout(_SOCKET_S)
        with server.accept()[0] as client:
            client.settimeout(_SOCKET_S)
            if client.recv(100).decode() != token:
                return _STEPS[2]
    return ""


def likely_cause(engine: DockerEngine) -> str:
    """Advice by what the engine tells of itself."""
    options = security_options(engine)
    if not engine.host.startswith(("unix:", "npipe:")):
        return f"{engine.host} seems to be another machine; set sandbox.options: {{files: copy}}"
    if "name=userns" in options:
        return (
            "the engine maps the users of containers to others (userns-remap), who cannot use your "
            "files; remove 'userns-remap' from its daemon.json, or set sandbox.options: {files: "
            "copy}"
        )
    if "name=rootless" in options:
        return (
            "the engine is rootless and maps the users of containers to others, who cannot use "
            "your files; set sandbox.options: {files: copy}"
        )
    if "name=selinux" in options:
        return "SELinux forbids it; start the engine without 'selinux-enabled' in its daemon.json"
    if engine.info.get("Name") != platform.node():
        return (
            f"the engine runs on {engine.info.get('OperatingSystem')} ({engine.info.get('Name')}), "
            f"perhaps in a virtual machine; share {scratch_dir()} with it, or set sandbox.options: "
            "{files: copy}"
        )
    return (
        f"see that containers may use {scratch_dir()}: its file system, rights and policies, or "
        "set sandbox.options: {files: copy}"
    )
