"""Who hears of a run: listeners, the recorder, the user's command, and people's remarks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from filelock import FileLock

from harnesses.base import Status, Usage
from skillopt.config.schema import CustomStopConfig
from skillopt.core.import_path import OwnCodeError, PluginError
from skillopt.run import notify as notifying
from skillopt.run.events import Event, RolloutStarted, nobody, tell_all
from skillopt.run.journal import LOG, read_records
from skillopt.run.notify import TIMEOUT_S, notify
from skillopt.run.recorder import STANDING, Recorder
from skillopt.run.records import (
    FORMAT,
    AnyRecord,
    JudgeAsked,
    Noted,
    Remarked,
    Replied,
    RolloutRan,
    RolloutsAsked,
    RunCreated,
    RunStarted,
    RunStopped,
    StageStarted,
)
from skillopt.run.remarks import (
    QUEUE,
    can_have_remarks,
    first_step,
    hand_over,
    keep,
    queued,
    shown_remarks,
)
from skillopt.run.spending import Spent
from skillopt.run.state import State, fold
from skillopt.run.stop import all_of, any_of, make_stop


def test_a_listener_that_raises_is_told_of_once_and_hears_no_more() -> None:
    heard: list[Event] = []
    first, other = RolloutStarted("a"), RolloutStarted("b")

    def broken(event: Event) -> None:
        raise ValueError("my words")

    tell = tell_all([broken, heard.append, nobody])
    tell(first)
    tell(other)
    note = heard[0]
    assert isinstance(note, Noted) and heard[1:] == [first, other]
    assert note.text.startswith("listener test_a_listener_that_raises_is_told_of")
    assert "raised ValueError: my words (" in note.text and f"{__file__}:" in note.text
    assert note.text.endswith("it is switched off, and the run continues")


def test_what_is_wrong_with_a_listener_may_be_said_elsewhere() -> None:
    said: list[str] = []
    heard: list[Event] = []

    class Broken:
        def __call__(self, event: Event) -> None:
            raise ValueError

    tell = tell_all([Broken(), heard.append], said.append)
    for name in "ab":
        tell(RolloutStarted(name))
    assert len(said) == 1 and said[0].startswith("listener test_what_is_wrong_with_a_listener")
    assert "Broken raised" in said[0] and len(heard) == 2


def test_a_listener_that_raises_while_it_is_told_of_another_event_is_told_of_once() -> None:
    said: list[str] = []

    def broken(event: Event) -> None:
        if event == RolloutStarted("a"):
            tell(RolloutStarted("b"))
        raise ValueError

    tell = tell_all([broken], said.append)
    tell(RolloutStarted("a"))
    assert len(said) == 1


def test_an_interruption_is_no_mistake_of_a_listener() -> None:
    def stop(event: Event) -> None:
        raise KeyboardInterrupt

    tell = tell_all([stop])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            tell(RolloutStarted("a"))


class Kept:
    """Stands for journal, folder, state and meter, and keeps what each was given."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.calls.append((name, given[0]))


USAGE = Usage(1, 10, 0, 5, 0.5)


@pytest.mark.parametrize(
    ("event", "calls"),
    [
        (Noted(text="a"), ["append", "apply", "add", "write"]),
        (StageStarted(stage="s", total=1), ["append", "apply", "add", "write"]),
        (RolloutsAsked(stage="s", keys=["k"]), ["append", "apply", "write"]),
        (RolloutRan(stage="s", key="k", task="t", status=Status.COMPLETED, usage=USAGE,
                    seconds=1.0), ["append", "apply", "write"]),
        (JudgeAsked(key="k", task="t", usage=USAGE), ["append", "apply", "write"]),
        (RunStopped(reason="r"), ["append", "apply", "add", "write", "write_standing"]),
        (RolloutStarted("t"), []),
    ],
)  # fmt: skip
def test_a_record_is_logged_before_anything_else_hears_of_it(
    event: Event, calls: list[str]
) -> None:
    kept: Any = Kept()
    heard: list[Event] = []
    recorder = Recorder(kept, kept, kept, kept, heard.append)
    recorder(event)
    assert [name for name, _ in kept.calls] == calls and heard == [event]
    assert all(given in (event, kept) for _, given in kept.calls)


def test_a_note_is_about_a_step_or_the_run() -> None:
    kept: Any = Kept()
    heard: list[Any] = []
    recorder = Recorder(kept, kept, kept, kept, heard.append)
    recorder.note("of the run")
    recorder.note("of a step", 3)
    assert [(one.text, one.step) for one in heard] == [("of the run", 0), ("of a step", 3)]
    assert not isinstance(heard[0], STANDING)


def test_the_users_command_gets_run_status_and_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    command = 'cat > said; echo "$SKILLOPT_RUN|$SKILLOPT_STATUS|$SKILLOPT_MESSAGE|$KEPT" >> said'
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("SKILLOPT_RUN", "one around it")  # As if a run were started by another.
    notify(command, "runs/r", "done", "all steps", said.append)
    assert (tmp_path / "said").read_text() == (
        "runs/r: done: all steps\nruns/r|done|all steps|kept\n"
    )
    assert said == []
    notify(f"printf '{'x' * 400}y' >&2; exit 3", "r", "stopped", "", said.append)
    assert said == ["notify: exit code 3: " + "x" * 299 + "y"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("no shell"), "notify: no shell"),
        (ValueError("embedded null byte"), "notify: embedded null byte"),
        (subprocess.TimeoutExpired("c", 60), "notify: Command 'c' timed out after 60 seconds"),
    ],
)
def test_a_command_that_cannot_be_run_is_reported(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def run(*_: Any, timeout: float, **__: Any) -> None:
        assert timeout == TIMEOUT_S == 60
        raise error

    found: list[str] = []
    monkeypatch.setattr(notifying.subprocess, "run", run)
    notify("c", "r", "done", "", found.append)
    assert found == [said]


def remark(id: str = "a", text: str = "t", **more: Any) -> Remarked:
    return Remarked(**{"id": id, "about": "k", "text": text, "since": 1} | more)


def test_a_remark_goes_into_the_log_or_waits_for_who_writes_that(tmp_path: Path) -> None:
    (tmp_path / LOG).write_bytes(Noted(text="n").model_dump_json().encode() + b"\n{torn")
    keep(tmp_path, remark("a"))
    assert [getattr(one, "id", "") for one in read_records(tmp_path)] == ["", "a"]
    assert not (tmp_path / QUEUE).exists()
    with FileLock(tmp_path / ".lock"):
        keep(tmp_path, remark("b"))
        keep(tmp_path, remark("c"))
    assert [one.id for one in queued(tmp_path)] == ["b", "c"] and len(read_records(tmp_path)) == 2
    keep(tmp_path, remark("d"))
    assert [getattr(one, "id", "") for one in read_records(tmp_path)] == ["", "a", "b", "c", "d"]
    assert queued(tmp_path) == []


def test_waiting_remarks_are_handed_over_once(tmp_path: Path) -> None:
    found: list[Remarked] = []
    hand_over(tmp_path, found.append)
    assert found == [] and list(tmp_path.iterdir()) == []
    with FileLock(tmp_path / ".lock"):
        keep(tmp_path, remark("a"))
        keep(tmp_path, remark("b"))
    for _ in range(2):
        hand_over(tmp_path, found.append)
    assert [one.id for one in found] == ["a", "b"] and not (tmp_path / QUEUE).exists()


def test_a_line_that_is_no_remark_is_passed_over(tmp_path: Path) -> None:
    lines = [remark("a"), Noted(text="n"), remark("b")]
    text = "{damaged\n".join(line.model_dump_json() + "\n" for line in lines)
    (tmp_path / QUEUE).write_text(text + "{torn")
    assert [one.id for one in queued(tmp_path)] == ["a", "b"]


def reply(step: int) -> Replied:
    return Replied(id=f"r{step}", stage="reflect", step=step, about="a", reply=None, usage=USAGE)


@pytest.mark.parametrize(
    ("steps", "asked", "given", "first"),
    [
        (0, [], 0, 1), (2, [], 0, 3), (2, [3], 0, 4), (2, [2], 0, 3), (2, [], 5, 5),
        (2, [3], 5, 5), (2, [5], 5, 6), (0, [1], 1, 2),
    ],
)  # fmt: skip
def test_a_remark_is_shown_from_the_first_step_that_has_asked_nothing(
    steps: int, asked: list[int], given: int, first: int
) -> None:
    state = State(steps=steps)
    for step in asked:
        state.apply(reply(step))
    assert first_step(state, given) == first


@pytest.mark.parametrize(
    ("since", "split", "shown"),
    [(1, "", True), (2, "train", True), (3, "train", False), (1, "val", False), (1, "test", False)],
)
def test_remarks_are_shown_from_their_step_on(since: int, split: str, shown: bool) -> None:
    state = fold([remark(since=since, split=split)])
    assert bool(shown_remarks(state, 2)) is shown


@pytest.mark.parametrize(
    ("format", "can"), [(FORMAT, True), (FORMAT + 1, False), (0, False), (None, False)]
)
def test_only_a_log_of_this_format_can_have_remarks(format: int | None, can: bool) -> None:
    records: list[AnyRecord] = []
    if format is not None:
        records.append(RunCreated(format=format, name="r", config={}, fingerprint={}, splits={}))
    assert can_have_remarks(fold(records)) is can


def condition(reason: str) -> Any:
    return lambda state, spent: reason


@pytest.mark.parametrize(
    ("reasons", "any_one", "every_one"),
    [
        ([], "", ""), (["a"], "a", "a"), (["", "b"], "b", ""), (["a", "b"], "a", "a and b"),
        (["", ""], "", ""),
    ],
)  # fmt: skip
def test_conditions_stop_together_or_each(reasons: list[str], any_one: str, every_one: str) -> None:
    conditions = [condition(reason) for reason in reasons]
    assert any_of(conditions)(State(), Spent()) == any_one
    assert all_of(conditions)(State(), Spent()) == every_one


def enough(state: State, spent: Spent) -> str:
    return f"{state.steps} steps"


def test_a_condition_of_the_users_own_is_named_by_its_path() -> None:
    own = CustomStopConfig(kind="custom", path=f"{__name__}:enough")
    assert make_stop([own])(State(steps=3), Spent()) == "3 steps"
    with pytest.raises(PluginError, match=r"stop: .*: .* has no attribute 'none'"):
        make_stop([own.model_copy(update={"path": f"{__name__}:none"})])


def test_a_condition_of_the_users_own_returns_a_reason() -> None:
    assert make_stop([], [condition("enough"), condition("")])(State(), Spent()) == "enough"
    assert make_stop([], [condition(None)])(State(), Spent()) == ""
    with pytest.raises(OwnCodeError, match="it returned 3; return the reason to stop, or ''"):
        make_stop([], [condition(3)])(State(), Spent())
    with pytest.raises(PluginError, match=r"stop: .* does not take \(state, spent\)"):
        make_stop([], [lambda state: ""])  # type: ignore[list-item, misc]


def test_an_event_of_a_start_names_its_process() -> None:
    record = RunStarted(name="r", pid=os.getpid(), host="h", epochs=1, steps=2, rollouts=3)
    assert (record.owner, record.kind) == ("", "run_started")
    assert fold([record]).started == record
    assert SimpleNamespace(**record.model_dump()).rollouts == 3
