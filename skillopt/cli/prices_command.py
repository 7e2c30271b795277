"""``skillopt prices``: show the price table, or renew it."""

from __future__ import annotations

from pathlib import Path

import click

from skillopt.cli import guarded
from skillopt.cli.common import FileToWrite


@click.command("prices")
@click.option(
    "--from",
    "source",
    metavar="litellm|FILE",
    help="Renew the table from the installed LiteLLM, or a file with its list of prices.",
)
@click.option(
    "--add",
    multiple=True,
    metavar="MODEL[=ENTRY]",
    help="Add a model from there, that of an entry of another name.",
)
@click.option(
    "--table",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Table to show or renew; by default the one that is used without the key 'prices'.",
)
@click.option(
    "--to",
    type=FileToWrite(),
    help="File to write; by default the user's own table, used from then on.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(
    source: str | None,
    add: tuple[str, ...],
    table: Path | None,
    to: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Show the price table, or renew it."""
    from skillopt.config.prices import default_table, load_prices
    from skillopt.core.files import to_json

    file = table or default_table()
    known = load_prices(file)
    if source is None:
        if add or to or dry_run:
            raise click.UsageError("--add, --to and --dry-run need --from litellm or --from FILE")
        if as_json:
            click.echo(to_json({"file": str(file), **known.model_dump(mode="json")}), nl=False)
        else:
            click.echo(f"{file}: {len(known.models)} models, of {known.date}")
        return
    _renew(source, add, file, to, dry_run, as_json)


def _renew(
    source: str, add: tuple[str, ...], file: Path, to: Path | None, dry_run: bool, as_json: bool
) -> None:
    from skillopt.config.prices import load_prices, own_table
    from skillopt.config.renewed_prices import read_list, renewed, written
    from skillopt.core.files import to_json, write_atomic

    new = renewed(load_prices(file), read_list(source), add)
    target = to or own_table()
    if not dry_run:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, written(new))
    if as_json:
        told = {
            "from": new.source, "table": str(file), "written": None if dry_run else str(target),
            "changed": dict(new.changed), "kept": list(new.kept), "notes": list(new.notes),
        }  # fmt: skip
        click.echo(to_json(told), nl=False)
        return
    for name, what in new.changed.items():
        click.echo(f"{name}: {what}")
    for note in new.notes:
        click.echo(f"note: {note}")
    same = len(new.table.models) - len(new.changed) - len(new.kept)
    click.echo(
        f"{len(new.changed)} changed, {same} the same, {len(new.kept)} not in {new.source}"
        + (f": {', '.join(new.kept)}" if new.kept else "")
    )
    click.echo("nothing was written" if dry_run else f"written: {target}")
