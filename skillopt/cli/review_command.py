"""``skillopt review``."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillopt.cli import guarded
from skillopt.cli.common import output, show_text

if TYPE_CHECKING:
    from skillopt.tasks.drafts.drafts import Draft, Status

DECISIONS: dict[str, Status] = {"a": "accepted", "r": "rejected", "l": "later"}


@click.command("review")
@click.argument("drafts", type=click.Path(path_type=Path))
@click.option("--accept", "accepted", multiple=True, metavar="NAME", help="Accept this draft.")
@click.option("--reject", "rejected", multiple=True, metavar="NAME", help="Reject this draft.")
@click.option("--later", "later", multiple=True, metavar="NAME", help="Leave it for later.")
@click.option("--list", "list_", is_flag=True, help="List the drafts and their states.")
@click.option("--json", "as_json", is_flag=True, help="Print the drafts as JSON.")
@guarded
def command(
    drafts: Path,
    accepted: tuple[str, ...],
    rejected: tuple[str, ...],
    later: tuple[str, ...],
    list_: bool,
    as_json: bool,
) -> None:
    """Go through the drafts in a folder of 'harvest', one by one.

    Each is accepted, edited in $EDITOR, rejected or left for later. Decisions are kept, so that
    one may stop at any time. Accepted drafts become tasks, and lists of trigger queries.
    """
    from skillopt.core.files import to_json
    from skillopt.tasks.drafts.drafts import read_drafts
    from skillopt.tasks.drafts.review import decide

    chosen: dict[str, Status] = {}
    for names, status in ((accepted, "accepted"), (rejected, "rejected"), (later, "later")):
        for name in names:
            if name in chosen:
                raise click.UsageError(f"{name}: is named twice; decide once")
            chosen[name] = status  # type: ignore[assignment]
    known = {draft.name: draft for draft in read_drafts(drafts)}
    for name in chosen:
        if name not in known:
            raise click.UsageError(f"{name}: no such draft in {drafts}; --list lists them")
    for name, status in chosen.items():
        decide(drafts, name, status)
    if as_json:
        found = [draft.model_dump(mode="json") for draft in read_drafts(drafts)]
        click.echo(to_json({"format": 1, "folder": str(drafts), "drafts": found}), nl=False)
    elif list_:
        for draft in read_drafts(drafts):
            show_text(output(), f"{draft.status:<8} {draft.name}: {_first_line(draft)}")
        _print_end(drafts)
    elif chosen:
        _print_end(drafts)
    elif not sys.stdin.isatty():
        raise click.UsageError("there is no terminal: use --list, --accept, --reject or --later")
    else:
        _one_by_one(drafts)


def _one_by_one(folder: Path) -> None:
    """Ask about each draft that has no decision; those for later come last."""
    from skillopt.tasks.drafts.drafts import REVIEWED, read_drafts

    open_ = [draft for draft in read_drafts(folder) if draft.status not in REVIEWED]
    open_.sort(key=lambda draft: draft.status == "later")
    for number, draft in enumerate(open_, start=1):
        click.echo(f"\n{number} of {len(open_)}")
        if not _decided(folder, draft.name):
            break
    _print_end(folder)


def _decided(folder: Path, name: str) -> bool:
    """Ask about one draft until it is decided. Returns whether to go on."""
    from skillopt.core.errors import SkillOptError
    from skillopt.tasks.drafts import DRAFT
    from skillopt.tasks.drafts.drafts import read_draft
    from skillopt.tasks.drafts.review import decide

    shown = False
    while True:
        try:
            if not shown:
                _show(read_draft(folder / name))
            shown = True
            key = click.prompt(
                "[a]ccept, [e]dit, [r]eject, [l]ater, [q]uit",
                type=click.Choice(["a", "e", "r", "l", "q"]),
                show_choices=False,
            )
            if key == "q":
                return False
            if key == "e":
                click.edit(filename=str(folder / name / DRAFT))
                shown = False
                continue
            decide(folder, name, DECISIONS[key])
        except SkillOptError as error:  # What was edited does not fit: say so, and ask again.
            show_text(output(), f"{error}", style="red")
            shown = True
            continue
        return True


def _show(draft: Draft) -> None:
    """Print a draft as a person reads it."""
    console = output()
    show_text(console, draft.name, style="bold")
    source = draft.source
    where = f" in {source.folder}" if source.folder else ""
    show_text(console, f"{source.agent} {source.version}, {source.at[:16]}{where}", style="dim")
    show_text(console, f"\n{draft.instruction}\n")
    for title, texts in (
        ("what the person said against the result", draft.corrections),
        ("expectations", draft.expectations),
        ("checks", draft.checks),
        ("files changed", draft.files_changed),
        ("notes", draft.notes),
    ):
        if texts:
            show_text(console, f"{title}:")
            for text in texts:
                show_text(console, "  - " + text.replace("\n", "\n    "))
    show_text(console, f"accepted in the session: {draft.accepted_then}")
    if draft.trigger:
        verb = "opens" if draft.trigger.should_trigger else "does not open"
        show_text(console, f"trigger: this query {verb} {draft.trigger.skill}")
        if draft.trigger.query != draft.instruction:
            show_text(console, f"  {draft.trigger.query}")
    if draft.workspace:
        show_text(console, f"workspace: workspaces/{draft.workspace}")


def _first_line(draft: Draft) -> str:
    lines = draft.instruction.splitlines()
    return lines[0][:80] if lines else ""


def _print_end(folder: Path) -> None:
    """Print how far the review is, and where the tasks are."""
    from skillopt.tasks.drafts.drafts import ACCEPTED, read_drafts

    drafts = read_drafts(folder)
    counts = Counter(draft.status for draft in drafts)
    order: tuple[Status, ...] = ("accepted", "rejected", "later", "draft")
    names: dict[str, str] = {"later": "left for later", "draft": "not reviewed"}
    said = ", ".join(f"{counts[one]} {names.get(one, one)}" for one in order if counts[one])
    show_text(output(), said or "no drafts")
    words = [d for d in drafts if d.status == "accepted" and d.expectations and not d.checks]
    if words:
        show_text(
            output(),
            f"{len(words)} of the accepted have no checks: a judge, or a verifier of your own, has "
            "to judge their expectations",
        )
    if counts["accepted"]:
        show_text(output(), f"tasks.source: {folder / ACCEPTED / 'tasks'}")
        for queries in sorted((folder / ACCEPTED / "triggers").glob("*/evals/*.json")):
            show_text(output(), f"trigger queries: {queries.parent.parent}")
