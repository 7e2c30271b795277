"""A run's files: what each record writes, where, and with which content."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnesses.base import Status, Usage
from skillopt.core.skill import Skill, read_skill
from skillopt.core.types import Edit, GateDecision, RejectedEdit, RolloutRow
from skillopt.run.folder import RunError, RunFolder, find_run, list_runs, read_state, rebuild
from skillopt.run.journal import LOG, Journal, JournalError, LogReader, read_records
from skillopt.run.records import (
    AnyRecord,
    BaselineDone,
    CompressionDone,
    CreditDone,
    EpochDone,
    RacedCandidate,
    RaceDone,
    RemovalDone,
    RunChanged,
    RunCreated,
    RunStarted,
    StageStarted,
    StepDone,
    skill_made,
)
from skillopt.run.spending import Meter
from skillopt.run.state import fold

SKILLS = {name: Skill("mine", "Use it.", f"# {name}") for name in ("first", "second", "third")}
FIRST, SECOND, THIRD = SKILLS.values()
MADE = [skill_made(skill) for skill in SKILLS.values()]


def row(task: str, key: str) -> RolloutRow:
    return RolloutRow(
        key=key, task=task, family="", status=Status.COMPLETED, hard=1.0, soft=1.0,
        skill_activated=None, feedback="", message="", usage=Usage(),
    )  # fmt: skip


BASELINE = BaselineDone(skill=FIRST.digest, score=0.5, rollouts=[row("a", "k0")])
CREATED = RunCreated(
    format=1, name="r", config={"seed": 1, "name": "r"}, fingerprint={},
    splits={"train": [{"name": "t"}], "val": [{"name": "a"}]},
)  # fmt: skip


def gate(accepted: bool = True) -> GateDecision:
    return GateDecision(
        accepted=accepted, score_before=0.5, score_after=0.75, upper_bound=0.75, total=1,
        reason="", rollouts=(row("a", "k1"),),
    )  # fmt: skip


def step(number: int, candidate: Skill | None, decision: GateDecision | None) -> StepDone:
    return StepDone(
        step=number, epoch=1, action="", row={"step": number}, rollouts=[row("t", "k2")],
        patches=[], report=[], candidate=candidate and candidate.digest, gate=decision,
        rejected=RejectedEdit(1, (Edit("append", content="no"),), 0.5, 0.5, ()),
    )  # fmt: skip


def compression(candidate: Skill) -> CompressionDone:
    return CompressionDone(
        step=2, epoch=1, action="", wanted=True, tokens=(9, 5), candidate=candidate.digest,
        gate=gate(), rejected=None, row={},
    )  # fmt: skip


def credit(candidate: Skill | None) -> CreditDone:
    return CreditDone(
        step=1, epoch=1, action="", verdicts=[], gains={}, rollouts={},
        candidate=candidate and candidate.digest, gate=gate() if candidate else None,
        remembered=[], row={},
    )  # fmt: skip


def removal(candidate: Skill) -> RemovalDone:
    return RemovalDone(
        step=3, epoch=1, of_step=2, number=1, edit=Edit("append", content="x"), action="",
        candidate=candidate.digest, gate=gate(), rejected=None, row={},
    )  # fmt: skip


def epoch(candidate: Skill | None, notes: str) -> EpochDone:
    return EpochDone(
        epoch=1, step=4, pairs={}, action="", candidate=candidate and candidate.digest,
        gate=gate() if candidate else None, rejected=None, notes=notes, row={},
    )  # fmt: skip


def race() -> RaceDone:
    def lane(skill: Skill, gain: float) -> RacedCandidate:
        return RacedCandidate(
            skill=skill.digest, edits=[], tasks=["a"], gain=gain, rollouts=[row("a", "k3")]
        )

    return RaceDone(
        step=5, epoch=1, winner=1, candidates=[lane(SECOND, 0.0), lane(THIRD, 1.0)], row={}
    )


@pytest.mark.parametrize(
    ("record", "files"),
    [
        (
            BASELINE,
            {"steps/step_0000/selection.json": ["k0"], "skills/skill_v0000.md": FIRST.text},
        ),
        (
            step(1, SECOND, gate()),
            {
                "steps/step_0001/rollouts.json": ["k2"],
                "steps/step_0001/patches.json": [],
                "steps/step_0001/edits.json": [],
                "steps/step_0001/candidate_skill.md": SECOND.text,
                "steps/step_0001/selection.json": ["k1"],
                "skills/skill_v0001.md": SECOND.text,
            },
        ),
        (
            step(1, SECOND, gate(accepted=False)),
            {
                "steps/step_0001/rollouts.json": ["k2"],
                "steps/step_0001/patches.json": [],
                "steps/step_0001/edits.json": [],
                "steps/step_0001/candidate_skill.md": SECOND.text,
                "steps/step_0001/selection.json": ["k1"],
                "skills/skill_v0001.md": FIRST.text,
            },
        ),
        (
            step(1, None, None),
            {
                "steps/step_0001/rollouts.json": ["k2"],
                "steps/step_0001/patches.json": [],
                "steps/step_0001/edits.json": [],
                "skills/skill_v0001.md": FIRST.text,
            },
        ),
        (
            compression(THIRD),
            {
                "steps/step_0002/compression_candidate_skill.md": THIRD.text,
                "steps/step_0002/compression_selection.json": ["k1"],
            },
        ),
        (
            credit(THIRD),
            {
                "steps/step_0001/credit_candidate_skill.md": THIRD.text,
                "steps/step_0001/credit_selection.json": ["k1"],
                "skills/skill_v0001.md": THIRD.text,
            },
        ),
        (credit(None), {"skills/skill_v0001.md": FIRST.text}),
        (
            removal(THIRD),
            {
                "steps/step_0003/without_0002_1_candidate_skill.md": THIRD.text,
                "steps/step_0003/without_0002_1_selection.json": ["k1"],
                "skills/skill_v0003.md": THIRD.text,
            },
        ),
        (
            epoch(SECOND, "mind the whole"),
            {
                "steps/step_0004/slow_candidate_skill.md": SECOND.text,
                "steps/step_0004/slow_selection.json": ["k1"],
                "steps/step_0004/meta_skill.md": "mind the whole\n",
                "skills/skill_v0004.md": SECOND.text,
            },
        ),
        (epoch(None, ""), {"skills/skill_v0004.md": FIRST.text}),
        (
            race(),
            {
                "steps/step_0005/raced_1_candidate_skill.md": SECOND.text,
                "steps/step_0005/raced_1.json": ["k3"],
                "steps/step_0005/raced_2.json": ["k3"],
            },
        ),
        (
            CREATED,
            {
                "config.yaml": "seed: 1\nname: r\n",
                "train/items.json": [{"name": "t"}],
                "val/items.json": [{"name": "a"}],
            },
        ),
        (
            RunChanged(config={"seed": 2}, fingerprint={}, splits={}, changes={}),
            {"config.yaml": "seed: 2\n"},
        ),
    ],
)
def test_each_record_writes_its_files(
    record: AnyRecord, files: dict[str, Any], tmp_path: Path
) -> None:
    before: list[AnyRecord] = [*MADE, BASELINE]
    if isinstance(record, CreditDone | RemovalDone | EpochDone):
        before.append(step(1, None, None))
    state = fold(before)
    state.apply(record)
    RunFolder(tmp_path).write(record, state)
    found = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.*")}
    assert found.keys() == files.keys()
    for name, content in files.items():
        text = found[name].read_text()
        if name.endswith(".json"):
            values = json.loads(text)
            assert [value.get("key", value) for value in values] == content
        else:
            assert text == content


def _kept(record: AnyRecord) -> AnyRecord:
    """A record of a change that is not accepted."""
    return record.model_copy(update={"candidate": None, "gate": None})


@pytest.mark.parametrize(
    ("record", "current"),
    [
        (step(2, None, None), SECOND),
        (step(2, THIRD, gate(accepted=False)), SECOND),
        (step(2, THIRD, gate()), THIRD),
        (credit(None), SECOND),
        (credit(THIRD), THIRD),
        (_kept(removal(THIRD)), SECOND),
        (removal(THIRD), THIRD),
        (epoch(None, ""), SECOND),
        (epoch(THIRD, ""), THIRD),
    ],
)
def test_a_steps_skill_is_the_current_one_and_what_is_deployed_the_best(
    record: StepDone | CreditDone | RemovalDone | EpochDone, current: Skill, tmp_path: Path
) -> None:
    state = fold([CREATED, *MADE, BASELINE, step(1, SECOND, gate())])
    state.best, state.best_score = FIRST.digest, 0.9
    state.apply(record)
    folder = RunFolder(tmp_path)
    folder.write(record, state)
    folder.write_standing(state, Meter())
    assert state.current == current.digest and state.best == FIRST.digest
    assert (tmp_path / f"skills/skill_v{record.step:04d}.md").read_text() == current.text
    assert (tmp_path / "best_skill.md").read_text() == FIRST.text
    assert read_skill(tmp_path / "best_skill" / "mine").body == FIRST.body


def log(root: Path, *records: AnyRecord) -> Path:
    with Journal(root) as journal:
        for record in records:
            journal.append(record)
    return root


def test_the_standing_files_are_of_the_best_skill_and_the_last_state(tmp_path: Path) -> None:
    root = log(tmp_path / "r", CREATED, *MADE, BASELINE)
    state = rebuild(root)
    assert not (root / "history.json").exists()
    assert (root / "best_skill.md").read_text() == FIRST.text
    folder = root / "best_skill" / "mine"
    (folder.parent / ".mine.left").mkdir()
    (folder.parent / ".other.left").mkdir()
    with Journal(root) as journal:
        journal.append(step(1, SECOND, gate()))
    state = rebuild(root)
    assert read_skill(folder) == replace(SECOND, layout=read_skill(folder).layout)
    assert (root / "best_skill.md").read_text() == SECOND.text
    assert not (folder.parent / ".mine.left").exists() and (folder.parent / ".other.left").exists()
    assert json.loads((root / "history.json").read_text()) == state.history
    assert json.loads((root / "rejected_edits.json").read_text())[0]["step"] == 1
    summary = json.loads((root / "summary.json").read_text())
    assert summary["best_score"] == 0.75 and summary["spent"]["rollouts"] == 0
    # What is right already is not written again.
    times = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    rebuild(root)
    again = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert again == times


@pytest.mark.parametrize(
    ("runs", "folders", "name", "found"),
    [
        (["a", "runs/a"], [], "a", "a"),
        (["runs/a"], [], "a", "runs/a"),
        (["a"], [], "a", "a"),
        # A folder of that name that is no run, as one of a skill may be, is in nobody's way.
        (["runs/a"], ["a"], "a", "runs/a"),
        (["a"], ["runs/a"], "a", "a"),
        (["runs/a", "runs/runs/a"], [], "runs/a", "runs/a"),
        (["runs/runs/a"], [], "runs/a", "runs/runs/a"),
        (["runs/x/a"], [], "x/a", "runs/x/a"),
        (["."], ["runs"], ".", "."),
    ],
)
def test_a_path_comes_before_a_name(
    runs: list[str],
    folders: list[str],
    name: str,
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in [*runs, *folders]:
        Path(folder).mkdir(parents=True, exist_ok=True)
    for run in runs:
        (Path(run) / LOG).touch()
    assert find_run(name) == Path(found)


def test_a_run_is_found_by_its_folder_or_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="x: no such run; there are none in runs"):
        find_run("x")
    log(tmp_path / "runs" / "b", CREATED)
    log(tmp_path / "runs" / "a", CREATED)
    log(tmp_path / "other" / "c", CREATED)
    assert find_run("a") == Path("runs/a")
    assert find_run("runs/a") == Path("runs/a")
    assert find_run(tmp_path / "other" / "c") == tmp_path / "other" / "c"
    with pytest.raises(RunError, match=r"^x: no such run; runs in runs: a, b$"):
        find_run("x")
    with pytest.raises(RunError, match=r"^other/x: no such run; runs in other: c$"):
        find_run("other/x")
    with pytest.raises(RunError, match=r"^gone/x: no such run; runs in runs: a, b$"):
        find_run("gone/x")
    with pytest.raises(RunError, match=r"^other: not a run: it has no events\.jsonl"):
        find_run("other")
    with pytest.raises(RunError, match="is a file; name a run's folder"):
        find_run(f"runs/a/{LOG}")


def test_runs_are_listed_also_if_they_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no runs yet"):
        list_runs(tmp_path / "runs")
    log(tmp_path / "b", CREATED, *MADE, BASELINE)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / LOG).write_text("no record\n")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / LOG).write_text("")
    (tmp_path / "none").mkdir()
    found = list_runs(tmp_path)
    assert [(one["name"], one["state"]) for one in found] == [
        ("a", "damaged"), ("r", "not started"), ("c", "damaged"),
    ]  # fmt: skip
    assert "not a record of this version" in found[0]["stopped"]
    assert "no record in it yet" in found[2]["stopped"]
    spent = [{**one["spent"], "seconds": 0.0} for one in found]  # The records have their own times.
    assert spent == [Meter().to_json()] * 3
    with pytest.raises(RunError, match="no record in it; is"):
        rebuild(tmp_path / "c")
    state, _ = read_state(tmp_path / "b")
    assert state.current == FIRST.digest


def test_a_log_is_read_as_it_grows_and_each_record_once(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    assert [*reader.new()] == []
    records = [StageStarted(at=float(n), stage=f"s{n}", total=1) for n in range(5)]
    got: list[AnyRecord] = []
    with (tmp_path / LOG).open("ab") as file:
        for number, record in enumerate(records):
            line = record.model_dump_json().encode() + b"\n"
            file.write(line[:7])
            file.flush()
            if number != 2:  # Two at once, then.
                got += reader.new()
                assert got == records[:number], "a line that is not whole is no record yet"
            file.write(line[7:])
            file.flush()
        got += reader.new()
        assert got == records
        file.write(b"{}\n")
        file.flush()
        with pytest.raises(JournalError, match=r"events\.jsonl:6: not a record of this version"):
            [*reader.new()]
    assert [*LogReader(tmp_path / "none").new()] == []


def test_a_reader_that_stops_goes_on_after_what_it_was_given(tmp_path: Path) -> None:
    records = [StageStarted(at=float(n), stage=f"s{n}", total=1) for n in range(2)]
    lines = [record.model_dump_json() for record in records]
    (tmp_path / LOG).write_text("\n".join([lines[0], "{}", lines[1], ""]))
    reader = LogReader(tmp_path)
    assert next(reader.new()) == records[0]
    with pytest.raises(JournalError, match=r"events\.jsonl:2: not a record of this version"):
        [*reader.new()]
    assert [*reader.new()] == records[1:], "a damaged line is told once"


@pytest.mark.parametrize(
    ("records", "owner"),
    [
        ([], "another process"),
        ([(7, "h")], "process 7 on h"),
        ([(7, "h"), (8, "i")], "process 8 on i"),
        (None, "another process"),
    ],
)
def test_who_trains_a_run_is_named(
    records: list[tuple[int, str]] | None, owner: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("skillopt.run.journal.PATIENCE_S", 0.01)
    root = tmp_path / "deep" / "r"
    with Journal(root):
        starts = [RunStarted(name="r", pid=pid, host=host, epochs=1, steps=1, rollouts=1)
                  for pid, host in records or []]  # fmt: skip
        lines = [start.model_dump_json() for start in starts] if records is not None else ["no", ""]
        (root / LOG).write_text("".join(f"{line}\n" for line in lines))
        with pytest.raises(JournalError, match=f"{owner} is training this run; wait for it"):
            Journal(root).__enter__()
    if records is not None:
        with Journal(root) as journal:
            assert len(journal.records) == len(records)
        assert read_records(root) == journal.records
