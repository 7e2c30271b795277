"""The nodes of a run, as the driver sees them: which are there, what they do, which have gone.

A thread gives each node a beat every few seconds and takes its pulse. A node that is silent counts
as gone, whatever the cluster says of it, and ends its work by itself.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

from harnesses.gateway.gateway import Gateway, GatewayError
from sandboxes.base import SandboxError
from skillopt.rollouts.cluster.machines import ClusterError, GoneError, Machines
from skillopt.rollouts.cluster.members import TICK_S, Member, Running
from skillopt.rollouts.cluster.messages import Beat, NodeOrders, Pulse
from skillopt.rollouts.cluster.sameness import difference, versions
from skillopt.rollouts.cluster.shares import Shares

ENDED = "the run is being ended"
"""Why attempts fail then."""
BEAT_S = 2.0
"""Seconds between two beats."""
DRIVER = "driver"
"""The driver's gateway as a holder of shares; no node has this name."""
_SCAN_S = 2.0
"""Seconds between two looks for new nodes."""
_AGAIN_S = 30.0
"""Seconds after which a node that could not be used is tried again."""
_SOON_S = 2.0
"""The same for a node that had worked, such as one whose process was killed."""
_WORKED_S = 30.0
"""Seconds after which a node that could be used has worked."""
_START_S = 120.0
"""Seconds that Ray may take to start a process on a node."""
_CLOSE_S = 2.5
"""Seconds that nodes may take to end all; afterwards their guards clean up."""
_LATE_S = 10.0
"""Seconds after its silence that a lost node may still make requests: until it has ended itself."""
_LOG = logging.getLogger(__name__)


class Fleet:
    """Keeps the nodes of a run. A context manager. Safe to use from threads.

    Args:
        machines: where the nodes are.
        orders: what each is set up with.
        gateway: the driver's own, which hears what nodes tell of services.
        limits: the requests that services may get at the same time from all together, by name.
        driver: the services of these that the driver's gateway uses too.
        main: the service that rollouts need; empty if it has no limit for all together.
        note: called with what people should know.
    """

    def __init__(
        self,
        machines: Machines,
        orders: NodeOrders,
        gateway: Gateway,
        limits: Mapping[str, int],
        driver: frozenset[str],
        main: str,
        note: Callable[[str], None],
    ) -> None:
        self._machines, self._orders, self._gateway = machines, orders, gateway
        self._shares = {name: Shares(total) for name, total in limits.items()}
        for name in driver & self._shares.keys():
            self._shares[name].join(DRIVER, self._shares[name].total)
        self._main, self._note = main, note
        self._members: dict[str, Member] = {}
        self._refused: dict[str, tuple[float, str]] = {}
        """When nodes that could not be used are tried again, and why they could not."""
        self._scanned = False
        """Whether all nodes that there are have been seen."""
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._numbers = itertools.count()
        self._beating = threading.Thread(target=self._beat, name="cluster-beats", daemon=True)
        self._scanning = threading.Thread(target=self._scan, name="cluster-scan", daemon=True)
        self._empty_since = self._cancelled = time.monotonic()
        self._closing: list[tuple[Member, Future[None]]] = []

    def __enter__(self) -> Fleet:
        self._beating.start()
        self._scanning.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cancel()
        for member, closed in self._closing:
            try:
                closed.result(max(0.0, self._cancelled + _CLOSE_S - time.monotonic()))
            except Exception as error:  # noqa: BLE001  # Whatever it is, the node is ended.
                _LOG.info("node %s was not closed: %s", member.name, error)
            member.link.kill()

    def cancel(self) -> None:
        """End all attempts at once, from any thread."""
        with self._changed:
            if self._ended.is_set():
                return
            self._ended.set()
            self._cancelled = time.monotonic()
            members = list(self._members.values())
            for member in members:  # What is being sent to one is not waited for.
                member.gone = member.gone or ENDED
            self._changed.notify_all()
        self._closing = [(member, member.link.call("close")) for member in members]
        for member in members:
            for running in list(member.running.values()):
                running.fail(SandboxError(ENDED))

    def wait_for(self, nodes: int, wait_s: float) -> None:
        """Wait for nodes that can be used.

        Raises:
            ClusterError: there is none after that time. It names those that cannot be used, and
                why.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._ended.is_set() or self._enough(nodes), timeout=wait_s
            )
            # One that is being set up, as by building images, is waited for longer.
            self._changed.wait_for(
                lambda: self._ended.is_set() or self._ready() or not self._members
            )
            if not self._ready():
                raise ClusterError(self._none(wait_s))

    def _enough(self, nodes: int) -> bool:
        """Whether so many are ready, or no other can be."""
        known = len(self._members) + len(self._refused)
        settled = known >= nodes and all(member.ready for member in self._members.values())
        return len(self._ready()) >= nodes or (settled and self._scanned)

    def _ready(self) -> list[Member]:
        return [member for member in self._members.values() if member.ready]

    def _none(self, wait_s: float) -> str:
        """Why there is no node."""
        if self._refused:
            why = "\n".join(f"  {text}" for _, text in self._refused.values())
            return f"executor: no node of the cluster can be used:\n{why}"
        return (
            f"executor: no node of the cluster came up within {wait_s:g} s (executor.wait_s); see "
            "'ray status', and whether executor.resource is right"
        )

    @contextmanager
    def slot(self, folder: Path, wait_s: float) -> Iterator[tuple[Member, Running]]:
        """A free slot of the node that has most of them.

        Args:
            folder: of the attempt.
            wait_s: seconds that are waited if there is no node at all.

        Raises:
            SandboxError: there is no node, or the run is being ended.
        """
        running = Running(next(self._numbers), folder)
        member = self._take(running, wait_s)
        try:
            yield member, running
        finally:
            running.end()
            with self._changed:
                member.running.pop(running.number, None)
                self._changed.notify_all()

    def _take(self, running: Running, wait_s: float) -> Member:
        with self._changed:
            while not self._ended.is_set():
                if (found := self._freest()) is not None:
                    found.running[running.number] = running
                    running.began = running.known = time.monotonic()
                    return found
                if self._members:
                    self._changed.wait(1.0)
                elif (left := self._empty_since + wait_s - time.monotonic()) > 0:
                    self._changed.wait(min(left, 1.0))
                else:
                    raise SandboxError(self._none(wait_s))
        raise SandboxError(ENDED)

    def _freest(self) -> Member | None:
        """The node with most free slots; none that may make no request now."""
        able = [
            (self._orders.slots - len(member.running), member)
            for member in self._ready()
            if self._main not in self._shares or self._shares[self._main].confirmed(member.id)
        ]
        free, found = max(able, key=lambda one: one[0], default=(0, None))
        return found if free > 0 else None

    def lost(self, member: Member, why: str) -> None:
        """A node is gone: its attempts have failed. If it cannot be used again for the same
        reason, nobody is told again."""
        with self._changed:
            if member.gone:
                return
            member.gone, member.ready = why, False
            self._members.pop(member.id, None)
            if not self._members:
                self._empty_since = time.monotonic()
            text = f"{member.name}: {why}"
            known = self._refused.get(member.id, (0.0, ""))[1] == text
            worked_s = time.monotonic() - member.since if member.since else 0.0
            pause_s = _SOON_S if worked_s >= _WORKED_S else _AGAIN_S
            self._refused[member.id] = (time.monotonic() + pause_s, text)
            until = time.monotonic() + self._orders.silence_s + _LATE_S
            for shares in self._shares.values():
                shares.leave(member.id, until)
            running = list(member.running.values())
            self._changed.notify_all()
        for each in running:
            each.fail(GoneError(why))
        member.link.kill()
        if not known and not self._ended.is_set():
            many = f"; {len(running)} of its rollouts are run again" if running else ""
            self._note(f"node {member.name} is not used any more: {why}{many}")

    def _scan(self) -> None:
        """Take in nodes that are new, or come back."""
        while not self._ended.is_set():
            try:
                alive = self._machines.alive()
            except ClusterError as error:
                _LOG.warning("%s", error)
                alive = {}
            at = time.monotonic()
            for node, name in alive.items():
                with self._changed:
                    refused = self._refused.get(node)
                    again = refused is None or at >= refused[0]
                    new = node not in self._members and again
                if new and not self._ended.is_set():
                    self._take_in(node, name)
            with self._changed:
                self._scanned = bool(alive)
                self._changed.notify_all()
            self._ended.wait(_SCAN_S)

    def _take_in(self, node: str, name: str) -> None:
        try:
            link = self._machines.start(node, self._orders.slots)
        except Exception as error:  # noqa: BLE001  # The node is tried again later.
            _LOG.warning("node %s: %s", name, error)
            with self._changed:
                until = time.monotonic() + _AGAIN_S
                self._refused[node] = (until, f"{name}: {_words(error)}")
            return
        member = Member(node, name, link)
        with self._changed:
            self._members[node] = member
        threading.Thread(
            target=self._set_up, args=(member,), name=f"cluster-{name}", daemon=True
        ).start()

    def _set_up(self, member: Member) -> None:
        """Set a new node up, which may take as long as building images takes."""
        try:
            about = member.link.call("about").result(_START_S)
            problem = difference(versions(), about)
            if not problem:
                member.heard = time.monotonic()
                member.sent = member.heard
                opening = member.link.call("open", self._orders)
                while not member.gone and not self._ended.is_set():
                    if opening.done():
                        problem = opening.result()
                        break
                    self._look(member)
                    self._ended.wait(TICK_S)
        except Exception as error:  # noqa: BLE001  # The node cannot be used, and the reason is told.
            problem = _words(error) or f"it did not start within {_START_S:g} s"
        if problem:
            self.lost(member, problem)
            return
        with self._changed:
            if member.gone or self._ended.is_set():
                return
            self._refused.pop(member.id, None)
            for shares in self._shares.values():
                shares.join(member.id)
            member.ready = True
            member.heard = member.since = time.monotonic()
            member.sent = 0.0
            self._changed.notify_all()
        self._note(f"node {member.name} is used, for {self._orders.slots} rollouts at once")

    def _beat(self) -> None:
        """Give beats and take pulses."""
        while not self._ended.wait(TICK_S):
            with self._changed:
                members = self._ready()
            for member in members:
                self._look(member)
            self._share_of_driver()

    def _share_of_driver(self) -> None:
        """Have the driver's gateway make no more requests than its part."""
        at = time.monotonic()
        for name, shares in self._shares.items():
            with self._changed:
                share, settled = shares.share(DRIVER, at), shares.settled(DRIVER)
            if not settled:
                with suppress(GatewayError):  # The run is being ended.
                    most = self._gateway.share(name, share)
                    with self._changed:
                        shares.confirm(DRIVER, most)

    def _look(self, member: Member) -> None:
        """Take the pulse of a node, or send it a beat if one is due."""
        at = time.monotonic()
        if member.beat is not None and member.beat.done():
            beat, member.beat = member.beat, None
            try:
                self._heard(member, beat.result())
            except Exception as error:  # noqa: BLE001  # A node that cannot be asked is gone.
                self.lost(member, _words(error))
        elif member.beat is not None or at - member.sent < self._pause(member):
            if at - member.heard > self._orders.silence_s:
                silence = self._orders.silence_s
                self.lost(member, f"no sign of life for {silence:g} s: frozen, or cut off")
        else:
            member.sent = at
            member.beat = member.link.call("beat", self._orders_of(member, at))

    def _pause(self, member: Member) -> float:
        """Seconds between two beats of a node; less while shares are being moved."""
        with self._changed:
            settled = all(shares.settled(member.id) for shares in self._shares.values())
        return BEAT_S if settled or not member.ready else TICK_S

    def _orders_of(self, member: Member, at: float) -> Beat:
        with self._changed:
            others = [one for one in self._members.values() if one is not member]
            shares = {n: s.share(member.id, at) for n, s in self._shares.items()}
        holds = {n: max(o.limited.get(n, 0.0) for o in others) for n in shares if others}
        blocked = {n: text for n in self._gateway.upstreams if (text := self._gateway.blocked(n))}
        return Beat(shares, holds, blocked)

    def _heard(self, member: Member, pulse: Pulse) -> None:
        member.heard = time.monotonic()
        with self._changed:
            for name, share in pulse.shares.items():
                self._shares[name].confirm(member.id, share)
            running = dict(member.running)
            self._changed.notify_all()
        member.limited = pulse.limited
        for number, progress in pulse.attempts.items():
            if number in running:
                running[number].follow(progress)
        for news in pulse.news:
            self._gateway.heard(news)
        self.blocked(pulse.blocked)

    def blocked(self, services: Mapping[str, str]) -> None:
        """Services need not be asked any more, as a node has found out."""
        for name, text in services.items():
            self._gateway.block(name, text)


def _words(error: Exception) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())[:500] or type(error).__name__ * (
        not isinstance(error, TimeoutError)
    )
