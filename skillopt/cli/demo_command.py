"""``skillopt demo``: the quickstart from end to end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillopt.cli import guarded
from skillopt.cli.common import output

if TYPE_CHECKING:
    from skillopt.cli.progress import Display
    from skillopt.config.schema import Config
    from skillopt.evaluation.scoring import Row
    from skillopt.training.start import RunResult


@click.command("demo")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option(
    "--local-model",
    is_flag=True,
    help="Train a small real language model instead, in direct chat (extra 'local').",
)
@guarded
def command(runs: Path, local_model: bool) -> None:
    """Train the quickstart's skill inside Codex in Docker, then score the initial and the trained
    skill in Codex, Claude Code and direct chat.

    Needs no key: the model is simulated, everything else is real. Without Docker, direct chat is
    used for everything.
    """
    if local_model:
        _local(runs)
        return
    from skillopt.cli.doctor import missing_for_docker
    from skillopt.cli.progress import Display, say
    from skillopt.config.inputs import read_config

    started = time.monotonic()
    missing = missing_for_docker()
    if missing:
        say(f"Codex and Claude Code need Docker, so only direct chat is used:\n{missing}")
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
    from skillopt.evaluation.evaluate import evaluate
    from skillopt.run.records import Noted
    from skillopt.training.start import train

    result = train(config, listeners=[display])
    display(Noted(text=f"scoring both skills on the test split in {', '.join(harnesses)}"))
    skills = {"initial": result.initial, "trained": result.best}
    return result, evaluate(config, skills, harnesses=harnesses, listeners=[display])


def _report(result: RunResult, rows: list[Row]) -> None:
    from skillopt.cli.tables import print_diff, print_scores

    console = output()
    print_diff(console, result.initial.text, result.best.text, ("initial", "trained"))
    count = len(rows[0].rollouts)
    print_scores(console, rows, f"{result.folder.name}: {count} held-out tasks, simulated model")


def _local(runs: Path) -> None:
    """Train SmolLM2 as its own optimizer, and print its scores with those to compare them with."""
    from skillopt.cli.local_demo import train_and_compare
    from skillopt.cli.progress import Display, say
    from skillopt.cli.tables import print_diff, print_scores
    from skillopt.config.inputs import read_config

    started = time.monotonic()
    config = read_config("quickstart/smollm2", {"runs": str(runs)})
    say(f"SmolLM2 (135 million parameters) trains a skill for itself; rollouts are kept in {runs}")
    with Display() as display:
        result, rows = train_and_compare(config, [display])
    console = output()
    print_diff(console, result.initial.text, result.best.text, ("hand-written", "trained"))
    count = len(rows[0].rollouts)
    print_scores(console, rows, f"{count} held-out questions, SmolLM2-135M-Instruct")
    actions = [row.get("action") for row in result.history]
    say(
        f"the gate accepted {actions.count('accept')} of {len(actions)} steps; "
        f"done in {time.monotonic() - started:.0f} s"
    )
