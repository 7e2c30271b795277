"""``skillopt data``: from the public download of a benchmark to its tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillopt.cli import guarded
from skillopt.cli.common import output, show_text

if TYPE_CHECKING:
    from skillopt.tasks.benchmarks.base import Benchmark

WHERE = Path("data")
"""The folder for prepared benchmarks."""
SHOWN = 10


@click.group("data")
def command() -> None:
    """Prepare the tasks of the benchmarks of the SkillOpt paper."""


@command.command("list")
@click.option(
    "--in", "where", type=click.Path(path_type=Path), default=WHERE, show_default=True,
    help="Folder with the prepared ones.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def list_(where: Path, as_json: bool) -> None:
    """List the benchmarks, their splits, and which are prepared."""
    from skillopt.config.kinds import BENCHMARKS
    from skillopt.core.files import to_json
    from skillopt.tasks.benchmarks.prepare import benchmark

    rows = [_row(benchmark(name), where) for name in BENCHMARKS]
    if as_json:
        click.echo(to_json(rows), nl=False)
        return
    width = max(len(row["title"]) for row in rows)
    for row in rows:
        size = "/".join(str(count) for count in row["splits"].values())
        show_text(output(), f"{row['name']:<18} {row['title']:<{width}} {size:<13} {row['state']}")
        show_text(output(), f"{'':<18} {row['url']}")
    click.echo("The numbers are train/val/test. 'skillopt data prepare NAME' says what to get.")


def _row(benchmark: Benchmark, where: Path) -> dict[str, Any]:
    from skillopt.tasks.harbor import TaskError

    folder = where / benchmark.name
    state = "not prepared"
    if folder.exists():
        try:
            about = benchmark.about(folder)
            missing = f", {len(about['missing'])} missing" if about["missing"] else ""
            state = f"in {folder}: {'/'.join(map(str, about['counts'].values()))}{missing}"
        except TaskError as error:
            state = str(error)
    return {
        "name": benchmark.name,
        "title": benchmark.title,
        "url": benchmark.home.url,
        "splits": {split: len(ids) for split, ids in benchmark.splits.items()},
        "state": state,
    }


@command.command("prepare")
@click.argument("name")
@click.option(
    "--from", "download", type=click.Path(path_type=Path),
    help="The download: a file or folder, as its home publishes it.",
)  # fmt: skip
@click.option(
    "--to", "target", type=click.Path(path_type=Path),
    help="The folder to write; by default data/NAME.",
)  # fmt: skip
@click.option(
    "--splits", type=click.Path(path_type=Path),
    help="Other ids than the paper's by split: a JSON file, or a folder with SPLIT/items.json.",
)  # fmt: skip
@click.option("--accept-terms", is_flag=True, help="Confirm what the home's terms ask for.")
@guarded
def prepare_(
    name: str, download: Path | None, target: Path | None, splits: Path | None, accept_terms: bool
) -> None:
    """Make the tasks of the benchmark NAME from its public download.

    Says first what to get, from where, how large it is, and under which terms. Nothing is
    downloaded. The tasks are in the paper's splits.
    """
    from skillopt.tasks.benchmarks.prepare import benchmark, prepare, read_splits

    chosen = benchmark(name)
    _describe(chosen)
    if download is None:
        raise click.UsageError(f"give the download: skillopt data prepare {name} --from PATH")
    if chosen.home.confirm and not accept_terms:
        show_text(output(), chosen.home.confirm)
        click.confirm("Do you confirm this?", abort=True)
    ids = None if splits is None else read_splits(chosen, splits)
    found = prepare(chosen, download, target or WHERE / name, ids)
    for note in found.notes:
        show_text(output(), f"note: {note}")
    if found.missing:
        more = f" and {len(found.missing) - SHOWN} more" if len(found.missing) > SHOWN else ""
        listed = ", ".join(found.missing[:SHOWN])
        show_text(
            output(),
            f"missing: {len(found.missing)} ids of the splits are not in the download: "
            f"{listed}{more} (all of them in {found.folder / 'benchmark.json'})",
        )
    counts = ", ".join(f"{count} {split}" for split, count in found.counts.items())
    show_text(output(), f"wrote {found.folder}: {counts} tasks")


def _describe(benchmark: Benchmark) -> None:
    home = benchmark.home
    for label, text in (
        ("home", home.url),
        ("get", home.get),
        ("size", home.size),
        ("terms", home.terms),
    ):
        show_text(output(), f"{label + ':':<7}{text}")
