"""``skillopt runs``: list runs, and rebuild a run's files from its event log."""

from __future__ import annotations

from pathlib import Path

import click

from skillopt.cli import guarded
from skillopt.cli.common import output, run_argument


@click.group("runs")
def command() -> None:
    """List runs, or rebuild a run's files from its event log."""


@command.command("list")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
@click.option("--json", "as_json", is_flag=True, help="Print the summaries as JSON.")
@guarded
def list_(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER (by default ``runs``)."""
    from skillopt.cli.tables import print_runs
    from skillopt.core.files import to_json
    from skillopt.run.folder import list_runs

    found = list_runs(folder)
    if as_json:
        click.echo(to_json(found), nl=False)
    elif found:
        print_runs(output(), found)
    else:
        click.echo(f"no runs in {folder}")


@command.command("rebuild")
@run_argument
@guarded
def rebuild(run: Path) -> None:
    """Rebuild history, summary, skills and steps of RUN from its events.jsonl."""
    from skillopt.run.folder import rebuild as write_again

    state = write_again(run)
    scored = state.initial_score is not None
    score = f"best score {state.best_score:.3f}" if scored else "no score yet"
    click.echo(f"{run}: {state.steps} steps, {score}")
