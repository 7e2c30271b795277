"""``skillopt clean``."""

from __future__ import annotations

from functools import partial

import click

from skillopt.cli import guarded


@click.command("clean")
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
@click.option("--config", help="Also clean the nodes of its cluster.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(dry_run: bool, config: str | None, as_json: bool) -> None:
    """Remove containers, volumes and temporary folders that dead runs left behind.

    Runs, stored rollouts and whatever belongs to a running process are not touched.
    """
    from skillopt.cli.progress import say
    from skillopt.core.files import to_json

    removed, problem = cleaned(dry_run)
    if problem:
        say(f"checking temporary folders only: {problem}")
    if config is not None:
        removed += _nodes(config, dry_run)
    if as_json:
        click.echo(to_json(removed), nl=False)
        return
    for item in removed:
        click.echo(item)
    click.echo(f"{'would remove' if dry_run else 'removed'} {len(removed)} thing(s)")


def cleaned(dry_run: bool) -> tuple[list[str], str]:
    """What was removed on this machine, or would be; and why its engine was left out."""
    from contextlib import closing

    from sandboxes.base import EngineUnavailableError
    from sandboxes.local import clean_processes
    from sandboxes.registry import make_backend

    try:
        with closing(make_backend("docker")) as backend:
            removed = clean_processes(dry_run=dry_run)
            return removed + backend.clean(dry_run=dry_run), ""
    except EngineUnavailableError as error:
        return make_backend("local").clean(dry_run=dry_run), str(error)


def _nodes(config: str, dry_run: bool) -> list[str]:
    """What was removed on the nodes of a config's cluster."""
    from skillopt.cli.progress import say
    from skillopt.config.executors import RayConfig
    from skillopt.config.inputs import read_config
    from skillopt.rollouts.cluster.survey import survey

    executor = read_config(config).executor
    removed: list[str] = []
    if not isinstance(executor, RayConfig):
        say(f"{config}: executor.kind is {executor.kind}, which has no nodes")
        return removed
    for node, found in survey(executor, partial(cleaned, dry_run)):
        if isinstance(found, str):
            say(f"node {node}: {found}")
            continue
        items, problem = found
        if problem:
            say(f"node {node}: checking temporary folders only: {problem}")
        removed += [f"node {node}: {item}" for item in items]
    return removed
