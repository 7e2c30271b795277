"""``skillopt undeploy``."""

from __future__ import annotations

import sys

import click

from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import DESTINATION, place_options


@click.command("undeploy")
@click.argument("name")
@place_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@guarded
def command(name: str, to: str | None, scope: str, form: str, yes: bool) -> None:
    """Undo all deployments of the skill NAME to a place: restore what was there at first."""
    from skillopt.core.text import printable
    from skillopt.deploy.actions import undo
    from skillopt.deploy.ledger import Ledger
    from skillopt.deploy.places import DeployError, place_of

    if to is None:
        raise click.UsageError(f"name the place: --to {DESTINATION}")
    target = place_of(to, scope, form).target(name)  # type: ignore[arg-type]
    with Ledger() as ledger:
        standing = [entry for entry in ledger.standing(target) if entry.name == name]
        if not standing:
            raise DeployError(f"{target}: {name} is not deployed there; see 'deploy --list'")
        if not yes and not click.confirm(f"undo {len(standing)} deployment(s)?", err=True):
            sys.exit(EXIT_FAILED)
        for entry in reversed(standing):
            undo(entry, ledger)
    click.echo(printable(f"undeployed {name} from {target}"))
