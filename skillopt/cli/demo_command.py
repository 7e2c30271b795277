"""``skillopt demo``: the quickstart from end to end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillopt.cli import guarded
from skillopt.cli.common import output

if TYPE_CHECKING:
    from skillopt.api import RunResult
    from skillopt.config import Config
    from skillopt.display import Display
    from skillopt.scoring import Row


@click.command("demo")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@guarded
def command(runs: Path) -> None:
    """Train the quickstart's skill inside Codex in Docker, then score the first and the trained
    skill in Codex, Claude Code and direct chat.

    Needs no key: the model is simulated, everything else is real. Without Docker the same is done
    in direct chat alone.
    """
    from skillopt.display import Display, say
    from skillopt.doctor import missing_for_docker
    from skillopt.inputs import read_config

    started = time.monotonic()
    missing = missing_for_docker()
    if missing:
        say(f"Codex and Claude Code need Docker, so this is direct chat alone:\n{missing}")
    name = "quickstart/local" if missing else "quickstart/codex"
    harnesses = ("direct",) if missing else ("codex", "claude-code", "direct")
    config = read_config(name, {"runs": str(runs)})
    say(f"training {config.skill.init} in {config.harness.name}; rollouts are kept in {runs}")
    with Display() as display:
        result, rows = _train_and_score(config, harnesses, display)
    _report(result, rows)
    say(f"done in {time.monotonic() - started:.0f} s; 'skillopt show {result.folder}' shows more")


def _train_and_score(
    config: Config, harnesses: tuple[str, ...], display: Display
) -> tuple[RunResult, list[Row]]:
    from skillopt.api import evaluate, train
    from skillopt.events import Note

    result = train(config, listeners=[display])
    display(Note(f"scoring both skills on the test split in {', '.join(harnesses)}"))
    skills = {"initial": result.initial, "trained": result.best}
    return result, evaluate(config, skills, harnesses=harnesses, listeners=[display])


def _report(result: RunResult, rows: list[Row]) -> None:
    from skillopt.tables import print_diff, print_scores

    console = output()
    print_diff(console, result.initial.text, result.best.text, ("initial", "trained"))
    count = len(rows[0].rollouts)
    print_scores(console, rows, f"{result.folder.name}: {count} held-out tasks, simulated model")
