"""What a sandbox is: the protocol, its specification, and the errors of every implementation.

A sandbox runs untrusted commands within limits, and is gone afterwards. It knows nothing of
agents, models or training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sandboxes.errors import SkillOptError

OnOutput = Callable[[str, bytes], None]
"""A callback that gets ``"stdout"`` or ``"stderr"`` and a chunk, as the chunk arrives."""


class SandboxError(SkillOptError):
    """The sandbox, not the command in it, failed. Never a verdict on the agent's work."""

    exit_code = 3


class EngineUnavailableError(SandboxError):
    """No container engine answers. The message says how to start or install one."""


class ImageMissingError(SandboxError):
    """The image is not on this machine. The message names it and the command that builds it."""


class CopyRefusedError(SandboxError):
    """Something in a sandbox cannot be copied out: it is too large, or neither a file nor a folder.
    The command that left it there is at fault, not the engine."""


@dataclass(frozen=True)
class Limits:
    """The resources that one sandbox may use. The kernel refuses or kills what exceeds them."""

    memory_mb: int = 2048
    cpus: float = 2.0
    pids: int = 256
    disk_mb: int = 1024
    """Disk space for all writable mounts together, and again for the rest. It is checked while a
    command runs, and enforced by the engine if that can."""


@dataclass(frozen=True)
class Mount:
    """A host file or directory, or an engine volume (a name without a slash), made visible.

    A writable host directory is given to the sandbox's user, with all in it. What is written there
    is on the host at the latest when the sandbox has been stopped.

    Args:
        source: absolute path on the host, or name of the volume.
        target: absolute path in the sandbox.
        read_only: whether nothing can be written there.
        returned: whether what was written is wanted. Otherwise the host has afterwards what it had
            before, or what was written.
        wanted: the path below it of what is wanted of that, if it is not all.
    """

    source: str
    target: str
    read_only: bool = True
    returned: bool = True
    wanted: str = ""


HANDED = "skillopt/handed"
"""The repository of images of sandboxes that one verdict needs; what a dead process left there is
removed."""


@dataclass(frozen=True)
class SandboxSpec:
    """Everything that is fixed when a sandbox starts.

    Args:
        network: ``"none"``, ``container:ID`` of one whose network namespace is joined (see
            :mod:`sandboxes.relay`), or one of the engine's networks.
        single_command: whether :meth:`Sandbox.run` is called once, and nothing after it: the
            sandbox may end with its command, which costs less.
        one_shell: whether commands are run one after another by one shell, which costs less than to
            start each apart. What one leaves in the background may write into the output of the
            next. If one has the shell end, the next gets a new one, and what ran on is gone.
        root: whether commands run as root of the container, with the capabilities that package
            managers need and no others. Of no effect where there is no container.
        keep_as: name of an image in which everything is kept that was changed outside of mounts,
            made when the sandbox is stopped; empty to keep nothing. Only for backends that are
            :class:`sandboxes.backend.Keeps`.
    """

    image: str
    workdir: str = "/app"
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = Limits()
    network: str = "none"
    single_command: bool = False
    one_shell: bool = False
    root: bool = False
    keep_as: str = ""


@dataclass(frozen=True)
class ExecResult:
    """How a command ended.

    Args:
        exit_code: None if the deadline or a limit ended the sandbox.
        stdout, stderr: without their middle if they exceeded ``max_output`` bytes.
        duration_s: from the call to the end.
        timed_out: whether the deadline ended the sandbox.
        limit: ``disk``, ``memory`` or ``pids`` if that was reached. ``memory`` with an exit code
            means that the kernel killed a process of the sandbox, perhaps not this one; this is
            only examined if the exit code is not 0.
        truncated: whether output is missing.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    duration_s: float
    timed_out: bool = False
    limit: str | None = None
    truncated: bool = False


class Terminal(Protocol):
    """The terminal of a running command, used as pexpect uses programs: in bytes.

    Both methods raise ``pexpect.EOF`` once the command has closed its terminal.
    """

    def send(self, data: bytes, /) -> int:
        """Type ``data``; the number of bytes written."""

    def read_nonblocking(self, size: int = ..., timeout: float | None = ...) -> bytes:
        """What the command has written. Raises ``pexpect.TIMEOUT`` if nothing came in time."""


Uncounted = Callable[[], float]
"""The seconds since a command was started that its time limit does not count, so far; they only
grow. Asked from the thread that runs the command."""


Deadline = Callable[[], float]
"""When a command is ended, by the monotonic clock; it may still move to later."""


def deadline(began: float, limit_s: float, uncounted: Uncounted) -> Deadline:
    """The deadline of a command that began at ``began``."""
    return lambda: began + limit_s + uncounted()


def all_counted() -> float:
    """For commands whose time counts whole."""
    return 0.0


Talk = Callable[[Terminal], None]
"""Holds a conversation; when it returns, the command is ended if it has not ended itself."""


class Sandbox(Protocol):
    """A running sandbox; a context manager that starts on entry and stops on exit."""

    def __enter__(self) -> Sandbox: ...

    def __exit__(self, *exc: object) -> None: ...

    def start(self) -> None:
        """Start it; raises :class:`SandboxError` if it cannot start."""

    def run(
        self,
        argv: Sequence[str],
        *,
        deadline_s: float,
        uncounted: Uncounted = all_counted,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        on_output: OnOutput | None = None,
        max_output: int = 4 * 1024 * 1024,
    ) -> ExecResult:
        """Run a command to its end as the sandbox's user, with standard input closed.

        At the deadline (seconds from the call, ``uncounted`` ones left out) the whole sandbox dies
        with every process in it, and the result has ``timed_out``. A dead sandbox raises
        SandboxError on further use.
        """

    def spawn(self, argv: Sequence[str]) -> bool:
        """Start a command in the background as a second ordinary user, who does nothing else. It
        ends with the sandbox. Returns False, and starts nothing, if there is no such user."""

    def converse(
        self,
        argv: Sequence[str],
        talk: Talk,
        *,
        deadline_s: float,
        uncounted: Uncounted = all_counted,
        env: Mapping[str, str] | None = None,
    ) -> ExecResult:
        """Run a command on a pseudo-terminal that ``talk`` holds a conversation with.

        Deadline and limits are as for :meth:`run`. The result has no output: ``talk`` got it. If
        ``talk`` returns before the command has ended, the sandbox dies and ``exit_code`` is None.
        """

    def path(self, target: str) -> str:
        """The path by which a command inside reaches ``target``; in a container the same."""

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a host file or folder to ``target``, owned by the sandbox's user."""

    def copy_out(self, source: str, target: Path) -> None:
        """Copy a file or folder out to a host path that does not exist yet.

        The content is untrusted: only regular files and folders are copied, no links, no devices
        and nothing whose name leaves ``target``.
        """

    def stop(self) -> None:
        """Kill every process and remove the sandbox. Calling it again does nothing.

        Raises CopyRefusedError if more was written to writable mounts than its limit allows, and
        that was not seen before.
        """


class SandboxFactory(Protocol):
    """A function that makes sandboxes, such as ``Backend.sandbox``."""

    def __call__(self, spec: SandboxSpec) -> Sandbox: ...
