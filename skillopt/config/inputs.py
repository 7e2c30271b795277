"""Reads what a user names: configs, skills, the skill that training starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from harnesses.agents.registry import CLI_AGENTS, agent_kind
from skillopt.config.loading import load_config
from skillopt.config.schema import Config
from skillopt.core.front_matter import parse
from skillopt.core.resources import resource
from skillopt.core.skill import Skill, SkillError, left_out, named, read_skill
from skillopt.core.skill_rules import check_names


def read_config(name: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """A config by path, or by its name below the project's ``configs/`` such as
    ``quickstart/codex``.

    Args:
        name: the path or name.
        overrides: dotted keys and values that override the file.

    Raises:
        ConfigError: there is no such file, or it cannot be used.
    """
    path = Path(name)
    shipped = resource("configs") / str(name).removeprefix("configs/")
    if not path.exists() and not path.suffix:
        shipped = shipped.with_suffix(".yaml")
    chosen = path if path.exists() or not shipped.is_file() else shipped
    return load_config(chosen, Config, overrides)


def read_skill_or_run(text: str | Path) -> Skill | None:
    """A skill folder, a Markdown file, a run (its best skill), or ``none``.

    Raises:
        SkillError: it is none of these, or not a valid skill.
    """
    if str(text) == "none":
        return None
    path = Path(text)
    if (path / "best_skill").is_dir():
        found = [f for f in (path / "best_skill").iterdir() if not f.name.startswith(".")]
        if len(found) != 1:
            raise SkillError(f"{path / 'best_skill'}: contains {len(found)} skills, not one; "
                             "'skillopt runs rebuild' writes it again")  # fmt: skip
        return read_skill(found[0])
    return read_skill(path)


def left_out_of(text: str | Path) -> tuple[str, ...]:
    """What is in the folder that a skill is read from and no part of the skill; nothing of a
    run's, which this project has written."""
    path = Path(text)
    return () if (path / "best_skill").is_dir() else left_out(path)


def label(text: str, among: Sequence[str]) -> str:
    """A short name for a skill argument: the last part of its path if that is unique."""
    short = {other: Path(other).name.removesuffix(".md") for other in among}
    return short[text] if list(short.values()).count(short[text]) == 1 else text


def skills_beside(config: Config) -> tuple[Skill, ...]:
    """The fixed skills that the agent has besides the trained one.

    Raises:
        SkillError: one of them cannot be used, or two have the same name.
    """
    read = (read_skill(path) for path in config.skill.beside)
    found = tuple(sorted(read, key=lambda skill: skill.name))
    check_names(found)
    return found


def initial_skill(config: Config) -> Skill | None:
    """The skill that training starts from; None if the optimizer drafts it.

    Raises:
        SkillError: it cannot be used.
    """
    chosen = config.skill
    match chosen.init:
        case "quickstart":
            return read_skill(Path(str(files("skillopt.tasks.quickstart"))) / "skill/house-rules")
        case "words":
            return read_skill(Path(str(files("skillopt.tasks.words"))) / "skill/word-kinds")
        case "empty":
            return Skill(chosen.name, " ".join(chosen.description.split()), "")
        case "draft":
            return None
        case "installed":
            return _installed(config.harness.name, chosen.name)
    skill = read_skill(Path(chosen.init))
    own = "name" in parse(skill.text).texts
    return named(skill, chosen.name, chosen.name) if chosen.name and not own else skill


def _installed(harness: str, name: str) -> Skill:
    if harness not in CLI_AGENTS:
        raise SkillError(
            f"skill.init: installed: {harness} has no directory of skills; give a path"
        )
    places = agent_kind(harness).folders.installed()
    for place in places:
        if (place / name).is_dir():
            return read_skill(place / name)
    looked = ", ".join(str(place) for place in places)
    raise SkillError(
        f"skill.init: no skill {name!r} is installed for {harness}; looked in {looked}"
    )
