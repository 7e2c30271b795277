"""``skillopt clean``."""

from __future__ import annotations

import click

from skillopt.cli import guarded


@click.command("clean")
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(dry_run: bool, as_json: bool) -> None:
    """Remove containers, volumes and temporary folders that dead runs left behind.

    Runs, stored rollouts and whatever belongs to a running process are not touched.
    """
    from contextlib import closing

    from sandboxes.base import EngineUnavailableError
    from sandboxes.registry import make_backend
    from skillopt.cli.progress import say
    from skillopt.core.files import to_json

    try:
        with closing(make_backend("docker")) as backend:
            removed = backend.clean(dry_run=dry_run)
    except EngineUnavailableError as error:
        say(f"checking temporary folders only: {error}")
        removed = make_backend("local").clean(dry_run=dry_run)
    if as_json:
        click.echo(to_json(removed), nl=False)
        return
    for item in removed:
        click.echo(item)
    click.echo(f"{'would remove' if dry_run else 'removed'} {len(removed)} thing(s)")
