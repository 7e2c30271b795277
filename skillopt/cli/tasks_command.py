"""``skillopt tasks``: make, list and check tasks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import (
    output,
    parse_settings,
    set_option,
    show_text,
    warn_of_network,
)

if TYPE_CHECKING:
    from skillopt.cli.rows_report import RowsReport
    from skillopt.cli.tasks_report import Report
    from skillopt.config.network import Network
    from skillopt.core.types import BaseImage, Split, Task
    from skillopt.tasks.solving import Trial
    from skillopt.tasks.validate import Problem, TaskSet


options_option = click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE",
    help="A key of tasks.options, of eval files or prompts with answers; may be repeated.",
)  # fmt: skip


@click.group("tasks")
def command() -> None:
    """Make, list and check tasks (folders in Harbor's format)."""


@command.command("make")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=7, show_default=True)
@guarded
def make(folder: Path, seed: int) -> None:
    """Write the quickstart's 60 tasks to FOLDER, which must not exist."""
    from skillopt.tasks.generated import whole_folder
    from skillopt.tasks.quickstart.generator import generate

    with whole_folder(folder) as fresh:
        generate(fresh, seed)
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


@command.command("import")
@click.argument("source")
@click.argument("folder", type=click.Path(path_type=Path))
@options_option
@guarded
def import_(source: str, folder: Path, options: tuple[str, ...]) -> None:
    """Write the tasks of SOURCE, an eval file or prompts with answers, as task folders to FOLDER.

    That is only needed to edit them one by one: 'tasks.source' takes SOURCE as it is.
    """
    from skillopt.tasks.importing import write_folders

    with TemporaryDirectory() as made:
        found = read_source(source, Path(made), options)
        splits: dict[Split | None, list[Task]] = {}
        for one in found.found:
            if one.task is not None:
                splits.setdefault(one.split, []).append(one.task)
        count = write_folders(splits, folder)
    for problem in found.problems:
        click.echo(f"left out: {problem.message}", err=True)
    click.echo(f"wrote {count} tasks to {folder}")
    if not count:
        sys.exit(EXIT_FAILED)


@command.command("from-jsonl")
@click.argument("file")
@click.option("--prompt", help="The column of the prompt, or a text with columns in braces.")
@click.option("--answer", help="The column of the expected answer.")
@click.option("--answer-pattern", help="A regular expression that finds the answer in its column.")
@click.option("--scorer", help="A named scorer, 'program', module:function, or 'command: …'.")
@options_option
@click.option(
    "--out", type=click.Path(path_type=Path), help="Also write the tasks as folders, as import."
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def from_jsonl(
    file: str,
    prompt: str | None,
    answer: str | None,
    answer_pattern: str | None,
    scorer: str | None,
    options: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Check prompts with answers in FILE: JSON lines, JSON, CSV, TSV or Parquet.

    Shows which columns are used, the first task and the lines of a config that reads the file.
    """
    from skillopt.cli.rows_report import RowsReport
    from skillopt.tasks.importing import write_folders

    named = {
        "prompt": prompt, "answer": answer, "answer_pattern": answer_pattern, "scorer": scorer,
    }  # fmt: skip
    given = parse_settings(options, "--option") | {k: v for k, v in named.items() if v is not None}
    with TemporaryDirectory() as made:
        report = RowsReport.of(file, given, Path(made))
        if out is not None:
            write_folders(report.splits, out)
    _print(report, as_json)
    if out is not None and not as_json:
        click.echo(f"wrote {report.tasks} tasks to {out}")


@command.command("from-repo")
@click.argument("repository", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--ref", default="HEAD", show_default=True, help="Where the history begins.")
@click.option(
    "--commits",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="The most commits to look at.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=40, show_default=True, help="The most tasks to make."
)
@click.option("--kind", default="", help="Of the project: python, node, go, rust or make.")
@click.option("--base", help="An image with the project's tools, instead of Debian's.")
@click.option(
    "--setup",
    multiple=True,
    metavar="COMMAND",
    help="A shell command to run when the image is built; may be repeated.",
)
@click.option(
    "--test",
    default="",
    metavar="COMMAND",
    help="Runs all tests; its exit code decides. By default the kind's own.",
)
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=300,
    show_default=True,
    help="Seconds that the tests may take.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def from_repo(as_json: bool, **given: Any) -> None:
    """Make tasks of REPOSITORY's commits that change code and its tests, in FOLDER.

    A task starts with the files before the commit, without later history and without the commit's
    tests. It is kept if the same tests fail before the commit and pass after it, three times.
    """
    from skillopt.cli.from_repo import make_from_repo

    sys.exit(make_from_repo(as_json=as_json, **given))


@command.command("validate")
@click.argument("folder")
@options_option
@click.option(
    "--solve", is_flag=True, help="Also run each task's solution, an empty run, and traps."
)
@click.option(
    "--repeat",
    type=click.IntRange(1),
    metavar="N",
    help="Let the tests judge the same work N times, and name verdicts that differ. Implies "
    "--solve.",
)
@click.option(
    "--baseline",
    type=click.IntRange(1),
    metavar="N",
    help="Also run each task N times without a skill, as eval does. Needs --config.",
)
@click.option("--config", help="Names agent, model and sandbox for --baseline, as for train.")
@set_option
@click.option("--strict", is_flag=True, help="Count warnings as problems.")
@click.option(
    "--environment",
    metavar="WHAT",
    help="What tasks without an environment start from, as tasks.environment: a devcontainer.json, "
    "a Dockerfile, a folder that has one, or an image.",
)
@click.option("--local", is_flag=True, help="Run them as local processes, without Docker.")
@click.option(
    "--network",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="What solutions and tests may reach: registries, installers, open, or a host; may be "
    "repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@guarded
def validate(
    folder: str,
    options: tuple[str, ...],
    solve: bool,
    repeat: int | None,
    baseline: int | None,
    config: str | None,
    settings: tuple[str, ...],
    strict: bool,
    environment: str | None,
    local: bool,
    hosts: tuple[str, ...],
    as_json: bool,
) -> None:
    """Report on the tasks of FOLDER: a task, a folder of tasks, one with train, val and test, eval
    files, or prompts with answers.

    It says of each task whether it can be used and what it needs, which tasks are alike, and what
    gains the splits can show.

    With --solve, each task's solution must get reward 1, an empty run less, and so must a run that
    only leaves traps: files that a careless verifier would run. The last is a warning. With
    --baseline, tasks are named that always or never pass without a skill; rollouts that are in the
    store are not run again.
    """
    from tempfile import TemporaryDirectory

    from skillopt.cli.tasks_report import Report
    from skillopt.tasks.own_image import own_image

    if (baseline is None) != (config is None) or (settings and config is None):
        raise click.UsageError("--baseline and --config go together, and --set with them")
    network = network_of(hosts)
    with TemporaryDirectory() as folder_of_made:
        made = Path(folder_of_made) / "tasks"
        own = own_image(environment, str(folder), made) if environment else None
        found = read_source(folder, made, options, own)
        report = Report(found)
        if solve or repeat is not None:
            trials, untried = _try(found.tasks, local, network, repeat or 1)
            report = replace(report, trials=trials, untried=untried)
        if baseline is not None and config is not None:
            passed = _passed(found, config, settings, baseline)
            report = replace(report, passed=passed, runs=baseline)
    _print(report, as_json)
    if any(strict or not problem.warning for problem in report.problems):
        sys.exit(EXIT_FAILED)


@command.command("judge")
@click.argument("config")
@click.option(
    "--labels",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="People's verdicts, one a line, as JSON or CSV.",
)
@set_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def judge(config: str, labels: Path, settings: tuple[str, ...], as_json: bool) -> None:
    """Compare the judge of CONFIG with people's verdicts on stored rollouts.

    Each line of FILE has a rollout (the beginning of its key) or a task, an expectation (its words
    or its number), and a verdict: met or unmet. Stored work that this judge has not judged yet is
    judged; no agent runs. The result is kept beside FILE, where train looks for it.
    """
    from skillopt.config.inputs import read_config
    from skillopt.core.files import to_json
    from skillopt.evaluation.agreement import check_judge

    found = check_judge(read_config(config, parse_settings(settings)), labels)
    if as_json:
        click.echo(to_json(found.to_json()), nl=False)
    else:
        console = output()
        for line in (*found.differing, *(f"not judged: {why}" for why in found.not_judged)):
            show_text(console, line)
        show_text(console, found.words)
        show_text(console, found.cost)
    if found.not_judged:
        sys.exit(EXIT_FAILED)


def read_source(
    source: str, made: Path, options: tuple[str, ...], own: BaseImage | None = None
) -> TaskSet:
    """The tasks that an argument names, with the options of ``--option``; those without an
    environment start from ``own``."""
    from skillopt.tasks.validate import examine_source

    return examine_source(source, made, parse_settings(options, "--option"), own)


def _print(report: Report | RowsReport, as_json: bool) -> None:
    """Print a report, line by line or as JSON."""
    from skillopt.core.files import to_json

    if as_json:
        click.echo(to_json(report.to_json()), nl=False)
        return
    console = output()
    for line in report.lines():
        show_text(console, line)


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


def _try(
    tasks: Sequence[Task], local: bool, network: Network, repeat: int
) -> tuple[dict[str, Trial], list[Problem]]:
    """Try tasks; also say for which of them that was not possible."""
    from contextlib import closing

    from rich.console import Console
    from rich.progress import track

    from sandboxes.base import EngineUnavailableError, SandboxError
    from sandboxes.registry import make_backend
    from skillopt.config.network import access_to
    from skillopt.tasks.environment import Environments
    from skillopt.tasks.judging import verifier_site
    from skillopt.tasks.solving import try_task
    from skillopt.tasks.validate import Problem

    console = Console(stderr=True, emoji=False)
    trials: dict[str, Trial] = {}
    untried = []
    with (
        closing(make_backend("local" if local else "docker")) as backend,
        closing(backend.outlet(access_to(network, recorded=True), None)) as outlet,
    ):
        environments, site = Environments(backend), verifier_site(backend, outlet)
        for task in track(tasks, "solving", console=console):
            try:
                trials[task.name] = try_task(task, environments, site, repeat=repeat)
            except EngineUnavailableError:
                raise
            except SandboxError as error:  # The other tasks may have images that can be had.
                untried.append(Problem(task.name, f"cannot be tried: {error}"))
    return trials, untried


def _passed(found: TaskSet, config: str, settings: tuple[str, ...], runs: int) -> dict[str, int]:
    """How many of some runs without a skill solve each task that can be used."""
    from skillopt.cli.progress import Display
    from skillopt.config.inputs import read_config
    from skillopt.evaluation.evaluate import evaluate
    from skillopt.rollouts.plugins import Plugins

    own = {"tasks.source": str(found.folder), **parse_settings(settings)}
    checked = read_config(config, own)
    warn_of_network(checked)
    left = [task for task in found.tasks if task.name not in checked.tasks.exclude]
    checked = read_config(config, {**own, "tasks.exclude": []})
    with Display() as display:
        (row,) = evaluate(
            checked,
            {"none": None},
            replicates=runs,
            listeners=[display],
            plugins=Plugins(tasks={"test": left}),
        )
    return {name: round(share * runs) for name, share in row.means.items()}
