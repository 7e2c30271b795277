"""``skillopt store``: list, show, check and remove stored rollouts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import chosen_rollouts, output, rollout_filters, runs_option, show_text

if TYPE_CHECKING:
    from skillopt.core.types import Rollout


@click.group("store")
def command() -> None:
    """List, show, check and remove the stored rollouts, which all runs share."""


@command.command("list")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@runs_option
@rollout_filters
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def list_(keys: tuple[str, ...], runs: Path, as_json: bool, **filters: Any) -> None:
    """List rollouts, oldest first. KEY is the beginning of a key."""
    from skillopt.cli.tables import print_stored
    from skillopt.core.files import to_json
    from skillopt.rollouts.catalogue import open_store, stored

    found = stored(open_store(runs), chosen_rollouts(keys, **filters))
    if as_json:
        click.echo(to_json([_row(rollout) for rollout in found]), nl=False)
    elif found:
        print_stored(output(), found)
    else:
        click.echo(f"no such rollouts in {runs / 'store'}")


@command.command("show")
@click.argument("key")
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def show(key: str, runs: Path, as_json: bool) -> None:
    """Show a rollout: what it is one of, its verdicts, its files. KEY may be shortened."""
    from skillopt.core.files import to_json
    from skillopt.rollouts.catalogue import Filter, open_store, stored
    from skillopt.rollouts.kept_work import why_not

    store = open_store(runs)
    found = stored(store, Filter(keys=(key,)))
    if len(found) != 1:
        many = f"{len(found)} rollouts begin with it; give more of the key"
        raise click.UsageError(f"{key}: {many if found else f'no such rollout in {store.root}'}")
    (rollout,) = found
    files = sorted(p.relative_to(rollout.folder).as_posix() for p in rollout.folder.iterdir())
    told = _row(rollout) | {
        "message": rollout.message,
        "answer": rollout.answer,
        "feedback": rollout.reward.feedback,
        "metrics": rollout.reward.metrics,
        "identity": rollout.identity,
        "earlier": [verdict.model_dump(mode="json") for verdict in rollout.earlier],
        "not_rejudged": why_not(rollout.folder),
        "files": files,
    }
    if as_json:
        click.echo(to_json(told), nl=False)
        return
    for name, value in told.items():
        text = value if isinstance(value, str) else to_json(value).strip()
        show_text(output(), f"{name}: {text}")


@command.command("verify")
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def verify(runs: Path, as_json: bool) -> None:
    """Find damaged rollouts: unreadable, moved, changed, or incomplete."""
    from skillopt.core.files import to_json
    from skillopt.rollouts.catalogue import open_store
    from skillopt.rollouts.catalogue import verify as flaws_of

    store = open_store(runs)
    flaws = list(flaws_of(store))
    if as_json:
        told = [{"key": flaw.folder.name, "message": flaw.message} for flaw in flaws]
        click.echo(to_json(told), nl=False)
    else:
        for flaw in flaws:
            show_text(output(), f"{flaw.folder.name}: {flaw.message}")
        count = sum(1 for _ in store.folders())
        advice = "; 'skillopt store forget KEY' removes one, and it is run again when needed"
        click.echo(f"{count} rollouts, {len(flaws)} problem(s){advice if flaws else ''}")
    if flaws:
        sys.exit(EXIT_FAILED)


@command.command("forget")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@runs_option
@rollout_filters
@click.option("--all", "everything", is_flag=True, help="All rollouts.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON; needs --yes.")
@guarded
def forget(
    keys: tuple[str, ...], runs: Path, everything: bool, yes: bool, as_json: bool, **filters: Any
) -> None:
    """Remove rollouts from the store, so that they are run again when they are needed.

    Also removes damaged ones that are named by KEY. Refused while a run that refers to one of them
    is running. The scores that runs have recorded stay as they are.
    """
    from skillopt.cli.progress import say
    from skillopt.core.files import to_json
    from skillopt.rollouts.catalogue import forget as remove
    from skillopt.rollouts.catalogue import named, open_store, runs_with, stored

    if as_json and not yes:
        raise click.UsageError("--json cannot ask; give --yes too")
    wanted, store = chosen_rollouts(keys, **filters), open_store(runs)
    if wanted.names_nothing != everything:
        raise click.UsageError("name rollouts by KEY or options, or give --all")
    by_key = keys and not any(filters.values())
    folders = named(store, keys) if by_key else [r.folder for r in stored(store, wanted)]
    users = runs_with(store, [folder.name for folder in folders])
    for name, count in users.items():
        say(f"run {name} refers to {count} of them; if it is resumed, it runs again what it needs")
    if folders and not yes:
        click.confirm(f"remove {len(folders)} rollout(s) from {store.root}?", abort=True, err=True)
    count = remove(store, folders)
    if as_json:
        click.echo(to_json({"removed": [folder.name for folder in folders]}), nl=False)
    else:
        click.echo(f"removed {count} rollout(s)")


def _row(rollout: Rollout) -> dict[str, Any]:
    from skillopt.rollouts.catalogue import finished

    identity = rollout.identity
    return {
        "key": rollout.key,
        "task": rollout.task.name,
        "skill": identity.get("skill"),
        "harness": identity.get("harness", {}).get("name", ""),
        "version": rollout.agent_version,
        "model": identity.get("model", {}).get("name", ""),
        "replicate": identity.get("replicate", 0),
        "status": rollout.status.value,
        "reward": rollout.reward.hard,
        "soft": rollout.reward.soft,
        "finished": finished(rollout),
        "folder": str(rollout.folder),
    }
