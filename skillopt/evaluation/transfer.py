"""Whether a skill transfers: skills × agents × models × splits, compared with its origin."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harnesses.agents.registry import CLI_AGENTS
from skillopt.config.inputs import label, read_skill_or_run
from skillopt.config.loading import ConfigError
from skillopt.config.schema import Config
from skillopt.core.errors import PausedError
from skillopt.core.skill import Skill, SkillError
from skillopt.core.types import Split
from skillopt.evaluation.evaluate import score, with_target
from skillopt.evaluation.scoring import Row
from skillopt.evaluation.stats import Estimate, all_or_nothing_runs, kept_share
from skillopt.rollouts.plugins import Plugins
from skillopt.rollouts.prepare import prepare
from skillopt.run.events import EvaluationStarted, Listener, tell_all
from skillopt.run.folder import read_state
from skillopt.run.journal import LOG
from skillopt.run.records import Noted

NONE = "none"


@dataclass(frozen=True)
class AgentModel:
    """An agent with a model."""

    harness: str
    model: str
    """``NAME`` or ``UPSTREAM:NAME``, with the name that the config gives the upstream."""

    @property
    def label(self) -> str:
        return f"{self.harness}:{self.model.rpartition(':')[2]}"


@dataclass(frozen=True)
class Subject:
    """A skill to score, with the place where it was trained if that is known."""

    name: str
    skill: Skill | None
    source: AgentModel | None


@dataclass(frozen=True)
class Cell:
    """One skill in one place on one split."""

    subject: str
    place: AgentModel
    split: Split
    row: Row | None
    """The score, compared with no skill in the same place; None if it could not be run."""
    failed: str
    """Why the cell could not be run; empty if it was."""
    is_source: bool
    kept: Estimate | None
    """Share of the source cell's gain that is kept here; None if there is no source cell, or no
    clear gain in it."""


def places_of(config: Config, texts: Sequence[str]) -> list[AgentModel]:
    """Places by their text, such as ``codex:gpt-5.5``; the config's own if there are none.

    Raises:
        ConfigError: there is no such agent or upstream.
    """
    try:
        return [AgentModel(*config.place(text)) for text in texts or [config.harness.name]]
    except ValueError as error:
        raise ConfigError(str(error)) from error


def subjects_of(config: Config, arguments: Sequence[str]) -> list[Subject]:
    """Skills by path; a run gives its best skill and the place where that was trained.

    Raises:
        SkillError: one of them cannot be used.
        ConfigError: a run was trained with an upstream that the config does not have.
    """
    if not arguments or NONE in arguments:
        why = "is measured in every place anyway" if arguments else "name a skill or a run"
        raise SkillError(f"{', '.join(arguments) or 'no skill to transfer'}: {why}")
    found = []
    for text in dict.fromkeys(arguments):
        source = None
        if (Path(text) / LOG).is_file():
            (source,) = places_of(config, [_trained_in(Path(text))])
        short = label(text, arguments)
        found.append(Subject(text if short == NONE else short, read_skill_or_run(text), source))
    return found


def _trained_in(run: Path) -> str:
    """The place in which a run has trained, as :func:`places_of` takes it."""
    state, _ = read_state(run)
    settings = state.created.config if state.created else {}
    target = settings["target"]
    return f"{settings['harness']['name']}:{target['upstream']}:{target['name']}"


def transfer(
    config: Config,
    subjects: Sequence[Subject],
    places: Sequence[AgentModel],
    splits: Sequence[Split],
    *,
    replicates: int = 1,
    listeners: Sequence[Listener] = (),
    plugins: Plugins = Plugins(),
) -> Iterator[Cell]:
    """Fill the matrix, cell by cell: where skills were trained first, then the others.

    What is in the rollout store is not run again, so an interrupted matrix resumes. A cell that
    cannot be run is reported as failed, and the others are filled.

    Args:
        config: names tasks, upstreams and sandbox.
        subjects, places, splits: the matrix; the source places of the subjects are added.
        replicates: rollouts of each task.
        listeners, plugins: as for :func:`skillopt.train`.

    Raises:
        ConfigError: a place's agent or upstream is not known.
        LimitReachedError: a limit of the config, which applies to the whole matrix, was reached.
        SandboxError: there is no engine.
    """
    sources = [subject.source for subject in subjects if subject.source]
    ordered = list(dict.fromkeys([*sources, *places]))
    skills = {NONE: None, **{subject.name: subject.skill for subject in subjects}}
    agents = [place.harness for place in ordered if place.harness in CLI_AGENTS]
    prepared = prepare(config, plugins=plugins, needs=splits, harnesses=agents)
    listener = tell_all(listeners)

    def scored(place: AgentModel, split: Split) -> dict[str, Row | str]:
        """The rows of all skills, each compared with no skill; or what went wrong with one."""
        found: dict[str, Row | str] = {}
        for name in skills:
            try:
                there = replace(prepared, config=with_target(config, place.model))
                pair = {NONE: None, name: skills[name]}
                listener(EvaluationStarted(len(pair) * replicates * len(prepared.splits[split])))
                *_, found[name] = score(there, pair, split, [place.harness], listener, replicates)
            except (PausedError, SkillError) as error:
                listener(Noted(text=f"{name} in {place.label}, {split}: failed: {error}"))
                if name == NONE:  # There is nothing to compare the others with.
                    return dict.fromkeys(skills, str(error))
                found[name] = str(error)
        return found

    for split in dict.fromkeys(splits):
        # The share of the gain that a cell keeps needs the source cells, so these come first.
        known = {place: scored(place, split) for place in dict.fromkeys(sources)}
        for place in ordered:
            rows = known.get(place) or scored(place, split)
            for subject in subjects:
                row, is_source = rows[subject.name], place == subject.source
                source = known[subject.source][subject.name] if subject.source else ""
                kept = None if is_source else _kept(source, row)
                whole, failed = (None, row) if isinstance(row, str) else (row, "")
                yield Cell(subject.name, place, split, whole, failed, is_source, kept)


def _kept(source: Row | str, row: Row | str) -> Estimate | None:
    if isinstance(source, str) or isinstance(row, str):
        return None
    weights = row.weights(sorted(row.means))
    counts = list(weights.values())
    sides = [[one.runs[name] for name in weights] for one in (source, row)]
    runs = min(all_or_nothing_runs(side, counts) for side in sides)
    return kept_share(_gains(source, weights), _gains(row, weights), counts, runs)


def _gains(row: Row, names: Iterable[str]) -> list[float]:
    assert row.first is not None
    before = row.first.means
    return [row.means[name] - before[name] for name in names]


def cell_json(cell: Cell) -> dict[str, Any]:
    """One cell as a flat mapping, for CSV and JSON."""
    row = cell.row
    first = row.first if row else None
    usage = row.usage if row else None
    return {
        "skill": cell.subject,
        "harness": cell.place.harness,
        "model": cell.place.model,
        "split": cell.split,
        "trained_here": cell.is_source,
        "tasks": len(row.means) if row else None,
        "none": first.score.value if first else None,
        **_interval("solved", row.score if row else None),
        **_interval("gain", row.gain if row else None),
        **_interval("gain_kept", cell.kept),
        "metric": row.scorer.metric if row else None,
        "verdict": row.claim.verdict if row and row.claim else None,
        "p": row.claim.p if row and row.claim else None,
        "visible_gain": row.claim.visible if row and row.claim else None,
        "skill_activated": row.activation if row else None,
        "tokens": usage.prompt_tokens + usage.completion_tokens if usage else None,
        "cost_usd": usage.cost_usd if usage else None,
        "failed": cell.failed,
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
    for x, column in enumerate(columns):
        parts.append(_text(left + x * width + width / 2, top - 14, escape(column), "middle"))
    for y, (subject, split) in enumerate(lines):
        parts.append(
            _text(
                left - 12, top + y * height + height / 2 + 5, escape(f"{subject}, {split}"), "end"
            )
        )
    for cell in cells:
        x, y = columns.index(cell.place.label), lines.index((cell.subject, cell.split))
        at = (left + x * width, top + y * height)
        stroke = ' stroke="#1a1a1a" stroke-width="2"' if cell.is_source else ""
        parts.append(
            f'<rect x="{at[0] + 2}" y="{at[1] + 2}" width="{width - 4}" height="{height - 4}" '
            f'rx="4" fill="{_colour(cell)}"{stroke}/>'
        )
        shown = "failed"
        if cell.row and cell.row.gain:
            shown = f"{100 * cell.row.score.value:.0f} % ({100 * cell.row.gain.value:+.0f})"
        kept = "trained here" if cell.is_source else ""
        kept = f"{100 * cell.kept.value:.0f} % of the gain kept" if cell.kept else kept
        parts.append(_text(at[0] + width / 2, at[1] + height / 2, shown, "middle", 600))
        parts.append(_text(at[0] + width / 2, at[1] + height / 2 + 17, kept, "middle", 400, 11))
    word = next((cell.row.scorer.word for cell in cells if cell.row), "solved")
    note = f"{word} (gain in points over no skill); framed: where the skill was trained"
    parts.append(_text(left, size[1] - 12, note, "start", 400, 11))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, anchor: str, weight: int = 400, size: int = 14) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-weight="{weight}" '
        f'font-size="{size}" fill="#1a1a1a">{text}</text>'
    )


def _colour(cell: Cell) -> str:
    """From orange through white to blue for -1 to 1, which colour-blind people can distinguish."""
    if cell.row is None or cell.row.gain is None:
        return "#cccccc"
    gain = cell.row.gain.value
    strength = min(abs(gain), 1.0)
    end = (94, 160, 214) if gain >= 0 else (236, 150, 70)
    mixed = (round(255 + (channel - 255) * strength) for channel in end)
    return f"rgb({','.join(map(str, mixed))})"
