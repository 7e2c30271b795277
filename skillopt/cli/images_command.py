"""``skillopt images``: build, list and remove the container images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harnesses.agents.registry import CLI_AGENTS
from sandboxes.engine import EXTRA_IMAGES
from skillopt.cli import guarded


def _versions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each command-line agent."""
    for name in reversed(list(CLI_AGENTS)):
        text = f"Version of {name} instead of the pinned one."
        function = click.option(f"--{name}", metavar="VERSION", help=text)(function)
    return function


@click.group("images")
def command() -> None:
    """Build, list and remove the container images: agent base, relay, and one for each agent."""


@command.command("build")
@click.argument("extra", nargs=-1, type=click.Choice(tuple(EXTRA_IMAGES)))
@_versions
@click.option("--base", help="Base image to use instead of the public one.")
@click.option(
    "--ca",
    "ca_files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Extra CA certificates (PEM). [default: those in SSL_CERT_FILE and similar variables]",
)
@click.option("--force", is_flag=True, help="Rebuild what is up to date too.")
@guarded
def build(
    extra: tuple[str, ...],
    base: str | None,
    ca_files: tuple[Path, ...],
    force: bool,
    **versions: str | None,
) -> None:
    """Build what is missing or out of date; with EXTRA, that image and its base only.

    If the public base image cannot be pulled, the base is made with debootstrap.
    """
    from harnesses.agents.registry import toolchains
    from harnesses.agents.toolchains import image_specs
    from sandboxes import images
    from sandboxes.base_image import PUBLIC_BASE
    from sandboxes.docker import DockerEngine
    from skillopt.cli.progress import say

    chosen = toolchains({name.replace("_", "-"): told for name, told in versions.items()})
    specs = image_specs(chosen, base=base or PUBLIC_BASE)
    if extra:
        base_image = next(spec for spec in specs if spec.tag == images.AGENT_BASE_IMAGE)
        specs = [base_image, *map(images.extra_image, extra)]
    with DockerEngine() as engine:
        for spec in specs:
            images.build(engine, spec, log=say, ca_files=ca_files or None, force=force)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@guarded
def list_(as_json: bool) -> None:
    """List the images that this project has built."""
    from dataclasses import asdict

    from sandboxes.docker import DockerEngine
    from sandboxes.images import list_images
    from skillopt.core.files import to_json

    with DockerEngine() as engine:
        found = list_images(engine)
    if as_json:
        click.echo(to_json([asdict(image) for image in found]), nl=False)
        return
    for image in found:
        megabytes = image.size_bytes / 1e6
        click.echo(f"{', '.join(image.tags) or image.id}\t{image.kind}\t{megabytes:.0f} MB")


@command.command("remove")
@click.argument("tags", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All images that this project has built.")
@guarded
def remove(tags: tuple[str, ...], everything: bool) -> None:
    """Remove images by their TAGS."""
    from sandboxes.docker import KEPT_KIND, DockerEngine
    from sandboxes.images import list_images, remove_image

    if bool(tags) == everything:
        raise click.UsageError("name images, or give --all")
    with DockerEngine() as engine:
        if everything:
            # What is made of others first: a base cannot be removed before that.
            found = sorted(
                list_images(engine),
                key=lambda image: ("agent-base" in str(image.tags), image.kind != KEPT_KIND),
            )
            tags = tuple(tag for image in found for tag in image.tags)
        for tag in tags:
            remove_image(engine, tag)
            click.echo(f"removed {tag}")
