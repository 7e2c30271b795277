"""What ``skillopt compare`` prints and writes: scores, costs, methods and their differences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillopt.cli.common import show_text
from skillopt.cli.tables import add_row, new_table, print_table
from skillopt.config.prices import cost_text
from skillopt.evaluation.method_table import Comparison, MethodRow
from skillopt.evaluation.run_table import RunRow
from skillopt.evaluation.stats import percent, points

if TYPE_CHECKING:
    from rich.console import Console


def check_files(*files: Path | None) -> None:
    """Check that the files that were asked for can be written, before anything is trained.

    Raises:
        click.UsageError: two of them are the same one.
        OSError: the folder of one cannot be written.
    """
    from skillopt.core.files import check_writable

    wanted = [file.resolve() for file in files if file]
    for file in wanted:
        if wanted.count(file) > 1:
            raise click.UsageError(f"{file}: is to be written twice; give each its own file")
        check_writable(file.parent)


def write_files(found: Comparison, csv: Path | None, plot: Path | None, page: Path | None) -> None:
    """Write the files that were asked for."""
    from skillopt.core.files import write_atomic
    from skillopt.evaluation.run_table import to_csv
    from skillopt.report.comparison import comparison_page, curves_svg

    for file, make in (
        (csv, lambda of: to_csv(of.rows)),
        (plot, curves_svg),
        (page, comparison_page),
    ):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file.resolve(), make(found))  # A link stays one.
            click.echo(f"wrote {file}", err=True)


def print_comparison(console: Console, found: Comparison, all_pairs: bool) -> None:
    """Print tables, and in words what the tests say.

    Args:
        console: where to.
        found: what to print.
        all_pairs: whether to print the differences of all methods, and not to the first one alone.
    """
    if found.rows:
        _print_scores(console, found.rows)
        _print_costs(console, found.rows)
    several = any(len(row.runs) > 1 for row in found.methods)
    if several:
        _print_methods(console, found.methods)
    for row in found.rows:
        if not several:
            show_text(console, f"{row.run} against its start: {row.over_start.words}")
        for finding in row.findings:
            show_text(console, f"{row.run}: {finding}")
    for pair in found.pairs:
        if all_pairs or pair.other == found.methods[0].method:
            show_text(console, pair.words)
    for text in found.remarks:
        show_text(console, text)


def _print_scores(console: Console, rows: Sequence[RunRow]) -> None:
    texts = ["run", "method"]
    table = new_table(
        "finished runs: scores",
        [*texts, "seed", "test", "over the start", "over no skill", "over the first", "skill"],
        texts,
    )
    for row in rows:
        claims = (row.over_start, row.over_none, row.over_first)
        gains = (points(found.gain) if found else "" for found in claims)
        cells = (row.run, row.method, str(row.seed), percent(row.score), *gains)
        add_row(table, *cells, f"{row.skill_tokens:,}")
    print_table(console, table)
    console.print("Points are differences paired by task, with 95 % intervals; skill is in tokens.")


def _print_costs(console: Console, rows: Sequence[RunRow]) -> None:
    judged = any(row.judge.calls for row in rows)
    models = ["optimizer", "agents", *["judge"] * judged]
    numbers = ["asked", "budget", "overshoot", "their tokens", "ran", *models, "cost", "minutes"]
    table = new_table("what they cost", ["run", *numbers], ["run"])
    for row in rows:
        parts = [row.optimizer, row.target, *([row.judge] if judged else [])]
        add_row(
            table,
            row.run,
            "unknown" if row.asked is None else f"{row.asked:,}",
            "" if row.budget is None else f"{row.budget:,}",
            "unknown" if row.overshoot is None else f"{row.overshoot:,}",
            "unknown" if row.asked_tokens is None else _thousands(row.asked_tokens),
            f"{row.rollouts:,}",
            *(f"{part.calls:,}, {_thousands(part.tokens)}" for part in parts),
            cost_text(row.usage),
            f"{row.seconds / 60:.1f}",
        )
    print_table(console, table)
    console.print("Asked: distinct rollouts that the method asked for, with the agents' tokens,")
    console.print("whoever ran them; ran: those that were not in the store, final scores included.")
    console.print("Optimizer and agents: calls and tokens that this run has paid for.")


def _print_methods(console: Console, rows: Sequence[MethodRow]) -> None:
    texts = ["method", "seeds"]
    table = new_table(
        "methods", [*texts, "test", "over the start", "over no skill", "each run"], texts
    )
    for row in rows:
        add_row(
            table,
            row.method,
            ", ".join(map(str, row.seeds)),
            percent(row.score),
            points(row.over_start),
            points(row.over_none) if row.over_none else "",
            " ".join(f"{100 * score:.0f}" for score in row.scores),
        )
    print_table(console, table)
    console.print("Intervals of methods are over runs: what other seeds would give on these tasks.")


def _thousands(tokens: int) -> str:
    return f"{tokens / 1000:,.0f}k"
