"""Runs on disk: the event log is the truth, everything else is derived, and a start goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from skillopt import RunResult, train
from skillopt.core.files import digest_of, end_whole
from skillopt.core.skill import Skill
from skillopt.run.events import Event, RolloutStarted
from skillopt.run.folder import rebuild
from skillopt.run.journal import LOG, Journal, JournalError, read_records
from skillopt.run.records import Replied, RunCreated, RunStarted, StepDone, skill_made
from skillopt.run.state import fold
from skillopt.training.fingerprint import FingerprintError, changes
from tests.helpers.command_line import skillopt
from tests.helpers.small import small_config, trained, untimed


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return trained(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def folder(result: RunResult) -> Path:
    """Where that run is, and others find its rollouts."""
    return result.folder.parent.parent


def copied(result: RunResult, target: Path) -> Path:
    """The run and its store in another place, to be damaged."""
    shutil.copytree(result.folder.parent, target / "runs")
    return target / "runs" / result.folder.name


def files_of(run: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in (LOG, ".lock", "wire.jsonl")
    }


def test_all_files_can_be_written_again_from_the_log(result: RunResult, tmp_path: Path) -> None:
    run = copied(result, tmp_path)
    before = files_of(run)
    assert {"history.json", "summary.json", "best_skill.md", "config.yaml"} <= before.keys()
    for name in before:
        (run / name).unlink()
    shutil.rmtree(run / "best_skill")
    rebuild(run)
    assert files_of(run) == before
    (run / "history.json").write_text("[]")
    done = skillopt("runs", "rebuild", run)
    assert done.returncode == 0 and "2 steps, best score 1.000" in done.stdout
    assert files_of(run) == before


def test_rebuilding_what_is_no_run_says_so(tmp_path: Path) -> None:
    done = skillopt("runs", "rebuild", tmp_path)
    assert done.returncode == 2 and "not a run: it has no events.jsonl" in " ".join(
        done.stderr.split()
    )


def test_runs_are_listed(result: RunResult) -> None:
    listed = skillopt("runs", "list", result.folder.parent)
    assert "quickstart-local" in listed.stdout and "done" in listed.stdout
    (summary,) = json.loads(skillopt("runs", "list", result.folder.parent, "--json").stdout)
    assert summary["best_score"] == 1.0


@pytest.mark.parametrize("keep", [0.05, 0.3, 0.6, 0.9])
def test_a_run_goes_on_from_any_record(result: RunResult, tmp_path: Path, keep: float) -> None:
    """The log is cut at a record and the files of later steps stay: the end is the same."""
    run = copied(result, tmp_path)
    lines = (run / LOG).read_bytes().splitlines(keepends=True)
    torn = lines[int(len(lines) * keep)][:-5]
    (run / LOG).write_bytes(b"".join(lines[: int(len(lines) * keep)]) + torn)
    config = small_config(result.folder.parent.parent, runs=str(run.parent))
    seen: list[Event] = []
    again = train(config, listeners=[seen.append])
    assert untimed(again.history) == untimed(result.history)
    assert (run / "best_skill.md").read_text() == result.best.text
    assert not [event for event in seen if isinstance(event, RolloutStarted)]
    steps = [record.step for record in read_records(run) if isinstance(record, StepDone)]
    assert steps == [1, 2]


def test_replies_are_not_asked_for_again(result: RunResult, tmp_path: Path) -> None:
    run = copied(result, tmp_path)
    lines = (run / LOG).read_bytes().splitlines(keepends=True)
    last = max(n for n, line in enumerate(lines) if b'"kind":"replied"' in line)
    (run / LOG).write_bytes(b"".join(lines[: last + 1]))
    # With an optimizer that is down the run can only end if nothing is asked.
    config = small_config(
        result.folder.parent.parent,
        runs=str(run.parent),
        **{"upstreams.sim.error_rate": 1.0},
    )
    seen: list[Event] = []
    again = train(config, listeners=[seen.append])
    assert again.done and not [event for event in seen if isinstance(event, Replied)]
    assert untimed(again.history) == untimed(result.history)


def test_a_damaged_line_in_the_middle_is_named(result: RunResult, tmp_path: Path) -> None:
    run = copied(result, tmp_path)
    lines = (run / LOG).read_bytes().splitlines(keepends=True)
    (run / LOG).write_bytes(b"".join([*lines[:3], b'{"kind": "nonsense"}\n', *lines[3:]]))
    with pytest.raises(JournalError, match=r"events\.jsonl:4: not a record of this version"):
        train(small_config(result.folder.parent.parent, runs=str(run.parent)))


def test_a_torn_line_in_the_optimizers_wire_log_is_cut_off(
    result: RunResult, tmp_path: Path
) -> None:
    run = copied(result, tmp_path)
    lines = (run / LOG).read_bytes().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if b'"kind":"replied"' in line)
    (run / LOG).write_bytes(b"".join(lines[:first]))
    wire = run / "steps" / "step_0001" / "wire.jsonl"
    wire.write_bytes(wire.read_bytes() + b'{"protocol": "ch')
    train(small_config(result.folder.parent.parent, runs=str(run.parent)))
    requests = [json.loads(line)["request"] for line in wire.read_bytes().splitlines()]
    assert len(requests) >= 2, "what was whole stays, and what came after is there"


@pytest.mark.slow
def test_a_second_process_is_refused(result: RunResult, tmp_path: Path) -> None:
    run = copied(result, tmp_path)
    before = (run / LOG).read_bytes()
    settings = ["--set", f"runs={run.parent}", "--set", f"tasks.source={small(result)}"]
    with FileLock(run / ".lock"):
        done = skillopt("train", "quickstart/local", *settings)
    assert done.returncode == 2
    assert "is training this run" in done.stderr and "process " in done.stderr
    assert (run / LOG).read_bytes() == before


def small(result: RunResult) -> Path:
    return result.folder.parent.parent / "small"


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        with Journal(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with Journal(tmp_path):
        pass


def test_a_changed_task_version_or_skill_is_named(result: RunResult, tmp_path: Path) -> None:
    created = read_records(result.folder)[0]
    assert isinstance(created, RunCreated)
    before = created.fingerprint
    assert {"skill.digest", "harness.version", "skillopt", "target.name"} <= before.keys()
    assert any(key.startswith("tasks.val.logs-") for key in before)
    now = {**before, "harness.version": "9", "gate.metric": "soft"}
    del now["train.epochs"]
    with pytest.raises(FingerprintError) as caught:
        changes(before, now, fold(read_records(result.folder)), "runs/x")
    lines = str(caught.value).splitlines()
    assert lines[0] == "runs/x: this run was started with different inputs:"
    assert lines[1:4] == [
        "  gate.metric: hard -> soft",
        f"  harness.version: {before['harness.version']} -> 9",
        "  train.epochs: 2 -> (none)",
    ]


def test_what_does_not_change_the_result_may_change(result: RunResult, tmp_path: Path) -> None:
    run = copied(result, tmp_path)
    config = small_config(
        result.folder.parent.parent,
        runs=str(run.parent),
        workers=1,
        rollout_tries=9,
        **{"limits.tokens": 10**9, "upstreams.sim.latency_s": 0.1},
    )
    assert train(config).history == result.history


def test_the_log_holds_who_worked_on_the_run(result: RunResult) -> None:
    records = read_records(result.folder)
    assert isinstance(records[0], RunCreated)
    assert [record.steps for record in records if isinstance(record, RunStarted)] == [2]
    state = fold(records)
    assert state.skills[state.best] == result.best and state.done is not None
    assert state.summary == {k: v for k, v in result.summary.items() if k != "spent"}


names = st.from_regex(r"[a-z]{1,6}", fullmatch=True)


@given(
    body=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))),
    files=st.dictionaries(names.map(lambda n: f"references/{n}.md"), st.binary(max_size=40)),
)
def test_a_skill_comes_back_from_its_record_with_the_same_digest(
    body: str, files: dict[str, bytes]
) -> None:
    skill = Skill("a-skill", "Use it.", body, {"license": "MIT"}, files)
    record = skill_made(skill)
    again = type(record).model_validate_json(record.model_dump_json()).skill
    assert again.digest == skill.digest == record.digest


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(names, json_values, max_size=5), st.randoms())
def test_a_digest_depends_on_the_value_and_not_on_its_order(
    value: dict[str, Any], rng: Any
) -> None:
    items = list(value.items())
    rng.shuffle(items)
    assert digest_of(dict(items)) == digest_of(value)
    assert digest_of({**value, "other": 1}) != digest_of(value)


@given(st.lists(st.binary(max_size=9).filter(lambda b: b"\n" not in b)), st.binary(max_size=9))
def test_only_a_torn_last_line_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], torn: bytes
) -> None:
    log = tmp_path_factory.getbasetemp() / "log"
    torn = torn.replace(b"\n", b"")
    whole = b"".join(line + b"\n" for line in lines)
    log.write_bytes(whole + torn)
    end_whole(log)
    assert log.read_bytes() == whole
