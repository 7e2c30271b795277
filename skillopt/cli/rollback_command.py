"""``skillopt rollback``."""

from __future__ import annotations

import sys

import click

from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import DESTINATION, place_options


@click.command("rollback")
@place_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@guarded
def command(to: str | None, scope: str, form: str, yes: bool) -> None:
    """Undo the last deployment to a place: restore what was there before, byte for byte."""
    from skillopt.core.text import printable
    from skillopt.deploy.actions import list_standing, undo
    from skillopt.deploy.ledger import Ledger
    from skillopt.deploy.places import DeployError, place_of

    if to is None:
        raise click.UsageError(f"name the place: --to {DESTINATION}")
    place = place_of(to, scope, form)  # type: ignore[arg-type]  # click has checked them
    with Ledger() as ledger:
        here = [
            standing.entry
            for standing in list_standing(ledger)
            if standing.entry.target == str(place.target(standing.entry.name))
        ]
        if not here:
            raise DeployError(f"{place.path}: nothing is deployed there; see 'deploy --list'")
        last = max(here, key=lambda entry: entry.at)
        if not yes and not click.confirm(f"undo the deployment of {last.name}?", err=True):
            sys.exit(EXIT_FAILED)
        undo(last, ledger)
    click.echo(printable(f"rolled back {last.name} at {last.target}"))
