"""The configuration of containers: hardened, limited, and with nothing of this machine in them but
what their specification names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandboxes.base import HANDED, SandboxSpec
from sandboxes.disk import MEGABYTE
from sandboxes.mounts import engine_mount

IMAGE_UID = 1000
"""The user that the project's images, and most others, have besides root."""

ROOT = "0:0"
_OF_ROOT = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID",
    "SYS_CHROOT",
)  # fmt: skip
"""The capabilities that package managers and services of a distribution need. What reaches beyond
the container is not among them: raw sockets, devices, file capabilities, mounts, tracing."""
ROOT_IDLE = ("sh", "-c", "while :; do sleep 3600; done")
"""What idles where commands beside it are root: only a container's first process cannot be killed
by them, so it takes the place of the engine's init, and a shell collects the dead as that does."""
_OPEN_FILES = 16384
_FORGET_PORTS = {"net.ipv4.tcp_max_tw_buckets": "0"}
"""A port is free again with its connection's end, not a minute after it: the next sandbox would
find it taken."""

_TMP = "size={size},mode=1777,nosuid,nodev,exec"


def settings(
    spec: SandboxSpec,
    labels: Mapping[str, str],
    user: str,
    command: Sequence[str],
    *,
    stdin: bool = False,
) -> dict[str, Any]:
    """The arguments of ``APIClient.create_container``, apart from the host's side.

    Args:
        spec: of the container.
        labels: by which it is found again.
        user: of the command, as ``uid:gid``.
        command: its own process.
        stdin: whether its standard input is open, and ends with the first who writes to it.
    """
    return {
        "image": spec.image,
        "entrypoint": [command[0]],
        "command": list(command[1:]),
        "user": user,
        "working_dir": spec.workdir,
        "environment": dict(spec.env),
        "stdin_open": stdin,
        "labels": dict(labels),
        "healthcheck": {"test": ["NONE"]},
        # Not a signal that a command could take for its own end.
        "stop_signal": "SIGKILL",
    }


def host_settings(
    spec: SandboxSpec,
    command: Sequence[str],
    *,
    cpus: int,
    joined: bool,
    runtime: str | None,
    in_memory: bool = True,
) -> dict[str, Any]:
    """The arguments of ``APIClient.create_host_config``.

    Args:
        spec: of the container.
        command: its own process.
        cpus: of the machine; engines refuse more than that.
        joined: whether the container's network serves one sandbox after another.
        runtime: that starts it; None for the engine's own.
        in_memory: whether ``/tmp`` may be in memory.
    """
    from docker.types import LogConfig, Ulimit

    limits = spec.limits
    memory = limits.memory_mb * MEGABYTE
    largest = limits.disk_mb * MEGABYTE
    temporary = min(memory // 2, largest)
    chosen = {"runtime": runtime} if runtime else {}
    return chosen | {
        "network_mode": spec.network,
        "sysctls": _FORGET_PORTS if joined else {},
        "mounts": [engine_mount(mount) for mount in spec.mounts],
        "tmpfs": {"/tmp": _TMP.format(size=temporary)}
        if in_memory and not _hands_over(spec)
        else {},
        "cap_drop": ["ALL"],
        "cap_add": list(_OF_ROOT) if spec.root else [],
        "security_opt": ["no-new-privileges"],
        # The shell that runs commands is the first process itself: they cannot kill that.
        "init": command is not ROOT_IDLE and not spec.one_shell,
        "ipc_mode": "private",
        "mem_limit": memory,
        "memswap_limit": memory,
        "nano_cpus": int(min(limits.cpus, cpus) * 1e9),
        "pids_limit": limits.pids,
        "ulimits": [
            Ulimit(name="fsize", soft=largest, hard=largest),
            Ulimit(name="nofile", soft=_OPEN_FILES, hard=_OPEN_FILES),
            Ulimit(name="core", soft=0, hard=0),
        ],
        # What is read is read from the stream, and a log would escape the disk limit.
        "log_config": LogConfig(type="none"),
    }


def home_of(uid: int) -> dict[str, str]:
    """The variables of an agent's user. One that most images do not know would be at home in ``/``,
    where nobody can write: most programs then fail."""
    return {} if uid == IMAGE_UID else {"HOME": "/tmp"}


def _hands_over(spec: SandboxSpec) -> bool:
    """Whether a sandbox is handed over to the next or was: then nothing in it may lie in memory."""
    return any(name.startswith(f"{HANDED}:") for name in (spec.keep_as, spec.image))
