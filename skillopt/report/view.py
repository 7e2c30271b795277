"""A run as the page shows it: the fold of its records, with an interval for every score.

The page gets plain JSON; the scripts in ``assets/`` draw it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from skillopt.core.types import EditOutcome, GateDecision, Reward, RolloutRow
from skillopt.evaluation.claim import claim_of_run, said_of_run, scorer_of
from skillopt.evaluation.stats import Estimate, all_or_nothing_runs, mean
from skillopt.report.diff import side_by_side
from skillopt.report.failures import Failures
from skillopt.report.rollout_table import STATUSES, RolloutTable
from skillopt.run.folder import RunError
from skillopt.run.journal import LOG, LogReader
from skillopt.run.records import (
    AnyRecord,
    BaselineDone,
    CompressionDone,
    CreditDone,
    EpochDone,
    Noted,
    RaceDone,
    Record,
    Remarked,
    RemovalDone,
    Replied,
    RolloutRan,
    RunChanged,
    RunCreated,
    RunDone,
    StageStarted,
    StepDone,
)
from skillopt.run.remarks import queued
from skillopt.run.spending import Meter
from skillopt.run.state import State

Judged = StepDone | EpochDone | CompressionDone | CreditDone | RemovalDone
REFLECTIONS = ("reflect", "merge", "rank", "slow", "meta", "repair", "compress", "draft")


class RunView:
    """One run, kept up to date from its log.

    Args:
        root: the run's folder.

    Attributes:
        state: the run's current state.

    Raises:
        JournalError: the log is damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = State()
        self._log = LogReader(root)
        self._meter = Meter()
        self._table = RolloutTable()
        self._failures = Failures()
        self._curve: list[dict[str, Any]] = []
        self._current: Estimate | None = None
        self._steps: list[dict[str, Any]] = []
        self._replies: list[dict[str, Any]] = []
        self._notes: list[Noted] = []
        self._changes: list[dict[str, Any]] = []
        self._seconds: dict[str, float] = {}
        self._stage_done = 0
        self._began: float | None = None
        self._last: float | None = None
        self._doing = ""
        self._waiting: list[Remarked] = []
        self.refresh()

    @property
    def keys(self) -> frozenset[str]:
        """The keys of the scored rollouts that the page lists."""
        return frozenset(self._table.columns.key)

    @property
    def keys_in_order(self) -> list[str]:
        """The same in the order in which they were run; those with several uses several times."""
        return list(self._table.columns.key)

    @property
    def tasks_folder(self) -> Path | None:
        """The folder that ``tasks.source`` names, if it does and it is there."""
        config = self.state.created.config if self.state.created else {}
        source = Path(config.get("tasks", {}).get("source", ""))
        return source if source.name and source.is_dir() else None

    @property
    def failed_keys(self) -> frozenset[str]:
        """The keys of the rollouts that failed for infrastructure, even if they succeeded later."""
        return self._failures.keys

    def about(self, name: str) -> dict[str, str] | None:
        """What a remark is about: task, split and use of a rollout by its key, or nothing of these
        for a step's entry by its name; None if there is neither."""
        found = self._table.about(name)
        named = any(entry["name"] == name for entry in self._steps)
        return found if found is not None else {} if named else None

    def refresh(self) -> bool:
        """Read the log's new records. Returns whether anything has changed."""
        before, new = (self._doing, self._waiting), False
        for record in self._log.new():
            self._add(record)
            new = True
        self._doing, self._waiting = self.state.doing, queued(self.root)
        return new or before != (self._doing, self._waiting)

    @property
    def remarks(self) -> dict[str, Remarked]:
        """People's remarks by id, also those that the training process has not taken over yet."""
        found = dict(self.state.remarks)
        for remark in self._waiting:
            found.pop(remark.id, None)
            if not remark.withdrawn:
                found[remark.id] = remark
        return found

    def _add(self, record: AnyRecord) -> None:
        before = self.state.current
        self.state.apply(record)
        self._meter.add(record)
        self._began = record.at if self._began is None else self._began
        self._last = record.at
        match record:
            case RunCreated():
                self._table.set_splits(record.splits)
            case RunChanged():
                self._changed(record)
            case StageStarted():
                self._stage_done = 0
            case RolloutRan():
                self._seconds[record.key] = record.seconds
                self._stage_done += record.status.scored
                self._failures.add(record)
            case Replied():
                self._stage_done += 1
                if record.stage in REFLECTIONS:
                    self._replies.append(_reply(record))
            case Noted():
                self._notes.append(record)
            case BaselineDone():
                self._baseline(record)
            case CompressionDone():
                self._compression(record, before)
            case RaceDone():
                self._race(record)
            case StepDone():
                self._step(record, before)
            case CreditDone():
                self._credit(record, before)
            case RemovalDone():
                self._removal(record, before)
            case EpochDone():
                self._epoch(record, before)
            case RunDone():
                for role, rows in record.test_rollouts.items():
                    self._table.add(f"test, {role} skill", "test", self.state.steps, rows)

    def _changed(self, record: RunChanged) -> None:
        """List a change once, although the fingerprint and the config may both have it."""
        self._table.set_splits(record.splits)
        found = record.changes
        changes = [
            [key, *pair]
            for key, pair in found.items()
            if not (key.startswith("config.") and found.get(key[len("config.") :]) == pair)
        ]
        self._changes.append({"after": self.state.steps, "at": record.at, "changes": changes})

    def _baseline(self, record: BaselineDone) -> None:
        self._table.add("initial skill", "val", 0, record.rollouts)
        score = self._current = _around(record.score, self._score(self.state.rewards))
        tasks = len(self.state.rewards)
        self._point(0.0, "initial", "accept", score=score, measured=tasks, total=tasks)

    def _step(self, record: StepDone, before: str) -> None:
        trained = self._table.add(
            f"step {record.step}, training batch", "train", record.step, record.rollouts
        )
        row = self.state.history[-1]
        entry = self._entry(f"step {record.step}", record)
        entry |= {
            "budget": row["edit_budget"],
            "proposed": row["edits_proposed"],
            "applied": row["edits_applied"],
            "refused": row["edits_refused"],
            "rollout": vars(self._measured(record.rollouts)),
            "edits": [asdict(outcome) for outcome in record.report],
            "batch": trained,
        }
        entry["race"] = row.get("race")
        self._judged(entry, record, before)

    def _race(self, record: RaceDone) -> None:
        for number, candidate in enumerate(record.candidates, start=1):
            name = f"step {record.step}, race, candidate {number}"
            self._table.add(name, "val", record.step, candidate.rollouts)

    def _compression(self, record: CompressionDone, before: str) -> None:
        entry = self._entry(f"compression before step {record.step}", record)
        entry |= {"edits": [], "length": list(record.tokens)}
        self._judged(entry, record, before)

    def _credit(self, record: CreditDone, before: str) -> None:
        entry = self._entry(f"edits of step {record.step}", record)
        entry |= {"edits": [asdict(EditOutcome(edit, applied=True)) for edit in record.edits]}
        entry["verdicts"] = [asdict(verdict) for verdict in record.verdicts]
        known = [row for rows in record.rollouts.values() for row in rows]
        self._table.add(f"{entry['name']}, left out in turn", "val", record.step, known)
        self._judged(entry, record, before)

    def _removal(self, record: RemovalDone, before: str) -> None:
        name = f"without edit {record.number + 1} of step {record.of_step}"
        entry = self._entry(f"{name}, epoch {record.epoch}", record)
        entry["edits"] = []
        if record.removal:
            made = EditOutcome(record.removal, record.gate is not None, record.skipped)
            entry["edits"] = [asdict(made)]
        self._judged(entry, record, before)

    def _epoch(self, record: EpochDone, before: str) -> None:
        """Add an epoch's end that did something: a slow update, the optimizer's notes, or both."""
        if record.action == "off" and not record.pairs:
            return
        name = "notes" if record.action == "off" else "slow update"
        entry = self._entry(f"{name}, epoch {record.epoch}", record)
        entry |= {"pairs": record.pairs, "notes": record.notes, "edits": []}
        self._judged(entry, record, before)

    def _entry(self, name: str, record: Judged) -> dict[str, Any]:
        """The entry of a step or an epoch's end, with the edits and replies behind it."""
        row = record.row
        shifts: dict[type[Record], float] = {
            EpochDone: 0.5, CompressionDone: -0.25, CreditDone: 0.125, RemovalDone: 0.25,
        }  # fmt: skip
        entry = {
            "name": name,
            "x": record.step + shifts.get(type(record), 0.0),
            "step": record.step,
            "epoch": record.epoch,
            "action": record.action,
            "skipped": record.skipped,
            "replies": self._replies,
            "optimizer_errors": row.get("optimizer_errors", []),
            "tokens": row.get("tokens", {}),
            "cost_usd": row.get("cost_usd"),
            "seconds": row.get("seconds", {}),
        }
        # The failed calls are noted too, each with its step.
        known = [f"step {record.step}: {error}" for error in entry["optimizer_errors"]]
        noted = [note.text for note in self._notes if note.step == record.step]
        entry["noted"] = [text for text in noted if text not in known]
        self._notes = [note for note in self._notes if note.step != record.step]
        self._replies = []
        self._steps.append(entry)
        return entry

    def _judged(self, entry: dict[str, Any], record: Judged, before: str) -> None:
        """Add the gate's decision on its candidate to an entry."""
        gate, candidate = record.gate, record.candidate
        rejected = None if isinstance(record, CreditDone) else record.rejected
        entry["rejected"] = asdict(rejected) if rejected else None
        entry["gate"] = entry["selection"] = None
        entry["diff"] = []
        if candidate is None or gate is None:
            return
        skills, name = self.state.skills, entry["name"]
        change = side_by_side(skills[before].text, skills[candidate].text)
        entry["diff"] = [asdict(row) for row in change]
        entry["selection"] = self._table.add(f"{name}, gate", "val", record.step, gate.rollouts)
        if gate.remeasured:
            again = f"{name}, current skill again"
            self._table.add(again, "val", record.step, gate.remeasured)
        entry["gate"] = {
            "reason": gate.reason,
            "before": gate.score_before,
            "after": gate.score_after,
            "bound": gate.upper_bound,
            "evaluated": gate.evaluated,
            "rollouts": len(gate.rollouts),
            "remeasured": len(gate.remeasured),
            "total": gate.total,
            "fixed": self._table.numbers(gate.fixed, "val"),
            "broken": self._table.numbers(gate.broken, "val"),
        }
        self._judged_point(entry, gate)

    def _judged_point(self, entry: dict[str, Any], gate: GateDecision) -> None:
        score = None
        if gate.score_after is not None:
            score = _around(gate.score_after, self._measured(gate.rollouts))
        if gate.accepted:
            self._current = score
        elif gate.remeasured or self._current is None:
            self._current = _around(gate.score_before, self._score(self.state.rewards))
        else:
            self._current = _around(gate.score_before, self._current)
        self._point(
            entry["x"],
            entry["name"],
            entry["action"],
            score=score,
            bound=None if score else gate.upper_bound,
            measured=gate.evaluated,
            total=gate.total,
        )

    def _point(
        self,
        x: float,
        name: str,
        action: str,
        *,
        score: Estimate | None,
        bound: float | None = None,
        measured: int,
        total: int,
    ) -> None:
        """One evaluation of the score curve, with the current skill's score after it.

        Args:
            x: position on the axis of steps.
            name, action: the entry's.
            score: None if the evaluation stopped early.
            bound: the highest possible score in that case.
            measured: tasks that were run.
            total: tasks of the split.
        """
        current = self._current
        self._curve.append(
            {
                "x": x,
                "name": name,
                "action": action,
                "score": vars(score) if score else None,
                "bound": bound,
                "current": vars(current) if current else None,
                "measured": measured,
                "total": total,
            }
        )

    def _measured(self, rows: Iterable[RolloutRow]) -> Estimate:
        """The score of some rollouts, as :meth:`_score`."""
        return self._score(_by_task(row for row in rows if row.status.scored))

    def _score(self, rewards: Mapping[str, Sequence[Reward]]) -> Estimate:
        """The score by the run's own metric, with an interval over tasks."""
        score = scorer_of(self.state).score
        runs = [[float(score(reward)) for reward in found] for found in rewards.values()]
        return mean([sum(scores) / len(scores) for scores in runs], None, all_or_nothing_runs(runs))

    def _now(self) -> dict[str, Any] | None:
        """The stage that is running, or in which the run stopped."""
        stage = self.state.stage
        if stage is None or self.state.done:
            return None
        told = stage.model_dump(include={"stage", "epoch", "step", "total"})
        return {**told, "done": self._stage_done}

    def to_json(self) -> dict[str, Any]:
        """Everything that the page needs except trajectories."""
        state, created = self.state, self.state.created
        initial, best = (state.skills.get(digest) for digest in (state.initial, state.best))
        keys = self._table.columns.key
        seconds = [round(self._seconds.get(key, -1.0), 1) for key in keys]
        return {
            **state.summary,
            "claim": claim_of_run(state),
            "said": said_of_run(state),
            "word": scorer_of(state).word,
            "folder": str(self.root),
            "began": self._began,
            "last": self._last,
            "now": self._now(),
            "config": created.config if created else {},
            "parts": _parts(created) if created else {},
            "epochs": created.config["train"]["epochs"] if created else 0,
            "steps_planned": state.started.steps if state.started else 0,
            "spent": self._meter.to_json(),
            "changes": self._changes,
            "failures": self._failures.to_json(),
            "noted": [note.model_dump(include={"at", "text"}) for note in self._notes],
            "tasks": self._table.tasks,
            "uses": self._table.uses,
            "statuses": STATUSES,
            "rollouts": {**vars(self._table.columns), "seconds": seconds},
            "remarks": [_remark(remark) for remark in self.remarks.values()],
            "curve": self._curve,
            "entries": self._steps,
            "memory": [asdict(entry) for entry in state.memory],
            "skill": best.text if best else "",
            "change": [asdict(r) for r in side_by_side(initial.text, best.text)]
            if initial and best
            else [],
        }


def read_run(root: Path) -> RunView:
    """The view of a run.

    Raises:
        RunError: the folder is not a run's, or nothing is recorded yet.
        JournalError: the log is damaged.
    """
    view = RunView(root)
    if view.state.created is None:
        raise RunError(f"{root / LOG}: no record in it; is {root} a run that has started?")
    return view


def _remark(record: Remarked) -> dict[str, Any]:
    told = {"id", "at", "about", "other", "task", "split", "use", "verdict", "blind", "text"}
    return {**record.model_dump(include=told), "step": record.since}


def _reply(record: Replied) -> dict[str, Any]:
    value = None if record.reply is None else json.loads(record.reply)
    return {"stage": record.stage, "about": record.about, "value": value, "error": record.error}


def _parts(created: RunCreated) -> dict[str, str]:
    """The parts that are not the defaults: gate, method, the user's own."""
    found = {}
    # Runs of early versions have no kind.
    for part, usual, early in (("gate", "auto", "strict"), ("method", "skillopt", "skillopt")):
        kind = created.config.get(part, {}).get("kind", early)
        if kind != usual:
            found[part] = kind
    own = {k: str(v) for k, v in created.fingerprint.items() if k.startswith("own.")}
    return found | {key.removeprefix("own."): label for key, label in own.items()}


def _by_task(rows: Iterable[RolloutRow]) -> dict[str, list[Reward]]:
    found: dict[str, list[Reward]] = {}
    for row in rows:
        found.setdefault(row.task, []).append(row.reward)
    return found


def _around(value: float, measured: Estimate) -> Estimate:
    """A score as the gate knows it, perhaps from more rollouts, with the interval of these."""
    if measured.low is None or measured.high is None:
        return Estimate(value)
    return Estimate(value, min(value, measured.low), max(value, measured.high))
