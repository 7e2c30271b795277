"""The records of a run's event log: what has happened and must not be lost.

Everything else about a run is derived from them: its state (:mod:`skillopt.run.state`), its files
(:mod:`skillopt.run.folder`), its spending (:mod:`skillopt.run.spending`). They are events too.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from harnesses.base import Status, Usage
from harnesses.clock import now
from harnesses.gateway.plan_windows import PlanWindow
from skillopt.core.skill import Layout, Skill
from skillopt.core.types import (
    Edit,
    EditOutcome,
    EditVerdict,
    GateDecision,
    Patch,
    RejectedEdit,
    Rollout,
    RolloutRow,
)

FORMAT = 1
"""Format number of the event log and of every file that is derived from it."""


class Record(BaseModel):
    """One line of the log. ``at`` is the time in seconds since the epoch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: float = Field(default_factory=now)


class RunCreated(Record):
    """The first record: what the run is."""

    kind: Literal["run_created"] = "run_created"
    format: int = 0
    """Format number of the log, :data:`FORMAT`; 0 in logs that are older than format numbers."""
    name: str
    config: dict[str, Any]
    fingerprint: dict[str, Any]
    splits: dict[str, list[dict[str, str]]]
    """The id, family and digest of each split's tasks."""
    forked_from: str | None = None


class RunChanged(Record):
    """The run continues with different inputs, none of which the finished part depends on."""

    kind: Literal["run_changed"] = "run_changed"
    config: dict[str, Any]
    fingerprint: dict[str, Any]
    splits: dict[str, list[dict[str, str]]]
    changes: dict[str, list[Any]]
    """The value before and after, by key of the fingerprint or the config."""


class RunStarted(Record):
    """A process has started to work on the run."""

    kind: Literal["run_started"] = "run_started"
    name: str
    pid: int
    host: str
    owner: str = ""
    """The process as :mod:`sandboxes.owner` identifies it."""
    epochs: int
    steps: int
    """Steps of the whole run."""
    rollouts: int
    """Most rollouts of the whole run, including those in the store."""


class StageStarted(Record):
    """A stage of a step or of the run has started."""

    kind: Literal["stage_started"] = "stage_started"
    stage: str
    epoch: int = 0
    step: int = 0
    total: int
    """Most rollouts or model calls in the stage."""


class RolloutRan(Record):
    """A rollout was run and has ended, with its cost."""

    kind: Literal["rollout_ran"] = "rollout_ran"
    stage: str
    key: str
    task: str
    status: Status
    message: str = ""
    """What happened, if the status is not ``completed``."""
    usage: Usage
    seconds: float
    service_seconds: float = 0.0
    """Seconds of these that were lost to the model service."""


class RolloutsAsked(Record):
    """Rollouts were asked for that nobody had asked for before in the run. Those that the store
    has are among them, so that the number does not depend on who ran first."""

    kind: Literal["rollouts_asked"] = "rollouts_asked"
    stage: str
    keys: list[str]


class JudgeAsked(Record):
    """A judge was asked about a rollout, with its cost, which the rollout's own does not have."""

    kind: Literal["judge_asked"] = "judge_asked"
    key: str
    task: str
    usage: Usage


class Noted(Record):
    """A note: what is being done, or what went wrong and was handled."""

    kind: Literal["noted"] = "noted"
    text: str
    step: int = 0
    """The step that the note is about; 0 for the run."""


class PlanUsed(Record):
    """What is known of the plan that pays for a model service."""

    kind: Literal["plan_used"] = "plan_used"
    service: str
    """Its name in the config."""
    windows: tuple[PlanWindow, ...]


class Replied(Record):
    """The optimizer's reply to one question. If the question is asked again, this is its answer."""

    kind: Literal["replied"] = "replied"
    id: str
    """Digest of seed, stage, question and prompt."""
    stage: str
    step: int
    about: str
    reply: str | None
    """The reply as checked JSON, free text as a JSON string; None if it was malformed twice."""
    error: str = ""
    refused: bool = False
    """Whether the service refused the prompt, which it would do again."""
    inherited: bool = False
    """Whether the reply comes from the run that this one was forked from, and cost nothing here."""
    usage: Usage


class SkillMade(Record):
    """A skill that later records refer to by its digest."""

    kind: Literal["skill_made"] = "skill_made"
    digest: str
    name: str
    description: str
    body: str
    extra: dict[str, Any]
    files: dict[str, str]
    """The files in Base64, by path."""
    layout: Layout = Layout()
    """How the folder was laid out; earlier versions wrote each skill in canonical form."""

    @property
    def skill(self) -> Skill:
        files = {name: base64.b64decode(data) for name, data in self.files.items()}
        return Skill(self.name, self.description, self.body, self.extra, files, self.layout)


class BaselineDone(Record):
    """The initial skill has its score on the selection split."""

    kind: Literal["baseline_done"] = "baseline_done"
    skill: str
    score: float
    rollouts: list[RolloutRow]


class BatchDone(Record):
    """A training batch has run; ``keys`` are the rollouts that count."""

    kind: Literal["batch_done"] = "batch_done"
    step: int
    part: int
    keys: list[str]


class RacedCandidate(BaseModel):
    """How far one of several candidates of a step came in their race."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    skill: str
    """Its digest."""
    edits: list[Edit]
    tasks: list[str]
    """The selection tasks that it was compared on, in the order of the race."""
    gain: float
    """The sum of its differences to the current skill's mean scores on them."""
    ended: str = ""
    """Why it was ended; empty for the winner."""
    rollouts: list[RolloutRow]
    """What was measured of it in the race."""


class RaceDone(Record):
    """The candidates of a step have run against each other; the gate will judge the winner."""

    kind: Literal["race_done"] = "race_done"
    step: int
    epoch: int
    winner: int
    """Its place in ``candidates``, from 0."""
    candidates: list[RacedCandidate]
    row: dict[str, Any]
    """Its row in the history, at its step."""

    @property
    def losers(self) -> list[tuple[int, RacedCandidate]]:
        """The other candidates with their numbers, from 1."""
        return [(n + 1, c) for n, c in enumerate(self.candidates) if n != self.winner]


class StepDone(Record):
    """A finished step. ``row`` is its row in ``history.json``."""

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
    """Digest of the candidate; None if there was nothing to judge."""
    gate: GateDecision | None
    rejected: RejectedEdit | None


class CompressionDone(Record):
    """A step began by shortening the skill, judged by itself. ``row`` is its row in the history,
    at the step that follows."""

    kind: Literal["compression_done"] = "compression_done"
    step: int
    epoch: int
    action: str
    wanted: bool
    """Whether the config asks for it, so that the shorter of two equally good skills is best."""
    tokens: tuple[int, int]
    """The estimated length before it, and of the candidate."""
    skipped: str = ""
    candidate: str | None
    gate: GateDecision | None
    rejected: RejectedEdit | None
    row: dict[str, Any]


class CreditDone(Record):
    """It was measured which edits of a step's change carried it. If the change was rejected, those
    that did no harm were judged again, as a change of its own."""

    kind: Literal["credit_done"] = "credit_done"
    step: int
    epoch: int
    action: str
    """The gate's decision on the edits that did no harm; ``skip`` if there was nothing to judge."""
    skipped: str = ""
    verdicts: list[EditVerdict]
    gains: dict[int, float]
    """The measured part of each edit in the gain, by its number in the step's change, from 0."""
    rollouts: dict[str, list[RolloutRow]]
    """What was measured for the verdicts, by digest of the skill."""
    edits: list[Edit] = []
    """The edits that were judged again."""
    candidate: str | None
    gate: GateDecision | None
    remembered: list[RejectedEdit]
    """What the memory has of the step in place of its rejected edits."""
    row: dict[str, Any]
    """Its row in the history, at its step."""


class RemovalDone(Record):
    """The skill was tried without an edit that had been accepted."""

    kind: Literal["removal_done"] = "removal_done"
    step: int
    """The last step before it."""
    epoch: int
    of_step: int
    """The step that brought the edit."""
    number: int
    """The edit's number in that change, from 0."""
    edit: Edit
    removal: Edit | None = None
    """The edit that takes it out; None if that is not possible."""
    action: str
    skipped: str = ""
    ending: str = ""
    """Why training ends after it, if it does not come at an epoch's end."""
    candidate: str | None
    gate: GateDecision | None
    rejected: RejectedEdit | None
    row: dict[str, Any]
    """Its row in the history, at the step."""


class EpochDone(Record):
    """The end of an epoch, with the results of slow update and meta skill."""

    kind: Literal["epoch_done"] = "epoch_done"
    epoch: int
    step: int
    pairs: dict[str, str]
    """How each compared task changed."""
    action: str
    """The slow update's result: accept, reject, skip or off."""
    skipped: str = ""
    """Why there was nothing to judge, if the action is ``skip``."""
    candidate: str | None
    gate: GateDecision | None
    rejected: RejectedEdit | None
    notes: str
    row: dict[str, Any]
    """Its row in the history, at the epoch's last step."""


class MethodDone(Record):
    """A method that decides by itself has ended: its result, whatever the gate would say of it."""

    kind: Literal["method_done"] = "method_done"
    skill: str
    """Digest of the skill that it has chosen."""
    score: float | None
    """Its score on the selection split as the method knows it; None if it did not ask."""
    asked: int
    """Distinct rollouts that the method has asked for."""
    budget: int | None
    """``method.rollouts``; None for no limit."""
    reason: str
    """Why it has ended."""
    findings: list[str] = []
    """What the skill has that this project's own edits may not: its length, what belongs to a
    single task."""


class Remarked(Record):
    """A person's remark on a rollout, on two rollouts side by side, or on a step."""

    kind: Literal["remarked"] = "remarked"
    id: str
    """The same for a later record that replaces or withdraws it."""
    about: str
    """The rollout's key; the name of a step's entry if it is about that."""
    other: str = ""
    """The key of the rollout that it was compared with."""
    task: str = ""
    """The rollout's task; empty if it is about a step."""
    split: str = ""
    """The task's split. What is said of tasks that decide is not shown to the optimizer."""
    use: str = ""
    """What the rollout was run for."""
    verdict: Literal["", "good", "bad", "better", "worse", "equal"] = ""
    """Of the rollout; for two, how the first is to the other."""
    blind: bool = False
    """Whether the person did not know which skill was which."""
    text: str = ""
    since: int
    """The first step whose prompts show it."""
    withdrawn: bool = False
    inherited: bool = False
    """Whether it comes from the run that this one was forked from."""


class RunDone(Record):
    """Training has ended; ``test`` has the scores on the test split by role of the skill."""

    kind: Literal["run_done"] = "run_done"
    reason: str
    final_selection: float
    test: dict[str, Any]
    test_rollouts: dict[str, list[RolloutRow]] = {}
    """The rollouts behind ``test``."""
    claim: dict[str, Any] | None = None
    """What these say of the best skill against the initial one; None in earlier logs, and if the
    best skill is the initial one or nothing is scored."""
    no_claim: str = ""
    """Why there is no claim."""


class RunStopped(Record):
    """A process ended before the run was done: a limit, a failure, an interruption."""

    kind: Literal["run_stopped"] = "run_stopped"
    reason: str


AnyRecord = Annotated[
    RunCreated | RunChanged | RunStarted | StageStarted | RolloutsAsked | RolloutRan | JudgeAsked
    | Noted | PlanUsed | Replied | SkillMade | BaselineDone | BatchDone | CompressionDone | RaceDone
    | StepDone | CreditDone | RemovalDone | EpochDone | MethodDone | Remarked | RunDone
    | RunStopped,
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
        extra=dict(skill.extra),
        files={name: base64.b64encode(data).decode() for name, data in skill.files.items()},
        layout=skill.layout,
    )


def rows_of(rollouts: Sequence[Rollout]) -> list[RolloutRow]:
    """The rows for some rollouts in the log."""
    return [rollout.row for rollout in rollouts]
