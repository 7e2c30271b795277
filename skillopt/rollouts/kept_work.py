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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


def keep_work(before: Path, after: Path, folder: Path) -> None:
    """Keep what an agent changed, or the reason why that is not possible.

    Args:
        before: the workspace as the agent got it.
        after: as it left it.
        folder: the rollout's.
    """
    archive = folder / ARCHIVE
    manifest: dict[str, Any] = {"format": 1, "first": "", "mode": 0, "removed": [], "problem": ""}
    try:
        old, new = _entries(before), _entries(after)
        changed = [name for name in new if not _same(before / name, after / name)]
        _check_size([before / name for name in old], FIRST_BYTES, "the first workspace has")
        _check_size([after / name for name in changed], WORK_BYTES, "the agent changed files of")
        with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
            for name in changed:
                add(tar, name, after / name)
        manifest |= {"first": _digest(before, old), "removed": sorted(set(old) - set(new))}
        manifest["mode"] = stat.S_IMODE(after.stat().st_mode)
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
    if _digest(workspace, _entries(workspace)) != manifest["first"]:
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


def _check_size(files: list[Path], most: int, what: str) -> None:
    sizes = [status.st_size for file in files if stat.S_ISREG((status := file.lstat()).st_mode)]
    if sum(sizes) > most:
        raise NotKeptError(f"{what} {sum(sizes)} bytes, and at most {most} are kept")


def _same(old: Path, new: Path) -> bool:
    try:
        before = old.lstat()
    except OSError:
        return False
    after = new.lstat()
    if stat.S_IFMT(before.st_mode) != stat.S_IFMT(after.st_mode):
        return False
    if stat.S_ISLNK(after.st_mode):
        return old.readlink() == new.readlink()
    if before.st_mode != after.st_mode:
        return False
    if stat.S_ISDIR(after.st_mode):
        return True
    return before.st_size == after.st_size and all(a == b for a, b in _blocks(old, new))


def _blocks(*files: Path) -> Iterator[tuple[bytes, ...]]:
    """The content of files of one size, block by block."""
    with files[0].open("rb") as one, files[-1].open("rb") as other:
        while block := one.read(1 << 20):
            yield block, other.read(1 << 20)


def _digest(root: Path, names: list[str]) -> str:
    """A digest of a tree: names, kinds, contents, and who may run what."""
    rows = []
    for name in names:
        path = root / name
        mode = path.lstat().st_mode
        content = ""
        if stat.S_ISLNK(mode):
            content = str(path.readlink())
        elif stat.S_ISREG(mode):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        rows.append([ascii(name), stat.S_IFMT(mode), bool(mode & 0o100), ascii(content)])
    return digest_of(rows)


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
