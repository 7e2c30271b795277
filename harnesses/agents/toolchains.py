"""Toolchains: the programs of command-line agents, from npm packages, for mounting in sandboxes.

Each agent's own module pins its version. Building images is sandboxes/images.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandboxes.engine import AGENT_BASE_IMAGE, PUBLIC_BASE
from sandboxes.errors import SkillOptError

if TYPE_CHECKING:
    from sandboxes.images import ImageSpec

MOUNTS = "/opt/skillopt"
_NPM_ARCHITECTURES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


class ToolchainError(SkillOptError):
    """An agent that has no build for a machine."""


@dataclass(frozen=True)
class NpmBuild:
    """The npm package with an agent's program for one architecture.

    Args:
        package: its name.
        version: its version's name in the registry.
        root: the folder of the package that is mounted.
    """

    package: str
    version: str
    root: str = ""


@dataclass(frozen=True)
class Toolchain:
    """The program of an agent that is mounted into sandboxes, made from one npm package."""

    name: str
    version: str
    npm: Callable[[str], NpmBuild]
    """The package for an architecture as npm names it: ``x64`` or ``arm64``."""
    keep: tuple[str, ...]
    """The files and folders below the package's root that are needed at run time."""
    program: str
    """The program's path below the root."""
    released_as: str
    """The npm package that users install; its newest version is the agent's."""

    @property
    def image(self) -> str:
        return f"skillopt/toolchain-{self.name}:{self.version}"

    @property
    def target(self) -> str:
        """The path in a sandbox at which the volume is mounted."""
        return f"{MOUNTS}/{self.name}"

    @property
    def binary(self) -> str:
        """The program's path in a sandbox."""
        return f"{self.target}/{self.program}"

    def image_spec(self) -> ImageSpec:
        from sandboxes.images import ImageSpec, dockerfiles

        return ImageSpec(
            tag=self.image,
            folder=dockerfiles() / "toolchain",
            base=AGENT_BASE_IMAGE,
            args={"KEEP": " ".join(self.keep)},
            args_for=self._of_build,
            kind="toolchain",
        )

    def build(self, machine: str) -> NpmBuild:
        """The package for an architecture as the kernel names it; raises ToolchainError if there
        is none."""
        return self.npm(npm_architecture(machine))

    def _of_build(self, machine: str) -> Mapping[str, str]:
        build = self.build(machine)
        return {"PACKAGE": build.package, "VERSION": build.version, "ROOT": build.root}


def image_specs(toolchains: Iterable[Toolchain], *, base: str = PUBLIC_BASE) -> list[ImageSpec]:
    """All images of the project, in the order in which they have to be built.

    Args:
        toolchains: of the agents to build.
        base: image of the base system.
    """
    from sandboxes.images import RELAY_IMAGE, ImageSpec, dockerfiles

    folder = dockerfiles()
    return [
        ImageSpec(tag=AGENT_BASE_IMAGE, folder=folder / "agent-base", base=base),
        ImageSpec(tag=RELAY_IMAGE, folder=folder / "relay", base=base),
        *(toolchain.image_spec() for toolchain in toolchains),
    ]


def npm_architecture(machine: str) -> str:
    """An architecture as npm packages name it.

    Args:
        machine: as the kernel names it.

    Raises:
        ToolchainError: the agents have no build for it.
    """
    if machine.lower() not in _NPM_ARCHITECTURES:
        known = ", ".join(sorted(set(_NPM_ARCHITECTURES)))
        raise ToolchainError(f"the agents have no build for {machine!r}, only for {known}")
    return _NPM_ARCHITECTURES[machine.lower()]
