"""What a judge is shown of a rollout: the answer, the changed files, the tool calls; and nothing by
which it could tell the skill. All of it was made by an agent and is untrusted.
"""

from __future__ import annotations

import difflib
import os
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sandboxes.trees import entries_below
from skillopt.core.logs import excerpt
from skillopt.core.skill import Skill
from skillopt.core.text import CHARS_PER_TOKEN, without_escapes
from skillopt.optimizer.render import SKILL_NOTE, without_skill
from skillopt.optimizer.steps import Action, ShownStep, agent_steps, by_importance

if TYPE_CHECKING:
    from atif import Trajectory

HIDDEN = "[…]"
"""Stands for the skill's name, path and text."""
_ANSWER, _FILES = 0.25, 0.5
"""Shares of the room for the answer and for files; steps have what is left."""
_PER_FILE, _PER_STEP = 0.25, 0.2
"""The most of the room of all files and steps that one of them may take."""
_MOST_FILES = 200
_LEAST = 200
"""Characters without which no further step is shown."""
_READ_BYTES = 1_000_000
_DIFF_LINES = 3000
"""The longest file whose difference is computed, which takes the square of it at worst."""
_ARCHIVE_BYTES = 50_000_000
"""The largest archive whose names are listed."""
_SHORT = 4
"""Characters below which a quotation must be a whole line."""
_LABELS = frozenset({"change", "step"})
"""Keys whose values are this project's words, which cannot be quoted."""


@dataclass(frozen=True)
class Evidence:
    """What is shown, as JSON: ``final_answer``, ``files``, ``steps``."""

    value: dict[str, Any]

    def has(self, quote: str) -> bool:
        """Whether a passage is in it, blanks and line ends aside. A short one must be a line."""
        wanted = _joined(quote)
        if not re.search(r"\w", wanted):
            return False
        if len(wanted) < _SHORT:
            return any(wanted == _joined(line) for text in self._texts for line in text.split("\n"))
        return any(wanted in _joined(text) for text in self._texts)

    @property
    def _texts(self) -> Iterator[str]:
        return _leaves(self.value)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in _LABELS:
                yield from _leaves(item)


def _joined(text: str) -> str:
    return " ".join(text.split())


def evidence(
    answer: str,
    first: Path | None,
    last: Path | None,
    trajectory: Trajectory | None,
    skill: Skill | None,
    tokens: int,
) -> Evidence:
    """What a judge is shown of a rollout.

    Args:
        answer: the agent's final answer.
        first, last: the workspace as the agent got and left it; None without one.
        trajectory: None if the model was never reached.
        skill: that the agent had, of which nothing is shown.
        tokens: the room for all of it.
    """
    clean, room = without_mentions(skill), tokens * CHARS_PER_TOKEN
    value: dict[str, Any] = {"final_answer": excerpt(clean(answer), int(room * _ANSWER))}
    left = room - len(value["final_answer"])
    if last is not None:
        value["files"] = _files(first, last, clean, min(left, int(room * _FILES)))
        left -= sum(map(_size, value["files"]))
    value["steps"] = _steps(trajectory, lambda text: clean(_without_text(text, skill)), left)
    return Evidence(value)


def without_mentions(skill: Skill | None) -> Callable[[str], str]:
    """A function that takes escapes, and the name and path of a skill, out of a text."""
    if skill is None:
        return lambda text: without_escapes(text).strip()
    names = sorted({skill.name, skill.folder}, key=len, reverse=True)
    told = re.compile("|".join(map(_mention, names)), re.IGNORECASE)
    return lambda text: told.sub(HIDDEN, without_escapes(text).strip())


def _without_text(text: str, skill: Skill | None) -> str:
    """A text without what it has of a skill. Answers and files are shown with it: what an agent
    makes by a template of the skill is its work."""
    if skill is None:
        return text
    return without_skill(without_escapes(text).strip(), skill).replace(SKILL_NOTE, HIDDEN)


def _mention(name: str) -> str:
    """A pattern for mentions of a skill. A name of one word is an ordinary word too, and is only
    hidden in a path and next to the word 'skill'."""
    own, marks = re.escape(name), r"[\"'`*]{0,3}"
    # It begins where a path begins and has a bounded length: texts of agents may be long.
    path = rf"(?<![\w.~/$-])[\w.~/$-]{{0,200}}\bskills?/{own}\b(?:/[\w./-]*)?"
    if "-" in name:
        return rf"{path}|\b{own}\b"
    return rf"{path}|\b{own}\b(?={marks} skill\b)|(?<=\bskill ){marks}{own}\b"


def _size(entry: dict[str, Any]) -> int:
    return sum(map(len, _leaves(entry)))


def _files(
    first: Path | None, last: Path, clean: Callable[[str], str], room: int
) -> list[dict[str, Any]]:
    """The files that are new, different or gone, as many as fit."""
    before, after = (_names(root) if root else {} for root in (first, last))
    shown: list[dict[str, Any]] = []
    for name in sorted({*before, *after}):
        change = _change(before.get(name), after.get(name))
        if change is None:
            continue
        path = clean(name)[:400]
        if room <= len(path) or len(shown) >= _MOST_FILES:
            shown.append({"change": "further files are left out"})
            break
        entry: dict[str, Any] = {"path": path, "change": change[0]}
        if change[1]:
            most = min(room - len(path), int(_PER_FILE * room) + 1000)
            entry["content"] = excerpt(clean(change[1]), max(most, 0))
        room -= _size(entry)
        shown.append(entry)
    return shown


def _names(root: Path) -> dict[str, Path]:
    """Regular files below a folder by name, without what git keeps for itself."""
    found = {}
    for entry in entries_below(root):
        if entry.is_file(follow_symlinks=False):
            name = os.path.relpath(entry.path, root)
            if ".git" not in Path(name).parts:
                found[name] = Path(entry.path)
    return found


def _change(before: Path | None, after: Path | None) -> tuple[str, str] | None:
    """What has happened to a file, with its content or difference; None if nothing has."""
    if after is None:
        return "removed", ""
    new = _read(after)
    if before is None:
        return "added", _shown(new, after)
    old = _read(before)
    if old == new and before.stat().st_size == after.stat().st_size:
        return None
    was, now = _text(old), _text(new)
    if was is None or now is None:
        return "changed", _shown(new, after)
    old_lines, new_lines = was.split("\n"), now.split("\n")
    if max(len(old_lines), len(new_lines)) > _DIFF_LINES:
        return "changed, too long for a difference", now
    return "changed", "\n".join(difflib.unified_diff(old_lines, new_lines, lineterm="", n=2))


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_READ_BYTES)


def _text(content: bytes) -> str | None:
    try:
        return None if b"\0" in content else content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _shown(content: bytes, path: Path) -> str:
    text = _text(content)
    if text is not None:
        return text
    size = f"binary, {path.stat().st_size} bytes"
    listed = path.stat().st_size <= _ARCHIVE_BYTES and zipfile.is_zipfile(path)
    return f"{size}, an archive of: {_members(path)}" if listed else size


def _members(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            return ", ".join(archive.namelist()[:_MOST_FILES])
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error):
        return "(it cannot be read)"


def _steps(
    trajectory: Trajectory | None, clean: Callable[[str], str], room: int
) -> list[dict[str, Any]]:
    """The agent's steps, the most important first as far as there is room, in their order. Calls
    that open a skill are left out: they would tell with which one the agent worked."""
    worked = ((step, _work(step)) for step in agent_steps(trajectory, clean, HIDDEN))
    steps = [replace(step, actions=work) for step, work in worked if work or not step.actions]
    shown: dict[int, dict[str, Any]] = {}
    most = max(int(room * _PER_STEP), 400)
    for index in by_importance(steps):
        if room < _LEAST:
            break
        shown[index] = _step(index + 1, steps[index], min(most, room))
        room -= _size(shown[index])
    return [shown[index] for index in sorted(shown)]


def _work(step: ShownStep) -> tuple[Action, ...]:
    return tuple(action for action in step.actions if not _opens(action))


def _step(number: int, step: ShownStep, room: int) -> dict[str, Any]:
    """A step; its number does not count those that opened a skill."""
    share = max(room // (len(step.actions) + 1) // 2, 100)
    return {
        "step": f"step {number}" + ("" if step.main else " (of a sub-agent)"),
        "said": "" if step.actions else excerpt(step.said, share * 2),
        "calls": [
            {"call": excerpt(one.call, share), "result": excerpt(one.result, share)}
            for one in step.actions
        ],
    }


def _opens(action: Action) -> bool:
    return action.opens or (action.reads and ("SKILL.md" in action.call or HIDDEN in action.call))
