"""Which nodes are used, what they are told, and what happens if one is silent, refused or gone.

The nodes are answers of the test's own, and all pauses are of milliseconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import zstandard

from harnesses.base import Usage
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.service import Wait
from harnesses.gateway.wire import WIRE
from sandboxes.base import SandboxError
from skillopt.rollouts.cluster import fleet, members
from skillopt.rollouts.cluster.fleet import ENDED, Fleet
from skillopt.rollouts.cluster.machines import ClusterError, GoneError
from skillopt.rollouts.cluster.members import Member, Running
from skillopt.rollouts.cluster.messages import Beat, NodeOrders, Progress, Pulse, Reply
from skillopt.rollouts.cluster.parcels import Parcel
from skillopt.rollouts.cluster.sameness import versions
from tests.helpers.near_nodes import DriversGateway

REPLY = Reply({}, "", b"")


@dataclass
class FakeLink:
    """A node that answers at once, as it is told to."""

    name: str
    about: Any = field(default_factory=versions)
    open: Any = ""
    silent: set[str] = field(default_factory=set)
    """Calls that are never answered."""
    pulse: dict[str, Any] = field(default_factory=dict)
    lags: int = 0
    """Requests beyond its share that it still has under way."""
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    killed: bool = False

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        self.calls.append((method, *arguments))
        done: Future[Any] = Future()
        if method in self.silent:
            return done
        answer = getattr(self, method, None)
        if method == "beat":
            answer = self.beats(arguments[0])
        if isinstance(answer, Exception):
            done.set_exception(answer)
        else:
            done.set_result(answer)
        return done

    def beats(self, beat: Beat) -> Any:
        shares = {name: share + self.lags for name, share in beat.shares.items()}
        values: dict[str, Any] = {
            "shares": shares, "attempts": {}, "news": (), "limited": {}, "blocked": {},
        }  # fmt: skip
        return self.pulse.get("error") or Pulse(**values | self.pulse)

    def kill(self) -> None:
        self.killed = True

    @property
    def told(self) -> list[Beat]:
        return [call[1] for call in self.calls if call[0] == "beat"]


@dataclass
class FakeMachines:
    """Nodes by name."""

    links: dict[str, FakeLink | Exception]
    started: list[tuple[str, int]] = field(default_factory=list)
    broken: bool = False

    def alive(self) -> Mapping[str, str]:
        if self.broken:
            raise ClusterError("the cluster does not answer")
        return {name: f"node-{name}" for name in self.links}

    def start(self, node: str, slots: int) -> FakeLink:
        self.started.append((node, slots))
        link = self.links[node]
        if isinstance(link, Exception):
            raise link
        return link

    def want(self, nodes: int) -> None: ...

    def close(self) -> None: ...


@dataclass
class Place:
    fleet: Fleet
    gateway: DriversGateway
    notes: list[str]
    """Of what went wrong."""
    used: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        (self.used if "is used, for" in text else self.notes).append(text)


@dataclass
class Clock:
    """The time, which a test may advance."""

    ahead: float = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (fleet, members):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {
        "TICK_S": 0.001, "_SCAN_S": 0.002, "BEAT_S": 0.004, "_CLOSE_S": 0.02, "_START_S": 0.05,
    }.items():  # fmt: skip
        monkeypatch.setattr(fleet, name, seconds)
    monkeypatch.setattr(members, "TICK_S", 0.001)


@contextmanager
def running(
    machines: FakeMachines,
    *,
    slots: int = 2,
    silence_s: float = 30.0,
    limits: Mapping[str, int] | None = None,
    driver: frozenset[str] = frozenset(),
    gateway: DriversGateway | None = None,
) -> Iterator[Place]:
    orders = NodeOrders({}, cast(Any, None), {}, (), "", slots, silence_s)
    place = Place(cast(Any, None), gateway or DriversGateway(("main", "other")), [])
    place.fleet = Fleet(
        machines, orders, cast(Gateway, place.gateway), limits or {}, driver, "main",
        place.note,
    )  # fmt: skip
    with place.fleet:
        yield place


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def links(*names: str, **values: Any) -> dict[str, FakeLink | Exception]:
    return {name: FakeLink(name, **values) for name in names}


def one(machines: FakeMachines, name: str) -> FakeLink:
    link = machines.links[name]
    assert isinstance(link, FakeLink)
    return link


def waiting(place: Place, folder: Path) -> Future[str]:
    """The name of the node on which a slot becomes free."""
    found: Future[str] = Future()

    def wait() -> None:
        with place.fleet.slot(folder, 0) as (member, _):
            found.set_result(member.name)

    threading.Thread(target=wait, daemon=True).start()
    return found


def test_attempts_go_to_the_node_with_most_free_slots_and_wait_for_one(tmp_path: Path) -> None:
    machines = FakeMachines(links("a", "b"))
    with running(machines) as place, ExitStack() as stack:
        place.fleet.wait_for(2, 5)
        assert machines.started == [("a", 2), ("b", 2)] and not place.notes
        assert [call[0] for call in one(machines, "a").calls[:2]] == ["about", "open"]
        taken = [stack.enter_context(place.fleet.slot(tmp_path, 0)) for _ in range(4)]
        assert sorted(member.name for member, _ in taken) == ["node-a"] * 2 + ["node-b"] * 2
        assert taken[0][0] is not taken[1][0], "the one that has more of them"
        assert [run.number for _, run in taken] == [0, 1, 2, 3]
        last = stack.pop_all()
        late = waiting(place, tmp_path)
        time.sleep(0.01)
        assert not late.done(), "all are taken"
        last.close()
        assert late.result(5).startswith("node-")
    assert all(run.over for _, run in taken)


def test_it_is_waited_for_as_many_nodes_as_are_wanted_or_can_be(tmp_path: Path) -> None:
    machines = FakeMachines(links("a") | links("b", silent={"open"}))
    with running(machines) as place:
        began = time.monotonic()
        place.fleet.wait_for(1, 5)
        place.fleet.wait_for(2, 0.02)
        assert 0.02 <= time.monotonic() - began < 4, "the second is being set up, and one is ready"
    machines = FakeMachines(links("a") | {"b": ValueError("no room")})
    with running(machines) as place:
        began = time.monotonic()
        place.fleet.wait_for(2, 5)
        assert time.monotonic() - began < 4, "no other can be"


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({}, "no node of the cluster came up within 0.01 s (executor.wait_s)"),
        (links("a", open="no API key"), "can be used:\n  node-a: no API key"),
        (links("a", about={"codex": "0.1"}), "node-a: skillopt-harness is missing there and"),
        ({"a": ValueError("no\n room")}, "node-a: no room"),
        (links("a", about=GoneError("it died")), "node-a: it died"),
        (links("a", about=GoneError()), "node-a: GoneError"),
        (links("a", silent={"about"}), "node-a: it did not start within 0.05 s"),
        (links("a", open=GoneError("killed")), "node-a: killed"),
        (
            links("a", open="full") | {"b": ValueError("no room")},
            "used:\n",
        ),
    ],
)
def test_without_a_node_it_is_said_why(
    found: dict[str, FakeLink | Exception], message: str
) -> None:
    machines = FakeMachines(found)
    with running(machines) as place, pytest.raises(ClusterError) as error:
        # Refused ones settle it; without any, the time does.
        place.fleet.wait_for(1, 5 if found else 0.01)
    assert message in str(error.value)
    assert all(link.killed for link in found.values() if isinstance(link, FakeLink))
    refused = [name for name, link in found.items() if isinstance(link, FakeLink)]
    assert len(place.notes) == len(refused), "each is told of, once"


def test_a_node_that_was_refused_is_tried_again_later_and_told_of_once(clock: Clock) -> None:
    machines = FakeMachines(links("a", open="no key") | links("b"))
    with running(machines, silence_s=1000) as place:
        until(lambda: place.notes)
        clock.ahead += 29
        time.sleep(0.02)
        assert machines.started.count(("a", 2)) == 1
        clock.ahead += 1.5
        until(lambda: machines.started.count(("a", 2)) == 2)
        assert place.notes == ["node node-a is not used any more: no key"]
        assert place.used == ["node node-b is used, for 2 rollouts at once"]
        one(machines, "a").open = ""
        clock.ahead += 31
        place.fleet.wait_for(2, 5)
        one(machines, "a").pulse["error"] = GoneError("no key")
        until(lambda: len(place.notes) >= 2)  # It had been used meanwhile.


def test_a_silent_node_is_lost_with_what_runs_there(clock: Clock, tmp_path: Path) -> None:
    machines = FakeMachines(links("a"))
    with running(machines, silence_s=30.5) as place:
        place.fleet.wait_for(1, 5)
        with place.fleet.slot(tmp_path, 0) as (member, run), place.fleet.slot(tmp_path, 0):
            one(machines, "a").silent = {"beat"}
            count = len(one(machines, "a").told)
            until(lambda: len(one(machines, "a").told) > count)
            clock.ahead += 20
            time.sleep(0.01)
            assert not member.gone and len(one(machines, "a").told) == count + 1
            clock.ahead += 10.6
            with pytest.raises(GoneError, match=r"no sign of life for 30\.5 s: frozen, or cut off"):
                run.done.result(5)
            assert member.gone and not member.ready and one(machines, "a").killed
        (note,) = place.notes
        assert note.startswith("node node-a is not used any more: no sign of life for 30.5 s")
        assert note.endswith("; 2 of its rollouts are run again")
        place.fleet.lost(member, "once more")
        assert len(place.notes) == 1
        with (
            pytest.raises(SandboxError, match=r"node-a: no sign of life"),
            place.fleet.slot(tmp_path, 0.01),
        ):
            pass


def test_a_node_that_is_being_set_up_is_asked_for_signs_of_life(clock: Clock) -> None:
    machines = FakeMachines(links("a", silent={"open", "beat"}))
    with running(machines) as place, pytest.raises(ClusterError, match="no sign of life"):
        until(lambda: one(machines, "a").told)
        clock.ahead += 31
        place.fleet.wait_for(1, 5)
    assert [call[0] for call in one(machines, "a").calls if call[0] != "close"] == [
        "about", "open", "beat",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [GoneError("it has died"), ValueError("it has died")])
def test_a_node_that_cannot_be_asked_is_gone(error: Exception, tmp_path: Path) -> None:
    machines = FakeMachines(links("a"))
    with running(machines) as place:
        place.fleet.wait_for(1, 5)
        one(machines, "a").pulse["error"] = error
        until(lambda: place.notes)
        assert place.notes == ["node node-a is not used any more: it has died"]


def test_a_cluster_that_does_not_answer_keeps_its_nodes(tmp_path: Path) -> None:
    machines = FakeMachines(links("a"))
    with running(machines) as place:
        place.fleet.wait_for(1, 5)
        machines.broken = True
        time.sleep(0.02)
        with place.fleet.slot(tmp_path, 0) as (member, _):
            assert member.name == "node-a"
        assert len(machines.started) == 1 and not place.notes


def test_shares_holds_and_blocks_are_told_to_each_node(tmp_path: Path) -> None:
    machines = FakeMachines(links("a", "b", "c"))
    one(machines, "a").pulse["limited"] = {"main": 2.0}
    one(machines, "b").pulse["limited"] = {"main": 5.0}
    gateway = DriversGateway(("main", "other"), {"other": "no credit"})
    with running(machines, limits={"main": 7, "second": 2}, gateway=gateway) as place:
        place.fleet.wait_for(3, 5)
        until(lambda: parts(machines, "main") == [2, 2, 3])
        until(lambda: parts(machines, "second") == [0, 1, 1])
        seen = [one(machines, name).told[-1] for name in "abc"]
        until(lambda: one(machines, "a").told[-1].holds == {"main": 5.0, "second": 0.0})
        until(lambda: one(machines, "b").told[-1].holds == {"main": 2.0, "second": 0.0})
        until(lambda: one(machines, "c").told[-1].holds == {"main": 5.0, "second": 0.0})
        assert all(beat.blocked == {"other": "no credit"} for beat in seen)
        assert not gateway.shared, "the driver uses none of them"


def parts(machines: FakeMachines, service: str) -> list[int]:
    """The shares of all nodes, the smallest first."""
    return sorted(shares(machines, name).get(service, -1) for name in "abc")


def shares(machines: FakeMachines, name: str) -> dict[str, int]:
    """What a node was told last."""
    told = one(machines, name).told
    return dict(told[-1].shares) if told else {}


def test_the_drivers_gateway_gives_up_what_nodes_get(tmp_path: Path) -> None:
    machines, gateway = FakeMachines(links("a")), DriversGateway(busy=3)
    with running(
        machines, limits={"main": 4, "second": 4}, driver=frozenset({"main"}), gateway=gateway
    ) as place:
        until(lambda: gateway.shared)
        assert gateway.shared[0] == ("main", 2)
        until(lambda: shares(machines, "a") == {"main": 1, "second": 4})
        gateway.busy = 0
        until(lambda: shares(machines, "a") == {"main": 2, "second": 4})
        assert {name for name, _ in gateway.shared} == {"main"}
        count = len(gateway.shared)
        time.sleep(0.02)
        assert len(gateway.shared) <= count + 1, "it has its part"
        gateway.closed = True
        place.fleet.wait_for(1, 1)


def test_a_node_that_may_ask_the_main_service_for_nothing_gets_no_attempt(tmp_path: Path) -> None:
    machines, gateway = FakeMachines(links("a")), DriversGateway(busy=2)
    with running(
        machines, limits={"main": 2}, driver=frozenset({"main"}), gateway=gateway
    ) as place:
        place.fleet.wait_for(1, 5)
        until(lambda: one(machines, "a").told)
        late = waiting(place, tmp_path)
        time.sleep(0.01)
        assert not late.done()
        gateway.busy = 0
        assert late.result(5) == "node-a"


def test_what_a_pulse_brings_reaches_its_place(tmp_path: Path) -> None:
    machines = FakeMachines(links("a"))
    with running(machines) as place:
        place.fleet.wait_for(1, 5)
        with place.fleet.slot(tmp_path, 0) as (_, run):
            news = Wait("main", "busy", 1.0, 2.0)
            wire = zstandard.ZstdCompressor().compress(b"{}\n")
            one(machines, "a").pulse |= {
                "attempts": {run.number: Progress(Usage(requests=3), wire), 99: Progress(Usage(9))},
                "news": (news,),
                "blocked": {"main": "no credit"},
            }
            until(lambda: run.usage.requests == 3)
            until(lambda: place.gateway.news)
            assert place.gateway.news[0] == news and place.gateway.known == {"main": "no credit"}
        assert (tmp_path / WIRE).read_text().startswith("{}\n")


def test_at_the_end_nodes_are_closed_and_what_runs_has_failed(tmp_path: Path) -> None:
    machines = FakeMachines(links("a") | links("b", silent={"close"}))
    with running(machines) as place:
        place.fleet.wait_for(2, 5)
        with place.fleet.slot(tmp_path, 0) as (a, run), place.fleet.slot(tmp_path, 0) as (b, _):
            place.fleet.cancel()
            place.fleet.cancel()
            with pytest.raises(SandboxError, match=ENDED):
                run.done.result(0)
            assert a.gone == b.gone == ENDED
            place.fleet.lost(a, "it was killed")
            assert a.gone == ENDED
        with pytest.raises(SandboxError, match=ENDED), place.fleet.slot(tmp_path, 5):
            pass
    for name in "ab":
        assert [call[0] for call in one(machines, name).calls].count("close") == 1
        assert one(machines, name).killed
    assert not place.notes, "that is no loss"


def attempt(folder: Path) -> Running:
    return Running(1, folder)


def test_an_attempt_is_followed_until_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run, wire = attempt(tmp_path), zstandard.ZstdCompressor().compress
    known = run.known
    run.follow(Progress(Usage(requests=1), wire(b"one\n")))
    run.follow(Progress(Usage(requests=2)))
    run.follow(Progress(Usage(requests=3), wire(b"two\n")))
    assert run.usage == Usage(requests=3) and run.known > known
    run.end()
    known = run.known
    run.follow(Progress(Usage(requests=4), wire(b"three\n")))
    assert run.usage == Usage(requests=3) and run.known == known
    assert (tmp_path / WIRE).read_text() == "one\ntwo\n"
    attempt(tmp_path / "gone").follow(Progress(Usage(), wire(b"x")))  # No room is no end of it.
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path / 'gone'}: [Errno 2]")


def test_an_attempt_has_the_first_of_its_endings(tmp_path: Path) -> None:
    replied, failed = Future[Reply](), Future[Reply]()
    replied.set_result(REPLY)
    failed.set_exception(GoneError("gone"))
    run = attempt(tmp_path)
    run.take(replied)
    run.fail(SandboxError("late"))
    run.take(failed)
    assert run.done.result(0) is REPLY
    run = attempt(tmp_path)
    run.take(failed)
    run.take(replied)
    with pytest.raises(GoneError):
        run.done.result(0)
    run = attempt(tmp_path)
    run.fail(SandboxError("early"))
    run.take(replied)
    with pytest.raises(SandboxError, match="early"):
        run.done.result(0)


def test_a_parcel_is_there_when_it_has_been_taken_and_not_awaited_of_the_gone() -> None:
    parcel = Parcel("d1", "x", b"", True)
    member = Member("a", "node-a", FakeLink("a"))
    member.put(parcel)
    assert member.parcels == {"d1"} and member.link.calls == [("put", parcel)]  # type: ignore[attr-defined]
    lost = Member("a", "node-a", FakeLink("a", silent={"put"}), gone="it died")
    with pytest.raises(GoneError, match="it died"):
        lost.put(parcel)
    full = FakeLink("a")
    full.put = OSError("full")  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="full"):
        Member("a", "node-a", full).put(parcel)
    assert not lost.parcels


def test_who_waits_for_nodes_is_told_when_the_run_is_ended() -> None:
    machines = FakeMachines({})
    with running(machines) as place:
        ended = threading.Timer(0.01, place.fleet.cancel)
        ended.start()
        began = time.monotonic()
        with pytest.raises(ClusterError, match="came up within 60 s"):
            place.fleet.wait_for(1, 60)
        assert time.monotonic() - began < 30
        ended.join()
