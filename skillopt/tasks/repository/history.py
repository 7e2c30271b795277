"""Reads a repository's history with git: commits, what they change, and their files."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harnesses.environment import without_keys
from skillopt.tasks.tables import TaskError

_TRAILER = re.compile(
    r"^(?:Signed-off-by|Co-authored-by|Reviewed-by|Acked-by|Tested-by|Change-Id|Cc|"
    r"git-svn-id|cherry picked from.*):.*$|^\(cherry picked from .*\)$",
    re.IGNORECASE | re.MULTILINE,
)
_LITTLE = 1024 * 1024
"""Bytes that a disk which is not full has at least."""
_PLAIN = (
    *("-c", "core.autocrlf=false", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"),
    *("-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false"),
)
"""Nothing of the repository's or the user's settings runs a program or changes a file."""


class HistoryError(TaskError):
    """Git failed; ``said`` is what it printed, which may be nothing."""

    def __init__(self, folder: Path, said: str, code: int) -> None:
        super().__init__(f"{folder}: {said or f'git ended with {code}'}")
        self.said = said


@dataclass(frozen=True)
class Change:
    """A path that a commit changes.

    Args:
        path: of the file; after a renaming, the new one.
        gone: whether the commit removes it.
    """

    path: str
    gone: bool


@dataclass(frozen=True)
class Commit:
    """A commit with one parent.

    Args:
        id: its hash.
        parent: its parent's.
        message: without trailers.
    """

    id: str
    parent: str
    message: str

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]


@dataclass(frozen=True)
class History:
    """The history of a repository.

    Args:
        folder: of its work tree, or a bare repository.
    """

    folder: Path

    def commits(self, ref: str, most: int) -> Iterator[Commit]:
        """The commits with one parent that lead to a reference, newest first.

        Raises:
            TaskError: it is no repository, or has no such reference.
        """
        single = ("--min-parents=1", "--max-parents=1", f"--max-count={most}")
        form = "--format=%H%x00%P%x00%B"  # No message has a zero byte.
        said = self._git("log", "-z", *single, "--no-show-signature", form, self._commit(ref), "--")
        parts = said.decode("utf-8", "replace").split("\0")
        for commit, parent, message in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
            text = re.sub(r"\n{3,}", "\n\n", _TRAILER.sub("", message)).strip()
            yield Commit(commit, parent, text)

    def names(self, ref: str) -> list[str]:
        """The names of the files at the root, at a reference."""
        said = self._git("ls-tree", "--name-only", "-z", self._commit(ref))
        return [name for name in said.decode("utf-8", "surrogateescape").split("\0") if name]

    def changes(self, commit: Commit) -> list[Change]:
        """What a commit changes; a renaming is a removal and an addition."""
        said = self._git(
            "diff-tree", "-r", "-z", "--no-renames", "--name-status", commit.parent, commit.id
        )
        parts = said.decode("utf-8", "surrogateescape").split("\0")
        pairs = zip(parts[0:-1:2], parts[1::2], strict=True)
        return [Change(path, status == "D") for status, path in pairs]

    def lines(self, commit: Commit) -> int:
        """How many lines a commit adds and removes."""
        said = self._git("diff-tree", "-r", "--numstat", commit.parent, commit.id)
        lines = said.decode("utf-8", "replace").splitlines()
        counts = [line.split("\t")[:2] for line in lines if "\t" in line]
        return sum(int(count) for pair in counts for count in pair if count.isdigit())

    def write(self, commit: str, target: Path) -> None:
        """Write the files of a commit into a folder that does not exist yet, without submodules
        and without links that lead out of it."""
        id = self._commit(commit)
        target.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            # A repository of its own with the same objects: filters that the settings of this one
            # name are programs, and git would run them on what it writes.
            objects = self._git("rev-parse", "--path-format=absolute", "--git-path", "objects")
            hashes = self._git("rev-parse", "--show-object-format").decode().strip()
            fresh = History(Path(scratch))
            fresh._git("init", "-q", "--bare", "--template=", f"--object-format={hashes}")
            apart = {
                "GIT_OBJECT_DIRECTORY": os.fsdecode(objects).rstrip("\n"),
                "GIT_WORK_TREE": str(target.absolute()),
            }
            fresh._git("read-tree", id, **apart)
            try:
                fresh._git("checkout-index", "--all", "--force", **apart)
            except HistoryError as error:
                if shutil.disk_usage(target).free < _LITTLE:  # Git does not say it.
                    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
                    raise full from error
                raise
        inside = target.resolve()
        for path in [p for p in target.rglob("*") if p.is_symlink()]:
            if not path.resolve().is_relative_to(inside):
                path.unlink()

    def check_root(self) -> None:
        """Raise TaskError if the folder is inside of a repository and not its root."""
        inside = os.fsdecode(self._git("rev-parse", "--show-prefix")).rstrip("\n")
        if inside:
            top = os.fsdecode(self._git("rev-parse", "--show-toplevel")).rstrip("\n")
            raise TaskError(
                f"{self.folder}: is inside of the repository {top}: name that one; --test says how "
                f"the tests of a part of it are run, such as --test 'make -C {inside} test'"
            )

    def _commit(self, ref: str) -> str:
        """The id of the commit that a reference names."""
        if ref.startswith("-"):
            raise TaskError(f"--ref {ref}: is no reference of git")
        try:
            return self._git("rev-parse", "--verify", "-q", f"{ref}^{{commit}}").decode().strip()
        except HistoryError as error:
            if error.said:
                raise
            raise TaskError(f"{self.folder}: has no commit {ref}; name one with --ref") from error

    def _git(self, *argv: str, **env: str) -> bytes:
        inherited = without_keys(GIT_OPTIONAL_LOCKS="0", GIT_TERMINAL_PROMPT="0", **env)
        inherited["HOME"] = os.devnull
        command = ["git", "-C", str(self.folder), "-c", "safe.directory=*", *_PLAIN, *argv]
        try:
            done = subprocess.run(command, capture_output=True, env=inherited, check=False)
        except FileNotFoundError as error:
            raise TaskError("git: no such program; install it to read a history") from error
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise HistoryError(self.folder, said, done.returncode)
        return done.stdout
