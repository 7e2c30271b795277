"""Each step of a fleet by itself: without its threads, and with a clock that stands still."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from harnesses.base import Usage
from harnesses.gateway.service import Wait
from sandboxes.base import SandboxError
from skillopt.rollouts.cluster import fleet as module
from skillopt.rollouts.cluster import members
from skillopt.rollouts.cluster.fleet import DRIVER, ENDED, Fleet, _words
from skillopt.rollouts.cluster.machines import ClusterError, GoneError
from skillopt.rollouts.cluster.members import Member, Running
from skillopt.rollouts.cluster.messages import NodeOrders, Progress, Pulse
from skillopt.rollouts.cluster.sameness import versions
from tests.helpers.near_nodes import DriversGateway

PULSE = Pulse({}, {}, (), {}, {})


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Link:
    """A node whose answers the test gives, by method; others are not given yet."""

    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    killed: int = 0

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        self.calls.append((method, *arguments))
        done: Future[Any] = Future()
        answer = self.answers.get(method)
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            done.set_exception(answer)
        elif answer is not None:
            done.set_result(answer)
        return done

    def kill(self) -> None:
        self.killed += 1


@dataclass
class Machines:
    found: Any = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    started: list[tuple[str, int]] = field(default_factory=list)

    def alive(self) -> Mapping[str, str]:
        if isinstance(self.found, Exception):
            raise self.found
        return cast(Mapping[str, str], self.found)

    def start(self, node: str, slots: int) -> Any:
        self.started.append((node, slots))
        link = self.made[node]
        if isinstance(link, Exception):
            raise link
        return link


@dataclass
class Place:
    clock: Clock
    limits: dict[str, int] = field(default_factory=dict)
    driver: frozenset[str] = frozenset()
    main: str = "main"
    gateway: DriversGateway = field(default_factory=DriversGateway)
    machines: Machines = field(default_factory=Machines)
    notes: list[str] = field(default_factory=list)
    _fleet: Fleet | None = None

    @property
    def fleet(self) -> Fleet:
        if self._fleet is None:
            orders = NodeOrders({}, cast(Any, None), {}, (), "", 2, 20.0)
            self._fleet = Fleet(
                cast(Any, self.machines), orders, cast(Any, self.gateway), self.limits,
                self.driver, self.main, self.notes.append,
            )  # fmt: skip
        return self._fleet

    def member(self, name: str, ready: bool = True, **values: Any) -> Member:
        """A node that is used."""
        made = Member(name, f"node-{name}", Link(), **{"heard": self.clock.now} | values)
        made.ready = ready
        self.fleet._members[name] = made
        if ready:
            for shares in self.fleet._shares.values():
                shares.join(name)
        return made

    def settle(self) -> None:
        for shares in self.fleet._shares.values():
            for _ in range(3):
                for holder in [*shares._told]:
                    shares.confirm(holder, shares.share(holder, self.clock.now))

    def share(self, name: str, service: str = "main") -> int:
        return self.fleet._shares[service].share(name, self.clock.now)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(members, "time", clock)
    return Place(clock)


def link(member: Member) -> Link:
    return cast(Link, member.link)


def run_on(member: Member, number: int, folder: Path) -> Running:
    member.running[number] = Running(number, folder)
    return member.running[number]


def scan(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Look for nodes once; those that are taken in now."""
    before = len(place.machines.started)
    ended = threading.Event()
    pauses: list[float] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        ended.set()
        return True

    monkeypatch.setattr(ended, "wait", wait)
    monkeypatch.setattr(place.fleet, "_ended", ended)
    monkeypatch.setattr(place.fleet, "_set_up", lambda member: None)
    place.fleet._scan()
    assert pauses == [2.0]
    monkeypatch.setattr(place.fleet, "_ended", threading.Event())
    return [node for node, _ in place.machines.started[before:]]


@pytest.mark.parametrize(
    ("since", "pause"),
    [(0.0, 30.0), (1000.0, 30.0), (970.1, 30.0), (970.0, 2.0), (1.0, 2.0)],
)
def test_a_lost_node_is_tried_again_the_sooner_if_it_had_worked(
    since: float, pause: float, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = place.member("a", since=since)
    place.machines.found, place.machines.made = {"a": "node-a"}, {"a": Link()}
    place.fleet.lost(member, "it died")
    place.clock.now += pause - 0.01
    assert scan(place, monkeypatch) == []
    place.clock.now += 0.01
    assert scan(place, monkeypatch) == ["a"]
    place.clock.now += 100
    assert scan(place, monkeypatch) == [], "it is being set up"
    assert place.machines.started == [("a", 2)]


def test_a_node_that_does_not_start_is_tried_again_later(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.machines.found = {"a": "node-a", "b": "node-b"}
    place.machines.made = {"a": ValueError("no\nroom"), "b": Link()}
    assert scan(place, monkeypatch) == ["a", "b"], "the next one is looked at all the same"
    assert "  node-a: no room" in place.fleet._none(5)
    place.clock.now += 29.99
    assert scan(place, monkeypatch) == []
    place.clock.now += 0.01
    assert scan(place, monkeypatch) == ["a"]


def test_nodes_are_seen_when_there_are_some(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []
    for found in ({}, {"a": "node-a"}, ClusterError("it does not answer")):
        place.machines.found, place.machines.made = found, {"a": Link()}
        scan(place, monkeypatch)
        seen.append(place.fleet._scanned)
    assert seen == [False, True, False] and list(place.fleet._members) == ["a"]
    assert [record.getMessage() for record in caplog.records] == ["it does not answer"]


def test_a_run_that_is_ended_takes_no_node_in(place: Place) -> None:
    place.machines.made = {"a": Link()}

    class Ending(dict[str, str]):
        def items(self) -> Any:
            place.fleet._ended.set()
            return super().items()

    place.machines.found = Ending(a="node-a")
    place.fleet._scan()
    assert not place.machines.started
    place.fleet._scan()


def test_a_lost_nodes_share_is_free_when_it_must_have_ended(place: Place) -> None:
    place.limits = {"main": 4, "second": 2}
    lost, other = place.member("a"), place.member("b")
    place.settle()
    place.fleet.lost(lost, "it died")
    place.clock.now += 29.99
    assert (place.share("b"), place.share("b", "second")) == (2, 1)
    place.clock.now += 0.01
    assert (place.share("b"), place.share("b", "second")) == (4, 2)
    assert not other.gone and place.fleet._members == {"b": other}


@pytest.mark.parametrize(
    ("running", "said"),
    [
        (0, "node node-a is not used any more: it died"),
        (1, "node node-a is not used any more: it died; 1 of its rollouts are run again"),
        (2, "node node-a is not used any more: it died; 2 of its rollouts are run again"),
    ],
)
def test_a_lost_node_fails_what_runs_there_and_is_killed(
    running: int, said: str, place: Place, tmp_path: Path
) -> None:
    member = place.member("a")
    runs = [run_on(member, number, tmp_path) for number in range(running)]
    place.fleet.lost(member, "it died")
    assert all(str(run.done.exception(0)) == "it died" for run in runs)
    assert all(isinstance(run.done.exception(0), GoneError) for run in runs)
    assert place.notes == [said]
    assert (member.gone, member.ready, link(member).killed) == ("it died", False, 1)
    place.fleet.lost(member, "again")
    assert (member.gone, link(member).killed, len(place.notes)) == ("it died", 1, 1)


def test_a_loss_is_told_unless_it_is_the_same_or_the_run_ends(place: Place) -> None:
    for why in ("no key", "no key", "no room", "no key"):
        place.fleet.lost(place.member("a"), why)
    assert [note.rpartition(": ")[2] for note in place.notes] == ["no key", "no room", "no key"]
    place.fleet._ended.set()
    place.fleet.lost(place.member("a"), "it died")
    assert len(place.notes) == 3


def test_who_waits_is_woken_when_the_last_node_is_lost(place: Place) -> None:
    member, failed = place.member("a", ready=False), Future[str]()

    def wait() -> None:
        try:
            place.fleet.wait_for(1, 0)
        except ClusterError as error:
            failed.set_result(str(error))

    threading.Thread(target=wait, daemon=True).start()
    with pytest.raises(TimeoutError):
        failed.result(0.01)
    place.fleet.lost(member, "no engine")
    assert "node-a: no engine" in failed.result(5)


@pytest.mark.parametrize(
    ("ready", "opening", "refused", "scanned", "enough"),
    [
        (2, 0, 0, False, True),
        (3, 0, 0, False, True),
        (2, 1, 0, False, True),
        (1, 0, 0, True, False),
        (1, 0, 1, True, True),
        (1, 0, 1, False, False),
        (1, 1, 0, True, False),
        (1, 1, 1, True, False),
        (0, 0, 2, True, True),
        (0, 0, 1, True, False),
        (0, 2, 0, True, False),
        (0, 0, 0, True, False),
    ],
)
def test_enough_nodes_are_as_many_as_wanted_or_as_can_be(
    ready: int, opening: int, refused: int, scanned: bool, enough: bool, place: Place
) -> None:
    for number in range(ready):
        place.member(f"r{number}")
    for number in range(opening):
        place.member(f"o{number}", ready=False)
    for number in range(refused):
        place.fleet._refused[f"x{number}"] = (0.0, "no")
    place.fleet._scanned = scanned
    assert place.fleet._enough(2) is enough


def waits(place: Place, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long is waited each time: the clock goes on by it."""
    found: list[float] = []

    def wait(seconds: float) -> bool:
        found.append(seconds)
        place.clock.now += seconds
        if len(found) == 6:
            place.fleet.cancel()
        return True

    monkeypatch.setattr(place.fleet._changed, "wait", wait)
    return found


@pytest.mark.parametrize(
    ("wait_s", "expected"), [(0.0, []), (0.5, [0.5]), (1.0, [1.0]), (2.5, [1.0, 1.0, 0.5])]
)
def test_without_a_node_an_attempt_waits_since_the_last_has_gone(
    wait_s: float, expected: list[float], place: Place, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    member, other = place.member("a"), place.member("b")
    place.clock.now += 50
    place.fleet.lost(other, "it died")
    place.clock.now += 50
    place.fleet.lost(member, "it died")
    found = waits(place, monkeypatch)
    with pytest.raises(SandboxError, match="node-a: it died"), place.fleet.slot(tmp_path, wait_s):
        pass
    assert found == expected


def test_while_a_node_is_there_a_slot_of_it_is_waited_for(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.member("a", ready=False)
    found = waits(place, monkeypatch)
    with pytest.raises(SandboxError, match=ENDED), place.fleet.slot(tmp_path, 0):
        pass
    assert found == [1.0] * 6


def test_an_attempt_has_its_slot_until_it_is_over(place: Place, tmp_path: Path) -> None:
    member = place.member("a")
    place.clock.now += 7
    with place.fleet.slot(tmp_path, 0) as (found, run):
        assert found is member and member.running == {0: run} and run.folder == tmp_path
        assert run.began == run.known == place.clock.now and not run.over
        with pytest.raises(ValueError), place.fleet.slot(tmp_path, 0) as (_, second):
            both = set(member.running)
            raise ValueError
        assert both == {0, 1}
        assert member.running == {0: run} and second.over and not run.over
    assert not member.running and run.over


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ({}, ""),
        ({"a": (1, True, 1)}, "a"),
        ({"a": (2, True, 1)}, ""),
        ({"a": (1, True, 1), "b": (0, True, 1)}, "b"),
        ({"a": (0, True, 1), "b": (0, True, 1)}, "a"),
        ({"a": (1, True, 1), "b": (0, False, 1)}, "a"),
        ({"a": (1, True, 1), "b": (0, True, 0)}, "a"),
        ({"a": (0, True, 0)}, ""),
        ({"a": (3, True, 1), "b": (2, True, 1)}, ""),
    ],
)
def test_an_attempt_goes_where_most_is_free_and_requests_may_be_made(
    nodes: dict[str, tuple[int, bool, int]], expected: str, place: Place, tmp_path: Path
) -> None:
    place.limits = {"main": 4}
    for name, (running, ready, share) in nodes.items():
        member = place.member(name)
        member.ready = ready
        place.fleet._shares["main"].confirm(name, share)
        for number in range(running):
            run_on(member, number, tmp_path)
    found = place.fleet._freest()
    assert (found.id if found else "") == expected


def test_a_service_without_a_limit_holds_no_attempt_up(place: Place) -> None:
    place.limits, place.main = {"second": 1}, "main"
    assert place.member("a") is place.fleet._freest()


def test_who_has_come_first_gives_up_no_more_than_the_others_part(place: Place) -> None:
    place.limits, place.driver = {"main": 6, "second": 3}, frozenset({"main", "unlimited"})
    place.fleet._share_of_driver()
    assert not place.gateway.shared, "it has all"
    place.member("a")
    place.gateway.busy = 5
    place.fleet._share_of_driver()
    assert place.gateway.shared == [("main", 3)] and place.share("a") == 1
    place.gateway.busy = 0
    place.fleet._share_of_driver()
    assert place.gateway.shared == [("main", 3)] * 2 and place.share("a") == 3
    place.fleet._share_of_driver()
    assert len(place.gateway.shared) == 2, "it has its part"
    assert place.fleet._shares["second"].confirmed(DRIVER) == 0


def test_a_gateway_that_has_ended_gives_up_nothing(place: Place) -> None:
    place.limits, place.driver = {"main": 6}, frozenset({"main"})
    place.member("a")
    place.gateway.closed = True
    place.fleet._share_of_driver()
    assert place.gateway.shared == [("main", 3)]
    assert place.fleet._shares["main"].confirmed(DRIVER) == 6


@pytest.mark.parametrize(("since", "sends"), [(1.99, False), (2.0, True), (2.01, True)])
def test_a_beat_is_sent_when_it_is_due(since: float, sends: bool, place: Place) -> None:
    member = place.member("a", sent=place.clock.now - since)
    place.fleet._look(member)
    assert (member.beat is not None) is sends and len(link(member).calls) == sends
    assert member.sent == place.clock.now - (0.0 if sends else since)
    place.fleet._look(member)
    assert len(link(member).calls) == sends, "the reply is awaited first"


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize(("silent_s", "lost"), [(19.9, False), (20.0, False), (20.1, True)])
def test_a_node_is_lost_when_it_is_silent_for_longer_than_it_may(
    silent_s: float, lost: bool, waiting: bool, place: Place
) -> None:
    member = place.member("a", heard=place.clock.now - silent_s, sent=place.clock.now - 1.0)
    if waiting:
        member.beat, member.sent = Future(), 0.0
    place.fleet._look(member)
    assert bool(member.gone) is lost and not link(member).calls
    assert lost is ("no sign of life for 20 s: frozen, or cut off" in "".join(place.notes))


def test_a_reply_is_a_sign_of_life_and_another_beat_goes_later(place: Place) -> None:
    member = place.member("a", heard=0.0)
    member.beat = Future()
    member.beat.set_result(PULSE)
    place.fleet._look(member)
    assert member.heard == place.clock.now and member.beat is None and not member.gone
    assert not link(member).calls
    place.fleet._look(member)
    assert [call[0] for call in link(member).calls] == ["beat"]


@pytest.mark.parametrize("error", [GoneError("it died"), ValueError("it\n died")])
def test_a_beat_that_fails_loses_the_node(error: Exception, place: Place) -> None:
    member = place.member("a")
    member.beat = Future()
    member.beat.set_exception(error)
    place.fleet._look(member)
    assert member.gone == "it died"


@pytest.mark.parametrize(
    ("limits", "confirmed", "ready", "pause"),
    [
        ({}, {}, True, 2.0),
        ({"main": 2}, {"main": 2}, True, 2.0),
        ({"main": 2}, {"main": 1}, True, 0.25),
        ({"main": 2, "second": 2}, {"main": 2, "second": 1}, True, 0.25),
        ({"main": 2, "second": 2}, {"main": 1, "second": 2}, True, 0.25),
        ({"main": 2, "second": 2}, {"main": 2, "second": 2}, True, 2.0),
        ({"main": 2}, {"main": 1}, False, 2.0),
    ],
)
def test_beats_are_quick_while_shares_are_being_moved(
    limits: dict[str, int], confirmed: dict[str, int], ready: bool, pause: float, place: Place
) -> None:
    place.limits = limits
    member = place.member("a")
    member.ready = ready
    for name, share in confirmed.items():
        place.fleet._shares[name].confirm("a", share)
    assert place.fleet._pause(member) == pause


def test_a_beat_tells_shares_what_others_were_asked_and_what_is_blocked(place: Place) -> None:
    place.limits = {"main": 6, "second": 3}
    one, two, three = (place.member(name) for name in "abc")
    place.settle()
    one.limited = {"main": 9.0, "unlimited": 5.0}
    two.limited = {"main": 1.0, "second": 2.0}
    three.limited = {"main": 3.0}
    place.gateway.known = {"second": "no credit", "third": ""}
    beat = place.fleet._orders_of(one, place.clock.now)
    assert beat.shares == {"main": 2, "second": 1}
    assert beat.holds == {"main": 3.0, "second": 2.0}
    assert beat.blocked == {"second": "no credit"}
    assert place.fleet._orders_of(two, place.clock.now).holds == {"main": 9.0, "second": 0.0}


def test_one_that_is_alone_is_told_of_no_other(place: Place) -> None:
    place.limits = {"main": 6}
    beat = place.fleet._orders_of(place.member("a"), place.clock.now)
    assert (beat.shares, beat.holds, beat.blocked) == ({"main": 6}, {}, {})


def test_what_a_pulse_tells_is_known_at_once(place: Place, tmp_path: Path) -> None:
    place.limits = {"main": 6, "second": 3}
    member = place.member("a", heard=0.0)
    run, other = run_on(member, 4, tmp_path), run_on(member, 5, tmp_path)
    news = [Wait("main", "busy", 1.0, 2.0), Wait("second", "busy", 1.0, 2.0)]
    attempts = {3: Progress(Usage(requests=1)), 4: Progress(Usage(requests=2))}
    place.fleet._heard(
        member, Pulse({"main": 6, "second": 2}, attempts, news, {"main": 4.0}, {"third": "no"})
    )
    assert member.heard == place.clock.now and member.limited == {"main": 4.0}
    assert place.fleet._shares["main"].settled("a")
    assert place.fleet._shares["second"].confirmed("a") == 2
    assert (run.usage, other.usage) == (Usage(requests=2), Usage())
    assert place.gateway.news == news and place.gateway.known == {"third": "no"}
    place.fleet.blocked({"main": "a", "second": "b"})
    assert place.gateway.known == {"third": "no", "main": "a", "second": "b"}


def set_up(place: Place, **answers: Any) -> Member:
    member = place.member("a", ready=False)
    link(member).answers = {"about": versions(), "open": "", "beat": PULSE, **answers}
    place.fleet._set_up(member)
    return member


def test_a_node_that_is_set_up_is_used_and_has_a_share(place: Place) -> None:
    place.limits = {"main": 6}
    place.fleet._refused = {"a": (0.0, "node-a: no"), "b": (0.0, "node-b: no")}
    member = set_up(place)
    now = place.clock.now
    assert (member.ready, member.since, member.heard, member.sent) == (True, now, now, 0.0)
    assert list(place.fleet._refused) == ["b"] and place.share("a") == 6
    assert place.notes == ["node node-a is used, for 2 rollouts at once"]
    assert link(member).calls == [("about",), ("open", place.fleet._orders)]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"open": "no key"}, "no key"),
        ({"open": GoneError("it died")}, "it died"),
        ({"open": ValueError()}, "ValueError"),
        ({"about": GoneError("it died")}, "it died"),
        ({"about": TimeoutError()}, "it did not start within 120 s"),
        ({"about": {**versions(), "codex": "0"}}, "codex is 0 there and"),
    ],
)
def test_a_node_that_cannot_be_set_up_is_lost(
    answers: dict[str, Any], why: str, place: Place
) -> None:
    place.limits = {"main": 6}
    member = set_up(place, **answers)
    assert member.gone.startswith(why) and not member.ready and not member.since
    assert place.share("a") == 0 and len(place.notes) == 1
    assert ("open" in [call[0] for call in link(member).calls]) is ("open" in answers)


@pytest.mark.parametrize("how", ["ended", "gone", "ended while it opens", "gone while it opens"])
def test_a_node_that_has_gone_meanwhile_is_not_used(how: str, place: Place) -> None:
    place.limits = {"main": 6}

    def opened() -> str | None:
        if "ended" in how:
            place.fleet._ended.set()
        else:
            member.gone = "it died"
        return None if "opens" in how else ""

    member = place.member("a", ready=False)
    link(member).answers = {"about": versions(), "open": opened}
    place.fleet._set_up(member)
    assert not member.ready and not place.notes and place.share("a") == 0


def test_while_a_node_is_set_up_its_pulse_is_taken(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = place.member("a", ready=False)
    member.heard = 0.0
    opening: Future[str] = Future()
    pauses: list[float] = []

    def call(method: str, *arguments: Any) -> Future[Any]:
        calls.append((method, place.clock.now))
        done: Future[Any] = Future()
        if method != "open":
            done.set_result({"about": versions(), "beat": PULSE}[method])
        return opening if method == "open" else done

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        place.clock.now += 1.0
        if len(pauses) == 40:
            opening.set_result("")
        return False

    calls: list[tuple[str, float]] = []
    monkeypatch.setattr(link(member), "call", call)
    monkeypatch.setattr(place.fleet._ended, "wait", wait)
    place.fleet._set_up(member)
    assert member.ready and set(pauses) == {0.25}
    beats = [at - 1000 for method, at in calls if method == "beat"]
    assert beats[:3] == [2.0, 4.0, 6.0] and not member.gone, "long after its silence"


def test_all_that_runs_ends_when_the_run_is_ended(place: Place, tmp_path: Path) -> None:
    used, lost = place.member("a"), place.member("b")
    lost.gone = "it died"
    run = run_on(used, 1, tmp_path)
    place.fleet.cancel()
    assert (used.gone, lost.gone) == (ENDED, "it died")
    assert str(run.done.exception(0)) == ENDED
    assert [link(one).calls for one in (used, lost)] == [[("close",)]] * 2
    place.fleet.cancel()
    assert len(link(used).calls) == 1


def test_nodes_have_a_moment_to_close_and_are_killed(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    waited: list[float] = []

    class Closing:
        def __init__(self, seconds: float, error: Exception | None = None) -> None:
            self.seconds, self.error = seconds, error

        def result(self, timeout: float) -> None:
            waited.append(timeout)
            place.clock.now += self.seconds
            if self.error is not None:
                raise self.error

    made = [place.member(name) for name in "abc"]
    closings = [Closing(1.0), Closing(4.0, ValueError("frozen")), Closing(0.0)]
    place.fleet.cancel()
    place.fleet._closing = cast(Any, list(zip(made, closings, strict=True)))
    caplog.set_level("INFO")
    place.fleet.__exit__(None, None, None)
    assert waited == [2.5, 1.5, 0.0] and [link(one).killed for one in made] == [1, 1, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "node node-b was not closed: frozen"
    ]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no room"), "no room"),
        (ValueError(" no\n  room\t"), "no room"),
        (ValueError("x" * 501), "x" * 500),
        (ValueError(), "ValueError"),
        (GoneError(" \n"), "GoneError"),
        (TimeoutError("late"), "late"),
        (TimeoutError(), ""),
    ],
)
def test_a_failure_is_told_in_one_line(error: Exception, words: str) -> None:
    assert _words(error) == words


def slot_used(place: Place, member: Member) -> None:
    with place.fleet.slot(Path("/nowhere"), 0):
        pass


@pytest.mark.parametrize(
    "change",
    [
        lambda place, member: place.fleet._heard(member, PULSE),
        lambda place, member: place.fleet.lost(member, "it died"),
        lambda place, member: place.fleet.cancel(),
        lambda place, member: place.fleet._set_up(member),
        slot_used,
    ],
    ids=["a pulse", "a loss", "the end", "a new node", "a free slot"],
)
def test_who_waits_for_a_slot_is_woken_by_each_change(
    change: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = place.member("a")
    link(member).answers = {"about": versions(), "open": "", "beat": PULSE}
    woken: list[str] = []
    monkeypatch.setattr(place.fleet._changed, "notify_all", lambda: woken.append("woken"))
    change(place, member)
    assert woken == ["woken"]


def test_who_waits_for_a_node_is_woken_by_each_look_for_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[bool] = []
    monkeypatch.setattr(
        place.fleet._changed, "notify_all", lambda: woken.append(place.fleet._scanned)
    )
    place.machines.found, place.machines.made = {"a": "node-a"}, {"a": Link()}
    scan(place, monkeypatch)
    place.machines.found = {}
    scan(place, monkeypatch)
    assert woken == [True, False]
