"""skill-creator's ``evals/evals.json`` and its lists of trigger queries (github anthropics/skills).

The schema is in ``references/schemas.md`` of that skill. All its expectations are in words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from skillopt.core.types import Triggers
from skillopt.tasks.evals.case import Case, fixture, inside
from skillopt.tasks.harbor import TaskError

NAME = "skill-creator's evals.json"
_KNOWN = {"eval_name", "name", "description"}
"""Keys that say nothing about the task."""


class _Eval(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    id: int | str
    prompt: str
    expected_output: str = ""
    files: tuple[str, ...] = ()
    expectations: tuple[str, ...] = ()


class _Suite(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    skill_name: str
    evals: tuple[_Eval, ...]


class _Query(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    query: str
    should_trigger: bool


def recognises(content: Any) -> bool:
    """Whether it has ``evals``, or is a list of queries."""
    if isinstance(content, list):
        return bool(content) and all(isinstance(one, dict) and "query" in one for one in content)
    return isinstance(content, dict) and "evals" in content


def cases(file: Path, content: Any) -> list[Case]:
    """The cases of a file; raises TaskError or ValidationError."""
    if isinstance(content, list):
        return _queries(file, content)
    suite = _Suite.model_validate(content)
    return [_case(file, suite.skill_name, one) for one in suite.evals]


def _case(file: Path, suite: str, one: _Eval) -> Case:
    where = f"{file}: evals: {one.id}"
    if not one.prompt.strip():
        raise TaskError(f"{where}: prompt: is empty")
    files = {inside(path, where): fixture(_root(file, path), path, where) for path in one.files}
    unknown = sorted(set(one.model_extra or {}) - _KNOWN)
    return Case(
        suite=suite,
        id=str(one.id),
        where=where,
        prompt=one.prompt,
        files=files,
        expectations=one.expectations,
        expected_output=one.expected_output,
        notes=[f"{key}: has no effect here" for key in unknown],
    )


def _root(file: Path, path: str) -> Path:
    """What a path of an eval is relative to: the skill's folder, or else that of the file."""
    skill = file.parent.parent if file.parent.name == "evals" else file.parent
    return file.parent if (file.parent / path).exists() and not (skill / path).exists() else skill


def _queries(file: Path, content: Any) -> list[Case]:
    """The queries of the loop that improves a description. They name no skill: it is that of the
    folder."""
    skill = file.parent.parent if file.parent.name == "evals" else file.parent
    queries = TypeAdapter(tuple[_Query, ...]).validate_python(content)
    found = []
    for number, one in enumerate(queries, start=1):
        named = (skill.resolve().name,)
        asked = Triggers(opened=named) if one.should_trigger else Triggers(not_opened=named)
        found.append(
            Case(
                suite=f"{named[0]}-{file.stem}",
                id=f"{number:03d}",
                where=f"{file}: query {number}",
                prompt=one.query,
                triggers=asked,
            )
        )
    return found
