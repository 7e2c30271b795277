"""``skillopt store``: list, count, show, unpack, check and remove stored rollouts."""

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
    """List, count, show, unpack, check and remove the stored rollouts, which all runs share."""


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
    from skillopt.core.packed import is_packed, names
    from skillopt.rollouts.kept_work import why_not

    rollout = _rollout(runs, key)
    told = _row(rollout) | {
        "message": rollout.message,
        "answer": rollout.answer,
        "feedback": rollout.reward.feedback,
        "metrics": rollout.reward.metrics,
        "identity": rollout.identity,
        "earlier": [verdict.model_dump(mode="json") for verdict in rollout.earlier],
        "not_rejudged": why_not(rollout.folder),
        "files": names(rollout.folder),
    }
    if rollout.judgement is not None:
        told["judgement"] = rollout.judgement.model_dump(mode="json")
    if is_packed(rollout.folder):
        told["unpack"] = f"skillopt store unpack {rollout.key[:12]} FOLDER"
    if as_json:
        click.echo(to_json(told), nl=False)
        return
    for name, value in told.items():
        text = value if isinstance(value, str) else to_json(value).strip()
        show_text(output(), f"{name}: {text}")


@command.command("unpack")
@click.argument("key")
@click.argument("folder", type=click.Path(path_type=Path))
@runs_option
@guarded
def unpack(key: str, folder: Path, runs: Path) -> None:
    """Copy the files of a rollout into a new FOLDER. KEY may be shortened.

    An agent and its tests have made them: they are to be read, not run.
    """
    import shutil

    from skillopt.core.packed import is_packed
    from skillopt.core.packed import unpack as unpack_into

    rollout = _rollout(runs, key)
    if folder.exists():
        raise click.UsageError(f"{folder}: is there already; name a new folder")
    if is_packed(rollout.folder):
        folder.mkdir(parents=True)
        unpack_into(rollout.folder, folder)
    else:
        shutil.copytree(rollout.folder, folder, symlinks=True)
    click.echo(f"wrote {folder}")


@command.command("summary")
@runs_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def summary(runs: Path, as_json: bool) -> None:
    """Count the rollouts and their bytes, by task, skill, status and age."""
    from dataclasses import asdict

    from skillopt.cli.tables import print_contents
    from skillopt.core.files import to_json
    from skillopt.rollouts.catalogue import open_store
    from skillopt.rollouts.contents import contents

    found = contents(open_store(runs))
    if as_json:
        click.echo(to_json(asdict(found)), nl=False)
    else:
        print_contents(output(), found)


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


@command.command("prune")
@runs_option
@rollout_filters
@click.option("--unused", is_flag=True, help="All rollouts that no run refers to.")
@click.option(
    "--failed", is_flag=True, help="Attempts that failed for infrastructure, not scored ones."
)
@click.option("--used", is_flag=True, help="Also what runs refer to, none of which may run.")
@click.option("--yes", is_flag=True, help="Remove them. Without it they are only counted.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def prune(
    runs: Path, unused: bool, failed: bool, used: bool, yes: bool, as_json: bool, **filters: Any
) -> None:
    """Remove what no run refers to, by rule: `--before 30d`, `--failed`, `--unused`.

    Counts what would go, and removes it with --yes. What is needed again is run again.
    """
    from skillopt.cli.tables import size_text
    from skillopt.core.files import to_json
    from skillopt.rollouts.catalogue import forget as remove
    from skillopt.rollouts.catalogue import open_store
    from skillopt.rollouts.contents import prunable, size_of

    wanted, store = chosen_rollouts((), **filters), open_store(runs)
    if wanted.names_nothing and not (unused or failed):
        raise click.UsageError("give a rule: --before 30d, --failed, --unused, --task, …")
    if unused and used:
        raise click.UsageError("--unused and --used: give one of them")
    folders = list(prunable(store, wanted, failed=failed, used=used))
    size = sum(map(size_of, folders))
    if yes:
        remove(store, folders)
    if as_json:
        keys = [folder.name for folder in folders]
        click.echo(to_json({"keys": keys, "bytes": size, "removed": yes}), nl=False)
        return
    what = f"{len(folders)} {'failed attempt(s)' if failed else 'rollout(s)'}, {size_text(size)}"
    hint = "; --yes removes them" if folders else ""
    click.echo(f"removed {what}" if yes else f"would remove {what}{hint}")


def _rollout(runs: Path, key: str) -> Rollout:
    """The one rollout whose key begins so."""
    from skillopt.rollouts.catalogue import Filter, open_store, stored

    store = open_store(runs)
    found = stored(store, Filter(keys=(key,)))
    if len(found) != 1:
        many = f"{len(found)} rollouts begin with it; give more of the key"
        raise click.UsageError(f"{key}: {many if found else f'no such rollout in {store.root}'}")
    return found[0]


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
