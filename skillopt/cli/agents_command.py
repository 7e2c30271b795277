"""``skillopt agents``: versions of the agent programs, and trying one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from harnesses.agents.registry import CLI_AGENTS
from skillopt.cli import EXIT_FAILED, guarded
from skillopt.cli.common import output, show_text

if TYPE_CHECKING:
    from skillopt.evaluation.agent_trial import ModeTrial


@click.group("agents")
def command() -> None:
    """Show the pinned, newest and last tried versions of the agents, or try a version."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def list_(as_json: bool) -> None:
    """Show which version of each agent is pinned, which is the newest, and which was tried last."""
    from dataclasses import asdict

    from skillopt.cli.doctor import releases
    from skillopt.core.files import to_json

    found = list(releases())
    if as_json:
        click.echo(to_json([asdict(release) for release in found]), nl=False)
        return
    for release in found:
        show_text(output(), f"{release.agent}: {release.text()}")


@command.command("try")
@click.argument("agent", type=click.Choice(list(CLI_AGENTS)))
@click.option("--version", help="Version to try, or 'newest'. [default: the pinned one]")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def try_(agent: str, version: str | None, as_json: bool) -> None:
    """Try a version of AGENT on three tasks in both modes, with and without a skill.

    Builds its image if it is missing. Needs no key: the model is simulated, everything else is
    real. 'doctor' shows the result.
    """
    from harnesses.agents.releases import newest_release
    from skillopt.cli.doctor import engine_machine
    from skillopt.cli.progress import Display
    from skillopt.core.files import to_json
    from skillopt.evaluation.agent_trial import try_agent

    chosen = newest_release(agent, engine_machine()) if version == "newest" else version
    with Display() as display:
        trial = try_agent(agent, _built(agent, chosen), [display])
    if as_json:
        click.echo(to_json(trial.to_json()), nl=False)
    else:
        for name, mode in trial.modes.items():
            show_text(output(), f"{agent} {trial.version} {name}: {_told(mode)}")
        click.echo("it works" if trial.works else "it does not work as the pinned version does")
    if not trial.works:
        sys.exit(EXIT_FAILED)


def _built(agent: str, version: str | None) -> str:
    """Build the images that a version needs; returns the version."""
    from harnesses.agents.registry import agent_kind
    from harnesses.agents.toolchains import image_specs
    from sandboxes import images
    from sandboxes.docker import DockerEngine
    from skillopt.cli.progress import say

    toolchain = agent_kind(agent).toolchain(version)
    with DockerEngine() as engine:
        for spec in image_specs([toolchain]):
            if images.image_id(engine, spec.tag) is None:
                images.build(engine, spec, log=say)
    return toolchain.version


def _told(mode: ModeTrial) -> str:
    if mode.error:
        return mode.error
    return (
        f"{mode.without} of {mode.tasks} tasks solved without the skill, {mode.solved} with it, "
        f"which was opened in {mode.opened}"
    )
