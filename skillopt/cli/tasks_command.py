"""``skillopt tasks``: make, list and check tasks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import output, show_text

if TYPE_CHECKING:
    from skillopt.config.network import Network
    from skillopt.tasks.validate import Problem


@click.group("tasks")
def command() -> None:
    """Make, list and check tasks (folders in Harbor's format)."""


@command.command("make")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=7, show_default=True)
@guarded
def make(folder: Path, seed: int) -> None:
    """Write the quickstart's 60 tasks to FOLDER, which must not exist."""
    from skillopt.tasks.quickstart.generator import generate

    if folder.exists():
        raise click.UsageError(f"{folder}: already exists; name another folder")
    generate(folder, seed)
    click.echo(f"wrote 60 tasks to {folder}")


@command.command("list")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def list_(folder: Path, as_json: bool) -> None:
    """List the tasks of FOLDER."""
    from skillopt.core.files import to_json
    from skillopt.tasks.harbor import read_tasks

    tasks = read_tasks(folder)
    rows = [{"task": t.name, "family": t.family, "digest": t.digest} for t in tasks]
    if as_json:
        click.echo(to_json(rows), nl=False)
    for row in rows if not as_json else ():
        click.echo(f"{row['task']}\t{row['family']}\t{row['digest'][:12]}")


@command.command("validate")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--solve", is_flag=True, help="Also run each task's solution, an empty run, and traps."
)
@click.option("--strict", is_flag=True, help="Count warnings as problems.")
@click.option("--local", is_flag=True, help="Run them as local processes, without Docker.")
@click.option(
    "--network",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="What solutions and tests may reach: registries, installers, open, or a host; may be "
    "repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
@guarded
def validate(
    folder: Path, solve: bool, strict: bool, local: bool, hosts: tuple[str, ...], as_json: bool
) -> None:
    """Check the tasks of FOLDER: a task, a folder of tasks, or one with train, val and test.

    With --solve, each task's solution must get reward 1, an empty run less, and so must a run that
    only leaves traps: files that a careless verifier would run. The last is a warning. What the
    tasks need is said for each: root's rights, and hosts with --network.
    """
    from skillopt.cli.progress import say
    from skillopt.core.files import to_json
    from skillopt.tasks import validate as checks

    problems = checks.validate(folder)
    for names in [] if problems else checks.alike(folder):
        say(
            f"with the same content: {names}; in one split they are run once and count "
            "as often as they are there, in different splits they are refused"
        )
    told = [] if problems else checks.notes(folder)
    if solve and not problems:
        problems = _solve(folder, local, network_of(hosts))
    if as_json:
        click.echo(to_json([vars(problem) for problem in problems]), nl=False)
    else:
        for note in told:
            show_text(output(), f"{note.task}: note: {note.message}")
        for problem in problems:
            kind = "warning: " if problem.warning else ""
            show_text(output(), f"{problem.task}: {kind}{problem.message}")
        click.echo(_summary(problems))
    if any(strict or not problem.warning for problem in problems):
        sys.exit(EXIT_FAILED)


def network_of(words: tuple[str, ...]) -> Network:
    """The network that the words of ``--network`` describe.

    Raises:
        click.UsageError: one is no host, or ``open`` is not the only one.
    """
    from sandboxes.access import HostRule

    if words in ((), ("open",)):
        return "open" if words else "none"
    for word in words:
        if word == "open":
            raise click.UsageError("--network open: it is everything; leave the others out")
        try:
            HostRule.parse(word)
        except ValueError as error:
            raise click.UsageError(f"--network: {error}") from None
    return words


def _summary(problems: list[Problem]) -> str:
    warnings = sum(problem.warning for problem in problems)
    errors = len(problems) - warnings
    told = f"{errors} problem(s)" if errors else "all tasks are valid"
    return f"{told}, {warnings} warning(s)" if warnings else told


def _solve(folder: Path, local: bool, network: Network) -> list[Problem]:
    from contextlib import closing

    from rich.console import Console
    from rich.progress import track

    from sandboxes.base import EngineUnavailableError, SandboxError
    from sandboxes.registry import make_backend
    from skillopt.config.network import access_to
    from skillopt.tasks.environment import Environments
    from skillopt.tasks.harbor import read_task, read_tasks
    from skillopt.tasks.judging import verifier_site
    from skillopt.tasks.validate import Problem, solve

    tasks = [read_task(folder)] if (folder / "task.toml").exists() else read_tasks(folder)
    console = Console(stderr=True, emoji=False)
    found = []
    with (
        closing(make_backend("local" if local else "docker")) as backend,
        closing(backend.outlet(access_to(network, recorded=True), None)) as outlet,
    ):
        environments, site = Environments(backend), verifier_site(backend, outlet)
        for task in track(tasks, "solving", console=console):
            try:
                found += solve(task, environments, site)
            except EngineUnavailableError:
                raise
            except SandboxError as error:  # The other tasks may have images that can be had.
                found.append(Problem(task.name, f"cannot be tried: {error}"))
    return found
