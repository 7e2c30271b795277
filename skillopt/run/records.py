"""The records of a run's event log: what has happened and must not be lost.

Everything else about a run is derived from them: its state (:mod:`skillopt.run.state`), its files
(:mod:`skillopt.run.folder`), what was spent (:mod:`skillopt.run.spending`). They are events too.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from harnesses.base import Status, Usage
from harnesses.clock import now
from skillopt.core.skill import Skill
from skillopt.core.types import (
    EditOutcome,
    GateDecision,
    Patch,
    RejectedEdit,
    Rollout,
    RolloutRow,
)

FORMAT = 1
"""Of the event log, and of every file of a run that is derived from it."""


class Record(BaseModel):
    """One line of the log. ``at`` is the time in seconds since the epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: float = Field(default_factory=now)


class RunCreated(Record):
    """The first record: what the run is."""

    kind: Literal["run_created"] = "run_created"
    format: int = 0
    """Of the log, :data:`FORMAT`; 0 in logs from before there was one."""
    name: str
    config: dict[str, Any]
    fingerprint: dict[str, Any]
    splits: dict[str, list[dict[str, str]]]
    """Of each split the tasks' id, family and digest."""
    forked_from: str | None = None


class RunChanged(Record):
    """The run goes on with other inputs, of which nothing that is finished depended."""

    kind: Literal["run_changed"] = "run_changed"
    config: dict[str, Any]
    fingerprint: dict[str, Any]
    splits: dict[str, list[dict[str, str]]]
    changes: dict[str, list[Any]]
    """By key of the fingerprint or the config the value before and after."""


class RunStarted(Record):
    """A process has begun to work on the run."""

    kind: Literal["run_started"] = "run_started"
    name: str
    pid: int
    host: str
    owner: str = ""
    """The process as :mod:`sandboxes.owner` identifies it."""
    epochs: int
    steps: int
    """Of the whole run."""
    rollouts: int
    """At most, of the whole run; those in the store included."""


class StageStarted(Record):
    """A stage of a step or of the run has begun."""

    kind: Literal["stage_started"] = "stage_started"
    stage: str
    epoch: int = 0
    step: int = 0
    total: int
    """Rollouts or model calls that the stage has at most."""


class RolloutRan(Record):
    """A rollout was really run, whatever its end: what it cost."""

    kind: Literal["rollout_ran"] = "rollout_ran"
    stage: str
    key: str
    task: str
    status: Status
    message: str = ""
    """What happened, if the status is not ``completed``."""
    usage: Usage
    seconds: float


class Noted(Record):
    """Something worth a line: what is being done, or what went wrong and was dealt with."""

    kind: Literal["noted"] = "noted"
    text: str
    step: int = 0
    """That it is about; 0 for the run."""


class Replied(Record):
    """What the optimizer said to one question. Asked again, the question has this answer."""

    kind: Literal["replied"] = "replied"
    id: str
    """Digest of seed, stage, question and prompt."""
    stage: str
    step: int
    about: str
    reply: str | None
    """As checked JSON; None when it was malformed twice."""
    error: str = ""
    refused: bool = False
    """Whether the service refused the prompt, as it would again."""
    inherited: bool = False
    """Whether it was taken from the run that this one was forked from, and cost nothing here."""
    usage: Usage


class SkillMade(Record):
    """A skill that later records name by its digest."""

    kind: Literal["skill_made"] = "skill_made"
    digest: str
    name: str
    description: str
    body: str
    extra: dict[str, Any]
    files: dict[str, str]
    """Base64 by path."""

    @property
    def skill(self) -> Skill:
        files = {name: base64.b64decode(data) for name, data in self.files.items()}
        return Skill(self.name, self.description, self.body, self.extra, files)


class BaselineDone(Record):
    """The initial skill has its score on the selection split."""

    kind: Literal["baseline_done"] = "baseline_done"
    skill: str
    score: float
    rollouts: list[RolloutRow]


class BatchDone(Record):
    """A training batch was rolled out; ``keys`` are the rollouts that count."""

    kind: Literal["batch_done"] = "batch_done"
    step: int
    part: int
    keys: list[str]


class StepDone(Record):
    """A step, whole. ``row`` is its line in ``history.json``."""

    kind: Literal["step_done"] = "step_done"
    step: int
    epoch: int
    action: str
    row: dict[str, Any]
    rollouts: list[RolloutRow]
    patches: list[Patch]
    report: list[EditOutcome]
    skipped: str = ""
    """Why there was nothing to judge, if the action is ``skip``."""
    candidate: str | None
    """Digest; None if there was nothing to judge."""
    gate: GateDecision | None
    rejected: RejectedEdit | None


class EpochDone(Record):
    """An epoch's end, with what slow update and meta skill came to."""

    kind: Literal["epoch_done"] = "epoch_done"
    epoch: int
    step: int
    pairs: dict[str, str]
    """How each compared task changed."""
    action: str
    """Of the slow update: accept, reject, skip or off."""
    skipped: str = ""
    """Why there was nothing to judge, if the action is ``skip``."""
    candidate: str | None
    gate: GateDecision | None
    rejected: RejectedEdit | None
    notes: str
    row: dict[str, Any]
    """What the history says about it, at the epoch's last step."""


class RunDone(Record):
    """Training has ended; ``test`` has the scores on the test split by role of the skill."""

    kind: Literal["run_done"] = "run_done"
    reason: str
    final_selection: float
    test: dict[str, Any]
    test_rollouts: dict[str, list[RolloutRow]] = {}
    """The rollouts behind ``test``."""


class RunStopped(Record):
    """A process has ended before the run was done: a limit, a failure, an interruption."""

    kind: Literal["run_stopped"] = "run_stopped"
    reason: str


AnyRecord = Annotated[
    RunCreated | RunChanged | RunStarted | StageStarted | RolloutRan | Noted | Replied | SkillMade
    | BaselineDone | BatchDone | StepDone | EpochDone | RunDone | RunStopped,
    Field(discriminator="kind"),
]  # fmt: skip
RECORD: TypeAdapter[AnyRecord] = TypeAdapter(AnyRecord)


def skill_made(skill: Skill) -> SkillMade:
    """A skill as a record."""
    return SkillMade(
        digest=skill.digest,
        name=skill.name,
        description=skill.description,
        body=skill.body,
        extra={key: v if isinstance(v, str) else dict(v) for key, v in skill.extra.items()},
        files={name: base64.b64encode(data).decode() for name, data in skill.files.items()},
    )


def rows_of(rollouts: Sequence[Rollout]) -> list[RolloutRow]:
    """The log's lines for some rollouts."""
    return [rollout.row for rollout in rollouts]
