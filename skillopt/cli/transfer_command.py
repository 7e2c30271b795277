"""``skillopt transfer``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from skillopt.cli import EXIT_PAUSED, guarded
from skillopt.cli.common import output, parse_settings, set_option, warn_of_network


@click.command("transfer")
@click.argument("skills", nargs=-1, metavar="SKILL...")
@click.option("--config", required=True, help="Names tasks, upstreams and sandbox, as for train.")
@click.option(
    "--to",
    "places",
    multiple=True,
    metavar="HARNESS[:MODEL]",
    help="An agent, also with a model other than the config's target: codex:gpt-5.5, or "
    "codex:UPSTREAM:MODEL. May be given several times.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(["train", "val", "test"]),
    help="May be given several times. [default: the config's, else test]",
)
@click.option(
    "--replicates", type=click.IntRange(1), help="Runs per task. [default: the config's, else 1]"
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("transfer"),
    show_default=True,
    help="Folder for transfer.csv, transfer.json and heatmap.svg.",
)
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print all cells as JSON.")
@guarded
def command(
    skills: tuple[str, ...],
    config: str,
    places: tuple[str, ...],
    splits: tuple[str, ...],
    replicates: int | None,
    out: Path,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Score each SKILL (a folder, a file, or a run's best) in other agents and models.

    What is not given here is taken from the config's transfer section. A run is also scored where
    it was trained, to show which share of its gain is kept elsewhere. A cell that cannot be run
    does not stop the others. After a failure or an interruption, run the same command again to
    resume: finished rollouts are in the store.
    """
    from skillopt.cli.progress import Display
    from skillopt.cli.tables import print_transfer
    from skillopt.config.inputs import read_config
    from skillopt.core.files import to_json, write_atomic
    from skillopt.evaluation.transfer import (
        cell_json,
        places_of,
        subjects_of,
        to_csv,
        to_svg,
        transfer,
    )

    checked = read_config(config, parse_settings(settings))
    warn_of_network(checked)
    matrix = checked.transfer
    subjects = subjects_of(checked, skills or matrix.skills)
    wanted = places_of(checked, places or matrix.to)
    cells = []
    out.mkdir(parents=True, exist_ok=True)
    with Display() as display:
        for cell in transfer(
            checked,
            subjects,
            wanted,
            splits or matrix.splits,  # type: ignore[arg-type]  # click has checked them
            replicates=replicates or matrix.replicates,
            listeners=[display],
        ):
            cells.append(cell)
            write_atomic(out / "transfer.csv", to_csv(cells))
            write_atomic(out / "transfer.json", to_json([cell_json(cell) for cell in cells]))
            write_atomic(out / "heatmap.svg", to_svg(cells))
    if as_json:
        click.echo(to_json([cell_json(cell) for cell in cells]), nl=False)
    else:
        print_transfer(output(), cells)
        click.echo(f"wrote {out}/transfer.csv, transfer.json and heatmap.svg")
    if any(cell.failed for cell in cells):
        click.echo("skillopt: some cells failed; run the same command to try again", err=True)
        sys.exit(EXIT_PAUSED)
