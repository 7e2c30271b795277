"""``skillopt compare``: runs side by side, whatever their method; configs are trained first."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillopt.cli import EXIT_LIMIT, guarded
from skillopt.cli.common import (
    FileToWrite,
    output,
    parse_settings,
    set_option,
    show_text,
    warn_of_network,
)

if TYPE_CHECKING:
    from skillopt.config.schema import Config
    from skillopt.training.several import Trained, Wanted

_FILE = FileToWrite()


class Seeds(click.ParamType[tuple[int, ...]]):
    """Different numbers with commas between them."""

    name = "seeds"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return tuple(dict.fromkeys(int(part) for part in str(value).split(",")))
        except ValueError:
            self.fail(f"{value}: must be numbers with commas between them: 1,2,3", param, ctx)


@click.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="RUN|CONFIG...")
@click.option(
    "--seeds",
    type=Seeds(),
    default=(),
    metavar="N,N...",
    help="Train each CONFIG once with each of these seeds, as the run NAME-seed-N.",
)
@set_option
@click.option("--dry-run", is_flag=True, help="Print upper bounds for the runs; run nothing.")
@click.option(
    "--all-pairs",
    is_flag=True,
    help="Print the differences of all pairs of methods, not only those to the first one.",
)
@click.option("--csv", "csv_file", type=_FILE, help="Write a line for each run.")
@click.option("--plot", "plot_file", type=_FILE, help="Write the scores by rollouts, as SVG.")
@click.option("--page", "page_file", type=_FILE, help="Write all of it as one HTML file.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def command(
    names: tuple[str, ...],
    seeds: tuple[int, ...],
    settings: tuple[str, ...],
    dry_run: bool,
    all_pairs: bool,
    csv_file: Path | None,
    plot_file: Path | None,
    page_file: Path | None,
    as_json: bool,
) -> None:
    """Compare runs, whatever their method, on the same test tasks.

    A RUN is a run's folder, or its name below ``runs``; it must be finished. A CONFIG is trained
    first, or resumed, if its run is not finished. Each run is compared with the skill that it
    started from, with no skill, and with the first run; each method with the first method.

    A run that stops does not stop the others. After an interruption, a failure or a limit, run the
    same command again: what is finished is not run again.
    """
    from skillopt.cli.compare_report import check_files, print_comparison, write_files
    from skillopt.core.files import to_json
    from skillopt.evaluation.method_table import Comparison
    from skillopt.evaluation.run_table import read_finished
    from skillopt.training.several import plan_runs, with_seeds

    check_files(csv_file, plot_file, page_file)
    given = _given(names, parse_settings(settings))
    configs = [found for found in given if not isinstance(found, Path)]
    if (seeds or settings) and not configs:
        raise click.UsageError("--seeds and --set are for a CONFIG, and none is given")
    for config in configs:
        warn_of_network(config)
    runs = read_finished([found for found in given if isinstance(found, Path)])
    wanted = plan_runs(with_seeds(configs, seeds), [(run.name, run.created) for run in runs])
    if dry_run:
        _print_plans(wanted, as_json)
        return
    trained = _train(wanted)
    roots = _in_order(given, trained, len(seeds) or 1)
    compared = read_finished([root for root in roots if root is not None])
    failed = {one.root.name: one.stopped for one in trained if one.stopped}
    found = Comparison.of(compared, failed)
    write_files(found, csv_file, plot_file, page_file)
    if as_json:
        click.echo(to_json(found.to_json()), nl=False)
    else:
        print_comparison(output(), found, all_pairs)
    if failed:
        sys.exit(next((one.error.exit_code for one in trained if one.error), EXIT_LIMIT))


def _given(names: Sequence[str], settings: Mapping[str, Any]) -> list[Path | Config]:
    """Each argument as a run's folder or a config: a file is a config, and of what is no file a run
    comes before a config that comes with the project."""
    from skillopt.config.inputs import read_config
    from skillopt.config.loading import ConfigError
    from skillopt.run.folder import RunError, find_run

    found: list[Path | Config] = []
    for name in names:
        if Path(name).is_file():
            found.append(read_config(name, settings))
            continue
        try:
            found.append(find_run(name))
        except RunError as no_run:
            try:
                found.append(read_config(name, settings))
            except ConfigError as no_config:
                raise no_config if _names_config(name) else no_run from None
    return found


def _names_config(name: str) -> bool:
    """Whether a name that is no file's is meant as a config's."""
    from skillopt.core.resources import resource

    file = resource("configs") / name.removeprefix("configs/")
    return Path(name).suffix in (".yaml", ".yml") or file.with_suffix(".yaml").is_file()


def _train(wanted: Sequence[Wanted]) -> list[Trained]:
    """Train what is not finished. What is said of a run that stops is said at once, too."""
    from rich.console import Console

    from skillopt.cli.progress import Display
    from skillopt.core.import_path import OwnCodeError
    from skillopt.training.several import train_runs

    if all(one.run.state.done for one in wanted):
        return list(train_runs(wanted))
    found, said = [], Console(stderr=True, highlight=False)
    with Display() as display:
        for number, one in enumerate(train_runs(wanted, [display]), start=1):
            found.append(one)
            if isinstance(one.error, OwnCodeError):
                show_text(said, one.error.traceback)
            if one.stopped:
                show_text(said, f"run {number} of {len(wanted)}, {one.root.name}: {one.stopped}")
    return found


def _in_order(
    given: Sequence[Path | Config], trained: Sequence[Trained], each: int
) -> list[Path | None]:
    """The folders of the runs in the order of the arguments; None for those that are not done."""
    left = list(trained)
    found: list[Path | None] = []
    for one in given:
        if isinstance(one, Path):
            found.append(one)
            continue
        found += [None if run.stopped else run.root for run in left[:each]]
        del left[:each]
    return found


def _print_plans(wanted: Sequence[Wanted], as_json: bool) -> None:
    from skillopt.cli.tables import print_plan
    from skillopt.core.files import to_json

    plans = [one.run.plan for one in wanted]
    rollouts = sum(plan.rollouts for plan in plans)
    if as_json:
        told = [plan.to_json() | {"state": one.run.state.doing}
                for plan, one in zip(plans, wanted, strict=True)]  # fmt: skip
        click.echo(to_json({"rollouts": rollouts, "runs": told}), nl=False)
        return
    console = output()
    for plan, one in zip(plans, wanted, strict=True):
        print_plan(console, plan)
        show_text(console, f"{plan.name}: {one.run.state.doing}\n")
    console.print(f"{len(plans)} runs, {rollouts:,} rollouts at most")
