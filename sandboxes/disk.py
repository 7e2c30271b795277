"""Watches how much a running command has written, if no engine limits it."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path

MEGABYTE = 1024 * 1024
SMALLEST_ENTRY = 4096
"""Bytes that any file or folder counts as at least, so that a million empty files count."""

_INTERVAL_S = 1.0
_SHARE_OF_TIME = 0.05
_TOO_DEEP = (errno.ENAMETOOLONG, errno.EMFILE, errno.ELOOP)


class DiskGuard:
    """Checks whether the files under ``roots`` (plus what ``elsewhere`` reports, in bytes) exceed
    ``limit_mb``: at most once a second, and never for more than a small share of the time."""

    def __init__(
        self,
        roots: Sequence[Path],
        limit_mb: int,
        elsewhere: Callable[[], int] = lambda: 0,
    ) -> None:
        self._roots = roots
        self._limit = limit_mb * MEGABYTE
        self._elsewhere = elsewhere
        self.due = time.monotonic() + _INTERVAL_S

    def exceeded(self) -> bool:
        """Check now, and set the time of the next check."""
        began = time.monotonic()
        over = self.mounts_exceeded() or self._elsewhere() > self._limit
        now = time.monotonic()
        self.due = now + max(_INTERVAL_S, (now - began) / _SHARE_OF_TIME)
        return over

    def mounts_exceeded(self) -> bool:
        """Check ``roots`` alone, which is quick for a workspace of ordinary size."""
        return sum(_bytes_under(root, self._limit) for root in self._roots) > self._limit


def _bytes_under(root: Path, enough: int) -> int:
    """Disk space of a file or of a tree, without following links; stops beyond ``enough``."""
    total = _entry_bytes(root.lstat()) if root.exists() else 0
    pending = [os.fspath(root)] if root.is_dir() else []
    while pending and total <= enough:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    total += _entry_bytes(status)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)
        except OSError as error:
            # Entries vanish while the command works; an entry that is nested too deeply to be
            # read is an evasion.
            if error.errno in _TOO_DEEP:
                return enough + 1
    return total


def _entry_bytes(status: os.stat_result) -> int:
    return max(status.st_blocks * 512, SMALLEST_ENTRY)
