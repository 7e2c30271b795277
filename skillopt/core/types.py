"""The nouns of training: task, reward, rollout, edit, patch. Frozen values, no behaviour.

A skill is in :mod:`skillopt.core.skill`; a trajectory is ``atif.Trajectory``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError, model_validator

from harnesses.base import Status, Usage
from harnesses.companion import Companion
from skillopt.core.errors import FormatError
from skillopt.core.files import read_json

if TYPE_CHECKING:
    from atif import Trajectory

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: a folder in Harbor's format, read and checked, or made by a source of its own."""

    name: str
    instruction: str
    digest: str
    """SHA-256 in hexadecimal over everything that decides a rollout's result: of a folder, the
    names and bytes of all its files."""
    folder: Path = Path(os.devnull)
    """Absolute; of a task without files, one that does not exist."""
    family: str = ""
    """``metadata.category`` of task.toml: groups scores by kind of task."""
    workdir: str = "/app"
    agent_timeout_s: float = 600.0
    verifier_timeout_s: float = 600.0
    memory_mb: int = 2048
    cpus: float = 1.0
    disk_mb: int = 10240
    docker_image: str | None = None
    """A ready image to use in place of ``environment/Dockerfile``."""
    env: tuple[tuple[str, str], ...] = ()
    """Environment variables of agent and verifier."""
    verifier_env: tuple[tuple[str, str], ...] = ()
    """Those that only the verifier has."""
    untrusted_programs: bool = False
    """Whether the verifier runs programs of the agent's, by ``$UNTRUSTED``."""
    question: bool = False
    """Whether it has no workspace, and is judged by what the agent says."""
    follow_ups: tuple[str, ...] = ()
    """What the user says after each turn's end, one turn each; ``metadata.follow_ups``."""
    workspace: Callable[[Path], None] | None = None
    """Writes the first workspace into an empty folder, for tasks that have no ``environment/``."""
    verify: Callable[..., Reward] | None = None
    """Judges the result in this process in place of ``tests/``: of the task, the workspace, the
    answer and the rollout's folder."""
    companion: Callable[[Path], Companion] | None = None
    """Makes what the agent of one rollout talks to, such as a game engine, from the rollout's
    folder; what it leaves there ``verify`` can read."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """What the user says, turn by turn."""
        return (self.instruction, *self.follow_ups)


def named_task(name: str) -> Task:
    """A task of which only the name is known: for looking at rollouts without their task set."""
    return Task(name=name, instruction="", digest="")


@dataclass(frozen=True)
class Reward:
    """What a verifier said. ``soft`` in [0, 1]; ``feedback`` says what was wrong."""

    soft: float
    metrics: dict[str, float] = field(default_factory=dict)
    feedback: str = ""

    @property
    def hard(self) -> float:
        """1.0 when fully solved, else 0.0."""
        return 1.0 if self.soft >= 1.0 - 1e-9 else 0.0


class Rollout(BaseModel):
    """One attempt at one task, and ``result.json`` in its folder.

    ``task`` and ``folder`` are attached when it is read. In the file ``task`` is the task's name
    and ``reward`` the hard one, a number; soft reward, metrics and feedback stand under their own
    names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    format: Literal[1] = 1
    """Of the file."""
    key: str
    """Address in the rollout store."""
    identity: dict[str, Any] = Field(default_factory=dict)
    """What the key is the digest of; see :mod:`skillopt.rollouts.identity`."""
    task: SkipValidation[Task]
    status: Status
    message: str = ""
    """What happened, if the status is not ``completed``."""
    reward: SkipValidation[Reward] = Reward(0.0)
    """Zero for ``agent_timeout`` and ``agent_error``; meaningless unless ``status.scored``."""
    skill_activated: bool | None = None
    answer: str = ""
    usage: Usage = Usage()
    agent_version: str = ""
    duration_s: float = 0.0
    others_opened: tuple[str, ...] = ()
    """Names of the skills of ``skill.beside`` that the agent opened."""
    folder: SkipValidation[Path]
    """Its folder in the store: trajectory.json, wire.jsonl, verifier/ and logs."""

    @classmethod
    def read(cls, folder: Path, task: Task | None = None) -> Rollout:
        """The rollout of a folder that holds ``result.json``.

        Args:
            folder: of the rollout.
            task: that was run; one of that name without content if the caller only looks at it.

        Raises:
            FormatError: the file is of another format or not one of ours.
        """
        file = folder / "result.json"
        values = read_json(file, format=1, older=_with_soft)
        name = values.pop("task", "")
        values.pop("reward", None)
        try:
            given = [values.pop(key) for key in ("soft", "metrics", "feedback")]
            reward = Reward(*given)
            return cls(task=task or named_task(name), reward=reward, folder=folder, **values)
        except (KeyError, ValidationError) as error:
            raise FormatError(f"{file}: not the result of a rollout: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """What ``result.json`` holds."""
        values = self.model_dump(mode="json", exclude={"task", "reward", "folder"})
        return {
            "format": self.format,
            "task": self.task.name,
            "status": self.status.value,
            "reward": self.reward.hard,
            "message": self.message,
            "soft": self.reward.soft,
            "metrics": self.reward.metrics,
            "feedback": self.reward.feedback,
        } | values

    @property
    def row(self) -> RolloutRow:
        """Its line in the event log."""
        return RolloutRow(
            key=self.key,
            task=self.task.name,
            family=self.task.family,
            status=self.status,
            hard=self.reward.hard,
            soft=self.reward.soft,
            skill_activated=self.skill_activated,
            feedback=self.reward.feedback,
            message=self.message,
            usage=self.usage,
        )

    def trajectory(self) -> Trajectory | None:
        """Read on demand; None if the agent never reached the model."""
        from atif import Trajectory

        file = self.folder / "trajectory.json"
        return Trajectory.model_validate_json(file.read_bytes()) if file.is_file() else None


def _with_soft(values: dict[str, Any]) -> dict[str, Any]:
    """A result from before there was a format number: its ``reward`` was the soft one."""
    return {**values, "format": 1, "soft": values.get("reward")}


class RolloutRow(BaseModel):
    """A scored rollout in the event log: its key, and what the log must know without the store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    task: str
    family: str
    status: Status
    hard: float
    soft: float
    skill_activated: bool | None
    feedback: str
    message: str
    usage: Usage

    @property
    def reward(self) -> Reward:
        return Reward(self.soft, {}, self.feedback)


class GateDecision(BaseModel):
    """What a gate decided and why, as the log keeps it. Scores are means over the whole split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accepted: bool
    score_before: float
    """Of the current skill, as the gate now knows it."""
    score_after: float | None
    """Of the candidate; None if it was not measured to the end. Given if it was accepted."""
    upper_bound: float
    """The most that the candidate could still score; its score if it was measured to the end."""
    total: int
    """Tasks of the selection split."""
    broken: tuple[str, ...] = ()
    """Tasks that scored lower than before, among those evaluated."""
    fixed: tuple[str, ...] = ()
    """Tasks that scored higher than before."""
    reason: str
    rollouts: tuple[RolloutRow, ...]
    """The candidate's, in the order of the split."""
    remeasured: tuple[RolloutRow, ...] = ()
    """New rollouts of the current skill that the gate asked for."""

    @model_validator(mode="after")
    def _accepts_what_was_measured(self) -> GateDecision:
        if self.accepted and self.score_after is None:
            raise ValueError("score_after: a gate that accepts must say what the candidate scores")
        return self

    @property
    def evaluated(self) -> int:
        """Tasks that the candidate was run on."""
        return len({row.task for row in self.rollouts})


EditKind = Literal["append", "insert_after", "replace", "delete", "set_description", "note"]


@dataclass(frozen=True)
class Edit:
    """One bounded change to a skill (design §4). ``support`` counts the patches behind it."""

    kind: EditKind
    target: str = ""
    """Exact text that must occur once: for insert_after, replace and delete."""
    content: str = ""
    """New text: for all kinds but delete. A ``note`` goes into the region of reminders."""
    reason: str = ""
    support: int = 1
    file: str = ""
    """Relative POSIX path of another file of the skill's folder; empty for the body."""


@dataclass(frozen=True)
class Patch:
    """What one reflection or merge proposes. ``source`` is failure, success or merged."""

    edits: tuple[Edit, ...]
    reasoning: str = ""
    source: Literal["failure", "success", "merged"] = "merged"


@dataclass(frozen=True)
class EditOutcome:
    """What became of one edit: applied, or refused with the reason."""

    edit: Edit
    applied: bool
    reason: str = ""


@dataclass(frozen=True)
class RejectedEdit:
    """An entry of the rejected-edit memory: edits that the gate turned away, and their harm."""

    step: int
    edits: tuple[Edit, ...]
    score_before: float
    score_after: float
    broken: tuple[str, ...]
    """Names of tasks that passed before and failed with the edits."""
