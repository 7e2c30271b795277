"""The command line. Commands are modules of this package, imported when they are called."""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NoReturn

import click

COMMANDS = {
    "init": "Set up the training of a skill: find what is here, write a config.",
    "train": "Train a skill with a config.",
    "eval": "Score skills on a split, in one or more agents.",
    "demo": "Train the quickstart's skill and show its scores.",
    "runs": "List runs, or rebuild a run's files from its event log.",
    "store": "List, count, show, unpack, check and remove the stored rollouts.",
    "rejudge": "Judge the kept work of stored rollouts again, without an agent.",
    "report": "Write an HTML file about runs: scores, edits, trajectories.",
    "ui": "Serve the same page on loopback, live while training runs.",
    "show": "Show a run: scores, decisions and how the skill changed.",
    "compare": "Compare runs of any method on the same test tasks; train what is missing.",
    "watch": "Score a skill after each save, or report when a deployed one changes.",
    "transfer": "Score skills in other agents and models than they were trained in.",
    "deploy": "Put a skill where an agent finds it, and prove that it does.",
    "undeploy": "Undo all deployments of a skill to a place.",
    "rollback": "Undo the last deployment to a place.",
    "edits": "List a best skill's edits, or take one out and score the rest.",
    "package": "Write a skill as a plugin folder or an archive.",
    "skills": "Check skills as the agents and the specification read them.",
    "gate": "Measure what a selection split can show, and simulate gates.",
    "data": "Prepare the tasks of the paper's benchmarks.",
    "tasks": "Make, list and check tasks.",
    "harvest": "Make drafts of tasks from sessions with Codex and Claude Code.",
    "review": "Go through drafts of tasks: accept, edit, reject.",
    "images": "Build, list and remove the container images.",
    "agents": "Show the versions of the agents, or try one.",
    "login": "Sign in to an account whose plan pays for model calls.",
    "logout": "Sign out of an account: remove its tokens from this machine.",
    "doctor": "Check what works on this machine, and how to fix the rest.",
    "prices": "Show the price table of models, or renew it.",
    "clean": "Remove what dead runs left behind.",
}

EXIT_FAILED = 1
"""The command ran and its answer is no: a task is invalid, a check failed."""
EXIT_USAGE = 2
"""The arguments, a config, a task or a skill cannot be used (click's own code)."""
EXIT_PAUSED = 3
"""Infrastructure failed; running the same command again resumes."""
EXIT_LIMIT = 4
"""A limit of the config was reached; the same command resumes if the limit is raised."""
EXIT_INTERRUPTED = 130


class Lazy(click.Group):
    """A group that imports its commands when they are called, which keeps ``--help`` fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"skillopt.cli.{cmd_name}_command").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command. With ``--json``, usage errors are reported as JSON too."""
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            if not standalone_mode:
                raise
            if "--json" in (sys.argv[1:] if args is None else args):
                _print_json(type(error).__name__, error.format_message(), error.exit_code)
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            if not standalone_mode:
                raise
            click.echo("Aborted!", err=True)  # A question was not answered with yes.
            sys.exit(EXIT_FAILED)
        if standalone_mode:
            sys.exit(code if isinstance(code, int) else 0)
        return code


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="skillopt-harness")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Train agent skills inside the real coding agents that will use them.

    Exit codes: 0 done, 1 the answer is no, 2 unusable input, 3 paused by an infrastructure
    failure (run the same command again to resume), 4 stopped at a limit, 130 interrupted.
    """
    from skillopt.core.installation import WAY_OUT, other_package, overwritten

    if overwritten() and ctx.invoked_subcommand != "doctor":
        raise click.UsageError(f"{other_package() or 'files are missing'}: {WAY_OUT}")
    set_up_process()


def set_up_process() -> None:
    """Look for garbage less often: with Python's defaults that is a tenth of the time of a start
    and of a stream. And let threads share two of glibc's heaps: with one each, as it is by default,
    what one thread has given back is of no use to the others (mallopt(3), ``M_ARENA_MAX``)."""
    import ctypes
    import gc

    gc.set_threshold(10_000, 10, 10)
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(-8, 2)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the project's own errors into a message and an exit code; others stay tracebacks."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        from skillopt.core.errors import SkillOptError, file_errors
        from skillopt.core.import_path import OwnCodeError
        from skillopt.core.text import printable

        as_json = bool(kwargs.get("as_json"))
        # A run that is terminated cleans up as it does after Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with file_errors():
                return function(*args, **kwargs)
        except OwnCodeError as error:
            print(printable(error.traceback), end="", file=sys.stderr)
            _leave(type(error).__name__, str(error), error.exit_code, as_json)
        except SkillOptError as error:
            _leave(type(error).__name__, str(error), error.exit_code, as_json)
        except KeyboardInterrupt:
            message = "interrupted: run the same command again to resume"
            _leave("Interrupted", message, EXIT_INTERRUPTED, as_json)

    return call


def _leave(kind: str, message: str, code: int, as_json: bool) -> NoReturn:
    from skillopt.core.text import printable

    if as_json:
        _print_json(kind, message, code)
    print(f"skillopt: {printable(message)}", file=sys.stderr)
    sys.exit(code)


def _print_json(kind: str, message: str, code: int) -> None:
    """Print an error in place of the result."""
    print(json.dumps({"error": {"type": kind, "message": message, "exit_code": code}}, indent=2))
