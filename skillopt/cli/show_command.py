"""``skillopt show``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from skillopt.cli import guarded
from skillopt.cli.common import output

SHOWN_CHARS = 2000
"""Of one message or result, as followed by a person."""
MARKS = {"message": "•", "call": "→", "result": "←", "side": "~", "end": "■"}


@click.command("show")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--step", type=int, help="The edits of one step, with what became of each.")
@click.option(
    "--follow",
    "rollout",
    metavar="ROLLOUT",
    help="The steps of a rollout while it runs, by its task's name or the beginning of its key.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(run: Path, step: int | None, rollout: str | None, as_json: bool) -> None:
    """Show a RUN: its scores and decisions step by step, and how the skill changed."""
    from skillopt.core.files import to_json
    from skillopt.run.folder import read_history

    if rollout is not None:
        _follow(run, rollout, as_json)
        return
    if step is not None:
        _show_step(run, step, as_json)
        return
    try:
        history, summary = read_history(run)
    except FileNotFoundError as error:
        raise click.UsageError(f"{error.filename}: no such file; is {run} a run?") from error
    if as_json:
        click.echo(to_json({"summary": summary, "history": history}), nl=False)
        return
    _print_history(history, summary)
    _print_diff(run)


def _print_history(history: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    from rich.table import Table

    from skillopt.core.text import printable

    console = output()
    table = Table(title=f"{summary['name']}", title_justify="left")
    for column in ("step", "epoch", "action", "budget", "edits", "train", "selection", "best"):
        table.add_column(column, justify="left" if column == "action" else "right")
    for row in history:
        after = row["selection_hard"]
        shown = f"≤ {row['selection_bound']:.3f}" if row["selection_bound"] is not None else ""
        table.add_row(
            str(row["step"]),
            str(row["epoch"]),
            row["action"],
            "∞" if row["edit_budget"] is None else str(row["edit_budget"]),
            str(row["edits_applied"]),
            f"{row['rollout_hard']:.3f}",
            shown if after is None else f"{after:.3f}",
            f"{row['best_score']:.3f}",
        )
        end = row.get("epoch_end")
        if end:
            after = end["selection_hard"]
            table.add_row(
                "", str(row["epoch"]), f"slow update: {end['action']}", "", "", "",
                "" if after is None else f"{after:.3f}", f"{end['best_score']:.3f}",
            )  # fmt: skip
    console.print(table)
    if summary["test"]:
        from skillopt.cli.tables import print_test_scores

        print_test_scores(console, summary["test"])
    if not summary["done"]:
        why = printable(summary["stopped"] or "it is running, or was killed")
        console.print(f"not done: {why}", markup=False, soft_wrap=True)


def _print_diff(run: Path) -> None:
    from skillopt.cli.tables import print_diff

    before = (run / "skills" / "skill_v0000.md").read_text("utf-8")
    after = (run / "best_skill.md").read_text("utf-8")
    print_diff(output(), before, after, ("initial", "best"))


def _show_step(run: Path, step: int, as_json: bool) -> None:
    file = run / "steps" / f"step_{step:04d}" / "edits.json"
    if not file.is_file():
        raise click.UsageError(f"{file}: no such file; the run has no such step")
    text = file.read_text("utf-8")
    if as_json:
        click.echo(text, nl=False)
        return
    from skillopt.core.text import printable

    console = output()
    for outcome in json.loads(text):
        edit = outcome["edit"]
        fate = "applied" if outcome["applied"] else f"refused: {outcome['reason']}"
        body = edit["content"] or f"delete {edit['target']!r}"
        text = f"{edit['kind']} ({fate})\n  {body}\n  why: {edit['reason']}"
        console.print(printable(text), markup=False, soft_wrap=True)


def _follow(run: Path, rollout: str, as_json: bool) -> None:
    from skillopt.core.text import printable
    from skillopt.report.follow import FollowError, find_rollout, follow

    try:
        found = find_rollout(run, rollout)
    except FollowError as error:
        raise click.UsageError(str(error)) from error
    for happening in follow(found):
        if as_json:
            click.echo(json.dumps(asdict(happening), ensure_ascii=False))
            continue
        where = f"[{happening.thread[:8]}] " if happening.thread else ""
        text = happening.text.strip()
        shown = text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]} …"
        mark = MARKS[happening.kind]
        head = f"{mark} {where}{happening.who}: {shown}".replace("\n", "\n    ")
        click.echo(printable(head))
