"""Whole simulated runs of the gates, and of other optimizers' rules: the tables and the drawing of
``docs/gates.md``. ``python -m benchmarks gates`` runs it, in about half an hour."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skillopt.config.schema import Metric
from skillopt.gates.rivals import search_of
from skillopt.gates.simulation import Setting, cell, cells

SIZES = (17, 40, 100)
POOLS = ("A", "B", "C", "harmful", "rare", "families")
RULES = ("strict", "fresh", "cap-evolve", "evoskill", "gepa")
RUNS = {17: 150, 40: 150, 100: 60}
"""Runs of a cell by number of tasks; the rules of other optimizers and soft rewards have fewer."""
OTHERS, SOFT = 40, 30
EDITS = {17: 60, 40: 30}
"""Runs of a cell in the table of single edits."""
SINGLE = {1: ((0.0, 0.0), (0.0, 0.25)), 4: ((0.0, 0.0), (0.5, 0.0), (0.5, 0.25))}
"""By edits of a proposal, the shares for credit and removals that are compared."""
CHECKS = 4
"""Checks of a task in the table of soft rewards."""
DRAWING = Path(__file__).parent.parent / "docs" / "images" / "gates.svg"

Row = dict[str, Any]


def run() -> dict[str, list[Row]]:
    """All cells; also makes the drawing."""
    found: dict[str, list[Row]] = {"hard": [], "soft": []}
    for size in SIZES:
        for pool in POOLS:
            found["hard"] += _cells(Setting(tasks=size, pool=pool), RUNS[size], RULES[2:])
            if size < SIZES[-1]:
                found["soft"] += _cells(Setting(tasks=size, pool=pool, checks=CHECKS), SOFT)
            print(f"{size} tasks, pool {pool}", file=sys.stderr, flush=True)
    found["edits"] = edits()
    DRAWING.write_text(drawing(found["hard"]))
    return found


def _cells(setting: Setting, runs: int, others: Sequence[str] = ()) -> list[Row]:
    """The project's two gates, the paper's also with as many rollouts, and other rules."""
    metric: Metric = "hard" if setting.checks == 1 else "soft"
    strict, fresh = (search_of(rule, metric) for rule in RULES[:2])
    found = cells({"strict": strict}, setting, range(runs), None)
    found += cells({"fresh": fresh}, setting, range(runs), strict)
    found += cells({rule: search_of(rule) for rule in others}, setting, range(OTHERS), None)
    rows = [vars(one) for one in found]
    return [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def edits() -> list[Row]:
    """What credit to single edits and their removal do, with one edit a proposal and with four;
    and what more steps without either gain with as many rollouts in all."""
    found = []
    for size, runs in EDITS.items():
        for bundle, arms in SINGLE.items():
            for credit, prune in arms:
                search = search_of("fresh", credit=credit, prune=prune)
                steps = 24 if bundle == 1 else 12
                settings = [Setting(size, pool, steps, bundle=bundle) for pool in POOLS]
                rows = [vars(cell("fresh", search, one, range(runs))) for one in settings]
                more = [
                    vars(cell("fresh", search_of("fresh"), one, range(runs), row["rollouts"]))
                    for one, row in zip(settings, rows, strict=True)
                ]
                shares = {"bundle": bundle, "credit": credit, "prune": prune, "tasks": size}
                means = {key: round(_mean(rows, key), 4) for key in MEANS}
                error = math.sqrt(math.fsum(row["error"] ** 2 for row in rows)) / len(rows)
                means["steps"] = round(_mean(more, "gain"), 4)
                found.append(shares | means | {"error": round(error, 4)})
    return found


MEANS = ("gain", "gate_rollouts", "useful", "useless", "harmful")


def _mean(rows: Sequence[Row], key: str) -> float:
    return math.fsum(row[key] for row in rows) / len(rows)


def single_edits(rows: Sequence[Row]) -> str:
    """The table of credit and removals, means over the pools."""
    lines = [
        "| tasks | edits a step | `credit` | `prune` | true gain (gate rollouts) "
        "| gain by more steps | useful | useless | harmful |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        gain = f"{100 * row['gain']:.1f} ± {100 * row['error']:.1f} ({row['gate_rollouts']:,.0f})"
        kinds = " | ".join(f"{row[kind]:.1f}" for kind in MEANS[2:])
        arm = f"{row['bundle']} | {row['credit']:g} | {row['prune']:g}"
        steps = f"{100 * row['steps']:.1f}"
        lines.append(f"| {row['tasks']} | {arm} | {gain} | {steps} | {kinds} |")
    return "\n".join(lines)


def gains(rows: Sequence[Row]) -> str:
    """The table of true gains with the same proposals."""
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    ordered = [rule for rule in RULES if rule in rules]
    lines = [
        f"| tasks | pool | {' | '.join(ordered)} |",
        f"| ---: | --- | {' | '.join('---:' for _ in ordered)} |",
    ]
    for size, pool in _places(rows):
        here = {row["rule"]: row for row in _at(rows, size, pool)}
        shown = [
            f"{100 * here[r]['gain']:.1f} ± {100 * here[r]['error']:.1f} "
            f"({here[r]['gate_rollouts']:,.0f})"
            for r in ordered
        ]
        lines.append(f"| {size} | {pool} | {' | '.join(shown)} |")
    return "\n".join(lines)


def ratios(rows: Sequence[Row]) -> str:
    """The table that compares the project's gate with the paper's, by number of tasks."""
    lines = [
        "| tasks | gain, same proposals | gate rollouts | gain, equal rollouts | least pool |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for size in SIZES:
        found = [_ratio(rows, size, pool) for pool in POOLS]
        same, more, equal = (sum(column) / len(found) for column in zip(*found, strict=True))
        least = min(one[2] for one in found)
        lines.append(f"| {size} | {same:.2f} | {more:.2f} | {equal:.2f} | {least:.2f} |")
    return "\n".join(lines)


def _ratio(rows: Sequence[Row], size: int, pool: str) -> tuple[float, float, float]:
    here = {row["rule"]: row for row in _at(rows, size, pool)}
    strict, fresh = here["strict"], here["fresh"]
    more = fresh["gate_rollouts"] / strict["gate_rollouts"]
    return fresh["gain"] / strict["gain"], more, fresh["gain"] / fresh["strict_at_equal"]


def ballast(rows: Sequence[Row]) -> str:
    """The table of edits in the delivered skills, of 24 that were proposed."""
    lines = [
        "| tasks | gate | useful | useless | harmful |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for size in SIZES:
        for rule in ("strict", "fresh"):
            here = [row for row in rows if (row["tasks"], row["rule"]) == (size, rule)]
            shown = [
                f"{sum(row[kind] for row in here) / len(here):.1f}"
                for kind in ("useful", "useless", "harmful")
            ]
            lines.append(f"| {size} | {rule} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _places(rows: Sequence[Row]) -> list[tuple[int, str]]:
    return list(dict.fromkeys((row["tasks"], row["pool"]) for row in rows))


def _at(rows: Sequence[Row], size: int, pool: str) -> list[Row]:
    return [row for row in rows if (row["tasks"], row["pool"]) == (size, pool)]


WIDTH, HEIGHT, LEFT, TOP, GAP = 330, 220, 50, 40, 40
COLOURS = {
    "strict": "#5ea0d6", "fresh": "#ec9646", "cap-evolve": "#8a8a8a",
    "evoskill": "#b9a3d0", "gepa": "#7fb08a",
}  # fmt: skip


def drawing(rows: Sequence[Row]) -> str:
    """True gain against rollouts in the gate, mean over the pools: a panel per number of tasks."""
    size = (LEFT + len(SIZES) * (WIDTH + GAP), TOP + HEIGHT + 70)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
    ]
    for number, tasks in enumerate(SIZES):
        parts += _panel(rows, tasks, LEFT + number * (WIDTH + GAP))
    note = "true gain in points against gate rollouts, 24 proposals, mean over the pools"
    parts.append(_text(LEFT, size[1] - 10, note, "start"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(rows: Sequence[Row], tasks: int, left: float) -> list[str]:
    means = {
        rule: [
            sum(row[key] for row in rows if (row["tasks"], row["rule"]) == (tasks, rule))
            / len(POOLS)
            for key in ("gate_rollouts", "gain")
        ]
        for rule in RULES
    }
    most = 1.15 * max(count for count, _ in means.values())
    high = 1.2 * max(gain for _, gain in means.values())
    bottom = TOP + HEIGHT
    parts = [
        f'<path d="M {left} {TOP} V {bottom} H {left + WIDTH}" fill="none" stroke="#1a1a1a"/>',
        _text(left + WIDTH / 2, TOP - 14, f"{tasks} selection tasks", "middle"),
        _text(left + WIDTH, bottom + 18, f"{most:,.0f}", "end"),
        _text(left - 6, TOP + 10, f"{100 * high:.0f}", "end"),
        _text(left - 6, bottom, "0", "end"),
    ]
    for rule, (count, gain) in means.items():
        x, y = left + WIDTH * count / most, bottom - HEIGHT * gain / high
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{COLOURS[rule]}"/>')
        right = rule == "evoskill"  # It is beside the strict gate's.
        parts.append(_text(x + 10 if right else x - 10, y + 4, rule, "start" if right else "end"))
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#1a1a1a">{text}</text>'


def document(found: dict[str, list[Row]]) -> dict[str, str]:
    """The tables of ``docs/gates.md``."""
    hard, soft = found["hard"], found["soft"]
    return {
        "gains": gains(hard),
        "ratios": ratios(hard),
        "soft": gains(soft),
        "ballast": ballast(hard),
        "edits": single_edits(found["edits"]),
    }
