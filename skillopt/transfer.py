"""Whether a skill holds elsewhere: skills × agents × models × splits, against its origin."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillopt.api import evaluate, with_target
from skillopt.config import Config
from skillopt.events import Listener
from skillopt.inputs import read_skill_or_run
from skillopt.scoring import Row
from skillopt.skill import Skill
from skillopt.stats import Estimate, kept_share
from skillopt.types import Split

NONE = "none"


@dataclass(frozen=True)
class Place:
    """An agent with a model."""

    harness: str
    model: str
    """``NAME`` or ``UPSTREAM:NAME``, as the config's upstreams are called."""

    @property
    def label(self) -> str:
        return f"{self.harness}:{self.model.rpartition(':')[2]}"


@dataclass(frozen=True)
class Subject:
    """A skill to try, with the place where it was trained if that is known."""

    name: str
    skill: Skill | None
    source: Place | None


@dataclass(frozen=True)
class Cell:
    """One skill in one place on one split."""

    subject: str
    place: Place
    split: Split
    row: Row
    """Compared with no skill in the same place."""
    is_source: bool
    kept: Estimate | None
    """Share of the gain in the source cell that is left here; None where there is no source cell,
    or no gain in it to speak of."""


def subjects_of(arguments: Sequence[str]) -> list[Subject]:
    """Skills by path; of a run its best skill, with where it was trained.

    Raises:
        SkillError: one of them cannot be used.
    """
    found = []
    for text in arguments:
        summary = Path(text) / "summary.json"
        source = None
        if summary.is_file():
            told = json.loads(summary.read_text("utf-8"))
            source = Place(told["harness"], told["target"])
        found.append(Subject(Path(text).name, read_skill_or_run(text), source))
    return found


def transfer(
    config: Config,
    subjects: Sequence[Subject],
    places: Sequence[Place],
    splits: Sequence[Split],
    *,
    replicates: int = 1,
    listeners: Sequence[Listener] = (),
) -> Iterator[Cell]:
    """Fill the matrix, cell by cell: where skills were trained first, then the others.

    What is in the rollout store is not run again, so a matrix that was interrupted goes on.

    Args:
        config: says tasks, upstreams and sandbox.
        subjects, places, splits: of the matrix; the source places of the subjects are added.
        replicates: rollouts of each task.
        listeners: told of everything that happens.

    Raises:
        ConfigError: a place's upstream is not known.
        PausedError: a rollout could not be run.
    """
    sources = [subject.source for subject in subjects if subject.source]
    ordered = list(dict.fromkeys([*sources, *places]))
    skills = {NONE: None, **{subject.name: subject.skill for subject in subjects}}

    def scored(place: Place, split: Split) -> dict[str, Row]:
        rows = evaluate(
            with_target(config, place.model),
            skills,
            split=split,
            harnesses=[place.harness],
            replicates=replicates,
            listeners=listeners,
        )
        return {row.skill: row for row in rows}

    for split in splits:
        # What a cell keeps is told against the source cells, so all of these come first.
        known = {place: scored(place, split) for place in dict.fromkeys(sources)}
        for place in ordered:
            rows = known.get(place) or scored(place, split)
            for subject in subjects:
                row, is_source = rows[subject.name], place == subject.source
                source = known[subject.source][subject.name] if subject.source else None
                yield Cell(
                    subject.name, place, split, row, is_source, _kept(source, row, is_source)
                )


def _kept(source: Row | None, row: Row, is_source: bool) -> Estimate | None:
    if source is None or is_source:
        return None
    return kept_share(_gains(source), _gains(row))


def _gains(row: Row) -> list[float]:
    assert row.first is not None
    before = row.first.solved
    return [now - before[name] for name, now in sorted(row.solved.items())]


def cell_json(cell: Cell) -> dict[str, Any]:
    """One cell, flat: for CSV and JSON."""
    row, gain = cell.row, cell.row.gain
    assert gain is not None and row.first is not None
    usage = row.usage
    return {
        "skill": cell.subject,
        "harness": cell.place.harness,
        "model": cell.place.model,
        "split": cell.split,
        "trained_here": cell.is_source,
        "tasks": len(row.solved),
        "none": row.first.score.value,
        **_interval("solved", row.score),
        **_interval("gain", gain),
        **_interval("gain_kept", cell.kept),
        "skill_activated": row.activation,
        "tokens": usage.prompt_tokens + usage.completion_tokens,
        "cost_usd": usage.cost_usd,
    }


def _interval(name: str, estimate: Estimate | None) -> Mapping[str, float | None]:
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def to_csv(cells: Sequence[Cell]) -> str:
    """All cells as CSV with a header."""
    rows = [cell_json(cell) for cell in cells]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def to_svg(cells: Sequence[Cell]) -> str:
    """A heat map: one row per skill and split, one column per place, coloured by the gain."""
    from html import escape

    columns = list(dict.fromkeys(cell.place.label for cell in cells))
    lines = list(dict.fromkeys((cell.subject, cell.split) for cell in cells))
    width, height, left, top = 190, 56, 220, 60
    size = (left + width * len(columns) + 20, top + height * len(lines) + 40)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        'font-family="system-ui, sans-serif" font-size="14">',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
    ]
    for x, label in enumerate(columns):
        parts.append(_text(left + x * width + width / 2, top - 14, escape(label), "middle"))
    for y, (subject, split) in enumerate(lines):
        parts.append(
            _text(
                left - 12, top + y * height + height / 2 + 5, escape(f"{subject}, {split}"), "end"
            )
        )
    for cell in cells:
        x, y = columns.index(cell.place.label), lines.index((cell.subject, cell.split))
        gain = cell.row.gain
        assert gain is not None
        at = (left + x * width, top + y * height)
        stroke = ' stroke="#1a1a1a" stroke-width="2"' if cell.is_source else ""
        parts.append(
            f'<rect x="{at[0] + 2}" y="{at[1] + 2}" width="{width - 4}" height="{height - 4}" '
            f'rx="4" fill="{_colour(gain.value)}"{stroke}/>'
        )
        shown = f"{100 * cell.row.score.value:.0f} % ({100 * gain.value:+.0f})"
        kept = "trained here" if cell.is_source else ""
        kept = f"{100 * cell.kept.value:.0f} % of the gain kept" if cell.kept else kept
        parts.append(_text(at[0] + width / 2, at[1] + height / 2, shown, "middle", 600))
        parts.append(_text(at[0] + width / 2, at[1] + height / 2 + 17, kept, "middle", 400, 11))
    note = "solved (gain in points over no skill); framed: where the skill was trained"
    parts.append(_text(left, size[1] - 12, note, "start", 400, 11))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, anchor: str, weight: int = 400, size: int = 14) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="{size}" fill="#1a1a1a">{text}</text>'
    )


def _colour(gain: float) -> str:
    """From orange by white to blue, for -1 to 1: told apart by people who see colours badly."""
    strength = min(abs(gain), 1.0)
    end = (94, 160, 214) if gain >= 0 else (236, 150, 70)
    mixed = (round(255 + (channel - 255) * strength) for channel in end)
    return f"rgb({','.join(map(str, mixed))})"
