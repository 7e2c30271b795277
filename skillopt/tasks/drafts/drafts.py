"""Drafts of tasks on disk: one folder each with a ``draft.yaml`` that a person reads and edits.

A draft is no task: a run refuses it by name until a person has reviewed it
(:mod:`skillopt.tasks.drafts.review`).
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from skillopt.config.loading import parse_yaml
from skillopt.core.files import digest_of, read_json, to_json, write_atomic
from skillopt.tasks.drafts import DRAFT, MARKER
from skillopt.tasks.drafts.redaction import Redactor
from skillopt.tasks.drafts.requests import Accepted, Request, statement
from skillopt.tasks.drafts.workspace import Kept, WorkspaceError, keep_commit
from skillopt.tasks.evals.case import slug
from skillopt.tasks.harbor import TaskError

FORMAT = 1
WORKSPACES, ACCEPTED = "workspaces", "accepted"
MAX_CHARS = 20_000
"""Characters that are kept of one text of a session."""
CORRECTIONS = 20
"""The most corrections of one request that become expectations."""

Status = Literal["draft", "later", "accepted", "rejected"]
REVIEWED: tuple[Status, ...] = ("accepted", "rejected")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Trigger(_Part):
    """A query by which a skill should be opened, or not."""

    skill: str
    query: str
    should_trigger: bool


class Source(_Part):
    """The session that a draft comes from."""

    agent: str
    version: str = ""
    session: str
    turn: str
    at: str = ""
    folder: str = ""
    commit: str = ""


class Draft(_Part):
    """A task as a person's session suggests it."""

    format: Literal[1] = 1
    status: Status = "draft"
    name: str
    instruction: str
    expectations: tuple[str, ...] = ()
    """Statements about a right result."""
    checks: tuple[str, ...] = ()
    """Shell commands that end with 0 in the workspace of a right result."""
    trigger: Trigger | None = None
    workspace: str = ""
    """Folder below ``workspaces/`` with the files at first; empty for none."""
    source: Source
    corrections: tuple[str, ...] = ()
    """What the person said against the result, word for word."""
    accepted_then: Accepted = "unknown"
    """Whether the person accepted the result in the session."""
    files_changed: tuple[str, ...] = ()
    redacted: int = 0
    """How many secrets were taken out of the texts."""
    notes: tuple[str, ...] = ()


@dataclass
class Harvest:
    """What was written.

    Attributes:
        new: the new drafts.
        known: names of drafts that were there before; they are left as they are.
        workspaces: what was kept of each commit, by its folder's name.
        redacted: secrets that were replaced.
    """

    new: list[Draft] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    workspaces: dict[str, Kept] = field(default_factory=dict)
    redacted: int = 0


def harvest(
    requests: Sequence[Request], folder: Path, redactor: Redactor, skill: str = ""
) -> Harvest:
    """Write drafts of the requests that have none yet.

    Args:
        requests: as :func:`skillopt.tasks.drafts.requests.requests_in` finds them.
        folder: of drafts; it is made if there is none.
        redactor: takes secrets out of all that is written.
        skill: that the trigger queries are about; by default the one that was opened.

    Raises:
        TaskError: the folder holds something else.
    """
    _open(folder)
    done, problems = Harvest(), dict[str, str]()
    for request in requests:
        name = name_of(request, redactor)
        if (folder / name).exists():
            done.known.append(name)
            continue
        workspace = _workspace(request, folder, redactor, done, problems)
        draft = _draft(request, name, redactor, skill, workspace, problems, folder)
        write_draft(draft, folder)
        done.new.append(draft)
    done.redacted = redactor.count
    return done


def name_of(request: Request, redactor: Redactor) -> str:
    """A draft's name: the first words of the request, and what tells it apart."""
    # A copy, whose count nobody asks for.
    clean = replace(redactor).text(request.turn.text[:MAX_CHARS])
    words = slug(clean[:200]).split("-")
    return "-".join([*words[:6], digest_of(request.turn.id)[:6]])


def write_draft(draft: Draft, folder: Path) -> None:
    """Write a draft into a folder of drafts."""
    place = folder / draft.name
    place.mkdir(parents=True, exist_ok=True)
    text = yaml.dump(
        draft.model_dump(mode="json"),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    write_atomic(place / DRAFT, text)


def read_draft(folder: Path) -> Draft:
    """Read a draft from its own folder.

    Raises:
        TaskError: there is none, or it is not as it should be; the message names file and key.
    """
    file = folder / DRAFT
    if not file.is_file():
        raise TaskError(f"{folder}: no draft; 'skillopt review {folder.parent} --list' lists them")
    content = parse_yaml(file.read_text("utf-8", "replace"), str(file))
    try:
        draft = Draft.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise TaskError(f"{file}: {key}: {first['msg']}; correct it") from error
    if draft.name != folder.name:
        raise TaskError(f"{file}: name: must be {folder.name!r}, as its folder is named")
    return draft


def read_drafts(folder: Path) -> list[Draft]:
    """All drafts of a folder, by name.

    Raises:
        TaskError: it is no folder of drafts, or one of them is not as it should be.
    """
    if not is_drafts(folder):
        raise TaskError(f"{folder}: no drafts are here; 'skillopt harvest' makes some")
    read_json(folder / MARKER, FORMAT)
    return [read_draft(file.parent) for file in sorted(folder.glob(f"*/{DRAFT}"))]


def is_drafts(folder: Path) -> bool:
    """Whether a folder holds drafts."""
    return (folder / MARKER).is_file()


def refuse_unreviewed(source: Path) -> None:
    """Refuse a folder of drafts, or a draft, as a source of tasks.

    Raises:
        TaskError: it is one; the message names the drafts and what to do.
    """
    if source.name == DRAFT:
        source = source.parent
    if is_drafts(source):
        folder, drafts = source, read_drafts(source)
    elif (source / DRAFT).is_file():
        folder, drafts = source.parent, [read_draft(source)]
    else:
        return
    left = [draft.name for draft in drafts if draft.status not in REVIEWED]
    accepted = f"the accepted ones are tasks in {folder / ACCEPTED / 'tasks'}"
    if not left:
        raise TaskError(f"tasks.source: {source}: drafts are no tasks; {accepted}")
    names = ", ".join(left[:5]) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
    raise TaskError(
        f"tasks.source: {source}: not reviewed: {names}; review them with 'skillopt review "
        f"{folder}'; {accepted}"
    )


def _open(folder: Path) -> None:
    """Make a folder of drafts."""
    if is_drafts(folder):
        read_json(folder / MARKER, FORMAT)
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TaskError(f"{folder}: is no folder of drafts, and not empty; name another with -o")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / MARKER, to_json({"format": FORMAT}))


def _draft(
    request: Request,
    name: str,
    redactor: Redactor,
    skill: str,
    workspace: str,
    problems: dict[str, str],
    folder: Path,
) -> Draft:
    """A request as a draft, without secrets."""
    before, session = redactor.count, request.session

    def clean(text: str) -> str:
        # Cut after that: a secret that was cut in half would not be known as one.
        return redactor.text(text[: 2 * MAX_CHARS])[:MAX_CHARS].strip()

    instruction = clean(request.turn.text)
    corrections = [clean(turn.text) for turn in request.corrections[:CORRECTIONS]]
    named = skill or next(iter(request.skills), "")
    trigger = None
    if named:
        trigger = Trigger(skill=named, query=instruction, should_trigger=named in request.skills)
    changed = [clean(path) for path in _inside(request.files, session.folder)]
    made = [path for path in changed if not (folder / WORKSPACES / workspace / path).exists()]
    checks = [f"test -e {shlex.quote(path)}" for path in made]
    return Draft(
        name=name,
        instruction=instruction,
        # A mere "no" says nothing about a right result.
        expectations=tuple(
            dict.fromkeys(statement(text) for text in corrections if len(text.split()) > 1)
        ),
        checks=tuple(checks) if request.accepted == "yes" else (),
        trigger=trigger,
        workspace=workspace,
        source=Source(
            agent=session.agent,
            version=session.version,
            session=session.id,
            turn=request.turn.id,
            at=request.turn.at,
            folder=clean(session.folder),
            commit=session.commit,
        ),
        corrections=tuple(corrections),
        accepted_then=request.accepted,
        files_changed=tuple(changed),
        redacted=redactor.count - before,
        notes=tuple(clean(note) for note in _notes(request, trigger, workspace, problems)),
    )


def _notes(
    request: Request, trigger: Trigger | None, workspace: str, problems: dict[str, str]
) -> Iterable[str]:
    """What a reviewer has to know of a draft."""
    session = request.session
    if not request.first:
        yield "it follows earlier requests of its session: say in the instruction what they made"
    if problem := problems.get(_key(request)):
        yield f"no files: {problem}"
    elif workspace and request.first:
        yield "the files are those of the commit; what was not committed then is not known"
    elif workspace:
        yield "the files are those of the commit at the beginning of the session"
    elif session.folder:
        yield "no files: the log names no commit"
    if trigger is not None and not trigger.should_trigger:
        yield "the skill was not opened: should it have been?"
    if request.turn.text[MAX_CHARS:]:
        yield f"the request was cut at {MAX_CHARS:,} characters"
    if len(request.corrections) > CORRECTIONS:
        yield f"{len(request.corrections) - CORRECTIONS} more corrections were left out"


def _key(request: Request) -> str:
    """The commit that a request's session began at, with its folder; empty if not known."""
    session = request.session
    return f"{session.folder}@{session.commit}" if session.folder and session.commit else ""


def _workspace(
    request: Request, folder: Path, redactor: Redactor, done: Harvest, problems: dict[str, str]
) -> str:
    """The folder with the files that a request began with, made once a commit; empty for none."""
    key = _key(request)
    if not key or key in problems:
        return ""
    name = f"{slug(PurePosixPath(request.session.folder).name)}-{digest_of(key)[:10]}"
    target = folder / WORKSPACES / name
    if target.is_dir():
        return name
    making = target.with_name(f".{name}.new")
    shutil.rmtree(making, ignore_errors=True)
    try:
        kept = keep_commit(Path(request.session.folder), request.session.commit, making, redactor)
    except WorkspaceError as error:
        problems[key] = str(error)
        shutil.rmtree(making, ignore_errors=True)
        return ""
    making.mkdir(parents=True, exist_ok=True)  # A commit may have no file.
    making.rename(target)
    done.workspaces[name] = kept
    return name


def _inside(files: Iterable[str], folder: str) -> list[str]:
    """Paths relative to the working directory; those outside of it are left out."""
    found = []
    for file in files:
        path = PurePosixPath(file)
        if folder and path.is_relative_to(folder):
            path = path.relative_to(folder)
        if not path.is_absolute() and ".." not in path.parts and path.parts:
            found.append(path.as_posix())
    return found


class _Dumper(yaml.SafeDumper):
    """YAML in which texts of several lines are blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
