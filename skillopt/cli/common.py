"""What several commands share: options and consoles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harnesses.agents.registry import CLI_AGENTS
from skillopt.config.loading import ConfigError, parse_yaml

if TYPE_CHECKING:
    from rich.console import Console

    from skillopt.config.schema import Config
    from skillopt.report.view import RunView

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


run_argument = click.argument("run", type=Run(), metavar="RUN")
runs_argument = click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=Run())
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the config, dotted, as YAML: --set train.epochs=1",
)


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` options as overrides; values are YAML.

    Raises:
        ConfigError: one of them has no ``=``, is not YAML, or would undo another one.
    """
    overrides: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: must be KEY=VALUE")
        found = parse_yaml(value, f"--set {setting}")
        for known, before in overrides.items():
            # The last of several plain values counts, as for options; a section would be lost.
            whole = known == key and (isinstance(before, dict) or isinstance(found, dict))
            if whole or known.startswith(f"{key}."):
                raise ConfigError(f"--set {setting}: {known} is already set; give it once")
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


def output() -> Console:
    """The console for results; progress goes to standard error."""
    from rich.console import Console

    console = Console(highlight=False)
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
