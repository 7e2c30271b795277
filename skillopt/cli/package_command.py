"""``skillopt package``."""

from __future__ import annotations

from pathlib import Path

import click

from skillopt.cli import guarded
from skillopt.cli.common import say_left_out


@click.command("package")
@click.argument("skill")
@click.option("--plugin", type=click.Path(path_type=Path), help="Folder of a Claude Code plugin.")
@click.option("--archive", type=click.Path(path_type=Path), help="A .skill archive.")
@click.option("--version", default="1.0.0", show_default=True, help="The plugin's version.")
@click.option("--strict", is_flag=True, help="Refuse what the specification objects to.")
@guarded
def command(
    skill: str, plugin: Path | None, archive: Path | None, version: str, strict: bool
) -> None:
    """Package SKILL (a folder, a Markdown file, or a run's best) to share it."""
    from skillopt.config.inputs import read_skill_or_run
    from skillopt.core.skill import SkillError, is_hidden
    from skillopt.core.skill_rules import objections
    from skillopt.core.text import printable
    from skillopt.deploy.actions import with_provenance
    from skillopt.deploy.packages import write_archive, write_plugin
    from skillopt.deploy.source import source_of

    if plugin is None and archive is None:
        raise click.UsageError("give --plugin DIR or --archive FILE, or both")
    chosen = read_skill_or_run(skill)
    if chosen is None:
        raise SkillError("'none' is not a skill that can be packaged")
    found = objections(chosen)
    if strict and found:
        raise SkillError(f"{skill}: not a skill by the specification: {'; '.join(found)}")
    for objection in found:
        click.echo(printable(f"warning: {objection}"), err=True)
    say_left_out(skill)
    hidden = [name for name in chosen.files if is_hidden(name)]
    if hidden:
        click.echo(printable(f"packaged with hidden files: {', '.join(sorted(hidden))}"), err=True)
    ready = with_provenance(chosen, source_of(Path(skill), chosen))
    if plugin is not None:
        write_plugin(ready, plugin, version)
        click.echo(f"wrote {plugin}")
    if archive is not None:
        write_archive(ready, archive)
        click.echo(f"wrote {archive}")
