"""``skillopt deploy``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import DESTINATION, output, place_options, say_left_out

if TYPE_CHECKING:
    from skillopt.core.skill import Skill
    from skillopt.deploy.cautions import Script
    from skillopt.deploy.places import Place


@click.command("deploy")
@click.argument("skill", required=False)
@place_options
@click.option("--yes", is_flag=True, help="Do not ask; scripts also need --with-scripts.")
@click.option(
    "--with-scripts",
    is_flag=True,
    help="Deploy new and changed scripts, which agents run with your rights, without asking.",
)
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
    with_scripts: bool,
    no_proof: bool,
    list_: bool,
    as_json: bool,
) -> None:
    """Put SKILL (a folder, a Markdown file, or a run's best) where an agent finds it.

    Shows the difference and asks, and asks once more for new and changed scripts; backs up what is
    there, and deploys. A link stays, and what it leads to is changed. Then starts the real agent on
    a copy of all your skills and instructions, in a container and without any model service, to
    prove that it offers the skill and opens it. 'rollback' and 'undeploy' restore what was there
    before, byte for byte.
    """
    if list_:
        _list(as_json)
        return
    if skill is None or to is None:
        raise click.UsageError(f"name a SKILL and where it goes: --to {DESTINATION}")
    from skillopt.core.text import printable
    from skillopt.deploy.actions import deploy, is_there
    from skillopt.deploy.cautions import is_first
    from skillopt.deploy.ledger import Ledger

    ready, place, source = _read(skill, to, scope, form)
    if is_there(ready, place):
        where = place.target(ready.folder)
        click.echo(printable(f"{ready.folder} is already at {where}: nothing was changed"))
    else:
        scripts = _show(ready, place, Path(skill))
        known = with_scripts or (yes and is_first(ready, place, source))
        _ask(ready, place, scripts, yes, known)
        with Ledger() as ledger:
            entry = deploy(ready, place, ledger, source)
        click.echo(printable(f"deployed {ready.folder} to {entry.target}"))
    if not no_proof:
        _prove(ready, place)


def _read(skill: str, to: str, scope: str, form: str) -> tuple[Skill, Place, dict[str, Any]]:
    """The skill with its provenance, the place, and the provenance itself."""
    from skillopt.config.inputs import read_skill_or_run
    from skillopt.core.skill import SkillError
    from skillopt.core.skill_rules import not_loaded
    from skillopt.deploy.actions import with_provenance
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
    return with_provenance(chosen, source), place, source


def _show(skill: Skill, place: Place, path: Path) -> list[Script]:
    """Print the difference to what is there, scripts apart, and what is to be known before."""
    from skillopt.cli.tables import print_diff
    from skillopt.core.text import printable
    from skillopt.deploy.actions import planned
    from skillopt.deploy.cautions import cautions, changed_scripts
    from skillopt.deploy.source import unconfirmed

    before, after = planned(skill, place)
    remarks = [*cautions(skill, place, before, after), unconfirmed(path)]
    scripts = changed_scripts(skill, place)
    print_diff(output(), before, after, (str(place.target(skill.folder)), "to be deployed"))
    for script in scripts:
        was, now = (data.decode("utf-8", "replace") for data in (script.before, script.after))
        made = "executable now" if script.executable else "changed" if script.before else "new"
        click.echo(printable(f"script {script.name} ({made}, {len(script.after)} bytes):"))
        print_diff(output(), was, now, (script.name, "to be deployed"))
    for remark in filter(None, remarks):
        click.echo(printable(f"note: {remark}"), err=True)
    return scripts


def _ask(
    skill: Skill, place: Place, scripts: Sequence[Script], yes: bool, scripts_known: bool
) -> None:
    """Ask for the deployment, and once more for its scripts; leave if the answer is no."""
    from skillopt.core.text import printable
    from skillopt.deploy.places import DeployError

    names = ", ".join(script.name for script in scripts)
    if yes and scripts and not scripts_known:
        raise DeployError(
            f"{skill.folder}: has new or changed scripts, which agents run with your rights: "
            f"{names}. Read them, then add --with-scripts"
        )
    questions = [] if yes else [f"deploy to {place.target(skill.folder)}?"]
    if scripts and not scripts_known:
        questions.append(f"deploy these scripts, which agents run with your rights: {names}?")
    for question in questions:
        if not click.confirm(printable(question), err=True):
            click.echo("nothing was changed")
            sys.exit(EXIT_FAILED)


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
