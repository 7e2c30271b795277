"""Nodes of a cluster within the test's own process: real ones, without Ray."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from harnesses.gateway.gateway import GatewayError
from skillopt.rollouts.cluster.machines import GoneError, Link
from skillopt.rollouts.cluster.node import Node


@dataclass
class NearLink:
    """A node that can be lost in each of the ways in which machines are lost.

    Attributes:
        frozen: whether calls are no longer answered, and nobody is told.
    """

    node: Any
    frozen: bool = False
    dead: bool = False
    calls: list[str] = field(default_factory=list)
    _open: list[Future[Any]] = field(default_factory=list)

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        self.calls.append(method)
        self._open.append(done)

        def run() -> None:
            try:
                result = getattr(self.node, method)(*arguments)
            except Exception as error:  # noqa: BLE001  # As Ray does, it goes to the caller.
                if not (self.frozen or self.dead):
                    done.set_exception(error)
            else:
                if not (self.frozen or self.dead):
                    done.set_result(result)

        if self.dead:
            done.set_exception(GoneError("it has died"))
        elif not self.frozen:
            threading.Thread(target=run, daemon=True).start()
        return done

    def die(self) -> None:
        """End as a process does that is killed: its callers are told."""
        self.dead = True
        for call in self._open:
            if not call.done():
                call.set_exception(GoneError("it has died"))

    def kill(self) -> None:
        self.dead = True


@dataclass
class NearMachines:
    """Implements :class:`skillopt.rollouts.cluster.machines.Machines`.

    Attributes:
        names: the nodes that are there; tests add and remove some.
        made: what was started, by node, the last one last.
    """

    names: list[str]
    made: dict[str, list[NearLink]] = field(default_factory=dict)
    wanted: int = 0
    kind: type[Any] = Node

    def alive(self) -> Mapping[str, str]:
        return {name: name for name in self.names}

    def start(self, node: str, slots: int) -> Link:
        link = NearLink(self.kind(lambda: None))
        self.made.setdefault(node, []).append(link)
        return link

    def want(self, nodes: int) -> None:
        self.wanted = nodes

    def close(self) -> None:
        for links in self.made.values():
            for link in links:
                link.node.close()


@dataclass
class DriversGateway:
    """The driver's gateway, as far as a fleet asks and tells it.

    Attributes:
        known: services that are blocked, and why.
        shared, news: what it was told.
        busy: requests that it has under way, of which it gives up none.
        closed: whether it has ended.
    """

    upstreams: tuple[str, ...] = ("main", "second", "third")
    known: dict[str, str] = field(default_factory=dict)
    shared: list[tuple[str, int]] = field(default_factory=list)
    news: list[Any] = field(default_factory=list)
    busy: int = 0
    closed: bool = False

    def blocked(self, name: str) -> str:
        return self.known.get(name, "")

    def block(self, name: str, why: str) -> None:
        self.known[name] = why

    def heard(self, news: Any) -> None:
        self.news.append(news)

    def share(self, name: str, share: int) -> int:
        self.shared.append((name, share))
        if self.closed:
            raise GatewayError("the gateway does not run")
        return max(share, self.busy)
