"""A node's part, without a driver: what an attempt gives back, what a beat does, and its end."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zstandard

from harnesses.agents.cli_agent import CliHarness
from harnesses.agents.registry import make_harness
from harnesses.base import Outcome, Status, Usage
from harnesses.gateway.service import Wait
from harnesses.gateway.wire import WIRE
from sandboxes.base import SandboxError
from sandboxes.owner import scratch_root
from skillopt.core.errors import SkillOptError
from skillopt.core.import_path import OwnCodeError
from skillopt.rollouts.cluster import node as module
from skillopt.rollouts.cluster.messages import Beat, NodeOrders, Pulse, Reply
from skillopt.rollouts.cluster.node import Node, _Open
from skillopt.rollouts.cluster.parcels import Parcel, packed, unpacked
from skillopt.rollouts.cluster.sameness import versions
from skillopt.rollouts.rollout import keep_outcome
from tests.helpers.values import a_result

JOB = SimpleNamespace(harness=None, model=SimpleNamespace(upstream="main"))


@dataclass
class FakeGateway:
    """What a node asks of its gateway."""

    upstreams: dict[str, Any] = field(default_factory=lambda: {"main": None, "other": None})
    why: dict[str, str] = field(default_factory=dict)
    limited: dict[str, float] = field(default_factory=dict)
    held: list[tuple[str, int, float]] = field(default_factory=list)
    requests: int = 0
    closed: bool = False

    def blocked(self, name: str) -> str:
        return self.why.get(name, "")

    def block(self, name: str, why: str) -> None:
        self.why[name] = why

    def share(self, name: str, share: int, hold: float) -> int:
        self.held.append((name, share, hold))
        return share + 1

    def limited_s(self, name: str) -> float:
        return self.limited.get(name, 0.0)

    def used(self, folder: Path) -> Usage:
        return Usage(requests=self.requests)

    def raised(self, name: str) -> Exception | None:
        return None

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeExecutor:
    """Does what a test says in an attempt's folder."""

    act: Any = None
    cancelled: bool = False

    def attempt(self, job: Any, folder: Path) -> Any:
        return self.act(folder)

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeReceiver:
    parcels: list[Parcel] = field(default_factory=list)

    def put(self, parcel: Parcel) -> None:
        self.parcels.append(parcel)

    def loads(self, data: bytes) -> Any:
        assert data == b"job"
        return JOB


@dataclass
class Place:
    node: Node
    gateway: FakeGateway
    executor: FakeExecutor
    receiver: FakeReceiver
    root: Path

    def attempt(self, number: int = 7, earlier: bytes = b"") -> Reply:
        return self.node.attempt(number, b"job", earlier)

    def beat(self, shares: Any = None, holds: Any = None, blocked: Any = None) -> Pulse:
        return self.node.beat(Beat(shares or {}, holds or {}, blocked or {}))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An open node, with its parts of the test's own."""
    (tmp_path / "rollouts").mkdir()
    made = Place(Node(lambda: None), FakeGateway(), FakeExecutor(), FakeReceiver(), tmp_path)
    config: Any = None
    made.node._open = _Open(
        config, cast(Any, made.gateway), cast(Any, made.executor), cast(Any, made.receiver),
        tmp_path,
    )  # fmt: skip
    return made


def test_an_attempt_gives_back_its_result_and_its_files(place: Place, tmp_path: Path) -> None:
    def act(folder: Path) -> Any:
        assert folder == tmp_path / "rollouts" / "7"
        assert (folder / "earlier.txt").read_text() == "x"
        (folder / "new.txt").write_text("y")
        return a_result(folder, message="m")

    place.executor.act = act
    place.gateway.why = {"main": "no credit"}
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / "earlier.txt").write_text("x")
    reply = place.attempt(earlier=packed(tmp_path / "before"))
    assert reply.result is not None and reply.result["key"] == "ab12"
    assert (reply.failed, reply.own, reply.unusable) == ("", "", "")
    assert reply.blocked == {"main": "no credit"}
    assert reply.folder == str(tmp_path / "rollouts" / "7")
    (tmp_path / "back").mkdir()
    unpacked(reply.parcel, tmp_path / "back")
    assert {p.name for p in (tmp_path / "back").iterdir()} == {"earlier.txt", "new.txt"}
    assert not list((tmp_path / "rollouts").iterdir()) and not place.beat().attempts


@pytest.mark.parametrize(
    ("error", "field_name", "said"),
    [
        (SandboxError("the engine is gone"), "failed", "the engine is gone"),
        (SkillOptError("no such agent"), "unusable", "no such agent"),
        (OwnCodeError("verifier: raised"), "own", "verifier: raised"),
    ],
)
def test_why_there_is_no_result_is_told_by_its_kind(
    error: Exception, field_name: str, said: str, place: Place
) -> None:
    def act(folder: Path) -> Any:
        raise error

    place.executor.act = act
    reply = place.attempt()
    assert reply.result is None
    told = {name: getattr(reply, name) for name in ("failed", "own", "unusable")}
    assert told == {"failed": "", "own": "", "unusable": ""} | {field_name: said}


@pytest.mark.parametrize(
    ("status", "room", "fails"),
    [
        (Status.COMPLETED, [True, False], False),
        (Status.INFRA_ERROR, [True, True], False),
        (Status.INFRA_ERROR, [True, False], True),
        (None, [True, False], True),
        (Status.COMPLETED, [False], True),
    ],
)
def test_what_fails_on_a_full_disk_is_the_disks_failure(
    status: Status | None,
    room: list[bool],
    fails: bool,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def check_room(folder: Path) -> None:
        if not room.pop(0):
            raise OSError(errno.ENOSPC, "1 MiB are left on the disk")

    def act(folder: Path) -> Any:
        if status is None:
            raise SandboxError("no space")
        return a_result(folder, status=status)

    monkeypatch.setattr(module, "check_room", check_room)
    place.executor.act = act
    if fails:
        with pytest.raises(OSError, match="are left"):
            place.attempt()
    else:
        assert place.attempt().result is not None
    assert not list((place.root / "rollouts").iterdir()) and not place.beat().attempts


def test_an_upstream_that_is_broken_is_the_users_own_failure(place: Place) -> None:
    asked: list[str] = []

    def raised(name: str) -> None:
        asked.append(name)

    place.gateway.raised = raised  # type: ignore[method-assign]
    place.executor.act = lambda folder: a_result(folder)
    place.attempt()
    assert not asked, "it has replied"
    place.executor.act = lambda folder: a_result(folder, status=Status.INFRA_ERROR)
    place.attempt()
    assert asked == ["main"]


def test_a_beat_tells_how_far_attempts_are(place: Place) -> None:
    seen: list[Any] = []

    def act(folder: Path) -> Any:
        def look() -> None:
            (progress,) = place.beat().attempts.values()
            wire = progress.wire and zstandard.ZstdDecompressor().decompress(progress.wire)
            seen.append((progress.usage.requests, wire))

        look()
        place.gateway.requests = 2
        (folder / WIRE).write_text("one\n")
        look()
        look()
        with (folder / WIRE).open("a") as file:
            file.write("two\n")
        look()
        place.gateway.requests = 0  # Its session is over, and its outcome not there yet.
        look()
        outcome = Outcome(Status.COMPLETED, "", "", None, Usage(requests=3), None, "1", 0.0)
        keep_outcome(outcome, folder)
        look()
        return a_result(folder)

    place.executor.act = act
    place.attempt()
    assert seen == [(0, b""), (2, b"one\n"), (2, b""), (2, b"two\n"), (2, b""), (3, b"")]


def test_the_calls_of_an_earlier_attempt_are_not_sent_again(place: Place, tmp_path: Path) -> None:
    """A driver has them already, and adds what a beat brings."""
    seen: list[bytes] = []

    def act(folder: Path) -> Any:
        with (folder / WIRE).open("a") as file:
            file.write("[]\n")
        (progress,) = place.beat().attempts.values()
        seen.append(zstandard.ZstdDecompressor().decompress(progress.wire))
        return a_result(folder)

    place.executor.act = act
    (tmp_path / "before").mkdir()
    (tmp_path / "before" / WIRE).write_text("{}\n")
    place.attempt(earlier=packed(tmp_path / "before"))
    place.attempt()
    assert seen == [b"[]\n"] * 2


def test_of_many_calls_a_piece_goes_with_each_beat(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PIECE_BYTES", 4)
    seen: list[bytes] = []

    def act(folder: Path) -> Any:
        (folder / WIRE).write_text("abcdefghij")
        for _ in range(4):
            (progress,) = place.beat().attempts.values()
            seen.append(progress.wire and zstandard.ZstdDecompressor().decompress(progress.wire))
        return a_result(folder)

    place.executor.act = act
    place.attempt()
    assert seen == [b"abcd", b"efgh", b"ij", b""]


def test_a_beat_sets_shares_and_tells_of_services(place: Place) -> None:
    news = [Wait("main", "busy", 1.0, 2.0), Wait("main", "busy", 1.0, None)]
    for one in news:
        place.node._news.put(one)
    place.gateway.limited = {"main": 2.5, "other": -1.0}
    pulse = place.beat({"main": 3, "other": 1}, {"main": 1.5}, {"other": "no credit"})
    assert place.gateway.held == [("main", 3, 1.5), ("other", 1, 0.0)]
    assert pulse.shares == {"main": 4, "other": 2}, "those that it confirms"
    assert list(pulse.news) == news and pulse.limited == {"main": 2.5}
    assert pulse.blocked == {"other": "no credit"} and place.gateway.why == pulse.blocked
    again = place.beat({"other": 0})
    assert again.shares == {"main": 4, "other": 1} and not again.news


def test_a_node_that_is_not_open_gives_a_sign_of_life_and_takes_nothing() -> None:
    node = Node(lambda: None)
    assert node.beat(Beat({"main": 1}, {}, {})) == Pulse({}, {}, (), {}, {})
    assert node.about() == versions()
    with pytest.raises(SandboxError, match="the node is closed"):
        node.put(Parcel("d", "x", b"", True))
    with pytest.raises(SandboxError, match="the node is closed"):
        node.attempt(1, b"", b"")


def test_a_closed_node_has_ended_all(place: Place) -> None:
    place.node.put(Parcel("d", "x", b"", True))
    assert [parcel.digest for parcel in place.receiver.parcels] == ["d"]
    place.node.close()
    assert place.gateway.closed and place.executor.cancelled
    place.gateway.closed = False
    place.node.close()
    assert not place.gateway.closed, "once more does nothing"
    with pytest.raises(SandboxError, match="the node is closed"):
        place.attempt()


ORDERS = NodeOrders({}, cast(Any, None), {}, ("NODE_KEY",), "", 2, 30.0)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (SandboxError("no API key in NODE_KEY"), "no API key in NODE_KEY"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), ": No space left on device"),
        (OSError("odd"), ": odd"),
    ],
)
def test_why_a_node_cannot_be_used_is_its_answer(
    error: Exception, said: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_keys(names: Any, file: str) -> None:
        assert (names, file) == (("NODE_KEY",), "")
        raise error

    monkeypatch.setattr(module, "check_keys", check_keys)
    why = place.node.open(ORDERS)
    assert why.endswith(said) and (why == said or why == f"{scratch_root()}{said}")
    assert place.gateway.closed, "nothing of it is left"


@pytest.mark.parametrize(("silent_s", "ends"), [(29.0, False), (30.5, True)])
def test_a_node_ends_itself_if_its_driver_is_silent(
    silent_s: float, ends: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    now = time.monotonic()
    monkeypatch.setattr(module, "_clock", lambda: now)
    place.node._end = lambda: ended.append("end")
    place.beat()
    looks = 0

    def wait(seconds: float) -> bool:
        nonlocal now, looks
        now += silent_s
        looks += 1
        return looks > 1

    monkeypatch.setattr(place.node._closed, "wait", wait)
    place.node._watch(30.0)
    assert bool(ended) is ends and place.gateway.closed is ends


def test_what_a_node_has_opened_is_closed_with_it(place: Place) -> None:
    closed: list[int] = []
    place.node._stack.callback(closed.append, 1)
    place.node.close()
    place.node.close()
    assert closed == [1]


@pytest.mark.parametrize(
    ("lasts_s", "waited_s"), [(0.0, 0.0), (0.05, 0.05), (1.0, 1.0), (1.99, 2.0), (9.0, 2.0)]
)
def test_attempts_have_a_moment_to_end_when_a_node_is_closed(
    lasts_s: float, waited_s: float, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, said = 100.0, list[str]()
    if lasts_s:
        place.node._attempts = {1: cast(Any, None)}

    def sleep(seconds: float) -> None:
        nonlocal now
        assert place.gateway.closed and place.executor.cancelled and not said
        now += seconds
        if now - 100.0 > lasts_s - 0.001:
            place.node._attempts.clear()

    place.node._stack.callback(said.append, "left")
    monkeypatch.setattr(module, "_clock", lambda: now)
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep))
    place.node.close()
    assert now - 100.0 == pytest.approx(waited_s, abs=0.051) and said == ["left"]
    place.node._attempts.clear()


def test_each_sign_of_life_counts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now, alive = 100.0, list[float]()
    monkeypatch.setattr(module, "_clock", lambda: now)
    place.node._guard = cast(Any, SimpleNamespace(alive=lambda: alive.append(now)))
    monkeypatch.setattr(module, "check_keys", lambda names, file: None)
    place.beat()
    assert (place.node._heard, alive) == (100.0, [100.0])
    now = 110.0
    place.node.about()
    assert (place.node._heard, alive) == (110.0, [100.0]), "the guard waits for beats"
    now = 120.0
    with pytest.raises(ValueError, match="tasks"):
        place.node._set_up(NodeOrders({}, cast(Any, None), {}, (), "", 2, 30.0))
    assert place.node._heard == 120.0


def test_an_image_is_not_built_for_an_agent_of_the_users_own(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place.node, "_build", None)
    opened = place.node._open
    assert opened is not None
    opened.config = cast(Any, SimpleNamespace(sandbox=SimpleNamespace(kind="docker")))
    mine = CliHarness(cast(Any, SimpleNamespace(name="mine")))
    place.node._have_agent(opened, cast(Any, SimpleNamespace(harness=mine)))
    assert not opened.images


def test_an_agents_image_is_built_once_and_only_for_containers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[list[str]] = []
    monkeypatch.setattr(place.node, "_build", lambda config, tags, chosen: built.append(tags))
    opened = place.node._open
    assert opened is not None
    codex = SimpleNamespace(harness=make_harness("codex"))
    for kind, count in (("local", 0), ("docker", 1)):
        opened.config = cast(Any, SimpleNamespace(sandbox=SimpleNamespace(kind=kind)))
        opened.images.clear()
        for job in (codex, codex, SimpleNamespace(harness=make_harness("direct"))):
            place.node._have_agent(opened, cast(Any, job))
        assert len(built) == count
    assert built[0][0].startswith("skillopt/")
