"""The other files of a skill's folder: which of them edits may change, and what they may contain.

How their text is edited is in :mod:`skillopt.optimizer.edits`.
"""

from __future__ import annotations

import ast
import unicodedata
import warnings
from collections import Counter
from collections.abc import Collection

from skillopt.core.skill import SKILL_FILE, Skill

SUFFIXES = (".md", ".py", ".sh", ".bash", ".js", ".mjs", ".ts", ".rb", ".pl", ".txt")
FOLDERS = ("references", "scripts", "assets")
MAX_CHARS = 100_000
MAX_PARTS = 3
MAX_PATH_BYTES = 200


def editable_files(skill: Skill) -> dict[str, str]:
    """The files of a skill that edits may change, as text by path."""
    found = {}
    for path, data in sorted(skill.files.items()):
        if not path.endswith(SUFFIXES):
            continue
        try:
            text = data.decode()
        except UnicodeDecodeError:
            continue  # Not text, whatever its name says.
        if len(text) <= MAX_CHARS:
            found[path] = text
    return found


def path_problem(path: str, files: Collection[str]) -> str:
    """Why a path cannot be edited; empty if it can.

    Args:
        path: as an edit names it, relative to the skill's folder.
        files: the paths of the skill's files.
    """
    parts = path.split("/")
    odd = any(not c.isprintable() or c in '\\:*?"<>|' for c in path)
    if odd or path != unicodedata.normalize("NFC", path):
        return "file has characters in its path that not every system accepts"
    if any(not part or part.startswith(".") or part != part.strip(" .") for part in parts):
        return "file must be a relative path without hidden or empty parts"
    if "__pycache__" in parts:
        return "file is in a folder of compiled code, which is not read as part of a skill"
    if len(parts) > MAX_PARTS or len(path.encode()) > MAX_PATH_BYTES:
        return f"file is nested too deep; at most {MAX_PARTS} parts and {MAX_PATH_BYTES} bytes"
    if path.casefold() == SKILL_FILE.casefold():
        return f"file is {SKILL_FILE} itself; leave it empty to edit the body"
    if not path.endswith(SUFFIXES):
        return f"file is not Markdown or a script; it must end with one of {' '.join(SUFFIXES)}"
    if path in files:
        return ""
    if parts[0] not in FOLDERS or len(parts) == 1:
        return f"a new file must be below one of {', '.join(FOLDERS)}"
    folded = path.casefold()
    for other in files:
        known = other.casefold()
        if folded == known or folded.startswith(f"{known}/") or known.startswith(f"{folded}/"):
            return f"file conflicts with {other!r}"
    return ""


def content_problem(path: str, text: str, before: str = "") -> str:
    """Why a file cannot have this text after an edit; empty if it can.

    Args:
        path: the file's.
        text: with LF line ends.
        before: the text before the edit; what was wrong with that is no reason.
    """
    if not text.strip():
        return "nothing would be left of the file; files are removed by the skill's owner"
    if len(text) > MAX_CHARS:
        return f"the file would have more than {MAX_CHARS:,} characters"
    if _odd(text) - _odd(before):
        return "the file would contain control characters"
    if not path.endswith(".py") or (before and _syntax_problem(before)):
        return ""
    return _syntax_problem(text)


def _odd(text: str) -> Counter[str]:
    """The control characters of a text."""
    return Counter(c for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t")


def _syntax_problem(text: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Odd escapes in a script are no concern of the user.
            ast.parse(text)
    except SyntaxError as error:
        return f"the script would not be valid Python: line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return f"the script would not be valid Python: {type(error).__name__}"
    return ""
