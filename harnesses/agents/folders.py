"""The folders in which an agent looks for skills and instructions: on its user's machine, and in
its home in a sandbox."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SkillRules:
    """What an agent needs to load ``SKILL.md``, as tried with the pinned version of its program.

    Args:
        description: front matter with a description.
        name: a name in the front matter; others take the folder's.
        texts_only: that name and description are texts: not ``5`` or ``true`` without quotes.
        unique: keys that must not be repeated; None for every key.
        name_chars: the most characters of a name.
        metadata: that ``metadata``, if it is there, has keys.
        byte_order_mark: whether the file may begin with one.
        hides_disabled: whether ``disable-model-invocation: true`` keeps a skill from the model.
    """

    description: bool = False
    name: bool = False
    texts_only: bool = False
    unique: tuple[str, ...] | None = ()
    name_chars: int | None = None
    metadata: bool = False
    byte_order_mark: bool = True
    hides_disabled: bool = False


@dataclass(frozen=True)
class Folders:
    """Paths of one agent, with slashes, relative to the user's home or to a project.

    Args:
        own: the agent's folder in the home.
        variable: environment variable that names another folder in place of ``own``.
        below: the end of ``own``, if ``variable`` names the folder above it.
        instructions: the file of instructions, in ``own`` and in a project.
        project: the folders of a project's skills, the agent's own first.
        shared: folders in the home for the skills of several agents.
    """

    own: str
    variable: str
    instructions: str
    project: tuple[str, ...]
    shared: tuple[str, ...] = ()
    below: str = ""
    loads: SkillRules = SkillRules()

    @property
    def skills(self) -> str:
        """The folder of the user's skills."""
        return f"{self.own}/skills"

    @property
    def user_instructions(self) -> str:
        """The file of instructions that the agent always reads."""
        return f"{self.own}/{self.instructions}"

    def here(self) -> Path:
        """The absolute path of ``own`` on this machine."""
        named = os.environ.get(self.variable)
        return (Path(named) / self.below if named else Path.home() / self.own).absolute()

    def installed(self) -> tuple[Path, ...]:
        """The folders in which the agent finds skills if started here, the project's first."""
        project = (Path.cwd() / folder for folder in self.project)
        shared = (Path.home() / folder for folder in self.shared)
        return (*project, self.here() / "skills", *shared)
