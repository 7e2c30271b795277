"""``skillopt eval``."""

from __future__ import annotations

import click

from harnesses.agents.registry import NAMES
from skillopt.cli import guarded
from skillopt.cli.common import output, parse_settings, set_option, warn_of_network


@click.command("eval")
@click.argument("skills", nargs=-1, required=True, metavar="SKILL...")
@click.option("--config", required=True, help="Names tasks, model and sandbox, as for train.")
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), default="test", show_default=True
)
@click.option(
    "--harness",
    "harnesses",
    multiple=True,
    type=click.Choice(NAMES),
    help="May be given several times. [default: the config's]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="[UPSTREAM:]NAME",
    help="A model instead of the config's target; may be given several times.",
)
@click.option("--tasks", "by_task", is_flag=True, help="Also show each task on its own.")
@click.option("--replicates", type=click.IntRange(1), default=1, show_default=True)
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@guarded
def command(
    skills: tuple[str, ...],
    config: str,
    split: str,
    harnesses: tuple[str, ...],
    models: tuple[str, ...],
    by_task: bool,
    replicates: int,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Score each SKILL: a skill folder, a Markdown file, a run (its best skill), or 'none'.

    The others are compared with the first.
    """
    from skillopt.cli.progress import Display
    from skillopt.cli.tables import print_details, print_scores, print_tasks
    from skillopt.config.inputs import label, read_config, read_skill_or_run
    from skillopt.core.files import to_json
    from skillopt.evaluation.evaluate import evaluate

    checked = read_config(config, parse_settings(settings))
    warn_of_network(checked)
    named = {label(text, skills): read_skill_or_run(text) for text in skills}
    with Display() as display:
        rows = evaluate(
            checked,
            named,
            split=split,  # type: ignore[arg-type]  # click has checked it
            harnesses=harnesses,
            models=models,
            replicates=replicates,
            listeners=[display],
        )
    if as_json:
        click.echo(to_json([row.to_json() for row in rows]), nl=False)
    else:
        count = len(rows[0].means)
        title = f"{checked.name}: {split} split, {count} tasks, {replicates} run(s) each"
        print_scores(output(), rows, title)
        print_details(output(), rows)
        if by_task:
            print_tasks(output(), rows)
