"""Tasks that only ask which skills an agent opens: when they are over, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harnesses.base import Openings
from skillopt.core.skill import Skill, SkillError
from skillopt.core.types import Reward, Task, Triggers
from skillopt.tasks.harbor import TaskError

SHOULD_OPEN, OPENED = "should_open", "opened"
"""Metrics of a task that says whether the skill that is scored should be opened: whether it should,
and whether it was."""

Names = Mapping[str, Iterable[str]]
"""The names by which a skill may be meant, by the name of its folder."""


def openings(task: Task, skills: Names, calls: int) -> Openings:
    """When a task that only asks for openings is over.

    Args:
        task: with triggers.
        skills: that the agent has. Without one that is wanted, the task is not solved.
        calls: of the model after which nothing more is expected.
    """
    triggers = task.triggers or Triggers()
    wanted = _meant(triggers.opened, skills) | _absent(triggers.opened, skills)
    unwanted = _meant(triggers.not_opened, skills) - wanted
    if triggers.no_others:
        unwanted = frozenset(skills) - wanted
    return Openings(wanted, unwanted, calls)


def openings_with(task: Task, skill: Skill | None, beside: Sequence[Skill], calls: int) -> Openings:
    """The same, for an agent with some skills.

    Args:
        task, calls: as for :func:`openings`.
        skill: the one that is scored; None for a run without one.
        beside: the others.

    Raises:
        TaskError: the task is for a skill that the agent does not have.
        SkillError: the skill has no text.
    """
    names = {other.folder: {other.name} for other in beside}
    if skill is not None:
        if not skill.body.strip():
            raise SkillError(
                f"{skill.name}: has no text below the front matter, by which it shows that it was "
                "opened; write some"
            )
        names[skill.folder] = {skill.name}
        check_names(task, names)
    return openings(task, names, calls)


def _meant(names: Iterable[str], skills: Names) -> frozenset[str]:
    asked = set(names)
    return frozenset(folder for folder, known in skills.items() if asked & {folder, *known})


def _absent(names: Iterable[str], skills: Names) -> frozenset[str]:
    """The names that no skill of the agent's has."""
    return frozenset(names) - set(skills) - {name for known in skills.values() for name in known}


def check_names(task: Task, skills: Names) -> None:
    """Refuse a task that asks for a skill which the agent does not have.

    Raises:
        TaskError: it does.
    """
    missing = sorted(_absent(task.triggers.opened, skills)) if task.triggers else []
    if missing:
        raise TaskError(
            f"{task.name}: {', '.join(missing)} is to be opened, and the agent has "
            f"{', '.join(sorted(skills)) or 'no skill'}; name it in skill.init or skill.beside, or "
            "correct the task"
        )


def opened_reward(until: Openings, opened: Iterable[str], skill: str | None) -> Reward:
    """The reward of a task that only asks for openings: 1 if all wanted skills were opened, and no
    unwanted one.

    Args:
        until: from :func:`openings`.
        opened: folders of the skills that were opened.
        skill: the folder of the skill that is scored; None for a run without one.
    """
    found = frozenset(opened)
    missing, wrong = until.wanted - found, until.unwanted & found
    metrics = {}
    if skill in until.wanted | until.unwanted:
        metrics = {SHOULD_OPEN: float(skill in until.wanted), OPENED: float(skill in found)}
    said = [f"did not open {name}, which is for this" for name in sorted(missing)]
    said += [f"opened {name}, which is not for this" for name in sorted(wrong)]
    if missing and (instead := found - until.wanted - wrong):
        said.append(f"opened {', '.join(sorted(instead))} instead")
    return Reward(float(not missing and not wrong), metrics, "; ".join(said))
