"""Results for people: score tables and skill diffs on standard output."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from skillopt.config.prices import money
from skillopt.core.text import printable
from skillopt.evaluation.scoring import OnTask, Part, Row
from skillopt.evaluation.stats import Estimate, percent, points

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from skillopt.deploy.actions import Standing
    from skillopt.evaluation.transfer import Cell
    from skillopt.training.plan import Plan


UNOPENED = (
    "Opened 0 %: an agent decides by the skill's description whether to open it; say in the "
    "description for which tasks the skill is."
)


def print_scores(console: Console, rows: Sequence[Row], title: str) -> None:
    """One line per skill and harness."""
    table = _table(title)
    table.add_column("harness", no_wrap=True)
    several = len({row.model for row in rows}) > 1
    if several:
        table.add_column("model", no_wrap=True)
    table.add_column("skill", no_wrap=True)
    priced = any(row.usage.cost_usd != 0 for row in rows)
    numbers = ["solved", "gain, points", "opened", "s/task", "tokens"]
    for column in [*numbers, "cost"] if priced else numbers:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        usage = row.usage
        count = max(1, len(row.rollouts))
        cells = [
            row.harness,
            *([row.model] if several else []),
            row.skill,
            percent(row.score),
            points(row.gain) if row.gain else "",
            _opened(row.activation),
            f"{sum(r.duration_s for r in row.rollouts) / count:.1f}",
            f"{(usage.prompt_tokens + usage.completion_tokens) / 1000:,.0f}k",
        ]
        table.add_row(*cells, *([money(usage.cost_usd)] if priced else []))
    console.print(table)
    console.print("Opened: rollouts in which the agent read the skill. Intervals are 95 %: Wilson")
    console.print("for shares (bootstrap over tasks with repetitions), paired bootstrap for gains.")
    _print_unopened(console, [row.activation for row in rows])


def _opened(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _print_unopened(console: Console, shares: Sequence[float | None]) -> None:
    """One line below a table that shows a share of 0 %: what decides it."""
    if "0 %" in map(_opened, shares):
        console.print(UNOPENED, soft_wrap=True)


def print_details(console: Console, rows: Sequence[Row]) -> None:
    """Score and gain by family of tasks, and which tasks flipped."""
    several = len({row.model for row in rows}) > 1
    families = list(dict.fromkeys(family for row in rows for family in row.families))
    if len(families) > 1:
        table = _table("by family: solved, and gain in points")
        for column in ("harness", "skill", *families):
            table.add_column(printable(column or "(none)"))
        for row in rows:
            parts = row.families
            where = f"{row.harness}, {row.model}" if several else row.harness
            table.add_row(where, row.skill, *(_part(parts[family]) for family in families))
        console.print(table)
    for row in rows:
        for word, names in (("fixed", row.fixed), ("broken", row.broken)):
            if names:
                where = f"{row.harness} with {row.model}" if several else row.harness
                text = f"{row.skill} in {where}: {word} {len(names)}: {', '.join(names)}"
                console.print(printable(text), markup=False, soft_wrap=True)


def _part(part: Part) -> str:
    share = f"{100 * part.score.value:.0f} % of {part.tasks}"
    return f"{share}, {100 * part.gain.value:+.0f}" if part.gain else share


def print_tasks(console: Console, rows: Sequence[Row]) -> None:
    """One line per task, a table for each harness and model: the share solved under each skill, and
    the difference to the first, with its interval where the task was run several times."""
    from rich.markup import escape

    for where in dict.fromkeys((row.harness, row.model) for row in rows):
        here = [row for row in rows if (row.harness, row.model) == where]
        table = _table(f"by task in {where[0]} with {where[1]}: solved, and gain in points")
        for column in ("task", "family", *(row.skill for row in here)):
            table.add_column(escape(printable(column)), overflow="fold")
        found = [row.by_task for row in here]
        for name, one in found[0].items():
            cells = [_on_task(tasks[name]) for tasks in found]
            table.add_row(escape(printable(name)), escape(printable(one.family)), *cells)
        console.print(table)


def _on_task(one: OnTask) -> str:
    share = f"{100 * one.solved:.0f} %"
    if one.gain is None:
        return share
    return f"{share}, {points(one.interval) if one.interval else f'{100 * one.gain:+.0f}'}"


def print_diff(console: Console, before: str, after: str, names: tuple[str, str]) -> None:
    """A unified diff, coloured on a terminal. Skill text is untrusted: printed without markup."""
    from rich.text import Text

    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="", n=2)
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        console.print(Text(printable(line), style=styles.get(line[:1], "")), soft_wrap=True)


def print_test_scores(console: Console, test: Mapping[str, Any]) -> None:
    """What a run's skills score on the test split: one line by role, gains against the initial."""
    table = _table("test split")
    for column in ("skill", "solved", "gain, points", "opened"):
        table.add_column(column, justify="left" if column == "skill" else "right", no_wrap=True)
    for role, scores in test.items():
        gain = scores["gain"]
        table.add_row(
            role,
            percent(Estimate(**scores["hard"])),
            points(Estimate(**gain)) if gain else "",
            _opened(scores["skill_activated"]),
        )
    console.print(table)
    _print_unopened(console, [scores["skill_activated"] for scores in test.values()])


def print_plan(console: Console, plan: Plan) -> None:
    """What a run will come to at most."""
    budgets = " ".join("∞" if budget is None else str(budget) for budget in plan.budgets)
    tasks = ", ".join(f"{count} {split}" for split, count in plan.tasks.items())
    table = _table(f"{plan.name}: {plan.epochs} epochs, {plan.steps} steps, {tasks} tasks")
    for column in ("stage", "rollouts", "optimizer calls", "tokens, about", "cost, about"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    rows = [(s.stage, s.rollouts, s.calls, s.usage) for s in plan.stages]
    rows.append(("all", plan.rollouts, sum(s.calls for s in plan.stages), plan.usage))
    for name, rollouts, calls, usage in rows:
        tokens = usage.prompt_tokens + usage.completion_tokens
        table.add_row(
            name, f"{rollouts:,}", f"{calls:,}", f"{tokens / 1000:,.0f}k", money(usage.cost_usd)
        )
    console.print(table)
    console.print(f"edits at most, by step: {budgets}", soft_wrap=True)
    console.print(
        f"Upper bounds: the gate stops early, and what is in the store is free. Tokens are assumed "
        f"({plan.assumption}); prices as of {plan.priced}.",
        soft_wrap=True,
    )


def print_runs(console: Console, summaries: Sequence[Mapping[str, Any]]) -> None:
    """One line per run."""
    table = _table("")
    for column in ("run", "harness", "target", "steps", "initial", "best", "state"):
        right = column in ("steps", "initial", "best")
        table.add_column(column, justify="right" if right else "left", no_wrap=right)
    for summary in summaries:
        scores = [summary[key] for key in ("initial_score", "best_score")]
        table.add_row(
            summary["name"],
            summary["harness"],
            summary["target"],
            str(summary["steps"]),
            *("" if score is None else f"{score:.3f}" for score in scores),
            printable(_state(summary)),
        )
    console.print(table)


def _state(summary: Mapping[str, Any]) -> str:
    if summary["state"] == "stopped":
        return f"not done: {summary['stopped']}"
    return "not done: killed" if summary["state"] == "killed" else str(summary["state"])


def print_history(
    console: Console, summary: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """One line per step, and per epoch's end; below, why steps were skipped."""
    table = _table(printable(summary["name"]))
    for column in ("step", "epoch", "action", "budget", "edits", "train", "selection", "best"):
        left = column == "action"
        table.add_column(column, justify="left" if left else "right", no_wrap=not left)
    why: list[str] = []
    for row in history:
        budget = "∞" if row["edit_budget"] is None else str(row["edit_budget"])
        train = "" if row["rollout_hard"] is None else f"{row['rollout_hard']:.3f}"
        numbers = (budget, str(row["edits_applied"]), train)
        table.add_row(
            str(row["step"]), str(row["epoch"]), row["action"], *numbers, *_selection(row)
        )
        if row["action"] == "skip":
            why.append(f"step {row['step']} was skipped: {row['gate']}")
        end = row.get("epoch_end")
        if end:
            name = f"slow update: {end['action']}"
            table.add_row("", str(row["epoch"]), name, "", "", "", *_selection(end))
            if end["action"] == "skip":
                why.append(f"slow update of epoch {row['epoch']} was skipped: {end['gate']}")
    console.print(table)
    for line in why:
        console.print(printable(line), markup=False, soft_wrap=True)


def _selection(row: Mapping[str, Any]) -> tuple[str, str]:
    after, bound = row["selection_hard"], row["selection_bound"]
    shown = "" if bound is None else f"≤ {bound:.3f}"
    return shown if after is None else f"{after:.3f}", f"{row['best_score']:.3f}"


def _table(title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def print_deployments(console: Console, found: Sequence[Standing]) -> None:
    """One line per deployment that stands."""
    table = _table("")
    for column in ("skill", "at", "from run", "selection", "state"):
        table.add_column(column, overflow="fold")
    for standing in found:
        entry, source = standing.entry, standing.entry.source
        cells = [entry.name, entry.target, source.get("run", ""), source.get("selection", "")]
        table.add_row(*map(printable, cells), standing.state)
    console.print(table)


def print_transfer(console: Console, cells: Sequence[Cell]) -> None:
    """One line per skill, place and split."""
    table = _table("")
    for column in ("skill", "split", "harness", "model"):
        table.add_column(column, no_wrap=True)
    for column in ("none", "solved", "gain, points", "gain kept", "opened"):
        table.add_column(column, justify="right", no_wrap=True)
    shares: list[float | None] = []
    for cell in cells:
        row = cell.row
        where = [cell.subject, cell.split, cell.place.harness, cell.place.model]
        if row is None or row.first is None or row.gain is None:
            table.add_row(*where, "", "failed")
            continue
        shares.append(row.activation)
        kept = "trained here" if cell.is_source else percent(cell.kept) if cell.kept else ""
        table.add_row(
            *where,
            f"{100 * row.first.score.value:.0f} %",
            percent(row.score),
            points(row.gain),
            kept,
            _opened(row.activation),
        )
    console.print(table)
    console.print("Gain: over no skill in the same place. Kept: share of the gain where it was")
    console.print("trained. Intervals are 95 %, by paired bootstrap over tasks.")
    _print_unopened(console, shares)
