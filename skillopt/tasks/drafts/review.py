"""A person's decisions on drafts. An accepted draft becomes a task and a trigger query.

Tasks are folders in Harbor's format below ``accepted/tasks``. Trigger queries are lists in
skill-creator's form, ``accepted/triggers/SKILL/evals/trigger-queries.json``. ``tasks.source`` reads
both.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from skillopt.core.files import replace_folder, write_atomic
from skillopt.tasks.drafts.drafts import (
    ACCEPTED,
    WORKSPACES,
    Draft,
    Status,
    read_draft,
    read_drafts,
    write_draft,
)
from skillopt.tasks.evals.case import Case, CommandCheck, slug, write_case
from skillopt.tasks.harbor import TaskError

QUERIES = "trigger-queries.json"


def decide(folder: Path, name: str, status: Status) -> Draft:
    """Keep a decision on a draft, and write or remove what it is as a task.

    Args:
        folder: of drafts.
        name: the draft's.
        status: the decision.

    Raises:
        TaskError: there is no such draft, or it cannot be a task as it is.
    """
    draft = read_draft(folder / name)
    if status == "accepted":
        check(draft, folder)
    # A crash in between leaves an accepted task without its status: it is decided again then.
    task = folder / ACCEPTED / "tasks" / name
    if status == "accepted" and (draft.expectations or draft.checks):
        _write_task(draft, folder, task)
    elif task.exists():
        shutil.rmtree(task)
    draft = draft.model_copy(update={"status": status})
    write_draft(draft, folder)
    _write_queries(read_drafts(folder), folder / ACCEPTED / "triggers")
    return draft


def check(draft: Draft, folder: Path) -> None:
    """Check that a draft can be a task.

    Raises:
        TaskError: it cannot; the message names the key and what to do.
    """
    where = folder / draft.name / "draft.yaml"
    if not draft.instruction.strip():
        raise TaskError(f"{where}: instruction: is empty; write it, or reject the draft")
    if not (draft.expectations or draft.checks or draft.trigger):
        raise TaskError(
            f"{where}: nothing says what a right result is; add a statement under expectations, "
            "a command under checks or a trigger, or reject the draft"
        )
    for key, texts in (("expectations", draft.expectations), ("checks", draft.checks)):
        if not all(text.strip() for text in texts):
            raise TaskError(f"{where}: {key}: one of them is empty; take it out")
    if draft.trigger is not None and not draft.trigger.query.strip():
        raise TaskError(f"{where}: trigger.query: is empty; write it, or take the trigger out")
    if draft.trigger is not None and slug(draft.trigger.skill) != draft.trigger.skill.lower():
        raise TaskError(f"{where}: trigger.skill: {draft.trigger.skill!r} is no name of a skill")
    workspaces = (folder / WORKSPACES).resolve()
    if draft.workspace and (workspaces / draft.workspace).resolve().parent != workspaces:
        raise TaskError(f"{where}: workspace: must be the name of a folder in {workspaces}")
    if draft.workspace and not (workspaces / draft.workspace).is_dir():
        raise TaskError(
            f"{where}: workspace: {workspaces / draft.workspace} is not there; leave it empty"
        )


def _write_task(draft: Draft, folder: Path, target: Path) -> None:
    """Write a draft as a task folder."""
    files = {}
    if draft.workspace:
        root = folder / WORKSPACES / draft.workspace
        files = {path.name: path for path in sorted(root.iterdir())}
    case = Case(
        suite=draft.trigger.skill if draft.trigger else draft.source.agent,
        id=draft.name,
        where=str(folder / draft.name / "draft.yaml"),
        prompt=draft.instruction,
        files=files,
        checks=[CommandCheck(label=command, command=command) for command in draft.checks],
        expectations=draft.expectations,
    )
    making = target.with_name(f".{target.name}.new")
    shutil.rmtree(making, ignore_errors=True)
    write_case(case, making)
    replace_folder(making, target)


def _write_queries(drafts: Iterable[Draft], folder: Path) -> None:
    """Write the trigger queries of all accepted drafts, one list for each skill."""
    by_skill: dict[str, list[dict[str, object]]] = {}
    for draft in drafts:
        if draft.status == "accepted" and draft.trigger is not None:
            query = {"query": draft.trigger.query, "should_trigger": draft.trigger.should_trigger}
            by_skill.setdefault(draft.trigger.skill, []).append(query)
    for file in folder.glob(f"*/evals/{QUERIES}"):
        if file.parent.parent.name not in by_skill:
            file.unlink()
    for skill, queries in by_skill.items():
        file = folder / skill / "evals" / QUERIES
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(queries, indent=2, ensure_ascii=False) + "\n")
