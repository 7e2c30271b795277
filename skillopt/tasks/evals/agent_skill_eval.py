"""agent-skill-eval's ``evals.json`` (PyPI agent-skill-eval 0.7): ``models.py`` is its schema.

Its structured assertions are checks. Assertions in words are routed to checks there by their words;
here only if they quote what they look for and negate nothing, and else are kept as expectations.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

from skillopt.core.types import Triggers
from skillopt.tasks.evals.case import (
    Case,
    Check,
    CommandCheck,
    FileCheck,
    JsonCheck,
    SameCheck,
    TextCheck,
    fixture,
    inside,
)
from skillopt.tasks.harbor import TaskError

NAME = "agent-skill-eval's evals.json"
_OWN_KEYS = {
    "assertions", "should_trigger", "force_skill_invocation", "stage_files", "side_effect_level",
    "side_effect_contract",
}  # fmt: skip
"""Keys by which this format differs from skill-creator's."""
_ANSWER = "response.txt"
_REQUIRED = {
    "file_exists": "path", "file_not_exists": "path", "file_unchanged": "path",
    "file_contains": "contains", "file_not_contains": "contains",
    "command_ran": "command", "command_not_ran": "command",
    "json_path": "json_path", "json_path_not_exists": "json_path",
}  # fmt: skip
_QUOTED = re.compile(r'"([^"]+)"|`([^`]+)`')
_NEGATED = re.compile(r"\b(?:not|no|never|none|neither|nor|without|cannot)\b|n't\b", re.IGNORECASE)
_EXISTS = re.compile(r"\b(?:exists|(?:is|was) created)\b", re.IGNORECASE)
_CONTAINS = re.compile(
    r"\b(?:output|answer|response|reply)\b[^\"`]*\b(?:contains|includes)\b", re.IGNORECASE
)
_GIT = re.compile(
    r"\b(?:branch|commit|pull request|prs?)\b.*\b(?:created|exists)\b|\bpushed\b", re.IGNORECASE
)


class _Assertion(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal[
        "file_exists", "file_not_exists", "file_contains", "file_not_contains", "file_unchanged",
        "command_ran", "command_not_ran", "tests_pass", "git_clean", "json_path",
        "json_path_not_exists",
    ]  # fmt: skip
    text: str | None = None
    path: str | None = None
    contains: str | None = None
    command: str | None = None
    json_path: str | None = None
    equals: JsonValue = None


class _Eval(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: int | str
    prompt: str
    expected_output: str
    files: tuple[str, ...] = ()
    assertions: tuple[str | _Assertion, ...] = ()
    should_trigger: bool = True
    force_skill_invocation: bool = False
    stage_files: bool = False
    side_effect_level: Literal["static", "local-only", "live-safe", "live-external"] = "local-only"
    side_effect_contract: dict[str, bool] | None = None


class _Suite(BaseModel):
    model_config = ConfigDict(frozen=True)

    skill_name: str
    evals: tuple[_Eval, ...]


def recognises(content: Any) -> bool:
    """Whether it has ``evals`` with a key that only this format has."""
    evals = content.get("evals") if isinstance(content, dict) else None
    return isinstance(evals, list) and any(
        isinstance(one, dict) and not _OWN_KEYS.isdisjoint(one) for one in evals
    )


def cases(file: Path, content: Any) -> list[Case]:
    """The cases of a file; raises TaskError or ValidationError."""
    suite = _Suite.model_validate(content)
    return [_case(file, suite.skill_name, one) for one in suite.evals]


def _case(file: Path, skill: str, one: _Eval) -> Case:
    where = f"{file}: evals: {one.id}"
    if not one.prompt.strip():
        raise TaskError(f"{where}: prompt: is empty")
    if one.force_skill_invocation and not one.should_trigger:
        raise TaskError(
            f"{where}: force_skill_invocation: cannot be set if should_trigger is false"
        )
    files = _files(file.parent, one.files, where)
    checks: list[Check] = []
    words: list[str] = []
    notes = _notes(one)
    for number, assertion in enumerate(one.assertions, start=1):
        place = f"{where}: assertion {number}"
        if isinstance(assertion, str):
            check = _in_words(assertion)
            if check is None:
                inverted = not one.should_trigger and _GIT.search(assertion)
                words.append(f"This is not so: {assertion}" if inverted else assertion)
        else:
            check = _structured(assertion, files, place)
            if check is None:
                words.append(_label(assertion))
                notes.append(f"{assertion.type}: is for a judge; the tests cannot tell")
        if check is not None:
            checks.append(check)
    return Case(
        suite=skill,
        id=str(one.id),
        where=where,
        prompt=one.prompt,
        files=files,
        checks=checks,
        answer_file=_ANSWER if checks else "",
        expectations=words,
        expected_output=one.expected_output,
        triggers=_triggers(skill, one),
        notes=notes,
    )


def _triggers(skill: str, one: _Eval) -> Triggers | None:
    """A prompt that names the skill does not ask whether it is opened."""
    if one.force_skill_invocation:
        return None
    return Triggers(opened=(skill,)) if one.should_trigger else Triggers(not_opened=(skill,))


def _notes(one: _Eval) -> list[str]:
    notes = []
    if one.stage_files:
        notes.append("stage_files: the workspace is no git repository, so nothing is staged")
    if one.side_effect_level in ("live-safe", "live-external"):
        notes.append(f"side_effect_level: {one.side_effect_level}: sandboxes reach no live service")
    if one.side_effect_contract is not None:
        notes.append("side_effect_contract: is not checked")
    return notes


def _files(evals: Path, paths: Sequence[str], where: str) -> dict[str, Path]:
    """Where files go in the workspace: ``files/`` is cut off, and so is the one folder of a case
    below it."""
    below = [PurePosixPath(inside(path, where)) for path in paths]
    folders = {path.parts[1] for path in below if path.parts[0] == "files" and len(path.parts) > 2}
    found: dict[str, Path] = {}
    for path in below:
        parts = path.parts
        if parts[0] == "files" and len(parts) > 1:
            parts = parts[2:] if len(parts) > 2 and len(folders) == 1 else parts[1:]
        target = PurePosixPath(*parts).as_posix()
        if target in found:
            raise TaskError(f"{where}: files: {path} and {found[target]} both become {target!r}")
        found[target] = fixture(evals, path.as_posix(), where)
    return found


def _in_words(text: str) -> Check | None:
    """The check that an assertion in words surely means; None if it takes a judge."""
    quoted = tuple(one or other for one, other in _QUOTED.findall(text))
    if not quoted or _NEGATED.search(_QUOTED.sub("", text)):
        return None
    if "file" in text.lower() and _EXISTS.search(text) and len(quoted) == 1:
        name = PurePosixPath(quoted[0])
        plain = not name.is_absolute() and ".." not in name.parts and name.as_posix() != "."
        return FileCheck(label=text, path=quoted[0], anywhere=True) if plain else None
    if _CONTAINS.search(text) and (len(quoted) == 1 or re.search(r"\bor\b", text)):
        return TextCheck(label=text, texts=quoted)
    return None


def _structured(one: _Assertion, files: Mapping[str, Path], where: str) -> Check | None:
    """The check of a structured assertion; None if the tests cannot tell."""
    needed = _REQUIRED.get(one.type)
    if needed and not getattr(one, needed):
        raise TaskError(f"{where}: {one.type}: needs {needed}")
    path, label = inside(one.path, where) if one.path else "", _label(one)
    match one.type:
        case "file_exists" | "file_not_exists":
            return FileCheck(label=label, path=path, wanted=one.type == "file_exists")
        case "file_contains" | "file_not_contains":
            wanted = one.type == "file_contains"
            return TextCheck(label=label, texts=(one.contains or "",), path=path, wanted=wanted)
        case "file_unchanged":
            return _unchanged(path, label, files)
        case "json_path" | "json_path_not_exists":
            keys = tuple((one.json_path or "").split("."))
            wanted = one.type == "json_path"
            return JsonCheck(label=label, keys=keys, path=path, equals=one.equals, wanted=wanted)
        case "git_clean":
            clean = 'status=$(git status --porcelain) && test -z "$status"'
            return CommandCheck(label=label, command=clean)
        case _:
            return None


def _unchanged(path: str, label: str, files: Mapping[str, Path]) -> Check | None:
    """The check that a file which the case brings along has its first content."""
    for target, source in files.items():
        if path == target or path.startswith(f"{target}/"):
            file = source / PurePosixPath(path).relative_to(target)
            if file.is_file():
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                return SameCheck(label=label, path=path, sha256=digest)
    return None


def _label(one: _Assertion) -> str:
    if one.text:
        return one.text
    named = {"path": one.path, "contains": one.contains, "command": one.command}
    named["json_path"] = one.json_path
    shown = ", ".join(f"{key}={value!r}" for key, value in named.items() if value)
    return f"{one.type} ({shown})" if shown else one.type
