"""Who owns what sandboxes leave on a machine: the identity of a process, written on containers,
volumes and temporary folders, so that a later process knows whether the owner is still alive.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from sandboxes.base import SandboxError
from sandboxes.trees import remove_tree

_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True)
class Owner:
    """The identity of one process, unique on all machines and across reboots."""

    machine: str
    boot: str
    pid: int
    started: str

    def __str__(self) -> str:
        return f"{self.machine}-{self.boot}-{self.pid}-{self.started}"

    @classmethod
    def parse(cls, text: str) -> Owner | None:
        """The owner written as ``text``, or None if it is not one."""
        parts = text.split("-")
        if len(parts) != 4 or not parts[2].isdigit():
            return None
        return cls(parts[0], parts[1], int(parts[2]), parts[3])


def current_owner() -> Owner:
    """This process."""
    pid = os.getpid()
    return Owner(_machine(), _boot(), pid, _started(pid) or "0")


def is_dead(owner: Owner) -> bool:
    """Whether ``owner`` is known to be dead. A process of another machine, or of a container that
    shares this machine's engine, cannot be examined from here and counts as alive."""
    if owner.machine != _machine():
        return False
    return owner.boot != _boot() or _started(owner.pid) != owner.started


def scratch_root() -> Path:
    """The folder in which every process of this user has its temporary folder."""
    return Path(tempfile.gettempdir()) / f"skillopt-{os.getuid()}"


def scratch_dir() -> Path:
    """This process's temporary folder, created if it is missing; :func:`clean_folders` removes it
    once the process is dead.

    No other user can enter it. Sandboxes do not need to: the engine mounts single folders out of
    it, and a mount does not depend on the folders above. Raises SandboxError if another user has
    taken the name.
    """
    root = scratch_root()
    own = root / str(current_owner())
    if not own.exists():
        atexit.register(_remove_if_empty, own)
    for folder in (root, own):
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) != 0o700:
            raise SandboxError(f"{folder} is not a private folder of this user; remove it")
    return own


def clean_folders(*, dry_run: bool = False) -> list[str]:
    """Remove the temporary folders of dead processes; one line for each, removed or to remove."""
    root = scratch_root()
    removed = []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        owner = Owner.parse(folder.name)
        if owner is not None and is_dead(owner):
            removed.append(f"folder {folder}")
            if not dry_run:
                remove_tree(folder)
    return removed


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _machine() -> str:
    """The machine and its process namespace, outside of which a pid means nothing. Host names
    repeat, and every machine's first namespace has the same number; so the machine's own id
    counts too, if it has one."""
    namespace = _PROC / "self/ns/pid"
    space = str(namespace.readlink()) if namespace.is_symlink() else ""
    number = _MACHINE_ID.read_text() if _MACHINE_ID.is_file() else ""
    return _digest(socket.gethostname() + space + number)


def _boot() -> str:
    boot_id = _PROC / "sys/kernel/random/boot_id"
    return _digest(boot_id.read_text() if boot_id.exists() else str(int(psutil.boot_time())))


def _started(pid: int) -> str | None:
    """Start time of a process; None if it is not running. In clock ticks since boot if the system
    reports them, because seconds since 1970 shift when the clock is set."""
    if (_PROC / "self/stat").exists():
        try:
            after_name = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        zombie = after_name[0] in "ZX"
        return None if zombie else after_name[19]
    try:
        return str(int(psutil.Process(pid).create_time()))
    except psutil.NoSuchProcess:
        return None


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:12]
