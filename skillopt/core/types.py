"""The nouns of training: task, reward, rollout, edit, patch. Frozen values, no behaviour.

A skill is in :mod:`skillopt.core.skill`; a trajectory is ``atif.Trajectory``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harnesses.base import Status, Usage

if TYPE_CHECKING:
    from atif import Trajectory

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Task:
    """One task in Harbor's format, read and checked. Paths are absolute and exist."""

    name: str
    folder: Path
    instruction: str
    family: str
    """``metadata.category`` of task.toml, or ``""``: groups scores by kind of task."""
    workdir: str
    agent_timeout_s: float
    verifier_timeout_s: float
    memory_mb: int
    cpus: float
    disk_mb: int
    docker_image: str | None
    """A ready image to use in place of ``environment/Dockerfile``."""
    env: tuple[tuple[str, str], ...]
    """Environment variables of agent and verifier."""
    verifier_env: tuple[tuple[str, str], ...]
    """Those that only the verifier has."""
    untrusted_programs: bool
    """Whether the verifier runs programs of the agent's, by ``$UNTRUSTED``."""
    digest: str
    """SHA-256 over every file of the folder (names and bytes), in hexadecimal."""
    question: bool = False
    """Whether it has no workspace, and ``tests/answer.txt`` is what the agent is to say."""
    follow_ups: tuple[str, ...] = ()
    """What the user says after each turn's end, one turn each; ``metadata.follow_ups``."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """What the user says, turn by turn."""
        return (self.instruction, *self.follow_ups)


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


@dataclass(frozen=True)
class Rollout:
    """One finished attempt at one task, as the optimizer and the gate see it."""

    key: str
    """Address in the rollout store."""
    task: Task
    status: Status
    message: str
    reward: Reward
    """Zero for ``agent_timeout`` and ``agent_error``; meaningless unless ``status.scored``."""
    skill_activated: bool | None
    answer: str
    usage: Usage
    duration_s: float
    folder: Path
    """Its folder in the store: trajectory.json, wire.jsonl, verifier/ and logs."""
    others_opened: tuple[str, ...] = ()
    """Names of the skills of ``skill.beside`` that the agent opened."""

    def trajectory(self) -> Trajectory | None:
        """Read on demand; None when the agent never reached the model."""
        from atif import Trajectory

        file = self.folder / "trajectory.json"
        return Trajectory.model_validate_json(file.read_bytes()) if file.is_file() else None


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
