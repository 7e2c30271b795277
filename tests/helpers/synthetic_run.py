"""Runs for the report's tests: written record by record, as large and as hostile as is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harnesses.base import Status, Usage
from skillopt.core.files import digest_of, to_json
from skillopt.core.skill import Skill
from skillopt.core.types import (
    Edit,
    EditOutcome,
    GateDecision,
    RejectedEdit,
    Reward,
    Rollout,
    RolloutRow,
    named_task,
)
from skillopt.evaluation.stats import rate
from skillopt.run.journal import LOG
from skillopt.run.records import (
    FORMAT,
    AnyRecord,
    BaselineDone,
    RolloutRan,
    RunCreated,
    RunDone,
    RunStarted,
    StepDone,
    skill_made,
)

USAGE = Usage(3, 900, 0, 100, 0.01)


def synthetic_run(root: Path, *, steps: int, train: int, val: int, test: int, batch: int) -> int:
    """Write the event log of a whole run that accepts every third step; how many rollouts it has.

    Args:
        root: the run's folder, which is made.
        steps: of one epoch.
        train, val, test: tasks of each split.
        batch: training tasks of a step.
    """
    names = {split: [f"{split}-{i:04d}" for i in range(count)]
             for split, count in (("train", train), ("val", val), ("test", test))}  # fmt: skip
    skill = Skill("mine", "Use it.", "# Mine\n\n- start")
    records: list[AnyRecord] = [created(root.name, names), skill_made(skill)]
    current = rows("initial", names["val"], 0.25)
    records += [ran(row, "baseline") for row in current]
    records.append(BaselineDone(skill=skill.digest, score=_mean(current), rollouts=current))
    count = len(current)
    for step in range(1, steps + 1):
        share = min(0.9, 0.25 + step / steps)
        trained = rows(f"batch {step}", [names["train"][(step * batch + i) % train]
                                         for i in range(batch)], share)  # fmt: skip
        judged = rows(f"gate {step}", names["val"], share)
        candidate = Skill("mine", "Use it.", f"{skill.body}\n- rule {step}")
        accepted = step % 3 == 0 and _mean(judged) > _mean(current)
        records += [skill_made(candidate), *(ran(row, "rollout") for row in trained)]
        records += [ran(row, "gate") for row in judged]
        records.append(step_done(step, trained, judged, current, candidate, accepted))
        count += len(trained) + len(judged)
        if accepted:
            skill, current = candidate, judged
    tested = {role: rows(f"test {role}", names["test"], share)
              for role, share in (("initial", 0.25), ("best", 0.8), ("final", 0.8))}  # fmt: skip
    records += [ran(row, "test") for found in tested.values() for row in found]
    scores = {role: _scores(found) for role, found in tested.items()}
    records.append(
        RunDone(reason="all steps are done", final_selection=_mean(current), test=scores,
                test_rollouts=tested)
    )  # fmt: skip
    write_log(root, records)
    return count + sum(map(len, tested.values()))


def write_log(root: Path, records: Sequence[AnyRecord]) -> None:
    """Append to the event log of a run, whose folder is made."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOG).open("a", encoding="utf-8") as log:
        log.writelines(record.model_dump_json() + "\n" for record in records)


def rows(use: str, tasks: list[str], share: float) -> list[RolloutRow]:
    """Rollouts of which about this share is solved."""
    return [
        RolloutRow(
            key=digest_of([use, task]),
            task=task,
            family=f"family {i % 5}",
            status=Status.COMPLETED,
            hard=float(i < share * len(tasks)),
            soft=float(i < share * len(tasks)),
            skill_activated=True,
            feedback="" if i < share * len(tasks) else "a figure is wrong",
            message="",
            usage=USAGE,
        )
        for i, task in enumerate(tasks)
    ]


def stored_result(folder: Path, row: RolloutRow, text: str) -> None:
    """Put a rollout into the store: its result and a trajectory in which ``text`` is everywhere."""
    from atif import Agent, Observation, ObservationResult, Step, ToolCall, Trajectory

    folder.mkdir(parents=True)
    result = Rollout(
        key=row.key, identity={"harness": {"name": text}, "model": {"name": text}, "replicate": 0},
        task=named_task(row.task), status=row.status, message=text,
        reward=Reward(row.soft, {}, text), skill_activated=True, answer=text, usage=row.usage,
        agent_version=text, duration_s=1.0, folder=folder,
    )  # fmt: skip
    (folder / "result.json").write_text(to_json(result.to_json()), "utf-8")
    steps = [
        Step(step_id=1, source="user", message=text),
        Step(
            step_id=2, source="agent", message=text, reasoning_content=text,
            tool_calls=[ToolCall(tool_call_id="1", function_name=text, arguments={"cmd": text})],
            observation=Observation(results=[ObservationResult(source_call_id="1", content=text)]),
        ),
    ]  # fmt: skip
    trajectory = Trajectory(
        schema_version="ATIF-v1.8", session_id="s", agent=Agent(name="a", version="1"), steps=steps
    )
    (folder / "trajectory.json").write_text(trajectory.model_dump_json(), "utf-8")
    for name in ("verifier", "workspace"):
        (folder / name).mkdir()
        (folder / name / "out.txt").write_text(text, "utf-8")


def created(name: str, names: dict[str, list[str]]) -> RunCreated:
    """The first record of a run with these tasks by split."""
    config = {
        "harness": {"name": "codex"}, "target": {"name": "m"}, "optimizer": {"name": "o"},
        "train": {"epochs": 1}, "gate": {"metric": "hard", "mix": 0.5},
    }  # fmt: skip
    splits = {
        split: [{"id": t, "family": f"family {i % 5}", "digest": t} for i, t in enumerate(tasks)]
        for split, tasks in names.items()
    }
    return RunCreated(format=FORMAT, name=name, config=config, fingerprint={}, splits=splits)


def started(owner: str = "") -> RunStarted:
    """A process, by default one that cannot be judged from here, has begun."""
    return RunStarted(
        name="r", pid=1, host="elsewhere", owner=owner, epochs=1, steps=4, rollouts=100
    )


def step_done(
    step: int,
    trained: list[RolloutRow],
    judged: list[RolloutRow],
    before: list[RolloutRow],
    candidate: Skill,
    accepted: bool,
) -> StepDone:
    """A step that appends a rule, with the decision of a full evaluation."""
    edit = Edit("append", content=f"- rule {step}", reason="it was missing")
    solved = {row.task: row.hard for row in before}
    fixed = tuple(row.task for row in judged if row.hard > solved[row.task])
    broken = tuple(row.task for row in judged if row.hard < solved[row.task])
    decision = GateDecision(
        accepted=accepted, score_before=_mean(before), score_after=_mean(judged),
        upper_bound=_mean(judged), total=len(judged), broken=broken, fixed=fixed,
        rollouts=tuple(judged), reason="compared",
    )  # fmt: skip
    history: dict[str, Any] = {
        "step": step, "epoch": 1, "action": "accept" if accepted else "reject", "edit_budget": 4,
        "edits_proposed": 2, "edits_applied": 1, "edits_refused": 0, "tokens": {"rollout": 1000},
        "cost_usd": 0.1, "seconds": {"rollout": 1.0}, "optimizer_errors": [], "gate": "compared",
    }  # fmt: skip
    return StepDone(
        step=step, epoch=1, action=history["action"], row=history, rollouts=trained, patches=[],
        report=[EditOutcome(edit, True)], candidate=candidate.digest,
        gate=decision,
        rejected=None if accepted else RejectedEdit(step, (edit,), _mean(before), _mean(judged),
                                                    broken),
    )  # fmt: skip


def ran(row: RolloutRow, stage: str) -> RolloutRan:
    """The record of a rollout that was really run."""
    return RolloutRan(
        stage=stage, key=row.key, task=row.task, status=row.status, usage=row.usage, seconds=2.0
    )


def _scores(found: list[RolloutRow]) -> dict[str, object]:
    hard = rate(int(sum(row.hard for row in found)), len(found))
    return {"tasks": len(found), "hard": vars(hard), "gain": None, "skill_activated": 1.0}


def _mean(found: list[RolloutRow]) -> float:
    return sum(row.hard for row in found) / len(found)
