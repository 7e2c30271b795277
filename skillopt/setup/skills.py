"""Finds skills where agents read them and where people keep them. Reads no more than names: what
lies there is anybody's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harnesses.agents.registry import CLI_AGENTS, agent_kind
from skillopt.core.skill import SKILL_FILE

Origin = Literal["project", "home", "plugin"]
MOST = 500
"""The most skills that are found, and the most entries of a folder that are looked at."""
_KEPT = ("skills", ".claude-plugin/skills")
"""Where projects keep skills for others, besides the agents' own places."""
_PLUGINS = ("plugins/*/skills", "plugins/*/*/skills")
"""Where a project keeps plugins with skills."""
_INSTALLED = 6
"""How deep agents install a plugin: ``plugins/cache/MARKETPLACE/PLUGIN/VERSION/skills/NAME``."""


@dataclass(frozen=True)
class FoundSkill:
    """A folder with a ``SKILL.md``.

    Args:
        path: of the folder.
        origin: whose it is.
        agents: that find it there.
    """

    path: Path
    origin: Origin
    agents: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name


def find_skills(here: Path) -> list[FoundSkill]:
    """The skills of a project, of the user and of the user's plugins, each once, in this order.

    Args:
        here: the project's folder, the current one.
    """
    found: dict[Path, FoundSkill] = {}
    for skill in _every(here):
        found.setdefault(skill.path.resolve(), skill)
        if len(found) >= MOST:
            break
    return list(found.values())


def agents_of(path: Path, here: Path) -> tuple[str, ...]:
    """The agents that find a skill where it is, the one whose own place it is first."""
    places = _places(here)
    return places.get(path.parent.absolute(), ((), "project"))[0]


def _every(here: Path) -> Iterator[FoundSkill]:
    if _is_skill(here):
        yield FoundSkill(here, "project")
    places = _places(here)
    for wanted in ("project", "home"):
        for folder, (agents, origin) in places.items():
            if origin == wanted:
                yield from (FoundSkill(path, origin, agents) for path in _skills_in(folder))
        if wanted == "project":
            kept = [here / name for name in _KEPT]
            kept += [path for pattern in _PLUGINS for path in _globbed(here, pattern)]
            for folder in kept:
                yield from (FoundSkill(path, "project") for path in _skills_in(folder))
    for agent in CLI_AGENTS:
        plugins = agent_kind(agent).folders.here() / "plugins"
        yield from (FoundSkill(path, "plugin", (agent,)) for path in _below(plugins, _INSTALLED))


def _places(here: Path) -> dict[Path, tuple[tuple[str, ...], Origin]]:
    """The folders of skills, and the agents that read them: those first that put theirs there."""
    found: dict[Path, list[tuple[int, str]]] = {}
    origins: dict[Path, Origin] = {}
    for agent in CLI_AGENTS:
        folders = agent_kind(agent).folders
        project = [here / name for name in folders.project]
        home = [folders.here() / "skills", *(Path.home() / name for name in folders.shared)]
        by_origin: tuple[tuple[Origin, list[Path]], ...] = (("project", project), ("home", home))
        for origin, places in by_origin:
            for rank, place in enumerate(places):
                found.setdefault(place.absolute(), []).append((rank, agent))
                origins.setdefault(place.absolute(), origin)  # In a home, they are the project's.
    return {
        place: (
            tuple(agent for _, agent in sorted(readers, key=lambda one: one[0])),
            origins[place],
        )
        for place, readers in found.items()
    }


def _skills_in(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if _is_skill(path)]


def _globbed(folder: Path, pattern: str) -> list[Path]:
    """Folders by a pattern of names and ``*``, which does not look into links."""
    found = [folder]
    for part in pattern.split("/"):
        found = [
            path
            for one in found
            for path in (_entries(one) if part == "*" else [one / part])
            if path.is_dir() and not path.is_symlink()
        ]
    return found


def _below(folder: Path, depth: int) -> Iterator[Path]:
    """The skills below a folder, links not followed."""
    for path in _entries(folder):
        if path.is_symlink():
            continue
        if _is_skill(path):
            yield path
        elif depth > 1:
            yield from _below(path, depth - 1)


def _entries(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for _, entry in zip(range(10 * MOST), entries, strict=False)]
    except OSError:
        return []
    return [path for name in sorted(names) if _is_dir(path := folder / name)]


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir() and path.name not in ("node_modules", ".git")
    except OSError:
        return False


def _is_skill(folder: Path) -> bool:
    try:
        return (folder / SKILL_FILE).is_file()
    except OSError:
        return False
