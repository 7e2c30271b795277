"""Eval files as tasks: found below a path, told apart by content, read by their formats.

A case that says in words what it expects is refused unless a model or a verifier of the user's own
judges the tasks, or the config leaves such cases out.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from skillopt.config.schema import TasksConfig
from skillopt.core.types import BaseImage, Task
from skillopt.tasks.evals import agent_skill_eval, caliper, skill_creator, skillevaluation
from skillopt.tasks.evals.case import Case, write_cases
from skillopt.tasks.harbor import TESTS_ONLY, Scored, TaskError, only_triggers, read_task
from skillopt.tasks.records import json_value
from skillopt.tasks.tables import check_text, checked_options

SHOWN = 5
_PATTERNS = (
    "evals.json", "*trigger*.json", "eval.yaml", "eval.yml", "*.eval.yaml", "*.eval.yml",
)  # fmt: skip
_SUFFIXES = (".json", ".yaml", ".yml")
_MAX_BYTES = 10_000_000


class Format(Protocol):
    """A module that reads one format."""

    NAME: str

    def recognises(self, content: Any) -> bool:
        """Whether a file with this content is meant to be of this format."""

    def cases(self, file: Path, content: Any) -> list[Case]:
        """The cases of a file; raises TaskError or pydantic's ValidationError."""


FORMATS: tuple[Format, ...] = (agent_skill_eval, skill_creator, caliper, skillevaluation)
"""The formats; the first that recognises a file reads it."""


class EvalOptions(BaseModel):
    """``tasks.options`` of eval files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unjudged: Literal["refuse", "leave_out"] = "refuse"
    """What happens to cases that nothing can score."""
    triggers: Literal["ask", "leave_out"] = "ask"
    """What happens to cases that only say which skills are to be opened."""


def eval_files(source: str) -> list[Path]:
    """The eval files that ``tasks.source`` names, sorted: a file, a folder of a skill that has
    some, or a pattern. Empty if it names something else."""
    path = Path(source)
    if path.is_file():
        return [path] if path.suffix in _SUFFIXES else []
    if path.is_dir():
        if any(path.glob("*/task.toml")) or any(path.glob("*/*/task.toml")):
            return []
        return _unique(found for part in (path, path / "evals") for found in _in(part))
    if glob.has_magic(source):
        found = [Path(one) for one in glob.glob(source, recursive=True)]  # noqa: PTH207
        return _unique(file for one in found if one.exists() for file in eval_files(str(one)))
    return []


def _in(folder: Path) -> Iterator[Path]:
    for pattern in _PATTERNS:
        yield from (file for file in folder.glob(pattern) if file.is_file())


def _unique(files: Iterable[Path]) -> list[Path]:
    return sorted({file.resolve() for file in files})


def eval_tasks(
    config: TasksConfig,
    files: Sequence[Path],
    made: Path,
    *,
    scored: Scored = TESTS_ONLY,
    own: BaseImage | None = None,
) -> list[Task]:
    """The tasks of eval files.

    Args:
        config: whose ``options`` are those of :class:`EvalOptions`.
        files: as :func:`eval_files` finds them.
        made: folder below which the tasks' folders are written.
        scored: what besides deterministic checks can score them.
        own: the image that they start from; by default the agents' base image.

    Raises:
        TaskError: a file is of no known format or not as its format wants it, or tasks cannot be
            judged.
    """
    options = eval_options(config.options)
    tasks, unusable = read_evals(files, made, scored=scored, own=own)
    if unusable and options.unjudged == "refuse":
        names = [*unusable]
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        shown = "; ".join(f"{name}: {unusable[name]}" for name in names[:SHOWN])
        raise TaskError(
            f"{config.source}: {len(unusable)} of {len(unusable) + len(tasks)} cases cannot be "
            f"scored here: {shown}{more}. Add a deterministic check, name a model that judges what "
            "is in words (judge: {upstream: …, name: …}) or a verifier of your own (verifier: "
            "my_module:judge), or set tasks.options.unjudged to leave_out"
        )
    if options.triggers == "leave_out":
        tasks = [task for task in tasks if not only_triggers(task)]
    if not tasks:
        raise TaskError(f"{config.source}: no case in it can be scored")
    return tasks


def read_evals(
    files: Sequence[Path], made: Path, *, scored: Scored = TESTS_ONLY, own: BaseImage | None = None
) -> tuple[list[Task], dict[str, str]]:
    """The tasks of eval files, and by name the cases that cannot be one, with the reason.

    Args:
        files: eval files of any known format.
        made: folder below which the tasks' folders are written, each set once by its content.
        scored: what besides deterministic checks can score them, so that cases without one are
            tasks too.
        own: the image that they start from; by default the agents' base image.

    Raises:
        TaskError: as :func:`eval_tasks`; or two cases have the same name.
    """
    cases: dict[str, Case] = {}
    for case in (case for file in files for case in read_cases(file)):
        if case.name in cases:
            raise TaskError(
                f"{case.where}: gives the task {case.name!r}, as {cases[case.name].where} does; "
                "rename one of them"
            )
        cases[case.name] = case
    unusable = {name: why for name, case in cases.items() if (why := _unusable(case, scored))}
    usable = [case for name, case in cases.items() if name not in unusable]
    folder = write_cases(usable, made, own)
    tasks = [_task(case, folder / case.name, scored) for case in usable]
    return [replace(task, base=own) for task in tasks], unusable


def _unusable(case: Case, scored: Scored) -> str:
    words = bool(case.expectations or case.expected_output)
    if case.unusable or case.checks or scored.verifier or (words and scored.judge):
        return case.unusable
    if words:
        return "it has expectations in words and no deterministic check"
    return "" if case.triggers else "it checks nothing"


def _task(case: Case, folder: Path, scored: Scored) -> Task:
    task = read_task(folder, scored=scored)
    notes = [*case.notes]
    if case.checks and scored == TESTS_ONLY:
        notes += [f"is not judged, as it is in words: {text}" for text in case.expectations]
    if case.triggers is not None and not only_triggers(task) and not scored.verifier:
        notes.append("whether the right skills are opened is not judged")
    handover = task.handover or (case.outside and not scored.verifier)
    return replace(
        task, handover=handover, notes=(*task.notes, *(f"{case.where}: {note}" for note in notes))
    )


def read_cases(file: Path) -> list[Case]:
    """The cases of one eval file, in their order.

    Raises:
        TaskError: it cannot be read, is of no known format, or not as its format wants it.
    """
    content = _load(file)
    for format in FORMATS:
        if format.recognises(content):
            try:
                cases = format.cases(file, content)
                for case in cases:
                    if not case.prompt.strip():
                        raise TaskError(f"{case.where}: the prompt is empty; write what is asked")
                    for text in (case.prompt, *(getattr(c, "command", "") for c in case.checks)):
                        check_text(text, case.where)
                return cases
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(map(str, first["loc"]))
                raise TaskError(f"{file}: {key}: {first['msg']} ({format.NAME})") from error
    names = ", ".join(format.NAME for format in FORMATS)
    raise TaskError(f"{file}: is none of the known eval files: {names}")


def is_eval_file(file: Path) -> bool:
    """Whether a format knows a file; raises TaskError if it cannot be read."""
    content = _load(file)
    return any(format.recognises(content) for format in FORMATS)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is twice in a mapping: the second would replace the first unnoticed; and
    half of a surrogate pair, which UTF-8 cannot express."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and not value.isascii():
            value.encode()
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set[str]()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _load(file: Path) -> Any:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise TaskError(f"{file}: has more than {_MAX_BYTES // 1_000_000} MB")
        text = file.read_text("utf-8-sig")
        if file.suffix == ".json":
            return json_value(text)
        return yaml.load(text, Loader=_UniqueKeys)  # A SafeLoader.
    except (OSError, UnicodeDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        advice = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
        raise TaskError(f"{file}: cannot be read: {why}{advice}") from error


def eval_options(given: Mapping[str, Any]) -> EvalOptions:
    """Checked ``tasks.options``; raises TaskError with the key."""
    return checked_options(EvalOptions, given, "tasks.options.", "eval files")
