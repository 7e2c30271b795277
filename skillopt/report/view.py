"""A run as the page shows it: the fold of its records, with an interval at every score.

What goes to the page is plain JSON; the scripts in ``assets/`` draw it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skillopt.core.types import GateDecision, RejectedEdit, RolloutRow
from skillopt.evaluation.stats import Estimate, mean, rate
from skillopt.gates.base import mean_score
from skillopt.report.diff import side_by_side
from skillopt.run.folder import RunError
from skillopt.run.journal import LOG, LogReader
from skillopt.run.records import (
    AnyRecord,
    BaselineDone,
    EpochDone,
    Replied,
    RolloutRan,
    RunCreated,
    RunDone,
    StageStarted,
    StepDone,
)
from skillopt.run.spending import Meter
from skillopt.run.state import State

STATUSES = ("completed", "agent_timeout", "agent_error")
REFLECTIONS = ("reflect", "merge", "rank", "slow", "meta", "repair", "compress", "draft")


@dataclass
class Columns:
    """Scored rollouts, each once for every place where it counted: a list per column.

    Columns rather than objects: a run may have tens of thousands.
    """

    key: list[str] = field(default_factory=list)
    task: list[int] = field(default_factory=list)
    """Index into the view's tasks."""
    use: list[int] = field(default_factory=list)
    """Index into the view's uses: what it was run for."""
    soft: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    """Index into :data:`STATUSES`."""
    opened: list[int] = field(default_factory=list)
    """Whether the skill was opened: 1, 0, or -1 for a rollout without a skill."""
    tokens: list[int] = field(default_factory=list)


class RunView:
    """One run, kept up to date from its log.

    Args:
        root: the run's folder.

    Attributes:
        state: where the run stands.

    Raises:
        JournalError: the log is damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = State()
        self._log = LogReader(root)
        self._meter = Meter()
        self._tasks: dict[str, dict[str, str]] = {}
        self._numbers: dict[str, int] = {}
        self._uses: list[dict[str, Any]] = []
        self._rollouts = Columns()
        self._curve: list[dict[str, Any]] = []
        self._steps: list[dict[str, Any]] = []
        self._replies: list[dict[str, Any]] = []
        self._seconds: dict[str, float] = {}
        self._stage: StageStarted | None = None
        self._times: list[float] = []
        self.refresh()

    @property
    def keys(self) -> frozenset[str]:
        """Of the rollouts that the page lists."""
        return frozenset(self._rollouts.key)

    def refresh(self) -> bool:
        """Take in what the log has more by now; whether there was anything."""
        new = self._log.new()
        for record in new:
            self._add(record)
        return bool(new)

    def _add(self, record: AnyRecord) -> None:
        before = self.state.current
        self.state.apply(record)
        self._meter.add(record)
        self._times = [*self._times[:1], record.at]
        match record:
            case RunCreated():
                self._created(record)
            case StageStarted():
                self._stage = record
            case RolloutRan():
                self._seconds[record.key] = record.seconds
            case Replied():
                if record.stage in REFLECTIONS:
                    self._replies.append(_reply(record))
            case BaselineDone():
                self._use("initial skill", "val", 0, record.rollouts)
                score = self._score(record.rollouts)
                self._point(0.0, "initial", "accept", score, None, len(record.rollouts))
            case StepDone():
                self._step(record, before)
            case EpochDone():
                self._epoch(record, before)
            case RunDone():
                for role, rows in record.test_rollouts.items():
                    self._use(f"test, {role} skill", "test", self.state.steps, rows)

    def _created(self, record: RunCreated) -> None:
        for split, items in record.splits.items():
            for item in items:
                self._numbers[item["id"]] = len(self._tasks)
                self._tasks[item["id"]] = {
                    "name": item["id"], "family": item["family"], "split": split,
                }  # fmt: skip

    def _step(self, record: StepDone, before: str) -> None:
        trained = self._use(f"step {record.step}, training batch", "train", record.step,
                            record.rollouts)  # fmt: skip
        row = self.state.history[-1]
        entry = self._entry(f"step {record.step}", record.step, record.epoch, record.action)
        entry |= {
            "budget": row["edit_budget"],
            "proposed": row["edits_proposed"],
            "applied": row["edits_applied"],
            "refused": row["edits_refused"],
            "rollout": vars(self._score(record.rollouts)),
            "edits": [asdict(outcome) for outcome in record.report],
            "batch": trained,
        }
        self._judged(entry, record.step, record.candidate, record.gate, record.rejected, before)
        entry |= {key: row[key] for key in ("tokens", "cost_usd", "seconds", "optimizer_errors")}

    def _epoch(self, record: EpochDone, before: str) -> None:
        if record.action == "off":
            return
        name = f"slow update, epoch {record.epoch}"
        entry = self._entry(name, record.step, record.epoch, record.action)
        entry |= {"pairs": record.pairs, "notes": record.notes, "edits": []}
        self._judged(entry, record.step, record.candidate, record.gate, record.rejected, before)
        row = record.row
        entry |= {key: row[key] for key in ("tokens", "cost_usd", "seconds", "optimizer_errors")}

    def _entry(self, name: str, step: int, epoch: int, action: str) -> dict[str, Any]:
        entry = {"name": name, "step": step, "epoch": epoch, "action": action}
        entry["replies"] = self._replies
        self._replies = []
        self._steps.append(entry)
        return entry

    def _judged(
        self,
        entry: dict[str, Any],
        step: int,
        candidate: str | None,
        gate: GateDecision | None,
        rejected: RejectedEdit | None,
        before: str,
    ) -> None:
        """Add to an entry what the gate made of its candidate."""
        entry["rejected"] = asdict(rejected) if rejected else None
        entry["gate"] = entry["selection"] = None
        entry["diff"] = []
        if candidate is None or gate is None:
            return
        skills = self.state.skills
        entry["diff"] = [asdict(r) for r in side_by_side(skills[before].text,
                                                         skills[candidate].text)]  # fmt: skip
        entry["selection"] = self._use(f"{entry['name']}, gate", "val", step, gate.rollouts)
        full = len(gate.rollouts) == gate.total
        score = self._score(gate.rollouts) if full else None
        entry["gate"] = {
            "reason": gate.reason,
            "before": gate.score_before,
            "after": gate.score_after,
            "bound": gate.upper_bound,
            "evaluated": len(gate.rollouts),
            "total": gate.total,
            "fixed": [self._numbers[name] for name in gate.fixed],
            "broken": [self._numbers[name] for name in gate.broken],
        }
        at = step + (0.5 if entry["name"].startswith("slow") else 0.0)
        bound = None if full else gate.upper_bound
        self._point(at, entry["name"], entry["action"], score, bound, gate.total)

    def _point(
        self,
        at: float,
        name: str,
        action: str,
        score: Estimate | None,
        bound: float | None,
        total: int,
    ) -> None:
        """One evaluation of the score curve. ``bound`` stands in for a score that was not taken
        to the end."""
        self._curve.append(
            {
                "x": at,
                "name": name,
                "action": action,
                "score": vars(score) if score else None,
                "bound": bound,
                "best": self.state.best_score,
                "total": total,
            }
        )

    def _use(self, name: str, split: str, step: int, rows: Sequence[RolloutRow]) -> int:
        """Note rollouts and what they were run for; the number of the use."""
        use = len(self._uses)
        self._uses.append({"name": name, "split": split, "step": step})
        for row in rows:
            found = self._rollouts
            found.key.append(row.key)
            found.task.append(self._numbers[row.task])
            found.use.append(use)
            found.soft.append(round(row.soft, 4))
            found.status.append(STATUSES.index(row.status.value))
            found.opened.append(-1 if row.skill_activated is None else int(row.skill_activated))
            found.tokens.append(row.usage.prompt_tokens + row.usage.completion_tokens)
        return use

    def _score(self, rows: Sequence[RolloutRow]) -> Estimate:
        """By the run's own metric."""
        config = self.state.created.config if self.state.created else {}
        gate = config.get("gate", {})
        metric, mix = gate.get("metric", "hard"), gate.get("mix", 0.5)
        if metric == "hard":
            return rate(sum(row.hard >= 1 for row in rows), len(rows))
        return mean([mean_score([row.reward], metric, mix) for row in rows])

    def to_json(self) -> dict[str, Any]:
        """Everything the page needs but trajectories."""
        state, created = self.state, self.state.created
        initial, best = (state.skills.get(digest) for digest in (state.initial, state.best))
        keys = self._rollouts.key
        seconds = [round(self._seconds.get(key, -1.0), 1) for key in keys]
        return {
            **state.summary,
            "folder": str(self.root),
            "began": self._times[0] if self._times else None,
            "last": self._times[-1] if self._times else None,
            "now": None if state.done else _stage(self._stage),
            "config": created.config if created else {},
            "epochs": created.config["train"]["epochs"] if created else 0,
            "spent": self._meter.to_json(),
            "tasks": list(self._tasks.values()),
            "uses": self._uses,
            "statuses": STATUSES,
            "rollouts": {**vars(self._rollouts), "seconds": seconds},
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
        RunError: the folder is not that of a run, or nothing is recorded yet.
        JournalError: the log is damaged.
    """
    view = RunView(root)
    if view.state.created is None:
        raise RunError(f"{root / LOG}: no record in it; is {root} a run that has started?")
    return view


def _reply(record: Replied) -> dict[str, Any]:
    value = None if record.reply is None else json.loads(record.reply)
    return {"stage": record.stage, "about": record.about, "value": value, "error": record.error}


def _stage(started: StageStarted | None) -> dict[str, Any] | None:
    return started.model_dump(include={"stage", "epoch", "step"}) if started else None
