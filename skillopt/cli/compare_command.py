"""``skillopt compare``: finished runs side by side, whatever their method."""

from __future__ import annotations

from pathlib import Path

import click

from skillopt.cli import guarded
from skillopt.cli.common import output, runs_argument


@click.command("compare")
@runs_argument
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare finished RUNs, whatever their method, on the same test tasks.

    Each is compared with the skill that it started from, with no skill, and with the first RUN.
    Nothing is run. RUN is a run's folder, or its name below ``runs``.
    """
    from skillopt.core.files import to_json
    from skillopt.evaluation.run_table import by_method, compare_runs

    rows = compare_runs(runs)
    if as_json:
        several = [vars(found) for found in by_method(rows)]
        told = {"runs": [row.to_json() for row in rows], "methods": several}
        click.echo(to_json(told), nl=False)
        return
    from skillopt.cli.tables import print_runs_compared

    print_runs_compared(output(), rows)
