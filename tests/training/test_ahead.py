"""The next batch may run while the optimizer and the gate work: the results stay the same, and what
was run for nothing is counted and bounded."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from harnesses.gateway.upstreams import Answer, Call
from skillopt import Plugins, train
from skillopt.core.files import to_json
from skillopt.rollouts.ahead import Ahead
from skillopt.rollouts.rollout import Job
from skillopt.run.journal import read_records
from skillopt.run.records import RaceDone, RolloutRan
from skillopt.run.spending import LimitReachedError
from skillopt.run.state import fold
from skillopt.sim.model import SimUpstream
from tests.helpers.small import small_config, small_set, untimed
from tests.helpers.tiny import Tiny, program, tiny

__all__ = ["tiny"]

MORE = """
import os
import random
import signal
import time
from pathlib import Path


class Slow(Writer):
    def run(self, request, site):
        time.sleep(random.random() * {delay})
        return super().run(request, site)


def reflect(rollouts, briefing, *, minibatch, batch=""):
    time.sleep({think})
    body = briefing.skill.body
    good = {accepted} and "- rule 0" not in body
    new = "- rule 0" if good else f"- nothing {{briefing.seed[-1]}}"
    return StageResult((Patch((Edit("append", "", new),), "", "failure"),))


def judge(task, workspace, answer):
    said = (workspace / "said.txt").read_text()
    kill = Path("kill")
    if kill.exists() and "nothing" in said:
        kill.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return Reward(float("- rule 0" in said and task.name.endswith("0")))
"""


def begin(tiny: Tiny, accepted: bool = False, delay: float = 0.02, **settings: Any) -> None:
    """A training of six steps of one task each."""
    tiny.own(MORE.format(accepted=accepted, delay=delay, think=0.05))
    tiny.write(
        **{
            "harness__name": "own:Slow",
            "train__batch_size": 1,
            "train__epochs": 2,
            "train__ahead": 1.0,
            "train__credit": 0,
            "train__prune": 0,
            "gate__kind": "strict",
            "workers": 4,
            **settings,
        }
    )


def result(run: Path) -> tuple[list[dict[str, Any]], bytes]:
    history = untimed(json.loads((run / "history.json").read_text()))
    return history, (run / "best_skill.md").read_bytes()


def ran(run: Path, stage: str) -> list[str]:
    return [r.key for r in read_records(run) if isinstance(r, RolloutRan) and r.stage == stage]


@pytest.mark.slow
@pytest.mark.parametrize("accepted", [False, True])
def test_workers_delays_and_rollouts_in_advance_do_not_change_a_byte(
    tiny: Tiny, accepted: bool
) -> None:
    found, ahead = [], []
    for workers, share in ((1, 0.0), (1, 1.0), (4, 1.0), (16, 1.0)):
        name = f"with-{workers}-{share:g}"
        begin(tiny, accepted, name="run", runs=name, workers=workers, train__ahead=share)
        assert tiny.train().returncode == 0
        run = tiny.folder / name / "run"
        found.append(result(run))
        ahead.append(len(ran(run, "ahead")))
        keys = [r.key for r in read_records(run) if isinstance(r, RolloutRan)]
        assert len(keys) == len(set(keys))
    assert all(one == found[0] for one in found)
    assert ahead[0] == 0 and ahead[2] and ahead[3]


@pytest.mark.slow
def test_what_was_run_for_nothing_is_counted_and_bounded(tiny: Tiny) -> None:
    # The second step's batch runs while the first step's rule is accepted.
    begin(tiny, accepted=True)
    assert tiny.train().returncode == 0
    state = fold(read_records(tiny.run))
    assert len(ran(tiny.run, "ahead")) > 1
    assert len(state.unused) == 1 == tiny.summary["unused_rollouts"]
    notes = [note.text for note in state.notes_of_run]
    assert "rollouts that were run ahead and not used: 1" in notes
    stages = tiny.summary["spent"]["stages"]
    assert stages["ahead"]["rollouts"] == len(ran(tiny.run, "ahead"))
    # A limit of its own ends it, and not the training.
    limits = {"ahead": {"rollouts": 1}}
    begin(tiny, name="limited", runs="limited", limits={"stages": limits})
    assert tiny.train().returncode == 0
    assert len(ran(tiny.folder / "limited/limited", "ahead")) == 1
    tiny.settings.pop("limits")
    # Half of one rollout is none.
    begin(tiny, accepted=True, name="less", runs="less", train__ahead=0.5)
    assert tiny.train().returncode == 0
    assert not fold(read_records(tiny.folder / "less/less")).unused


@pytest.mark.slow
def test_a_kill_while_something_runs_in_advance_changes_nothing(tiny: Tiny) -> None:
    begin(tiny, name="whole")
    assert tiny.train().returncode == 0
    whole = result(tiny.run)
    tiny.write(name="killed", runs="others")
    tiny.put("kill", "")
    for code in (-9, 0):
        started = program("train", tiny.config)
        started.communicate(timeout=120)
        assert started.returncode == code
    assert result(tiny.folder / "others/killed") == whole


@dataclass(frozen=True)
class Delayed(SimUpstream):
    """The simulated model, for target and optimizer, with delays that are never the same."""

    async def send(self, call: Call) -> Answer:
        await asyncio.sleep(random.random() * 0.1)
        return await super().send(call)


@pytest.mark.slow
def test_a_model_that_takes_its_time_does_not_change_a_byte(tmp_path: Path) -> None:
    settings = {
        "train.candidates": 3, "train.minibatch": 1, "train.ahead": 0.5, "train.epochs": 2,
    }  # fmt: skip
    found = []
    for workers in (1, 4, 16):
        folder = tmp_path / str(workers)
        small_set(folder)
        model = Plugins(upstreams={"sim": Delayed(harm=0.5, noise=0.2)})
        train(small_config(folder, workers=workers, **settings), plugins=model)
        (log,) = (folder / "runs").glob("*/events.jsonl")
        raced = [r for r in read_records(log.parent) if isinstance(r, RaceDone)]
        kept = [r.model_dump(exclude={"at": True, "row": {"seconds"}}) for r in raced]
        found.append((*result(log.parent), to_json(kept)))
        assert raced
    assert found[0] == found[1] == found[2]


class Waiting:
    """Jobs that take until they are let go."""

    def __init__(self) -> None:
        self.go, self.started = threading.Event(), list[str]()
        self.now = self.most = 0
        self._lock = threading.Lock()

    def run(self, job: Any) -> Any:
        with self._lock:
            self.started.append(job.key)
            self.now += 1
            self.most = max(self.most, self.now)
        assert self.go.wait(10)
        with self._lock:
            self.now -= 1
        return job.key


class Named:
    def __init__(self, key: str) -> None:
        self.key = key


def jobs(*names: str) -> list[Job]:
    return [cast(Job, Named(name)) for name in names]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_only_idle_workers_run_something_in_advance() -> None:
    waiting = Waiting()
    ahead = Ahead(3, waiting.run)

    def wanted(name: str) -> Any:
        with ahead.worker():
            return waiting.run(Named(name))

    with ThreadPoolExecutor(3) as pool:
        futures = []
        for name in ("a", "b"):
            ahead.want()
            futures.append(pool.submit(wanted, name))
            futures[-1].add_done_callback(ahead.done)
        with ahead.during(jobs("x", "y", "z")):
            until(lambda: len(waiting.started) == 3)
            time.sleep(0.05)
            assert sorted(waiting.started) == ["a", "b", "x"]
            shared = ahead.take("x")
            assert shared is not None and ahead.take("y") is None
            ahead.want()  # It comes before those in advance when a worker is free.
            futures.append(pool.submit(wanted, "c"))
            futures[-1].add_done_callback(ahead.done)
        waiting.go.set()
        assert [future.result(5) for future in futures] == ["a", "b", "c"]
        assert shared.result(5) == "x"
    ahead.close()
    assert waiting.most == 3 and not {"y", "z"} & set(waiting.started)


@pytest.mark.parametrize("error", [LimitReachedError("enough"), ValueError("a mistake")])
def test_an_error_ends_what_is_run_in_advance_and_a_mistake_is_not_hidden(error: Exception) -> None:
    started: list[str] = []

    def run(job: Job) -> Any:
        started.append(job.key)
        raise error

    ahead = Ahead(1, run)

    def block() -> None:
        with ahead.during(jobs("x", "y")):
            until(lambda: bool(started))
            time.sleep(0.05)

    if isinstance(error, ValueError):
        with pytest.raises(ValueError, match="a mistake"):
            block()
    else:
        block()
    ahead.close()
    assert started == ["x"]


def test_workers_are_free_again_when_a_rollout_has_ended() -> None:
    waiting = Waiting()
    waiting.go.set()
    ahead = Ahead(2, waiting.run)

    def wanted(name: str) -> Any:
        with ahead.worker():
            return waiting.run(Named(name))

    for name in "abc":  # Each frees one worker, and not two.
        ahead.want()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(wanted, name)
            future.add_done_callback(ahead.done)
        early = f"early {name}"
        with ahead.during(jobs(early)):
            until(partial(waiting.started.__contains__, early))
    waiting.go.clear()
    waiting.most = 0
    ahead.want()
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(wanted, str(n)) for n in range(3)]
        until(lambda: waiting.now == 2)
        time.sleep(0.01)
        assert waiting.now == 2, "there are no more workers"
        waiting.go.set()
        assert [future.result(5) for future in futures] == ["0", "1", "2"]
    ahead.close()


def test_an_idle_worker_is_one_that_nobody_waits_for() -> None:
    waiting = Waiting()
    ahead = Ahead(2, waiting.run)
    ahead.want()
    ahead.want()
    with ahead.during(jobs("x")):
        time.sleep(0.01)
        assert not waiting.started
        ahead.done(None)  # type: ignore[arg-type]
        until(lambda: waiting.started == ["x"])
        waiting.go.set()
    ahead.close()
