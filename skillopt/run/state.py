"""Where a run stands: the fold of its records. The trainer reads it; only records change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from skillopt.core.skill import Skill
from skillopt.core.types import RejectedEdit, Reward
from skillopt.run.records import (
    AnyRecord,
    BaselineDone,
    BatchDone,
    EpochDone,
    GateResult,
    Replied,
    RunCreated,
    RunDone,
    RunStopped,
    SkillMade,
    StepDone,
)


@dataclass
class State:
    """What a step starts from and changes."""

    created: RunCreated | None = None
    skills: dict[str, Skill] = field(default_factory=dict)
    """All that a record names, by digest."""
    initial: str = ""
    """Digests, as for the two below."""
    current: str = ""
    best: str = ""
    rewards: dict[str, Reward] = field(default_factory=dict)
    """Of the current skill on the selection split, by task name."""
    initial_score: float | None = None
    current_score: float = 0.0
    best_score: float = 0.0
    memory: tuple[RejectedEdit, ...] = ()
    notes: str = ""
    steps: int = 0
    """That are done."""
    epochs: int = 0
    """That are done, their ends included."""
    epoch_skills: list[str] = field(default_factory=list)
    """The current skill at each epoch's end, that end's slow update included."""
    accepted: list[str] = field(default_factory=list)
    """Digests of the skills that were current after the initial one, oldest first."""
    last_accepted: int = 0
    """Step of the last accepted change; 0 when there was none."""
    history: list[dict[str, Any]] = field(default_factory=list)
    replies: dict[str, Replied] = field(default_factory=dict)
    batches: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    done: RunDone | None = None
    stopped: str = ""
    """Why the last process ended before the run was done."""

    def apply(self, record: AnyRecord) -> None:
        """Take in the next record."""
        match record:
            case RunCreated():
                self.created = record
            case SkillMade():
                self.skills[record.digest] = record.skill
            case Replied():
                self.replies[record.id] = record
            case BatchDone():
                self.batches[record.step, record.part] = record.keys
            case BaselineDone():
                self.initial = self.current = self.best = record.skill
                self.rewards = {row.task: row.reward for row in record.rollouts}
                self.initial_score = self.current_score = self.best_score = record.score
            case StepDone():
                self._step(record)
            case EpochDone():
                self._epoch(record)
            case RunDone():
                self.done, self.stopped = record, ""
                if record.final_selection > self.best_score:
                    self.best, self.best_score = self.current, record.final_selection
            case RunStopped():
                self.stopped = record.reason

    def _step(self, record: StepDone) -> None:
        self.steps = record.step
        self._judge(record.candidate, record.gate, record.rejected, record.step)
        self.history.append(record.row | self._scores())

    def _epoch(self, record: EpochDone) -> None:
        self.epochs = record.epoch
        self._judge(record.candidate, record.gate, record.rejected, record.step)
        self.epoch_skills.append(self.current)
        self.notes = record.notes
        if record.row:
            self.history[-1] = self.history[-1] | {"epoch_end": record.row | self._scores()}

    def _judge(
        self,
        candidate: str | None,
        gate: GateResult | None,
        rejected: RejectedEdit | None,
        step: int,
    ) -> None:
        if rejected is not None:
            self.memory = (*self.memory, rejected)
        if candidate is None or gate is None or not gate.accepted:
            return
        assert gate.score_after is not None, "a gate accepts full evaluations only"
        self.current, self.current_score = candidate, gate.score_after
        self.rewards = {row.task: row.reward for row in gate.rollouts}
        self.accepted.append(candidate)
        self.last_accepted = step
        if self.current_score > self.best_score:
            self.best, self.best_score = candidate, self.current_score

    def _scores(self) -> dict[str, float]:
        return {"current_score": self.current_score, "best_score": self.best_score}

    @property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` says, apart from what was spent."""
        config = self.created.config if self.created else {}
        return {
            "name": self.created.name if self.created else "",
            "done": self.done is not None,
            "stopped": self.done.reason if self.done else self.stopped,
            "steps": self.steps,
            "initial_score": self.initial_score,
            "current_score": self.current_score,
            "best_score": self.best_score,
            "accepted": sum(row["action"] == "accept" for row in self.history),
            "initial_skill": self.initial,
            "best_skill": self.best,
            "harness": config.get("harness", {}).get("name", ""),
            "target": config.get("target", {}).get("name", ""),
            "optimizer": config.get("optimizer", {}).get("name", ""),
            "test": self.done.test if self.done else {},
            "forked_from": self.created.forked_from if self.created else None,
        }


def fold(records: Iterable[AnyRecord]) -> State:
    """The state after these records."""
    state = State()
    for record in records:
        state.apply(record)
    return state
