"""Watches how much disk space a running command holds, if no engine limits it: by names, and by
files that it removed while they are open."""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from sandboxes.base import SandboxError

MEGABYTE = 1024 * 1024
SMALLEST_ENTRY = 4096
"""Bytes that any file or folder counts as at least, so that a million empty files count."""

_TICK_S = 0.25
_SHORTEST_S, _LONGEST_S = 1.0, 15.0
_SHARE_OF_TIME = 0.05
_LONGEST_LOOK_S = 2.0
_OPENINGS = 3
_STILL_BYTES = MEGABYTE
"""What holds no more than this beyond what it held before has not grown."""
_EVASIONS = (errno.ENAMETOOLONG, errno.EMFILE, errno.ELOOP)
_PROC = Path("/proc")
_LOW_BYTES, _LOW_SHARE, _FALLEN_TO = 2048 * MEGABYTE, 0.05, 0.9
_MEMORY = ("/dev/zero ", "/SYSV", "/[aio]")
"""How the kernel names mappings of memory that is not from a file."""


class DiskGuard:
    """Checks whether a command exceeds its disk limit.

    To add up what a command holds takes the longer the more that is. So that is only done at once
    if the disks have lost as much as the command still may take; else after a second, and then
    after twice the time each time that nothing has grown, and never for more than a small share of
    the time.

    What nobody sees (files of processes that cannot be examined, files in transit between
    processes) still uses up the disk of this machine; so a disk that becomes nearly full ends the
    command too.

    Args:
        roots: files and folders that the command may write.
        limit_mb: for ``roots`` together, and again for the rest.
        elsewhere: reports the rest, in bytes, as it was at a time of the monotonic clock or later.
        processes: reports the numbers of the command's processes on this machine.
        disks: folders on further disks that the command may fill. If this machine does not have
            one of them, its loss cannot be seen, and everything is added up every second.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        limit_mb: int,
        elsewhere: Callable[[float], int] = lambda since: 0,
        processes: Callable[[], Iterable[int]] = lambda: (),
        disks: Sequence[Path] = (),
    ) -> None:
        self._roots = roots
        self._limit = limit_mb * MEGABYTE
        self._elsewhere = elsewhere
        self._processes = processes
        self._devices = {root.stat().st_dev for root in roots if root.exists()}
        self._disks = _by_device((*roots, *disks))
        self._free = self._check_disks()
        self._longest_s = _LONGEST_S if all(map(_space, disks)) else _SHORTEST_S
        self._interval_s = _SHORTEST_S
        self._held = 0
        now = time.monotonic()
        self._not_before, self._look = now, now + _SHORTEST_S
        self.due = now + _TICK_S

    def exceeded(self) -> bool:
        """Check now as much as is needed, and set the time of the next check.

        Raises:
            SandboxError: a disk of this machine is nearly full.
        """
        now = time.monotonic()
        free = self._check_disks()
        lost = sum(max(0, before - free.get(at, before)) for at, before in self._free.items())
        room = self._limit - self._held
        # However long it took the last time, nobody writes the limit once more before the next.
        urgent = lost >= (room if now >= self._not_before else room + self._limit)
        over = False
        if urgent or now >= self._look:
            self._free = free
            over = self._add_up(now if urgent else now - 2 * _TICK_S)
        self.due = time.monotonic() + _TICK_S
        return over

    def mounts_exceeded(self) -> bool:
        """Check the names in ``roots`` alone, which is quick for a workspace of ordinary size."""
        return self._named_bytes() > self._limit

    def _add_up(self, since: float) -> bool:
        """Whether the command holds too much, with numbers that are no older than ``since``."""
        began = time.monotonic()
        removed = unlinked_bytes(self._processes(), began + _LONGEST_LOOK_S)
        mounted = sum(removed[device] for device in self._devices)
        rest = removed.total() - mounted
        held = max(rest, self._named_bytes() + mounted)
        if held <= self._limit:
            held = max(held, self._elsewhere(since) + rest)
        grown, self._held = held > self._held + _STILL_BYTES, held
        longer_s = _SHORTEST_S if grown else 2 * self._interval_s
        self._interval_s = min(longer_s, self._longest_s)
        now = time.monotonic()
        self._not_before = now + (now - began) / _SHARE_OF_TIME
        self._look = max(self._next_look(now), self._not_before)
        return held > self._limit

    def _next_look(self, now: float) -> float:
        """Rare looks of all guards are at the same times: one answer of an engine serves all."""
        at = now + self._interval_s
        return at - at % _LONGEST_S if self._interval_s == _LONGEST_S else at

    def _named_bytes(self) -> int:
        seen: set[tuple[int, int]] = set()
        return sum(_bytes_under(root, self._limit, seen) for root in self._roots)

    def _check_disks(self) -> dict[int, int]:
        """The free bytes of each device.

        Raises:
            SandboxError: one is nearly full, and was not when the command began.
        """
        found = {}
        for device, (disk, before) in self._disks.items():
            if (space := _space(disk)) is None:
                continue
            low = min(_LOW_BYTES, space.size * _LOW_SHARE)
            if space.free < low and space.free < before * _FALLEN_TO:
                raise SandboxError(
                    f"the disk of {disk} is nearly full: {space.free // MEGABYTE} MB are left, of "
                    f"{before // MEGABYTE} MB when the command began; make room there"
                )
            found[device] = space.free
        return found


@dataclass(frozen=True)
class _Space:
    """The size of a file system and what ordinary users may still write, in bytes."""

    size: int
    free: int


def _space(folder: Path) -> _Space | None:
    """The space of a folder's file system; None if the folder is gone or is another machine's."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return _Space(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def _by_device(folders: Iterable[Path]) -> dict[int, tuple[Path, int]]:
    """The devices of folders, each with one of them and with its free bytes."""
    found: dict[int, tuple[Path, int]] = {}
    for folder in folders:
        space = _space(folder)
        if space is not None:
            found.setdefault(folder.stat().st_dev, (folder, space.free))
    return found


def processes_of(container: str, process: int) -> list[int]:
    """The numbers of a container's processes on this machine.

    Args:
        container: the container's full id, which the kernel has in the names of control groups.
        process: the number of its first process according to the engine.

    Returns:
        None of them if the container does not run on this kernel, as with an engine in a virtual
        machine.
    """
    if not _in_group(process, container):
        return []
    numbers = (int(name) for name in _names(_PROC) if name.isdecimal())
    return [number for number in numbers if _in_group(number, container)]


def _in_group(process: int, container: str) -> bool:
    with suppress(OSError):  # It has ended.
        return container in (_PROC / str(process) / "cgroup").read_text()
    return False


def unlinked_bytes(processes: Iterable[int], until: float) -> Counter[int]:
    """Disk space of the files without a name that processes hold open or mapped, by device.

    What cannot be examined is left out: processes of other users and, without the rights of root,
    mappings.

    Args:
        processes: their numbers.
        until: when to stop looking, by the monotonic clock.
    """
    seen: set[tuple[int, int]] = set()
    found: Counter[int] = Counter()
    for link in _held(processes):
        with suppress(OSError):  # It was closed, or must not be examined.
            status = link.stat()
            place = (status.st_dev, status.st_ino)
            kept = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
            if status.st_nlink == 0 and kept and place not in seen:
                seen.add(place)
                found[status.st_dev] += _entry_bytes(status)
        if time.monotonic() > until:
            break
    return found


def _held(processes: Iterable[int]) -> Iterator[Path]:
    """Links of /proc to what processes hold: open files of every thread, since threads may have
    their own, and mapped files."""
    for process in processes:
        base = _PROC / str(process)
        yield from (base / "exe", base / "cwd")
        for thread in _names(base / "task"):
            folder = base / "task" / thread / "fd"
            yield from (folder / name for name in _names(folder))
        yield from _mapped_files(base / "map_files")


def _mapped_files(folder: Path) -> Iterator[Path]:
    for name in _names(folder):
        with suppress(OSError):  # It was unmapped.
            target = str((folder / name).readlink())
            if target.endswith(" (deleted)") and not target.startswith(_MEMORY):
                yield folder / name


def _names(folder: Path) -> list[str]:
    with suppress(OSError), os.scandir(folder) as entries:  # It has ended, or is another user's.
        return [entry.name for entry in entries]
    return []


def _bytes_under(root: Path, enough: int, seen: set[tuple[int, int]]) -> int:
    """Disk space of a file or of a tree, without following links; stops beyond ``enough``.

    Args:
        root: the file or tree.
        enough: bytes beyond which the exact number does not matter.
        seen: the files with several names that were counted already; a further name of one counts
            as an empty file.
    """
    total = _entry_bytes(root.lstat()) if root.exists() else 0
    pending = [os.path.realpath(root)] if root.is_dir() else []
    while pending and total <= enough:
        try:
            with _scan(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    place = (status.st_dev, status.st_ino)
                    total += SMALLEST_ENTRY if place in seen else _entry_bytes(status)
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(entry.path)
                    elif status.st_nlink > 1:
                        seen.add(place)
        except OSError as error:
            # Entries vanish while the command works. One that is nested too deeply to be read, or
            # that is closed whenever it is opened, is an evasion.
            if error.errno in _EVASIONS:
                return enough + 1
    return total


def _scan(folder: str) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
    """The entries of a folder. One that its owner, who is this user, has closed is opened."""
    for _ in range(_OPENINGS):
        with suppress(PermissionError):
            if os.access(folder, os.X_OK):
                return os.scandir(folder)
        _open_up(folder)
    raise OSError(errno.ELOOP, "closed again and again", folder)


def _open_up(folder: str) -> None:
    """Give the owner of a folder its rights. An untrusted program may put a link in place of any
    folder of the path meanwhile: only the folder that has this very path is changed."""
    if sys.platform != "linux":
        raise PermissionError(errno.EACCES, "closed", folder)
    fd = os.open(folder, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        itself = Path(f"/proc/self/fd/{fd}")
        if str(itself.readlink()) == folder:
            itself.chmod(stat.S_IMODE(os.fstat(fd).st_mode) | 0o700)
    finally:
        os.close(fd)


def _entry_bytes(status: os.stat_result) -> int:
    return max(status.st_blocks * 512, SMALLEST_ENTRY)
