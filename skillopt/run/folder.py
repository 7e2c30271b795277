"""A run's files, derived from its records, with the names that users of the reference know.

config.yaml, {train,val,test}/items.json, skills/skill_v0000.md, steps/step_0001/, history.json,
summary.json, best_skill.md and best_skill/NAME/. :mod:`skillopt.run.journal` has ``events.jsonl``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from glob import escape
from pathlib import Path
from typing import Any

import yaml

from skillopt.core.errors import SkillOptError
from skillopt.core.files import to_json, write_atomic
from skillopt.core.skill import Skill, SkillError, read_skill, write_skill
from skillopt.core.types import GateDecision, RolloutRow
from skillopt.run.journal import LOG, JournalError, LogReader, read_records
from skillopt.run.records import (
    AnyRecord,
    BaselineDone,
    CompressionDone,
    CreditDone,
    EpochDone,
    RaceDone,
    RemovalDone,
    RunChanged,
    RunCreated,
    StepDone,
)
from skillopt.run.spending import Meter
from skillopt.run.state import State

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""Several times as fast where PyYAML was built with libyaml; the same values."""


class RunError(SkillOptError):
    """There is no such run. The message names those that exist."""


class RunFolder:
    """The folder of one run. Every file in it can be rebuilt from the records."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def step(self, step: int) -> Path:
        folder = self.root / "steps" / f"step_{step:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def write(self, record: AnyRecord, state: State) -> None:
        """Write the files that depend on one record only.

        Args:
            record: the last record.
            state: the state after it.
        """
        match record:
            case RunCreated() | RunChanged():
                self._created(record)
            case BaselineDone():
                self._rollouts(0, "selection", record.rollouts)
                self._skill(0, state.skills[record.skill])
            case CompressionDone():
                digest, gate = record.candidate, record.gate
                self._candidate(record.step, "compression_", digest, gate, state)
            case RaceDone():
                self._race(record, state)
            case StepDone():
                self._step(record, state)
            case CreditDone():
                self._candidate(record.step, "credit_", record.candidate, record.gate, state)
                self._skill(record.step, state.skills[state.current])
            case RemovalDone():
                name = f"without_{record.of_step:04d}_{record.number}_"
                self._candidate(record.step, name, record.candidate, record.gate, state)
                self._skill(record.step, state.skills[state.current])
            case EpochDone():
                self._epoch(record, state)

    def write_standing(self, state: State, meter: Meter) -> None:
        """Write the files with the run's current state: history, summary, best skill."""
        if state.best:
            self._best(state)
        if state.history:
            self._put("rejected_edits.json", to_json([asdict(entry) for entry in state.memory]))
            self._put("history.json", to_json(state.history))
        self._put("summary.json", to_json(state.summary | {"spent": meter.to_json()}))

    def _created(self, record: RunCreated | RunChanged) -> None:
        self._put("config.yaml", yaml.dump(record.config, Dumper=_DUMPER, sort_keys=False))
        for split, items in record.splits.items():
            self._put(f"{split}/items.json", to_json(items))

    def _step(self, record: StepDone, state: State) -> None:
        step = record.step
        self._rollouts(step, "rollouts", record.rollouts)
        self._lines(step, "patches", [asdict(patch) for patch in record.patches])
        self._lines(step, "edits", [asdict(outcome) for outcome in record.report])
        self._candidate(step, "", record.candidate, record.gate, state)
        self._skill(step, state.skills[state.current])

    def _race(self, record: RaceDone, state: State) -> None:
        """The candidates that the gate does not judge; the winner is the step's candidate."""
        for number, loser in record.losers:
            text = state.skills[loser.skill].text
            self._put(f"steps/step_{record.step:04d}/raced_{number}_candidate_skill.md", text)
        for number, candidate in enumerate(record.candidates, start=1):
            self._rollouts(record.step, f"raced_{number}", candidate.rollouts)

    def _epoch(self, record: EpochDone, state: State) -> None:
        self._candidate(record.step, "slow_", record.candidate, record.gate, state)
        if record.notes:
            self._put(f"steps/step_{record.step:04d}/meta_skill.md", record.notes + "\n")
        self._skill(record.step, state.skills[state.current])

    def _candidate(
        self, step: int, prefix: str, digest: str | None, gate: GateDecision | None, state: State
    ) -> None:
        if digest is not None:
            text = state.skills[digest].text
            self._put(f"steps/step_{step:04d}/{prefix}candidate_skill.md", text)
        if gate is not None:
            self._rollouts(step, f"{prefix}selection", gate.rollouts)

    def _skill(self, step: int, skill: Skill) -> None:
        """The current skill after a step; step 0 is the initial one."""
        self._put(f"skills/skill_v{step:04d}.md", skill.text)

    def _best(self, state: State) -> None:
        """The best skill so far, as a file and as the folder that is deployed."""
        best = state.skills[state.best]
        folder = self.root / "best_skill" / best.folder
        if _digest(folder) != best.digest:
            folder.parent.mkdir(parents=True, exist_ok=True)
            write_skill(best, folder)
            # What a process left that was killed while writing.
            for left in folder.parent.glob(f".{escape(best.folder)}.*"):
                shutil.rmtree(left, ignore_errors=True)
        self._put("best_skill.md", best.text)

    def _rollouts(self, step: int, name: str, rollouts: Sequence[RolloutRow]) -> None:
        self._lines(step, name, [row.model_dump(mode="json") for row in rollouts])

    def _lines(self, step: int, name: str, values: list[dict[str, Any]]) -> None:
        self._put(f"steps/step_{step:04d}/{name}.json", to_json(values))

    def _put(self, name: str, text: str) -> None:
        path = self.root / name
        if path.is_file() and path.read_bytes() == text.encode():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)


def rebuild(root: Path) -> State:
    """Rebuild all files of a run from its event log.

    Raises:
        RunError: there is no record.
        JournalError: the log is damaged.
    """
    records = read_records(root)
    if not records:
        raise RunError(f"{root / LOG}: no record in it; is {root} a run that has started?")
    return replay(root, records, Meter())


def replay(root: Path, records: list[AnyRecord], meter: Meter) -> State:
    """The state after some records. Also brings ``meter`` and the run's files up to date."""
    folder, state = RunFolder(root), State()
    for record in records:
        state.apply(record)
        meter.add(record)
        folder.write(record, state)
    if records:
        folder.write_standing(state, meter)
    return state


def find_run(name: str | Path) -> Path:
    """The folder of a run: a path, or the name of a run below ``runs``.

    Raises:
        RunError: there is no such run.
    """
    path = Path(name)
    for folder in (path, Path("runs") / path):
        if (folder / LOG).is_file():
            return folder
    if path.is_file():
        raise RunError(f"{path}: is a file; name a run's folder, such as runs/NAME")
    there = path.parent if path.parent.is_dir() and path.parent != Path() else Path("runs")
    names = sorted(file.parent.name for file in there.glob(f"*/{LOG}"))
    known = f"runs in {there}: {', '.join(names)}" if names else f"there are none in {there}"
    what = "not a run: it has no events.jsonl" if path.is_dir() else "no such run"
    raise RunError(f"{path}: {what}; {known}")


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """The summaries of all runs in a folder, sorted by name, from their logs; also of runs without
    a score, and of those whose log cannot be read, which are ``damaged``.

    Raises:
        RunError: there is no such folder.
    """
    if not folder.is_dir():
        raise RunError(
            f"{folder}: no runs yet: there is no such folder; give the one that the key 'runs' of "
            "your configs names"
        )
    found = []
    for log in sorted(folder.glob(f"*/{LOG}")):
        try:
            state, meter = read_state(log.parent)
            summary = state.summary
        except (RunError, JournalError) as error:
            meter = Meter()
            told = {"name": log.parent.name, "state": "damaged", "stopped": str(error)}
            summary = State().summary | told
        found.append(summary | {"spent": meter.to_json()})
    return found


def read_state(root: Path) -> tuple[State, Meter]:
    """A run's state and spending, read from its log; the run may be running.

    Raises:
        RunError: the folder is not a run's, or nothing is recorded yet.
        JournalError: its log is damaged.
    """
    state, meter = State(), Meter()
    for record in LogReader(root).new():
        state.apply(record)
        meter.add(record)
    if state.created is None:
        raise RunError(f"{root / LOG}: no record in it yet; is {root} a run that has started?")
    return state, meter


def _digest(folder: Path) -> str:
    """The digest of the skill in a folder; empty if none can be read."""
    try:
        return read_skill(folder).digest if folder.is_dir() else ""
    except SkillError:
        return ""
