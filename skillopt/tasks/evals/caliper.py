"""Caliper's ``*.eval.yaml`` (PyPI caliper-eval 0.21): ``caliper/schema/spec.py`` is its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from skillopt.core.types import Triggers
from skillopt.tasks.evals.case import Case, CommandCheck, fixture
from skillopt.tasks.harbor import TaskError

NAME = "Caliper's eval.yaml"
_SPEC_DIR = "CALIPER_SPEC_DIR"
_WORKDIR = "CALIPER_WORKDIR"
_ASSERT = "assertion.py"
_COMMAND = f'{_WORKDIR}="$PWD" exec python3 "$CHECKS_DIR/{_ASSERT}"'
_Text = Annotated[str, Field(pattern=r"\S")]


class _Task(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = ""
    name: _Text
    prompt: _Text
    history: str | None = None
    expect: _Text | None = None
    assertion: _Text | None = Field(None, alias="assert")
    activates: tuple[str, ...] | None = None
    setup: str | None = None
    cleanup: str | None = None
    """Not run: every sandbox is new."""


class _GitSkill(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str
    ref: str | None = None
    path: str = "SKILL.md"


class _Sandbox(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    forbidden_files: tuple[str, ...] = ()
    extra_path: tuple[str, ...] = ()


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    skills: tuple[str | _GitSkill, ...] = ()
    sandbox: _Sandbox = _Sandbox()
    mcp: dict[str, JsonValue] = {}
    user_customizations: bool | None = None
    tasks: tuple[_Task, ...] = Field(min_length=1)


def recognises(content: Any) -> bool:
    """Whether it has ``tasks``."""
    return isinstance(content, dict) and "tasks" in content


def cases(file: Path, content: Any) -> list[Case]:
    """The cases of a file; raises TaskError or ValidationError."""
    spec = _Spec.model_validate(content)
    suite = file.name.removesuffix(file.suffix).removesuffix(".eval")
    neighbours = [_skill_name(file, skill) for skill in spec.skills]
    return [_case(file, suite, spec, neighbours, task) for task in spec.tasks]


def _case(file: Path, suite: str, spec: _Spec, neighbours: list[str], task: _Task) -> Case:
    where = f"{file}: tasks: {task.name}"
    if task.expect is None and task.assertion is None and task.activates is None:
        raise TaskError(f"{where}: has none of expect, assert, activates; add one")
    code = _code(file, task.assertion, where) if task.assertion else ""
    setup = [task.setup] if task.setup and task.setup.strip() else []
    return Case(
        suite=suite,
        id=task.name,
        where=where,
        prompt=task.prompt,
        setup=[f'export {_WORKDIR}="$PWD"\n{command}' for command in setup],
        checks=[CommandCheck(label="assert", command=_COMMAND)] if code else [],
        scripts={_ASSERT: code} if code else {},
        expectations=[task.expect] if task.expect else [],
        triggers=_triggers(task, neighbours),
        notes=_notes(spec, neighbours),
        unusable=_unusable(task, code),
    )


def _code(file: Path, text: str, where: str) -> str:
    """The program of an assertion, which is written out or named by a line that ends in .py."""
    text = text.strip()
    if "\n" in text or not text.endswith(".py"):
        return text
    try:
        return fixture(file.parent, text, where).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"{where}: assert: {text}: cannot be read: {error}") from error


def _triggers(task: _Task, neighbours: list[str]) -> Triggers | None:
    if task.activates is None:
        return None
    others = tuple(name for name in neighbours if name not in task.activates)
    return Triggers(task.activates, others, no_others=True)


def _unusable(task: _Task, code: str) -> str:
    if task.history is not None:
        return "history: earlier turns that the agent resumes from are not supported"
    if _SPEC_DIR in (task.setup or "") or _SPEC_DIR in code:
        return f"${_SPEC_DIR}: the folder of the eval file is not in the sandbox"
    return ""


def _notes(spec: _Spec, neighbours: list[str]) -> list[str]:
    notes = []
    if neighbours:
        notes.append(f"skills: {', '.join(neighbours)}: name them with skill.init and skill.beside")
    if spec.mcp:
        notes.append(f"mcp: {', '.join(spec.mcp)}: agents get no MCP server here")
    if spec.sandbox.forbidden_files or spec.sandbox.extra_path:
        notes.append("sandbox: has no effect here; agents have sandboxes of their own")
    if spec.user_customizations is not None:
        notes.append("user_customizations: has no effect here; agents have none")
    return notes


def _skill_name(file: Path, skill: str | _GitSkill) -> str:
    """The name of a skill that a spec declares, from the skill itself if it is there."""
    if isinstance(skill, _GitSkill):
        parts = [*Path(skill.path).parts[:-1]] or [skill.repo.rstrip("/").removesuffix(".git")]
        return parts[-1].rpartition("/")[2]
    path = file.parent / skill
    try:
        header = path.read_text("utf-8").split("---", 2)[1]
        return str(yaml.safe_load(header)["name"])
    except (OSError, UnicodeDecodeError, IndexError, KeyError, TypeError, yaml.YAMLError):
        return path.resolve().parent.name  # Its folder has the same name.
