"""``skillopt skills``: check skills as the agents and the specification read them."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

import click

from harnesses.agents.registry import CLI_AGENTS
from skillopt.cli import EXIT_FAILED, guarded


@dataclass(frozen=True)
class Checked:
    """What is to be said of one skill."""

    skill: str
    name: str
    errors: list[str]
    warnings: list[str]
    left_out: list[str]


@click.group("skills")
def command() -> None:
    """Check skills."""


@command.command("check")
@click.argument("skills", nargs=-1, required=True, metavar="SKILL...")
@click.option(
    "--agent",
    "agents",
    multiple=True,
    type=click.Choice(tuple(CLI_AGENTS)),
    help="Only for this agent; by default for all.",
)
@click.option("--strict", is_flag=True, help="Count the specification's objections as errors.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def check(skills: tuple[str, ...], agents: tuple[str, ...], strict: bool, as_json: bool) -> None:
    """Say what an agent would not load, and what the Agent Skills specification objects to.

    SKILL is a folder, a Markdown file, or a run (its best skill). What an agent would not load is
    an error, and makes the exit code 1; objections are warnings.
    """
    from skillopt.core.files import to_json

    found = [_checked(text, agents or tuple(CLI_AGENTS), strict) for text in skills]
    if as_json:
        click.echo(to_json([asdict(each) for each in found]), nl=False)
    else:
        for each in found:
            _show(each)
    if any(each.errors for each in found):
        sys.exit(EXIT_FAILED)


def _checked(text: str, agents: tuple[str, ...], strict: bool) -> Checked:
    from skillopt.config.inputs import left_out_of, read_skill_or_run
    from skillopt.core.skill import SkillError
    from skillopt.core.skill_rules import not_loaded, not_offered, objections

    try:
        skill = read_skill_or_run(text)
    except SkillError as error:
        return Checked(text, "", [str(error).removeprefix(f"{text}: ")], [], [])
    if skill is None:
        raise SkillError("'none' is not a skill that can be checked")
    errors = [reason for agent in agents if (reason := not_loaded(skill, agent))]
    warnings = list(objections(skill))
    warnings += [
        f"{agent} does not offer this skill to the model: disable-model-invocation is true"
        for agent in agents
        if not_offered(skill, agent)
    ]
    if strict:
        errors, warnings = [*errors, *objections(skill)], warnings[len(objections(skill)) :]
    return Checked(text, skill.name, errors, warnings, list(left_out_of(text)))


def _show(checked: Checked) -> None:
    from skillopt.core.text import printable

    lines = [
        *(f"error: {error}" for error in checked.errors),
        *(f"warning: {warning}" for warning in checked.warnings),
        *([f"left out: {', '.join(checked.left_out)}"] if checked.left_out else []),
    ]
    for line in lines or ["nothing to object to"]:
        click.echo(printable(f"{checked.skill}: {line}"))
