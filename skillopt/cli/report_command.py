"""``skillopt report``."""

from __future__ import annotations

from pathlib import Path

import click

from skillopt.cli import guarded
from skillopt.cli.common import FileToWrite, read_views, runs_argument


@click.command("report")
@runs_argument
@click.option(
    "-o",
    "--out",
    type=FileToWrite(),
    help="The file to write. [default: report.html in the first run's folder]",
)
@click.option(
    "--trajectories",
    type=click.IntRange(0),
    default=40,
    show_default=True,
    help="The most trajectories in the file.",
)
@guarded
def command(runs: tuple[Path, ...], out: Path | None, trajectories: int) -> None:
    """Write one HTML file about all RUNs: scores, decisions, edits and trajectories.

    The file needs no other file and no server. With several runs it shows them side by side.
    """
    from skillopt.core.files import write_atomic
    from skillopt.report.document import report

    views = read_views(runs)
    target = out or runs[0] / "report.html"
    page = report(views, trajectories)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, page)
    click.echo(f"wrote {target} ({len(page.encode()) / 1e6:.1f} MB)")
