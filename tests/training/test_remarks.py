"""People's remarks: kept in the run, shown to the optimizer in the next step, also after a fork."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from skillopt import train
from skillopt.core.types import Task
from skillopt.report.view import read_run
from skillopt.run.events import Event
from skillopt.run.journal import read_records
from skillopt.run.records import Remarked, StepDone
from skillopt.run.remarks import QUEUE, first_step, hand_over, keep, queued, shown_remarks
from skillopt.run.state import State, fold
from skillopt.training.remarks import remarks_text
from tests.helpers.small import small_config
from tests.helpers.values import a_task

WORDS = "Amounts in brackets are negative, it never gets that right"


def remark(text: str = WORDS, **values: Any) -> Remarked:
    usual = {"id": "a" * 32, "about": "k1", "task": "logs-01", "split": "train",
             "use": "step 1, training batch", "since": 1}  # fmt: skip
    return Remarked(text=text, **{**usual, **values})


def prompts(run: Path, step: int) -> str:
    return (run / "steps" / f"step_{step:04d}" / "wire.jsonl").read_text()


def stopped_after_a_step(folder: Path) -> Path:
    """A run whose training was interrupted when its first step was done."""

    def stop(event: Event) -> None:
        if isinstance(event, StepDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_config(folder), listeners=[stop])
    return next(path.parent for path in folder.glob("runs/*/events.jsonl"))


@pytest.mark.slow
def test_a_remark_is_in_the_next_steps_prompts_and_in_no_earlier_one(tmp_path: Path) -> None:
    run = stopped_after_a_step(tmp_path)
    state = fold(read_records(run))
    assert (state.steps, first_step(state)) == (1, 2)
    keep(run, remark(since=first_step(state)))
    keep(run, remark("of a task that decides", id="b" * 32, split="val", since=2))
    keep(run, remark("taken back", id="c" * 32, since=2))
    keep(run, remark("taken back", id="c" * 32, since=2, withdrawn=True))
    assert not (run / QUEUE).exists()
    result = train(small_config(tmp_path))
    assert result.summary["steps"] > 1
    assert WORDS not in prompts(run, 1) and WORDS in prompts(run, 2)
    assert "# Remarks of people" in prompts(run, 2) and "On a run of logs-01" in prompts(run, 2)
    for hidden in ("of a task that decides", "taken back"):
        assert hidden not in prompts(run, 2)
    assert len(read_run(run).remarks) == 2
    # A fork has them too, at the same steps, so that the replies of this run are taken over.
    forked = train(small_config(tmp_path), fork="forked")
    records = read_records(forked.folder)
    inherited = [one for one in records if isinstance(one, Remarked)]
    assert len(inherited) == 2 and all(one.inherited for one in inherited)
    assert [r.inherited for r in records if getattr(r, "kind", "") == "replied"].count(False) == 0
    assert forked.best.digest == result.best.digest


@pytest.mark.slow
def test_prompts_without_remarks_are_as_before(tmp_path: Path) -> None:
    run = stopped_after_a_step(tmp_path)
    assert "Remarks of people" not in prompts(run, 1)


@pytest.mark.slow
def test_remarks_wait_beside_the_log_while_the_run_is_trained(tmp_path: Path) -> None:
    run = stopped_after_a_step(tmp_path)
    size = (run / "events.jsonl").stat().st_size
    with FileLock(run / ".lock"):
        keep(run, remark())
        keep(run, remark("second", id="b" * 32))
    assert (run / "events.jsonl").stat().st_size == size
    assert [one.text for one in queued(run)] == [WORDS, "second"]
    assert [one.text for one in read_run(run).remarks.values()] == [WORDS, "second"]
    (run / QUEUE).open("ab").write(b'{"kind": "rema')
    train(small_config(tmp_path))
    assert not (run / QUEUE).exists() and WORDS in prompts(run, 2)
    found = [one for one in read_records(run) if isinstance(one, Remarked)]
    assert [one.since for one in found] == [2, 2]  # The second step was the first to ask.


def test_a_crash_while_they_are_handed_over_loses_none(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"):
        keep(tmp_path, remark())
    written: list[Remarked] = []

    def dying(one: Remarked) -> None:
        written.append(one)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        hand_over(tmp_path, dying)
    hand_over(tmp_path, written.append)
    assert [one.id for one in written] == ["a" * 32] * 2 and queued(tmp_path) == []
    state = State()
    for one in written:
        state.apply(one)
    assert len(state.remarks) == 1


def test_only_what_is_said_of_training_reaches_the_optimizer() -> None:
    state = State()
    for number, split in enumerate(("train", "val", "test", "")):
        state.apply(remark(id=f"{number}" * 32, split=split))
    assert [one.split for one in shown_remarks(state, 1)] == ["train", ""]
    assert shown_remarks(state, 0) == []


def test_the_text_for_prompts() -> None:
    class Guard:
        def redact(self, task: Task, text: str) -> str:
            return text.replace("42", "[withheld]")

    tasks = {"logs-01": a_task("logs-01")}
    many = [
        remark("the total is 42\x1b[31m", verdict="bad"),
        remark("", verdict="better", blind=True),
        remark("good change", about="step 3", task="", split="", verdict="good"),
    ]
    text = remarks_text(many, tasks, Guard(), False)  # type: ignore[arg-type]
    first, second, third = text.split("\n")[:3]
    assert first.endswith("On step 3, judged good: good change")
    assert "judged better than another run of the same task, without knowing which" in second
    assert third.endswith("judged bad: the total is [withheld]")
    assert "42" in remarks_text(many, tasks, Guard(), True)  # type: ignore[arg-type]
    long = [remark("word " * 5000, id=f"{n:032x}") for n in range(50)]
    assert len(remarks_text(long, tasks, Guard(), False)) < 10_000  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_is_said_after_the_end_is_for_a_fork(tmp_path: Path) -> None:
    done = train(small_config(tmp_path))
    keep(done.folder, remark(since=first_step(fold(read_records(done.folder)))))
    assert train(small_config(tmp_path)).done  # It stays as it is.
    assert WORDS not in "".join(prompts(done.folder, n) for n in (1, 2))
    forked = train(small_config(tmp_path), fork="forked")
    assert WORDS in prompts(forked.folder, 1)
