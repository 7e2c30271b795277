"""What the driver makes of a node's reply, and of a node that gives none."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harnesses.base import Status, Usage
from sandboxes.base import SandboxError
from skillopt.config.executors import RayConfig
from skillopt.core.errors import SkillOptError
from skillopt.core.import_path import OwnCodeError
from skillopt.core.types import Reward
from skillopt.rollouts.cluster.executor import RayExecutor
from skillopt.rollouts.cluster.machines import GoneError
from skillopt.rollouts.cluster.members import Running
from skillopt.rollouts.cluster.messages import Reply
from skillopt.rollouts.cluster.parcels import packed
from skillopt.rollouts.executors import ExecutorSetup, LostAttemptError
from tests.helpers.values import a_result, a_task

THERE = "/node/rollouts/7"


@dataclass
class FakeMember:
    """A node that gives one reply, or fails."""

    answer: Any
    parcels: set[str] = field(default_factory=set)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    supplied: list[str] = field(default_factory=list)
    supplying: threading.Lock = field(default_factory=threading.Lock)
    name: str = "node-a"
    gone: str = ""

    @property
    def link(self) -> FakeMember:
        return self

    def put(self, parcel: str) -> None:
        self.supplied.append(parcel)
        self.parcels.add(parcel.removeprefix("parcel of "))

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        self.calls.append((method, *arguments))
        done: Future[Any] = Future()
        if isinstance(self.answer, Exception):
            done.set_exception(self.answer)
        else:
            done.set_result(self.answer)
        return done


@dataclass
class FakeFleet:
    member: FakeMember
    known: Usage = Usage()
    silent_s: float = 0.0
    runs: list[Running] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    services: dict[str, str] = field(default_factory=dict)
    cancelled: bool = False

    @contextmanager
    def slot(self, folder: Path, wait_s: float) -> Iterator[tuple[FakeMember, Running]]:
        assert wait_s == 120
        run = Running(7, folder, usage=self.known)
        run.began -= 10.0
        run.known -= self.silent_s
        self.runs.append(run)
        yield self.member, run

    def lost(self, member: FakeMember, why: str) -> None:
        member.gone = why
        self.gone.append(why)

    def blocked(self, services: Any) -> None:
        self.services |= services

    def cancel(self) -> None:
        self.cancelled = True


class FakeSender:
    def dumps(self, job: Any) -> tuple[bytes, frozenset[str]]:
        return b"job", frozenset({"b", "a", "c"})

    def parcel(self, digest: str) -> str:
        return f"parcel of {digest}"


@dataclass
class Place:
    executor: RayExecutor
    fleet: FakeFleet
    folder: Path

    def attempt(self) -> Any:
        return self.executor.attempt(cast(Any, SimpleNamespace(task=a_task())), self.folder)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    setup = SimpleNamespace(config=SimpleNamespace(executor=RayConfig(kind="ray")))
    executor = RayExecutor(cast(ExecutorSetup, setup))
    fleet = FakeFleet(FakeMember(None))
    executor._fleet, executor._sender = cast(Any, fleet), cast(Any, FakeSender())
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "under_way.json").write_text("{}")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "new.txt").write_text("y")
    return Place(executor, fleet, tmp_path / "here")


def reply(place: Place, **values: Any) -> Reply:
    parcel = packed(place.folder.parent / "there")
    base: dict[str, Any] = {"result": None, "folder": THERE, "parcel": parcel}
    return Reply(**base | values)


def result(**values: Any) -> dict[str, Any]:
    return a_result(Path(THERE), message=f"see {THERE}/x", **values).to_json()


def test_a_reply_becomes_a_rollout_of_this_machine(place: Place) -> None:
    place.fleet.member.parcels = {"b"}
    place.fleet.member.answer = reply(place, result=result(), blocked={"main": "no credit"})
    found = place.attempt()
    assert found == a_result(place.folder, message=f"see {place.folder}/x")
    assert found.reward == Reward(0.5, {"reward": 0.5}, "two rows differ")
    # Its result is put there when it is committed.
    assert {p.name for p in place.folder.iterdir()} == {"under_way.json", "new.txt"}
    assert place.fleet.member.supplied == ["parcel of a", "parcel of c"]
    assert place.fleet.member.calls == [("attempt", 7, b"job", b"")]
    assert place.fleet.services == {"main": "no credit"} and place.fleet.runs[0].over


def test_the_work_of_an_earlier_attempt_is_sent_and_replaced(place: Place) -> None:
    (place.folder / "old.txt").write_text("x")
    expected = packed(place.folder, leave=frozenset({"under_way.json"}))
    place.fleet.member.answer = reply(place, result=result())
    place.attempt()
    assert place.fleet.member.calls == [("attempt", 7, b"job", expected)]
    assert {p.name for p in place.folder.iterdir()} == {"under_way.json", "new.txt"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"failed": f"no engine; see {THERE}/x"}, SandboxError),
        ({"own": f"raised in {THERE}/x"}, OwnCodeError),
        ({"unusable": f"no agent; see {THERE}/x"}, SkillOptError),
    ],
)
def test_without_a_result_the_reason_is_as_on_one_machine(
    values: dict[str, str], kind: type[Exception], place: Place
) -> None:
    place.fleet.member.answer = reply(place, **values)
    with pytest.raises(kind) as error:
        place.attempt()
    assert type(error.value) is kind and f"{place.folder}/x" in str(error.value)
    assert not place.fleet.gone and (place.folder / "new.txt").is_file()


@pytest.mark.parametrize(
    ("error", "raised", "message", "gone"),
    [
        (GoneError("it has died"), LostAttemptError, "node node-a is gone: it has died", True),
        (OSError(errno.ENOSPC, "no room"), LostAttemptError, "its disk is full: ", True),
        (OSError(errno.EDQUOT, "no quota"), LostAttemptError, "its disk is full: ", True),
        (OSError(errno.EACCES, "denied"), SandboxError, "node node-a: [Errno 13] denied", False),
        (SandboxError("the run is being ended"), SandboxError, "the run is being ended", False),
    ],
)
def test_a_node_without_a_reply_is_lost_if_the_next_attempt_would_fail_too(
    error: Exception, raised: type[Exception], message: str, gone: bool, place: Place
) -> None:
    place.fleet.member.answer = error
    with pytest.raises(raised) as found:
        place.attempt()
    assert type(found.value) is raised and message in str(found.value)
    assert bool(place.fleet.gone) is gone


def test_what_a_lost_attempt_has_used_is_estimated_from_the_finished_ones(place: Place) -> None:
    place.fleet.known = Usage(requests=5, prompt_tokens=100, cost_usd=1.0)
    place.fleet.silent_s = 1.0
    place.fleet.member.answer = GoneError("it has died")
    with pytest.raises(LostAttemptError) as first:
        place.attempt()
    assert first.value.usage == Usage(requests=5, prompt_tokens=100, cost_usd=1.0, estimated=True)
    used = Usage(requests=20, prompt_tokens=1000, completion_tokens=56, cost_usd=4.0)
    place.fleet.member.answer = reply(place, result=result(usage=used))
    place.attempt()
    place.attempt()  # Each took ten seconds.
    place.fleet.member.answer = GoneError("it has died")
    with pytest.raises(LostAttemptError) as second:
        place.attempt()
    found = second.value.usage
    # Of 40 requests in 20 seconds there are two in one.
    assert (found.requests, found.completion_tokens) == (7, 6) and found.estimated
    assert 195 <= found.prompt_tokens <= 215
    assert found.cost_usd == pytest.approx(1.4, rel=0.1)


def test_the_cost_of_a_lost_attempt_is_unknown_if_others_are(place: Place) -> None:
    place.fleet.member.answer = reply(place, result=result(usage=Usage(cost_usd=None)))
    place.attempt()
    place.fleet.member.answer = GoneError("it has died")
    with pytest.raises(LostAttemptError) as error:
        place.attempt()
    assert error.value.usage.cost_usd is None


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, OSError), (errno.EDQUOT, OSError), (36, SandboxError)]
)
def test_what_cannot_be_written_here_stops_the_run_only_if_the_disk_is_full(
    code: int, kind: type[Exception], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpacked(data: bytes, target: Path) -> None:
        raise OSError(code, "cannot")

    monkeypatch.setattr("skillopt.rollouts.cluster.executor.unpacked", unpacked)
    place.fleet.member.answer = reply(place, result=result(status=Status.COMPLETED))
    with pytest.raises(kind) as error:
        place.attempt()
    assert ("what a node sent cannot be written" in str(error.value)) is (kind is SandboxError)


def test_cancelling_ends_the_fleet_if_there_is_one(place: Place) -> None:
    place.executor.cancel()
    assert place.fleet.cancelled
    RayExecutor(cast(Any, None)).cancel()
