"""What several commands share: options and consoles."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harnesses.agents.registry import CLI_AGENTS
from skillopt.config.loading import ConfigError, parse_yaml

if TYPE_CHECKING:
    from rich.console import Console

    from skillopt.config.schema import Config
    from skillopt.report.view import RunView
    from skillopt.rollouts.catalogue import Filter

DESTINATION = f"{', '.join(CLI_AGENTS)} or a folder of skills"


class Run(click.ParamType[Path]):
    """A run's folder, or its name below ``runs``."""

    name = "run"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        from skillopt.core.errors import SkillOptError, file_errors
        from skillopt.run.folder import find_run

        try:
            with file_errors():
                return find_run(value)
        except SkillOptError as error:
            self.fail(str(error), param, ctx)


class FileToWrite(click.Path):
    """A file that a command writes; it may be missing, or is replaced as a whole. So it is no
    device or pipe, which would be replaced by a file."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not str(value):
            self.fail("the name is empty; give a file's name", param, ctx)
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        try:
            special = path.exists() and not path.is_file()
        except OSError:  # Such as a name that is too long, which writing it explains.
            special = False
        if special:
            self.fail(f"{path} is no file; give a file's name", param, ctx)
        return path


run_argument = click.argument("run", type=Run(), metavar="RUN")
runs_argument = click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=Run())
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the config, dotted, as YAML: --set train.epochs=1",
)


def parse_settings(settings: tuple[str, ...], flag: str = "--set") -> dict[str, Any]:
    """``KEY=VALUE`` options as overrides; values are YAML.

    Raises:
        ConfigError: one of them has no ``=``, is not YAML, or would undo another one.
    """
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"{flag} {setting}: must be KEY=VALUE")
        found = parse_yaml(value, f"{flag} {setting}")
        for known, before in overrides.items():
            # The last of several plain values counts, as for options; a section would be lost.
            whole = known == key and (isinstance(before, dict) or isinstance(found, dict))
            if whole or known.startswith(f"{key}."):
                raise ConfigError(f"{flag} {setting}: {known} is already set; give it once")
        overrides[key] = found
    return overrides


def warn_of_network(config: Config) -> None:
    """Warn in red about a sandbox with an open network."""
    from rich.console import Console

    for key in ("network", "verifier_network"):
        if getattr(config.sandbox, key) == "open":
            Console(stderr=True, highlight=False).print(
                f"sandbox.{key} is open: programs there can reach everything that this machine "
                "can, and can send out whatever they are given",
                style="bold red",
                soft_wrap=True,
            )


runs_option = click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The folder of runs, which has the store.",
)


def rollout_filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that choose stored rollouts; a rollout has to match all that are given."""
    when = "A date (2026-11-26), a time (2026-11-26T09:30), or an age (30m, 12h, 7d)."
    for names, metavar, text in (
        (("--task", "tasks"), "NAME", "Name of a task, or a pattern such as 'logs-*'."),
        (("--skill", "skills"), "SKILL", "A skill, a run, the beginning of a digest, or 'none'."),
        (("--status", "statuses"), "STATUS", "completed, agent_timeout or agent_error."),
        (("--harness", "harnesses"), "NAME", "Name of the agent."),
        (("--model", "models"), "NAME", "Name of the model."),
    ):
        option = click.option(*names, multiple=True, metavar=metavar, help=text)
        function = option(function)
    for name in ("before", "after"):
        text = f"Stored {name} this: {when[0].lower()}{when[1:]}"
        function = click.option(f"--{name}", metavar="TIME", help=text)(function)
    return function


def chosen_rollouts(
    keys: Sequence[str],
    tasks: tuple[str, ...],
    skills: tuple[str, ...],
    statuses: tuple[str, ...],
    harnesses: tuple[str, ...],
    models: tuple[str, ...],
    before: str | None,
    after: str | None,
) -> Filter:
    """The options of :func:`rollout_filters` as a filter.

    Raises:
        SkillError: there is no such skill.
        click.UsageError: a time, a status or a key cannot be read.
    """
    from harnesses.base import Status
    from skillopt.rollouts.catalogue import Filter

    scored = [status.value for status in Status if status.scored]
    for status in statuses:
        if status not in scored:
            raise click.UsageError(f"--status {status}: not one of {', '.join(scored)}")
    for key in keys:
        if not re.fullmatch("[0-9a-f]{4,64}", key):
            raise click.UsageError(f"{key}: not the beginning of a key: 4 to 64 of 0-9 and a-f")
    return Filter(
        keys=tuple(keys),
        tasks=tasks,
        skills=tuple(_skill_digest(text) for text in skills),
        statuses=statuses,
        harnesses=harnesses,
        models=models,
        before=moment(before, "--before"),
        after=moment(after, "--after"),
    )


def _skill_digest(text: str) -> str | None:
    from skillopt.config.inputs import read_skill_or_run

    if not Path(text).exists() and re.fullmatch("[0-9a-f]{6,64}", text):
        return text
    skill = read_skill_or_run(text)
    return skill.digest if skill else None


def moment(text: str | None, option: str) -> float | None:
    """A time, or the time an age ago, in seconds since 1970."""
    if text is None:
        return None
    age = re.fullmatch(r"(\d+)([mhd])", text)
    if age:
        return time.time() - int(age[1]) * {"m": 60, "h": 3600, "d": 86400}[age[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise click.UsageError(
            f"{option} {text}: neither a date nor a time (2026-11-26T09:30) nor an age (12h)"
        ) from None


def show_text(console: Console, text: str, style: str | None = None) -> None:
    """Print text that is not this project's: a model's, an agent's, a user's. Nothing in it is a
    command to the terminal, markup, or the name of an emoji."""
    from skillopt.core.text import printable

    console.print(
        printable(text), style=style, markup=False, emoji=False, highlight=False, soft_wrap=True
    )


def say_left_out(text: str) -> None:
    """Say on standard error what is in a skill's folder and no part of the skill."""
    from skillopt.config.inputs import left_out_of
    from skillopt.core.text import printable

    names = left_out_of(text)
    if names:
        click.echo(printable(f"left out: {', '.join(names)}"), err=True)


def output() -> Console:
    """The console for results; progress goes to standard error."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = max(console.width, 120)  # There is no window that limits the width.
    return console


def read_views(runs: Sequence[Path]) -> list[RunView]:
    """The views of runs that were named on the command line."""
    from skillopt.report.view import read_run

    return [read_run(run) for run in runs]


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--to``, ``--scope`` and ``--as``: where a skill is deployed."""
    for option in (
        click.option(
            "--as",
            "form",
            type=click.Choice(["skill", "instructions"]),
            default="skill",
            show_default=True,
            help="A skill of its own, or a marked block in AGENTS.md or CLAUDE.md.",
        ),
        click.option(
            "--scope", type=click.Choice(["user", "project"]), default="user", show_default=True
        ),
        click.option("--to", metavar="AGENT", help=f"{DESTINATION}."),
    ):
        function = option(function)
    return function
