"""Runs and methods side by side: one page without scripts, and the plot of scores by rollouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from skillopt.config.prices import cost_text
from skillopt.core.text import printable
from skillopt.evaluation.method_table import Comparison, MethodRow
from skillopt.evaluation.run_table import Point, RunRow
from skillopt.evaluation.stats import percent, points
from skillopt.report.page import render_still, still_style

if TYPE_CHECKING:
    from markupsafe import Markup

_Place = Callable[[float], float]
WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 14, 40
COLOURS = 8
LEGEND = 20
"""Height of a line of the legend."""
LEGEND_TEXT = 80
"""The most characters of a name in the legend, as more may not fit."""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Args:
        title: what it shows.
        columns: their names.
        texts: how many of the first ones are texts; the others are numbers.
        rows: the cells.
    """

    title: str
    columns: Sequence[str]
    texts: int
    rows: Sequence[Sequence[str]]


def comparison_page(found: Comparison) -> str:
    """All of a comparison as one self-contained page."""
    pairs = [
        {
            "method": pair.method,
            "other": pair.other,
            "verdict": pair.verdict,
            "kind": pair.verdict.replace(" ", "-"),
            "tasks": points(pair.over_tasks.gain),
            "runs": points(pair.over_runs) if pair.over_runs else "",
        }
        for pair in found.pairs
    ]
    return render_still(
        "comparison.html",
        "Methods compared",
        about=found.about,
        remarks=found.remarks,
        rows=found.rows,
        methods=_methods(found.methods),
        pairs=pairs,
        scores=_scores(found.rows),
        costs=_costs(found.rows),
        plot=_markup(_picture(found)),
    )


def _methods(rows: Sequence[MethodRow]) -> Table:
    cells = [
        (
            row.method,
            ", ".join(map(str, row.seeds)),
            percent(row.score),
            points(row.over_start),
            points(row.over_none) if row.over_none else "",
            " ".join(f"{100 * score:.0f}" for score in row.scores),
        )
        for row in rows
    ]
    columns = ("method", "seeds", "test", "over the start", "over no skill", "each run")
    return Table("Methods", columns, 2, cells)


def _scores(rows: Sequence[RunRow]) -> Table:
    cells = []
    for row in rows:
        claims = (row.over_start, row.over_none, row.over_first)
        gains = (points(one.gain) if one else "" for one in claims)
        tokens = f"{row.skill_tokens:,}"
        cells.append((row.run, row.method, str(row.seed), percent(row.score), *gains, tokens))
    columns = ("run", "method", "seed", "test", "over the start", "over no skill",
               "over the first", "skill, tokens")  # fmt: skip
    return Table("Runs", columns, 2, cells)


def _costs(rows: Sequence[RunRow]) -> Table:
    cells = [
        (
            row.run,
            _count(row.asked),
            "none" if row.budget is None else f"{row.budget:,}",
            _count(row.overshoot),
            _count(row.asked_tokens),
            f"{row.rollouts:,}",
            *(
                f"{count:,}"
                for part in (row.optimizer, row.target, row.judge)
                for count in (part.calls, part.tokens)
            ),
            cost_text(row.usage),
            f"{row.seconds / 60:.1f}",
        )
        for row in rows
    ]
    models = (f"{name} {what}" for name in ("optimizer", "agent", "judge")
              for what in ("calls", "tokens"))  # fmt: skip
    columns = ("run", "asked", "budget", "overshoot", "their tokens", "ran", *models, "cost",
               "minutes")  # fmt: skip
    return Table("What they cost", columns, 1, cells)


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def curves_svg(found: Comparison) -> str:
    """The selection score of each run's selected skill by rollouts asked for, with its test score;
    the runs of one method have the same colour.

    Returns:
        An SVG file, which follows the viewer's light or dark theme.
    """
    style = f"<style>{still_style()}</style><rect width='100%' height='100%' class='paper'/>"
    return _picture(found, style)


def _picture(found: Comparison, head: str = "") -> str:
    kinds = [row.method for row in found.methods]
    method_of = {run: row.method for row in found.methods for run in row.runs}
    most = max([1, *(row.asked or 0 for row in found.rows)])
    step = _step(most)
    top = max(most, step)

    def x(asked: float) -> float:
        return round(LEFT + asked / top * (WIDTH - LEFT - RIGHT), 1)

    def y(score: float) -> float:
        return round(HEIGHT - BOTTOM - score * (HEIGHT - BOTTOM - TOP), 1)

    height = HEIGHT + LEGEND * len(kinds)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" class="chart" '
        f'role="img" aria-label="Scores by rollouts asked for">{head}'
    ]
    for score in (0, 0.25, 0.5, 0.75, 1):
        at = y(score)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" class="grid"/>')
        parts.append(_text(LEFT - 8, at + 4, f"{100 * score:.0f} %", "end"))
    for asked in range(0, most + 1, step):
        parts.append(_text(x(asked), HEIGHT - BOTTOM + 18, f"{asked:,}", "middle"))
    parts.append(_text(WIDTH - RIGHT, HEIGHT - 4, "rollouts asked for", "end"))
    for row in found.rows:
        colour = _colour(kinds.index(method_of[row.run]))
        if row.asked is None:
            continue  # It has no place in a plot of scores by rollouts.
        said = f"{row.run}: {percent(row.score)} on the test split, {row.asked:,} rollouts"
        parts += [
            f"<g><title>{_shown(said)}</title>",
            f'<path d="{"".join(_stairs(row.curve, x, y))}" class="curve {colour}"/>',
            f'<circle cx="{x(row.asked)}" cy="{y(row.score.value)}" r="5" class="ring {colour}"/>',
            "</g>",
        ]
    for number, kind in enumerate(kinds):
        at = HEIGHT + LEGEND * number + 4
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + 26}" y1="{at}" y2="{at}" '
            f'class="key {_colour(number)}"/>'
        )
        parts.append(_text(LEFT + 34, at + 4, _short(kind), "start"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _stairs(curve: Sequence[Point], x: _Place, y: _Place) -> Iterator[str]:
    """A score holds until the next one, as on the page of a run."""
    for number, point in enumerate(curve):
        at = f"{x(point.asked)}", f"{y(point.score)}"
        yield f"H{at[0]}V{at[1]}" if number else f"M{at[0]},{at[1]}"


def _step(most: int) -> int:
    """The distance of the marks on the axis of rollouts: 1, 2 or 5 times a power of ten, for at
    most ten of them."""
    size = 1
    while True:
        for factor in (1, 2, 5):
            if most <= 10 * size * factor:
                return size * factor
        size *= 10


def _colour(number: int) -> str:
    later = " later" if number >= COLOURS else ""
    return f"run{number % COLOURS}{later}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" class="{anchor}">{_shown(text)}</text>'


def _short(name: str) -> str:
    return name if len(name) <= LEGEND_TEXT else f"{name[: LEGEND_TEXT - 1]}…"


def _shown(text: str) -> str:
    return escape(printable(text))


def _markup(svg: str) -> Markup:
    from markupsafe import Markup

    return Markup(svg)  # Its texts are escaped above.
