"""Where an agent program looks for skills and instructions: on its user's machine, and in the home
that a sandbox gives it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """Paths of one program, with slashes, relative to the user's home or to a project.

    Args:
        own: what it keeps of its user's, below the home.
        variable: of the environment, that names another folder in place of ``own``.
        below: how ``own`` ends, where ``variable`` names the folder above that end.
        instructions: its file of instructions, in ``own`` and in a project.
        project: where it looks for a project's skills, first the one of its own.
        shared: where it looks below the home for skills that are not its own alone.
    """

    own: str
    variable: str
    instructions: str
    project: tuple[str, ...]
    shared: tuple[str, ...] = ()
    below: str = ""

    @property
    def skills(self) -> str:
        """Its user's skills."""
        return f"{self.own}/skills"

    @property
    def user_instructions(self) -> str:
        """The file of instructions that it always reads."""
        return f"{self.own}/{self.instructions}"

    def here(self) -> Path:
        """``own`` on this machine, absolute."""
        told = os.environ.get(self.variable)
        return (Path(told) / self.below if told else Path.home() / self.own).absolute()

    def installed(self) -> tuple[Path, ...]:
        """The folders in which it looks for skills when it is started here, the project's first."""
        project = (Path.cwd() / folder for folder in self.project)
        shared = (Path.home() / folder for folder in self.shared)
        return (*project, self.here() / "skills", *shared)
