"""What an agent changed in its workspace, kept so that it can be judged again without the agent.

``work.tar.gz`` has what is new or different, and ``work.json`` what was removed, a digest of the
first workspace, and the reason if nothing could be kept. The first workspace is made again from the
task. Everything in here was made by an agent, and is untrusted.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sandboxes.trees import entries_below
from skillopt.core.files import digest_of, json_in, read_json, write_atomic
from skillopt.core.packed import add, inside, names, open_file, remove
from skillopt.tasks.verifier import VerifierError

MANIFEST, ARCHIVE = "work.json", "work.tar.gz"
WORK_BYTES = 64 * 1024 * 1024
"""The most bytes of changed files that are kept for another judgement."""
FIRST_BYTES = 256 * 1024 * 1024
"""The most bytes of a first workspace that is compared."""
MOST_ENTRIES = 100_000
_MODE = 0o1777
"""The bits of a mode that are kept; not those that would run a program as another user."""


class NotKeptError(VerifierError):
    """An agent's work was not kept as a whole, or its first workspace cannot be made again."""


class Entry(NamedTuple):
    """A file, folder or link of a workspace."""

    mode: int
    """With its kind, as of ``stat``."""
    size: int
    content: str
    """A file's SHA-256, a link's target."""


@dataclass(frozen=True)
class Snapshot:
    """What a workspace has, so that it can be told later what was changed. It takes a third of the
    time of a copy.

    Args:
        entries: by name, a folder before what is in it.
        problem: why an agent's work in it cannot be kept as a whole; empty if it can.
    """

    entries: Mapping[str, Entry]
    problem: str = ""

    def altered(self, root: Path) -> frozenset[str]:
        """The names of the regular files in a folder that are new, or have another content.

        Raises OSError if one cannot be read."""
        found = set()
        for entry in entries_below(root):
            if entry.is_file(follow_symlinks=False):
                name = os.path.relpath(entry.path, root)
                old = self.entries.get(name)
                if old is None or not stat.S_ISREG(old.mode) or not _has_content(entry, old):
                    found.add(name)
        return frozenset(found)

    @property
    def digest(self) -> str:
        """Names, kinds, contents, and who may run what."""
        return digest_of(
            [
                [ascii(name), stat.S_IFMT(e.mode), bool(e.mode & 0o100), ascii(e.content)]
                for name, e in self.entries.items()
            ]
        )


def snapshot(root: Path) -> Snapshot:
    """What a workspace has now. Raises OSError if something in it cannot be read."""
    try:
        names, problem = _entries(root), ""
    except NotKeptError as error:
        problem = str(error)
        files = [e.path for e in entries_below(root) if e.is_file(follow_symlinks=False)]
        names = sorted(os.path.relpath(file, root) for file in files)
    return Snapshot({name: _entry(os.path.join(root, name)) for name in names}, problem)  # noqa: PTH118 (of thousands)


def _entry(path: str) -> Entry:
    status = os.lstat(path)
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)  # noqa: PTH115
    elif stat.S_ISREG(status.st_mode):
        content = _sha256(path)
    return Entry(status.st_mode, status.st_size, content)


def _sha256(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_content(entry: os.DirEntry[str], old: Entry) -> bool:
    size = entry.stat(follow_symlinks=False).st_size
    return size == old.size and _sha256(entry.path) == old.content


def keep_work(before: Snapshot, after: Path, altered: frozenset[str], folder: Path) -> None:
    """Keep what an agent changed, or the reason why that is not possible.

    Args:
        before: the workspace as the agent got it.
        after: as it left it.
        altered: of ``before`` for ``after``.
        folder: the rollout's.
    """
    archive = folder / ARCHIVE
    manifest: dict[str, Any] = {"format": 1, "first": "", "mode": 0, "removed": [], "problem": ""}
    try:
        if before.problem:
            raise NotKeptError(before.problem)
        new = _entries(after)
        changed = [
            name
            for name in new
            if name in altered or not _same(before.entries.get(name), after / name)
        ]
        first = sum(e.size for e in before.entries.values() if stat.S_ISREG(e.mode))
        _check_size(first, FIRST_BYTES, "the first workspace has")
        work = [status.st_size for name in changed if _is_file(status := (after / name).lstat())]
        _check_size(sum(work), WORK_BYTES, "the agent changed files of")
        with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
            for name in changed:
                add(tar, name, after / name)
        manifest |= {
            "first": before.digest,
            "removed": sorted(before.entries.keys() - set(new)),
            "mode": stat.S_IMODE(after.stat().st_mode),
        }
    except (NotKeptError, OSError) as error:
        archive.unlink(missing_ok=True)
        manifest["problem"] = str(error).replace(f"{after}/", "")
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def keep_nothing(folder: Path, problem: str) -> None:
    """Note why the work of a rollout cannot be judged again."""
    manifest = {"format": 1, "first": "", "mode": 0, "removed": [], "problem": problem}
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def why_not(folder: Path) -> str:
    """Why the work of a rollout in a folder cannot be judged again; empty if it can."""
    try:
        with open_file(folder, MANIFEST) as file:
            manifest = json_in(file.read(), folder / MANIFEST, format=1)
    except FileNotFoundError:
        return "an earlier version ran it, which did not keep the agent's work as a whole"
    except OSError as error:
        return f"its files cannot be read: {error}"
    if manifest["problem"]:
        return f"the agent's work was not kept as a whole: {manifest['problem']}"
    return "" if ARCHIVE in names(folder) else f"{ARCHIVE} is missing"


def restore_work(folder: Path, workspace: Path) -> None:
    """Turn a first workspace into what the agent left.

    Args:
        folder: the rollout's, with its files as they are (:func:`skillopt.core.packed.unpack`).
        workspace: as the task provides it now.

    Raises:
        NotKeptError: the work was not kept, or the first workspace differs from the agent's.
    """
    if problem := why_not(folder):
        raise NotKeptError(f"{folder}: {problem}; run it again")
    manifest = read_json(folder / MANIFEST, format=1)
    now = snapshot(workspace)
    if now.problem or now.digest != manifest["first"]:
        raise NotKeptError(
            f"{folder}: the task's first workspace is no longer the one that the agent got; run "
            "it again"
        )
    closed = _opened(workspace)
    try:
        for name in manifest["removed"]:
            remove(inside(workspace, name))
        with tarfile.open(folder / ARCHIVE) as tar:
            members = tar.getmembers()
            for member in members:
                _write(tar, member, inside(workspace, member.name))
            # Folders last and the deepest first, as theirs may not allow to write into them.
            for member in members:
                if member.isdir():
                    closed[inside(workspace, member.name)] = member.mode
        for path in sorted(closed, reverse=True):
            if path.is_dir() and not path.is_symlink():
                path.chmod(closed[path] & _MODE)
        workspace.chmod(manifest["mode"] & _MODE)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise NotKeptError(f"{folder / ARCHIVE}: cannot be read: {error}; run it again") from error


def _opened(workspace: Path) -> dict[Path, int]:
    """Let the owner write into every folder; returns the modes of those that did not allow it."""
    closed = {}
    for entry in entries_below(workspace):
        if entry.is_dir(follow_symlinks=False):
            mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
            if mode & 0o700 != 0o700:
                closed[Path(entry.path)] = mode
                Path(entry.path).chmod(mode | 0o700)
    return closed


def _entries(root: Path) -> list[str]:
    """The names of everything below a folder, a folder before what is in it.

    Raises:
        NotKeptError: something cannot be read, or is not a file, folder or link.
    """
    names = []
    for entry in entries_below(root):
        name = os.path.relpath(entry.path, root)
        plain = entry.is_symlink() or entry.is_file(follow_symlinks=False)
        if not plain and not entry.is_dir(follow_symlinks=False):
            raise NotKeptError(f"{name!a} is neither a file nor a folder nor a link")
        if not plain and not os.access(entry.path, os.R_OK | os.X_OK):
            raise NotKeptError(f"{name!a} cannot be read")
        names.append(name)
        if len(names) > MOST_ENTRIES:
            raise NotKeptError(f"there are more than {MOST_ENTRIES} files and folders")
    return sorted(names)


def _is_file(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def _check_size(size: int, most: int, what: str) -> None:
    if size > most:
        raise NotKeptError(f"{what} {size} bytes, and at most {most} are kept")


def _same(old: Entry | None, new: Path) -> bool:
    """Whether an entry has the kind, mode and target that it had; contents are not compared."""
    if old is None:
        return False
    mode = new.lstat().st_mode
    if stat.S_ISLNK(old.mode) and stat.S_ISLNK(mode):
        return old.content == os.readlink(new)  # noqa: PTH115
    return old.mode == mode


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write an entry in place of what is there; a folder is writable at first."""
    if member.isdir():
        if path.is_symlink() or not path.is_dir():
            remove(path)
            path.mkdir()
        path.chmod(0o700)
        return
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        path.symlink_to(member.linkname)
        return
    source: Any = tar.extractfile(member)
    if source is None:
        raise NotKeptError(f"{member.name!a}: neither a file nor a folder nor a link")
    with source, path.open("xb") as file:
        shutil.copyfileobj(source, file)
    path.chmod(member.mode & _MODE)
    os.utime(path, (member.mtime, member.mtime))
