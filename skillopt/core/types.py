"""The nouns of training: task, reward, rollout, edit, patch. Frozen values, no behaviour.

A skill is in :mod:`skillopt.core.skill`; a trajectory is ``atif.Trajectory``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError, model_validator

from harnesses.base import Status, Usage
from harnesses.companion import Companion
from skillopt.core.errors import FormatError
from skillopt.core.files import read_json
from skillopt.core.judgement import Judgement
from skillopt.core.packed import open_file

if TYPE_CHECKING:
    from atif import Trajectory

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Finish:
    """A program that completes an agent's work before ``Task.verify`` judges it. It runs in a
    sandbox of its own, on a copy of the workspace, and may run what the agent wrote.

    Args:
        name: of the files in the rollout's ``verifier/`` with its output and its ending.
        files: writes what it needs into an empty folder, which is mounted read-only; ``run.py`` in
            it is the program, for Python 3.
        image: that it runs in; None for the task's.
        timeout_s: after which it is ended, in seconds.
    """

    name: str
    files: Callable[[Path], None]
    image: str | None = None
    timeout_s: float = 600.0


@dataclass(frozen=True)
class TaskNeeds:
    """What a task's files ask of its sandboxes, for those who run it.

    Args:
        root: why the agent is root of its container; empty if it is not.
        verifier_root: the same of the verifier.
        places: paths outside of the working directory at which the tests look, for which the
            verifier gets the agent's whole container.
        reach: what the tests get of these, in words; empty if they look at none.
        hosts: that the tests may want.
        solution_hosts: that the solution may want.
        services: that tests or solution start in the container.
        own_skills: whether it brings skills for agents, which are left out.
    """

    root: str = ""
    verifier_root: str = ""
    places: tuple[str, ...] = ()
    reach: str = ""
    hosts: tuple[str, ...] = ()
    solution_hosts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    own_skills: bool = False


@dataclass(frozen=True)
class BaseImage:
    """The image that ``tasks.environment`` describes: tasks without an environment of their own
    start from it.

    Args:
        name: by which it is run, and by which Dockerfiles name it.
        folder: of its Dockerfile and all that this copies; None for an image that exists.
        workdir: its working directory; empty if only the image knows it.
        notes: what its files say and has no effect here.
        file: that describes it, for messages.
    """

    name: str
    folder: Path | None = None
    workdir: str = ""
    notes: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True)
class Triggers:
    """Which skills an agent should open for a task.

    Args:
        opened: names of skills that it should open.
        not_opened: names of skills that it should not open.
        no_others: whether it should open none but ``opened``.
    """

    opened: tuple[str, ...] = ()
    not_opened: tuple[str, ...] = ()
    no_others: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task: a folder in Harbor's format, read and checked, or an object from a task source."""

    name: str
    instruction: str
    digest: str
    """SHA-256 in hexadecimal over everything that decides a rollout's result; for a folder, the
    names and bytes of all its files."""
    folder: Path = Path(os.devnull)
    """The task's folder, an absolute path; for a task without files, one that does not exist."""
    family: str = ""
    """``metadata.category`` of task.toml, which groups scores by kind of task."""
    workdir: str = "/app"
    workdir_known: bool = True
    """Whether ``workdir`` is certain. Otherwise the image is asked, and has the last word."""
    root: bool = False
    """Whether the agent is root in its container: ``agent.user`` says so, or the solution needs
    it."""
    verifier_root: bool = False
    """Whether the verifier is: ``verifier.user`` says so, or the tests need it."""
    handover: bool = False
    """Whether the verifier gets the agent's whole container, because the tests look elsewhere than
    in the working directory."""
    agent_timeout_s: float = 600.0
    verifier_timeout_s: float = 600.0
    memory_mb: int = 2048
    cpus: float = 1.0
    disk_mb: int = 10240
    docker_image: str | None = None
    """An existing image to use instead of ``environment/Dockerfile``, which is built if that image
    cannot be had."""
    base: BaseImage | None = None
    """The image of ``tasks.environment``, if this task or its Dockerfile starts from it, which
    builds it before."""
    verifier_image: str | None = None
    """An existing image for the verifier; ``tests/Dockerfile`` describes one to be built."""
    build_timeout_s: float | None = None
    """Seconds that building its images may take."""
    env: tuple[tuple[str, str], ...] = ()
    """Environment variables of agent and verifier."""
    verifier_env: tuple[tuple[str, str], ...] = ()
    """Environment variables of the verifier only."""
    solution_env: tuple[tuple[str, str], ...] = ()
    """Environment variables of the solution only."""
    notes: tuple[str, ...] = ()
    """What its files say and is not done here, or is done because they say so: for its author."""
    needs: TaskNeeds = TaskNeeds()
    """What its files ask of its sandboxes, and why."""
    untrusted_programs: bool = False
    """Whether the verifier runs the agent's programs, with ``$UNTRUSTED``."""
    question: bool = False
    """Whether the task is judged by the agent's answer and needs no tools: direct chat gets none.
    Other agents find the files of ``workspace``, if there is one."""
    pictures: tuple[str, ...] = ()
    """Pictures in the workspace, by relative path, that are shown with the instruction."""
    folders: Mapping[str, Path] = field(default_factory=dict, hash=False)
    """Folders of this machine that agents can read and not change, such as a corpus, by their paths
    in the sandbox. Their content counts in the digest of a task that a source makes."""
    follow_ups: tuple[str, ...] = ()
    """The user's further messages, one after each turn; ``metadata.follow_ups``."""
    answers: tuple[str, ...] = ()
    """Expected answers, for tasks that have no ``tests/``: no edit may contain one."""
    answer_file: str = ""
    """File of the workspace that has the agent's answer when the tests run;
    ``metadata.answer_file``."""
    expectations: tuple[str, ...] = ()
    """Statements about the result in words, which the tests do not check;
    ``metadata.expectations``."""
    expected_output: str = ""
    """A description of the right result in words; ``metadata.expected_output``."""
    triggers: Triggers | None = None
    """Which skills are to be opened; None if the task does not say. ``metadata.opened``,
    ``metadata.not_opened`` and ``metadata.no_others_opened``."""
    workspace: Callable[[Path], None] | None = None
    """Writes the first workspace into an empty folder, for tasks that have no ``environment/``."""
    verify: Callable[..., Reward] | None = None
    """Judges the result in this process instead of ``tests/``, from the task, the workspace, the
    answer and the rollout's folder."""
    finish: tuple[Finish, ...] = ()
    """What is run on the agent's work before ``verify`` judges it, in this order."""
    companion: Callable[[Path], Companion] | None = None
    """Makes what the agent of one rollout talks to, such as a game engine, from the rollout's
    folder. ``verify`` can read the files that it leaves there."""
    led: bool = False
    """Whether the companion leads direct chat; see :class:`harnesses.base.Request`."""
    max_turns: int | None = None
    """The most model replies in direct chat; by default the harness's own limit."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """The user's messages, turn by turn."""
        return (self.instruction, *self.follow_ups)


def named_task(name: str) -> Task:
    """A task with only a name, to read rollouts without their task set."""
    return Task(name=name, instruction="", digest="")


@dataclass(frozen=True)
class Reward:
    """A verifier's verdict. ``soft`` is in [0, 1]; ``feedback`` describes what was wrong."""

    soft: float
    metrics: dict[str, float] = field(default_factory=dict)
    feedback: str = ""
    solved: bool | None = None
    """Whether the task is fully solved, for metrics by which that is not a ``soft`` of 1."""

    @property
    def hard(self) -> float:
        """1.0 if the task is fully solved, else 0.0."""
        if self.solved is not None:
            return float(self.solved)
        return 1.0 if self.soft >= 1.0 - 1e-9 else 0.0


class Verdict(BaseModel):
    """A verdict that has been replaced by a later one, see ``skillopt rejudge``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    """The rollout's key then, which differs if the tests or the verifier have changed since."""
    soft: float
    metrics: dict[str, float] = Field(default_factory=dict)
    feedback: str = ""
    finished: float = 0.0


class Rollout(BaseModel):
    """One attempt at one task, and ``result.json`` in its folder.

    ``task`` and ``folder`` are attached when it is read. In the file, ``task`` is the task's name
    and ``reward`` the hard reward as a number; soft reward, metrics and feedback have keys of
    their own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    format: Literal[1] = 1
    """Format number of the file."""
    key: str
    """Address in the rollout store."""
    identity: dict[str, Any] = Field(default_factory=dict)
    """Everything that the key is a digest of; see :mod:`skillopt.rollouts.identity`."""
    given: str = ""
    """Digest of the task's part that the agent got; empty if it is not known. With the same one,
    the work can be judged again by other tests."""
    finished: float = 0.0
    """When it was put into the store, in seconds since 1970; 0 if an earlier version did it."""
    earlier: tuple[Verdict, ...] = ()
    """Earlier verdicts on the same work, oldest first."""
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
    """Seconds from start to end, without the verifier's."""
    service_s: float = 0.0
    """Seconds of these that were lost to the model service; the others are the agent's."""
    others_opened: tuple[str, ...] = ()
    """Names of the skills of ``skill.beside`` that the agent opened."""
    judgement: Judgement | None = None
    """What a judge says of the task's expectations; None without one."""
    folder: SkipValidation[Path]
    """The rollout's folder in the store. Its files (trajectory.json, wire.jsonl, verifier/, logs)
    are packed there: see :meth:`open`."""

    @classmethod
    def read(cls, folder: Path, task: Task | None = None) -> Rollout:
        """The rollout in a folder with ``result.json``.

        Args:
            folder: the rollout's folder.
            task: the task that was run; by default one with only its name.

        Raises:
            FormatError: the file has another format or is not one of this project.
        """
        file = folder / "result.json"
        values = read_json(file, format=1, older=_with_soft)
        name = values.pop("task", "")
        values.pop("reward", None)
        try:
            given = [values.pop(key) for key in ("soft", "metrics", "feedback")]
            reward = Reward(*[*given, values.pop("solved", None)])
            return cls(task=task or named_task(name), reward=reward, folder=folder, **values)
        except (KeyError, ValidationError) as error:
            raise FormatError(f"{file}: not the result of a rollout: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The content of ``result.json``."""
        without = set() if self.judgement else {"judgement"}
        values = self.model_dump(mode="json", exclude={"task", "reward", "folder", *without})
        return {
            "format": self.format,
            "task": self.task.name,
            "status": self.status.value,
            "reward": self.reward.hard,
            "message": self.message,
            "soft": self.reward.soft,
            "metrics": self.reward.metrics,
            "feedback": self.reward.feedback,
            **({} if self.reward.solved is None else {"solved": self.reward.solved}),
        } | values

    @property
    def row(self) -> RolloutRow:
        """The rollout's row in the event log."""
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
        """The trajectory, read on demand; None if the agent never reached the model."""
        from atif import Trajectory

        try:
            with self.open("trajectory.json") as file:
                return Trajectory.model_validate_json(file.read())
        except FileNotFoundError:
            return None

    def open(self, name: str) -> IO[bytes]:
        """One of its files for reading, such as ``wire.jsonl`` or ``verifier/output.txt``, however
        the store keeps it. Raises FileNotFoundError if there is none."""
        return open_file(self.folder, name)


def _with_soft(values: dict[str, Any]) -> dict[str, Any]:
    """Converts a result without a format number, in which ``reward`` was the soft reward."""
    return {**values, "format": 1, "soft": values.get("reward")}


class RolloutRow(BaseModel):
    """A scored rollout in the event log: its key, and what the log must contain without the
    store."""

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
        return Reward(self.soft, {}, self.feedback, solved=self.hard == 1)


def used(rollouts: Iterable[Rollout | RolloutRow]) -> Usage:
    """What rollouts have used; one that is the result of several equal tasks counts once."""
    return Usage.total({rollout.key: rollout.usage for rollout in rollouts}.values())


class GateDecision(BaseModel):
    """A gate's decision and its reason, as logged. Scores are means over the whole split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    accepted: bool
    score_before: float
    """The current skill's score, as the gate now knows it."""
    score_after: float | None
    """The candidate's score; None if the evaluation stopped early. Never None if accepted."""
    upper_bound: float
    """The highest score that the candidate could still reach; its score if it was fully
    measured."""
    total: int
    """Tasks of the selection split."""
    broken: tuple[str, ...] = ()
    """Tasks that scored lower than before, among those evaluated."""
    fixed: tuple[str, ...] = ()
    """Tasks that scored higher than before."""
    reason: str
    rollouts: tuple[RolloutRow, ...]
    """The candidate's rollouts, in the order of the split."""
    remeasured: tuple[RolloutRow, ...] = ()
    """New rollouts of the current skill that the gate asked for."""
    gain: float | None = None
    """The estimated gain by which the gate decides, if it is not the difference of the scores."""
    undecided: bool = False
    """Whether a candidate was rejected that may well be better: it may be proposed again, and what
    is known of it counts then."""

    @model_validator(mode="after")
    def _accepts_what_was_measured(self) -> GateDecision:
        if self.accepted and self.score_after is None:
            raise ValueError("score_after: a gate that accepts must say what the candidate scores")
        return self

    @property
    def evaluated(self) -> int:
        """Tasks that the candidate was run on."""
        return len({row.task for row in self.rollouts})

    @property
    def cost(self) -> int:
        """Number of rollouts behind it that were asked for."""
        return len(self.rollouts) + len(self.remeasured)

    @property
    def improvement(self) -> float:
        """The estimated gain; if there is no estimate, the difference of the scores."""
        if self.gain is not None:
            return self.gain
        return self.upper_bound - self.score_before


EditKind = Literal["append", "insert_after", "replace", "delete", "set_description", "note"]


@dataclass(frozen=True)
class Edit:
    """One bounded change to a skill. ``support`` counts the patches that propose it.

    Edits are exact or refused: the target must match exactly once, lie outside protected regions
    and leave the Markdown valid (docs/design.md).
    """

    kind: EditKind
    target: str = ""
    """Exact text that must occur once, for insert_after, replace and delete."""
    content: str = ""
    """New text, for all kinds but delete. A ``note`` goes into the region of reminders."""
    reason: str = ""
    support: int = 1
    file: str = ""
    """Relative POSIX path of another file in the skill's folder; empty for the body."""
    runs: tuple[str, ...] = ()
    """Keys of the rollouts that the edit would have helped, as the optimizer sees it."""


@dataclass(frozen=True)
class Finding:
    """A way in which some rollouts failed, or a habit behind some that succeeded."""

    name: str
    count: int = 0


@dataclass(frozen=True)
class Patch:
    """What one reflection or merge proposes. ``source`` is failure, success or merged."""

    edits: tuple[Edit, ...]
    reasoning: str = ""
    source: Literal["failure", "success", "merged"] = "merged"
    findings: tuple[Finding, ...] = ()
    """Types of failure, or patterns of success, with the number of rollouts that showed each."""


@dataclass(frozen=True)
class EditOutcome:
    """The outcome of one edit: applied, or refused with the reason."""

    edit: Edit
    applied: bool
    reason: str = ""


@dataclass(frozen=True)
class EditVerdict:
    """What was measured of some edits of a bundle: the bundle, and the bundle without them."""

    edits: tuple[Edit, ...]
    """One edit; several if they could only be left out together."""
    company: int
    """Number of the bundle's other edits, which were there both times."""
    score_with: float
    """Mean score of the bundle on the tasks that it had changed, in new rollouts."""
    score_without: float
    """The same without the edits."""
    tasks: int
    """Number of these tasks."""
    outcomes: int
    """Number of rollouts behind both scores."""


@dataclass(frozen=True)
class RejectedEdit:
    """An entry of the rejected-edit memory: edits that the gate rejected, judged together."""

    step: int
    edits: tuple[Edit, ...]
    score_before: float
    score_after: float
    """The candidate's score; the highest that it could still reach if it was stopped early."""
    broken: tuple[str, ...]
    """Names of tasks that passed before and failed with the edits."""
    evaluated: int = 0
    """Tasks that the candidate was run on; 0 if an earlier version wrote the entry."""
    total: int = 0
    """Tasks of the selection split."""
    undecided: bool = False
    """Whether the gate might accept the same edits with more evidence."""
    verdicts: tuple[EditVerdict, ...] = ()
    """What was measured of single edits of the bundle, those that were kept included."""
    removed: bool = False
    """Whether the edits were in the skill and were taken out again, as it scores no less without
    them: then ``score_before`` is that without them, and ``score_after`` that with them."""


@dataclass(frozen=True)
class Tried:
    """What a step, a slow update or a compression did, and what was decided on it."""

    what: str
    """Such as ``step 3``."""
    step: int
    action: str
    """accept, reject or skip."""
    reason: str
    """The gate's, or why there was nothing to judge."""
    edits: tuple[Edit, ...] = ()
    """The edits that were judged together."""
    refused: tuple[EditOutcome, ...] = ()
    """The edits that could not be applied."""
    before: float | None = None
    after: float | None = None
    """The scores before and after; None if there was no decision, or it was stopped early."""
