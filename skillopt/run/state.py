"""The state of a run: the fold of its records. The trainer reads it; only records change it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from harnesses.base import Status
from sandboxes.owner import Owner, is_dead
from skillopt.core.skill import Skill
from skillopt.core.types import (
    Edit,
    Finding,
    GateDecision,
    RejectedEdit,
    Reward,
    RolloutRow,
    Tried,
)
from skillopt.run.records import (
    FORMAT,
    AnyRecord,
    BaselineDone,
    BatchDone,
    CompressionDone,
    CreditDone,
    EpochDone,
    MethodDone,
    Noted,
    RacedCandidate,
    RaceDone,
    Remarked,
    RemovalDone,
    Replied,
    RolloutRan,
    RolloutsAsked,
    RunChanged,
    RunCreated,
    RunDone,
    RunStarted,
    RunStopped,
    SkillMade,
    StageStarted,
    StepDone,
)

UNTRIED = 24
"""The most proposals that are kept for later steps."""
SETTLING = BaselineDone | StepDone | CreditDone | RemovalDone | EpochDone
"""Records after which nothing is half done: a run that is resumed counts the same there."""
OVER_BUDGET = "over the budget"
"""The beginning of the reason why an edit was not applied for want of room."""


@dataclass(frozen=True)
class Change:
    """The edits of a step's change, or of those of them that were judged again.

    Args:
        step: its number.
        before, after: digests of the skill without and with them.
        edits: in the order in which they were applied.
        gate: the decision on them.
    """

    step: int
    before: str
    after: str
    edits: tuple[Edit, ...]
    gate: GateDecision


@dataclass
class State:
    """What a step starts from and changes."""

    created: RunCreated | None = None
    earlier_limit: int | None = None
    """``skill.max_tokens`` of a run that a version began which had no ``skill.compress``."""
    skills: dict[str, Skill] = field(default_factory=dict)
    """All skills that records refer to, by digest."""
    initial: str = ""
    """Digest of the initial skill; the next two are digests too."""
    current: str = ""
    best: str = ""
    evidence: dict[str, dict[str, dict[str, Reward]]] = field(default_factory=dict)
    """All rewards on the selection split: by skill, task, and key of the rollout, oldest first."""
    initial_score: float | None = None
    current_score: float = 0.0
    best_score: float = 0.0
    memory: tuple[RejectedEdit, ...] = ()
    tried: list[Tried] = field(default_factory=list)
    """All decisions, oldest first, with their edits."""
    untried: tuple[Edit, ...] = ()
    """Edits that were proposed and not tried, oldest first."""
    findings: dict[int, tuple[Finding, ...]] = field(default_factory=dict)
    """Types of failure that the reflections found, by step."""
    failures_of: dict[int, int] = field(default_factory=dict)
    """Number of failed rollouts of a step's batches, by step."""
    notes: str = ""
    steps: int = 0
    """Number of finished steps."""
    epochs: int = 0
    """Number of finished epochs, including their ends."""
    epoch_skills: list[str] = field(default_factory=list)
    """The current skill at each epoch's end, after the slow update."""
    accepted: list[str] = field(default_factory=list)
    """Digests of the skills that were current after the initial one, oldest first."""
    last_accepted: int = 0
    """Step of the last accepted change; 0 if there was none."""
    history: list[dict[str, Any]] = field(default_factory=list)
    replies: dict[str, Replied] = field(default_factory=dict)
    remarks: dict[str, Remarked] = field(default_factory=dict)
    """People's remarks that were not withdrawn, by id, oldest first."""
    batches: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    unused: set[str] = field(default_factory=set)
    """Keys of rollouts that were run ahead of their step, and that no step has used."""
    stage: StageStarted | None = None
    """The last stage that has started."""
    compressed: int = 0
    """The last step that began by shortening the skill."""
    compression: dict[str, Any] = field(default_factory=dict)
    """The row of that, until the step has one."""
    race: RaceDone | None = None
    """The race of the candidates of a step that is not finished."""
    unsettled: Change | None = None
    """The last step's change, until it is known which of its edits carried it, or the epoch ends.
    """
    changes: list[Change] = field(default_factory=list)
    """All changes by edits that were accepted, oldest first."""
    gains: dict[tuple[int, int], float] = field(default_factory=dict)
    """The measured part of accepted edits in their change's gain, by step and number."""
    removals: list[RemovalDone] = field(default_factory=list)
    spent_on: dict[str, int] = field(default_factory=dict)
    """Rollouts on the selection split: ``gate`` for decisions on the steps' changes, ``race`` to
    choose one of several, ``credit`` and ``prune`` for single edits."""
    asked_so_far: int = 0
    """Distinct rollouts that were asked for."""
    asked: int = 0
    """Those of them until the last step, epoch's end or judgement of single edits, or by the method
    alone if it counts them itself: what ``method.rollouts`` limits."""
    chosen: MethodDone | None = None
    """The result of a method that decides by itself; the gate's decisions do not matter then."""
    paired: bool = False
    """Whether an epoch's end has begun to compare two epochs' skills."""
    notes_of_run: list[Noted] = field(default_factory=list)
    failures: dict[str, RolloutRan] = field(default_factory=dict)
    """The last infrastructure failure of each rollout that has not succeeded since, by key."""
    done: RunDone | None = None
    started: RunStarted | None = None
    """The last start."""
    stopped: str = ""
    """Why the last process ended before the run was done; empty while one is running."""

    def apply(self, record: AnyRecord) -> None:
        """Apply the next record."""
        match record:
            case RunCreated():
                self.created = record
                own = record.config.get("skill", {})
                self.earlier_limit = None if "compress" in own else own.get("max_tokens")
            case RunChanged() if self.created:
                changed = record.model_dump(include={"config", "fingerprint", "splits"})
                self.created = self.created.model_copy(update=changed)
                self.failures.clear()  # What has failed may have been mended.
            case RunStarted():
                self.started, self.stopped = record, ""
            case StageStarted():
                self.stage = record
                self.paired = self.paired or record.stage == "pairs"
            case Noted():
                self.notes_of_run.append(record)
            case RolloutsAsked():
                self.asked_so_far += len(record.keys)
            case RolloutRan() if record.status is not Status.CANCELLED:
                self.failures.pop(record.key, None)
                if not record.status.scored:
                    self.failures[record.key] = record
                elif record.stage == "ahead":
                    self.unused.add(record.key)
            case SkillMade():
                self.skills[record.digest] = record.skill
            case Replied():
                self.replies[record.id] = record
            case Remarked():
                self.remarks.pop(record.id, None)
                if not record.withdrawn:
                    self.remarks[record.id] = record
            case BatchDone():
                self.batches[record.step, record.part] = record.keys
                self.unused.difference_update(record.keys)
            case BaselineDone():
                self.initial = self.current = self.best = record.skill
                self._keep(record.skill, record.rollouts)
                self.initial_score = self.current_score = self.best_score = record.score
            case CompressionDone():
                self._compression(record)
            case RaceDone():
                self._raced(record)
            case StepDone():
                self._step(record)
            case CreditDone():
                self._credit(record)
            case RemovalDone():
                self._removal(record)
            case EpochDone():
                self._epoch(record)
            case MethodDone():
                self._choose(record)
            case RunDone():
                self.done, self.stopped = record, ""
                self.best = self.best_with(record.final_selection)
                self.best_score = max(self.best_score, record.final_selection)
                if self.chosen is not None:
                    self.best_score = self.current_score = record.final_selection
            case RunStopped():
                self.stopped = record.reason
        if isinstance(record, SETTLING):
            self.asked = self.asked_so_far

    def best_with(self, final: float) -> str:
        """The digest of the best skill once the current one has its final selection score."""
        if self.chosen is not None:
            return self.chosen.skill
        return self.current if final > self.best_score else self.best

    def _choose(self, record: MethodDone) -> None:
        """Take a method's result: it may score less than another skill that was measured."""
        self.chosen, self.asked = record, record.asked
        if record.skill != self.current:
            self.accepted.append(record.skill)
        self.current = self.best = record.skill
        if record.score is not None:
            self.current_score = self.best_score = record.score

    def _raced(self, record: RaceDone) -> None:
        self.race = record
        for candidate in record.candidates:
            self._keep(candidate.skill, candidate.rollouts)
            self._spend_on("race", len(candidate.rollouts))

    def raced(self, skill: str, step: int) -> dict[str, int]:
        """How many known outcomes of a skill decided that it is judged in a step, by task: none if
        there was no race.

        Args:
            skill: its digest.
            step: the step that is not finished.
        """
        race = self.race
        if race is None or race.step != step or race.candidates[race.winner].skill != skill:
            return {}
        known = self.evidence[skill]
        return {task: len(known[task]) for task in race.candidates[race.winner].tasks}

    def _step(self, record: StepDone) -> None:
        self.steps = record.step
        race, self.race = self.race, None
        self._learn(record, race)
        edits = tuple(outcome.edit for outcome in record.report if outcome.applied)
        change = self._change(record.step, edits, record.candidate, record.gate)
        self.unsettled = change
        self._spend("gate", record.gate)
        self._judge(record.candidate, record.gate, record.rejected, record.step)
        raced = {"race": race.row} if race else {}
        self.history.append(record.row | raced | self.compression | self._scores())
        self.compression = {}

    def _credit(self, record: CreditDone) -> None:
        for skill, rows in record.rollouts.items():
            self._keep(skill, rows)
            self._spend_on("credit", len(rows))
        self._spend("credit", record.gate)
        if record.remembered:
            self.memory = (*self.memory[:-1], *record.remembered)
        if record.gate is not None:
            what = f"step {record.step} without its harmful edits"
            self.tried.append(_tried(what, record, tuple(record.edits)))
        settled, self.unsettled = self.unsettled, None
        if settled is not None and settled.gate.accepted:
            self.gains |= {(record.step, n): gain for n, gain in record.gains.items()}
        self._change(record.step, tuple(record.edits), record.candidate, record.gate)
        self._judge(record.candidate, record.gate, None, record.step)
        self.history[-1] = self.history[-1] | {"credit": record.row | self._scores()}

    def _removal(self, record: RemovalDone) -> None:
        self.unsettled = None
        self.removals.append(record)
        self._spend("prune", record.gate)
        if record.gate is not None and record.removal is not None:
            what = f"taking out an edit of step {record.of_step}"
            self.tried.append(_tried(what, record, (record.removal,)))
        was_best = self.best == self.current
        self._judge(record.candidate, record.gate, record.rejected, self.last_accepted)
        if was_best and record.gate is not None and record.gate.accepted:
            self.best, self.best_score = self.current, self.current_score
        rows = [*self.history[-1].get("removals", ()), record.row | self._scores()]
        self.history[-1] = self.history[-1] | {"removals": rows}

    def _change(
        self, step: int, edits: tuple[Edit, ...], candidate: str | None, gate: GateDecision | None
    ) -> Change | None:
        """Keep a change by edits; before it is judged."""
        if candidate is None or gate is None or not edits:
            return None
        change = Change(step, self.current, candidate, edits, gate)
        if gate.accepted:
            self.changes.append(change)
            gain = gate.improvement / len(edits)
            self.gains |= {(step, number): gain for number in range(len(edits))}
        return change

    def _spend(self, stage: str, gate: GateDecision | None) -> None:
        self._spend_on(stage, gate.cost if gate else 0)

    def _spend_on(self, stage: str, rollouts: int) -> None:
        self.spent_on[stage] = self.spent_on.get(stage, 0) + rollouts

    def _learn(self, record: StepDone, race: RaceDone | None) -> None:
        """Keep what a step tried, proposed and found, for the optimizer."""
        losers = race.losers if race else []
        self.tried += [_lost(record.step, number, loser) for number, loser in losers]
        # Those that were ahead of the current skill may well be good.
        good = [edit for _, loser in losers if loser.gain > 0 for edit in loser.edits]
        applied = tuple(outcome.edit for outcome in record.report if outcome.applied)
        proposed = record.patches[-1].edits if record.patches else ()
        rewritten = record.candidate is not None and not record.report
        judged_edits = proposed if rewritten else applied
        if record.rejected is not None and record.rejected.edits:
            judged_edits = record.rejected.edits
        tried = _tried(f"step {record.step}", record, judged_edits)
        left = [o for o in record.report if not o.applied and o.reason.startswith(OVER_BUDGET)]
        refused = tuple(o for o in record.report if not o.applied and o not in left)
        self.tried.append(replace(tried, refused=refused))
        judged = {_said(e) for e in (*tried.edits, *(outcome.edit for outcome in refused))}
        new = {_said(edit): edit for edit in (*good, *proposed) if _said(edit) not in judged}
        old = [e for e in self.untried if _said(e) not in judged and _said(e) not in new]
        self.untried = () if rewritten else (*old, *new.values())[-UNTRIED:]
        failed = [one for p in record.patches if p.source == "failure" for one in p.findings]
        found = (record.patches[-1].findings if record.patches else ()) or tuple(failed)
        if found:
            self.findings[record.step] = found
        self.failures_of[record.step] = sum(row.hard < 1 for row in record.rollouts)

    def _compression(self, record: CompressionDone) -> None:
        self.compressed = record.step
        self.tried.append(_tried("compression", record, ()))
        self._judge(record.candidate, record.gate, record.rejected, record.step)
        accepted = record.gate is not None and record.gate.accepted
        if accepted and record.wanted and self.current_score >= self.best_score:
            self.best = self.current
        self.compression = {"compression": record.row | self._scores()}

    def _epoch(self, record: EpochDone) -> None:
        self.epochs, self.unsettled = record.epoch, None
        if record.action != "off":
            edits = record.rejected.edits if record.rejected else ()
            self.tried.append(_tried(f"slow update after step {record.step}", record, edits))
        self._judge(record.candidate, record.gate, record.rejected, record.step)
        self.epoch_skills.append(self.current)
        self.notes = record.notes
        if record.row:
            self.history[-1] = self.history[-1] | {"epoch_end": record.row | self._scores()}

    def _judge(
        self,
        candidate: str | None,
        gate: GateDecision | None,
        rejected: RejectedEdit | None,
        step: int,
    ) -> None:
        if rejected is not None:
            self.memory = (*self.memory, rejected)
        if candidate is None or gate is None:
            return
        self._keep(self.current, gate.remeasured)
        self._keep(candidate, gate.rollouts)
        self.current_score = gate.score_before
        was_best = self.best == self.current
        if was_best:
            self.best_score = gate.score_before
        if not gate.accepted:
            return
        assert gate.score_after is not None, "checked by GateDecision"
        self.current, self.current_score = candidate, gate.score_after
        self.accepted.append(candidate)
        self.last_accepted = step
        gain = gate.gain if was_best else None  # An estimate from more than the scores.
        if (self.current_score - self.best_score if gain is None else gain) > 0:
            self.best, self.best_score = candidate, self.current_score

    def _keep(self, skill: str, rows: Iterable[RolloutRow]) -> None:
        """Add rewards of a skill; a rollout that is known already counts once."""
        tasks = self.evidence.setdefault(skill, {})
        for row in rows:
            tasks.setdefault(row.task, {}).setdefault(row.key, row.reward)

    def rewards_of(self, skill: str) -> dict[str, list[Reward]]:
        """All rewards of a skill on the selection split, by task, oldest first.

        Args:
            skill: its digest; there may be none of it.
        """
        return {task: [*found.values()] for task, found in self.evidence.get(skill, {}).items()}

    @property
    def rewards(self) -> dict[str, list[Reward]]:
        """All rewards of the current skill on the selection split."""
        return self.rewards_of(self.current)

    @property
    def ending(self) -> str:
        """Why training ends, if its last removals have begun without an epoch's end."""
        last = self.removals[-1] if self.removals else None
        return last.ending if last and last.step == self.steps else ""

    @property
    def lineage(self) -> list[str]:
        """Digests of the skills that were current before the present one, oldest first."""
        return [self.initial, *self.accepted][:-1]

    def _scores(self) -> dict[str, float]:
        return {"current_score": self.current_score, "best_score": self.best_score}

    @property
    def doing(self) -> str:
        """``done``, ``stopped``, ``running``, ``killed``, or ``not started``, from the last event
        and whether the last process is still alive."""
        if self.done is not None:
            return "done"
        if self.stopped:
            return "stopped"
        if self.started is None:
            return "not started"
        owner = Owner.parse(self.started.owner)
        return "killed" if owner is not None and is_dead(owner) else "running"

    @property
    def summary(self) -> dict[str, Any]:
        """The content of ``summary.json``, apart from the spending."""
        config = self.created.config if self.created else {}
        scored = self.initial_score is not None
        ahead = {"unused_rollouts": len(self.unused)} if self.unused else {}
        return ahead | {
            "format": FORMAT,
            "name": self.created.name if self.created else "",
            "state": self.doing,
            "done": self.done is not None,
            "stopped": self.done.reason if self.done else self.stopped,
            "steps": self.steps,
            "initial_score": self.initial_score,
            "current_score": self.current_score if scored else None,
            "best_score": self.best_score if scored else None,
            "accepted": len(self.accepted),
            "rollouts_asked": self.asked,
            "initial_skill": self.initial,
            "best_skill": self.best,
            "method": config.get("method", {}).get("kind", "skillopt"),
            "harness": config.get("harness", {}).get("name", ""),
            "target": config.get("target", {}).get("name", ""),
            "optimizer": config.get("optimizer", {}).get("name", ""),
            "test": self.done.test if self.done else {},
            "claim": self.done.claim if self.done else None,
            "no_claim": self.done.no_claim if self.done else "",
            "forked_from": self.created.forked_from if self.created else None,
        }


def fold(records: Iterable[AnyRecord]) -> State:
    """The state after these records."""
    state = State()
    for record in records:
        state.apply(record)
    return state


def _tried(
    what: str,
    record: StepDone | CompressionDone | CreditDone | RemovalDone | EpochDone,
    edits: tuple[Edit, ...],
) -> Tried:
    gate = record.gate
    return Tried(
        what=what,
        step=record.step,
        action=record.action,
        reason=gate.reason if gate else record.skipped,
        edits=edits,
        before=gate.score_before if gate else None,
        after=gate.score_after if gate else None,
    )


def _lost(step: int, number: int, loser: RacedCandidate) -> Tried:
    """A candidate that the gate did not judge, as another one of its step was ahead."""
    reason = f"{loser.gain:+.2f} tasks on {len(loser.tasks)}, {loser.ended}"
    return Tried(f"candidate {number} of step {step}", step, "lost", reason, tuple(loser.edits))


def _said(edit: Edit) -> tuple[str, str, str]:
    """What makes two proposals the same, wherever they would be put."""
    text = " ".join(edit.content.split())
    return edit.file, text, "" if text else edit.target
