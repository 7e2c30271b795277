"""skillevaluation's ``eval.yaml``, revision 2 (PyPI skillevaluation 0.8).

``schemas/eval-yaml.schema.json`` in the package is its schema. Validators run in the workspace with
the answer in ``response.txt`` and ``$RESPONSE_TEXT`` and with the skill's ``scripts/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from skillopt.core.types import Triggers
from skillopt.tasks.evals.case import Case, CommandCheck, inside
from skillopt.tasks.harbor import TaskError

NAME = "skillevaluation's eval.yaml"
_ANSWER = "response.txt"
_SCRIPTS = "scripts"
_Text = Annotated[str, Field(min_length=1)]


class _Validator(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cmd: _Text
    expect_exit_code: StrictInt = 0
    label: str = ""


class _Setup(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    files: dict[str, str] = {}
    commands: tuple[str, ...] = ()


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Text
    prompt: _Text
    setup: _Setup | tuple[str, ...] = ()
    expectations: tuple[_Text, ...] = ()
    validators: tuple[_Validator, ...] = ()
    tags: tuple[str, ...] = ()
    description: str = ""
    max_turns: int | None = Field(None, ge=1)
    should_trigger: bool | None = None


class _Suite(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cases: tuple[_Case, ...] = Field(min_length=1)


def recognises(content: Any) -> bool:
    """Whether it has ``cases``."""
    return isinstance(content, dict) and "cases" in content


def cases(file: Path, content: Any) -> list[Case]:
    """The cases of a file; raises TaskError or ValidationError."""
    return [_case(file, one) for one in _Suite.model_validate(content).cases]


def _case(file: Path, one: _Case) -> Case:
    where, skill = f"{file}: cases: {one.name}", file.resolve().parent
    if not (one.expectations or one.validators or one.should_trigger is not None):
        raise TaskError(f"{where}: has none of expectations, validators, should_trigger; add one")
    setup = one.setup if isinstance(one.setup, _Setup) else _Setup(commands=one.setup)
    scripts = skill / _SCRIPTS
    staged = bool(one.validators) and scripts.is_dir()
    return Case(
        suite=skill.name,
        id=one.name,
        where=where,
        prompt=one.prompt,
        files={inside(path, where): text for path, text in setup.files.items()},
        setup=setup.commands,
        checks=[
            CommandCheck(
                label=check.label or check.cmd[:80],
                command=check.cmd,
                code=check.expect_exit_code,
            )
            for check in one.validators
        ],
        graders={_SCRIPTS: scripts} if staged else {},
        answer_file=_ANSWER if one.validators else "",
        expectations=one.expectations,
        triggers=_triggers(skill.name, one.should_trigger),
        notes=_notes(one, staged),
    )


def _triggers(skill: str, wanted: bool | None) -> Triggers | None:
    if wanted is None:
        return None
    return Triggers(opened=(skill,)) if wanted else Triggers(not_opened=(skill,))


def _notes(one: _Case, staged: bool) -> list[str]:
    notes = []
    if one.max_turns is not None:
        notes.append("max_turns: is no limit here; set budget in the config")
    if staged:
        notes.append(
            f"{_SCRIPTS}/: the workspace gets it for the validators alone, not for the agent"
        )
    return notes
