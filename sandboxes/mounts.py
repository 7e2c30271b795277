"""The host's files in containers: mounts as the engine wants them, and who owns the files."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Any

from sandboxes.base import Mount, SandboxError
from sandboxes.trees import entries_below


def agent_ids() -> tuple[int, int]:
    """User and group of agents: those of this process, so that bind mounts are writable on both
    sides, or an ordinary user if this process is root."""
    return (os.getuid(), os.getgid()) if os.getuid() != 0 else (1000, 1000)


def prepare_writable(path: Path, uid: int, gid: int) -> None:
    """Give ``path`` and all in it to ``uid``; links are given, not followed. If this process is not
    root, the files are its own, hence the agent's, and only the owner's bits are set.

    Raises:
        SandboxError: something in it belongs to another user, or the disk fails.
    """
    try:
        below = entries_below(path) if path.is_dir() and not path.is_symlink() else ()
        for entry in chain([path], map(Path, below)):
            if os.getuid() == 0:
                os.lchown(entry, uid, gid)
            if not entry.is_symlink():
                wanted = 0o700 if entry.is_dir() else 0o600
                mode = entry.stat().st_mode
                if mode & wanted != wanted:
                    entry.chmod(mode | wanted)
    except OSError as error:
        raise SandboxError(f"{path} cannot be given to a sandbox: {error}") from error


def has_foreign(path: str) -> bool:
    """Whether a folder has files of a user other than this process's in it."""
    entries = entries_below(Path(path))
    return any(entry.stat(follow_symlinks=False).st_uid != os.getuid() for entry in entries)


def is_bind(mount: Mount) -> bool:
    """Whether a mount is a file or folder of the host, not an engine volume."""
    return "/" in mount.source


def engine_mount(mount: Mount) -> Any:
    """A mount as the engine wants it. A volume without a name is the container's own."""
    import docker.types

    bind = is_bind(mount)
    return docker.types.Mount(
        target=mount.target,
        source=mount.source or None,
        type="bind" if bind else "volume",
        read_only=mount.read_only,
        no_copy=not bind,
    )
