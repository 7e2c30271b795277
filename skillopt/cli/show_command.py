"""``skillopt show``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillopt.cli import guarded
from skillopt.cli.common import output, run_argument, show_text

if TYPE_CHECKING:
    from rich.console import Console

    from skillopt.run.records import Noted
    from skillopt.run.state import State

SHOWN_CHARS = 2000
"""The most characters of one message or result that are shown while following a rollout."""
SHOWN_FAILURES = 10
MARKS = {"message": "•", "call": "→", "result": "←", "side": "~", "end": "■"}


@click.command("show")
@run_argument
@click.option("--step", type=int, help="Show the edits of one step, and whether each was applied.")
@click.option(
    "--follow",
    "rollout",
    metavar="ROLLOUT",
    help="Show the steps of a rollout while it runs. A task's name, or the beginning of a key.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(run: Path, step: int | None, rollout: str | None, as_json: bool) -> None:
    """Show a RUN: its scores and decisions step by step, and how the skill changed.

    RUN is a run's folder, or its name below ``runs``. The run may still be running.
    """
    from skillopt.cli.progress import plan_text
    from skillopt.config.prices import cost_text
    from skillopt.core.files import to_json
    from skillopt.run.folder import read_state
    from skillopt.run.spending import JUDGE

    if rollout is not None:
        _follow(run, rollout, as_json)
        return
    state, meter = read_state(run)
    if step is not None:
        _show_step(run, state, step, as_json)
        return
    if as_json:
        summary = state.summary | {"spent": meter.to_json()}
        told: dict[str, Any] = {"summary": summary, "history": state.history}
        told["failures"] = [_failure(state, key) for key in state.failures]
        told["notes"] = [note.text for note in state.notes_of_run]
        click.echo(to_json(told), nl=False)
        return
    _print_history(state)
    if spent := meter.stages.get(JUDGE):
        console = output()
        show_text(console, f"judge: {spent.tokens:,} tokens, {cost_text(spent.usage)}")
    for service, windows in meter.plans.items():
        show_text(output(), plan_text(service, windows))
    if meter.total.usage.included:
        spent = meter.total
        show_text(output(), f"{spent.tokens:,} tokens, {cost_text(spent.usage)}")
    _print_diff(state)


def _print_history(state: State) -> None:
    from skillopt.cli.tables import print_history, print_test_scores
    from skillopt.evaluation.claim import said_of_run

    console = output()
    print_history(console, state.summary, state.history)
    test = state.summary["test"]
    if test:
        print_test_scores(console, test)
    if said := said_of_run(state):
        show_text(console, said)
    _print_failures(console, state)
    for line in _standing(state):
        show_text(console, line)


def _standing(state: State) -> Iterator[str]:
    """The run's current state, in words."""
    from skillopt.core.text import printable

    match state.doing:
        case "stopped":
            yield printable(f"not done: {state.stopped}")
        case "killed":
            yield "not done: its process was killed; run the same command again to resume"
        case "running":
            at = state.stage
            where = f": {at.stage}" + (f" of step {at.step}" if at.step else "") if at else ""
            yield f"running{where}"
        case "not started":
            yield "not started: nothing has run yet"
    if state.initial_score is None:
        yield "no score yet: the initial skill has not been scored on the selection split"


def _print_failures(console: Console, state: State) -> None:
    """Print the rollouts that failed for infrastructure, each with its reason."""

    rows = [_failure(state, key) for key in state.failures]
    if rows:
        console.print(f"{len(rows)} rollouts failed for infrastructure and are not scored:")
    for row in rows[-SHOWN_FAILURES:]:
        text = f"  {row['task']} ({row['stage']}, {row['key'][:8]}): {row['message']}"
        show_text(console, text)
    if len(rows) > SHOWN_FAILURES:
        console.print(f"  and {len(rows) - SHOWN_FAILURES} before these (--json has all)")


def _failure(state: State, key: str) -> dict[str, Any]:
    found = state.failures[key]
    told = found.model_dump(mode="json", include={"task", "stage", "key", "status", "message"})
    return dict(told)


def _print_diff(state: State) -> None:
    from skillopt.cli.tables import print_diff

    if state.initial and state.best:
        before, after = state.skills[state.initial].text, state.skills[state.best].text
        print_diff(output(), before, after, ("initial", "best"))


def _show_step(run: Path, state: State, step: int, as_json: bool) -> None:
    row = next((row for row in state.history if row["step"] == step), None)
    if row is None:
        there = f"there are 1 to {state.steps}" if state.steps else "no step is done yet"
        raise click.UsageError(f"{run}: no step {step}; {there}")
    file = run / "steps" / f"step_{step:04d}" / "edits.json"
    outcomes = json.loads(file.read_text("utf-8"))
    if as_json:
        click.echo(json.dumps(outcomes, indent=2, ensure_ascii=False))
        return

    console = output()
    decision = f"step {step}: {row['action']}: {row['gate']}"
    show_text(console, decision)
    for outcome in outcomes:
        edit = outcome["edit"]
        fate = "applied" if outcome["applied"] else f"refused: {outcome['reason']}"
        body = edit["content"] or f"delete {edit['target']!r}"
        text = f"{edit['kind']} ({fate})\n  {body}\n  why: {edit['reason']}"
        show_text(console, text)
    for note in _notes_of(state, step):
        show_text(console, f"note: {note.text}")


def _notes_of(state: State, step: int) -> list[Noted]:
    return [note for note in state.notes_of_run if note.step == step]


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
