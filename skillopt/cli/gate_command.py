"""``skillopt gate``: what a selection split can show, and whole runs of gates without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from skillopt.cli import guarded
from skillopt.cli.common import output, parse_settings, set_option, show_text, warn_of_network

if TYPE_CHECKING:
    from skillopt.config.schema import Metric
    from skillopt.gates.simulation import Cell
    from skillopt.training.gate_check import GateCheck

POOL_NAMES = ("A", "B", "C", "harmful", "rare", "families")
RULES = ("strict", "fresh")


@click.group("gate")
def command() -> None:
    """Measure what a selection split can show, and simulate gates."""


@command.command("check")
@click.argument("config")
@set_option
@click.option(
    "--runs", type=click.IntRange(2), default=2, show_default=True, help="Runs of each task."
)
@click.option("--dry-run", is_flag=True, help="Print what it would take; run nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def check(config: str, settings: tuple[str, ...], runs: int, dry_run: bool, as_json: bool) -> None:
    """Run the initial skill of CONFIG on its selection split several times.

    Prints how many tasks change between two runs of the same skill, which ones, the smallest gain
    that the split can show, and what to add to show less. A run of the same config finds these
    rollouts in the store.
    """
    from skillopt.cli.progress import Display
    from skillopt.config.inputs import read_config
    from skillopt.config.prices import cost_text
    from skillopt.core.files import to_json
    from skillopt.training.gate_check import check_cost, check_gate

    checked = read_config(config, parse_settings(settings))
    if dry_run:
        cost = check_cost(checked, runs)
        tokens = cost.usage.prompt_tokens + cost.usage.completion_tokens
        if as_json:
            found = {"rollouts": cost.rollouts, "tokens": tokens, "usd": cost.usage.cost_usd}
            click.echo(to_json(found), nl=False)
        else:
            click.echo(
                f"at most {cost.rollouts} rollouts, about {tokens / 1000:,.0f}k tokens, "
                f"{cost_text(cost.usage)}; stored rollouts are free"
            )
        return
    warn_of_network(checked)
    with Display() as display:
        result = check_gate(checked, runs, listeners=[display])
    if as_json:
        click.echo(to_json(result.to_json()), nl=False)
        return
    for line in _lines(result):
        show_text(output(), line)


def _lines(found: GateCheck) -> list[str]:
    """The result of a check in words."""
    from skillopt.training.gate_check import MORE_RUNS, MORE_TASKS

    scores = ", ".join(f"{score:.3f}" for score in found.scores)
    named = f": {', '.join(found.stochastic)}" if found.stochastic else ""
    more = [f"{n * found.tasks} tasks: {_points(found.gain(tasks=n))}" for n in MORE_TASKS]
    if found.flips:
        more += [f"{n} runs of each task: {_points(found.gain(runs=n))}" for n in MORE_RUNS]
    return [
        f"{found.tasks} selection tasks, {len(found.scores)} runs of the initial skill: {scores}",
        f"noise: {100 * found.flips:.1f} % of the tasks change between two runs{named}",
        f"smallest gain that they can show (exact paired test at 5 %, 80 % power): "
        f"{_points(found.gain())}",
        f"with {'; with '.join(more)}",
    ]


def _points(gain: float | None) -> str:
    return "none" if gain is None else f"{100 * gain:.1f} points"


@command.command("simulate")
@click.option(
    "--tasks", "sizes", type=click.IntRange(1), multiple=True, default=(17, 40, 100),
    show_default=True, help="Selection tasks; may be given several times.",
)  # fmt: skip
@click.option(
    "--pool", "pools", multiple=True, default=POOL_NAMES, show_default=True,
    help="What is proposed (docs/gates.md); may be given several times.",
)  # fmt: skip
@click.option(
    "--rule", "rules", multiple=True, default=RULES, show_default=True,
    help="strict, fresh, cap-evolve, evoskill, gepa, or the import path of a gate; may be given "
    "several times.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(1), default=24, show_default=True)
@click.option(
    "--batch", type=click.IntRange(0), default=40, show_default=True,
    help="Training rollouts of a step.",
)  # fmt: skip
@click.option(
    "--checks", type=click.IntRange(1), default=1, show_default=True,
    help="Checks of a task. With several, the soft reward counts.",
)  # fmt: skip
@click.option(
    "--bundle", type=click.IntRange(1), default=1, show_default=True, help="Edits of a proposal."
)
@click.option(
    "--candidates", type=click.IntRange(1, 16), default=1, show_default=True,
    help="Proposals of a step, of which a race chooses one for the gate.",
)  # fmt: skip
@click.option(
    "--credit", type=click.FloatRange(0), default=0.0, show_default=True,
    help="Rollouts that tell the edits of a proposal apart, as a share of the gate's.",
)  # fmt: skip
@click.option(
    "--prune", type=click.FloatRange(0), default=0.0, show_default=True,
    help="Rollouts that try the skill without single edits, as a share of the gate's.",
)  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=150, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--equal", is_flag=True,
    help="Also give the strict gate more steps, until it has used as many rollouts in all.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def simulate(
    sizes: tuple[int, ...],
    pools: tuple[str, ...],
    rules: tuple[str, ...],
    steps: int,
    batch: int,
    checks: int,
    bundle: int,
    candidates: int,
    credit: float,
    prune: float,
    runs: int,
    seed: int,
    equal: bool,
    as_json: bool,
) -> None:
    """Simulate whole runs with gates, without a model.

    Prints the true gain of the delivered skill on unseen tasks in points, with its standard error,
    the rollouts of the gate and of the whole run, and how many edits of each kind the skill has.
    """
    from skillopt.cli.tables import print_simulation
    from skillopt.core.files import to_json
    from skillopt.gates.rivals import search_of
    from skillopt.gates.simulation import POOLS, Setting, cells

    for pool in pools:
        if pool not in POOLS:
            raise click.UsageError(f"--pool {pool}: not one of {', '.join(POOLS)}")
    metric: Metric = "hard" if checks == 1 else "soft"
    searches = {rule: search_of(rule, metric, credit, prune) for rule in rules}
    found: list[Cell] = []
    for size in sizes:
        for pool in pools:
            setting = Setting(size, pool, steps, batch, bundle, candidates, checks)
            seeds = range(seed, seed + runs)
            found += cells(searches, setting, seeds, search_of("strict", metric) if equal else None)
            click.echo(f"{size} tasks, pool {pool}: done", err=True)
    if as_json:
        click.echo(to_json([vars(one) for one in found]), nl=False)
    else:
        print_simulation(output(), found)
