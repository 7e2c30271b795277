"""What one case of an eval file says, whatever its format, and its folder in Harbor's format.

The deterministic checks run in the verifier's sandbox, see ``inside/run_checks.py``. Statements in
words and triggers become fields of the task, for whoever judges them.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sandboxes.engine import AGENT_BASE_IMAGE
from skillopt.core.types import BaseImage, Triggers
from skillopt.tasks.generated import put
from skillopt.tasks.harbor import DEFAULT_WORKDIR, TaskError, folder_digest

CHECKS = "checks.json"
"""The file in ``tests/`` with the checks."""
EVAL_FILES = (CHECKS, "run_checks.py", "test.sh")
"""The files in ``tests/`` that every task of an eval file has."""
_INSIDE = Path(__file__).parent / "inside" / "run_checks.py"
_TEST_SH = '#!/bin/sh\nexec python3 -I "$TESTS_DIR/run_checks.py"\n'
_SCRATCH = re.compile(r"(?<![\w.:}$*~/-])/(?:var/)?tmp/\w")
_STAGED = "/.skillopt-files"
"""Where files wait in an image whose working directory is not known."""
_CONTROL = re.compile(r"[\x7f-\x9f]")


class _Check(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str
    """What the feedback calls it."""


class FileCheck(_Check):
    """Whether a file or folder of the workspace is there."""

    kind: Literal["file"] = "file"
    path: str
    """Relative to the workspace, or a name to be found anywhere in it if ``anywhere``."""
    anywhere: bool = False
    wanted: bool = True


class TextCheck(_Check):
    """Whether a text occurs, capitals aside."""

    kind: Literal["text"] = "text"
    texts: tuple[str, ...]
    """Any of them is enough."""
    path: str = ""
    """File of the workspace; empty for the answer."""
    wanted: bool = True


class SameCheck(_Check):
    """Whether a file still has its first content."""

    kind: Literal["same"] = "same"
    path: str
    sha256: str


class JsonCheck(_Check):
    """Whether JSON has a value at a place."""

    kind: Literal["json"] = "json"
    keys: tuple[str, ...] = ()
    """Keys and positions from the outside in; none for the whole."""
    path: str = ""
    """File of the workspace; empty for the answer."""
    equals: JsonValue = None
    """The expected value; None if any is right."""
    wanted: bool = True


class CommandCheck(_Check):
    """Whether a shell command ends with a code. It runs in the workspace."""

    kind: Literal["command"] = "command"
    command: str
    code: int = 0
    timeout_s: int = 30


Check = Annotated[
    FileCheck | TextCheck | SameCheck | JsonCheck | CommandCheck, Field(discriminator="kind")
]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case of an eval file.

    Args:
        suite: the eval file's name for itself; groups scores.
        id: of the case within it.
        where: file and key, for messages.
        prompt: the instruction.
        files: what the workspace has at first, by relative path: a file or folder, or a text.
        setup: shell commands that then run in the workspace, when the task's image is built.
        checks: that decide the reward, each with the same weight.
        scripts: Python programs that commands find in ``$CHECKS_DIR``, by name.
        graders: folders and files that the workspace gets before the checks run, by relative path.
        answer_file: file of the workspace that has the answer when the checks run.
        expectations: statements about the result in words.
        expected_output: a description of the right result.
        triggers: which skills are to be opened.
        untrusted_programs: whether the checks run programs of the agent, with ``$UNTRUSTED``.
        notes: what the file says and is not carried over.
        unusable: why this case cannot be a task at all.
    """

    suite: str
    id: str
    where: str
    prompt: str
    files: Mapping[str, Path | str] = field(default_factory=dict)
    setup: Sequence[str] = ()
    checks: Sequence[Check] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    graders: Mapping[str, Path] = field(default_factory=dict)
    answer_file: str = ""
    expectations: Sequence[str] = ()
    expected_output: str = ""
    triggers: Triggers | None = None
    untrusted_programs: bool = False
    notes: Sequence[str] = ()
    unusable: str = ""

    @property
    def name(self) -> str:
        """The task's name: that of the suite, if it has one, and the case."""
        return f"{slug(self.suite)}-{slug(self.id)}" if self.suite else slug(self.id)

    @property
    def only_triggers(self) -> bool:
        """Whether it asks nothing but which skills are opened."""
        words = self.expectations or self.expected_output
        return self.triggers is not None and not (self.checks or words)

    @property
    def outside(self) -> bool:
        """Whether commands of the checks look at scratch files, which lie outside of the
        workspace."""
        commands = [check.command for check in self.checks if isinstance(check, CommandCheck)]
        return any(map(_SCRATCH.search, [*commands, *self.scripts.values()]))


def slug(text: str) -> str:
    """A text as a part of a folder's name."""
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._") or "unnamed"


def inside(path: str, where: str) -> str:
    """A path that stays in the folder that it is relative to, in its normal form.

    Raises:
        TaskError: it is empty, absolute or leads out.
    """
    pure = PurePosixPath(path.replace("\\", "/"))
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]:
        raise TaskError(f"{where}: {path!r} must be a relative path that stays inside its folder")
    return pure.as_posix()


def fixture(root: Path, path: str, where: str) -> Path:
    """A file or folder that a case brings along.

    Raises:
        TaskError: it does not exist, or is not inside of ``root``.
    """
    found = (root / inside(path, where)).resolve()
    if not found.exists():
        raise TaskError(f"{where}: {root / path}: no such file; add it or take it out")
    links = [found, *found.rglob("*")] if found.is_dir() else [found]
    for one in links:
        if not one.resolve().is_relative_to(root.resolve()):
            raise TaskError(f"{where}: {one}: a link that leads out of {root}; copy the file")
    return found


def write_cases(cases: Sequence[Case], made: Path, own: BaseImage | None = None) -> Path:
    """Write cases as task folders, by name, into a folder that is named by their content: other
    processes may be using it.

    Args:
        cases: usable ones, with different names.
        made: where the folder is made, or is already.
        own: the image that they start from in place of the agents' base image.

    Raises:
        TaskError: a file cannot be copied.
    """
    made.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made, prefix=".evals-") as name:
        fresh = Path(name).resolve() / "tasks"
        fresh.mkdir()
        for case in cases:
            write_case(case, fresh / case.name, own)
        digest = folder_digest(fresh)
        folder = made.resolve() / f"evals-{digest[:16]}"
        put(fresh, folder, digest)
    return folder


def write_case(case: Case, folder: Path, own: BaseImage | None = None) -> None:
    """Write a case as a task folder in Harbor's format.

    Args:
        case: that is usable.
        folder: of the task; it does not exist yet. Without checks it gets no ``tests/``.
        own: the image that it starts from in place of the agents' base image.

    Raises:
        TaskError: a file cannot be copied.
    """
    folder.mkdir(parents=True)
    (folder / "instruction.md").write_text(case.prompt.strip() + "\n", "utf-8")
    (folder / "task.toml").write_text(_task_toml(case), "utf-8")
    environment = folder / "environment"
    _place(case.files, environment / "files", case.where)
    environment.mkdir(exist_ok=True)
    (environment / "Dockerfile").write_text(_dockerfile(case, own), "utf-8")
    if case.checks:
        tests = folder / "tests"
        _place(case.graders, tests / "files", case.where)
        tests.mkdir(exist_ok=True)
        checks = [check.model_dump(mode="json") for check in case.checks]
        written = {"answer": case.answer_file, "checks": checks}
        (tests / CHECKS).write_text(json.dumps(written, indent=1) + "\n", "utf-8")
        (tests / "test.sh").write_text(_TEST_SH, "utf-8")
        shutil.copyfile(_INSIDE, tests / "run_checks.py")
        for name, text in case.scripts.items():
            (tests / name).write_text(text, "utf-8")


def _dockerfile(case: Case, own: BaseImage | None) -> str:
    image, workdir = (own.name, own.workdir) if own else (AGENT_BASE_IMAGE, DEFAULT_WORKDIR)
    # A builder that is not root could not write what is copied.
    first = [f"FROM {image}", *["USER root"] * bool(own and case.setup)]
    if workdir:
        copies = [f"COPY files {workdir}/"] * bool(case.files)
        return _lines([*first, f"WORKDIR {workdir}", *copies, *map(_run, case.setup)])
    if not (case.files or case.setup):
        return _lines(first)
    # Only the image knows its working directory; one that has none gets the usual one.
    enter = f'if [ "$PWD" = / ]; then mkdir -p {DEFAULT_WORKDIR}; cd {DEFAULT_WORKDIR}; fi'
    files = [f"COPY files {_STAGED}/", _run(f"{enter}; cp -R {_STAGED}/. .; rm -rf {_STAGED}")]
    setup = [_run(f"{enter}\n{command}") for command in case.setup]
    return _lines([f"FROM {image}", "USER root", *(files if case.files else []), *setup])


def _run(command: str) -> str:
    return f"RUN {json.dumps(['/bin/sh', '-ec', command])}"


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _place(files: Mapping[str, Path | str] | Mapping[str, Path], target: Path, where: str) -> None:
    for path, content in files.items():
        place = target / inside(path, where)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                place.write_text(content, "utf-8")
            elif content.is_dir():
                shutil.copytree(content, place, dirs_exist_ok=True)
            else:
                shutil.copyfile(content, place)
        except (OSError, shutil.Error) as error:
            raise TaskError(f"{where}: {path}: cannot be copied: {error}") from error


def _task_toml(case: Case) -> str:
    metadata: dict[str, Any] = {"category": case.suite}
    if case.untrusted_programs:
        metadata["untrusted_programs"] = True
    if case.answer_file:
        metadata["answer_file"] = case.answer_file
    if case.expectations:
        metadata["expectations"] = list(case.expectations)
    if case.expected_output:
        metadata["expected_output"] = case.expected_output
    if case.triggers is not None:
        metadata["opened"] = list(case.triggers.opened)
        metadata["not_opened"] = list(case.triggers.not_opened)
        metadata["no_others_opened"] = case.triggers.no_others
    lines = ['schema_version = "1.4"', "", "[metadata]"]
    return "\n".join([*lines, *(f"{key} = {toml(value)}" for key, value in metadata.items()), ""])


def toml(value: Any) -> str:
    """A JSON value in TOML, which has no null: such keys of objects are left out."""
    if isinstance(value, Mapping):
        pairs = [f"{toml(str(k))} = {toml(v)}" for k, v in value.items() if v is not None]
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
