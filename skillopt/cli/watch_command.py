"""``skillopt watch``."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillopt.cli import guarded
from skillopt.cli.common import parse_settings, set_option, warn_of_network

if TYPE_CHECKING:
    from skillopt.deploy.actions import Standing
    from skillopt.evaluation.watch import Cancelled, Scored, Unscorable


@click.command("watch")
@click.argument("skill", required=False, type=click.Path(path_type=Path))
@click.option("--config", help="Names tasks, harness and model, as for train.")
@click.option("--tasks", "count", type=click.IntRange(1), default=6, show_default=True)
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="val", show_default=True
)
@click.option("--deployed", is_flag=True, help="Watch the deployed skills, and report changes.")
@set_option
@guarded
def command(
    skill: Path | None,
    config: str | None,
    count: int,
    split: str,
    deployed: bool,
    settings: tuple[str, ...],
) -> None:
    """Score SKILL on a few tasks now and after each save, until interrupted.

    The tasks are the same each time. A save during an evaluation cancels it.
    """
    from skillopt.cli.progress import say
    from skillopt.config.inputs import read_config
    from skillopt.deploy.drift import watch_deployed
    from skillopt.evaluation.watch import watch

    stop = threading.Event()
    try:
        if deployed:
            say("watching the deployed skills; press Ctrl-C to stop")
            watch_deployed(_tell_drift, stop)
            return
        if skill is None or config is None:
            raise click.UsageError("name a SKILL and a --config, or give --deployed")
        checked = read_config(config, parse_settings(settings))
        warn_of_network(checked)
        say(f"watching {skill}; press Ctrl-C to stop")
        watch(
            skill,
            checked,
            _tell,
            stop,
            split=split,  # type: ignore[arg-type]  # click has checked it
            count=count,
        )
    finally:
        stop.set()


def _tell(what: Scored | Unscorable | Cancelled) -> None:
    from skillopt.core.text import printable
    from skillopt.evaluation.stats import percent, points
    from skillopt.evaluation.watch import Cancelled, Unscorable

    if isinstance(what, Unscorable):
        text = what.message
    elif isinstance(what, Cancelled):
        text = f"{what.skill.digest[:12]}: cancelled for a newer version"
    else:
        row = what.row
        parts = [f"{what.skill.digest[:12]}: {percent(row.score)} of {len(row.means)} tasks"]
        if row.gain is not None:
            parts.append(f"{points(row.gain)} points against the previous version")
        for word, names in (("fixed", row.fixed), ("broken", row.broken)):
            parts += [f"{word}: {', '.join(names)}"] if names else []
        text = "; ".join(parts)
    click.echo(printable(text))


def _tell_drift(standing: Standing) -> None:
    from skillopt.core.text import printable

    words = {
        "unchanged": "is as deployed again",
        "changed": "has been changed since",
        "missing": "is gone",
        "unreadable": "cannot be read; check its permissions",
    }
    click.echo(printable(f"{standing.entry.target}: {words[standing.state]}"))
