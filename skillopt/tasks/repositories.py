"""Takes the programs out of the settings of git repositories that an agent left in its workspace.

Git runs programs that a repository's configuration names: for status, diffs, filters, pagers, by
aliases. What only describes the repository stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sandboxes.trees import entries_below

_KEPT: dict[str, tuple[str, ...]] = {
    "core": (
        "repositoryformatversion", "filemode", "bare", "logallrefupdates", "ignorecase",
        "symlinks", "precomposeunicode", "autocrlf", "eol", "quotepath", "abbrev",
    ),
    "remote": ("url", "fetch", "pushurl"),
    "branch": ("remote", "merge", "rebase"),
    "user": ("name", "email"),
    "extensions": ("objectformat", "refstorage", "partialclone", "worktreeconfig"),
    "submodule": ("url", "active", "path"),
    "init": ("defaultbranch",),
}  # fmt: skip
"""Sections of a repository's configuration, and their keys that name no program."""
_SECTION = re.compile(r'\s*\[\s*([\w.-]+)(?:\s+("(?:[^"\\]|\\.)*"))?\s*\]\s*(.*)')
_KEY = re.compile(r"\s*([A-Za-z][\w-]*)\s*(?:=\s*(.*))?")
_LARGEST = 1024 * 1024


def quiet_repositories(workspace: Path) -> None:
    """Rewrite the configuration of every repository below a folder, so that it names no program.

    Args:
        workspace: without pipes, links out of it and entries that cannot be read.

    Raises:
        OSError: a file cannot be written.
    """
    for file in list(_configurations(workspace)):
        text = file.read_bytes()[:_LARGEST].decode("utf-8", "replace")
        quiet = "".join(_quiet(text))
        if quiet != text:
            file.unlink()  # It may be a link.
            file.write_text(quiet, "utf-8", "replace")


def _configurations(workspace: Path) -> Iterator[Path]:
    """The configuration files of what git takes for a repository, nested ones too."""
    for entry in entries_below(workspace):
        if entry.name in ("config", "config.worktree"):
            file = Path(entry.path)
            beside = (file.parent / name for name in ("HEAD", "objects"))
            if file.is_file() and any(path.exists() or path.is_symlink() for path in beside):
                yield file


def _quiet(text: str) -> Iterator[str]:
    """The lines of a configuration that name no program."""
    section = ""
    for line in text.splitlines():
        if found := _SECTION.match(line):
            section, name = found[1].lower(), found[2]
            if section in _KEPT:
                yield f"[{section}{f' {name}' if name else ''}]\n"
            line = found[3]
        key = _KEY.fullmatch(line)
        plain = key is not None and not (key[2] or "").rstrip().endswith("\\")
        if key and plain and key[1].lower() in _KEPT.get(section, ()):
            yield f"\t{key[1]}{'' if key[2] is None else f' = {key[2]}'}\n"
