"""``skillopt deploy``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import DESTINATION, output, place_options, say_left_out

if TYPE_CHECKING:
    from skillopt.core.skill import Skill
    from skillopt.deploy.places import Place


@click.command("deploy")
@click.argument("skill", required=False)
@place_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-proof", is_flag=True, help="Do not start the agent to prove the deployment.")
@click.option("--list", "list_", is_flag=True, help="Show what is deployed, and what has changed.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print as JSON.")
@guarded
def command(
    skill: str | None,
    to: str | None,
    scope: str,
    form: str,
    yes: bool,
    no_proof: bool,
    list_: bool,
    as_json: bool,
) -> None:
    """Put SKILL (a folder, a Markdown file, or a run's best) where an agent finds it.

    Shows the difference and asks, backs up what is there, and deploys. Then starts the real agent
    on a copy of all your skills and instructions, in a container and without any model service, to
    prove that it offers the skill and opens it. 'rollback' and 'undeploy' restore what was there
    before, byte for byte.
    """
    if list_:
        _list(as_json)
        return
    if skill is None or to is None:
        raise click.UsageError(f"name a SKILL and where it goes: --to {DESTINATION}")
    from skillopt.config.inputs import read_skill_or_run
    from skillopt.core.skill import SkillError
    from skillopt.core.skill_rules import not_loaded
    from skillopt.deploy.actions import deploy, with_provenance
    from skillopt.deploy.ledger import Ledger
    from skillopt.deploy.places import place_of
    from skillopt.deploy.source import source_of

    chosen = read_skill_or_run(skill)
    if chosen is None:
        raise SkillError("'none' is not a skill that can be deployed")
    place = place_of(to, scope, form)  # type: ignore[arg-type]  # click has checked them
    reason = not_loaded(chosen, place.agent) if form == "skill" else ""
    if reason:
        raise SkillError(f"{skill}: {reason}; or deploy it --as instructions")
    say_left_out(skill)
    source = source_of(Path(skill), chosen)
    ready = with_provenance(chosen, source)
    _show(ready, place)
    if not yes and not click.confirm(f"deploy to {place.target(ready.folder)}?", err=True):
        click.echo("nothing was changed")
        sys.exit(EXIT_FAILED)
    with Ledger() as ledger:
        entry = deploy(ready, place, ledger, source)
    click.echo(f"deployed {ready.folder} to {entry.target}")
    if not no_proof:
        _prove(ready, place)


def _show(skill: Skill, place: Place) -> None:
    """Print the difference to what is there."""
    from skillopt.cli.tables import print_diff
    from skillopt.deploy.actions import planned

    before, after = planned(skill, place)
    print_diff(output(), before, after, (str(place.target(skill.folder)), "to be deployed"))


def _prove(skill: Skill, place: Place) -> None:
    from skillopt.core.text import printable
    from skillopt.deploy.proof import prove

    proof = prove(place, skill)
    word = {True: "proved", False: "FAILED", None: "not proved"}[proof.ok]
    click.echo(printable(f"{word}: {proof.detail}"))
    if proof.ok is False:
        sys.exit(EXIT_FAILED)


def _list(as_json: bool) -> None:
    from dataclasses import asdict

    from skillopt.cli.tables import print_deployments
    from skillopt.core.files import to_json
    from skillopt.deploy.actions import list_standing
    from skillopt.deploy.ledger import Ledger

    with Ledger() as ledger:
        found = list_standing(ledger)
    if as_json:
        rows = [{**asdict(standing.entry), "state": standing.state} for standing in found]
        click.echo(to_json(rows), nl=False)
    else:
        print_deployments(output(), found)
