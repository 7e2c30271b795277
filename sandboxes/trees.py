"""Untrusted folders: walking and removing them, whatever is in them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sandboxes.base import SandboxError


def entries_below(root: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below a folder, a folder before what is in it; links are not followed.

    Works at any depth. Entries that vanish, cannot be read, or are deeper than a path can be long
    are left out; :class:`sandboxes.disk.DiskGuard` stops such trees.
    """
    pending = [os.fspath(root)]
    while pending:
        try:
            with os.scandir(pending.pop()) as found:
                entries = list(found)
        except OSError:
            continue
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                pending.append(entry.path)


def remove_tree(path: Path) -> None:
    """Remove a folder, if it exists, whatever permissions and depth its content has.

    Raises:
        SandboxError: it cannot be removed.
    """
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        _remove_by_force(path)


def _remove_by_force(path: Path) -> None:
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        done = subprocess.run([*command, "--", str(path)], capture_output=True, text=True)
    if path.exists():
        raise SandboxError(f"{path} cannot be removed: {done.stderr.strip()}; remove it by hand")
