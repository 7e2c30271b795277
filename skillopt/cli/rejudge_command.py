"""``skillopt rejudge``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import (
    Run,
    chosen_rollouts,
    output,
    parse_settings,
    rollout_filters,
    set_option,
    show_text,
)

if TYPE_CHECKING:
    from skillopt.rollouts.catalogue import Filter
    from skillopt.rollouts.rejudge import Rejudged


@click.command("rejudge")
@click.argument("run", type=Run(), required=False, metavar="[RUN]")
@click.option("--config", help="The config with tasks and verifier. [default: the run's]")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Beginning of a key.")
@rollout_filters
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(
    run: Path | None,
    config: str | None,
    keys: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
    **filters: Any,
) -> None:
    """Judge the kept work of stored rollouts again, without running an agent.

    Of those that RUN refers to, or of all tasks of --config. After a correction of the tests or of
    the verifier, the rollouts are found by new runs, and by a run that is started with --fork; a
    run's own log keeps the scores that it has recorded.
    """
    from skillopt.core.files import to_json

    if run is None and config is None:
        raise click.UsageError("name a RUN, or give --config")
    found = _rejudged(run, config, parse_settings(settings), chosen_rollouts(keys, **filters))
    if as_json:
        click.echo(to_json([_told(one) for one in found]), nl=False)
    else:
        for one in found:
            show_text(output(), _line(one))
        judged = [one for one in found if one.after is not None]
        changed = sum(one.changed for one in judged)
        click.echo(
            f"{len(judged)} of {len(found)} rollouts judged or taken over, {changed} with another "
            "verdict than before"
        )
    if any(one.after is None for one in found):
        sys.exit(EXIT_FAILED)


def _rejudged(
    run: Path | None, config: str | None, settings: dict[str, Any], wanted: Filter
) -> list[Rejudged]:
    from dataclasses import replace

    from skillopt.config.inputs import read_config
    from skillopt.rollouts.catalogue import keys_of_run, open_store, stored
    from skillopt.rollouts.plugins import Plugins
    from skillopt.rollouts.prepare import prepare
    from skillopt.rollouts.rejudge import rejudge

    checked = read_config(config or str((run or Path()) / "config.yaml"), settings)
    prepared = prepare(checked, plugins=Plugins())
    tasks = {task.name: task for split in prepared.splits.values() for task in split}
    if run is not None:
        wanted = replace(wanted, among=keys_of_run(run))
    else:
        wanted = replace(wanted, tasks=wanted.tasks or tuple(tasks))
    rollouts = stored(open_store(run.parent if run else checked.runs), wanted)
    with prepared.runner(lambda event: None) as runner:
        return list(rejudge(runner, rollouts, tasks))


def _told(one: Rejudged) -> dict[str, Any]:
    return {
        "task": one.before.task.name,
        "key": one.before.key,
        "new_key": one.after.key if one.after else None,
        "status": one.before.status.value,
        "before": one.before.reward.soft,
        "after": one.after.reward.soft if one.after else None,
        "problem": one.problem,
    }


def _line(one: Rejudged) -> str:
    head = f"{one.before.task.name} {one.before.key[:12]}"
    if one.after is None:
        return f"{head}: not judged: {one.problem}"
    moved = "" if one.after.key == one.before.key else f", now {one.after.key[:12]}"
    how = "" if one.before.status.value == "completed" else f" ({one.before.status.value})"
    return f"{head}: {one.before.reward.soft:g} -> {one.after.reward.soft:g}{how}{moved}"
