"""Tries a version of an agent program: three tasks in both modes, with and without a skill.

The model is simulated and knows how to solve the tasks if the skill's rules reach it, so that the
result shows the agent alone: whether it starts, finds the skill, works, and is understood.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

from harnesses.base import Mode
from sandboxes.owner import scratch_dir
from skillopt.config.inputs import initial_skill, read_config
from skillopt.core.errors import FormatError, PausedError
from skillopt.core.files import read_json, to_json, write_atomic
from skillopt.core.resources import state_folder
from skillopt.core.skill import Skill
from skillopt.core.types import Task
from skillopt.evaluation.evaluate import evaluate
from skillopt.rollouts.plugins import Plugins
from skillopt.run.events import Listener
from skillopt.sim.knowledge import CHORES
from skillopt.tasks.sources import load_splits

TASKS = 3
"""Tasks, each of another family."""


@dataclass(frozen=True)
class ModeTrial:
    """How a version did in one mode."""

    tasks: int
    without: int
    """Tasks that were solved without the skill; none should be."""
    solved: int
    """Tasks that were solved with the skill; all should be."""
    opened: int
    """Tasks in which the skill reached the model."""
    error: str = ""
    """Why a rollout could not be run, such as a screen that is not known."""

    @property
    def works(self) -> bool:
        return not self.error and not self.without and self.solved == self.opened == self.tasks


@dataclass(frozen=True)
class AgentTrial:
    """How a version of an agent did."""

    agent: str
    version: str
    at: float
    """When it was tried, in seconds since 1970."""
    modes: Mapping[str, ModeTrial]

    @property
    def works(self) -> bool:
        return all(mode.works for mode in self.modes.values())

    def to_json(self) -> dict[str, Any]:
        """The trial as it is remembered and printed."""
        modes = {name: asdict(mode) for name, mode in self.modes.items()}
        return {"version": self.version, "at": self.at, "works": self.works, "modes": modes}


def try_agent(agent: str, version: str, listeners: Sequence[Listener] = ()) -> AgentTrial:
    """Try a version whose image is there, and remember the result.

    Args:
        agent: name of a command-line agent.
        version: of its program.
        listeners: as for :func:`skillopt.evaluate`.

    Raises:
        SandboxError: there is no engine, or the image is missing.
    """
    modes: dict[str, ModeTrial] = {}
    for mode in get_args(Mode):
        with TemporaryDirectory(dir=scratch_dir()) as folder:
            modes[mode] = _tried(agent, version, mode, Path(folder), listeners)
    trial = AgentTrial(agent, version, round(time.time(), 3), modes)
    remember(trial)
    return trial


def _tried(
    agent: str, version: str, mode: Mode, folder: Path, listeners: Sequence[Listener]
) -> ModeTrial:
    settings = {
        "runs": str(folder / "runs"),
        "harness.version": version,
        "harness.mode": mode,
        "upstreams.sim.noise": 0.0,
        "rollout_tries": 1,
        "workers": 1,  # The programs start slowly side by side on a small machine.
    }
    config = read_config(f"quickstart/{agent}", settings)
    tasks = _tasks(load_splits(config.tasks, config.split_seed, folder)["test"])
    start = initial_skill(config)
    assert start is not None, "the quickstart has a skill to start from"
    skills = {"none": None, "skill": _taught(start)}
    parts = Plugins(tasks={"test": tasks})
    try:
        without, with_skill = evaluate(config, skills, listeners=listeners, plugins=parts)
    except PausedError as error:
        return ModeTrial(len(tasks), 0, 0, 0, str(error))
    return ModeTrial(
        tasks=len(tasks),
        without=sum(rollout.reward.hard == 1 for rollout in without.rollouts),
        solved=sum(rollout.reward.hard == 1 for rollout in with_skill.rollouts),
        opened=sum(bool(rollout.skill_activated) for rollout in with_skill.rollouts),
    )


def _tasks(tasks: Sequence[Task]) -> list[Task]:
    """The first task of each of some families."""
    first = {task.family: task for task in reversed(tasks)}
    return [first[family] for family in sorted(first)][:TASKS]


def _taught(start: Skill) -> Skill:
    """The skill with every rule that the simulated model understands."""
    rules = "\n".join(f"- {habit.rule}" for habit in CHORES)
    return replace(start, body=f"{start.body}\n\n{rules}\n")


def _file() -> Path:
    return state_folder() / "agents.json"


def remember(trial: AgentTrial) -> None:
    """Keep a trial as the last one of its agent, for this user."""
    known = remembered()
    known[trial.agent] = trial.to_json()
    _file().parent.mkdir(parents=True, exist_ok=True)
    write_atomic(_file(), to_json({"format": 1, "tried": known}))


def remembered() -> dict[str, Any]:
    """The last trial of each agent, as :meth:`AgentTrial.to_json` writes it; what cannot be read
    counts as not tried."""
    try:
        tried = read_json(_file(), format=1)["tried"]
    except (FileNotFoundError, FormatError, KeyError):
        return {}
    return dict(tried) if isinstance(tried, dict) else {}
