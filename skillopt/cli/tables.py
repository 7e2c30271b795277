"""Results for people: score tables and skill diffs on standard output."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from skillopt.cli.common import show_text
from skillopt.config.prices import cost_text
from skillopt.core.metric import Scorer
from skillopt.core.text import printable
from skillopt.evaluation.scoring import OnTask, Opening, Part, Row
from skillopt.evaluation.stats import Estimate, percent, points
from skillopt.rollouts.catalogue import finished
from skillopt.rollouts.contents import largest

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table

    from skillopt.core.types import Rollout
    from skillopt.deploy.actions import Standing
    from skillopt.evaluation.transfer import Cell
    from skillopt.gates.simulation import Cell as SimulatedCell
    from skillopt.rollouts.contents import Contents
    from skillopt.training.plan import Plan


UNOPENED = (
    "Opened 0 %: an agent decides by the skill's description whether to open it; make the "
    "description say which tasks the skill is for."
)
TEXT_WIDTH = 10
"""The least width to which a column of texts may be folded."""


def print_scores(console: Console, rows: Sequence[Row], title: str) -> None:
    """Print one line per skill and harness."""
    several = len({row.model for row in rows}) > 1
    priced = any(row.usage.cost_usd != 0 or row.usage.included for row in rows)
    texts = ["harness", "model", "skill"] if several else ["harness", "skill"]
    word = rows[0].scorer.word if rows else "solved"
    numbers = [word, "gain, points", "opened", "s/task", "tokens", *["cost"] * priced]
    table = new_table(title, [*texts, *numbers], texts)
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
        add_row(table, *cells, *([cost_text(usage)] if priced else []))
    print_table(console, table)
    console.print("Opened: rollouts in which the agent read the skill. Intervals are 95 %, over")
    console.print("tasks; gains are paired by task, see docs/statistics.md.")
    for row in rows:
        if row.claim:
            where = f"{row.harness} with {row.model}" if several else row.harness
            show_text(console, f"{row.skill} in {where}: {row.claim.words}")
    for row in rows:
        if row.opening:
            where = f"{row.harness} with {row.model}" if several else row.harness
            show_text(console, f"{row.skill} in {where}: {row.opening.words}")
    _print_unopened(console, [row.activation for row in rows])


def _opened(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _print_unopened(console: Console, shares: Sequence[float | None]) -> None:
    """Below a table that shows a share of 0 %, print what decides it."""
    if "0 %" in map(_opened, shares):
        console.print(UNOPENED, soft_wrap=True)


def print_details(console: Console, rows: Sequence[Row]) -> None:
    """Print score and gain by family of tasks, and which tasks flipped."""
    several = len({row.model for row in rows}) > 1
    families = list(dict.fromkeys(family for row in rows for family in row.families))
    if len(families) > 1:
        named = [family or "(none)" for family in families]
        texts = ["harness", "skill"]
        word = rows[0].scorer.word
        table = new_table(f"by family: {word}, and gain in points", [*texts, *named], texts)
        for row in rows:
            parts = row.families
            where = f"{row.harness}, {row.model}" if several else row.harness
            add_row(table, where, row.skill, *(_part(parts[family]) for family in families))
        print_table(console, table)
    for row in rows:
        for word, names in (("fixed", row.fixed), ("broken", row.broken)):
            if names:
                where = f"{row.harness} with {row.model}" if several else row.harness
                text = f"{row.skill} in {where}: {word} {len(names)}: {', '.join(names)}"
                show_text(console, text)


def _part(part: Part) -> str:
    share = f"{100 * part.score.value:.0f} % of {part.tasks}"
    return f"{share}, {100 * part.gain.value:+.0f}" if part.gain else share


def print_tasks(console: Console, rows: Sequence[Row]) -> None:
    """Print one line per task, a table for each harness and model: the mean score under each
    skill, and the difference to the first, with its interval if the task was run several times."""
    for where in dict.fromkeys((row.harness, row.model) for row in rows):
        here = [row for row in rows if (row.harness, row.model) == where]
        word = here[0].scorer.word
        title = f"by task in {where[0]} with {where[1]}: {word}, and gain in points"
        texts = ["task", "family"]
        table = new_table(title, [*texts, *(row.skill for row in here)], texts)
        found = [row.by_task for row in here]
        for name, one in found[0].items():
            cells = [_on_task(tasks[name]) for tasks in found]
            add_row(table, name, one.family, *cells)
        print_table(console, table)


def _on_task(one: OnTask) -> str:
    share = f"{100 * one.solved:.0f} %"
    if one.gain is None:
        return share
    return f"{share}, {points(one.interval) if one.interval else f'{100 * one.gain:+.0f}'}"


def print_diff(console: Console, before: str, after: str, names: tuple[str, str]) -> None:
    """Print a unified diff, coloured on a terminal. Skill text is untrusted, so without markup."""
    from rich.text import Text

    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="", n=2)
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        console.print(Text(printable(line), style=styles.get(line[:1], "")), soft_wrap=True)


def print_test_scores(console: Console, test: Mapping[str, Any]) -> None:
    """Print the test scores of a run's skills: one line by role, gains over the initial one."""
    word = Scorer(next((scores.get("metric", "hard") for scores in test.values()), "hard")).word
    table = new_table("test split", ["skill", word, "gain, points", "opened"], ["skill"])
    for role, scores in test.items():
        gain = scores["gain"]
        add_row(
            table,
            role,
            percent(Estimate(**scores.get("score", scores["hard"]))),
            points(Estimate(**gain)) if gain else "",
            _opened(scores["skill_activated"]),
        )
    print_table(console, table)
    for role, scores in test.items():
        if "opening" in scores:
            show_text(console, f"{role}: {Opening.read(scores['opening']).words}")
    _print_unopened(console, [scores["skill_activated"] for scores in test.values()])


def print_plan(console: Console, plan: Plan) -> None:
    """Print upper bounds for a run."""
    budgets = " ".join("∞" if budget is None else str(budget) for budget in plan.budgets)
    tasks = ", ".join(f"{count} {split}" for split, count in plan.tasks.items())
    title = f"{plan.name}: {plan.epochs} epochs, {plan.steps} steps, {tasks} tasks"
    columns = ["stage", "rollouts", "model calls", "tokens, about", "cost, about"]
    table = new_table(title, columns, ["stage"])
    rows = [(s.stage, s.rollouts, s.calls, s.usage) for s in plan.stages]
    rows.append(("all", plan.rollouts, sum(s.calls for s in plan.stages), plan.usage))
    for name, rollouts, calls, usage in rows:
        tokens = usage.prompt_tokens + usage.completion_tokens
        numbers = (f"{rollouts:,}", f"{calls:,}", f"{tokens / 1000:,.0f}k", cost_text(usage))
        add_row(table, name, *numbers)
    print_table(console, table)
    if any(budget is not None for budget in plan.budgets):
        console.print(f"edits at most, by step: {budgets}", soft_wrap=True)
    console.print(plan.length, soft_wrap=True)
    console.print(plan.selection, soft_wrap=True)
    console.print(plan.confirms, soft_wrap=True)
    for text in (plan.needed, plan.judged):
        if text:
            show_text(console, text)
    console.print(
        f"{plan.bounds} Tokens are assumed ({plan.assumption}); prices as of {plan.priced}.",
        soft_wrap=True,
    )


def print_simulation(console: Console, found: Sequence[SimulatedCell]) -> None:
    """Print one line per number of tasks, pool and rule of a simulation."""
    equal = any(cell.strict_at_equal is not None for cell in found)
    columns = ["tasks", "pool", "rule", "true gain", "gate rollouts", "all rollouts", "useful",
               "useless", "harmful", *["strict at equal"] * equal]  # fmt: skip
    table = new_table("", columns, ["pool", "rule"])
    for cell in found:
        gain = f"{100 * cell.gain:.1f} ± {100 * cell.error:.1f}"
        counts = [cell.gate_rollouts, cell.rollouts]
        edits = [cell.useful, cell.useless, cell.harmful]
        same = cell.strict_at_equal
        add_row(
            table, str(cell.tasks), cell.pool, cell.rule, gain,
            *(f"{count:,.0f}" for count in counts), *(f"{count:.2f}" for count in edits),
            *["" if same is None else f"{100 * same:.1f}"] * equal,
        )  # fmt: skip
    print_table(console, table)
    console.print(f"Means of {found[0].runs} runs. Gains in points on unseen tasks, with standard")
    console.print("errors; edits are those in the delivered skill.")


def print_runs(console: Console, summaries: Sequence[Mapping[str, Any]]) -> None:
    """Print one line per run."""
    columns = ["run", "harness", "target", "steps", "initial", "best", "state"]
    table = new_table("", columns, ["run", "harness", "target", "state"])
    for summary in summaries:
        scores = [summary[key] for key in ("initial_score", "best_score")]
        add_row(
            table,
            summary["name"],
            summary["harness"],
            summary["target"],
            str(summary["steps"]),
            *("" if score is None else f"{score:.3f}" for score in scores),
            _state(summary),
        )
    print_table(console, table)


def print_stored(console: Console, rollouts: Sequence[Rollout]) -> None:
    """Print one line per stored rollout."""
    texts = ["key", "stored", "task", "skill", "agent", "model", "status"]
    table = new_table("", [*texts, "reward"], texts)
    for rollout in rollouts:
        identity = rollout.identity
        when = datetime.fromtimestamp(finished(rollout)).strftime("%Y-%m-%d %H:%M")
        add_row(
            table,
            rollout.key[:12],
            when,
            rollout.task.name,
            (identity.get("skill") or "none")[:12],
            f"{identity.get('harness', {}).get('name', '')} {rollout.agent_version}",
            identity.get("model", {}).get("name", ""),
            rollout.status.value,
            f"{rollout.reward.soft:.3g}",
        )
    print_table(console, table)


CONTENTS = 12
"""The most names of one kind in the summary of a store."""


def print_contents(console: Console, found: Contents) -> None:
    """Print what a store holds: one line per kind, and one per task, skill, status and age."""
    table = new_table("", ["", "name", "rollouts", "size"], ["", "name"])
    whole = {"": found.scored, "no run refers to": found.unused}
    groups = {"scored": whole, "failed attempts": {"": found.failed}, "status": found.statuses,
              "age": found.ages, "task": found.tasks, "skill": found.skills}  # fmt: skip
    for title, amounts in groups.items():
        ranked = amounts.items() if title == "scored" else largest(amounts, CONTENTS)
        for number, (name, amount) in enumerate(ranked):
            shown = name[:12] if title == "skill" and len(name) == 64 else name
            size = size_text(amount.bytes)
            add_row(table, "" if number else title, shown, str(amount.rollouts), size)
    print_table(console, table)


def size_text(size: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _state(summary: Mapping[str, Any]) -> str:
    match summary["state"]:
        case "stopped":
            return f"not done: {summary['stopped']}"
        case "damaged":
            return f"cannot be read: {summary['stopped']}"
        case "killed":
            return "not done: killed"
    return str(summary["state"])


def print_history(
    console: Console, summary: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """Print one line per step and per end of an epoch; below, why steps were skipped."""
    columns = ["step", "epoch", "action", "budget", "edits", "train", "selection", "best"]
    table = new_table(summary["name"], columns, ["action"])
    why: list[str] = []
    for row in history:
        if short := row.get("compression"):
            name = f"compression: {short['action']}"
            add_row(table, "", str(row["epoch"]), name, "", "", "", *_selection(short))
            if short["action"] == "skip":
                why.append(f"compression before step {row['step']} was skipped: {short['gate']}")
        if raced := row.get("race"):
            name = f"race: {raced['winner']} of {raced['candidates']}"
            add_row(table, "", str(row["epoch"]), name, "", "", "", "", "")
        budget = "∞" if row["edit_budget"] is None else str(row["edit_budget"])
        trained = row.get("rollout_score", row["rollout_hard"])
        train = "" if trained is None else f"{trained:.3f}"
        numbers = (budget, str(row["edits_applied"]), train)
        where = (str(row["step"]), str(row["epoch"]))
        add_row(table, *where, row["action"], *numbers, *_selection(row))
        if row["action"] == "skip":
            why.append(f"step {row['step']} was skipped: {row['gate']}")
        if credit := row.get("credit"):
            name = f"without harmful edits: {credit['action']}"
            edits = str(credit["edits_applied"])
            add_row(table, "", str(row["epoch"]), name, "", edits, "", *_selection(credit))
        for gone in row.get("removals", ()):
            name = f"without an edit of step {gone['of_step']}: {gone['action']}"
            add_row(table, "", str(row["epoch"]), name, "", "1", "", *_selection(gone))
        end = row.get("epoch_end")
        if end:
            name = f"slow update: {end['action']}"
            add_row(table, "", str(row["epoch"]), name, "", "", "", *_selection(end))
            if end["action"] == "skip":
                why.append(f"slow update of epoch {row['epoch']} was skipped: {end['gate']}")
    print_table(console, table)
    for line in why:
        show_text(console, line)


def _selection(row: Mapping[str, Any]) -> tuple[str, str]:
    after, bound = row.get("selection_score", row["selection_hard"]), row["selection_bound"]
    shown = "" if bound is None else f"≤ {bound:.3f}"
    return shown if after is None else f"{after:.3f}", f"{row['best_score']:.3f}"


def print_deployments(console: Console, found: Sequence[Standing]) -> None:
    """Print one line per deployment that has not been undone."""
    columns = ["skill", "at", "from run", "selection", "state"]
    table = new_table("", columns, columns)
    for standing in found:
        entry, source = standing.entry, standing.entry.source
        cells = [entry.name, entry.target, source.get("run", ""), source.get("selection", "")]
        add_row(table, *cells, standing.state)
    print_table(console, table)


def print_transfer(console: Console, cells: Sequence[Cell]) -> None:
    """Print one line per skill, place and split."""
    texts = ["skill", "split", "harness", "model"]
    word = next((cell.row.scorer.word for cell in cells if cell.row), "solved")
    numbers = ["none", word, "gain, points", "gain kept", "opened"]
    table = new_table("", [*texts, *numbers], texts)
    shares: list[float | None] = []
    for cell in cells:
        row = cell.row
        where = [cell.subject, cell.split, cell.place.harness, cell.place.model]
        if row is None or row.first is None or row.gain is None:
            add_row(table, *where, "", "failed")
            continue
        shares.append(row.activation)
        kept = "trained here" if cell.is_source else percent(cell.kept) if cell.kept else ""
        add_row(
            table,
            *where,
            f"{100 * row.first.score.value:.0f} %",
            percent(row.score),
            points(row.gain),
            kept,
            _opened(row.activation),
        )
    print_table(console, table)
    console.print("Gain: over no skill in the same place. Kept: share of the gain where it was")
    console.print("trained. Intervals are 95 %, over tasks.")
    for cell in cells:
        if cell.row and cell.row.claim:
            place = f"{cell.subject} in {cell.place.label}, {cell.split}"
            show_text(console, f"{place}: {cell.row.claim.words}")
    _print_unopened(console, shares)


def new_table(title: str, columns: Sequence[str], texts: Collection[str]) -> Table:
    """An empty table. The columns in ``texts`` may be folded; all others contain numbers, which are
    never cut."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = Text(printable(title), style="table.title") if title else None
    table = Table(title=shown, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in columns:
        justify: JustifyMethod = "left" if name in texts else "right"
        table.add_column(Text(printable(name)), justify=justify, overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add a row of texts as they are, without markup."""
    from rich.text import Text

    table.add_row(*(Text(printable(cell)) for cell in cells))


def print_table(console: Console, table: Table) -> None:
    """Print a table. If its numbers do not fit, its lines are longer than the console's, and the
    terminal folds them."""
    for column in table.columns:
        widest = max([len(str(cell)) for cell in column.cells], default=0)
        least = min(len(str(column.header)), TEXT_WIDTH)
        number = column.justify == "right"
        column.min_width = max(widest if number else min(widest, TEXT_WIDTH), least)
    count = len(table.columns)
    needed = sum(column.min_width or 0 for column in table.columns) + count + 1
    if needed + count > console.width:
        table.padding = 0
    console.width = max(console.width, needed)
    console.print(table)
