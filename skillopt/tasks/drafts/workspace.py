"""The files of a repository at a session's commit, without secrets, for drafts of tasks."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from skillopt.core.errors import SkillOptError
from skillopt.tasks.drafts.redaction import Redactor, is_secret_file

MAX_BYTES = 20 * 1024 * 1024
"""The most that one commit's files may have."""
MAX_FILES = 5000
GIT_S = 60
"""Seconds that one call of git may take."""


class WorkspaceError(SkillOptError):
    """The files of a commit cannot be had. The message says why."""


@dataclass(frozen=True)
class Kept:
    """What was kept of a commit.

    Args:
        files: how many files.
        left_out: secret files, links and what else is no plain file, by path.
        redacted: files of which secrets were replaced.
    """

    files: int
    left_out: tuple[str, ...]
    redacted: tuple[str, ...]


def keep_commit(folder: Path, commit: str, target: Path, redactor: Redactor) -> Kept:
    """Write a commit's files into a folder.

    Args:
        folder: in a repository; of that folder alone if it is not the repository's root.
        commit: whole or the beginning of its name.
        target: folder that does not exist yet.
        redactor: takes the secrets out of text files.

    Raises:
        WorkspaceError: there is no such repository or commit here any more, or it is too large.
    """
    if not folder.is_dir():
        raise WorkspaceError(f"{folder} is not on this machine")
    if commit.startswith("-"):
        raise WorkspaceError(f"{folder}: {commit!r} is no commit")
    entries = _entries(folder, commit)
    total = sum(entry.size for entry in entries)
    if total > MAX_BYTES or len(entries) > MAX_FILES:
        raise WorkspaceError(
            f"{folder} at {commit[:12]} has {len(entries)} files with {total / 1e6:.0f} MB; at "
            f"most {MAX_FILES} files and {MAX_BYTES / 1e6:.0f} MB are kept"
        )
    plain = [e for e in entries if e.mode.startswith("100") and not is_secret_file(e.path)]
    redacted = []
    for entry, data in zip(plain, _contents(folder, plain), strict=True):
        made, changed = without_secrets(data, redactor)
        if changed:
            redacted.append(entry.path)
        place = target / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(made)
        place.chmod(0o755 if entry.mode == "100755" else 0o644)
    left_out = [entry.path for entry in entries if entry not in plain]
    return Kept(len(plain), tuple(left_out), tuple(redacted))


@dataclass(frozen=True)
class _Entry:
    """A file of a commit; ``path`` is relative to the folder."""

    mode: str
    id: str
    size: int
    path: str


def _entries(folder: Path, commit: str) -> list[_Entry]:
    listed = _git(folder, ["ls-tree", "-r", "-l", "-z", f"{commit}^{{commit}}", "--", "."])
    found = []
    for line in listed.split(b"\0")[:-1]:
        about, _, path = line.partition(b"\t")
        mode, _, id, size = about.decode().split()
        name = path.decode("utf-8", "replace")
        parts = PurePosixPath(name).parts
        if not {"..", ".git", "/"} & set(parts):
            found.append(_Entry(mode, id, int(size) if size.isdigit() else 0, name))
    return found


def _contents(folder: Path, entries: Sequence[_Entry]) -> Iterator[bytes]:
    """The contents of files as they are in the repository: no filter of its settings is run."""
    asked = "".join(f"{entry.id}\n" for entry in entries).encode()
    told = io.BytesIO(_git(folder, ["cat-file", "--batch"], asked))
    for entry in entries:
        if told.readline() != f"{entry.id} blob {entry.size}\n".encode():
            raise WorkspaceError(f"{folder}: git: {entry.path} is not in the repository")
        yield told.read(entry.size)
        told.read(1)


def without_secrets(data: bytes, redactor: Redactor) -> tuple[bytes, bool]:
    """The content of a file without secrets, and whether that changed it. What is no text is left
    as it is."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data, False
    if "\0" in text:
        return data, False
    before = redactor.count
    made = redactor.text(text)
    return (made.encode(), True) if redactor.count > before else (data, False)


def _git(folder: Path, arguments: Sequence[str], given: bytes = b"") -> bytes:
    """What git prints. These calls run nothing that the repository's settings name: they ask for
    objects by name, and none that is missing is fetched."""
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            timeout=GIT_S,
            check=False,
            env={**os.environ, "GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1"},
        )
    except FileNotFoundError as error:
        raise WorkspaceError("git is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise WorkspaceError(f"{folder}: git took more than {GIT_S} seconds") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise WorkspaceError(f"{folder}: git: {said[-1] if said else 'failed'}")
    return done.stdout
