"""``skillopt train``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from skillopt.cli import EXIT_LIMIT, guarded
from skillopt.cli.common import output, parse_settings, set_option, show_text, warn_of_network

if TYPE_CHECKING:
    from skillopt.config.schema import Config
    from skillopt.training.start import RunResult


@click.command("train")
@click.argument("config")
@set_option
@click.option(
    "--only",
    type=click.Choice(["all", "description"]),
    help="What to train: the description alone, or all of the skill. [default: the config's]",
)
@click.option("--dry-run", is_flag=True, help="Print upper bounds for the run; run nothing.")
@click.option("--fork", metavar="NEW", help="Start a new run NEW with what is in the store.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@guarded
def command(
    config: str,
    settings: tuple[str, ...],
    only: str | None,
    dry_run: bool,
    fork: str | None,
    as_json: bool,
) -> None:
    """Train a skill with CONFIG: a YAML file, or the name of one that comes with the project.

    Progress goes to standard error, the result to standard output. After an interruption, a
    failure or a limit, run the same command again to resume.
    """
    from skillopt.cli.progress import Display
    from skillopt.config.inputs import read_config
    from skillopt.core.files import to_json
    from skillopt.training.start import train

    chosen = {"train.only": only} if only else {}
    checked = read_config(config, {**parse_settings(settings), **chosen})
    warn_of_network(checked)
    if dry_run:
        _print_plan(checked, fork, as_json)
        return
    with Display() as display:
        result = train(checked, listeners=[display], fork=fork)
    if as_json:
        click.echo(to_json(result.summary), nl=False)
    else:
        _print(result)
    if not result.done:
        sys.exit(EXIT_LIMIT)


def _print(result: RunResult) -> None:
    from skillopt.cli.tables import print_diff, print_test_scores

    console, summary = output(), result.summary
    print_diff(console, result.initial.text, result.best.text, ("initial", "best"))
    if summary["test"]:
        print_test_scores(console, summary["test"])
    said = result.said
    if said:
        show_text(console, said)
    if not result.done:
        show_text(
            console,
            f"stopped: {summary['stopped']}; raise the limit and run the same command to resume",
        )
    if summary["initial_score"] is None:
        return
    show_text(
        console,
        f"selection score {summary['initial_score']:.3f} -> {summary['best_score']:.3f}; "
        f"skill in {result.folder / 'best_skill'}",
    )


def _print_plan(config: Config, fork: str | None, as_json: bool) -> None:
    from skillopt.cli.tables import print_plan
    from skillopt.core.files import to_json
    from skillopt.training.prepared import plan_training

    plan = plan_training(config, fork=fork)
    if as_json:
        click.echo(to_json(plan.to_json()), nl=False)
    else:
        print_plan(output(), plan)
