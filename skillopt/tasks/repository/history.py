"""Reads a repository's history with git: commits, what they change, and their files."""

from __future__ import annotations

import os
import re
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
_PLAIN = (
    *("-c", "core.autocrlf=false", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"),
    *("-c", "filter.lfs.smudge=", "-c", "filter.lfs.required=false"),
)
"""Nothing of the repository's or the user's settings runs a program or changes a file."""


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
        form = "--format=%H%x00%P%x00%B%x1e"
        said = self._git(
            "log", "--min-parents=1", "--max-parents=1", f"--max-count={most}", form, ref, "--"
        )
        for entry in said.decode("utf-8", "replace").split("\x1e"):
            if entry.strip():
                commit, parent, message = entry.strip("\n").split("\0", 2)
                text = re.sub(r"\n{3,}", "\n\n", _TRAILER.sub("", message)).strip()
                yield Commit(commit, parent, text)

    def names(self, ref: str) -> list[str]:
        """The names of the files at the root, at a reference."""
        said = self._git("ls-tree", "--name-only", "-z", ref)
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
        said = self._git("diff-tree", "-r", "--numstat", commit.parent, commit.id).decode()
        counts = [line.split("\t")[:2] for line in said.splitlines() if "\t" in line]
        return sum(int(count) for pair in counts for count in pair if count.isdigit())

    def write(self, commit: str, target: Path) -> None:
        """Write the files of a commit into a folder that does not exist yet, without submodules
        and without links that lead out of it."""
        target.mkdir(parents=True)
        with tempfile.TemporaryDirectory() as scratch:
            index = {"GIT_INDEX_FILE": f"{scratch}/index", "GIT_WORK_TREE": str(target.resolve())}
            self._git("read-tree", commit, **index)
            self._git("checkout-index", "--all", "--force", **index)
        inside = target.resolve()
        for path in [p for p in target.rglob("*") if p.is_symlink()]:
            if not path.resolve().is_relative_to(inside):
                path.unlink()

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
            raise TaskError(f"{self.folder}: {said or f'git ended with {done.returncode}'}")
        return done.stdout
