"""``skillopt init``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillopt.cli import guarded
from skillopt.cli.common import FileToWrite, output, show_text

if TYPE_CHECKING:
    from skillopt.setup.services import Service
    from skillopt.setup.setting_up import Found


@click.command("init")
@click.argument("skill", required=False)
@click.option(
    "--tasks",
    metavar="SOURCE",
    help="As tasks.source: a folder, an eval file, a pattern; or 'example' for two examples. "
    "[default: eval files beside the skill, or the folder tasks]",
)
@click.option("--agent", metavar="NAME", help="codex, claude-code, opencode or direct.")
@click.option("--service", metavar="NAME", help="anthropic, openai, minimax or sim (simulated).")
@click.option(
    "--environment",
    metavar="WHAT",
    help="What tasks without an environment start from: a devcontainer.json, a Dockerfile, an "
    "image; or 'none'.",
)
@click.option(
    "--output",
    type=FileToWrite(),
    metavar="FILE",
    help="The config to write. [default: the skill's name with .yaml]",
)
@click.option("--yes", is_flag=True, help="Ask nothing; take the defaults.")
@click.option("--json", "as_json", is_flag=True, help="Ask nothing; print all as JSON.")
@guarded
def command(
    skill: str | None,
    tasks: str | None,
    agent: str | None,
    service: str | None,
    environment: str | None,
    output: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Set up the training of SKILL: a folder, a Markdown file, or the name of a skill that agents
    find here.

    Looks for skills, eval files, tasks, a devcontainer or Dockerfile, agents and keys; asks in a
    terminal for what these do not tell, at most three questions; writes a config with each key
    explained and, if there are no tasks, two examples. No file that is there is changed.
    """
    from skillopt.cli.doctor import engine_answers
    from skillopt.core.files import to_json
    from skillopt.setup import setting_up

    asks = not (yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty()
    found = setting_up.look(Path.cwd())
    path = _skill(found, skill, asks, yes)
    picked = setting_up.pick_agent(found, path, agent)
    choices = setting_up.chosen(
        found,
        path,
        tasks=tasks,
        agent=picked,
        service=_service(found, picked, service, asks),
        environment=_environment(found, environment, asks),
        output=output,
    )
    setup = setting_up.set_up(choices, found)
    engine = engine_answers()
    if not engine.ok:
        said = f"note: {engine.name}: {engine.detail}; {engine.advice}; 'skillopt doctor' has more"
        setup = replace(setup, notes=(*setup.notes, said))
    if as_json:
        written = {"format": setting_up.FORMAT, "found": found.to_json(), **setup.to_json()}
        click.echo(to_json(written), nl=False)
        return
    _print(found, setting_up.told(setup), [choices.baseline, choices.training])


def _skill(found: Found, given: str | None, asks: bool, yes: bool) -> Path:
    """The skill that is named, the only one of the project, the one that is asked for, or with
    ``--yes`` the likely one."""
    from skillopt.setup.setting_up import likely_skill, named_skill, no_skill, shown

    if given is not None:
        return named_skill(found, given)
    own = [one for one in found.skills if one.origin == "project"]
    likely = likely_skill(found)
    if likely is not None and (len(own) == 1 or yes):
        return likely.path
    if not found.skills or not asks:
        raise no_skill(found)
    names = [shown(one.path, found.here) for one in found.skills]
    start = found.skills.index(likely) if likely else 0
    return found.skills[_asked("Which skill is to be trained?", names, start)].path


def _service(found: Found, agent: str | None, given: str | None, asks: bool) -> Service:
    """The service that is named, the only one whose key is there, or the one that is asked for."""
    from skillopt.setup.services import SERVICES
    from skillopt.setup.setting_up import likely_service, named_service

    if given is not None:
        return named_service(given)
    likely = likely_service(found, agent)
    if not asks or len(found.machine.services) == 1:
        return likely
    known = list(SERVICES.values())
    lines = [
        f"{one.name}: {one.target}, {_key(one, found)}" if one.key_env else
        f"{one.name}: a simulated model, without key, network and cost" for one in known
    ]  # fmt: skip
    return known[_asked("Which model service?", lines, known.index(likely))]


def _key(service: Service, found: Found) -> str:
    there = service.key_env in found.machine.keys
    return f"{service.key_env} is {'set' if there else 'not set'}"


def _environment(found: Found, given: str | None, asks: bool) -> str:
    """What tasks start from: what is named, or one of what was found if the user wants it."""
    from skillopt.setup.setting_up import NO_ENVIRONMENT

    if given is not None:
        return "" if given == NO_ENVIRONMENT else given
    if not asks or not found.environments:
        return ""
    lines = ["the project's own image (Debian with Python and git)", *found.environments]
    chosen = _asked("What do tasks without an environment start from?", lines, 0)
    return found.environments[chosen - 1] if chosen else ""


def _asked(question: str, lines: list[str], default: int) -> int:
    """The index of the line that a user chooses by its number."""
    show_text(output(), question)
    for number, line in enumerate(lines, start=1):
        show_text(output(), f"  {number}  {line}")
    number = click.prompt("number", type=click.IntRange(1, len(lines)), default=default + 1)
    return int(number) - 1


def _print(found: Found, lines: list[str], commands: list[list[str]]) -> None:
    import shlex

    console = output()
    project, machine = found.project, found.machine
    for name, values in (
        ("skills", [one.name for one in found.skills][:8]),
        ("language", project.languages),
        ("tests", [project.test_command] if project.test_command else ()),
        ("container", [str(one.path) for one in project.environments]),
        ("agents (runs bring their own)", machine.agents),
        ("keys", machine.keys),
    ):
        if values:
            show_text(console, f"found {name}: {', '.join(values)}")
    for line in lines:
        show_text(console, line)
    show_text(console, "\nnext:")
    for words in commands:
        show_text(console, f"  {shlex.join(words)}")
